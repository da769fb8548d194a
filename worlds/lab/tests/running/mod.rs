//! A running pair of SmartSwitches, as `halab up` keeps it.
#![allow(dead_code)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use schema::Db;
use swss::{Connection, DatabaseConfig};

/// Goes down when it is dropped.
pub struct Lab {
    halab: Child,
    directory: tempfile::TempDir,
}

impl Lab {
    pub fn up() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut halab = Command::new(env!("CARGO_BIN_EXE_halab"))
            .args(["up", "--dir"])
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until_up(&mut halab);
        Self { halab, directory }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A database as that device's files name it: `switch0`, or a DPU itself as `switch0/dpu0`.
    pub async fn database(&self, device: &str, container: &str, db: Db) -> Connection {
        let files = self.file(device).join("redis/sonic-db");
        let (config, global) = (files.join("database_config.json"), files.join("database_global.json"));
        let databases = DatabaseConfig::load(&config, &global).unwrap();
        Connection::open(&databases.endpoint(container, db).unwrap()).await.unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        signal("-TERM", &self.halab.id().to_string());
        self.halab.wait().unwrap();
    }
}

/// Waits until `halab up` says that its pair runs.
pub fn wait_until_up(halab: &mut Child) {
    let mut said = BufReader::new(halab.stdout.take().unwrap()).lines();
    let is_up = said.any(|line| line.unwrap().contains("Ctrl-C stops it"));
    assert!(is_up, "the lab did not come up");
}

/// Sends a signal to a process.
pub fn signal(name: &str, pid: &str) {
    assert!(Command::new("kill").args([name, pid]).status().unwrap().success());
}
