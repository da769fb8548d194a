//! Clients of a Redis server: the readers and stores of `bus`, which `io/swss` drives too, one round trip per
//! step, so that everything that can come between two of them does.

mod consumer;
mod listening;
mod producer;
mod reader;
mod store;
mod stranger;

use std::net::Ipv4Addr;

use bus::Backoff;
use reconcile::RowWrite;
use schema::Db;

use crate::redis::{Database, Notice, RowKey};
use crate::rng::{MS, Micros};
use crate::topology::{Proc, Server};

pub use bus::{Change, Update};
pub use consumer::{Consumer, SessionAct, WireId};
pub use listening::{Listening, Told};
pub use producer::{Producer, WireAct};
pub use reader::Reader;
pub use store::Store;
pub use stranger::pieces as strange_pieces;

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
    /// What it hears while it is connected; `None` where it asks when it has a reason to, and is not told.
    listening: Option<Listening>,
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
        let listening = match &kind {
            Kind::Reader(reader) => {
                let tables = reader.session.tables().iter().copied();
                Some(Listening::to(db, tables, reader.session.consumes(), |_| false))
            }
            Kind::Store(store) => Some(store.listening(db)),
            Kind::Producer(producer) => Some(producer.store.listening(db)),
            Kind::Consumer(_) => None,
        };
        Self {
            proc,
            port,
            server,
            db,
            kind,
            is_connected: false,
            listening,
            backoff: Backoff::new(),
            connected_at: 0,
            wake_at: None,
            feed_at: None,
            timer_at: None,
        }
    }

    /// Takes notice of what the server tells; whether it has to be woken for it.
    pub fn notice(&mut self, told: &Told) -> bool {
        let Some(listening) = self.listening.as_ref().filter(|_| self.is_connected) else { return false };
        let pending = listening.sort(told);
        if pending.is_empty() {
            return false;
        }
        if let Kind::Reader(reader) = &mut self.kind {
            reader.session.notice(pending);
        } else if let Some(store) = self.kind.store_mut() {
            store.session.notice(pending);
        }
        true
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
