//! `hactl` as a process: wrong use, and databases that are not there. A whole pair is `worlds/lab/tests/hactl.rs`.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use schema::Db;
use swss::Address;
use swss::testing::{RedisServer, database_config, endpoint};

fn hactl(words: &[&str], config: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
    command.args(words).arg("--database-config").arg(config).output().unwrap()
}

/// The configuration of a switch without DPUs, all databases at one socket.
fn configuration(directory: &Path, socket: &Path) -> std::path::PathBuf {
    let path = directory.join("database_config.json");
    let databases = [Db::ConfigDb, Db::ApplDb, Db::StateDb, Db::ChassisStateDb];
    let at = |db| endpoint(db, Address::Unix(socket.to_owned()));
    std::fs::write(&path, database_config(databases.map(at))).unwrap();
    path
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

#[test]
fn wrong_use_is_exit_code_2() {
    let directory = tempfile::tempdir().unwrap();
    let fleet = directory.path().join("fleet.toml");
    std::fs::write(&fleet, "[[switch]]\nname = \"a b\"\n").unwrap();
    let fleet = fleet.to_str().unwrap();
    for words in [&["audit", "--no-such-flag"][..], &[], &["repair"], &["audit", "--fleet", fleet]] {
        let output = hactl(words, Path::new("/nowhere"));
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", said(&output));
    }
}

#[test]
fn what_is_not_there_is_exit_code_3_and_says_where_it_looked() {
    let directory = tempfile::tempdir().unwrap();
    let output = hactl(&["audit"], &directory.path().join("database_config.json"));
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("is the database service up"), "{}", said(&output));

    let config = configuration(directory.path(), &directory.path().join("no.sock"));
    for words in [&["show"][..], &["audit"], &["audit", "--json"]] {
        let output = hactl(words, &config);
        assert_eq!(output.status.code(), Some(3), "{words:?}: {}", said(&output));
        assert!(said(&output).contains("no.sock"), "{words:?}: {}", said(&output));
    }
}

#[tokio::test]
async fn a_switch_without_ha_is_well() {
    let redis = RedisServer::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = configuration(directory.path(), redis.socket());
    let output = hactl(&["audit"], &config);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
    let output = hactl(&["audit", "--json"], &config);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["counts"]["databases"], 4, "{report}");
}
