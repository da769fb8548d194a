//! The modelled Redis against a real `redis-server`: the same random operations on both leave the same rows, and tell
//! those who listen the same.
//!
//! What is compared after every operation: all rows, what waits for consumers, and the notices: events of rows, what
//! wakes consumers, and flushes in their order; events of what waits, as a set, for they come from within one script.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, channel};

use bus::{Keyspace, Located, Unread};
use reconcile::{Op, RowWrite};
use redis::{Connection, PushInfo, PushKind, Script, Value};
use schema::{Db, Fields, Table};
use sim::redis::{Database, Mode, Notice, RowKey};
use sim::rng::Rng;
use swss::testing::RedisServer;

const TABLES: [(Table, Mode); 3] = [
    (Table::DashHaSet, Mode::ProducerState),
    (Table::DashHaScope, Mode::ProducerState),
    (Table::BfdSession, Mode::Table),
];
const DB: Db = Db::DpuApplDb;

/// Takes more than there can be.
const ALL: usize = 1000;

#[derive(Clone, Debug)]
enum Operation {
    Write(Mode, RowWrite),
    Pop(Table),
    Flush {
        politely: bool,
    },
    /// Who listens loses the connection for so many operations.
    Disconnect {
        operations: u64,
    },
}

fn fields(rng: &mut Rng) -> Fields {
    let names = ["version", "vip_v4", "owner", "scope"];
    let mut fields = Fields::new();
    for name in names.into_iter().take(1 + usize::try_from(rng.below(4)).unwrap()) {
        if rng.chance(700) || fields.is_empty() {
            fields.set(name, rng.below(3).to_string());
        }
    }
    fields
}

fn operation(rng: &mut Rng) -> Operation {
    let (table, mode) = *rng.pick(&TABLES).unwrap();
    match rng.below(100) {
        0..4 => Operation::Flush { politely: rng.chance(500) },
        4..7 => Operation::Disconnect { operations: 1 + rng.below(4) },
        7..25 => Operation::Pop(table),
        _ => {
            let key = format!("default:{}", rng.below(3));
            let op = match rng.below(10) {
                0..5 => Op::Set(fields(rng)),
                5..8 => Op::Merge(fields(rng)),
                _ => Op::Del,
            };
            Operation::Write(mode, RowWrite { table, key, op })
        }
    }
}

/// What a listener is told, in a form that both sides can be brought to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    /// Events of each row, in order, repeated ones once.
    rows: BTreeMap<RowKey, Vec<bool>>,
    /// Wake-ups and flushes, in order.
    rest: Vec<String>,
    /// Tables of which something that waits was touched.
    waiting: BTreeSet<Table>,
}

impl Told {
    fn row(&mut self, row: RowKey, gone: bool) {
        let events = self.rows.entry(row).or_default();
        if events.last() != Some(&gone) {
            events.push(gone);
        }
    }

    fn by_model(notices: &[Notice]) -> Self {
        let mut told = Self::default();
        for notice in notices {
            match notice {
                Notice::Row(row, gone) => told.row(row.clone(), *gone),
                Notice::Side(row) => {
                    told.waiting.insert(row.0);
                }
                Notice::Wake(table) => told.rest.push(format!("wake {table}")),
                Notice::Flushed => told.rest.push("flushed".to_owned()),
            }
        }
        told
    }
}

/// A connection that listens as the bus does.
struct Listener {
    connection: Connection,
    pushes: Receiver<PushInfo>,
}

fn connect(server: &RedisServer) -> Connection {
    let (path, index) = (server.socket().display(), DB.default_index());
    let url = format!("redis+unix://{path}?db={index}&protocol=resp3");
    redis::Client::open(url).unwrap().get_connection().unwrap()
}

impl Listener {
    fn open(server: &RedisServer, keyspace: &Keyspace) -> Self {
        let mut connection = connect(server);
        let (sender, pushes) = channel();
        connection.set_push_sender(sender);
        // As io/swss: of tracking only the flushes are wanted, so no key has the prefix.
        let tracking = ["TRACKING", "ON", "BCAST", "PREFIX", "no key has this prefix"];
        redis::cmd("CLIENT").arg(&tracking).exec(&mut connection).unwrap();
        connection.psubscribe_resp3(format!("{}*", keyspace.event_prefix())).unwrap();
        for (table, _) in TABLES {
            connection.subscribe_resp3(keyspace.channel(table)).unwrap();
        }
        let mut listener = Self { connection, pushes };
        listener.told(keyspace);
        listener
    }

