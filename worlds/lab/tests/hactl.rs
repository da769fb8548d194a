//! `hactl` on a running pair: healthy, with a DPU's database emptied while hamgrd stands still, and after that.
//!
//! The daemons must be built first (`cargo build --workspace --bins`; `make test` does).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod running;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use schema::Db;
use swss::testing::wait_until;

use crate::running::{Lab, signal};

const PATIENCE: Duration = Duration::from_secs(30);

fn hactl(lab: &Lab, words: &[&str]) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_halab")).with_file_name("hactl"));
    command.args(words).arg("--fleet").arg(lab.file("fleet.toml"));
    command
}

/// Exit code and text.
fn asked(lab: &Lab, words: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = hactl(lab, words).output().unwrap();
    (status.code().unwrap(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// The hamgrd of switch 0, by the files that it was started with.
fn hamgrd(lab: &Lab) -> String {
    let switch = lab.file("switch0").display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let entry = entry.ok()?;
        let words = std::fs::read(entry.path().join("cmdline")).ok()?;
        let words = String::from_utf8_lossy(&words).into_owned();
        let program = words.split('\0').next()?.to_owned();
        (program.ends_with("/hamgrd") && words.contains(&switch)).then(|| entry.file_name())
    });
    let pids: Vec<_> = processes.collect();
    assert_eq!(pids.len(), 1, "{pids:?}");
    pids[0].to_str().unwrap().to_owned()
}

/// Waits until hactl is content.
async fn until_well(lab: &Lab) {
    let well = async || (asked(lab, &["audit"]).0 == 0).then_some(());
    let waited = wait_until("hactl says that all is well", PATIENCE, well).await;
    assert!(waited.is_ok(), "{}", asked(lab, &["audit"]).1);
}

/// A hactl that goes on, and the lines that it says.
struct Going {
    child: Child,
    lines: mpsc::Receiver<String>,
    heard: Vec<String>,
}

impl Going {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout: ChildStdout = child.stdout.take().unwrap();
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, heard: Vec::new() }
    }

    /// Waits for a line with all of these words.
    fn until(&mut self, words: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {words:?} among\n{}", self.heard.join("\n"))
            };
            self.heard.push(line.clone());
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }

    /// Tells it to stop; its exit code.
    fn stop(mut self) -> Option<i32> {
        signal("-TERM", &self.child.id().to_string());
        self.child.wait().unwrap().code()
    }
}

#[tokio::test]
async fn hactl_names_what_is_missing_while_hamgrd_stands_still_and_is_content_after_it() {
    let lab = Lab::up();
    until_well(&lab).await;
    let (code, text) = asked(&lab, &["audit"]);
    assert_eq!((code, text.lines().count()), (0, 1), "{text}");
    assert!(text.starts_with("well: 2 switches, 2 DPUs up, 1 HA set, 2 HA scopes; "), "{text}");
    let (code, text) = asked(&lab, &["show"]);
    assert_eq!(code, 0, "{text}");
    for word in ["vdpu0_0:haset0", "switch1 DPU0", "active", "standby"] {
        assert!(text.contains(word), "{word}: {text}");
    }

    let mut alarms = Going::start(hactl(&lab, &["audit", "--watch", "--grace-ms", "500"]));
    alarms.until(&["well: 2 switches"]);
    let mut changes = Going::start(hactl(&lab, &["watch"]));
    changes.until(&["following 14 databases"]);

    let hamgrd = hamgrd(&lab);
    signal("-STOP", &hamgrd);
    lab.database("switch0", "dpu0", Db::DpuApplDb).await.flushdb().await.unwrap();
    let alarm = alarms.until(&["ALARM", "switch0 DPU0 DPU_APPL_DB DASH_HA_SET_TABLE:haset0: missing"]);
    assert!(alarm.contains("hamgrd should repair it"), "{alarm}");
    changes.until(&["HA set haset0 goes from DPU_APPL_DB"]);
    changes.until(&[" 8 switch0 DPU0", "DPU_APPL_DB is empty"]);
    let (code, text) = asked(&lab, &["audit"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("\nhamgrd of switch0 should repair:\n"), "{text}");
    for row in
        ["DASH_HA_SET_TABLE:haset0", "DASH_HA_SCOPE_TABLE:haset0", "BFD_SESSION_TABLE:default:default:"]
    {
        assert!(text.contains(&format!("DPU_APPL_DB {row}")), "{row}: {text}");
    }
    let (code, text) = asked(&lab, &["audit", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, report["well"].as_bool()), (1, Some(false)), "{text}");

    // Whoever stands still is killed, and the supervisor starts another.
    signal("-KILL", &hamgrd);
    alarms.until(&["gone", "DPU_APPL_DB DASH_HA_SET_TABLE:haset0"]);
    changes.until(&["hamgrd", "DPU0: begins a new life"]);
    changes.until(&["13 switch0 DPU0", "hamgrd", "tells the DPU of HA scope haset0"]);
    changes.until(&["16 switch0", "hamgrd", "reports HA scope vdpu0_0|haset0"]);
    until_well(&lab).await;
    alarms.until(&["well: 2 switches"]);
    assert_eq!((alarms.stop(), changes.stop()), (Some(0), Some(0)));
}
