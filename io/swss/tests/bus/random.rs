//! Readers and writers on real servers that are killed, restarted empty, stopped, flushed and flooded, under random
//! writes and a schedule drawn from a seed: once the faults stop, what the readers have is what the tables hold, and
//! the tables hold what their writers want.
//!
//! `BUS_SEEDS=first..last` runs other seeds than those of every day (`io/swss/README.md`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reconcile::{IdSource, Plan, Reconciler, RowId, StoreEvent};
use schema::{Db, Fields, Table};
use swss::testing::RedisServer;
use swss::{Connection, Endpoint, Mode, Reader, Store};
use tokio::task::JoinHandle;

use crate::support::*;

const STEPS: usize = 40;
/// How many rows a flood writes: at 200 bytes and more an event this is past the limit that it meets.
const FLOOD: &str = r"
    for i = 1, 1500 do redis.call('HSET', KEYS[1] .. i % 7, string.rep('f', 100), i) end
    redis.call('DEL', KEYS[1] .. 3)";

type Rows = BTreeMap<(Table, String), Fields>;

/// Who reads and writes which tables, and how.
#[derive(Clone, Copy)]
struct Kind {
    db: Db,
    mode: Mode,
    /// The store's.
    ours: Table,
    /// Strangers'.
    theirs: Table,
}

/// `SubscriberStateTable` and `Table`.
const PLAIN: Kind =
    Kind { db: Db::StateDb, mode: Mode::Table, ours: Table::DpuResetInfo, theirs: Table::DashHaScopeState };
/// `ConsumerStateTable` and `ProducerStateTable`.
const PRODUCED: Kind =
    Kind { db: Db::DpuApplDb, mode: Mode::ProducerState, ours: Table::DashHaSet, theirs: Table::DashHaScope };

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Nothing,
    /// `kill -9`, and another one in its place, empty.
    RestartedEmpty,
    /// `kill -9`, nobody there for a while, and then one that somebody else has already written to.
    Away,
    /// `SIGSTOP` for a moment.
    Paused,
    ConnectionsKilled,
    ScriptsFlushed,
    Flushed,
    /// Every key deleted and flushed.
    Emptied,
    /// More events than the output buffer may hold.
    Flooded,
    /// Rows of the store changed and deleted under it.
    Vandalized,
}

const FAULTS: [Fault; 10] = [
    Fault::Nothing,
    Fault::RestartedEmpty,
    Fault::Away,
    Fault::Paused,
    Fault::ConnectionsKilled,
    Fault::ScriptsFlushed,
    Fault::Flushed,
    Fault::Emptied,
    Fault::Flooded,
    Fault::Vandalized,
];

/// A reader, and what its user has.
struct Follower {
    rows: Arc<Mutex<Belief>>,
    task: JoinHandle<()>,
}

