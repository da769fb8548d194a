//! Every scenario of the lab, with the daemons as they are built: real processes, real Redis.
//!
//! The daemons must be built first (`cargo build --workspace --bins`; `make test` does).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Condvar, Mutex};

/// How many labs run at once: each is some 20 processes, and what is tested here is not the scheduler.
const LABS_AT_ONCE: usize = 2;

static LABS: Mutex<usize> = Mutex::new(0);
static LAB_LEFT: Condvar = Condvar::new();

/// A place on the machine for one lab.
struct Seat;

impl Seat {
    fn take() -> Self {
        let mut labs = LAB_LEFT.wait_while(LABS.lock().unwrap(), |labs| *labs >= LABS_AT_ONCE).unwrap();
        *labs += 1;
        Self
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *LABS.lock().unwrap() -= 1;
        LAB_LEFT.notify_one();
    }
}

fn halab() -> PathBuf {
    let halab = PathBuf::from(env!("CARGO_BIN_EXE_halab"));
    for daemon in ["hamgrd", "haorchd", "dpu-dbclean", "pmond", "ha-controller", "npu-swss-model"] {
        let path = halab.with_file_name(daemon);
        assert!(path.exists(), "{} is not built: cargo build --workspace --bins", path.display());
    }
    halab
}

fn run(arguments: &[&str], json: &Path) -> Output {
    let _seat = Seat::take();
    Command::new(halab()).arg("run").args(arguments).arg("--json").arg(json).output().unwrap()
}

/// Runs a scenario and checks its verdict and its report.
fn is_green(arguments: &[&str]) -> serde_json::Value {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("report.json");
    let output = run(arguments, &json);
    let said =
        format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "halab run {arguments:?}:\n{said}");
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(report["scenario"], arguments[0], "{report}");
    assert_eq!(report["ok"], true, "{report}");
    for finding in report["audit"].as_array().unwrap() {
        assert_eq!(finding["ok"], true, "{report}");
    }
    report
}

/// The numbers of the steps that were ticked.
fn ticked(report: &serde_json::Value) -> Vec<u64> {
    let steps = report["steps"].as_array().unwrap().iter();
    let mut ticked: Vec<u64> =
        steps.filter(|step| step["ok"] == true).map(|step| step["n"].as_u64().unwrap()).collect();
    ticked.sort_unstable();
    ticked.dedup();
    ticked
}

/// The lines of the traffic whose event begins with these words.
fn traffic<'a>(report: &'a serde_json::Value, event: &str) -> Vec<&'a serde_json::Value> {
    let lines = report["traffic"].as_array().unwrap().iter();
    let lines: Vec<_> = lines.filter(|line| line["event"].as_str().unwrap().starts_with(event)).collect();
    assert!(!lines.is_empty(), "no event is {event:?}: {report}");
    lines
}

/// Runs a scenario until the machine had room for it: what it did to the traffic is judged. Three times at most.
fn is_judged(arguments: &[&str]) -> Option<serde_json::Value> {
    for _ in 0..3 {
        let report = is_green(arguments);
        if report["traffic"].as_array().unwrap().iter().all(|line| line["verdict"] == "well") {
            return Some(report);
        }
    }
    eprintln!("NOT JUDGED: halab run {arguments:?}: this machine has no room for the lab");
    None
}

/// Packets flowed through this event, and none was lost.
fn loses_nothing(report: &serde_json::Value, event: &str) {
    for line in traffic(report, event) {
        assert_eq!((&line["lost"], &line["may_lose"]), (&0.into(), &"none".into()), "{line}");
    }
    assert!(traffic(report, event).iter().any(|line| line["sent"].as_u64() > Some(0)), "{report}");
}

/// Both NPUs noticed the death by BFD, and the outage is no longer than that takes.
fn costs_the_detection_time(report: &serde_json::Value, event: &str) {
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    for line in traffic(report, event) {
        let limit = number(&line["detection_ms_max"]) + 100 + number(&line["starved_ms"]);
        assert_eq!(number(&line["detection_ms_max"]), 300, "{line}");
        assert!(number(&line["outage_ms"]) <= limit && number(&line["lost"]) > 0, "{line}");
        let noticed = line["detections"].as_array().unwrap();
        for switch in ["switch0", "switch1"] {
            assert!(noticed.iter().any(|fall| fall["switch"] == switch), "{switch}: {line}");
        }
    }
}

macro_rules! scenarios {
    ($($test:ident: $($argument:literal)+;)*) => {$(
        #[test]
        fn $test() {
            is_green(&[$($argument),+]);
        }
    )*};
}

scenarios! {
    standby: "standby";
    flap: "flap";
    missed: "missed";
    swss_restart: "swss-restart";
    both: "both";
    switch: "switch" "--dpus" "2";
    controller_crash: "controller-crash";
    hamgrd_crash: "hamgrd-crash";
    redis_restart: "redis-restart";
    control_plane: "control-plane";
    midplane: "midplane";
    data_plane: "data-plane";
    missed_over_redis: "missed" "--transport" "redis";
    swss_restart_over_redis: "swss-restart" "--transport" "redis";
    redis_restart_over_redis: "redis-restart" "--transport" "redis";
    switch_over_redis: "switch" "--dpus" "2" "--transport" "redis";
}

#[test]
fn restart_shows_all_sixteen_steps() {
    let report = is_green(&["restart"]);
    assert_eq!(ticked(&report), (1..=16).collect::<Vec<u64>>(), "{report}");
    for step in report["steps"].as_array().unwrap() {
        assert!(step["at_ms"].is_number() && step["name"].is_string(), "{step}");
        assert!(!step["evidence"].as_str().unwrap().is_empty(), "{step}");
    }
}

#[test]
fn restart_shows_all_sixteen_steps_over_redis_too() {
    let report = is_green(&["restart", "--transport", "redis"]);
    assert_eq!(ticked(&report), (1..=16).collect::<Vec<u64>>(), "{report}");
}

#[test]
fn the_death_of_the_active_side_costs_the_detection_time_and_its_rejoin_nothing() {
    for rule in ["design", "orchagent"] {
        let Some(report) = is_judged(&["restart", "--next-hop-rule", rule]) else { continue };
        costs_the_detection_time(&report, "kill -9");
        loses_nothing(&report, "boot and rejoin");
    }
}

#[test]
fn a_planned_shutdown_and_the_rejoin_lose_no_packet() {
    for arguments in
        [&["planned"][..], &["planned", "--transport", "redis"], &["planned", "--next-hop-rule", "orchagent"]]
    {
        let Some(report) = is_judged(arguments) else { continue };
        for event in ["before anything", "desired state", "shutdown", "boot and rejoin"] {
            loses_nothing(&report, event);
        }
    }
}

#[test]
fn every_scenario_of_the_list_has_a_test() {
    let output = Command::new(halab()).arg("list").output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let listed: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(listed.len() >= 14, "{listed:?}");
    let source = [include_str!("scenarios.rs"), include_str!("netns.rs")].concat();
    for scenario in listed {
        assert!(source.contains(&format!("\"{scenario}\"")), "no test runs {scenario}");
    }
}

#[test]
fn wrong_use_is_exit_code_2() {
    let output = Command::new(halab()).args(["run", "no-such-scenario"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}
