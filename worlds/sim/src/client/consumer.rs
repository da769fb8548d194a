//! Consumers of ZMQ tables: `core/zmq` over modelled connections and a modelled database. Mirrors
//! `io/swss/src/zmq/consumer.rs`; the connections themselves are in [`crate::world`].

use std::collections::{BTreeMap, BTreeSet};

use bus::{Difference, Outbox, Report, Update};
use reconcile::Time;
use schema::{Fields, Table};
use zmq::{ConsumerSession, Holdings, NotTaken, RowId, SessionEffect, SessionEvent};

use super::Stepped;
use crate::redis::Database;
use crate::rng::{MS, Micros};

/// A connection's number.
pub type WireId = u64;

/// What a session asks the network for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionAct {
    /// Send bytes.
    Transmit(Vec<u8>),
    /// End the connection.
    Close,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    number: u64,
    core: ConsumerSession,
    is_up: bool,
}

/// What a consumer has, but for one of its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllBut {
    rows: BTreeMap<RowId, Fields>,
    sessions: BTreeMap<WireId, Session>,
    acts: Vec<(WireId, SessionAct)>,
}

/// As `swss::Reader::serve_zmq`.
#[derive(Clone, Debug)]
pub struct Consumer {
    tables: Vec<Table>,
    holdings: Holdings,
    sessions: BTreeMap<WireId, Session>,
    accepted: u64,
    outbox: Outbox,
    started: Micros,
    /// Whether it accepts producers.
    pub is_listening: bool,
    /// The database was asked, and its answer is on its way.
    answer: Option<Option<BTreeSet<RowId>>>,
    /// For the network.
    pub acts: Vec<(WireId, SessionAct)>,
    /// What happened to sessions.
    pub news: Vec<String>,
    /// There may be something new to ask the database.
    pub is_asking: bool,
}

impl Consumer {
    /// A consumer of these tables that starts now.
    pub fn serve(tables: &[Table], started: Micros) -> Self {
        Self {
            tables: tables.to_vec(),
            holdings: Holdings::new(tables.iter().copied()),
            sessions: BTreeMap::new(),
            accepted: 0,
            outbox: Outbox::default(),
            started,
            is_listening: false,
            answer: None,
            acts: Vec::new(),
            news: Vec::new(),
            is_asking: false,
        }
    }

    fn time(&self, now: Micros) -> Time {
        Time(now.saturating_sub(self.started) / MS)
    }

    fn micros(&self, at: Time) -> Micros {
        self.started + at.0 * MS
    }

    /// What it holds.
    pub fn holdings(&self) -> &Holdings {
        &self.holdings
    }

    /// What it has and asks for, but for the session on that connection.
    pub fn all_but(&self, wire: WireId) -> AllBut {
        let is_other = |other: &WireId| *other != wire;
        let sessions = self.sessions.iter().filter(|(wire, _)| is_other(wire));
        AllBut {
            rows: self.holdings.rows().map(|(row, fields)| (row.clone(), fields.clone())).collect(),
            sessions: sessions.map(|(wire, session)| (*wire, session.clone())).collect(),
            acts: self.acts.iter().filter(|(wire, _)| is_other(wire)).cloned().collect(),
        }
    }

    /// When it wants to be given time.
    pub fn next_timer(&self) -> Option<Micros> {
        let deadlines = self.sessions.values().filter_map(|session| session.core.next_deadline());
        deadlines.map(|(at, _)| self.micros(at)).min()
    }

    /// A producer connected.
    pub fn accept(&mut self, now: Micros, wire: WireId) {
        self.accepted += 1;
        let mut effects = Vec::new();
        let core = ConsumerSession::new(self.time(now), &mut effects);
        self.sessions.insert(wire, Session { number: self.accepted, core, is_up: false });
        self.apply(now, wire, effects);
    }

    /// Whether it has that connection.
    pub fn has(&self, wire: WireId) -> bool {
        self.sessions.contains_key(&wire)
    }

