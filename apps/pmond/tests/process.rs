//! Both halves as processes, over real Redis servers, with a UDP echo for the midplane.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use schema::{Db, Fields, Table};
use swss::Connection;
use swss::testing::{RedisServer, ServerOptions, database_config, wait_until};
use tokio::net::UdpSocket;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(30);

/// A switch with one DPU in slot 1.
struct Switch {
    _directory: tempfile::TempDir,
    npu_redis: RedisServer,
    dpu_redis: RedisServer,
    npu_config: PathBuf,
    dpu_config: PathBuf,
    address: Ipv4Addr,
    port: u16,
    echo: Option<JoinHandle<()>>,
    /// How many probes the echo has answered.
    probes: Arc<AtomicU64>,
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().copied().collect()
}

impl Switch {
    /// `last` makes the midplane address unique among tests that run at the same time.
    async fn new(last: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tcp = Some((Ipv4Addr::LOCALHOST.into(), 0));
        let npu_redis =
            RedisServer::start_with(ServerOptions { tcp, ..ServerOptions::default() }).await.unwrap();
        let dpu_redis = RedisServer::start().await.unwrap();
        let file = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let npu = [Db::ConfigDb, Db::StateDb, Db::ChassisStateDb].map(|db| npu_redis.endpoint(db));
        let npu_config = file("npu.json", database_config(npu));
        let own = [Db::ConfigDb, Db::ApplDb, Db::StateDb].map(|db| dpu_redis.endpoint(db));
        let dpu = own.into_iter().chain(npu_redis.tcp_endpoint(Db::ChassisStateDb));
        let dpu_config = file("dpu.json", database_config(dpu));
        let (address, port, echo) = (Ipv4Addr::new(127, 88, 1, last), 0, None);
        let (_directory, probes) = (directory, Arc::default());
        let mut switch =
            Self { _directory, npu_redis, dpu_redis, npu_config, dpu_config, address, port, echo, probes };
        switch.midplane_up().await;
        let row = fields(&[("dpu_id", "1"), ("midplane_ipv4", &switch.address.to_string())]);
        switch.set(&switch.npu_redis, Table::Dpu, "dpu1", &row).await;
        switch.set(&switch.dpu_redis, Table::SystemReady, "SYSTEM_STATE", &fields(&[("Status", "UP")])).await;
        switch
    }

    async fn set(&self, redis: &RedisServer, table: Table, key: &str, row: &Fields) {
        let connection = Connection::open(&redis.endpoint(table.db())).await.unwrap();
        connection.hset(&table.redis_key(key), row).await.unwrap();
    }

    async fn midplane_up(&mut self) {
        let socket = UdpSocket::bind((self.address, self.port)).await.unwrap();
        self.port = socket.local_addr().unwrap().port();
        let probes = self.probes.clone();
        self.echo = Some(tokio::spawn(async move {
            let mut buffer = [0; 128];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                probes.fetch_add(1, Ordering::Relaxed);
                socket.send_to(&buffer[..length], from).await.unwrap();
            }
        }));
    }

    async fn midplane_down(&mut self) {
        let echo = self.echo.take().unwrap();
        echo.abort();
        assert!(echo.await.unwrap_err().is_cancelled());
    }

    fn pmond(&self, config: &Path, words: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_pmond"))
            .args(words)
            .arg("--database-config")
            .arg(config)
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    fn npu(&self) -> Child {
        self.npu_with_threshold(3)
    }

    fn npu_with_threshold(&self, threshold: u32) -> Child {
        let probe = format!("udp:{}", self.port);
        let threshold = threshold.to_string();
        let timing = ["--probe-interval-ms", "50", "--probe-fail-threshold", &threshold];
        self.pmond(&self.npu_config, &[&["--role", "npu", "--midplane-probe", &probe], &timing[..]].concat())
    }

    fn dpu(&self, boot_id: &str) -> Child {
        self.pmond(&self.dpu_config, &["--role", "dpu", "--dpu-id", "1", "--boot-id", boot_id])
    }

    /// Waits until DPU_STATE says this, and returns the row.
    async fn until(&self, expected: &[(&str, &str)]) -> Fields {
        let connection = Connection::open(&self.npu_redis.endpoint(Db::ChassisStateDb)).await.unwrap();
        let what = format!("DPU_STATE|DPU1 has {expected:?}");
        wait_until(&what, PATIENCE, async || {
            let row = connection.row(Table::DpuState, "DPU1").await.ok()??;
            expected.iter().all(|(name, text)| row.text(name) == Some(text)).then_some(row)
        })
        .await
        .unwrap()
    }
}

async fn terminate(mut child: Child) {
    let pid = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it leaves").unwrap();
    assert_eq!(status.code(), Some(0));
}

const UP: [(&str, &str); 4] = [
    ("dpu_midplane_link_state", "up"),
    ("dpu_control_plane_state", "up"),
    ("dpu_data_plane_state", "up"),
    ("ready_status", "true"),
];
const DOWN: [(&str, &str); 4] = [
    ("dpu_midplane_link_state", "down"),
    ("dpu_control_plane_state", "down"),
    ("dpu_data_plane_state", "down"),
    ("ready_status", "false"),
];

