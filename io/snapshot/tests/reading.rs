//! Readings of real Redis servers.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use schema::{Db, Fields, Slot, Table};
use snapshot::{Local, Switch, read};
use swss::testing::{RedisServer, database_config};
use swss::{Connection, DatabaseConfig};

const LIMIT: Duration = Duration::from_secs(10);

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().copied().collect()
}

fn configuration(redis: &RedisServer, databases: &[Db]) -> String {
    database_config(databases.iter().map(|db| redis.endpoint(*db)))
}

struct Files {
    directory: tempfile::TempDir,
    npu: RedisServer,
    dpu: RedisServer,
}

impl Files {
    async fn new() -> Self {
        let (npu, dpu) = (RedisServer::start().await.unwrap(), RedisServer::start().await.unwrap());
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        let of_npu = [Db::ConfigDb, Db::ApplDb, Db::StateDb, Db::ChassisStateDb];
        write("database_config.json", &configuration(&npu, &of_npu));
        write("dpu0.json", &configuration(&dpu, &Db::OF_A_DPU));
        write(
            "database_global.json",
            r#"{"INCLUDES":[{"include":"database_config.json"},
                {"container_name":"dpu0","include":"dpu0.json"},
                {"container_name":"dpu5","include":"dpu5.json"}],"VERSION":"1.0"}"#,
        );
        Self { directory, npu, dpu }
    }

    fn switch(&self) -> Switch {
        let file = |name: &str| self.directory.path().join(name);
        let files =
            DatabaseConfig::load(&file("database_config.json"), &file("database_global.json")).unwrap();
        Switch::of("switch0", &files)
    }

    /// Without the container that has no file.
    fn small_switch(&self) -> Switch {
        let mut switch = self.switch();
        switch.dpus.retain(|dpu| dpu.slot == Slot(0));
        switch
    }
}

async fn set(server: &RedisServer, table: Table, key: &str, row: &[(&str, &str)]) {
    let connection = Connection::open(&server.endpoint(table.db())).await.unwrap();
    connection.hset(&table.redis_key(key), &fields(row)).await.unwrap();
}

#[tokio::test]
async fn a_reading_holds_every_row_of_ha_and_says_how_it_was_made() {
    let files = Files::new().await;
    set(&files.npu, Table::Dpu, "switch0_dpu0", &[("dpu_id", "0"), ("midplane_ipv4", "127.201.13.7")]).await;
    set(&files.npu, Table::Port, "Ethernet0", &[("admin_status", "up")]).await;
    set(&files.npu, Table::DpuState, "DPU0", &[("dpu_midplane_link_state", "up")]).await;
    set(&files.dpu, Table::DashHaSet, "haset0", &[("version", "1")]).await;
    let dpu = Connection::open(&files.dpu.endpoint(Db::DpuApplDb)).await.unwrap();
    dpu.command(&["SADD", "DASH_HA_SCOPE_TABLE_KEY_SET", "haset0"]).await.unwrap();

    let reading = read(&[files.small_switch()], LIMIT).await;
    assert!(reading.unread.is_empty());
    assert_eq!(reading.failures().count(), 0);
    assert_eq!(reading.rows(), 3, "ports are none of HA");
    let [switch] = reading.snapshot.switches.as_slice() else { panic!("{:?}", reading.snapshot) };
    assert_eq!(switch.name, "switch0");
    assert_eq!(switch.rows.get(Table::DpuState, "DPU0").unwrap().text("dpu_midplane_link_state"), Some("up"));
    let [dpu] = switch.dpus.as_slice() else { panic!("{:?}", switch.dpus) };
    assert_eq!(dpu.rows.get(Table::DashHaSet, "haset0").unwrap().text("version"), Some("1"));
    assert_eq!(
        dpu.unconsumed.iter().cloned().collect::<Vec<_>>(),
        [(Table::DashHaScope, "haset0".to_owned())]
    );

    assert_eq!(reading.databases.len(), 4 + 3);
    let (began, took) = reading.span().unwrap();
    assert!(began.0 > 1_600_000_000_000 && took < LIMIT, "{began} {took:?}");
    let read = reading.databases.iter().find(|read| read.db == Db::DpuApplDb).unwrap();
    assert_eq!((read.switch.as_str(), read.slot, read.rows.clone()), ("switch0", Some(Slot(0)), Ok(1)));
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_the_rest_is_read() {
    let mut files = Files::new().await;
    set(&files.npu, Table::DpuState, "DPU0", &[("dpu_midplane_link_state", "up")]).await;
    files.dpu.kill().unwrap();
    let reading = read(&[files.switch()], LIMIT).await;
    assert_eq!(reading.rows(), 1);
    let failures: Vec<(Option<Slot>, &str)> =
        reading.failures().map(|(read, reason)| (read.slot, reason)).collect();
    assert_eq!(failures.len(), 3 + 3, "{failures:?}");
    for (slot, reason) in failures {
        let expected = if slot == Some(Slot(0)) { "out of reach" } else { "dpu5.json" };
        assert!(reason.contains(expected), "{slot:?}: {reason}");
    }
    assert!(!reading.unread.is_empty());
}

#[tokio::test]
async fn a_database_that_does_not_answer_holds_nobody_up_for_long() {
    let files = Files::new().await;
    let pid = files.dpu.pid().unwrap().to_string();
    let stopped = std::process::Command::new("kill").args(["-STOP", &pid]).status().unwrap();
    assert!(stopped.success());
    let began = Instant::now();
    let reading = read(&[files.small_switch()], Duration::from_millis(300)).await;
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    let failures: Vec<(Db, &str)> = reading.failures().map(|(read, reason)| (read.db, reason)).collect();
    assert!(failures.iter().any(|(db, why)| *db == Db::DpuApplDb && why.contains("300 ms")), "{failures:?}");
    assert!(failures.iter().all(|(db, _)| Db::OF_A_DPU.contains(db)), "{failures:?}");
}

#[tokio::test]
async fn a_dpus_own_database_is_read_where_it_answers_and_not_missed_where_it_does_not() {
    let files = Files::new().await;
    let own = RedisServer::start().await.unwrap();
    set(&own, Table::BfdSoftwareSession, "default|default|10.1.0.32", &[("multihop", "true")]).await;
    let mut switch = files.small_switch();

    switch.dpus[0].local = Local::At(own.endpoint(Db::StateDb));
    let reading = read(std::slice::from_ref(&switch), LIMIT).await;
    let local = reading.snapshot.switches[0].dpus[0].local.as_ref().unwrap();
    assert!(local.get(Table::BfdSoftwareSession, "default|default|10.1.0.32").is_some());

    // An address of 127/8 on which nobody listens at the port of Redis.
    set(&files.npu, Table::Dpu, "switch0_dpu0", &[("dpu_id", "0"), ("midplane_ipv4", "127.201.13.7")]).await;
    for local in [Local::Unasked, Local::OnMidplane] {
        switch.dpus[0].local = local;
        let reading = read(std::slice::from_ref(&switch), LIMIT).await;
        assert_eq!(reading.snapshot.switches[0].dpus[0].local, None);
        assert!(reading.unread.is_empty());
    }
}
