//! What no notification tells of: servers and connections that are silent, databases that are swapped, servers that
//! load, and limits that a full read would break. The slow tests of this suite: 5 s of silence are waited for.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reconcile::StoreUpdate;
use schema::{Db, Table};
use swss::raw::{self, Seen};
use swss::{Address, Endpoint, Mode, NamedEndpoint, Reader, Store, Update};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::support::*;

const TABLE: Table = Table::DashHaScopeState;
const ROW: &str = "DASH_HA_SCOPE_STATE|k";
const PRODUCED: Table = Table::DashHaSet;

#[tokio::test]
async fn a_server_that_hangs_is_left_and_found_again() {
    let server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let connection = connect(&endpoint).await;
    connection.hset(ROW, &fields(&[("a", "1")])).await.unwrap();
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    let mut store = Store::open(&endpoint, &[(Table::DpuResetInfo, Mode::Table)]);
    until_synced(&mut reader).await;
    next_snapshot(&mut store).await;
    server.pause().unwrap();
    assert!(matches!(next(&mut reader).await, Update::Lost { .. }));
    assert_eq!(next_update(&mut store).await, StoreUpdate::Lost);
    server.resume().unwrap();
    let connection = connect(&endpoint).await;
    connection.hset(ROW, &fields(&[("a", "2")])).await.unwrap();
    let mut belief = Belief::default();
    belief.follow_until(&mut reader, |belief| belief.rows.values().eq([&fields(&[("a", "2")])])).await;
    assert_eq!(next_snapshot(&mut store).await, []);
}

/// A wire to a server that can go dead: both ends stay open, and nothing passes any more.
struct DeadWire {
    is_dead: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl DeadWire {
    fn between(here: &Path, there: PathBuf) -> Self {
        let listener = UnixListener::bind(here).unwrap();
        let is_dead = Arc::new(AtomicBool::new(false));
        let dies = is_dead.clone();
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = UnixStream::connect(&there).await.unwrap();
                let (near, far) = (near.into_split(), far.into_split());
                tokio::spawn(pass(near.0, far.1, dies.clone()));
                tokio::spawn(pass(far.0, near.1, dies.clone()));
            }
        });
        Self { is_dead, task }
    }
}

