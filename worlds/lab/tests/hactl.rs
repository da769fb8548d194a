//! `hactl` on a running pair: healthy, with a DPU's database emptied while hamgrd stands still, and after that.
//!
//! The daemons must be built first (`cargo build --workspace --bins`; `make test` does).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use schema::Db;
use swss::testing::wait_until;
use swss::{Connection, DatabaseConfig};

const PATIENCE: Duration = Duration::from_secs(30);

struct Lab {
    halab: Child,
    directory: tempfile::TempDir,
}

impl Lab {
    fn up() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut halab = Command::new(env!("CARGO_BIN_EXE_halab"))
            .args(["up", "--dir"])
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(halab.stdout.take().unwrap()).lines();
        let is_up = said.any(|line| line.unwrap().contains("Ctrl-C stops it"));
        assert!(is_up, "the lab did not come up");
        Self { halab, directory }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn hactl(&self, words: &[&str]) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_halab")).with_file_name("hactl"));
        command.args(words).arg("--fleet").arg(self.file("fleet.toml"));
        command
    }

    /// Exit code and text.
    fn asked(&self, words: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } = self.hactl(words).output().unwrap();
        (status.code().unwrap(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
    }

    async fn flush(&self, db: Db) {
        let files = self.file("switch0/redis/sonic-db");
        let (config, global) = (files.join("database_config.json"), files.join("database_global.json"));
        let databases = DatabaseConfig::load(&config, &global).unwrap();
        let endpoint = databases.endpoint("dpu0", db).unwrap();
        Connection::open(&endpoint).await.unwrap().flushdb().await.unwrap();
    }

    /// The hamgrd of switch 0, by the files that it was started with.
    fn hamgrd(&self) -> String {
        let switch = self.file("switch0").display().to_string();
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
    async fn until_well(&self) {
        let well = async || (self.asked(&["audit"]).0 == 0).then_some(());
        let waited = wait_until("hactl says that all is well", PATIENCE, well).await;
        assert!(waited.is_ok(), "{}", self.asked(&["audit"]).1);
    }
}

fn signal(name: &str, pid: &str) {
    assert!(Command::new("kill").args([name, pid]).status().unwrap().success());
}

impl Drop for Lab {
    fn drop(&mut self) {
        signal("-TERM", &self.halab.id().to_string());
        self.halab.wait().unwrap();
    }
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
    lab.until_well().await;
    let (code, text) = lab.asked(&["audit"]);
    assert_eq!((code, text.lines().count()), (0, 1), "{text}");
    assert!(text.starts_with("well: 2 switches, 2 DPUs up, 1 HA set, 2 HA scopes; "), "{text}");
    let (code, text) = lab.asked(&["show"]);
    assert_eq!(code, 0, "{text}");
    for word in ["vdpu0_0:haset0", "switch1 DPU0", "active", "standby"] {
        assert!(text.contains(word), "{word}: {text}");
    }

    let mut alarms = Going::start(lab.hactl(&["audit", "--watch", "--grace-ms", "500"]));
    alarms.until(&["well: 2 switches"]);
    let mut changes = Going::start(lab.hactl(&["watch"]));
    changes.until(&["following 14 databases"]);

    let hamgrd = lab.hamgrd();
    signal("-STOP", &hamgrd);
    lab.flush(Db::DpuApplDb).await;
    let alarm = alarms.until(&["ALARM", "switch0 DPU0 DPU_APPL_DB DASH_HA_SET_TABLE:haset0: missing"]);
    assert!(alarm.contains("hamgrd should repair it"), "{alarm}");
    changes.until(&["HA set haset0 goes from DPU_APPL_DB"]);
    changes.until(&[" 8 switch0 DPU0", "DPU_APPL_DB is empty"]);
    let (code, text) = lab.asked(&["audit"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("\nhamgrd of switch0 should repair:\n"), "{text}");
    for row in
        ["DASH_HA_SET_TABLE:haset0", "DASH_HA_SCOPE_TABLE:haset0", "BFD_SESSION_TABLE:default:default:"]
    {
        assert!(text.contains(&format!("DPU_APPL_DB {row}")), "{row}: {text}");
    }
    let (code, text) = lab.asked(&["audit", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, report["well"].as_bool()), (1, Some(false)), "{text}");

    // Whoever stands still is killed, and the supervisor starts another.
    signal("-KILL", &hamgrd);
    alarms.until(&["gone", "DPU_APPL_DB DASH_HA_SET_TABLE:haset0"]);
    changes.until(&["hamgrd", "DPU0: begins a new life"]);
    changes.until(&["13 switch0 DPU0", "hamgrd", "tells the DPU of HA scope haset0"]);
    changes.until(&["16 switch0", "hamgrd", "reports HA scope vdpu0_0|haset0"]);
    lab.until_well().await;
    alarms.until(&["well: 2 switches"]);
    assert_eq!((alarms.stop(), changes.stop()), (Some(0), Some(0)));
}
