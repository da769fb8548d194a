//! Child processes, and the supervisor that plays systemd for them.
//!
//! Nothing outlives the lab: every child is in a process group of its own and is killed when its [`Unit`] is
//! dropped, on panic too; and the kernel kills it should the lab itself be killed (`setpriv --pdeathsig`).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

/// The kernel's own wrapper: the child dies with the thread that started it.
const SETPRIV: &str = "/usr/bin/setpriv";
/// How long a process may take to obey SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause before a daemon that died is started again, at first and at most.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// A daemon that ran that long is started again with the first pause.
const HEALTHY_RUN: Duration = Duration::from_secs(2);

/// Why a unit does not run.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program cannot be started, or its files not be made.
    #[error("{name} cannot be started ({what})")]
    Start {
        /// The unit.
        name: String,
        /// What was tried.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The unit's task is gone.
    #[error("{name} has no supervisor any more")]
    Unsupervised {
        /// The unit.
        name: String,
    },
    /// It never said that it is ready.
    #[error("{name} was not ready within {waited_ms} ms; see {}", log.display())]
    NotReady {
        /// The unit.
        name: String,
        /// How long the lab waited.
        waited_ms: u128,
        /// Its log.
        log: PathBuf,
    },
}

/// A program and its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

/// What a unit runs.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The unit's name; its log is `<name>.log`.
    pub name: String,
    /// Run to a good end before each start of the main program.
    pub before: Option<Program>,
    /// The main program.
    pub main: Program,
    /// Whether it says `READY=1` on `$NOTIFY_SOCKET`.
    pub notifies: bool,
    /// Whether it is started again when it dies.
    pub restarts: bool,
    /// Environment beyond the lab's own.
    pub env: Vec<(String, String)>,
}

/// What is known of a unit at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitState {
    /// The main program's process, while it runs.
    pub pid: Option<u32>,
    /// It said that it is ready, in this run.
    pub ready: bool,
    /// How often the main program was started.
    pub starts: u32,
}

/// A supervised program; killed on drop.
#[derive(Debug)]
pub struct Unit {
    name: String,
    log: PathBuf,
    stop: mpsc::Sender<Signal>,
    state: watch::Receiver<UnitState>,
    task: JoinHandle<()>,
}

impl Drop for Unit {
    fn drop(&mut self) {
        // The task owns the child, and the child is killed when it goes.
        self.task.abort();
    }
}

/// What the lab remembers of a unit.
#[derive(Debug)]
struct Registered {
    state: watch::Receiver<UnitState>,
    log: PathBuf,
    /// How often the lab itself killed it while it was to be started again.
    kills: u32,
}

/// Every unit that was ever started, by name. A unit that is started anew replaces the one before.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<BTreeMap<String, Registered>>>);

impl Registry {
    fn map(&self) -> MutexGuard<'_, BTreeMap<String, Registered>> {
        // Nothing that holds the lock can leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Name and process of every unit that runs at this moment.
    pub fn running(&self) -> Vec<(String, u32)> {
        self.map().iter().filter_map(|(name, unit)| Some((name.clone(), unit.state.borrow().pid?))).collect()
    }

    /// Sends a signal to the unit of that name, if it runs; returns whether it did.
    pub fn signal(&self, name: &str, signal: Signal) -> bool {
        let mut map = self.map();
        let Some(unit) = map.get_mut(name) else { return false };
        let pid = unit.state.borrow().pid;
        let hit = pid.is_some_and(|pid| send(pid, signal));
        if hit && signal == Signal::SIGKILL {
            unit.kills += 1;
        }
        hit
    }

    /// Daemons that died though nobody killed them, in words. Each death is told once.
    pub fn unasked_deaths(&self) -> Vec<String> {
        let mut deaths = Vec::new();
        for (name, unit) in self.map().iter_mut() {
            let deaths_seen = unit.state.borrow().starts.saturating_sub(1);
            if deaths_seen > unit.kills {
                let count = deaths_seen - unit.kills;
                unit.kills = deaths_seen;
                deaths.push(format!("{name} died {count} times by itself; see {}", unit.log.display()));
            }
        }
        deaths
    }
}

/// Where units leave their traces.
#[derive(Clone, Debug)]
pub struct Places {
    /// Directory of the logs.
    pub logs: PathBuf,
    /// Directory of the notification sockets.
    pub run: PathBuf,
    /// Their names and processes.
    pub registry: Registry,
}

