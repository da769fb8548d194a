//! A producer's task: the database's store, the link and its socket around `zmq::ProducerStore`.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reconcile::{StoreUpdate, Time};
use schema::Table;
use tokio::sync::watch;
use tokio::time::Instant;
use zmq::{LinkConfig, LinkEffect, LinkEvent, ProducerLink, ProducerStore, StoreInput, StoreOutput};

use crate::store::Queue;
use crate::zmq::socket::{self, Stream};
use crate::zmq::stats::{LinkStats, add, set};
use crate::zmq::wire::{Moved, Wire, moved};
use crate::zmq::{ZmqAddress, ZmqPeer};
use crate::{Endpoint, Mode, Store};

/// How many writes are taken in at once.
const WRITES_MAX: usize = 1024;
/// How many reports of the database's store are taken in at once.
const UPDATES_MAX: usize = 4096;

type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

pub(crate) struct Producer {
    endpoint: Endpoint,
    tables: Vec<(Table, Mode)>,
    db: Store,
    core: ProducerStore,
    link: ProducerLink,
    /// `None` once nobody is left to say.
    peers: Option<watch::Receiver<Option<ZmqPeer>>>,
    peer: Option<ZmqPeer>,
    connecting: Option<Connecting>,
    wire: Option<Wire>,
    queue: Arc<Queue>,
    stats: Arc<LinkStats>,
    started: Instant,
    /// Failures since the last connection, of which only the first is worth a warning.
    failures: u64,
}

impl Producer {
    pub(crate) fn new(
        endpoint: &Endpoint,
        tables: &[Table],
        peers: watch::Receiver<Option<ZmqPeer>>,
        queue: Arc<Queue>,
        stats: Arc<LinkStats>,
    ) -> Self {
        let tables: Vec<(Table, Mode)> = tables.iter().map(|table| (*table, Mode::Table)).collect();
        Self {
            db: Store::open(endpoint, &tables),
            core: ProducerStore::new(tables.iter().map(|(table, _)| *table)),
            link: ProducerLink::new(LinkConfig::default()),
            endpoint: endpoint.clone(),
            tables,
            peers: Some(peers),
            peer: None,
            connecting: None,
            wire: None,
            queue,
            stats,
            started: Instant::now(),
            failures: 0,
        }
    }

