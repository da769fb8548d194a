//! What the tests share: folding updates, an independent producer and consumer, and a movable server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reconcile::{OwnedRow, RowWrite, StoreUpdate};
use schema::{Db, Fields, Table};
use swss::testing::RedisServer;
use swss::{Address, Change, Connection, Endpoint, Reader, Store, Update};

/// Long enough for the busiest machine; nobody waits that long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().copied().collect()
}

pub fn change(table: Table, key: &str, fields: Option<Fields>) -> Change {
    Change { table, key: key.to_owned(), fields }
}

pub async fn server() -> RedisServer {
    RedisServer::start().await.unwrap()
}

pub async fn connect(endpoint: &Endpoint) -> Connection {
    Connection::open_within(endpoint, PATIENCE).await.unwrap()
}

/// Runs `commands` at one instant.
pub async fn at_once(connection: &Connection, commands: &[&[&str]]) {
    connection.command(&["MULTI"]).await.unwrap();
    for command in commands {
        connection.command(command).await.unwrap();
    }
    connection.command(&["EXEC"]).await.unwrap();
}

pub async fn next(reader: &mut Reader) -> Update {
    tokio::time::timeout(PATIENCE, reader.next()).await.expect("the reader reports something")
}

pub async fn next_changes(reader: &mut Reader) -> Vec<Change> {
    match next(reader).await {
        Update::Changes(changes) => changes,
        other => panic!("expected changes, got {other:?}"),
    }
}

/// All changes up to the next `Synced`.
pub async fn until_synced(reader: &mut Reader) -> Vec<Change> {
    let mut all = Vec::new();
    loop {
        match next(reader).await {
            Update::Changes(changes) => all.extend(changes),
            Update::Synced => return all,
            Update::Lost { reason } => panic!("lost: {reason}"),
        }
    }
}

/// All changes up to and without the one of row `marker`.
pub async fn until_row(reader: &mut Reader, marker: &str) -> Vec<Change> {
    let mut all = Vec::new();
    loop {
        let changes = match next(reader).await {
            Update::Changes(changes) => changes,
            Update::Synced => continue,
            Update::Lost { reason } => panic!("lost: {reason}"),
        };
        let seen = changes.iter().any(|change| change.key == marker);
        all.extend(changes.into_iter().filter(|change| change.key != marker));
        if seen {
            return all;
        }
    }
}

/// What a reader's user believes.
#[derive(Default)]
pub struct Belief {
    pub rows: BTreeMap<(Table, String), Fields>,
    pub losses: usize,
}

impl Belief {
    pub fn take(&mut self, update: Update) -> bool {
        match update {
            Update::Changes(changes) => {
                for Change { table, key, fields } in changes {
                    match fields {
                        Some(fields) => self.rows.insert((table, key), fields),
                        None => self.rows.remove(&(table, key)),
                    };
                }
                false
            }
            Update::Synced => true,
            Update::Lost { .. } => {
                self.losses += 1;
                false
            }
        }
    }

    pub async fn follow_until(&mut self, reader: &mut Reader, what: impl Fn(&Self) -> bool) {
        while !what(self) {
            let update = next(reader).await;
            self.take(update);
        }
    }
}

pub async fn next_update(store: &mut Store) -> StoreUpdate {
    tokio::time::timeout(PATIENCE, store.next()).await.expect("the store reports something")
}

pub async fn next_snapshot(store: &mut Store) -> Vec<OwnedRow> {
    match next_update(store).await {
        StoreUpdate::Snapshot(rows) => rows,
        other => panic!("expected a snapshot, got {other:?}"),
    }
}

pub async fn expect_written(store: &mut Store, write: &RowWrite, done: bool) {
    assert_eq!(next_update(store).await, StoreUpdate::Written { write: write.clone(), done });
}

/// Reads updates until a snapshot is `rows`.
pub async fn until_snapshot(store: &mut Store, rows: &[OwnedRow]) {
    let mut last = None;
    let wanted = async {
        loop {
            let update = store.next().await;
            if update == StoreUpdate::Snapshot(rows.to_vec()) {
                return;
            }
            last = Some(update);
        }
    };
    if tokio::time::timeout(PATIENCE, wanted).await.is_err() {
        panic!("never {rows:?}; last {last:?}");
    }
}

