//! Two `haorchd` processes as the DPUs of a HA set: real Redis, real UDP between the modelled ASICs.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reconcile::{Op, RowWrite, StoreUpdate};
use schema::dpu_appl_db::{BfdKey, BfdSession, HaScope, HaSet};
use schema::dpu_appl_state_db::{HaScopeResult, HaSetResult};
use schema::dpu_state_db::{HaScopeState, HaSetState};
use schema::{
    AsicHaRole, AsicHaState, Db, Fields, HaOwner, HaScopeKind, HaSetId, LinkState, Row, RowKey, Table,
};
use swss::testing::{RedisServer, database_config, wait_until};
use swss::{Connection, Mode, Store};
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(60);
const SET: &str = "haset0";
const NPU: &str = "10.1.0.32";

/// One DPU: a Redis for all its databases, a process, and a writer in hamgrd's place.
struct Dpu {
    directory: TempDir,
    redis: RedisServer,
    store: Store,
    address: String,
    peer: String,
    process: Option<Child>,
}

impl Dpu {
    async fn new(address: &str, peer: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let redis = RedisServer::start().await.unwrap();
        configure(directory.path(), &redis);
        let tables = [
            (Table::DashHaSet, Mode::ProducerState),
            (Table::DashHaScope, Mode::ProducerState),
            (Table::BfdSession, Mode::ProducerState),
        ];
        let mut store = Store::open(&redis.endpoint(Db::DpuApplDb), &tables);
        assert!(matches!(store.next().await, StoreUpdate::Snapshot(_)));
        let (address, peer) = (address.to_owned(), peer.to_owned());
        Self { directory, redis, store, address, peer, process: None }
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("database_config.json")
    }

    /// Starts the process and waits until it says that it is ready.
    async fn start(&mut self) {
        let notify = self.directory.path().join("notify");
        if notify.exists() {
            std::fs::remove_file(&notify).unwrap();
        }
        let socket = UnixDatagram::bind(&notify).unwrap();
        let log = std::fs::File::create(self.directory.path().join("haorchd.log")).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_haorchd"))
            .args(["--dpu-id", "0", "--asic", "model", "--peer-wait-ms", "1000", "--database-config"])
            .arg(self.config())
            .env("NOTIFY_SOCKET", &notify)
            .env("RUST_LOG", "debug")
            .stdout(log.try_clone().unwrap())
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.process = Some(process);
        let mut word = [0; 16];
        let length = tokio::time::timeout(PATIENCE, socket.recv(&mut word)).await.expect("ready").unwrap();
        assert_eq!(&word[..length], b"READY=1");
    }

    async fn kill(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }

    /// What `dpu-dbclean` does at boot; here with a bare flush, which tells nobody.
    async fn flush(&self) {
        for db in [Db::DpuApplDb, Db::DpuStateDb, Db::DpuApplStateDb] {
            self.connection(db).await.flushdb().await.unwrap();
        }
    }

    async fn connection(&self, db: Db) -> Connection {
        Connection::open(&self.redis.endpoint(db)).await.unwrap()
    }

    fn write<R: Row>(&self, key: &R::Key, row: Option<&R>) {
        let op = row.map_or(Op::Del, |row| Op::Set(row.to_fields()));
        self.store.write(vec![RowWrite { table: R::TABLE, key: R::key_text(key), op }]);
    }

    fn configure(&self, role: AsicHaRole) {
        self.write(&set_id(), Some(&self.set()));
        self.write(&npu(), Some(&self.session()));
        self.write(&set_id().into(), Some(&scope(role)));
    }

    fn set(&self) -> HaSet {
        HaSet {
            version: Some("1".into()),
            vip_v4: Some("10.3.0.1".parse().unwrap()),
            vip_v6: None,
            owner: Some(HaOwner::Dpu),
            scope: Some(HaScopeKind::Dpu),
            local_npu_ip: None,
            local_ip: Some(self.address.parse().unwrap()),
            peer_ip: Some(self.peer.parse().unwrap()),
            cp_data_channel_port: Some(11_362),
            dp_channel_dst_port: Some(11_368),
            dp_channel_src_port_min: Some(49_152),
            dp_channel_src_port_max: Some(53_247),
            dp_channel_probe_interval_ms: Some(100),
            dp_channel_probe_fail_threshold: Some(5),
        }
    }