    /// Runs for ever. Cancelling it closes the connection.
    pub(crate) async fn run(mut self) {
        self.take_peer();
        loop {
            self.publish();
            let queue = self.queue.clone();
            let deadline = self.deadline();
            tokio::select! {
                () = queue.has_writes() => {
                    let writes = queue.with(|queue| queue.take_writes(WRITES_MAX));
                    self.tell_store([StoreInput::Write(writes)]);
                }
                update = self.db.next() => self.take_updates(update),
                moved = moved(&mut self.wire) => self.moved(moved),
                made = connected(&mut self.connecting) => self.made(made),
                () = changed(&mut self.peers) => self.take_peer(),
                () = sleep_until(deadline) => {
                    self.tell_link(LinkEvent::Tick);
                    self.tell_store([StoreInput::Tick]);
                }
            }
        }
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.link.next_deadline(), self.core.next_deadline()];
        let (at, _) = deadlines.into_iter().flatten().min()?;
        Some(self.started + Duration::from_millis(at.0))
    }

    fn publish(&self) {
        self.stats.is_up.store(self.link.is_up(), Ordering::Relaxed);
        set(&self.stats.waiting, self.link.backlog());
        set(&self.stats.unacknowledged, self.link.unacknowledged());
    }

    fn take_peer(&mut self) {
        let Some(peers) = &mut self.peers else { return };
        let peer = peers.borrow_and_update().clone();
        if peer == self.peer {
            return;
        }
        match &peer {
            Some(ZmqPeer { address, .. }) => tracing::info!(db = %self.endpoint, peer = %address, "ZMQ peer"),
            None => tracing::info!(db = %self.endpoint, "no ZMQ peer"),
        }
        self.peer = peer;
        self.failures = 0;
        self.tell_link(LinkEvent::Address(self.peer.is_some()));
    }

    fn made(&mut self, made: io::Result<Box<dyn Stream>>) {
        self.connecting = None;
        match made {
            Ok(stream) => {
                self.wire = Some(Wire::new(stream));
                self.tell_link(LinkEvent::Connected);
            }
            Err(error) => self.tell_link(LinkEvent::Refused { reason: error.to_string() }),
        }
    }

    fn moved(&mut self, moved: io::Result<Moved>) {
        match moved {
            Ok(Moved::In(bytes)) => self.tell_link(LinkEvent::Received(bytes)),
            Ok(Moved::Out(count)) => add(&self.stats.bytes_sent, count),
            Err(error) => {
                self.wire = None;
                self.tell_link(LinkEvent::Closed { reason: error.to_string() });
            }
        }
    }

    fn tell_link(&mut self, event: LinkEvent) {
        let mut effects = Vec::new();
        self.link.handle(self.now(), event, &mut effects);
        for effect in effects {
            self.apply(effect);
        }
    }

    fn apply(&mut self, effect: LinkEffect) {
        match effect {
            LinkEffect::Connect => {
                if let Some(ZmqPeer { address, device }) = self.peer.clone() {
                    self.connecting =
                        Some(Box::pin(async move { socket::connect(&address, device.as_deref()).await }));
                }
            }
            LinkEffect::Transmit(bytes) => {
                if let Some(wire) = &mut self.wire {
                    wire.put(&bytes);
                }
            }
            LinkEffect::Disconnect => {
                self.connecting = None;
                self.wire = None;
            }
            LinkEffect::Up { connection } => {
                tracing::info!(db = %self.endpoint, peer = %self.peer_name(), connection, "ZMQ link is up");
                add(&self.stats.connections, 1);
                self.failures = 0;
                self.tell_store([StoreInput::Up { connection }]);
            }
            LinkEffect::Down { reason } => {
                tracing::warn!(db = %self.endpoint, peer = %self.peer_name(), reason, "ZMQ link is down; will keep trying");
                // Said already.
                self.failures = 1;
                self.tell_store([StoreInput::Down]);
            }
            LinkEffect::Failed { reason } => {
                add(&self.stats.failures, 1);
                let (db, peer, failures) = (&self.endpoint, self.peer_name(), self.failures);
                match failures {
                    0 => tracing::warn!(%db, %peer, reason, "no ZMQ link; will keep trying"),
                    _ => tracing::debug!(%db, %peer, reason, failures, "still no ZMQ link"),
                }
                self.failures += 1;
            }
            LinkEffect::Acknowledged { connection, receipts } => {
                add(&self.stats.rows_acknowledged, receipts.len());
                self.tell_store([StoreInput::Acknowledged { connection, receipts }]);
            }
            LinkEffect::TooLong { row: (table, key), length } => {
                add(&self.stats.rows_refused, 1);
                tracing::error!(db = %table.db(), %table, key, length, "this row is too long for a ZMQ message");
            }
        }
    }

    fn peer_name(&self) -> String {
        self.peer.as_ref().map(|peer| peer.address.to_string()).unwrap_or_default()
    }

    /// Takes what the database's store reports, as much as there is: so that rows written together go together.
    fn take_updates(&mut self, update: StoreUpdate) {
        let more = std::iter::from_fn(|| self.db.try_next()).take(UPDATES_MAX);
        let updates: Vec<StoreInput> = std::iter::once(update).chain(more).map(StoreInput::Db).collect();
        self.tell_store(updates);
    }

    fn tell_store(&mut self, inputs: impl IntoIterator<Item = StoreInput>) {
        let mut outputs = Vec::new();
        self.core.handle(self.now(), inputs, &mut outputs);
        for output in outputs {
            match output {
                StoreOutput::Db(writes) => self.db.write(writes),
                StoreOutput::Reopen => self.db = Store::open(&self.endpoint, &self.tables),
                StoreOutput::Send { connection, rows } => {
                    add(&self.stats.rows_sent, rows.len());
                    self.tell_link(LinkEvent::Send { connection, rows });
                }
                StoreOutput::Report(update) => self.queue.with(|queue| queue.report(update)),
                StoreOutput::Refused { write, reason } => {
                    add(&self.stats.rows_refused, 1);
                    let (table, key) = (write.table, write.key);
                    tracing::error!(db = %table.db(), %table, key, reason, "refused to write this row");
                }
            }
        }
    }
}

async fn connected(connecting: &mut Option<Connecting>) -> io::Result<Box<dyn Stream>> {
    match connecting {
        Some(connecting) => connecting.await,
        None => pending().await,
    }
}

async fn changed(peers: &mut Option<watch::Receiver<Option<ZmqPeer>>>) {
    let Some(receiver) = peers else { return pending().await };
    if receiver.changed().await.is_err() {
        // Nobody will say another: the last one stays.
        *peers = None;
    }
}

pub(super) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => pending().await,
    }
}

impl From<ZmqAddress> for ZmqPeer {
    fn from(address: ZmqAddress) -> Self {
        Self { address, device: None }
    }
}

impl Store {
    /// Opens a store whose rows are also sent to a consumer, as a `ZmqProducerStateTable` with persistence does
    /// (`reference/swss-wire.md` 5). Must be called within a tokio runtime.
    ///
    /// The peer may change at any time; while it is `None`, or cannot be reached, rows are only stored. As in any
    /// store a snapshot holds what the database holds; besides,
    /// - a row is consumed once the peer's process has acknowledged it on the present connection: after each handshake
    ///   none is;
    /// - fields that are said once ([`Table::one_shot_fields`]) are never stored, and gone from the report after each
    ///   handshake;
    /// - a deletion is reported, and the row gone, once the peer has acknowledged it or is not there. A peer that was
    ///   not there is told after the next handshake;
    /// - what somebody else does to a row is reported once it has stood for 500 ms, while the peer is there.
    ///
    /// A row that is too long for a message, and one that is merged rather than set, are refused.
    pub fn open_zmq(endpoint: &Endpoint, tables: &[Table], peer: watch::Receiver<Option<ZmqPeer>>) -> Store {
        let queue = Arc::new(Queue::default());
        let stats = Arc::new(LinkStats::default());
        let producer = Producer::new(endpoint, tables, peer, queue.clone(), stats.clone());
        Self::started(queue, tokio::spawn(producer.run()).abort_handle(), Some(stats))
    }
}