pub fn row(table: Table, key: &str, pairs: &[(&str, &str)], consumed: bool) -> OwnedRow {
    OwnedRow { table, key: key.to_owned(), fields: fields(pairs), consumed }
}

/// What SONiC's producer does for `set`, written from `reference/swss-wire.md` 3.2 and sharing nothing with
/// the crate. It publishes in any case, which is harmless (3.5).
pub async fn sonic_set(connection: &Connection, table: &str, key: &str, pairs: &[(&str, &str)]) {
    let (set, pending, channel) = sonic_names(connection, table, key);
    let mut commands: Vec<Vec<&str>> = vec![vec!["SADD", &set, key]];
    for (field, value) in pairs {
        commands.push(vec!["HSET", &pending, field, value]);
    }
    commands.push(vec!["PUBLISH", &channel, "G"]);
    let commands: Vec<&[&str]> = commands.iter().map(Vec::as_slice).collect();
    at_once(connection, &commands).await;
}

pub fn sonic_names(connection: &Connection, table: &str, key: &str) -> (String, String, String) {
    let index = connection.endpoint().index;
    (format!("{table}_KEY_SET"), format!("_{table}:{key}"), format!("{table}_CHANNEL@{index}"))
}

/// What SONiC's consumer does for one pop, written from `reference/swss-wire.md` 3.5.
pub async fn sonic_pop(connection: &Connection, table: &str) {
    const POP: &str = r"
        for _, key in ipairs(redis.call('SPOP', KEYS[1], ARGV[1])) do
            if redis.call('SREM', KEYS[3], key) == 1 then redis.call('DEL', KEYS[2] .. key) end
            local pending = ARGV[2] .. KEYS[2] .. key
            local fields = redis.call('HGETALL', pending)
            for i = 1, #fields, 2 do redis.call('HSET', KEYS[2] .. key, fields[i], fields[i + 1]) end
            redis.call('DEL', pending)
        end";
    let (key_set, prefix, del_set) =
        (format!("{table}_KEY_SET"), format!("{table}:"), format!("{table}_DEL_SET"));
    connection.command(&["EVAL", POP, "3", &key_set, &prefix, &del_set, "128", "_"]).await.unwrap();
}

/// A place to connect to that can be pointed from one server to another at one instant.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    pub fn point_to(&self, server: &RedisServer) {
        let new = self.dir.path().join("new");
        std::os::unix::fs::symlink(server.socket(), &new).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }

    pub fn endpoint(&self, db: Db) -> Endpoint {
        swss::testing::endpoint(db, Address::Unix(self.path()))
    }
}

/// A subscriber that shares nothing with the crate: gets every message on some channels and patterns.
pub struct Listener {
    messages: tokio::sync::mpsc::UnboundedReceiver<redis::PushInfo>,
    _connection: redis::aio::MultiplexedConnection,
}

impl Listener {
    pub async fn new(server: &RedisServer, channels: &[&str], patterns: &[&str]) -> Self {
        let (sender, messages) = tokio::sync::mpsc::unbounded_channel();
        let url = format!("redis+unix://{}?protocol=resp3", server.socket().display());
        let config = redis::AsyncConnectionConfig::new().set_push_sender(sender);
        let client = redis::Client::open(url).unwrap();
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        if !channels.is_empty() {
            connection.subscribe(channels).await.unwrap();
        }
        if !patterns.is_empty() {
            connection.psubscribe(patterns).await.unwrap();
        }
        Self { messages, _connection: connection }
    }

    /// Channel and payload of the next message.
    pub async fn next(&mut self) -> (String, String) {
        loop {
            let push = tokio::time::timeout(PATIENCE, self.messages.recv()).await.unwrap().unwrap();
            if let Some(message) = redis::Msg::from_push_info(push) {
                return (message.get_channel_name().to_owned(), message.get_payload().unwrap());
            }
        }
    }
}
