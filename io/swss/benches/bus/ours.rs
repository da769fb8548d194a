//! With this crate.

use reconcile::{Op, RowWrite, StoreUpdate};
use redis::aio::MultiplexedConnection;
use schema::dpu_state_db::HaScopeState;
use schema::{Db, Fields, Row, Table};
use swss::testing::RedisServer;
use swss::{Change, Endpoint, Mode, Reader, Store, Update, ZmqAddress, ZmqPeer};

use crate::pace::Side;
use crate::rows;

const TABLE: Table = Table::DpuDashHaScopeState;

fn endpoint(server: &RedisServer) -> Endpoint {
    server.endpoint(Db::DpuStateDb)
}

/// Decodes what comes until `count` rows of round `round` were seen.
async fn take(reader: &mut Reader, count: usize, round: usize) {
    let expected = i64::try_from(1_700_000_000 + round).ok();
    let mut left = count;
    while left > 0 {
        if let Update::Changes(changes) = reader.next().await {
            for change in changes {
                let Some(fields) = &change.fields else { continue };
                let (_, row) = HaScopeState::parse(&change.key, fields).unwrap();
                left -= usize::from(row.last_updated_time_s == expected);
            }
        }
    }
}

async fn until_synced(reader: &mut Reader) {
    while reader.next().await != Update::Synced {}
}

/// Rows are written by bare pipelines, and come out of a reader decoded.
pub struct Follow {
    writer: MultiplexedConnection,
    reader: Reader,
}

impl Follow {
    pub async fn new(server: &RedisServer) -> Self {
        rows::flush(server).await;
        let writer = rows::connect(server, redis::AsyncConnectionConfig::new()).await;
        let mut reader = Reader::subscribe(&endpoint(server), &[TABLE]);
        until_synced(&mut reader).await;
        Self { writer, reader }
    }
}

impl Side for Follow {
    async fn prepare(&mut self, _count: usize, _round: usize) {}

    async fn run(&mut self, count: usize, round: usize) {
        let write = rows::hset(&mut self.writer, TABLE.name(), count, round + 1);
        tokio::join!(write, take(&mut self.reader, count, round + 1));
    }
}

/// Rows are written by a store, until each is reported as written.
pub struct Write {
    store: Store,
}

fn writes(count: usize, round: usize) -> Vec<RowWrite> {
    let fields = rows::fields(round);
    (0..count).map(|at| RowWrite { table: TABLE, key: rows::key(at), op: Op::Set(fields.clone()) }).collect()
}

async fn written(store: &mut Store, count: usize) {
    let mut left = count;
    while left > 0 {
        if let StoreUpdate::Written { done, .. } = store.next().await {
            assert!(done);
            left -= 1;
        }
    }
}

impl Write {
    pub async fn new(server: &RedisServer) -> Self {
        rows::flush(server).await;
        let mut store = Store::open(&endpoint(server), &[(TABLE, Mode::Table)]);
        store.next().await;
        Self { store }
    }
}

impl Side for Write {
    async fn prepare(&mut self, _count: usize, _round: usize) {}

    async fn run(&mut self, count: usize, round: usize) {
        self.store.write(writes(count, round));
        written(&mut self.store, count).await;
    }
}

/// Rows are written by a store, until it has also read them back: a snapshot after the last write.
pub struct WriteBack {
    store: Store,
}

impl WriteBack {
    pub async fn new(server: &RedisServer) -> Self {
        let Write { store } = Write::new(server).await;
        Self { store }
    }
}

impl Side for WriteBack {
    async fn prepare(&mut self, _count: usize, _round: usize) {}

    async fn run(&mut self, count: usize, round: usize) {
        self.store.write(writes(count, round));
        written(&mut self.store, count).await;
        while !matches!(self.store.next().await, StoreUpdate::Snapshot(_)) {}
    }
}

/// Rows are produced by a store and consumed by a reader.
pub struct Produce {
    store: Store,
    reader: Reader,
}

impl Produce {
    pub async fn new(server: &RedisServer) -> Self {
        rows::flush(server).await;
        let mut store = Store::open(&endpoint(server), &[(TABLE, Mode::ProducerState)]);
        store.next().await;
        let mut reader = Reader::consume(&endpoint(server), &[TABLE]);
        until_synced(&mut reader).await;
        Self { store, reader }
    }
}

impl Side for Produce {
    async fn prepare(&mut self, _count: usize, _round: usize) {}

    async fn run(&mut self, count: usize, round: usize) {
        self.store.write(writes(count, round + 1));
        tokio::join!(take(&mut self.reader, count, round + 1), written(&mut self.store, count));
    }
}

/// A reader is started and has reported everything.
pub struct Initial {
    endpoint: Endpoint,
}

impl Initial {
    /// Also fills the tables of both sides.
    pub async fn new(server: &RedisServer, count: usize) -> Self {
        rows::flush(server).await;
        let mut writer = rows::connect(server, redis::AsyncConnectionConfig::new()).await;
        rows::hset(&mut writer, TABLE.name(), count, 0).await;
        Self { endpoint: endpoint(server) }
    }
}

impl Side for Initial {
    async fn prepare(&mut self, _count: usize, _round: usize) {}

    async fn run(&mut self, count: usize, _round: usize) {
        let mut reader = Reader::subscribe(&self.endpoint, &[TABLE]);
        take(&mut reader, count, 0).await;
        until_synced(&mut reader).await;
    }
}

/// Rows go from a store over ZMQ to a reader, until they came out of it and the store reports them as consumed. The
/// store also persists them, as the contract asks: that is Redis work which the bare side has not.
pub struct Zmq {
    store: Store,
    reader: Reader,
}

impl Zmq {
    pub async fn new(server: &RedisServer) -> Self {
        rows::flush(server).await;
        let endpoint = server.endpoint(Db::DpuApplDb);
        let anywhere = ZmqAddress::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
        let mut reader = Reader::serve_zmq(&anywhere, &endpoint, &[ZMQ_TABLE]);
        until_synced(&mut reader).await;
        let address = reader.zmq().and_then(|stats| stats.address().cloned()).unwrap();
        let peer = ZmqPeer { address, device: None };
        let mut store = Store::open_zmq(&endpoint, &[ZMQ_TABLE], tokio::sync::watch::channel(Some(peer)).1);
        store.next().await;
        let stats = store.zmq().unwrap().clone();
        swss::testing::wait_until("it is linked", PATIENCE, async || stats.is_up().then_some(()))
            .await
            .unwrap();
        Self { store, reader }
    }
}

/// Whether it is of this round.
fn is_of(change: &Change, fields: &Fields) -> bool {
    const TIME: &str = "last_updated_time";
    change.fields.as_ref().is_some_and(|row| row.get(TIME) == fields.get(TIME))
}

const ZMQ_TABLE: Table = Table::DashHaScope;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

impl Side for Zmq {
    async fn prepare(&mut self, _count: usize, _round: usize) {}

    async fn run(&mut self, count: usize, round: usize) {
        let fields = rows::fields(round + 1);
        let set = |at| RowWrite { table: ZMQ_TABLE, key: rows::key(at), op: Op::Set(fields.clone()) };
        self.store.write((0..count).map(set).collect());
        let take = async {
            let mut left = count;
            while left > 0 {
                if let Update::Changes(changes) = self.reader.next().await {
                    left -= changes.iter().filter(|change| is_of(change, &fields)).count();
                }
            }
        };
        tokio::join!(take, written(&mut self.store, count));
    }
}
