//! The real process against real Redis servers; the test plays pmon and hamgrd.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use schema::appl_db::{HaScopeConfig, HaScopeConfigKey, HaSetConfig};
use schema::chassis_state_db::DpuState;
use schema::state_db::{DpuResetInfo, HaScopeState};
use schema::{
    AsicHaState, Db, DesiredHaState, Fields, HaScopeId, HaSetId, LinkState, OperationId, OperationType, Row,
    Slot, VdpuId,
};
use swss::Connection;
use swss::testing::{RedisServer, database_config, wait_until};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Two switches with a DPU each, a fleet file, a store.
struct Bench {
    dir: tempfile::TempDir,
    servers: [RedisServer; 2],
    ready: UnixDatagram,
}

struct Controller {
    child: Child,
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Controller {
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

fn vdpu(side: usize) -> VdpuId {
    VdpuId::new(format!("vdpu{side}_0")).unwrap()
}

fn scope(side: usize) -> HaScopeConfigKey {
    HaScopeConfigKey { vdpu: vdpu(side), scope: HaScopeId::new("haset0").unwrap() }
}

impl Bench {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let servers = [RedisServer::start().await.unwrap(), RedisServer::start().await.unwrap()];
        for (side, server) in servers.iter().enumerate() {
            let databases = [Db::ConfigDb, Db::ApplDb, Db::StateDb, Db::ChassisStateDb];
            let text = database_config(databases.map(|db| server.endpoint(db)));
            std::fs::write(dir.path().join(format!("switch{side}.json")), text).unwrap();
        }
        let ready = UnixDatagram::bind(dir.path().join("ready")).unwrap();
        ready.set_read_timeout(Some(TIMEOUT)).unwrap();
        let bench = Self { dir, servers, ready };
        bench.write_fleet(&bench.fleet("up"));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_fleet(&self, text: &str) {
        std::fs::write(self.path("fleet.toml"), text).unwrap();
    }

    fn fleet(&self, admin_of_0: &str) -> String {
        format!(
            r#"
            timing = {{ down_debounce_ms = 50, up_debounce_ms = 20 }}
            [[switch]]
            name = "switch0"
            database_config = "switch0.json"
            [[switch]]
            name = "switch1"
            database_config = "switch1.json"
            [[vdpu]]
            id = "vdpu0_0"
            switch = "switch0"
            slot = 0
            admin = "{admin_of_0}"
            [[vdpu]]
            id = "vdpu1_0"
            switch = "switch1"
            slot = 0
            [[ha_set]]
            id = "haset0"
            vip_v4 = "10.3.0.1"
            vdpus = ["vdpu0_0", "vdpu1_0"]
            active = "vdpu0_0"
            "#
        )
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ha-controller"));
        command.arg("--fleet").arg(self.path("fleet.toml")).arg("--store").arg(self.path("store.redb"));
        command.env("NOTIFY_SOCKET", self.path("ready")).env("RUST_LOG", "debug");
        command
    }

    /// Starts the controller and waits until it says that it is ready.
    fn controller(&self) -> Controller {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let child = self.command().stderr(log).spawn().unwrap();
        let mut message = [0; 64];
        let length = self.ready.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1");
        Controller { child }
    }

    async fn open(&self, side: usize, db: Db) -> Connection {
        Connection::open(&self.servers[side].endpoint(db)).await.unwrap()
    }

    async fn put<R: Row>(&self, side: usize, key: &R::Key, row: &R) {
        let db = self.open(side, R::TABLE.db()).await;
        let redis_key = R::TABLE.redis_key(&R::key_text(key));
        let stale: Vec<String> =
            db.hgetall(&redis_key).await.unwrap().iter().map(|(n, _)| n.to_owned()).collect();
        let fields = row.to_fields();
        db.hset(&redis_key, &fields).await.unwrap();
        for name in stale.iter().filter(|name| fields.get(name).is_none()) {
            db.hdel(&redis_key, &[name]).await.unwrap();
        }
    }

    async fn get<R: Row>(&self, side: usize, key: &R::Key) -> Option<R> {
        let fields = self.open(side, R::TABLE.db()).await.row(R::TABLE, &R::key_text(key)).await.unwrap()?;
        Some(R::from_fields(&R::key_text(key), &fields).unwrap())
    }

    async fn remove<R: Row>(&self, side: usize, key: &R::Key) {
        let db = self.open(side, R::TABLE.db()).await;
        assert!(db.del(&R::TABLE.redis_key(&R::key_text(key))).await.unwrap());
    }

    /// pmon and hamgrd: the DPU's planes and its life.
    async fn dpu(&self, side: usize, planes: LinkState, incarnation: u64, reset: bool) {
        let mut info = DpuResetInfo::from_fields("DPU0", &Fields::new()).unwrap();
        info.reset_status = reset;
        info.dpu_ready = Some(planes == LinkState::Up);
        info.incarnation = Some(incarnation);
        self.put(side, &Slot(0), &info).await;
        let mut state = DpuState::from_fields("DPU0", &Fields::new()).unwrap();
        state.midplane_link_state = Some(planes);
        state.control_plane_state = Some(planes);
        self.put(side, &Slot(0), &state).await;
    }

    /// hamgrd reports the scope, perhaps with an operation that waits for approval.
    async fn report(&self, side: usize, state: AsicHaState, operation: Option<&str>) {
        let config: HaScopeConfig = self.get(side, &scope(side)).await.unwrap();
        let mut row = HaScopeState::from_fields("", &Fields::new()).unwrap();
        row.version = Some(config.version);
        row.local_ha_state = Some(state);
        row.pending_operation_ids = operation.iter().map(|id| OperationId::new(*id).unwrap()).collect();
        row.pending_operation_types = operation.iter().map(|_| OperationType::ActivateRole).collect();
        self.put(side, &scope(side), &row).await;
    }

    async fn until_scope(&self, side: usize, what: &str, is: impl Fn(Option<&HaScopeConfig>) -> bool) {
        let check = async || is(self.get::<HaScopeConfig>(side, &scope(side)).await.as_ref()).then_some(());
        self.until(what, check).await;
    }

    async fn until_set(&self, side: usize, what: &str, there: bool) {
        let set = HaSetId::new("haset0").unwrap();
        let check = async || (self.get::<HaSetConfig>(side, &set).await.is_some() == there).then_some(());
        self.until(what, check).await;
    }

    async fn until(&self, what: &str, check: impl AsyncFnMut() -> Option<()>) {
        if let Err(error) = wait_until(what, TIMEOUT, check).await {
            panic!("{error}\n{}", std::fs::read_to_string(self.path("log")).unwrap());
        }
    }

    /// Programmed, approved, active and standby.
    async fn settle(&self) {
        for side in 0..2 {
            self.dpu(side, LinkState::Up, 1, false).await;
        }
        for side in 0..2 {
            self.until_scope(side, "the scope is programmed", |scope| scope.is_some()).await;
            self.until_set(side, "the set is programmed", true).await;
        }
        let desired =
            async |side| self.get::<HaScopeConfig>(side, &scope(side)).await.unwrap().desired_ha_state;
        assert_eq!(desired(0).await, DesiredHaState::Active);
        assert_eq!(desired(1).await, DesiredHaState::Unspecified);
        self.report(1, AsicHaState::PendingStandbyActivation, Some("b")).await;
        self.report(0, AsicHaState::PendingActiveActivation, Some("a")).await;
        for (side, id) in [(0, "a"), (1, "b")] {
            self.until_scope(side, "the operation is approved", |scope| is_approved(scope, id)).await;
        }
        self.report(0, AsicHaState::Active, None).await;
        self.report(1, AsicHaState::Standby, None).await;
    }
}

fn is_approved(scope: Option<&HaScopeConfig>, id: &str) -> bool {
    scope.is_some_and(|scope| {
        scope.approved_pending_operation_ids.iter().any(|approved| approved.as_str() == id)
    })
}

#[tokio::test]
async fn a_restart_with_the_controller_killed_in_the_middle_is_finished() {
    let bench = Bench::start().await;
    let controller = bench.controller();
    bench.settle().await;
    let version = bench.get::<HaScopeConfig>(0, &scope(0)).await.unwrap().version;

    // A bad fleet file changes nothing.
    bench.write_fleet("[[switch]]\nname = 7\n");
    controller.signal("-HUP");

    bench.dpu(0, LinkState::Down, 1, true).await;
    bench.until_scope(0, "the scope is deleted", |scope| scope.is_none()).await;
    bench.until_set(0, "the set waits for the scope's state to go", true).await;
    bench.write_fleet(&bench.fleet("up"));
    drop(controller);
    bench.report_gone(0).await;
    let controller = bench.controller();
    bench.until_set(0, "the set is deleted", false).await;
    bench.until_set(1, "the peer's set stays", true).await;

    bench.report(1, AsicHaState::Standalone, None).await;
    bench.dpu(0, LinkState::Up, 2, true).await;
    bench.until_scope(0, "the scope is programmed again", |scope| scope.is_some()).await;
    let again = bench.get::<HaScopeConfig>(0, &scope(0)).await.unwrap();
    assert_eq!(again.desired_ha_state, DesiredHaState::Unspecified, "the survivor decides");
    assert!(again.version.parse::<u32>().unwrap() > version.parse().unwrap());
    bench.report(0, AsicHaState::PendingStandbyActivation, Some("a2")).await;
    bench.until_scope(0, "the rejoining side is approved", |scope| is_approved(scope, "a2")).await;
    bench.report(0, AsicHaState::Standby, None).await;
    let lowered = async || {
        let reset = bench.get::<DpuResetInfo>(0, &Slot(0)).await.unwrap();
        (!reset.reset_status && reset.incarnation == Some(2)).then_some(())
    };
    bench.until("the reset latch is lowered", lowered).await;

    // A planned shutdown by SIGHUP.
    bench.write_fleet(&bench.fleet("down"));
    controller.signal("-HUP");
    let is_dead = |scope: Option<&HaScopeConfig>| {
        scope.is_some_and(|scope| scope.desired_ha_state == DesiredHaState::Dead)
    };
    bench.until_scope(0, "the scope shall be dead", is_dead).await;
}

impl Bench {
    async fn report_gone(&self, side: usize) {
        self.remove::<HaScopeState>(side, &scope(side)).await;
    }
}

#[tokio::test]
async fn a_switch_that_cannot_be_reached_holds_nobody_else_up() {
    let mut bench = Bench::start().await;
    bench.servers[0].stop().await.unwrap();
    std::fs::rename(bench.path("switch0.json"), bench.path("late.json")).unwrap();
    let _controller = bench.controller();
    bench.dpu(1, LinkState::Up, 1, false).await;
    bench.until_scope(1, "the reachable side is programmed", |scope| scope.is_some()).await;

    // Its files and its server come late, and it is programmed without anybody's help.
    std::fs::rename(bench.path("late.json"), bench.path("switch0.json")).unwrap();
    bench.servers[0].restart().await.unwrap();
    bench.dpu(0, LinkState::Up, 1, false).await;
    bench.until_scope(0, "the late side is programmed", |scope| scope.is_some()).await;

    // Its server restarts empty: the configuration is programmed again.
    bench.servers[0].kill().unwrap();
    bench.servers[0].restart().await.unwrap();
    bench.dpu(0, LinkState::Up, 1, false).await;
    bench.until_scope(0, "the emptied side is programmed", |scope| scope.is_some()).await;
}

#[tokio::test]
async fn wrong_use_exits_with_2_and_a_damaged_store_with_3() {
    let bench = Bench::start().await;
    let run = || {
        let output = bench.command().stdout(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    std::fs::write(bench.path("store.redb"), [0x5a; 5000]).unwrap();
    let (code, log) = run();
    assert_eq!(code, Some(3), "{log}");
    assert!(log.contains("store.redb"), "{log}");

    bench.write_fleet("[[vdpu]]\nid = \"v\"\nswitch = \"s\"\nslot = 0\n");
    let (code, log) = run();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("fleet.toml:3: vdpu.switch: there is no switch s"), "{log}");

    let code = bench.command().arg("--nonsense").stderr(Stdio::null()).status().unwrap().code();
    assert_eq!(code, Some(2));
}