    fn session(&self) -> BfdSession {
        BfdSession {
            tx_interval_ms: Some(100),
            rx_interval_ms: Some(100),
            multiplier: Some(3),
            multihop: true,
            shutdown: false,
            local_addr: Some(self.address.parse().unwrap()),
            kind: Some("passive".into()),
        }
    }

    async fn row<R: Row>(&self, key: &R::Key) -> Option<R> {
        let key = R::key_text(key);
        let fields = self.connection(R::TABLE.db()).await.row(R::TABLE, &key).await.unwrap()?;
        Some(R::from_fields(&key, &fields).unwrap())
    }

    async fn state(&self) -> Option<HaScopeState> {
        self.row(&set_id().into()).await
    }

    async fn bfd(&self) -> Vec<String> {
        self.connection(Db::StateDb)
            .await
            .rows(Table::BfdSoftwareSession)
            .await
            .unwrap()
            .into_keys()
            .collect()
    }

    async fn wait_for(&self, state: AsicHaState) -> HaScopeState {
        let what = format!("{} is {state}", self.address);
        let reached = wait_until(&what, PATIENCE, async || {
            self.state().await.filter(|row| row.ha_state == Some(state))
        });
        match reached.await {
            Ok(row) => row,
            Err(error) => {
                let log = std::fs::read_to_string(self.directory.path().join("haorchd.log")).unwrap();
                panic!("{error}; it is {:?}; its log:\n{log}", self.state().await);
            }
        }
    }

    /// Approves as hamgrd does: a level, lowered once the flag is lowered.
    async fn approve(&self, role: AsicHaRole, pending: AsicHaState) {
        assert!(self.wait_for(pending).await.activate_role_pending);
        self.write(&set_id().into(), Some(&HaScope { activate_role_requested: Some(true), ..scope(role) }));
        wait_until("the flag is lowered", PATIENCE, async || {
            self.state().await.filter(|row| !row.activate_role_pending)
        })
        .await
        .unwrap();
        self.write(&set_id().into(), Some(&scope(role)));
    }
}

fn configure(directory: &Path, redis: &RedisServer) {
    let databases = [Db::StateDb, Db::DpuApplDb, Db::DpuStateDb, Db::DpuApplStateDb];
    let text = database_config(databases.map(|db| redis.endpoint(db)));
    std::fs::write(directory.join("database_config.json"), text).unwrap();
}

fn set_id() -> HaSetId {
    HaSetId::new(SET).unwrap()
}

fn npu() -> BfdKey {
    BfdKey::to_npu(NPU.parse().unwrap())
}

fn scope(role: AsicHaRole) -> HaScope {
    HaScope {
        version: Some("1".into()),
        disabled: false,
        ha_role: role,
        ha_term: None,
        ha_set_id: Some(set_id()),
        vip_v4: Some("10.3.0.1".parse().unwrap()),
        vip_v6: None,
        flow_reconcile_requested: Some(false),
        activate_role_requested: Some(false),
        brainsplit_recovered: Some(false),
    }
}

/// A pair of addresses of its own for each test.
fn addresses(test: u8) -> (String, String) {
    let block = 100 + std::process::id() % 100;
    (format!("127.{block}.{test}.1"), format!("127.{block}.{test}.2"))
}

async fn settled(test: u8) -> (Dpu, Dpu) {
    let (a, b) = addresses(test);
    let (mut a, mut b) = (Dpu::new(&a, &b).await, Dpu::new(&b, &a).await);
    a.start().await;
    b.start().await;
    a.configure(AsicHaRole::Active);
    b.configure(AsicHaRole::Standby);
    a.approve(AsicHaRole::Active, AsicHaState::PendingActiveActivation).await;
    a.wait_for(AsicHaState::Active).await;
    b.approve(AsicHaRole::Standby, AsicHaState::PendingStandbyActivation).await;
    b.wait_for(AsicHaState::Standby).await;
    (a, b)
}