    /// Everything that the server has sent so far: it answers a PING after that.
    fn told(&mut self, keyspace: &Keyspace) -> Told {
        redis::cmd("PING").exec(&mut self.connection).unwrap();
        let mut told = Told::default();
        while let Ok(PushInfo { kind, data }) = self.pushes.try_recv() {
            match (kind, &data[..]) {
                (PushKind::PMessage, [_, Value::BulkString(channel), Value::BulkString(event)]) => {
                    let key = channel.strip_prefix(keyspace.event_prefix().as_bytes()).unwrap();
                    match keyspace.locate(key).unwrap() {
                        Located::Row(row) if key.starts_with(b"_") => {
                            told.waiting.insert(row.0);
                        }
                        Located::Row(row) => told.row(row, event == b"del"),
                        Located::Set(table) => {
                            told.waiting.insert(table);
                        }
                        Located::NotText(..) => panic!("nobody writes such a key"),
                    }
                }
                (PushKind::Message, [Value::BulkString(channel), _]) => {
                    let woken = keyspace.woken(|name| name == channel.as_slice());
                    told.rest.extend(woken.map(|table| format!("wake {table}")));
                }
                (PushKind::Invalidate, [Value::Nil]) => told.rest.push("flushed".to_owned()),
                (PushKind::Invalidate, _) => panic!("no key has the prefix: {data:?}"),
                _ => {}
            }
        }
        told
    }
}

/// The real database, operated by the scripts of `io/swss`.
struct Real {
    connection: Connection,
    keyspace: Keyspace,
    write: Script,
    pop: Script,
    delete_all: Script,
}

impl Real {
    fn write(&mut self, mode: Mode, write: &RowWrite) {
        let RowWrite { table, key, op } = write;
        let none = Fields::new();
        let (name, fields) = match (mode, op) {
            (Mode::Table, Op::Set(fields)) => ("set", fields),
            (Mode::Table, Op::Merge(fields)) => ("merge", fields),
            (Mode::Table, Op::Del) => ("del", &none),
            (_, Op::Set(fields)) => ("produce_set", fields),
            (_, Op::Merge(fields)) => ("produce_merge", fields),
            (_, Op::Del) => ("produce_del", &none),
        };
        let mut call = self.write.prepare_invoke();
        call.key(self.keyspace.redis_key(*table, key));
        if mode != Mode::Table {
            call.key(self.keyspace.pending_key(*table, key));
            call.key(Keyspace::key_set(*table)).key(Keyspace::del_set(*table));
            call.key(self.keyspace.channel(*table));
        }
        call.arg(name).arg(key).arg(fields.len());
        for (field, value) in fields.iter() {
            call.arg(field).arg(value.as_bytes());
        }
        let failures: Vec<(usize, String)> = call.invoke(&mut self.connection).unwrap();
        assert_eq!(failures, []);
    }

    fn pop(&mut self, table: Table) -> BTreeMap<RowKey, Option<Fields>> {
        let mut call = self.pop.prepare_invoke();
        call.key(Keyspace::key_set(table)).key(Keyspace::del_set(table)).key(table.name());
        call.arg(self.keyspace.separator().to_string()).arg(ALL);
        type Popped = (String, Vec<(String, Vec<u8>)>);
        let popped: Vec<Popped> = call.invoke(&mut self.connection).unwrap();
        let row = |(key, fields): Popped| {
            let fields: Fields = fields.into_iter().collect();
            ((table, key), (!fields.is_empty()).then_some(fields))
        };
        popped.into_iter().map(row).collect()
    }

    fn flush(&mut self, politely: bool) {
        if politely {
            let _deleted: u64 = self.delete_all.invoke(&mut self.connection).unwrap();
        } else {
            redis::cmd("FLUSHDB").exec(&mut self.connection).unwrap();
        }
    }