impl Follower {
    fn of(mut reader: Reader) -> Self {
        let rows = Arc::new(Mutex::new(Belief::default()));
        let seen = rows.clone();
        let task = tokio::spawn(async move {
            loop {
                let update = reader.next().await;
                seen.lock().unwrap().take(update);
            }
        });
        Self { rows, task }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct World {
    kind: Kind,
    random: IdSource,
    server: RedisServer,
    endpoint: Endpoint,
    store: Store,
    reader: Follower,
    reconciler: Reconciler<u8>,
    wanted: Rows,
}

impl World {
    async fn new(kind: Kind, seed: u64) -> Self {
        let server = server().await;
        let endpoint = server.endpoint(kind.db);
        let store = Store::open(&endpoint, &[(kind.ours, kind.mode)]);
        let tables = [kind.ours, kind.theirs];
        let reader = match kind.mode {
            Mode::Table => Reader::subscribe(&endpoint, &tables),
            Mode::ProducerState => Reader::consume(&endpoint, &tables),
        };
        let (random, reconciler) = (IdSource::new(seed), Reconciler::new());
        let reader = Follower::of(reader);
        Self { kind, random, server, endpoint, store, reader, reconciler, wanted: Rows::new() }
    }

    fn below(&mut self, count: u64) -> u64 {
        self.random.next_u64() % count
    }

    fn some_key(&mut self) -> String {
        // A row without a key is one, too; and one whose key looks like a table's name and key.
        match self.below(16) {
            0 => String::new(),
            1 => self.endpoint.redis_key(self.kind.theirs, "k"),
            other => format!("k{other}"),
        }
    }

    fn some_fields(&mut self) -> Fields {
        let mut fields = Fields::new();
        for name in ["a", "b", "c"] {
            match self.below(4) {
                0 => {}
                1 => fields.set(name, vec![0, 0xff, u8::try_from(self.below(256)).unwrap()]),
                _ => fields.set(name, self.below(4).to_string()),
            }
        }
        if self.below(12) == 0 {
            fields.set("long", "x".repeat(20_000));
        }
        if fields.is_empty() { Fields::placeholder() } else { fields }
    }

    fn want(&mut self) {
        for _ in 0..=self.below(8) {
            let row = (self.kind.ours, self.some_key());
            if self.below(3) == 0 {
                self.wanted.remove(&row);
            } else {
                let fields = self.some_fields();
                self.wanted.insert(row, fields);
            }
        }
    }

    fn write(&mut self) {
        let mut plan = Plan::new();
        for ((table, key), fields) in &self.wanted {
            plan.want_fields(RowId { place: 0, table: *table, key: key.clone() }, fields.clone());
        }
        let mut writes = Vec::new();
        self.reconciler.diff(&plan, |_| 0, |_, _| false, &mut writes);
        self.store.write(writes.into_iter().map(|write| write.write).collect());
    }

    /// Carries on for a while.
    async fn pass(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        loop {
            self.write();
            match tokio::time::timeout_at(end, self.store.next()).await {
                Ok(update) => {
                    self.reconciler.observe(StoreEvent { place: 0, db: self.kind.db, update });
                }
                Err(_) => return,
            }
        }
    }

    /// A stranger's connection; what is done with it may die with the server that is being broken.
    async fn stranger(&self) -> Connection {
        connect(&self.endpoint).await
    }

    /// Strangers change rows of theirs.
    async fn strangers_write(&mut self) {
        let stranger = self.stranger().await;
        for _ in 0..=self.below(8) {
            let (key, fields) = (self.some_key(), self.some_fields());
            let redis_key = self.endpoint.redis_key(self.kind.theirs, &key);
            let action = self.below(8);
            let done = match self.kind.mode {
                Mode::Table => strange_row(&stranger, &redis_key, &fields, action).await,
                Mode::ProducerState => {
                    strange_produce(&stranger, self.kind.theirs, &key, &fields, action).await
                }
            };
            if let Err(error) = done {
                eprintln!("a stranger's write: {error}");
            }
        }
    }

    async fn command(&self, words: &[&str]) {
        if let Err(error) = self.stranger().await.command(words).await {
            eprintln!("{words:?}: {error}");
        }
    }

    async fn fault(&mut self) -> Fault {
        let at = self.below(FAULTS.len() as u64);
        let fault = FAULTS[usize::try_from(at).unwrap()];
        match fault {
            Fault::Nothing => {}
            Fault::RestartedEmpty => {
                self.server.kill().unwrap();
                self.server.restart().await.unwrap();
            }
            Fault::Away => {
                self.server.kill().unwrap();
                let ms = self.below(60);
                self.pass(Duration::from_millis(ms)).await;
                self.server.restart().await.unwrap();
                self.strangers_write().await;
            }
            Fault::Paused => {
                self.server.pause().unwrap();
                let ms = self.below(60);
                self.pass(Duration::from_millis(ms)).await;
                self.server.resume().unwrap();
            }
            Fault::ConnectionsKilled => {
                let which = ["pubsub", "normal"][usize::try_from(self.below(2)).unwrap()];
                self.command(&["CLIENT", "KILL", "TYPE", which]).await;
            }
            Fault::ScriptsFlushed => self.command(&["SCRIPT", "FLUSH"]).await,
            Fault::Flushed => {
                let command = ["FLUSHDB", "FLUSHALL"][usize::try_from(self.below(2)).unwrap()];
                self.command(&[command]).await;
            }
            Fault::Emptied => {
                if let Err(error) = self.stranger().await.delete_all().await {
                    eprintln!("{error}");
                }
            }
            Fault::Flooded => self.flood().await,
            Fault::Vandalized => {
                let key = self.some_key();
                let redis_key = self.endpoint.redis_key(self.kind.ours, &key);
                let words: &[&str] = match self.below(3) {
                    0 => &["DEL", &redis_key],
                    1 => &["HSET", &redis_key, "odd", "1"],
                    _ => &["SET", &redis_key, "no row"],
                };
                self.command(words).await;
            }
        }
        fault
    }

    async fn flood(&mut self) {
        self.command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 60000 0 0"]).await;
        let prefix = match self.kind.mode {
            Mode::Table => self.endpoint.redis_key(self.kind.theirs, "k"),
            // The store's reads what is pending, too.
            Mode::ProducerState => self.endpoint.redis_key(self.kind.ours, "k"),
        };
        self.command(&["EVAL", FLOOD, "1", &prefix]).await;
        self.command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0"]).await;
    }

    async fn disagreement(&mut self) -> Option<String> {
        let stranger = self.stranger().await;
        let stored = stranger.rows_of(&[self.kind.ours, self.kind.theirs]).await.unwrap();
        let ours: Rows =
            stored.clone().into_iter().filter(|((table, _), _)| *table == self.kind.ours).collect();
        if ours != self.wanted {
            return Some(format!("the writer's table differs: {ours:?}, wanted {:?}", self.wanted));
        }
        let is_open = |(table, key): &(Table, String)| {
            let row = RowId { place: 0, table: *table, key: key.clone() };
            !self.reconciler.is_consumed(&row) || self.reconciler.is_under_way(&row)
        };
        if let Some(row) = self.wanted.keys().find(|row| is_open(row)) {
            return Some(format!("the writer does not know that {row:?} is there"));
        }
        let read = self.reader.rows.lock().unwrap().rows.clone();
        if read != stored {
            return Some(format!("the reader differs: {read:?}, the tables {stored:?}"));
        }
        for table in [self.kind.ours, self.kind.theirs] {
            if !stranger.unconsumed(table).await.unwrap().is_empty() {
                return Some(format!("something is pending in {table}"));
            }
        }
        None
    }
}

/// What strangers do to a row of a plain table.
async fn strange_row(
    stranger: &Connection,
    redis_key: &str,
    fields: &Fields,
    action: u64,
) -> Result<(), swss::Error> {
    let other = format!("{redis_key}2");
    let words: &[&str] = match action {
        0 => &["DEL", redis_key],
        1 => &["UNLINK", redis_key],
        2 => &["HDEL", redis_key, "a", "b"],
        3 => &["PEXPIRE", redis_key, "5"],
        // An error if it is not there.
        4 => &["COPY", redis_key, &other, "REPLACE"],
        5 => &[
            "EVAL",
            "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[2]) end",
            "2",
            redis_key,
            &other,
        ],
        _ => return stranger.hset(redis_key, fields).await,
    };
    stranger.command(words).await.map(|_| ())
}

/// What strangers do as producers: `reference/swss-wire.md` 3.2.
async fn strange_produce(
    stranger: &Connection,
    table: Table,
    key: &str,
    fields: &Fields,
    action: u64,
) -> Result<(), swss::Error> {
    let endpoint = stranger.endpoint();
    let pending = format!("_{}", endpoint.redis_key(table, key));
    let (key_set, del_set) = (format!("{table}_KEY_SET"), format!("{table}_DEL_SET"));
    let channel = format!("{table}_CHANNEL@{}", endpoint.index);
    const DEL: &str = r"
        local added = redis.call('SADD', KEYS[2], ARGV[2])
        redis.call('SADD', KEYS[4], ARGV[2])
        redis.call('DEL', KEYS[3])
        if added > 0 then redis.call('PUBLISH', KEYS[1], ARGV[1]) end";
    const SET: &str = r"
        local added = redis.call('SADD', KEYS[2], ARGV[2])
        for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
        if added > 0 then redis.call('PUBLISH', KEYS[1], ARGV[1]) end";
    if action < 3 {
        let words = ["EVAL", DEL, "4", &channel, &key_set, &pending, &del_set, "G", key];
        return stranger.command(&words).await.map(|_| ());
    }
    let mut words = vec!["EVAL", SET, "3", &channel, &key_set, &pending, "G", key];
    for (name, value) in fields.iter() {
        words.extend([name, value.as_str().unwrap_or("no text")]);
    }
    stranger.command(&words).await.map(|_| ())
}

async fn run(kind: Kind, seed: u64, counts: &mut BTreeMap<Fault, usize>) {
    let mut world = World::new(kind, seed).await;
    for _ in 0..STEPS {
        world.want();
        world.strangers_write().await;
        let ms = world.below(25);
        world.pass(Duration::from_millis(ms)).await;
        *counts.entry(world.fault().await).or_default() += 1;
    }
    let end = tokio::time::Instant::now() + PATIENCE;
    while let Some(what) = world.disagreement().await {
        assert!(tokio::time::Instant::now() < end, "seed {seed}: in the end {what}");
        world.pass(Duration::from_millis(20)).await;
    }
}

async fn run_all(kind: Kind) {
    let text = std::env::var("BUS_SEEDS").unwrap_or_else(|_| "0..8".to_owned());
    let (first, last) = text.split_once("..").expect("BUS_SEEDS=first..last");
    let seeds = first.parse::<u64>().unwrap()..last.parse().unwrap();
    let mut counts = BTreeMap::new();
    for seed in seeds {
        run(kind, seed, &mut counts).await;
        println!("seed {seed} ends well; faults so far: {counts:?}");
    }
}

#[tokio::test]
async fn a_subscriber_and_a_plain_table_end_true_after_a_random_schedule_of_faults() {
    run_all(PLAIN).await;
}

#[tokio::test]
async fn a_consumer_and_a_producer_end_true_after_a_random_schedule_of_faults() {
    run_all(PRODUCED).await;
}
