//! Producers of ZMQ tables: `core/zmq` over a modelled database and a modelled connection. Mirrors
//! `io/swss/src/zmq/producer.rs`; the connection itself is in [`crate::world`].

use std::collections::VecDeque;

use bus::Queue;
use reconcile::{StoreUpdate, Time};
use schema::Table;
use zmq::{
    Deliveries, LinkConfig, LinkEffect, LinkEvent, Outgoing, ProducerLink, ProducerStore, StoreInput,
    StoreOutput,
};

use super::{Store, TaggedWrite, WireId, ZmqPeer};
use crate::mutants::LinkLens;
use crate::redis::Mode;
use crate::rng::{MS, Micros};

/// Less than `io/swss` takes in at once, so that there is more in between.
const WRITES_MAX: usize = 4;

/// What a producer asks the network for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireAct {
    /// Connect to the peer.
    Connect,
    /// Send bytes.
    Transmit(Vec<u8>),
    /// End the connection, or the attempt.
    Disconnect,
}

/// As `swss::Store::open_zmq`.
#[derive(Clone, Debug)]
pub struct Producer {
    /// The database's store.
    pub store: Store,
    tables: Vec<(Table, Mode)>,
    core: ProducerStore,
    link: ProducerLink,
    lens: Option<LinkLens>,
    queue: Queue,
    started: Micros,
    /// Where the consumer is, as far as the process knows.
    pub peer: Option<ZmqPeer>,
    /// The network's: the present attempt to connect, and the connection.
    pub attempt: u64,
    /// See `attempt`.
    pub wire: Option<WireId>,
    /// Handed over by the process, not yet to the producer.
    pub port: VecDeque<Vec<TaggedWrite>>,
    /// Writes that were not reported yet, with what their writer knew.
    tagged: VecDeque<TaggedWrite>,
    knows_after: VecDeque<(usize, u64)>,
    /// How often the database had been emptied when the last snapshot that the process has was read.
    pub known_emptied: u64,
    /// For the network.
    pub acts: Vec<WireAct>,
    /// Rows that were given to the link.
    pub sent: Vec<Outgoing>,
    /// What happened to the link.
    pub news: Vec<String>,
    /// It came up or went down.
    pub has_turned: bool,
    /// How often rows were acknowledged.
    pub acknowledged: u64,
    /// The database's store began anew.
    pub is_reopened: bool,
    /// There are writes for the database.
    pub has_writes: bool,
}

impl Producer {
    /// A producer of these tables that starts now.
    pub fn open(tables: &[Table], started: Micros, lens: Option<LinkLens>) -> Self {
        let tables: Vec<(Table, Mode)> = tables.iter().map(|table| (*table, Mode::Table)).collect();
        Self {
            store: Store::open(&tables),
            core: ProducerStore::new(tables.iter().map(|(table, _)| *table)),
            tables,
            link: ProducerLink::new(LinkConfig::default()),
            lens,
            queue: Queue::default(),
            started,
            peer: None,
            attempt: 0,
            wire: None,
            port: VecDeque::new(),
            tagged: VecDeque::new(),
            knows_after: VecDeque::new(),
            known_emptied: 0,
            acts: Vec::new(),
            sent: Vec::new(),
            news: Vec::new(),
            has_turned: false,
            acknowledged: 0,
            is_reopened: false,
            has_writes: false,
        }
    }

    fn time(&self, now: Micros) -> Time {
        Time(now.saturating_sub(self.started) / MS)
    }

    /// When it wants to be given time.
    pub fn next_timer(&self) -> Option<Micros> {
        let deadlines = [self.link.next_deadline(), self.core.next_deadline()];
        let (at, _) = deadlines.into_iter().flatten().min()?;
        Some(self.started + at.0 * MS)
    }

    /// Whether the handshake is done and the connection not over.
    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// As `swss::Store::write`.
    pub fn write(&mut self, writes: Vec<TaggedWrite>) {
        if self.queue.write(writes.iter().map(|(write, _)| write.clone())) {
            self.tagged.extend(writes);
        }
    }

    /// The next update for the process, if there is one.
    pub fn take(&mut self) -> Option<StoreUpdate> {
        let update = self.queue.take_update()?;
        for (after, _) in &mut self.knows_after {
            *after = after.saturating_sub(1);
        }
        self.learn();
        Some(update)
    }

    /// Whether there is an update for the process.
    pub fn has_update(&self) -> bool {
        self.queue.updates() > 0
    }

    /// Whether there is work of its own.
    pub fn has_work(&self) -> bool {
        self.queue.has_writes() || self.store.has_update()
    }

    /// One piece of its own work: the process' writes, or what the database's store reports.
    pub fn work(&mut self, now: Micros, writes_first: bool) {
        if self.queue.has_writes() && (writes_first || !self.store.has_update()) {
            let writes = self.queue.take_writes(WRITES_MAX);
            self.tell_store(now, vec![StoreInput::Write(writes)]);
        } else {
            let updates = std::iter::from_fn(|| self.store.take()).map(StoreInput::Db).collect();
            self.tell_store(now, updates);
        }
    }