    /// Everything in the database: hashes by key, sets by key.
    fn contents(&mut self) -> (BTreeMap<String, Fields>, BTreeMap<String, BTreeSet<String>>) {
        let (mut hashes, mut sets) = (BTreeMap::new(), BTreeMap::new());
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut self.connection).unwrap();
        for key in keys {
            let kind: String = redis::cmd("TYPE").arg(&key).query(&mut self.connection).unwrap();
            if kind == "hash" {
                let fields: BTreeMap<String, Vec<u8>> =
                    redis::cmd("HGETALL").arg(&key).query(&mut self.connection).unwrap();
                hashes.insert(key, fields.into_iter().collect());
            } else {
                let members = redis::cmd("SMEMBERS").arg(&key).query(&mut self.connection).unwrap();
                sets.insert(key, members);
            }
        }
        (hashes, sets)
    }
}

fn contents_of_model(
    database: &Database,
    keyspace: &Keyspace,
) -> (BTreeMap<String, Fields>, BTreeMap<String, BTreeSet<String>>) {
    let tables = TABLES.map(|(table, _)| table);
    let rows = database.find(&tables, true);
    let (rows, waiting) = database.stored(Unread { rows, sets: tables.into_iter().collect() });
    let (mut hashes, mut sets) = (BTreeMap::new(), BTreeMap::new());
    for ((table, key), stored) in rows {
        let pending = stored.pending.map(|fields| (keyspace.pending_key(table, &key), fields));
        let main = stored.main.map(|fields| (keyspace.redis_key(table, &key), fields));
        hashes.extend(main.into_iter().chain(pending));
    }
    for (table, waiting) in waiting {
        sets.insert(Keyspace::key_set(table), waiting.keys);
        sets.insert(Keyspace::del_set(table), waiting.deletions);
    }
    sets.retain(|_, members| !members.is_empty());
    (hashes, sets)
}

fn compare(server: &RedisServer, seed: u64, operations: u64) {
    let keyspace = Keyspace::new(DB, DB.default_index(), DB.separator(), TABLES.map(|(table, _)| table));
    let mut real = Real {
        connection: connect(server),
        keyspace: keyspace.clone(),
        write: Script::new(include_str!("../../../io/swss/src/lua/write.lua")),
        pop: Script::new(include_str!("../../../io/swss/src/lua/pop.lua")),
        delete_all: Script::new(include_str!("../../../io/swss/src/lua/delete_all.lua")),
    };
    real.flush(false);
    let mut model = Database::default();
    let mut listener = Some(Listener::open(server, &keyspace));
    let mut deaf_for = 0;
    let mut rng = Rng::new(seed);
    for count in 0..operations {
        let operation = operation(&mut rng);
        let context = format!("seed {seed}, operation {count}: {operation:?}");
        let notices = match &operation {
            Operation::Write(mode, write) => {
                real.write(*mode, write);
                model.write(*mode, write)
            }
            Operation::Pop(table) => {
                let (rows, notices) = model.pop(*table, ALL);
                assert_eq!(real.pop(*table), rows, "{context}");
                notices
            }
            Operation::Flush { politely } => {
                real.flush(*politely);
                model.flush(*politely)
            }
            Operation::Disconnect { operations } => {
                listener = None;
                deaf_for = *operations;
                Vec::new()
            }
        };
        assert_eq!(real.contents(), contents_of_model(&model, &keyspace), "{context}");
        match &mut listener {
            Some(listener) => {
                assert_eq!(listener.told(&keyspace), Told::by_model(&notices), "{context}");
            }
            None if deaf_for == 0 => {
                // Nothing of what happened meanwhile is told to a new connection.
                let mut new = Listener::open(server, &keyspace);
                assert_eq!(new.told(&keyspace), Told::default(), "{context}");
                listener = Some(new);
            }
            None => deaf_for -= 1,
        }
    }
}

#[test]
fn the_model_does_what_a_real_server_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The runtime also reaps the server; it lives as long as the test.
    let server = runtime.block_on(RedisServer::start()).unwrap();
    for seed in 0..30 {
        compare(&server, seed, 200);
    }
    let _in_runtime = runtime.enter();
    drop(server);
}