impl Unit {
    /// Starts supervising. The program itself may not run yet when this returns.
    ///
    /// # Errors
    /// The log or the notification socket cannot be made.
    pub fn start(spec: Spec, places: &Places) -> Result<Self, ProcessError> {
        let name = spec.name.clone();
        let failed = |what: &Path| {
            let (name, what) = (name.clone(), what.display().to_string());
            move |source| ProcessError::Start { name, what, source }
        };
        let log = places.logs.join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&log).map_err(failed(&log))?;
        let socket = places.run.join(format!("{name}.notify"));
        if socket.exists() {
            std::fs::remove_file(&socket).map_err(failed(&socket))?;
        }
        let notify = UnixDatagram::bind(&socket).map_err(failed(&socket))?;
        let (stop, stopped) = mpsc::channel(4);
        let (report, state) = watch::channel(UnitState::default());
        let registered = Registered { state: state.clone(), log: log.clone(), kills: 0 };
        places.registry.map().insert(name.clone(), registered);
        let supervisor = Supervisor { spec, log: file, socket, notify, stop: stopped, report };
        let task = tokio::spawn(supervisor.run());
        Ok(Self { name, log, stop, state, task })
    }

    /// What is known at this moment.
    pub fn state(&self) -> UnitState {
        self.state.borrow().clone()
    }

    /// Sends a signal to the main program, if it runs; returns whether it did.
    pub fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = self.state().pid else { return false };
        send(pid, signal)
    }

    /// Stops the unit for good: sends the signal once, and SIGKILL if that does not help.
    pub async fn stop(mut self, signal: Signal) {
        if self.stop.send(signal).await.is_err() {
            debug!(unit = self.name, "already gone");
        }
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            warn!(unit = self.name, "its supervisor panicked");
        }
    }

    /// Waits until the unit is ready in its present run.
    ///
    /// # Errors
    /// It is not, in time.
    pub async fn ready(&mut self, within: Duration) -> Result<(), ProcessError> {
        let began = Instant::now();
        match timeout(within, self.state.wait_for(|state| state.ready)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ProcessError::Unsupervised { name: self.name.clone() }),
            Err(_) => Err(ProcessError::NotReady {
                name: self.name.clone(),
                waited_ms: began.elapsed().as_millis(),
                log: self.log.clone(),
            }),
        }
    }
}

fn send(pid: u32, signal: Signal) -> bool {
    let Ok(pid) = i32::try_from(pid) else { return false };
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) => true,
        Err(error) => {
            debug!(pid, %signal, %error, "signal not delivered");
            false
        }
    }
}

struct Supervisor {
    spec: Spec,
    log: File,
    socket: PathBuf,
    notify: UnixDatagram,
    stop: mpsc::Receiver<Signal>,
    report: watch::Sender<UnitState>,
}

/// How one run of a program ended.
enum End {
    Exited(ExitStatus),
    Stopped,
}

impl Supervisor {
    async fn run(mut self) {
        let mut backoff = BACKOFF_MIN;
        loop {
            let began = Instant::now();
            match self.run_once().await {
                Ok(End::Stopped) => break,
                Ok(End::Exited(status)) => {
                    info!(unit = self.spec.name, %status, "exited");
                    if !self.spec.restarts {
                        break;
                    }
                }
                Err(error) => warn!(unit = self.spec.name, error = %error, "cannot be started"),
            }
            backoff =
                if began.elapsed() >= HEALTHY_RUN { BACKOFF_MIN } else { (backoff * 2).min(BACKOFF_MAX) };
            // A pause, so that a daemon that cannot live does not eat the machine.
            tokio::select! {
                () = tokio::time::sleep(backoff) => {}
                stopped = self.stop.recv() => {
                    debug!(unit = self.spec.name, ?stopped, "stopped between two runs");
                    break;
                }
            }
        }
        self.report.send_modify(|state| *state = UnitState { starts: state.starts, ..UnitState::default() });
    }

    async fn run_once(&mut self) -> std::io::Result<End> {
        if let Some(before) = self.spec.before.clone() {
            let child = self.spawn(&before)?;
            match self.wait(child, false).await? {
                End::Exited(status) if status.success() => {}
                other => return Ok(other),
            }
        }
        let child = self.spawn(&self.spec.main.clone())?;
        let (pid, notifies) = (child.id(), self.spec.notifies);
        self.report.send_modify(|state| {
            *state = UnitState { pid, ready: !notifies, starts: state.starts + 1 };
        });
        let end = self.wait(child, true).await;
        self.report.send_modify(|state| {
            state.pid = None;
            state.ready = false;
        });
        end
    }

