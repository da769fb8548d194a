//! What real daemons recorded is replayed through the same cores, and they end where the daemons' ended.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use schema::{Db, Fields, Table};
use sim::replay::{ReplayError, replay};
use swss::Connection;
use swss::testing::{RedisServer, database_config, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

/// Where cargo puts the daemons' programs.
fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    path
}

/// A daemon that is killed if the test fails before it has left.
struct Daemon {
    child: Child,
    record: PathBuf,
}

impl Daemon {
    fn start(directory: &Path, name: &str, record: &str, words: &[&str]) -> Self {
        let record = directory.join(record);
        let mut command = Command::new(program(name));
        command.args(words).arg("--record").arg(&record).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap(), record }
    }

    fn leave(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// One server has all the databases of a switch and of its only DPU.
fn configure(directory: &Path, redis: &RedisServer) -> PathBuf {
    let databases =
        [Db::ConfigDb, Db::ApplDb, Db::StateDb, Db::ChassisStateDb].into_iter().chain(Db::OF_A_DPU);
    let text = database_config(databases.map(|db| redis.endpoint(db)));
    let config = directory.join("database_config.json");
    std::fs::write(&config, text).unwrap();
    let include = r#"{"include":"database_config.json"}"#;
    let dpu = r#"{"container_name":"dpu0","include":"database_config.json"}"#;
    let global = format!(r#"{{"INCLUDES":[{include},{dpu}],"VERSION":"1.0"}}"#);
    std::fs::write(directory.join("database_global.json"), global).unwrap();
    config
}

async fn set(redis: &RedisServer, table: Table, key: &str, row: &[(&str, &str)]) {
    let connection = Connection::open(&redis.endpoint(table.db())).await.unwrap();
    let fields: Fields = row.iter().copied().collect();
    connection.hset(&table.redis_key(key), &fields).await.unwrap();
}

async fn until_there_is(redis: &RedisServer, table: Table) {
    let connection = Connection::open(&redis.endpoint(table.db())).await.unwrap();
    let look = async || (!connection.rows(table).await.unwrap().is_empty()).then_some(());
    wait_until(&format!("a row in {table}"), PATIENCE, look).await.unwrap();
}

fn replayed(record: &Path) -> (sim::replay::Replayed, String) {
    let mut text = Vec::new();
    let replayed = replay(record, &mut text).unwrap();
    (replayed, String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn what_every_daemon_recorded_is_replayed_to_the_same_end() {
    let directory = tempfile::tempdir().unwrap();
    let redis = RedisServer::start().await.unwrap();
    let config = configure(directory.path(), &redis);
    let midplane = UdpSocket::bind("127.0.0.1:0").unwrap();
    let probe = format!("udp:{}", midplane.local_addr().unwrap().port());
    std::thread::spawn(move || {
        let mut bytes = [0; 2048];
        while let Ok((length, from)) = midplane.recv_from(&mut bytes) {
            if midplane.send_to(&bytes[..length], from).is_err() {
                return;
            }
        }
    });
    let dpu =
        [("dpu_id", "0"), ("pa_ipv4", "18.0.200.1"), ("midplane_ipv4", "127.0.0.1"), ("vdpu_id", "vdpu0_0")];
    set(&redis, Table::Dpu, "switch0_dpu0", &dpu).await;
    let remote = [("dpu_id", "0"), ("pa_ipv4", "18.0.201.1"), ("npu_ipv4", "10.1.1.32"), ("type", "cluster")];
    set(&redis, Table::RemoteDpu, "switch1_dpu0", &remote).await;
    for switch in 0..2 {
        let main = format!("switch{switch}_dpu0");
        set(&redis, Table::Vdpu, &format!("vdpu{switch}_0"), &[("main_dpu_ids", &main)]).await;
    }
    set(&redis, Table::LoopbackInterface, "Loopback0|10.1.0.32/32", &[("NULL", "NULL")]).await;
    set(&redis, Table::DashHaGlobalConfig, "GLOBAL", &[("dpu_vnet", "Vnet55"), ("dpu_vlan", "Vlan55")]).await;
    set(&redis, Table::SystemReady, "SYSTEM_STATE", &[("Status", "UP")]).await;

    let fleet = directory.path().join("fleet.toml");
    let database = config.to_str().unwrap();
    let text = format!(
        "[timing]\nup_debounce_ms = 50\n\n[[switch]]\nname = \"switch0\"\ndatabase_config = \"{database}\"\n\n\
         [[switch]]\nname = \"switch1\"\ndatabase_config = \"{database}.absent\"\n\n\
         [[vdpu]]\nid = \"vdpu0_0\"\nswitch = \"switch0\"\nslot = 0\n\n\
         [[vdpu]]\nid = \"vdpu1_0\"\nswitch = \"switch1\"\nslot = 0\n\n\
         [[ha_set]]\nid = \"haset0\"\nvip_v4 = \"10.3.0.1\"\nvdpus = [\"vdpu0_0\", \"vdpu1_0\"]\nactive = \"vdpu0_0\"\n"
    );
    std::fs::write(&fleet, text).unwrap();
    let store = directory.path().join("store");
    let (fleet, store) = (fleet.to_str().unwrap(), store.to_str().unwrap());
    let start =
        |name: &str, record: &str, words: &[&str]| Daemon::start(directory.path(), name, record, words);
    let databases = ["--database-config", database];
    let with = |words: &[&'static str]| [words, &databases].concat();
    let npu = ["--role", "npu", "--midplane-probe", &probe, "--probe-interval-ms", "50"];
    let mut daemons = [
        start("hamgrd", "hamgrd", &with(&["--transport", "redis"])),
        start("pmond", "pmond-npu", &[&npu[..], &databases].concat()),
        start("pmond", "pmond-dpu", &with(&["--role", "dpu", "--dpu-id", "0", "--boot-id", "boot1"])),
        start("haorchd", "haorchd", &with(&["--dpu-id", "0"])),
        start("ha-controller", "ha-controller", &["--fleet", fleet, "--store", store]),
    ];
    let reached = [Table::DpuResetInfo, Table::DashHaSetConfig, Table::DashHaSet, Table::DashHaSetResult];
    for table in reached {
        until_there_is(&redis, table).await;
    }
    for (daemon, core) in daemons.iter_mut().zip(["Hamgr", "PmonNpu", "PmonDpu", "HaOrch", "Controller"]) {
        daemon.leave();
        let (replayed, text) = replayed(&daemon.record);
        assert_eq!(replayed.core, core);
        assert_eq!(replayed.same_end, Some(true), "{text}");
        assert!(replayed.inputs > 2 && replayed.effects > 0, "{replayed}\n{text}");
        assert!(text.contains(" reads  ") && text.contains(" wants  "), "{text}");
    }

    // A daemon that was killed did not record its end; what it did record is replayed.
    let whole = std::fs::read_to_string(&daemons[0].record).unwrap();
    let cut = directory.path().join("cut");
    let lines: Vec<&str> = whole.lines().collect();
    std::fs::write(&cut, lines[..lines.len() - 1].join("\n")).unwrap();
    assert_eq!(replayed(&cut).0.same_end, None);
    // Another history has another end.
    std::fs::write(&cut, [lines[0], lines[lines.len() - 1]].join("\n")).unwrap();
    assert_eq!(replayed(&cut).0.same_end, Some(false));
}

#[test]
fn what_is_no_record_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record");
    let refused = |text: &str| {
        std::fs::write(&path, text).unwrap();
        replay(&path, &mut Vec::new()).unwrap_err()
    };
    assert!(matches!(refused(""), ReplayError::NoBeginning));
    assert!(matches!(refused(r#"{"now_ms":1,"wall":1,"inputs":[]}"#), ReplayError::NoBeginning));
    assert!(
        matches!(refused(r#"{"core":"Orchagent","state":{}}"#), ReplayError::UnknownCore(name) if name == "Orchagent")
    );
    assert!(matches!(refused(r#"{"core":"Hamgr","state":{}}"#), ReplayError::BadLine { line: 1, .. }));
    assert!(matches!(
        replay(Path::new("/nowhere"), &mut Vec::new()).unwrap_err(),
        ReplayError::Unreadable { .. }
    ));
}
