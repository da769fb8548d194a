//! A private `redis-server`.

use std::io;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use schema::Db;
use tempfile::TempDir;

use crate::testing::wait_until;
use crate::{Address, Connection, Endpoint};

/// How long a server may take to serve, or to stop, on a busy machine.
const PATIENCE_MS: u64 = 20_000;
/// How often a free port is looked for: somebody may take it before the server does.
const PORT_TRIES: usize = 5;
/// How much of the log is shown when a server does not start.
const LOG_BYTES_SHOWN: usize = 2000;

/// What went wrong with a server or a wait.
#[derive(Debug, thiserror::Error)]
pub enum TestingError {
    /// A directory, a process or a port cannot be had.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server ended instead of serving.
    #[error("redis-server ended ({status}); its log ends with:\n{log}")]
    Ended {
        /// Its exit status.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// What was waited for never became true.
    #[error("never true within {waited_ms} ms: {what}")]
    NeverTrue {
        /// What was waited for.
        what: String,
        /// How long.
        waited_ms: u128,
    },
}

/// How to start a server.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// The directory of the socket (`redis.sock`) and the log (`redis.log`), created if absent and left behind;
    /// a private temporary one, removed in the end, if `None`.
    pub dir: Option<PathBuf>,
    /// Also listen on TCP there; port 0 picks a free one, which restarts keep.
    pub tcp: Option<(IpAddr, u16)>,
}

/// A private `redis-server` with SONiC's settings. Dropping it kills it.
#[derive(Debug)]
pub struct RedisServer {
    dir: PathBuf,
    socket: PathBuf,
    tcp: Option<(IpAddr, u16)>,
    child: Option<Child>,
    // Last, so that the directory goes after the process.
    _temporary: Option<TempDir>,
}

impl RedisServer {
    /// Starts a server on a unix socket in a temporary directory, and waits until it serves.
    ///
    /// # Errors
    /// There is no `redis-server`, or it does not start.
    pub async fn start() -> Result<Self, TestingError> {
        Self::start_with(ServerOptions::default()).await
    }

    /// Starts a server as told, and waits until it serves.
    ///
    /// # Errors
    /// As [`RedisServer::start`]; the directory cannot be created, or the address cannot be had.
    pub async fn start_with(options: ServerOptions) -> Result<Self, TestingError> {
        let (dir, temporary) = match options.dir {
            Some(dir) => {
                std::fs::create_dir_all(&dir).map_err(failed(format!("create {}", dir.display())))?;
                (dir, None)
            }
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("redis-")
                    .tempdir()
                    .map_err(failed("create a temporary directory"))?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let socket = dir.join("redis.sock");
        let mut server = Self { dir, socket, tcp: options.tcp, child: None, _temporary: temporary };
        let mut tries = PORT_TRIES;
        loop {
            if let Some((ip, 0)) = options.tcp {
                server.tcp = Some((ip, free_port(ip)?));
            }
            tries -= 1;
            match server.restart().await {
                Err(TestingError::Ended { .. }) if tries > 0 && matches!(options.tcp, Some((_, 0))) => {}
                result => return result.map(|()| server),
            }
        }
    }

    /// The unix socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// TCP address and port, if it listens on TCP.
    pub fn tcp(&self) -> Option<(IpAddr, u16)> {
        self.tcp
    }

    /// A database, by unix socket, with SONiC's number.
    pub fn endpoint(&self, db: Db) -> Endpoint {
        endpoint(db, Address::Unix(self.socket.clone()))
    }

    /// A database, by TCP, with SONiC's number, if the server listens on TCP.
    pub fn tcp_endpoint(&self, db: Db) -> Option<Endpoint> {
        self.tcp.map(|(ip, port)| endpoint(db, Address::Tcp { host: ip.to_string(), port }))
    }

    /// The process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Stops the server in an orderly way; all data is gone. Nothing happens if it does not run.
    ///
    /// # Errors
    /// It does not stop.
    pub async fn stop(&mut self) -> Result<(), TestingError> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let endpoint = endpoint(Db::ApplDb, Address::Unix(self.socket.clone()));
        if let Ok(connection) = Connection::open(&endpoint).await {
            // The answer to this is the end of the connection.
            match connection.command(&["SHUTDOWN", "NOSAVE"]).await {
                Ok(_) | Err(_) => {}
            }
        }
        wait_until("redis-server has stopped", Duration::from_millis(PATIENCE_MS), async || {
            (!matches!(child.try_wait(), Ok(None))).then_some(())
        })
        .await?;
        self.child = None;
        Ok(())
    }