    fn spawn(&self, program: &Program) -> std::io::Result<Child> {
        let mut command = if Path::new(SETPRIV).exists() {
            let mut command = Command::new(SETPRIV);
            command.args(["--pdeathsig", "KILL", "--"]).arg(&program.path);
            command
        } else {
            Command::new(&program.path)
        };
        command
            .args(&program.args)
            .env("NOTIFY_SOCKET", &self.socket)
            .envs(self.spec.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(self.log.try_clone()?)
            .stderr(self.log.try_clone()?)
            .process_group(0)
            .kill_on_drop(true);
        debug!(unit = self.spec.name, program = %program.path.display(), args = ?program.args, "starting");
        command.spawn()
    }

    /// Waits for the child's end, notes its readiness meanwhile, and obeys a request to stop.
    async fn wait(&mut self, mut child: Child, is_main: bool) -> std::io::Result<End> {
        let mut message = [0u8; 512];
        loop {
            tokio::select! {
                status = child.wait() => return Ok(End::Exited(status?)),
                signal = self.stop.recv() => {
                    let signal = signal.unwrap_or(Signal::SIGKILL);
                    self.end(&mut child, signal).await?;
                    return Ok(End::Stopped);
                }
                length = self.notify.recv(&mut message) => {
                    let said = message.get(..length?).unwrap_or_default();
                    let ready = said.split(|byte| *byte == b'\n').any(|line| line == b"READY=1");
                    if is_main && ready {
                        self.report.send_modify(|state| state.ready = true);
                    }
                }
            }
        }
    }

    async fn end(&self, child: &mut Child, signal: Signal) -> std::io::Result<()> {
        if let Some(pid) = child.id() {
            send(pid, signal);
            // A stopped process does not even take SIGTERM.
            send(pid, Signal::SIGCONT);
        }
        if let Ok(status) = timeout(STOP_TIMEOUT, child.wait()).await {
            let status = status?;
            debug!(unit = self.spec.name, %status, "stopped");
            return Ok(());
        }
        warn!(unit = self.spec.name, "does not obey {signal}; killed");
        child.kill().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(dir: &Path) -> Places {
        Places { logs: dir.to_owned(), run: dir.to_owned(), registry: Registry::default() }
    }

    fn shell(name: &str, script: &str) -> Spec {
        let args = vec!["-c".to_owned(), script.to_owned()];
        let main = Program { path: "/bin/sh".into(), args };
        Spec { name: name.into(), before: None, main, notifies: false, restarts: true, env: Vec::new() }
    }

    #[tokio::test]
    async fn a_daemon_that_dies_is_started_again_after_its_clean_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = shell("unit", "echo main; exec sleep 1000");
        spec.before = Some(Program { path: "/bin/echo".into(), args: vec!["before".into()] });
        let places = places(dir.path());
        let mut unit = Unit::start(spec, &places).unwrap();
        let first = unit.state.wait_for(|state| state.pid.is_some()).await.unwrap().clone();
        assert!(places.registry.signal("unit", Signal::SIGKILL));
        let second =
            unit.state.wait_for(|state| state.pid.is_some() && state.pid != first.pid).await.unwrap().clone();
        assert_eq!(second.starts, 2);
        assert_eq!(places.registry.unasked_deaths(), Vec::<String>::new());
        // Dying by itself is another matter.
        assert!(unit.signal(Signal::SIGTERM));
        unit.state.wait_for(|state| state.starts == 3).await.unwrap();
        assert_eq!(places.registry.unasked_deaths().len(), 1);
        assert_eq!(places.registry.unasked_deaths().len(), 0);
        let log = unit.log.clone();
        unit.stop(Signal::SIGTERM).await;
        let text = std::fs::read_to_string(log).unwrap();
        assert!(text.starts_with("before\n") && text.matches("before").count() >= 3, "{text}");
    }

    #[tokio::test]
    async fn nothing_runs_before_its_clean_up_has_succeeded() {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = shell("unit", "exec sleep 1000");
        let script = "[ -e ok ] || { touch ok; exit 1; }";
        let args = vec!["-c".to_owned(), format!("cd {} && {script}", dir.path().display())];
        spec.before = Some(Program { path: "/bin/sh".into(), args });
        let mut unit = Unit::start(spec, &places(dir.path())).unwrap();
        unit.ready(Duration::from_secs(10)).await.unwrap();
        assert!(dir.path().join("ok").exists());
        unit.stop(Signal::SIGKILL).await;
    }

    #[tokio::test]
    async fn readiness_is_what_the_daemon_says_on_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = shell("unit", "exec sleep 1000");
        spec.notifies = true;
        let mut unit = Unit::start(spec, &places(dir.path())).unwrap();
        unit.state.wait_for(|state| state.pid.is_some()).await.unwrap();
        assert!(!unit.state().ready);
        let daemon = UnixDatagram::unbound().unwrap();
        daemon.send_to(b"STATUS=up\nREADY=1", dir.path().join("unit.notify")).await.unwrap();
        unit.ready(Duration::from_secs(10)).await.unwrap();
        unit.stop(Signal::SIGKILL).await;
    }

    #[tokio::test]
    async fn a_dropped_unit_leaves_no_process() {
        let dir = tempfile::tempdir().unwrap();
        let mut unit = Unit::start(shell("unit", "exec sleep 1000"), &places(dir.path())).unwrap();
        unit.ready(Duration::from_secs(10)).await.unwrap();
        let pid = unit.state().pid.unwrap();
        drop(unit);
        let gone = async {
            while Path::new(&format!("/proc/{pid}/exe")).exists() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), gone).await.unwrap();
    }
}
