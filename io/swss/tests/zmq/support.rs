//! What the tests share.

use std::collections::BTreeMap;
use std::time::Duration;

use reconcile::{Op, OwnedRow, RowWrite, StoreUpdate};
use schema::{Db, Fields, Table};
use swss::testing::RedisServer;
use swss::{Connection, Endpoint, Store, ZmqAddress, ZmqPeer};
use tokio::sync::watch;

/// Long enough for the busiest machine; nobody waits that long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const SET: Table = Table::DashHaSet;
pub const SCOPE: Table = Table::DashHaScope;
pub const TABLES: &[Table] = &[SET, SCOPE];

pub fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().copied().collect()
}

pub fn set(table: Table, key: &str, pairs: &[(&str, &str)]) -> RowWrite {
    RowWrite { table, key: key.to_owned(), op: Op::Set(fields(pairs)) }
}

pub fn del(table: Table, key: &str) -> RowWrite {
    RowWrite { table, key: key.to_owned(), op: Op::Del }
}

pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("never: {what}"),
    }
}

/// A database of its own, and a store over it that has read it.
pub struct Bench {
    pub server: RedisServer,
    pub endpoint: Endpoint,
    pub db: Connection,
    pub store: Store,
    pub peer: watch::Sender<Option<ZmqPeer>>,
    pub rows: BTreeMap<String, OwnedRow>,
}

impl Bench {
    pub async fn new(address: Option<ZmqAddress>) -> Self {
        let server = RedisServer::start().await.unwrap();
        let endpoint = server.endpoint(Db::DpuApplDb);
        let db = Connection::open_within(&endpoint, PATIENCE).await.unwrap();
        let (peer, known) = watch::channel(address.map(ZmqPeer::from));
        let store = Store::open_zmq(&endpoint, TABLES, known);
        let mut bench = Self { server, endpoint, db, store, peer, rows: BTreeMap::new() };
        bench.until("a first snapshot", |update, _| matches!(update, StoreUpdate::Snapshot(_))).await;
        bench
    }

    pub fn write(&self, writes: &[RowWrite]) {
        self.store.write(writes.to_vec());
    }

    /// Follows the store's reports until one fits.
    pub async fn until(
        &mut self,
        what: &str,
        fits: impl Fn(&StoreUpdate, &BTreeMap<String, OwnedRow>) -> bool,
    ) -> StoreUpdate {
        in_time(what, async {
            loop {
                let update = self.store.next().await;
                if let StoreUpdate::Snapshot(rows) = &update {
                    self.rows = rows.iter().map(|row| (row.key.clone(), row.clone())).collect();
                }
                if let StoreUpdate::Written { write, done: true } = &update {
                    // What its user makes of it, until the next snapshot.
                    match &write.op {
                        Op::Set(fields) => {
                            let (table, key) = (write.table, write.key.clone());
                            let row = OwnedRow { table, key, fields: fields.clone(), consumed: false };
                            self.rows.insert(write.key.clone(), row);
                        }
                        Op::Merge(_) => {}
                        Op::Del => {
                            self.rows.remove(&write.key);
                        }
                    }
                }
                if fits(&update, &self.rows) {
                    return update;
                }
            }
        })
        .await
    }

    pub async fn until_written(&mut self, wanted: &RowWrite) -> bool {
        let is_it = |update: &StoreUpdate, _: &BTreeMap<String, OwnedRow>| matches!(update, StoreUpdate::Written { write, .. } if write == wanted);
        let written = self.until(&format!("{wanted:?} is reported"), is_it).await;
        matches!(written, StoreUpdate::Written { done: true, .. })
    }

    pub async fn until_consumed(&mut self, keys: &[&str]) {
        let all = |rows: &BTreeMap<String, OwnedRow>| {
            keys.iter().all(|key| rows.get(*key).is_some_and(|row| row.consumed))
        };
        if !all(&self.rows) {
            self.until(&format!("{keys:?} are consumed"), |_, rows| all(rows)).await;
        }
    }

    pub async fn until_link(&self, what: &str, fits: impl Fn(&swss::LinkStats) -> bool) {
        let stats = self.store.zmq().unwrap();
        let wait = swss::testing::wait_until(what, PATIENCE, async || fits(stats).then_some(()));
        wait.await.unwrap();
    }

    pub async fn stored(&self, table: Table, key: &str) -> Option<Fields> {
        self.db.row(table, key).await.unwrap()
    }
}
