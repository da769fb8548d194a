//! The lab in network namespaces: links that really fail, and nothing left behind. Root only; skipped loudly elsewhere.
//!
//! The daemons must be built first (`cargo build --workspace --bins`; `make test` does).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod running;

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use running::signal;

/// One lab at a time: each is some 20 processes, and what is tested here is not the scheduler.
static LAB: Mutex<()> = Mutex::new(());

const PATIENCE: Duration = Duration::from_secs(60);

/// The machine for one lab, where namespaces can be made; says loudly where not.
fn seat(test: &str) -> Option<MutexGuard<'static, ()>> {
    match netns::Namespace::create(format!("labtest-{}-{test}", std::process::id())) {
        Ok(_) => Some(LAB.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(why) => {
            // The harness shows only what is written past it.
            std::io::stderr().write_all(format!("\nSKIPPED {test}: {why}\n").as_bytes()).unwrap();
            None
        }
    }
}

fn halab() -> Command {
    Command::new(env!("CARGO_BIN_EXE_halab"))
}

/// Runs a scenario in namespaces and checks its verdict.
fn is_green(scenario: &str) -> Option<serde_json::Value> {
    let _seat = seat(scenario)?;
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("report.json");
    let output = halab().args(["run", scenario, "--net", "netns", "--json"]).arg(&json).output().unwrap();
    let said =
        format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "halab run {scenario} --net netns:\n{said}");
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(report["ok"], true, "{report}");
    for finding in report["audit"].as_array().unwrap() {
        assert_eq!(finding["ok"], true, "{report}");
    }
    Some(report)
}

/// What the witness says of the event whose name begins so.
fn event<'a>(report: &'a serde_json::Value, begins: &str) -> &'a serde_json::Value {
    let mut events = report["traffic"].as_array().unwrap().iter();
    let is_it = |event: &&serde_json::Value| event["event"].as_str().unwrap().starts_with(begins);
    events.find(is_it).unwrap_or_else(|| panic!("no event {begins:?}: {report}"))
}

#[test]
fn restart_with_real_links() {
    is_green("restart");
}

#[test]
fn planned_with_real_links() {
    is_green("planned");
}

#[test]
fn a_front_panel_link_that_fails_moves_the_traffic() {
    let Some(report) = is_green("dpu-link") else { return };
    let down = event(&report, "front-panel link");
    // Both families at both NPUs.
    assert_eq!(down["detections"].as_array().unwrap().len(), 4, "{down}");
}

#[test]
fn a_midplane_link_that_fails_is_what_takes_dpu_state_down() {
    is_green("midplane-link");
}

#[test]
fn a_partition_between_dpus_is_a_split_brain_and_loses_no_packet() {
    let Some(report) = is_green("partition") else { return };
    for begins in ["partition", "the partition is over"] {
        assert_eq!(event(&report, begins)["lost"], 0, "{report}");
    }
}

#[test]
fn a_switch_that_is_lost_comes_back() {
    is_green("npu-loss");
}

