//! Clients of a Redis server: readers and stores, step by step as `io/swss` runs them, so that everything that
//! can come between two of its round trips does.

mod reader;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use reconcile::RowWrite;
use schema::{Db, Fields, Table};

use crate::redis::{Database, Mode, Notice, RowKey};
use crate::rng::{MS, Micros};
use crate::topology::{Proc, Server};

pub use reader::Reader;
use reader::Reading;
pub use store::Store;
use store::Storing;

/// As `swss::Change`.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The table.
    pub table: Table,
    /// The key.
    pub key: String,
    /// The row; `None` if it is gone.
    pub fields: Option<Fields>,
}

/// As `swss::Update`.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// Rows changed.
    Changes(Vec<Change>),
    /// The reports amount to everything there is.
    Synced,
    /// The connection is lost.
    Lost,
}

/// A client's number.
pub type ClientId = u32;

/// Writes that wait, each with how often the database had been emptied as far as the writer knew.
pub type TaggedWrite = (RowWrite, u64);

/// As `swss::inbox::Pending`.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    keys: BTreeMap<RowKey, bool>,
    wakes: BTreeSet<Table>,
    flushed: bool,
    disconnected: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.wakes.is_empty() && !self.flushed && !self.disconnected
    }
}

/// Subscriber, consumer or store.
#[derive(Clone, Debug)]
pub enum Kind {
    /// As `Reader`.
    Reader(Reader),
    /// As `Store`.
    Store(Store),
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
    inbox: Pending,
    backoff: Micros,
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

const BACKOFF_MIN: Micros = 50 * MS;
const BACKOFF_MAX: Micros = 2000 * MS;

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
            inbox: Pending::default(),
            backoff: BACKOFF_MIN,
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
        match (&self.kind, notice) {
            (_, Notice::Flushed) => {
                self.inbox.flushed = true;
                true
            }
            (Kind::Reader(Reader { consumes: true, tables, .. }), Notice::Wake(table)) => {
                let ours = tables.contains(table);
                if ours {
                    self.inbox.wakes.insert(*table);
                }
                ours
            }
            (Kind::Reader(Reader { consumes: false, tables, .. }), Notice::Row(row, gone)) => {
                let ours = tables.contains(&row.0);
                if ours {
                    *self.inbox.keys.entry(row.clone()).or_default() |= gone;
                }
                ours
            }
            (Kind::Store(store), Notice::Row(row, gone)) => {
                let ours = store.mode(row.0).is_some();
                if ours {
                    *self.inbox.keys.entry(row.clone()).or_default() |= gone;
                }
                ours
            }
            (Kind::Store(store), Notice::Side(row)) => {
                let ours = store.mode(row.0) == Some(Mode::ProducerState);
                if ours {
                    self.inbox.keys.entry(row.clone()).or_default();
                }
                ours
            }
            (Kind::Reader(_), Notice::Row(..) | Notice::Side(_) | Notice::Wake(_))
            | (Kind::Store(_), Notice::Wake(_)) => false,
        }
    }

    /// The connection breaks.
    pub fn cut(&mut self) -> bool {
        if !self.is_connected {
            return false;
        }
        self.is_connected = false;
        self.inbox.disconnected = true;
        true
    }

    /// Takes its next step. `database` is `None` where the server cannot be reached.
    pub fn step(&mut self, now: Micros, latency: Micros, database: Option<&mut Database>) -> Stepped {
        let mut out = Stepped::default();
        let is_at_rest = match &self.kind {
            Kind::Reader(reader) => reader.phase == Reading::Off,
            Kind::Store(store) => store.phase == Storing::Off,
        };
        if is_at_rest {
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
        match &mut self.kind {
            Kind::Reader(reader) => reader.step(&mut self.inbox, database, &mut out),
            Kind::Store(store) => store.step(&mut self.inbox, database, &mut out),
        }
        let has_more = !self.inbox.is_empty()
            || match &self.kind {
                Kind::Reader(reader) => reader.phase != Reading::Idle,
                Kind::Store(store) => store.phase != Storing::Idle || !store.writes.is_empty(),
            };
        if has_more {
            out.again = Some(latency);
        }
        out
    }

    fn connect(&mut self, now: Micros, latency: Micros, is_reachable: bool, out: &mut Stepped) {
        self.inbox = Pending::default();
        if !is_reachable {
            out.again = Some(self.next_backoff(0));
            return;
        }
        self.is_connected = true;
        self.connected_at = now;
        match &mut self.kind {
            Kind::Reader(reader) => reader.phase = Reading::All(BTreeMap::new()),
            Kind::Store(store) => store.phase = Storing::Read(0),
        }
        out.again = Some(latency);
    }

    fn next_backoff(&mut self, lived: Micros) -> Micros {
        if lived >= BACKOFF_MAX {
            self.backoff = BACKOFF_MIN;
        }
        let wait = self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        wait
    }

    fn lose(&mut self, now: Micros, out: &mut Stepped) {
        self.is_connected = false;
        self.inbox = Pending::default();
        match &mut self.kind {
            Kind::Reader(reader) => reader.lose(),
            Kind::Store(store) => store.lose(),
        }
        out.fed = true;
        out.again = Some(self.next_backoff(now.saturating_sub(self.connected_at)));
    }
}