    /// Kills the server (`SIGKILL`) and waits for its end; all data is gone. Nothing happens if it does not run.
    ///
    /// # Errors
    /// The process cannot be killed.
    pub fn kill(&mut self) -> Result<(), TestingError> {
        if let Some(mut child) = self.child.take() {
            child.kill().map_err(failed("kill redis-server"))?;
            child.wait().map_err(failed("wait for the end of redis-server"))?;
        }
        Ok(())
    }

    /// Stops the server where it is (`SIGSTOP`): connections stay, and nothing is answered until
    /// [`RedisServer::resume`]. Nothing happens if it does not run.
    ///
    /// # Errors
    /// The process cannot be signalled.
    pub fn pause(&self) -> Result<(), TestingError> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a paused server go on (`SIGCONT`).
    ///
    /// # Errors
    /// The process cannot be signalled.
    pub fn resume(&self) -> Result<(), TestingError> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), TestingError> {
        let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok()) else { return Ok(()) };
        nix::sys::signal::kill(Pid::from_raw(pid), signal)
            .map_err(|error| failed(format!("send {signal} to redis-server"))(error.into()))
    }

    /// Kills the server if it runs, starts it again at the same place, empty, and waits until it serves.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub async fn restart(&mut self) -> Result<(), TestingError> {
        self.kill()?;
        let child = self.command().spawn().map_err(failed("start redis-server: is it installed?"))?;
        self.child = Some(child);
        let start = tokio::time::Instant::now();
        let endpoint = self.endpoint(Db::ApplDb);
        loop {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait().map_err(failed("look after redis-server"))?
            {
                self.child = None;
                return Err(TestingError::Ended { status: status.to_string(), log: self.end_of_log() });
            }
            let error = match Connection::open(&endpoint).await {
                Ok(connection) => match connection.ping().await {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if start.elapsed() >= Duration::from_millis(PATIENCE_MS) {
                let what = format!("redis-server serves ({})", crate::error::chain(&error));
                return Err(TestingError::NeverTrue { what, waited_ms: u128::from(PATIENCE_MS) });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// SONiC's settings (`reference/swss-wire.md` 1.6).
    fn command(&self) -> Command {
        let mut command = Command::new("redis-server");
        command.arg("--unixsocket").arg(&self.socket).args(["--unixsocketperm", "777"]);
        match self.tcp {
            Some((ip, port)) => {
                command.args(["--bind", &ip.to_string(), "--port", &port.to_string()]);
            }
            None => {
                command.args(["--port", "0"]);
            }
        }
        command.args(["--databases", "100", "--notify-keyspace-events", "AKE"]);
        command.args(["--save", "", "--appendonly", "no", "--client-output-buffer-limit", "pubsub 0 0 0"]);
        command.args(["--daemonize", "no", "--protected-mode", "no"]);
        command.arg("--dir").arg(&self.dir).arg("--logfile").arg(self.log());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn log(&self) -> PathBuf {
        self.dir.join("redis.log")
    }

    fn end_of_log(&self) -> String {
        let log = std::fs::read(self.log()).unwrap_or_default();
        let end = log.get(log.len().saturating_sub(LOG_BYTES_SHOWN)..).unwrap_or_default();
        String::from_utf8_lossy(end).into_owned()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(%error, "a redis-server may be left behind");
        }
    }
}

/// A database, with SONiC's number, of a server that is there or not.
pub fn endpoint(db: Db, address: Address) -> Endpoint {
    Endpoint { db, address, index: db.default_index(), separator: db.separator() }
}

fn free_port(ip: IpAddr) -> Result<u16, TestingError> {
    let listener = TcpListener::bind((ip, 0)).map_err(failed(format!("listen on {ip}")))?;
    Ok(listener.local_addr().map_err(failed(format!("listen on {ip}")))?.port())
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> TestingError {
    let what = what.into();
    move |source| TestingError::Io { what, source }
}