    /// Time passed.
    pub fn tick(&mut self, now: Micros) {
        self.tell_link(now, LinkEvent::Tick);
        self.tell_store(now, vec![StoreInput::Tick]);
    }

    /// The peer is somewhere else.
    pub fn set_peer(&mut self, now: Micros, peer: Option<ZmqPeer>) {
        if self.peer != peer {
            self.peer = peer;
            self.tell_link(now, LinkEvent::Address(peer.is_some()));
        }
    }

    /// Something happened to the link.
    pub fn tell_link(&mut self, now: Micros, event: LinkEvent) {
        let mut effects = Vec::new();
        self.link.handle(self.time(now), event, &mut effects);
        for effect in effects {
            match effect {
                LinkEffect::Connect => self.acts.push(WireAct::Connect),
                LinkEffect::Transmit(bytes) => self.acts.push(WireAct::Transmit(bytes)),
                LinkEffect::Disconnect => self.acts.push(WireAct::Disconnect),
                LinkEffect::Up { connection } => {
                    self.news.push(format!("link is up ({connection})"));
                    self.has_turned = true;
                    if let Some(lens) = &mut self.lens {
                        lens.up();
                    }
                    self.tell_store(now, vec![StoreInput::Up { connection }]);
                }
                LinkEffect::Down { reason } => {
                    self.news.push(format!("link is down: {reason}"));
                    self.has_turned = true;
                    self.tell_store(now, vec![StoreInput::Down]);
                }
                LinkEffect::Failed { reason } => self.news.push(format!("no link: {reason}")),
                LinkEffect::Acknowledged { connection, receipts } => {
                    self.acknowledged += 1;
                    self.tell_store(now, vec![StoreInput::Acknowledged { connection, receipts }]);
                }
                LinkEffect::TooLong { row: (table, key), length } => {
                    self.news.push(format!("{table} {key} is too long: {length} bytes"));
                }
            }
        }
    }

    fn tell_store(&mut self, now: Micros, inputs: Vec<StoreInput>) {
        let mut outputs = Vec::new();
        self.core.handle(self.time(now), inputs, &mut outputs);
        for output in outputs {
            match output {
                StoreOutput::Db(writes) => {
                    let tagged = writes.into_iter().map(|write| {
                        let known = self.known_of(write.table, &write.key);
                        (write, known)
                    });
                    let tagged: Vec<TaggedWrite> = tagged.collect();
                    self.has_writes |= self.store.write(tagged);
                }
                StoreOutput::Reopen => {
                    self.store = Store::open(&self.tables);
                    self.is_reopened = true;
                }
                StoreOutput::Send { connection, rows } => self.send(now, connection, rows),
                StoreOutput::Report(update) => self.report(update),
                StoreOutput::Refused { write, reason } => {
                    self.news.push(format!("{} {} is refused: {reason}", write.table, write.key));
                }
            }
        }
        self.may_know();
    }

    fn send(&mut self, now: Micros, connection: u64, rows: Vec<Outgoing>) {
        let (rows, receipts) = match &mut self.lens {
            Some(lens) => lens.send(rows),
            None => (rows, Vec::new()),
        };
        self.sent.extend(rows.iter().cloned());
        self.tell_link(now, LinkEvent::Send { connection, rows });
        if !receipts.is_empty() {
            self.tell_store(now, vec![StoreInput::Acknowledged { connection, receipts }]);
        }
    }

    fn report(&mut self, update: StoreUpdate) {
        match &update {
            StoreUpdate::Written { write, .. } => {
                let at = self.tagged.iter().position(|(tagged, _)| tagged == write);
                at.map(|at| self.tagged.remove(at));
            }
            StoreUpdate::Lost => self.tagged.clear(),
            StoreUpdate::Snapshot(_) => {}
        }
        let is_lost = update == StoreUpdate::Lost;
        self.queue.report(update);
        if is_lost {
            // A snapshot that was the last update is gone from the queue, and with it what it tells.
            let last = self.queue.updates();
            self.knows_after.retain(|(after, _)| *after < last);
        }
    }

    /// What the writer of the row's write that is under way knew.
    fn known_of(&self, table: Table, key: &str) -> u64 {
        let mut of_row = self.tagged.iter().filter(|(write, _)| write.table == table && write.key == key);
        of_row.next().map_or(self.known_emptied, |(_, known)| *known)
    }

    /// What was read counts once nothing waits to settle.
    fn may_know(&mut self) {
        let read = self.store.known_emptied;
        let known = self.knows_after.back().map_or(self.known_emptied, |(_, known)| *known);
        if read > known && self.core.next_deadline().is_none() {
            self.knows_after.push_back((self.queue.updates(), read));
            self.learn();
        }
    }

    fn learn(&mut self) {
        while let Some((0, emptied)) = self.knows_after.front() {
            self.known_emptied = *emptied;
            self.knows_after.pop_front();
        }
    }

    /// What the peer has.
    pub fn deliveries(&self) -> &Deliveries {
        self.core.deliveries()
    }
}
