//! `haorchd --bfd lite` and `--bfd frr` against an NPU that is `io/bfd-net`, in network namespaces: packets, not rows.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bfd::{Cause, Diagnostic, Hops, Interval, Link, Role, State};
use bfd_net::testing::{Bfdd, Net, skip};
use bfd_net::{Bind, Change, Events, Server, ServerConfig, Spec, Wanted};
use schema::dpu_appl_db::BfdKey;
use schema::dpu_state_db::{BfdProbeState, DashHa};
use schema::state_db::{BfdSoftwareSession, DpuBfdProbeState, NoKey};
use schema::{Db, Row, Table};
use swss::Connection;
use swss::testing::{RedisServer, database_config, wait_until};
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(60);
const NPU: &str = "10.9.0.1";
const NPU_V6: &str = "fd09::1";
const DPU: &str = "10.9.1.1";
const DPU_V6: &str = "fd09:1::1";

#[test]
fn the_built_in_backend_carries_the_sessions_and_says_goodbye() {
    on_net("haorchd --bfd lite", |net| story(net, None));
}

#[test]
fn bfdd_carries_the_sessions_and_is_filled_again_when_it_restarts() {
    on_net("haorchd --bfd frr", |net| story(net, Some(Bfdd::start(&net.there).unwrap())));
}

fn on_net(test: &str, act: impl FnOnce(&Net) + Send) {
    match Net::create(1) {
        Ok(net) => net.here.enter(|| act(&net)).unwrap(),
        Err(why) => skip(test, &why),
    }
}

fn story(net: &Net, bfdd: Option<Bfdd>) {
    // Workers of their own: the NPU's sessions must live while this thread waits for a program.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { dpu_story(net, bfdd).await });
}

async fn dpu_story(net: &Net, mut bfdd: Option<Bfdd>) {
    let redis = RedisServer::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    configure(directory.path(), &redis);
    let local = Connection::open(&redis.endpoint(Db::StateDb)).await.unwrap();
    let remote = Connection::open(&redis.endpoint(Db::DpuStateDb)).await.unwrap();

    // Sessions of somebody else than hamgrd: the agent leaves their rows alone, the manager runs them all the same.
    let rows = [(NPU, DPU), (NPU_V6, DPU_V6)].map(|(npu, dpu)| (BfdKey::to_npu(ip(npu)), row(ip(dpu))));
    for (key, row) in &rows {
        let key = Table::BfdSoftwareSession.redis_key(&BfdSoftwareSession::key_text(key));
        local.hset(&key, &row.to_fields()).await.unwrap();
    }
    let (npu, events) =
        Server::start(ServerConfig { bind: Bind::PerAddress, seed: 3 }).expect("there is a runtime");
    let mut heard = Heard { events, waiting: VecDeque::new() };
    npu.want(Wanted::from([(path(NPU, DPU), spec()), (path(NPU_V6, DPU_V6), spec())]));
    let mut haorchd = start(net, directory.path(), bfdd.as_ref());

    wait_until("all is up", PATIENCE, async || (npu.totals().sessions_up() == 2).then_some(()))
        .await
        .unwrap();
    let listed = BfdProbeState {
        v4_bfd_up_sessions: vec![NPU.parse().unwrap()],
        v6_bfd_up_sessions: vec![NPU_V6.parse().unwrap()],
        v4_bfd_up_sessions_timestamp: None,
        v6_bfd_up_sessions_timestamp: None,
    };
    wait_for_lists(&remote, &local, &listed).await;

    // A flush of the DPU's database on the NPU.
    remote.flushdb().await.unwrap();
    wait_for_lists(&remote, &local, &listed).await;

    // The row goes: the NPU is told at once, not after its detection time, which here is 5 s.
    let (gone, _) = &rows[0];
    let key = Table::BfdSoftwareSession.redis_key(&BfdSoftwareSession::key_text(gone));
    local.del(&key).await.unwrap();
    let down = heard.next(State::Down).await;
    assert_eq!((down.path, is_told(&down)), (path(NPU, DPU), true), "{down:?}");
    let only_v6 = BfdProbeState { v4_bfd_up_sessions: vec![], ..listed.clone() };
    wait_for_lists(&remote, &local, &only_v6).await;
    local.hset(&key, &rows[0].1.to_fields()).await.unwrap();
    heard.next(State::Up).await;
    wait_for_lists(&remote, &local, &listed).await;

    if let Some(bfdd) = &mut bfdd {
        bfdd.kill().unwrap();
        let none = BfdProbeState { v6_bfd_up_sessions: vec![], ..only_v6 };
        wait_for_lists(&remote, &local, &none).await;
        bfdd.start_again(&net.there).unwrap();
        wait_for_lists(&remote, &local, &listed).await;
    }

    // It is asked to leave: both NPUs hear AdminDown.
    wait_until("all is up", PATIENCE, async || (npu.totals().sessions_up() == 2).then_some(()))
        .await
        .unwrap();
    let pid = i32::try_from(haorchd.id().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
    for _ in 0..2 {
        let down = heard.next(State::Down).await;
        assert!(is_told(&down), "{down:?}");
    }
    assert!(tokio::time::timeout(PATIENCE, haorchd.wait()).await.unwrap().unwrap().success());
}

/// The peer said AdminDown. FRR 8.4 sends it without a diagnostic.
fn is_told(change: &Change) -> bool {
    matches!(
        change.cause,
        Some(Cause::PeerIs {
            state: State::AdminDown,
            diagnostic: Diagnostic::ADMINISTRATIVELY_DOWN | Diagnostic::NONE
        })
    )
}

/// The events of the NPU, one by one.
struct Heard {
    events: Events,
    waiting: VecDeque<Change>,
}

impl Heard {
    /// Reads until a session enters a state.
    async fn next(&mut self, state: State) -> Change {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                while let Some(change) = self.waiting.pop_front() {
                    if change.state == Some(state) {
                        return change;
                    }
                }
                self.waiting.extend(self.events.next().await.expect("the server is there"));
            }
        });
        found.await.unwrap_or_else(|_| panic!("no session became {state}"))
    }
}

