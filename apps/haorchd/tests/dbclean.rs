//! `dpu-dbclean` as a process, over real Redis servers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use schema::{Db, Table};
use swss::testing::{RedisServer, ServerOptions, database_config, wait_until};
use swss::{Connection, Reader, Update};
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(30);

/// The DPU's configuration: its own Redis, and the NPU's for these databases.
fn configure(directory: &Path, remote: &RedisServer, databases: &[Db]) -> std::path::PathBuf {
    let text = database_config(databases.iter().map(|db| remote.tcp_endpoint(*db).unwrap()));
    let path = directory.join("database_config.json");
    let staged = directory.join("database_config.json.tmp");
    std::fs::write(&staged, text).unwrap();
    std::fs::rename(staged, &path).unwrap();
    path
}

async fn npu_redis() -> RedisServer {
    let tcp = Some((std::net::Ipv4Addr::LOCALHOST.into(), 0));
    RedisServer::start_with(ServerOptions { tcp, ..ServerOptions::default() }).await.unwrap()
}

fn dbclean(config: &Path, timeout_s: u32) -> Child {
    Command::new(env!("CARGO_BIN_EXE_dpu-dbclean"))
        .args(["--dpu-id", "1", "--timeout", &timeout_s.to_string(), "--database-config"])
        .arg(config)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Exit code, standard output, standard error.
async fn outcome(child: Child) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn fields(pairs: &[(&str, &str)]) -> schema::Fields {
    pairs.iter().copied().collect()
}

async fn fill(redis: &RedisServer, db: Db, keys: &[&str]) {
    let connection = Connection::open(&redis.endpoint(db)).await.unwrap();
    for key in keys {
        connection.hset(key, &fields(&[("ha_state", "active")])).await.unwrap();
    }
}

async fn keys(redis: &RedisServer, db: Db) -> String {
    let connection = Connection::open(&redis.endpoint(db)).await.unwrap();
    format!("{:?}", connection.command(&["KEYS", "*"]).await.unwrap())
}

#[tokio::test]
async fn the_databases_of_the_dpu_are_emptied_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let redis = npu_redis().await;
    fill(
        &redis,
        Db::DpuApplDb,
        &["DASH_HA_SET_TABLE:haset0", "DASH_HA_SCOPE_TABLE:haset0", "_BFD_SESSION_TABLE:x"],
    )
    .await;
    fill(&redis, Db::DpuStateDb, &["DASH_HA_SCOPE_STATE_TABLE|haset0"]).await;
    fill(&redis, Db::DpuApplStateDb, &["DASH_HA_SET_TABLE|haset0"]).await;
    fill(&redis, Db::ChassisStateDb, &["DPU_STATE|DPU1"]).await;
    let empty = keys(&redis, Db::DpuCountersDb).await;

    let config = configure(directory.path(), &redis, &Db::OF_A_DPU);
    let (code, out, err) = outcome(dbclean(&config, 20)).await;

    assert_eq!(code, Some(0), "{err}");
    let counts = [
        "DPU_APPL_DB: 3 keys removed",
        "DPU_STATE_DB: 1 keys removed",
        "DPU_APPL_STATE_DB: 1 keys removed",
        "DPU_COUNTERS_DB: 0 keys removed",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), counts);
    for db in Db::OF_A_DPU {
        assert_eq!(keys(&redis, db).await, empty, "{db}");
    }
    assert_ne!(keys(&redis, Db::ChassisStateDb).await, empty, "the chassis's database is not the DPU's");
}

#[tokio::test]
async fn subscribers_learn_that_the_rows_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let redis = npu_redis().await;
    fill(&redis, Db::DpuStateDb, &["DASH_HA_SCOPE_STATE_TABLE|haset0"]).await;
    let mut reader = Reader::subscribe(&redis.endpoint(Db::DpuStateDb), &[Table::DpuDashHaScopeState]);
    let mut events = Vec::new();
    while !matches!(events.last(), Some(Update::Synced)) {
        events.push(tokio::time::timeout(PATIENCE, reader.next()).await.unwrap());
    }

    let config = configure(directory.path(), &redis, &Db::OF_A_DPU);
    assert_eq!(outcome(dbclean(&config, 20)).await.0, Some(0));

    loop {
        let Update::Changes(changes) = tokio::time::timeout(PATIENCE, reader.next()).await.unwrap() else {
            continue;
        };
        if let Some(change) = changes.iter().find(|change| change.key == "haset0") {
            assert_eq!(change.fields, None);
            return;
        }
    }
}

#[tokio::test]
async fn a_configuration_that_comes_late_and_incomplete_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let redis = npu_redis().await;
    fill(&redis, Db::DpuStateDb, &["DASH_HA_SCOPE_STATE_TABLE|haset0"]).await;
    // Before the configuration is there: a database is emptied once, and what comes later stays.
    fill(&redis, Db::DpuApplDb, &["marker"]).await;
    let child = dbclean(&directory.path().join("database_config.json"), 20);
    configure(directory.path(), &redis, &[Db::DpuApplDb]);
    let appl = Connection::open(&redis.endpoint(Db::DpuApplDb)).await.unwrap();
    wait_until("the database that is configured is emptied", PATIENCE, async || {
        (!appl.exists("marker").await.unwrap()).then_some(())
    })
    .await
    .unwrap();
    configure(directory.path(), &redis, &Db::OF_A_DPU);
    let (code, _, err) = outcome(child).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("not clean yet"), "{err}");
    let state = Connection::open(&redis.endpoint(Db::DpuStateDb)).await.unwrap();
    assert!(!state.exists("DASH_HA_SCOPE_STATE_TABLE|haset0").await.unwrap());
}

#[tokio::test]
async fn a_redis_that_is_not_there_yet_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut redis = npu_redis().await;
    let config = configure(directory.path(), &redis, &Db::OF_A_DPU);
    redis.stop().await.unwrap();
    let child = dbclean(&config, 20);
    redis.restart().await.unwrap();
    let (code, _, err) = outcome(child).await;
    assert_eq!(code, Some(0), "{err}");
}

#[tokio::test]
async fn what_cannot_be_reached_in_time_is_a_loud_failure() {
    let directory = tempfile::tempdir().unwrap();
    let mut redis = npu_redis().await;
    let config = configure(directory.path(), &redis, &Db::OF_A_DPU);
    redis.stop().await.unwrap();
    let (code, out, err) = outcome(dbclean(&config, 1)).await;
    assert_eq!((code, out.as_str()), (Some(3), ""));
    for db in Db::OF_A_DPU {
        assert!(err.contains(&format!("db={db}")), "{db} is named: {err}");
    }
}

#[tokio::test]
async fn a_database_missing_from_the_configuration_is_never_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let redis = npu_redis().await;
    let config = configure(directory.path(), &redis, &Db::OF_A_DPU[..3]);
    let (code, out, err) = outcome(dbclean(&config, 1)).await;
    assert_eq!(code, Some(3), "{err}");
    assert_eq!(out.lines().count(), 3, "what can be cleaned is: {out}");
    assert!(err.contains("DPU_COUNTERS_DB"), "{err}");
}

#[tokio::test]
async fn wrong_use_is_refused() {
    for words in [&["--timeout", "5"][..], &["--dpu-id", "x"], &["--dpu-id", "1", "--timeout", "0"]] {
        let command = Command::new(env!("CARGO_BIN_EXE_dpu-dbclean")).args(words).output().await.unwrap();
        assert_eq!(command.status.code(), Some(2), "{words:?}");
    }
}