impl Drop for DeadWire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    mut from: tokio::net::unix::OwnedReadHalf,
    mut to: tokio::net::unix::OwnedWriteHalf,
    dies: Arc<AtomicBool>,
) {
    let mut bytes = vec![0; 4096];
    // Once it is dead what comes is read and lost: as on a link whose other end is gone without a word.
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if !dies.load(Ordering::Relaxed) && to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_half_open_is_left() {
    let server = server().await;
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().join("wire");
    let wire = DeadWire::between(&here, server.socket().to_owned());
    let endpoint = Endpoint { address: Address::Unix(here), ..server.endpoint(Db::StateDb) };
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    let mut store = Store::open(&endpoint, &[(Table::DpuResetInfo, Mode::Table)]);
    until_synced(&mut reader).await;
    next_snapshot(&mut store).await;
    wire.is_dead.store(true, Ordering::Relaxed);
    let connection = connect(&server.endpoint(Db::StateDb)).await;
    connection.hset(ROW, &fields(&[("a", "1")])).await.unwrap();
    assert!(matches!(next(&mut reader).await, Update::Lost { .. }));
    assert_eq!(next_update(&mut store).await, StoreUpdate::Lost);
    wire.is_dead.store(false, Ordering::Relaxed);
    assert_eq!(until_synced(&mut reader).await, [change(TABLE, "k", Some(fields(&[("a", "1")])))]);
    assert_eq!(next_snapshot(&mut store).await, []);
}

/// 2.6: Redis tells nobody.
#[tokio::test]
async fn a_database_that_is_swapped_for_another_is_noticed() {
    let server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let connection = connect(&endpoint).await;
    connection.hset(ROW, &fields(&[("a", "1")])).await.unwrap();
    connection.hset("DPU_RESET_INFO|DPU0", &fields(&[("a", "1")])).await.unwrap();
    let produced = server.endpoint(Db::DpuApplDb);
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    let mut store = Store::open(&endpoint, &[(Table::DpuResetInfo, Mode::Table)]);
    let mut consumer = Reader::consume(&produced, &[PRODUCED]);
    let mut watch = raw::Watch::new(NamedEndpoint::from(&endpoint), &["DASH_HA_SCOPE_STATE".to_owned()]);
    until_synced(&mut reader).await;
    until_synced(&mut consumer).await;
    assert_eq!(next_snapshot(&mut store).await.len(), 1);
    while watch.next().await != Seen::Synced {}

    let other = Endpoint { index: 90, ..endpoint.clone() };
    let other = connect(&other).await;
    other.hset("DASH_HA_SCOPE_STATE|other", &fields(&[("a", "2")])).await.unwrap();
    let script = r"
        redis.call('SELECT', 91)
        redis.call('HSET', 'DASH_HA_SET_TABLE:k', 'a', '3')
        redis.call('SWAPDB', ARGV[1], '90')
        redis.call('SWAPDB', ARGV[2], '91')";
    let (one, two) = (endpoint.index.to_string(), produced.index.to_string());
    connection.command(&["EVAL", script, "0", &one, &two]).await.unwrap();
    let expected = [change(TABLE, "k", None), change(TABLE, "other", Some(fields(&[("a", "2")])))];
    assert_eq!(until_synced(&mut reader).await, expected);
    assert_eq!(until_synced(&mut consumer).await, [change(PRODUCED, "k", Some(fields(&[("a", "3")])))]);
    until_snapshot(&mut store, &[]).await;
    let mut seen = Vec::new();
    tokio::time::timeout(PATIENCE, async {
        loop {
            match watch.next().await {
                Seen::Changed(change) => seen.push((change.key, change.now.is_some())),
                Seen::Synced => return,
                Seen::Lost { reason } => panic!("{reason}"),
            }
        }
    })
    .await
    .expect("the watch reads again");
    assert_eq!(seen, [("k".to_owned(), false), ("other".to_owned(), true)]);
}

/// Events are switched off while they are needed, and rows change: they are switched on again, and read.
#[tokio::test]
async fn events_that_somebody_switches_off_are_switched_on_again() {
    let server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let connection = connect(&endpoint).await;
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    let mut store = Store::open(&endpoint, &[(Table::DpuResetInfo, Mode::Table)]);
    until_synced(&mut reader).await;
    next_snapshot(&mut store).await;
    connection.command(&["CONFIG", "SET", "notify-keyspace-events", ""]).await.unwrap();
    connection.hset(ROW, &fields(&[("a", "1")])).await.unwrap();
    connection.hset("DPU_RESET_INFO|DPU0", &fields(&[("a", "1")])).await.unwrap();
    assert_eq!(until_synced(&mut reader).await, [change(TABLE, "k", Some(fields(&[("a", "1")])))]);
    until_snapshot(&mut store, &[row(Table::DpuResetInfo, "DPU0", &[("a", "1")], true)]).await;
}

struct Loading(Child);

impl Drop for Loading {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_loading_is_tried_until_it_serves() {
    const FILL: &str = r"
        for i = 1, 3000 do redis.call('HSET', 'DASH_HA_SCOPE_STATE|' .. i, 'a', '1') end";
    let directory = tempfile::tempdir().unwrap();
    {
        let options = swss::testing::ServerOptions { dir: Some(directory.path().to_owned()), tcp: None };
        let server = swss::testing::RedisServer::start_with(options).await.unwrap();
        let connection = connect(&server.endpoint(Db::StateDb)).await;
        connection.command(&["EVAL", FILL, "0"]).await.unwrap();
        connection.command(&["SAVE"]).await.unwrap();
    }
    let socket = directory.path().join("redis.sock");
    let endpoint = swss::testing::endpoint(Db::StateDb, Address::Unix(socket.clone()));
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    let mut store = Store::open(&endpoint, &[(Table::DpuResetInfo, Mode::Table)]);
    let mut redis = Command::new("redis-server");
    redis.arg("--unixsocket").arg(&socket).args(["--port", "0", "--databases", "100"]).arg("--dir");
    redis.arg(directory.path()).args([
        "--key-load-delay",
        "1000",
        "--loading-process-events-interval-bytes",
        "1024",
    ]);
    let _redis = Loading(redis.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
    swss::testing::wait_until("it says that it loads", PATIENCE, async || {
        let mut connection = std::os::unix::net::UnixStream::connect(&socket).ok()?;
        connection.write_all(b"GET x\r\n").ok()?;
        let mut answer = [0; 8];
        std::io::Read::read_exact(&mut connection, &mut answer).ok()?;
        (&answer == b"-LOADING").then_some(())
    })
    .await
    .unwrap();
    assert_eq!(until_synced(&mut reader).await.len(), 3000);
    next_snapshot(&mut store).await;
}

/// 9.6, with a limit that stays: what a full read asks for at once has to fit it.
#[tokio::test]
async fn rows_that_are_huge_are_read_in_as_many_parts_as_the_servers_limit_asks_for() {
    const FILL: &str = r"
        for i = 1, 200 do
            redis.call('HSET', 'DASH_HA_SCOPE_STATE|' .. i, 'a', string.rep('x', 100000))
            redis.call('HSET', 'DPU_RESET_INFO|DPU' .. i, 'a', string.rep('x', 100000))
        end";
    let server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let connection = connect(&endpoint).await;
    connection.command(&["EVAL", FILL, "0"]).await.unwrap();
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1000000 0 0"];
    connection.command(&limit).await.unwrap();
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    let mut store = Store::open(&endpoint, &[(Table::DpuResetInfo, Mode::Table)]);
    assert_eq!(until_synced(&mut reader).await.len(), 200);
    assert_eq!(next_snapshot(&mut store).await.len(), 200);
}
