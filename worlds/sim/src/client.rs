//! Clients of a Redis server: the readers and stores of `bus`, which `io/swss` drives too, one round trip per
//! step, so that everything that can come between two of them does.

mod reader;
mod store;

use bus::{Backoff, Pending};
use reconcile::RowWrite;
use schema::Db;

use crate::redis::{Database, Mode, Notice, RowKey};
use crate::rng::{MS, Micros};
use crate::topology::{Proc, Server};

pub use bus::{Change, Update};
pub use reader::Reader;
pub use store::Store;

/// A client's number.
pub type ClientId = u32;

/// Writes that wait, each with how often the database had been emptied as far as the writer knew.
pub type TaggedWrite = (RowWrite, u64);

/// Subscriber, consumer or store.
#[derive(Clone, Debug)]
pub enum Kind {
    /// As `Reader`.
    Reader(Box<Reader>),
    /// As `Store`.
    Store(Box<Store>),
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
        }
    }

    /// Takes notice of something; whether it has to be woken for it.
    pub fn notice(&mut self, notice: &Notice) -> bool {
        if !self.is_connected {
            return false;
        }
        let mut pending = Pending::default();
        match (&self.kind, notice) {
            (_, Notice::Flushed) => pending.everything = true,
            (Kind::Reader(reader), Notice::Wake(table)) => {
                if reader.session.consumes() && reader.session.tables().contains(table) {
                    pending.wakes.insert(*table);
                }
            }
            (Kind::Reader(reader), Notice::Row(row, gone)) => {
                if !reader.session.consumes() && reader.session.tables().contains(&row.0) {
                    pending.row(row.clone(), *gone);
                }
            }
            (Kind::Store(store), Notice::Row(row, gone)) => {
                if store.session.mode(row.0).is_some() {
                    pending.row(row.clone(), *gone);
                }
            }
            (Kind::Store(store), Notice::Side(row)) => {
                if store.session.mode(row.0) == Some(Mode::ProducerState) {
                    pending.row(row.clone(), false);
                    pending.sets.insert(row.0);
                }
            }
            (Kind::Reader(_), Notice::Side(_)) | (Kind::Store(_), Notice::Wake(_)) => {}
        }
        if pending.is_empty() {
            return false;
        }
        match &mut self.kind {
            Kind::Reader(reader) => reader.session.notice(pending),
            Kind::Store(store) => store.session.notice(pending),
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

    /// Takes its next step. `database` is `None` where the server cannot be reached.
    pub fn step(&mut self, now: Micros, latency: Micros, database: Option<&mut Database>) -> Stepped {
        let mut out = Stepped::default();
        let has_session = match &self.kind {
            Kind::Reader(reader) => reader.session.is_connected(),
            Kind::Store(store) => store.session.is_connected(),
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
        match &mut self.kind {
            Kind::Reader(reader) => reader.session.connected(),
            Kind::Store(store) => store.session.connected(),
        }
        out.again = Some(latency);
    }

    fn next_backoff(&mut self, lived: Micros) -> Micros {
        self.backoff.after_ms(lived / MS) * MS
    }

    fn lose(&mut self, now: Micros, out: &mut Stepped) {
        self.is_connected = false;
        match &mut self.kind {
            Kind::Reader(reader) => reader.lose(),
            Kind::Store(store) => store.lose(),
        }
        out.fed = true;
        out.again = Some(self.next_backoff(now.saturating_sub(self.connected_at)));
    }
}