#[test]
fn scenarios_about_links_refuse_the_loopback_interface() {
    let output = halab().args(["run", "partition", "--net", "loopback"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--net netns"), "{said}");
    let list = String::from_utf8(halab().arg("list").output().unwrap().stdout).unwrap();
    for scenario in ["dpu-link", "midplane-link", "partition", "npu-loss"] {
        let line = list.lines().find(|line| line.starts_with(scenario)).unwrap();
        assert!(line.contains("--net netns"), "{line}");
    }
}

#[test]
fn where_no_namespace_can_be_made_it_says_what_it_takes() {
    // Without root it ends before it looks for `ip`.
    let output = halab().args(["run", "restart", "--net", "netns"]).env("PATH", "/nowhere").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("--net netns takes root") && said.contains("iproute2"), "{said}");
}

/// A pair that `up` keeps in namespaces, and what is its.
struct Pair {
    halab: Child,
    namespaces: Vec<String>,
    processes: Vec<String>,
}

impl Pair {
    fn up(directory: &Path) -> Self {
        let mut command = halab();
        command.args(["up", "--net", "netns", "--dir"]).arg(directory);
        let mut halab = command.stdout(Stdio::piped()).spawn().unwrap();
        running::wait_until_up(&mut halab);
        let number = number_of(halab.id());
        let namespaces: Vec<String> = names_of(&number);
        assert_eq!(namespaces.len(), 5, "{namespaces:?}");
        let processes = namespaces.iter().flat_map(|name| pids(name)).collect();
        Self { halab, namespaces, processes }
    }

    /// Sends the signal to halab alone, and waits for its end.
    fn end(&mut self, with: &str) -> std::process::ExitStatus {
        signal(with, &self.halab.id().to_string());
        self.halab.wait().unwrap()
    }

    fn names_left(&self) -> Vec<String> {
        let now = netns::names().unwrap();
        self.namespaces.iter().filter(|name| now.contains(name)).cloned().collect()
    }

    /// Every process that it started is gone. The last ones may still be dying.
    fn wait_for_processes(&self) {
        let began = Instant::now();
        let alive = || self.processes.iter().filter(|pid| Path::new(&format!("/proc/{pid}/exe")).exists());
        while alive().next().is_some() {
            assert!(began.elapsed() < PATIENCE, "still there: {:?}", alive().collect::<Vec<_>>());
            std::thread::yield_now();
        }
    }
}

/// The lab's number, by the lock that the process holds.
fn number_of(pid: u32) -> String {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
    let mut locks = targets.filter(|target| target.starts_with("/run/halab"));
    locks.next().expect("it holds a lock").file_stem().unwrap().to_string_lossy().into_owned()
}

fn names_of(number: &str) -> Vec<String> {
    let prefix = format!("halab{number}-");
    netns::names().unwrap().into_iter().filter(|name| name.starts_with(&prefix)).collect()
}

fn pids(name: &str) -> Vec<String> {
    let output = Command::new("ip").args(["netns", "pids", name]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_lab_that_is_told_to_stop_leaves_nothing() {
    let Some(_seat) = seat("stop") else { return };
    for with in ["-INT", "-TERM"] {
        let directory = tempfile::tempdir().unwrap();
        let mut pair = Pair::up(directory.path());
        assert!(pair.processes.len() > 10, "{:?}", pair.processes);
        assert_eq!(pair.end(with).code(), Some(1), "{with}");
        assert_eq!(pair.names_left(), Vec::<String>::new(), "{with}");
        pair.wait_for_processes();
    }
}

#[test]
fn what_a_killed_lab_leaves_is_removed_by_the_next_and_a_lab_that_runs_is_left_alone() {
    let Some(_seat) = seat("killed") else { return };
    let directories = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let mut runs = Pair::up(directories[0].path());
    let mut killed = Pair::up(directories[1].path());
    assert_eq!(killed.end("-KILL").signal(), Some(9));
    killed.wait_for_processes();
    assert_eq!(killed.names_left(), killed.namespaces, "nobody was there to remove them");

    // By `down`, of another directory, where no lab ever ran.
    let down = halab().args(["down", "--dir"]).arg(directories[2].path()).output().unwrap();
    let said = String::from_utf8(down.stdout).unwrap();
    assert!(down.status.success() && said.contains("network namespaces"), "{said}");
    assert_eq!(killed.names_left(), Vec::<String>::new());
    assert_eq!(runs.names_left(), runs.namespaces);

    // By the next start.
    let mut killed = Pair::up(directories[1].path());
    assert_eq!(killed.end("-KILL").signal(), Some(9));
    killed.wait_for_processes();
    // A process in it that does not die with its lab.
    let mut stray = Command::new("ip");
    stray.args(["netns", "exec", &killed.namespaces[0], "sleep", "1000"]);
    let mut stray = stray.spawn().unwrap();
    while pids(&killed.namespaces[0]).is_empty() {
        std::thread::yield_now();
    }
    let mut next = Pair::up(directories[2].path());
    assert_eq!(stray.wait().unwrap().signal(), Some(9));
    let theirs: Vec<String> = killed.namespaces.iter().flat_map(|name| pids(name)).collect();
    assert!(theirs.iter().all(|pid| next.processes.contains(pid)), "{theirs:?}");
    assert_eq!(runs.names_left(), runs.namespaces);
    assert!(runs.processes.iter().all(|pid| Path::new(&format!("/proc/{pid}/exe")).exists()));
    next.end("-TERM");
    runs.end("-TERM");
    assert_eq!((next.names_left(), runs.names_left()), (Vec::new(), Vec::new()));
}
