//! `hamgrd` as a process over real Redis servers: one for the switch, one for each of its two DPUs.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use schema::appl_db::{HaScopeConfig, HaScopeConfigKey, HaSetConfig};
use schema::{
    Db, DesiredHaState, Fields, HaOwner, HaScopeId, HaScopeKind, HaSetId, Row, Slot, Table, VdpuId,
};
use swss::testing::{RedisServer, database_config, wait_until};
use swss::{Connection, Reader, Update, ZmqAddress};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(30);

struct Switch {
    _directory: tempfile::TempDir,
    config: PathBuf,
    npu: RedisServer,
    dpus: Vec<RedisServer>,
    consumers: Vec<JoinHandle<()>>,
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().copied().collect()
}

fn configuration(redis: &RedisServer, databases: &[Db]) -> String {
    database_config(databases.iter().map(|db| redis.endpoint(*db)))
}

impl Switch {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let npu = RedisServer::start().await.unwrap();
        let dpus = vec![RedisServer::start().await.unwrap(), RedisServer::start().await.unwrap()];
        let file = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let of_npu = [Db::ConfigDb, Db::ApplDb, Db::StateDb, Db::ChassisStateDb];
        let config = file("database_config.json", configuration(&npu, &of_npu));
        let mut includes = vec![r#"{"include":"database_config.json"}"#.to_owned()];
        for (n, redis) in dpus.iter().enumerate() {
            file(&format!("dpu{n}.json"), configuration(redis, &Db::OF_A_DPU));
            includes.push(format!(r#"{{"container_name":"dpu{n}","include":"dpu{n}.json"}}"#));
        }
        let includes = includes.join(",");
        file("database_global.json", format!(r#"{{"INCLUDES":[{includes}],"VERSION":"1.0"}}"#));
        let consumers = dpus.iter().map(consumer).collect();
        let switch = Self { _directory: directory, config, npu, dpus, consumers };
        switch.configure_topology().await;
        switch
    }

    async fn configure_topology(&self) {
        for slot in 0..2u8 {
            let (n, pa) = (slot.to_string(), format!("18.0.0.{slot}"));
            let midplane = format!("169.254.200.{}", slot + 1);
            let local = [("dpu_id", &n[..]), ("pa_ipv4", &pa), ("midplane_ipv4", &midplane)];
            self.set(Table::Dpu, &format!("switch0_dpu{slot}"), &fields(&local)).await;
            let pa = format!("18.0.1.{slot}");
            let remote =
                [("dpu_id", &n[..]), ("pa_ipv4", &pa), ("npu_ipv4", "10.1.1.32"), ("type", "cluster")];
            self.set(Table::RemoteDpu, &format!("switch1_dpu{slot}"), &fields(&remote)).await;
            for switch in 0..2 {
                let dpu = format!("switch{switch}_dpu{slot}");
                self.set(
                    Table::Vdpu,
                    &format!("vdpu{switch}_{slot}"),
                    &fields(&[("main_dpu_ids", &dpu), ("profile", "")]),
                )
                .await;
            }
        }
        self.set(Table::LoopbackInterface, "Loopback0|10.1.0.32/32", &Fields::placeholder()).await;
        let global =
            [("dpu_vnet", "Vnet55"), ("dpu_vlan", "Vlan1000"), ("dpu_bfd_probe_interval_in_ms", "100")];
        self.set(Table::DashHaGlobalConfig, "GLOBAL", &fields(&global)).await;
    }

    async fn npu(&self, db: Db) -> Connection {
        Connection::open(&self.npu.endpoint(db)).await.unwrap()
    }

    async fn dpu(&self, slot: usize) -> Connection {
        Connection::open(&self.dpus[slot].endpoint(Db::DpuApplDb)).await.unwrap()
    }

    async fn set(&self, table: Table, key: &str, row: &Fields) {
        self.npu(table.db()).await.hset(&table.redis_key(key), row).await.unwrap();
    }

    async fn del(&self, table: Table, key: &str) {
        self.npu(table.db()).await.del(&table.redis_key(key)).await.unwrap();
    }

    async fn health(&self, slot: u8, state: &str, boot_id: &str) {
        let row = fields(&[
            ("dpu_midplane_link_state", state),
            ("dpu_control_plane_state", state),
            ("dpu_data_plane_state", state),
            ("boot_id", boot_id),
        ]);
        self.set(Table::DpuState, &Slot(slot).to_string(), &row).await;
    }

    async fn configure_ha(&self, slot: u8, version: &str) {
        let vdpus = [format!("vdpu0_{slot}"), format!("vdpu1_{slot}")].map(|id| VdpuId::new(id).unwrap());
        let set = HaSetId::new(format!("haset{slot}")).unwrap();
        let config = HaSetConfig {
            version: version.into(),
            vip_v4: Some([3, 2, 1, slot].into()),
            vip_v6: None,
            vdpu_ids: vdpus.to_vec(),
            scope: HaScopeKind::Dpu,
            pinned_vdpu_bfd_probe_states: vec![],
            preferred_vdpu_ids: vec![vdpus[0].clone()],
            preferred_standalone_vdpu_index: 0,
        };
        self.set(Table::DashHaSetConfig, set.as_str(), &config.to_fields()).await;
        let config = HaScopeConfig {
            version: version.into(),
            disabled: false,
            owner: HaOwner::Dpu,
            ha_set_id: Some(set.clone()),
            desired_ha_state: DesiredHaState::Active,
            approved_pending_operation_ids: vec![],
        };
        let key = HaScopeConfigKey { vdpu: vdpus[0].clone(), scope: HaScopeId::from(set) };
        self.set(Table::DashHaScopeConfig, &HaScopeConfig::key_text(&key), &config.to_fields()).await;
    }

    /// The daemon, for DPUs that consume their databases.
    fn hamgrd(&self, words: &[&str]) -> Child {
        self.hamgrd_over("redis", words)
    }

    fn hamgrd_over(&self, transport: &str, words: &[&str]) -> Child {
        self.command(transport, words).spawn().unwrap()
    }

    fn command(&self, transport: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hamgrd"));
        command
            .args(["--transport", transport])
            .args(words)
            .arg("--database-config")
            .arg(&self.config)
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        command
    }

    /// Waits until the DPU has scope row and set row of `version`, and two BFD rows.
    async fn until_programmed(&self, slot: usize, version: &str) {
        let connection = self.dpu(slot).await;
        let what = format!("DPU{slot} has HA set, HA scope {version} and BFD");
        wait_until(&what, PATIENCE, async || {
            let key = format!("haset{slot}");
            let scope = connection.row(Table::DashHaScope, &key).await.ok()??;
            let set = connection.row(Table::DashHaSet, &key).await.ok()??;
            let bfd = connection.rows(Table::BfdSession).await.ok()?;
            let versions = [scope.text("version"), set.text("version")];
            (versions == [Some(version), Some(version)] && bfd.len() == 2).then_some(())
        })
        .await
        .unwrap();
    }

    /// Waits until STATE_DB says this of a row.
    async fn until_state(&self, table: Table, key: &str, name: &str, text: &str) -> Fields {
        let connection = self.npu(Db::StateDb).await;
        wait_until(&format!("{table}|{key} has {name} {text}"), PATIENCE, async || {
            let row = connection.row(table, key).await.ok()??;
            (row.text(name) == Some(text)).then_some(row)
        })
        .await
        .unwrap()
    }

    async fn until_gone(&self, connection: &Connection, table: Table) {
        wait_until(&format!("no rows in {table}"), PATIENCE, async || {
            connection.rows(table).await.ok()?.is_empty().then_some(())
        })
        .await
        .unwrap();
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.consumers.iter().for_each(JoinHandle::abort);
    }
}

/// A DPU that takes what it is given.
fn consumer(redis: &RedisServer) -> JoinHandle<()> {
    let tables = [Table::DashHaSet, Table::DashHaScope, Table::BfdSession];
    let mut reader = Reader::consume(&redis.endpoint(Db::DpuApplDb), &tables);
    tokio::spawn(async move {
        loop {
            reader.next().await;
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_a_dpu_over_real_databases() {
    let switch = Switch::new().await;
    switch.health(0, "up", "boot-a").await;
    switch.configure_ha(0, "1").await;
    let mut hamgrd = switch.hamgrd(&[]);
    switch.until_programmed(0, "1").await;
    let info = switch.until_state(Table::DpuResetInfo, "DPU0", "dpu_ready", "true").await;
    let first: u64 = info.text("incarnation").unwrap().parse().unwrap();
    let route = switch.npu(Db::ApplDb).await;
    wait_until("a route waits for its consumer", PATIENCE, async || {
        let row = route.hgetall("_VNET_ROUTE_TUNNEL_TABLE:Vnet55:3.2.1.0").await.ok()?;
        (row.text("endpoint") == Some("18.0.0.0,10.1.1.32")).then_some(())
    })
    .await
    .unwrap();

    // Down: BFD goes. The controller deletes; everything goes.
    switch.health(0, "down", "boot-a").await;
    let dpu = switch.dpu(0).await;
    switch.until_gone(&dpu, Table::BfdSession).await;
    switch.until_state(Table::DpuResetInfo, "DPU0", "reset_status", "true").await;
    switch.del(Table::DashHaScopeConfig, "vdpu0_0:haset0").await;
    switch.until_gone(&switch.npu(Db::StateDb).await, Table::DashHaScopeState).await;
    switch.del(Table::DashHaSetConfig, "haset0").await;
    switch.until_gone(&dpu, Table::DashHaSet).await;

    // It boots; the controller programs it again.
    dpu.flushdb().await.unwrap();
    switch.health(0, "up", "boot-b").await;
    let info = switch.until_state(Table::DpuResetInfo, "DPU0", "boot_id", "boot-b").await;
    assert!(info.text("incarnation").unwrap().parse::<u64>().unwrap() > first);
    let since = Instant::now();
    switch.configure_ha(0, "2").await;
    switch.until_programmed(0, "2").await;
    eprintln!("configuration to rows, seen by polling: {:?}", since.elapsed());

    // A bare FLUSHDB while it is up: a restart of its swss. The fence holds the old configuration back.
    dpu.flushdb().await.unwrap();
    switch.until_state(Table::DpuResetInfo, "DPU0", "reset_status", "true").await;
    wait_until("the HA set is back", PATIENCE, async || dpu.row(Table::DashHaSet, "haset0").await.ok()?)
        .await
        .unwrap();
    assert_eq!(dpu.row(Table::DashHaScope, "haset0").await.unwrap(), None);

    // hamgrd is killed, and knows all that when it is back.
    hamgrd.kill().await.unwrap();
    let mut hamgrd = switch.hamgrd(&[]);
    switch.health(1, "up", "boot-a").await;
    switch.configure_ha(1, "1").await;
    switch.until_programmed(1, "1").await;
    assert_eq!(dpu.row(Table::DashHaScope, "haset0").await.unwrap(), None);
    switch.configure_ha(0, "3").await;
    switch.until_programmed(0, "3").await;

    let pid = i32::try_from(hamgrd.id().unwrap()).unwrap();
    let killed = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await.unwrap();
    assert!(killed.success());
    assert!(hamgrd.wait().await.unwrap().success(), "clean SIGTERM");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dpu_database_that_is_away_holds_up_only_its_own_rows() {
    let mut switch = Switch::new().await;
    switch.dpus[0].stop().await.unwrap();
    let _hamgrd = switch.hamgrd(&["--restart-policy", "autonomous", "--heartbeat-ms", "200"]);
    for slot in 0..2 {
        switch.health(slot, "up", "boot-a").await;
        switch.configure_ha(slot, "1").await;
    }
    // A bad row of each kind stops nothing either.
    switch.set(Table::DpuState, "DPU7", &fields(&[("dpu_midplane_link_state", "sideways")])).await;
    switch.set(Table::DashHaSetConfig, "broken", &fields(&[("pb", "\u{1}\u{2}\u{3}")])).await;
    switch.set(Table::Dpu, "broken", &fields(&[("dpu_id", "many")])).await;
    switch.until_programmed(1, "1").await;
    let row = switch.until_state(Table::DashHaScopeState, "vdpu0_1|haset1", "version", "1").await;
    let beat = row.text("last_heartbeat_time_in_ms").unwrap().to_owned();
    let state = switch.npu(Db::StateDb).await;
    wait_until("a heartbeat", PATIENCE, async || {
        let row = state.row(Table::DashHaScopeState, "vdpu0_1|haset1").await.ok()??;
        (row.text("last_heartbeat_time_in_ms") != Some(&beat)).then_some(())
    })
    .await
    .unwrap();
    switch.dpus[0].restart().await.unwrap();
    switch.until_programmed(0, "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_row_that_a_dpu_left_is_said_once() {
    let switch = Switch::new().await;
    let log = switch.config.with_file_name("log");
    let state = Connection::open(&switch.dpus[0].endpoint(Db::DpuStateDb)).await.unwrap();
    let key = Table::DashBfdProbeState.redis_key("dash_ha");
    let bad = fields(&[("v4_bfd_up_sessions", "\"nobody\"")]);
    state.hset(&key, &bad).await.unwrap();
    let stderr = std::fs::File::create(&log).unwrap();
    let _hamgrd = switch.command("redis", &[]).stderr(stderr).spawn().unwrap();
    let said = || {
        let text = std::fs::read_to_string(&log).unwrap();
        let names = "table=DASH_BFD_PROBE_STATE key=\"dash_ha\" field=\"v4_bfd_up_sessions\"";
        text.lines().filter(|line| line.contains("bad row") && line.contains(names)).count()
    };
    wait_until("hamgrd says that the row is bad", PATIENCE, async || (said() > 0).then_some(()))
        .await
        .unwrap();
    // The same row again is no news, and holds nothing up.
    state.hset(&key, &bad).await.unwrap();
    switch.health(0, "up", "boot-a").await;
    switch.configure_ha(0, "1").await;
    switch.until_programmed(0, "1").await;
    assert_eq!(said(), 1);
}

#[tokio::test]
async fn wrong_use_is_exit_code_2_and_no_dpu_is_3() {
    let switch = Switch::new().await;
    let status = switch.hamgrd(&["--restart-policy", "whatever"]).wait().await.unwrap();
    assert_eq!(status.code(), Some(2));
    let status = switch.hamgrd(&["-s", "9"]).wait().await.unwrap();
    assert_eq!(status.code(), Some(3));
}

/// A DPU that listens for its rows, somewhere on this machine, and the port.
async fn listening(redis: &RedisServer) -> (Reader, u16) {
    let tables = [Table::DashHaSet, Table::DashHaScope, Table::BfdSession];
    let anywhere = ZmqAddress::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
    let mut reader = Reader::serve_zmq(&anywhere, &redis.endpoint(Db::DpuApplDb), &tables);
    assert_eq!(reader.next().await, Update::Synced);
    match reader.zmq().and_then(|stats| stats.address().cloned()) {
        Some(ZmqAddress::Tcp { port, .. }) => (reader, port),
        other => panic!("{other:?}"),
    }
}

/// The tables of the first four rows that come, in the order in which they come.
async fn four_rows(reader: &mut Reader) -> Vec<Table> {
    let mut tables = Vec::new();
    let rows = async {
        while tables.len() < 4 {
            if let Update::Changes(changes) = reader.next().await {
                tables.extend(changes.iter().map(|change| change.table));
            }
        }
    };
    tokio::time::timeout(PATIENCE, rows).await.expect("HA set, HA scope and two BFD sessions");
    tables.sort();
    tables
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_go_over_zmq_to_where_config_db_says() {
    let switch = Switch::new().await;
    switch.consumers.iter().for_each(JoinHandle::abort);
    let all = [Table::DashHaSet, Table::DashHaScope, Table::BfdSession, Table::BfdSession];
    let at = |port: u16| fields(&[("midplane_ipv4", "127.0.0.1"), ("orchagent_zmq_port", &port.to_string())]);
    let (mut first, port) = listening(&switch.dpus[0]).await;
    switch.set(Table::Dpu, "switch0_dpu0", &at(port)).await;
    switch.health(0, "up", "boot-a").await;
    switch.configure_ha(0, "1").await;
    // Nothing in DEVICE_METADATA: ZMQ, as SONiC decides it.
    let _hamgrd = switch.hamgrd_over("auto", &[]);
    assert_eq!(four_rows(&mut first).await, all);
    switch.until_programmed(0, "1").await;

    // Elsewhere, while it runs: everything again.
    let (mut second, port) = listening(&switch.dpus[0]).await;
    switch.set(Table::Dpu, "switch0_dpu0", &at(port)).await;
    assert_eq!(four_rows(&mut second).await, all);
}
