//! Clients of a Redis server: the readers and stores of `bus`, which `io/swss` drives too, one round trip per
//! step, so that everything that can come between two of them does.

mod consumer;
mod producer;
mod reader;
mod store;

use std::net::Ipv4Addr;

use bus::{Backoff, Pending};
use reconcile::RowWrite;
use schema::Db;

use crate::redis::{Database, Mode, Notice, RowKey};
use crate::rng::{MS, Micros};
use crate::topology::{Proc, Server};

pub use bus::{Change, Update};
pub use consumer::{Consumer, SessionAct, WireId};
pub use producer::{Producer, WireAct};
pub use reader::Reader;
pub use store::Store;

/// A client's number.
pub type ClientId = u32;

/// Writes that wait, each with how often the database had been emptied as far as the writer knew.
pub type TaggedWrite = (RowWrite, u64);

/// Where a consumer of ZMQ tables listens: address and port.
pub type ZmqPeer = (Ipv4Addr, u16);

/// Subscriber, consumer or store.
#[derive(Clone, Debug)]
pub enum Kind {
    /// As `Reader`.
    Reader(Box<Reader>),
    /// As `Store`.
    Store(Box<Store>),
    /// As a `Store` over ZMQ.
    Producer(Box<Producer>),
    /// As a `Reader` over ZMQ.
    Consumer(Box<Consumer>),
}

impl Kind {
    fn store_mut(&mut self) -> Option<&mut Store> {
        match self {
            Self::Store(store) => Some(store),
            Self::Producer(producer) => Some(&mut producer.store),
            Self::Reader(_) | Self::Consumer(_) => None,
        }
    }
}

/// A connection of a process and what it does with it.
#[derive(Clone, Debug)]
pub struct Client {
    /// Whose.
    pub proc: Proc,
    /// Which of the process' connections.
    pub port: usize,
    /// Where to.
    pub server: Server,
    /// Which database.
    pub db: Db,
    /// What it does.
    pub kind: Kind,
    /// Whether it is connected and listens.
    pub is_connected: bool,
    backoff: Backoff,
    connected_at: Micros,
    /// When it is woken next.
    pub wake_at: Option<Micros>,
    /// When its updates are taken next.
    pub feed_at: Option<Micros>,
    /// When it is given time next.
    pub timer_at: Option<Micros>,
}

/// What a step of a client led to.
#[derive(Debug, Default)]
pub struct Stepped {
    /// Wake it again after this time; `None` is when something happens.
    pub again: Option<Micros>,
    /// There may be updates to take.
    pub fed: bool,
    /// What others may notice.
    pub notices: Vec<Notice>,
    /// What was written: with the emptied count that its writer knew of.
    pub written: Vec<TaggedWrite>,
    /// Rows that a consumer applied.
    pub popped: Vec<RowKey>,
}

impl Client {
    /// A client that is not connected yet.
    pub fn new(proc: Proc, port: usize, server: Server, db: Db, kind: Kind) -> Self {
        Self {
            proc,
            port,
            server,
            db,
            kind,
            is_connected: false,
            backoff: Backoff::new(),
            connected_at: 0,
            wake_at: None,
            feed_at: None,
            timer_at: None,
        }
    }

    /// Takes notice of something; whether it has to be woken for it.
    pub fn notice(&mut self, notice: &Notice) -> bool {
        if !self.is_connected {
            return false;
        }
        match &mut self.kind {
            Kind::Reader(reader) => noticed_by_reader(reader, notice),
            Kind::Store(store) => noticed_by_store(store, notice),
            Kind::Producer(producer) => noticed_by_store(&mut producer.store, notice),
            // It asks when it has a reason to, and is not told.
            Kind::Consumer(_) => false,
        }
    }

    /// The connection breaks.
    pub fn cut(&mut self) -> bool {
        if !self.is_connected {
            return false;
        }
        self.is_connected = false;
        true
    }

    /// The store of a producer began anew: on a connection of its own.
    pub fn reopen(&mut self) {
        self.is_connected = false;
        self.backoff = Backoff::new();
    }

    /// Takes its next step. `database` is `None` where the server cannot be reached.
    pub fn step(&mut self, now: Micros, latency: Micros, database: Option<&mut Database>) -> Stepped {
        let mut out = Stepped::default();
        let has_session = match &mut self.kind {
            Kind::Reader(reader) => reader.session.is_connected(),
            Kind::Store(store) => store.session.is_connected(),
            Kind::Producer(producer) => producer.store.session.is_connected(),
            Kind::Consumer(consumer) => {
                consumer.step(now, latency, database.as_deref(), &mut out);
                return out;
            }
        };
        if !has_session {
            self.connect(now, latency, database.is_some(), &mut out);
            return out;
        }
        let database = match database {
            Some(database) if self.is_connected => database,
            Some(_) | None => {
                self.lose(now, &mut out);
                return out;
            }
        };
        let has_more = match &mut self.kind {
            Kind::Reader(reader) => reader.step(database, &mut out),
            Kind::Store(store) => store.step(database, &mut out),
            Kind::Producer(producer) => producer.store.step(database, &mut out),
            Kind::Consumer(_) => false,
        };
        if has_more {
            out.again = Some(latency);
        }
        out
    }

    fn connect(&mut self, now: Micros, latency: Micros, is_reachable: bool, out: &mut Stepped) {
        if !is_reachable {
            out.again = Some(self.next_backoff(0));
            return;
        }
        self.is_connected = true;
        self.connected_at = now;
        if let Kind::Reader(reader) = &mut self.kind {
            reader.session.connected();
        } else if let Some(store) = self.kind.store_mut() {
            store.session.connected();
        }
        out.again = Some(latency);
    }

    fn next_backoff(&mut self, lived: Micros) -> Micros {
        self.backoff.after_ms(lived / MS) * MS
    }

    fn lose(&mut self, now: Micros, out: &mut Stepped) {
        self.is_connected = false;
        if let Kind::Reader(reader) = &mut self.kind {
            reader.lose();
        } else if let Some(store) = self.kind.store_mut() {
            store.lose();
        }
        out.fed = true;
        out.again = Some(self.next_backoff(now.saturating_sub(self.connected_at)));
    }
}

fn noticed_by_reader(reader: &mut Reader, notice: &Notice) -> bool {
    let mut pending = Pending::default();
    match notice {
        Notice::Flushed => pending.everything = true,
        Notice::Wake(table) => {
            if reader.session.consumes() && reader.session.tables().contains(table) {
                pending.wakes.insert(*table);
            }
        }
        Notice::Row(row, gone) => {
            if !reader.session.consumes() && reader.session.tables().contains(&row.0) {
                pending.row(row.clone(), *gone);
            }
        }
        Notice::Side(_) => {}
    }
    let is_news = !pending.is_empty();
    if is_news {
        reader.session.notice(pending);
    }
    is_news
}

fn noticed_by_store(store: &mut Store, notice: &Notice) -> bool {
    let mut pending = Pending::default();
    match notice {
        Notice::Flushed => pending.everything = true,
        Notice::Row(row, gone) => {
            if store.session.mode(row.0).is_some() {
                pending.row(row.clone(), *gone);
            }
        }
        Notice::Side(row) => {
            if store.session.mode(row.0) == Some(Mode::ProducerState) {
                pending.row(row.clone(), false);
                pending.sets.insert(row.0);
            }
        }
        Notice::Wake(_) => {}
    }
    let is_news = !pending.is_empty();
    if is_news {
        store.session.notice(pending);
    }
    is_news
}