async fn wait_for_lists(remote: &Connection, local: &Connection, wanted: &BfdProbeState) {
    let lists = |row: &BfdProbeState| (row.v4_bfd_up_sessions.clone(), row.v6_bfd_up_sessions.clone());
    let what = format!("both rows list {:?}", lists(wanted));
    wait_until(&what, PATIENCE, async || {
        let fields = remote.row(Table::DashBfdProbeState, &BfdProbeState::key_text(&DashHa)).await.ok()??;
        let there = BfdProbeState::from_fields("dash_ha", &fields).unwrap();
        let fields = local.row(Table::DpuBfdProbeState, &DpuBfdProbeState::key_text(&NoKey)).await.ok()??;
        let here = DpuBfdProbeState::from_fields("", &fields).unwrap();
        let same = here == DpuBfdProbeState::from(there.clone());
        (lists(&there) == lists(wanted) && same).then_some(())
    })
    .await
    .unwrap();
}

fn start(net: &Net, directory: &Path, bfdd: Option<&Bfdd>) -> Child {
    let mut command = net.there.command(env!("CARGO_BIN_EXE_haorchd"));
    command.args(["--dpu-id", "0", "--database-config"]).arg(directory.join("database_config.json"));
    if let Some(bfdd) = bfdd {
        command.args(["--bfd", "frr", "--frr-dir"]).arg(bfdd.directory());
    }
    Command::from(command).stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

fn configure(directory: &Path, redis: &RedisServer) {
    let databases = [Db::StateDb, Db::DpuApplDb, Db::DpuStateDb, Db::DpuApplStateDb];
    let text = database_config(databases.map(|db| redis.endpoint(db)));
    std::fs::write(directory.join("database_config.json"), text).unwrap();
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn row(dpu: IpAddr) -> BfdSoftwareSession {
    BfdSoftwareSession {
        tx_interval_ms: Some(200),
        rx_interval_ms: Some(200),
        multiplier: Some(25),
        multihop: true,
        shutdown: false,
        local_addr: Some(dpu),
        kind: Some("async_passive".to_owned()),
    }
}

fn path(npu: &str, dpu: &str) -> bfd::Path {
    bfd::Path { peer: ip(dpu), local: ip(npu), link: Link::ANY, hops: Hops::Multi }
}

fn spec() -> Spec {
    let interval = Interval::from_ms(200).unwrap();
    Spec {
        role: Role::Active,
        desired_min_tx: interval,
        required_min_rx: interval,
        detect_multiplier: NonZeroU8::new(25).unwrap(),
        min_ttl: 1,
        held_down: None,
    }
}