#[tokio::test]
async fn a_dpu_comes_up_dies_and_comes_back_in_another_life() {
    let mut switch = Switch::new(1).await;
    let (_npu, dpu) = (switch.npu(), switch.dpu("life-1"));
    let row = switch.until(&UP).await;
    assert_eq!(row.text("boot_id"), Some("life-1"));
    let connection = Connection::open(&switch.npu_redis.endpoint(Db::StateDb)).await.unwrap();
    wait_until("the midplane is accessible", PATIENCE, async || {
        let row = connection.row(Table::ChassisMidplane, "DPU1").await.unwrap()?;
        (row.text("access") == Some("True")).then_some(())
    })
    .await
    .unwrap();

    drop(dpu);
    switch.midplane_down().await;
    switch.until(&DOWN).await;

    switch.midplane_up().await;
    let row = switch.until(&[("dpu_midplane_link_state", "up")]).await;
    assert_eq!(row.text("dpu_control_plane_state"), Some("down"), "nobody on the DPU has said otherwise");
    let _dpu = switch.dpu("life-2");
    let row = switch.until(&UP).await;
    assert_eq!(row.text("boot_id"), Some("life-2"));
}

#[tokio::test]
async fn a_midplane_outage_that_the_dpu_survives_is_forced_down_and_raised_again() {
    let mut switch = Switch::new(2).await;
    let (_npu, _dpu) = (switch.npu(), switch.dpu("life-1"));
    switch.until(&UP).await;
    switch.midplane_down().await;
    switch.until(&DOWN).await;
    switch.midplane_up().await;
    let row = switch.until(&UP).await;
    assert_eq!(row.text("boot_id"), Some("life-1"));
}

#[tokio::test]
async fn services_ports_and_a_clean_exit_show_in_the_row() {
    let switch = Switch::new(3).await;
    let (_npu, dpu) = (switch.npu(), switch.dpu("life-1"));
    switch.until(&UP).await;
    switch.set(&switch.dpu_redis, Table::SystemReady, "SYSTEM_STATE", &fields(&[("Status", "DOWN")])).await;
    switch
        .until(&[
            ("dpu_control_plane_state", "down"),
            ("dpu_data_plane_state", "up"),
            ("ready_status", "false"),
        ])
        .await;
    switch.set(&switch.dpu_redis, Table::SystemReady, "SYSTEM_STATE", &fields(&[("Status", "UP")])).await;
    switch.until(&UP).await;
    switch.set(&switch.dpu_redis, Table::Port, "Ethernet0", &fields(&[("lanes", "0")])).await;
    switch.until(&[("dpu_control_plane_state", "up"), ("dpu_data_plane_state", "down")]).await;
    switch.set(&switch.dpu_redis, Table::PortTable, "Ethernet0", &fields(&[("oper_status", "up")])).await;
    switch.until(&UP).await;

    terminate(dpu).await;
    let exit = [
        ("dpu_midplane_link_state", "up"),
        ("dpu_control_plane_state", "down"),
        ("dpu_data_plane_state", "down"),
    ];
    switch.until(&exit).await;
}

#[tokio::test]
async fn the_row_survives_its_redis_and_its_writers() {
    let mut switch = Switch::new(4).await;
    let (npu, _dpu) = (switch.npu(), switch.dpu("life-1"));
    switch.until(&UP).await;

    let connection = Connection::open(&switch.npu_redis.endpoint(Db::ChassisStateDb)).await.unwrap();
    assert!(connection.del("DPU_STATE|DPU1").await.unwrap());
    switch.until(&UP).await;
    connection.flushdb().await.unwrap();
    switch.until(&UP).await;

    terminate(npu).await;
    switch.until(&UP).await;

    switch.npu_redis.restart().await.unwrap();
    switch.until(&[("dpu_control_plane_state", "up"), ("boot_id", "life-1")]).await;
    // The configuration went with the Redis: without it the midplane is nobody's.
    let row = fields(&[("dpu_id", "1"), ("midplane_ipv4", &switch.address.to_string())]);
    switch.set(&switch.npu_redis, Table::Dpu, "dpu1", &row).await;
    let _npu = switch.npu();
    switch.until(&UP).await;
}

#[tokio::test]
async fn at_rest_nobody_writes() {
    let switch = Switch::new(5).await;
    // No probe lost to a busy machine is to disturb the rest.
    let (_npu, _dpu) = (switch.npu_with_threshold(1000), switch.dpu("life-1"));
    switch.until(&UP).await;
    let connection = Connection::open(&switch.npu_redis.endpoint(Db::ChassisStateDb)).await.unwrap();
    let before = switch.until(&UP).await;
    // Everything that can change a hash; writers may use scripts, whose commands are counted too.
    let writes = async || {
        let stats = format!("{:?}", connection.command(&["INFO", "commandstats"]).await.unwrap());
        let of = |command: &str| {
            stats
                .split(&format!("cmdstat_{command}:"))
                .nth(1)
                .map(|rest| rest.split(',').next().map(str::to_owned))
        };
        ["hset", "hmset", "hdel", "del"].map(of)
    };
    let probes = switch.probes.load(Ordering::Relaxed);
    let writes_before = writes().await;
    wait_until("ten more rounds of probes", PATIENCE, async || {
        (switch.probes.load(Ordering::Relaxed) >= probes + 10).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(writes().await, writes_before);
    assert_eq!(switch.until(&UP).await, before);
}

#[tokio::test]
async fn a_database_missing_from_the_configuration_is_named() {
    let switch = Switch::new(6).await;
    // The NPU's configuration has no APPL_DB.
    let words = ["--role", "dpu", "--dpu-id", "1", "--boot-id", "x", "--database-config"];
    let command = Command::new(env!("CARGO_BIN_EXE_pmond")).args(words).arg(&switch.npu_config).output();
    let output = tokio::time::timeout(PATIENCE, command).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("APPL_DB"));
}