    /// Bytes came.
    pub fn received(&mut self, now: Micros, wire: WireId, bytes: Vec<u8>) {
        self.tell(now, wire, SessionEvent::Received(bytes));
    }

    /// A connection is over.
    pub fn closed(&mut self, now: Micros, wire: WireId, reason: &str) {
        let Some(session) = self.sessions.remove(&wire) else { return };
        if session.is_up {
            self.holdings.closed(self.time(now), session.number);
            self.is_asking = true;
        }
        let within = if session.core.is_within() { ", within a message" } else { "" };
        self.news.push(format!("producer {} is gone: {reason}{within}", session.number));
    }

    /// Time passed.
    pub fn tick(&mut self, now: Micros) {
        for wire in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.tell(now, wire, SessionEvent::Tick);
        }
    }

    fn tell(&mut self, now: Micros, wire: WireId, event: SessionEvent) {
        let time = self.time(now);
        let mut effects = Vec::new();
        if let Some(session) = self.sessions.get_mut(&wire) {
            session.core.handle(time, event, &mut effects);
        }
        self.apply(now, wire, effects);
    }

    fn apply(&mut self, now: Micros, wire: WireId, effects: Vec<SessionEffect>) {
        let time = self.time(now);
        for effect in effects {
            let Some(session) = self.sessions.get_mut(&wire) else { return };
            match effect {
                SessionEffect::Transmit(bytes) => self.acts.push((wire, SessionAct::Transmit(bytes))),
                SessionEffect::Up => {
                    session.is_up = true;
                    self.holdings.opened(time, session.number);
                    self.is_asking = true;
                    self.news.push(format!("producer {} connected", session.number));
                }
                SessionEffect::Message(message) => {
                    let (number, name, unreadable) =
                        (session.number, message.table.clone(), message.unreadable_rows);
                    match self.holdings.take(number, message) {
                        Ok(differences) => {
                            self.outbox.put(Report { differences, synced: false });
                        }
                        Err(NotTaken::Unknown) => self.news.push(format!("a message for {name} is dropped")),
                        Err(NotTaken::Superseded) => {
                            self.acts.push((wire, SessionAct::Close));
                            self.closed(now, wire, &format!("a later producer has spoken of {name}"));
                            return;
                        }
                    }
                    if unreadable > 0 {
                        self.news.push(format!("{unreadable} rows of {name} are dropped"));
                    }
                }
                SessionEffect::Dropped { reason } => {
                    self.news.push(format!("a message is dropped: {reason}"))
                }
                SessionEffect::Close { reason } => {
                    self.acts.push((wire, SessionAct::Close));
                    self.closed(now, wire, &reason);
                }
            }
        }
    }

    /// Begins to listen; later asks the database which of the rows whose producer is gone it holds.
    pub(super) fn step(
        &mut self,
        now: Micros,
        latency: Micros,
        database: Option<&Database>,
        out: &mut Stepped,
    ) {
        if !self.is_listening {
            self.is_listening = true;
            self.outbox.put(Report { differences: Vec::new(), synced: true });
        }
        if let Some(present) = self.answer.take() {
            let gone = self.holdings.asked(self.time(now), present.as_ref());
            for Difference { row: (table, key), .. } in &gone {
                self.news.push(format!("{table} {key} was deleted while its producer was gone"));
            }
            self.outbox.put(Report { differences: gone, synced: false });
        }
        match self.holdings.ask_at().map(|at| self.micros(at)) {
            Some(at) if at <= now => {
                let has_orphans = self.holdings.orphans().next().is_some();
                self.answer = Some(match database {
                    Some(database) if has_orphans => Some(database.find(&self.tables, false)),
                    None if has_orphans => None,
                    Some(_) | None => Some(BTreeSet::new()),
                });
                out.again = Some(latency);
            }
            Some(at) => out.again = Some(at - now),
            None => {}
        }
        out.fed |= self.has_update();
    }

    /// Whether there is an update to take.
    pub fn has_update(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The next update, if there is one.
    pub fn take(&mut self) -> Option<Update> {
        self.outbox.take()
    }
}