async fn wait_for_bfd(dpu: &Dpu, count: usize) {
    wait_until("BFD follows", PATIENCE, async || (dpu.bfd().await.len() == count).then_some(()))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_pair_settles_and_survives_the_restart_of_its_active_side() {
    let (mut a, b) = settled(1).await;
    for dpu in [&a, &b] {
        wait_for_bfd(dpu, 1).await;
        assert_eq!(dpu.bfd().await, [npu().to_text('|')]);
        let result: HaScopeResult = dpu.row(&set_id().into()).await.unwrap();
        assert_eq!((result.result, result.version.as_deref()), (0, Some("1")));
        assert_eq!(dpu.row::<HaSetResult>(&set_id()).await.unwrap().result, 0);
        let channel: HaSetState = dpu.row(&set_id()).await.unwrap();
        assert_eq!(channel.dp_channel_is_alive, Some(LinkState::Up));
    }

    a.kill().await;
    let survivor = b.wait_for(AsicHaState::Standalone).await;
    assert_eq!(survivor.ha_role, Some(AsicHaRole::Standalone));
    wait_until("the survivor wants to reconcile", PATIENCE, async || {
        b.state().await.filter(|row| row.flow_reconcile_pending)
    })
    .await
    .unwrap();
    wait_for_bfd(&b, 1).await;
    assert_eq!(a.bfd().await.len(), 1, "nobody was left to withdraw it");

    // The DPU boots: databases emptied, BFD of its earlier life withdrawn by the new process.
    a.flush().await;
    a.start().await;
    wait_for_bfd(&a, 0).await;
    assert_eq!(a.state().await, None);
    a.configure(AsicHaRole::Active);
    a.approve(AsicHaRole::Active, AsicHaState::PendingStandbyActivation).await;
    a.wait_for(AsicHaState::Standby).await;
    b.wait_for(AsicHaState::Active).await;
    wait_for_bfd(&a, 1).await;
}

#[tokio::test]
async fn planned_shutdown_moves_the_pair_and_back_without_hamgrd_writing_bfd_again() {
    let (a, b) = settled(2).await;
    wait_for_bfd(&a, 1).await;
    a.write(&set_id().into(), Some(&scope(AsicHaRole::Dead)));
    a.wait_for(AsicHaState::Dead).await;
    assert_eq!(a.bfd().await.len(), 0);
    b.wait_for(AsicHaState::Standalone).await;
    a.write(&set_id().into(), Some(&scope(AsicHaRole::Active)));
    a.approve(AsicHaRole::Active, AsicHaState::PendingStandbyActivation).await;
    a.wait_for(AsicHaState::Standby).await;
    wait_for_bfd(&a, 1).await;
    b.wait_for(AsicHaState::Active).await;
}

#[tokio::test]
async fn a_flush_while_it_runs_is_answered_with_the_rows_that_are_true() {
    let (a, _b) = settled(3).await;
    a.connection(Db::DpuStateDb).await.flushdb().await.unwrap();
    assert_eq!(a.wait_for(AsicHaState::Active).await.ha_role, Some(AsicHaRole::Active));
    // A bad row says so, and stops nothing.
    let bad = Fields::from_iter([("ha_role", "sideways"), ("ha_set_id", SET)]);
    a.store.write(vec![RowWrite { table: Table::DashHaScope, key: SET.into(), op: Op::Set(bad) }]);
    wait_until("the result says so", PATIENCE, async || {
        a.row::<HaScopeResult>(&set_id().into()).await.filter(|row| row.result == 1)
    })
    .await
    .unwrap();
    assert_eq!(a.state().await.unwrap().ha_state, Some(AsicHaState::Active));
    // hamgrd removes everything.
    a.write::<HaScope>(&set_id().into(), None);
    a.write::<BfdSession>(&npu(), None);
    a.write::<HaSet>(&set_id(), None);
    wait_until("nothing is left", PATIENCE, async || {
        let rows = [
            a.connection(Db::DpuStateDb).await.rows(Table::DpuDashHaScopeState).await.unwrap(),
            a.connection(Db::DpuStateDb).await.rows(Table::DpuDashHaSetState).await.unwrap(),
            a.connection(Db::DpuApplStateDb).await.rows(Table::DashHaScopeResult).await.unwrap(),
            a.connection(Db::DpuApplStateDb).await.rows(Table::DashHaSetResult).await.unwrap(),
        ];
        (rows.iter().all(|rows| rows.is_empty()) && a.bfd().await.is_empty()).then_some(())
    })
    .await
    .unwrap();
}
