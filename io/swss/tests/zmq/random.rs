//! Both ends, a real Redis and a wire that is cut anywhere, under a schedule drawn from a seed: once the faults stop,
//! the plan, the database and the consumer agree, and every row counts as consumed.
//!
//! `ZMQ_SEEDS=first..last` runs other seeds than those of every day.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reconcile::{IdSource, Plan, Reconciler, RowId, StoreEvent, StoreUpdate};
use schema::{Db, Fields, Table};
use swss::testing::RedisServer;
use swss::{Connection, Endpoint, Reader, Store, Update, ZmqAddress, ZmqPeer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::*;

const REQUEST: &str = "activate_role_requested";
const STEPS: usize = 60;

type Rows = BTreeMap<(Table, String), Fields>;

/// A consumer, and what its user has.
struct Consumer {
    rows: Arc<Mutex<Rows>>,
    task: JoinHandle<()>,
}

impl Consumer {
    fn start(path: &Path, endpoint: &Endpoint) -> Self {
        let rows = Arc::new(Mutex::new(Rows::new()));
        let seen = rows.clone();
        let mut reader = Reader::serve_zmq(&ZmqAddress::Ipc(path.to_owned()), endpoint, TABLES);
        let task = tokio::spawn(async move {
            loop {
                let Update::Changes(changes) = reader.next().await else { continue };
                let mut rows = seen.lock().unwrap();
                for change in changes {
                    match change.fields {
                        Some(fields) => rows.insert((change.table, change.key), fields),
                        None => rows.remove(&(change.table, change.key)),
                    };
                }
            }
        });
        Self { rows, task }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The wire between them.
struct Wire {
    links: Arc<Mutex<Vec<JoinHandle<()>>>>,
    task: JoinHandle<()>,
}

impl Wire {
    fn between(here: &Path, there: PathBuf) -> Self {
        let listener = UnixListener::bind(here).unwrap();
        let links = Arc::new(Mutex::new(Vec::new()));
        let made = links.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((mut one, _)) = listener.accept().await else { continue };
                let Ok(mut other) = UnixStream::connect(&there).await else { continue };
                let link = tokio::spawn(async move {
                    // However it ends, both ends are closed.
                    let copied =
                        tokio::io::copy_bidirectional_with_sizes(&mut one, &mut other, 100, 100).await;
                    drop(copied);
                });
                made.lock().unwrap().push(link);
            }
        });
        Self { links, task }
    }

    fn cut(&self) {
        self.links.lock().unwrap().drain(..).for_each(|link| link.abort());
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

struct World {
    random: IdSource,
    server: RedisServer,
    endpoint: Endpoint,
    directory: tempfile::TempDir,
    wire: Wire,
    consumer: Consumer,
    store: Store,
    peer: watch::Sender<Option<ZmqPeer>>,
    reconciler: Reconciler<u8>,
    wanted: Rows,
}

impl World {
    async fn new(seed: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = RedisServer::start().await.unwrap();
        let endpoint = server.endpoint(Db::DpuApplDb);
        let wire = Wire::between(&directory.path().join("wire"), directory.path().join("zmq"));
        let consumer = Consumer::start(&directory.path().join("zmq"), &endpoint);
        let (peer, known) = watch::channel(Some(Self::peer(&directory)));
        let store = Store::open_zmq(&endpoint, TABLES, known);
        let (random, reconciler, wanted) = (IdSource::new(seed), Reconciler::new(), Rows::new());
        Self { random, server, endpoint, directory, wire, consumer, store, peer, reconciler, wanted }
    }

    fn peer(directory: &tempfile::TempDir) -> ZmqPeer {
        ZmqPeer::from(ZmqAddress::Ipc(directory.path().join("wire")))
    }

    fn below(&mut self, count: u64) -> u64 {
        self.random.next_u64() % count
    }

    fn row(&mut self) -> (Table, String) {
        let table = if self.below(2) == 0 { SET } else { SCOPE };
        (table, format!("k{}", self.below(12)))
    }

    fn want(&mut self) {
        for _ in 0..=self.below(5) {
            let row = self.row();
            if self.below(3) == 0 {
                self.wanted.remove(&row);
                continue;
            }
            let mut fields = fields(&[("v", &self.below(4).to_string())]);
            if row.0 == SCOPE {
                fields.set(REQUEST, if self.below(2) == 0 { "true" } else { "false" });
            } else if self.below(4) == 0 {
                fields.set("long", "x".repeat(100_000));
            }
            self.wanted.insert(row, fields);
        }
    }

    /// Carries on for a while.
    async fn pass(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        loop {
            let mut plan = Plan::new();
            for ((table, key), fields) in &self.wanted {
                plan.want_fields(RowId { place: 0, table: *table, key: key.clone() }, fields.clone());
            }
            let mut writes = Vec::new();
            self.reconciler.diff(&plan, |_| 0, |_, _| false, &mut writes);
            if !writes.is_empty() {
                self.store.write(writes.into_iter().map(|write| write.write).collect());
            }
            match tokio::time::timeout_at(end, self.store.next()).await {
                Ok(update) => self.observe(update),
                Err(_) => return,
            }
        }
    }

    fn observe(&mut self, update: StoreUpdate) {
        self.reconciler.observe(StoreEvent { place: 0, db: Db::DpuApplDb, update });
    }

    async fn fault(&mut self) {
        match self.below(16) {
            0..=3 => self.wire.cut(),
            4 | 5 => {
                let path = self.directory.path().join("zmq");
                self.consumer.task.abort();
                self.consumer = Consumer::start(&path, &self.endpoint);
            }
            6 | 7 => {
                let (peer, known) = watch::channel(Some(Self::peer(&self.directory)));
                self.store = Store::open_zmq(&self.endpoint, TABLES, known);
                self.peer = peer;
                self.reconciler = Reconciler::new();
            }
            8 => drop(self.peer.send_replace(None)),
            9 => drop(self.peer.send_replace(Some(Self::peer(&self.directory)))),
            10 => self.database(|db| async move { db.flushdb().await }).await,
            11 => {
                let (table, key) = self.row();
                self.database(|db| async move { db.del(&table.redis_key(&key)).await.map(|_| ()) }).await;
            }
            12 => {
                let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
                self.database(|db| async move { db.command(&kill).await.map(|_| ()) }).await;
            }
            13 => {
                self.server.kill().unwrap();
                self.server.restart().await.unwrap();
            }
            _ => {}
        }
    }

    /// A command may die with the server that is being broken.
    async fn database<F: Future<Output = Result<(), swss::Error>>>(&self, act: impl FnOnce(Connection) -> F) {
        let db = Connection::open_within(&self.endpoint, PATIENCE).await.unwrap();
        if let Err(error) = act(db).await {
            eprintln!("{error}");
        }
    }

    async fn disagreement(&mut self) -> Option<String> {
        let db = Connection::open_within(&self.endpoint, PATIENCE).await.unwrap();
        let mut stored = db.rows_of(TABLES).await.unwrap();
        let mut wanted = self.wanted.clone();
        if *self.consumer.rows.lock().unwrap() != wanted {
            return Some("the consumer has other rows".to_owned());
        }
        stored.values_mut().chain(wanted.values_mut()).for_each(|fields| fields.remove(REQUEST));
        if stored != wanted {
            return Some("the database has other rows".to_owned());
        }
        let is_open = |(table, key): &(Table, String)| {
            let row = RowId { place: 0, table: *table, key: key.clone() };
            !self.reconciler.is_consumed(&row) || self.reconciler.is_under_way(&row)
        };
        self.wanted.keys().find(|row| is_open(row)).map(|row| format!("{row:?} is not consumed"))
    }
}

async fn run(seed: u64) {
    let mut world = World::new(seed).await;
    for _ in 0..STEPS {
        world.want();
        let ms = world.below(25);
        world.pass(Duration::from_millis(ms)).await;
        world.fault().await;
    }
    world.peer.send_replace(Some(World::peer(&world.directory)));
    let end = tokio::time::Instant::now() + PATIENCE;
    while let Some(what) = world.disagreement().await {
        assert!(tokio::time::Instant::now() < end, "seed {seed}: in the end {what}");
        world.pass(Duration::from_millis(50)).await;
    }
}

fn seeds() -> std::ops::Range<u64> {
    let text = std::env::var("ZMQ_SEEDS").unwrap_or_else(|_| "0..12".to_owned());
    let (first, last) = text.split_once("..").expect("ZMQ_SEEDS=first..last");
    first.parse().unwrap()..last.parse().unwrap()
}

#[tokio::test]
async fn both_ends_agree_after_a_random_schedule_of_faults() {
    for seed in seeds() {
        run(seed).await;
        println!("seed {seed} ends well");
    }
}
