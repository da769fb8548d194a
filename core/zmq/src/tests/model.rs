//! Both ends and a database between them, under random faults.
//!
//! Safety after every step: a row that counts as consumed is what the consumer of that connection has, and a request
//! is never heard on a connection on which it was not made. Liveness: once faults stop, the consumer has what the
//! database has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bus::Difference;
use proptest::prelude::*;
use reconcile::Time;
use schema::{Fields, Table};

use super::{SCOPE, SET};
use crate::{
    ConsumerSession, Deliveries, Holdings, LinkConfig, LinkEffect, LinkEvent, Outgoing, ProducerLink, RowId,
    SessionEffect, SessionEvent,
};

const REQUEST: &str = "activate_role_requested";

#[derive(Clone, Debug)]
enum Step {
    /// The producer sets a row; the scope's with a request in it, or not.
    Set(RowId, u8, bool),
    /// The producer deletes a row.
    Del(RowId),
    /// Somebody else deletes a row in the database.
    Vanish(RowId),
    /// The consumer stores what it was told, requests included, as SONiC's does.
    Persist,
    /// The database is emptied.
    Flush,
    /// Bytes arrive at the consumer, or at the producer.
    Forward(usize),
    Back(usize),
    /// The connection breaks. What was under way to the consumer may still be read by it.
    Break,
    /// A process dies and starts anew.
    RestartConsumer,
    RestartProducer,
    Pass(u64),
}

fn row() -> impl Strategy<Value = RowId> {
    (any::<bool>(), 0..3_u8).prop_map(|(is_set, key)| (if is_set { SET } else { SCOPE }, format!("k{key}")))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (row(), 0..4_u8, any::<bool>()).prop_map(|(row, value, asks)| Step::Set(row, value, asks)),
        3 => row().prop_map(Step::Del),
        1 => row().prop_map(Step::Vanish),
        2 => Just(Step::Persist),
        1 => Just(Step::Flush),
        8 => (1..400_usize).prop_map(Step::Forward),
        8 => (1..200_usize).prop_map(Step::Back),
        2 => Just(Step::Break),
        1 => Just(Step::RestartConsumer),
        1 => Just(Step::RestartProducer),
        3 => (1..6000_u64).prop_map(Step::Pass),
    ]
}

/// The consumer's end of a connection.
struct Session {
    number: u64,
    session: ConsumerSession,
}

struct World {
    now: Time,
    db: BTreeMap<RowId, Fields>,
    link: ProducerLink,
    deliveries: Deliveries,
    /// Deleted once acknowledged.
    deleting: BTreeSet<RowId>,
    /// Requests made on the present connection.
    requested: BTreeSet<RowId>,
    forward: VecDeque<u8>,
    back: VecDeque<u8>,
    holdings: Holdings,
    session: Option<Session>,
    sessions: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            now: Time(0),
            db: BTreeMap::new(),
            link: ProducerLink::new(LinkConfig::default()),
            deliveries: Deliveries::new(),
            deleting: BTreeSet::new(),
            requested: BTreeSet::new(),
            forward: VecDeque::new(),
            back: VecDeque::new(),
            holdings: Holdings::new([SET, SCOPE]),
            session: None,
            sessions: 0,
        };
        world.link(LinkEvent::Address(true));
        world
    }

    fn link(&mut self, event: LinkEvent) {
        let mut effects = Vec::new();
        self.link.handle(self.now, event, &mut effects);
        for effect in effects {
            match effect {
                LinkEffect::Connect => {
                    self.cut();
                    let mut out = Vec::new();
                    let session = ConsumerSession::new(self.now, &mut out);
                    self.sessions += 1;
                    self.session = Some(Session { number: self.sessions, session });
                    self.consume(out);
                    self.link(LinkEvent::Connected);
                }
                LinkEffect::Transmit(bytes) => self.forward.extend(bytes),
                LinkEffect::Disconnect => self.cut(),
                LinkEffect::Up { connection } => {
                    self.requested.clear();
                    let rows = self.deliveries.up(connection, self.db.iter());
                    self.send(rows);
                }
                LinkEffect::Down { .. } => {
                    self.deliveries.down();
                    for row in std::mem::take(&mut self.deleting) {
                        self.db.remove(&row);
                    }
                }
                LinkEffect::Failed { .. } => {}
                LinkEffect::Acknowledged { connection, receipts } => {
                    for row in self.deliveries.acknowledged(connection, receipts) {
                        if self.deleting.remove(&row) {
                            self.db.remove(&row);
                        }
                    }
                }
                LinkEffect::TooLong { .. } => panic!("nothing is that long"),
            }
        }
    }

    fn send(&mut self, rows: Vec<Outgoing>) {
        if let Some(connection) = self.deliveries.connection() {
            self.link(LinkEvent::Send { connection, rows });
        }
    }

    fn consume(&mut self, effects: Vec<SessionEffect>) {
        let number = self.session.as_ref().map(|session| session.number).unwrap();
        for effect in effects {
            match effect {
                SessionEffect::Transmit(bytes) => self.back.extend(bytes),
                SessionEffect::Up => self.holdings.opened(self.now, number),
                SessionEffect::Message(message) => {
                    for Difference { row, fields, .. } in self.holdings.take(number, message).unwrap() {
                        let asks = fields.is_some_and(|fields| fields.text(REQUEST) == Some("true"));
                        assert!(!asks || self.requested.contains(&row), "{row:?}: a request out of the past");
                    }
                }
                SessionEffect::Dropped { reason } => panic!("{reason}"),
                SessionEffect::Close { .. } => {
                    self.cut();
                    self.link(LinkEvent::Closed { reason: "closed".to_owned() });
                    return;
                }
            }
        }
    }

    /// The connection is no more; the producer has not noticed.
    fn cut(&mut self) {
        if let Some(session) = self.session.take() {
            self.holdings.closed(self.now, session.number);
        }
        self.forward.clear();
        self.back.clear();
    }

    fn vanish(&mut self, row: &RowId) {
        let was_ours = self.deleting.contains(row);
        if self.db.remove(row).is_some() && !was_ours {
            let sent = self.deliveries.vanished(row);
            self.send(sent.into_iter().collect());
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Set(row, value, asks) => {
                self.deleting.remove(&row);
                let mut fields: Fields = [("v", value.to_string())].into_iter().collect();
                if row.0 == SCOPE {
                    fields.set(REQUEST, if asks { "true" } else { "false" });
                    if asks {
                        self.requested.insert(row.clone());
                    }
                }
                self.db.insert(row.clone(), Deliveries::persistent(row.0, &fields));
                let sent = self.deliveries.set(&row, &fields);
                self.send(sent.into_iter().collect());
            }
            Step::Del(row) => match self.deliveries.del(&row) {
                Some(sent) => {
                    self.deleting.insert(row);
                    self.send(vec![sent]);
                }
                None => {
                    self.db.remove(&row);
                }
            },
            Step::Vanish(row) => self.vanish(&row),
            Step::Persist => {
                for (row, stored) in &mut self.db {
                    let held = self.holdings.get(row);
                    let is_latest = |held: &&Fields| Deliveries::persistent(row.0, held) == *stored;
                    if let Some(held) = held.filter(is_latest) {
                        *stored = held.clone();
                    }
                }
            }
            Step::Flush => {
                let rows: Vec<RowId> = self.db.keys().cloned().collect();
                rows.iter().for_each(|row| self.vanish(row));
            }
            Step::Forward(count) => {
                let count = count.min(self.forward.len());
                let bytes: Vec<u8> = self.forward.drain(..count).collect();
                let now = self.now;
                let mut out = Vec::new();
                let Some(Session { session, .. }) = &mut self.session else { return };
                session.handle(now, SessionEvent::Received(bytes), &mut out);
                self.consume(out);
            }
            Step::Back(count) => {
                let count = count.min(self.back.len());
                let bytes = self.back.drain(..count).collect();
                self.link(LinkEvent::Received(bytes));
            }
            Step::Break => {
                self.cut();
                self.link(LinkEvent::Closed { reason: "reset".to_owned() });
            }
            Step::RestartConsumer => {
                self.cut();
                self.holdings = Holdings::new([SET, SCOPE]);
                self.link(LinkEvent::Closed { reason: "reset".to_owned() });
            }
            Step::RestartProducer => {
                self.cut();
                self.deliveries = Deliveries::new();
                self.deleting.clear();
                self.requested.clear();
                self.link = ProducerLink::new(LinkConfig::default());
                self.link(LinkEvent::Address(true));
            }
            Step::Pass(ms) => self.pass(ms),
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.after_ms(ms);
        self.link(LinkEvent::Tick);
        let now = self.now;
        let mut out = Vec::new();
        if let Some(Session { session, .. }) = &mut self.session {
            session.handle(now, SessionEvent::Tick, &mut out);
            self.consume(out);
        }
        if self.holdings.ask_at().is_some_and(|at| at <= now) {
            let present = self.db.keys().cloned().collect();
            self.holdings.asked(now, Some(&present));
        }
    }

    fn check_consumed(&self) {
        for (row, stored) in &self.db {
            let delivery = self.deliveries.delivery(row, stored);
            if delivery.consumed && !self.deleting.contains(row) {
                assert_eq!(self.holdings.get(row), Some(&delivery.fields), "{row:?} counts as consumed");
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..400 {
            self.step(Step::Forward(usize::MAX));
            self.step(Step::Back(usize::MAX));
            self.pass(50);
        }
    }

    fn check_end(&self) {
        let held: BTreeMap<RowId, Fields> =
            self.holdings.rows().map(|(row, fields)| (row.clone(), fields.clone())).collect();
        let wanted: BTreeMap<RowId, Fields> = self
            .db
            .iter()
            .map(|(row, stored)| {
                let delivery = self.deliveries.delivery(row, stored);
                assert!(delivery.consumed, "{row:?} is not consumed in the end");
                (row.clone(), delivery.fields)
            })
            .collect();
        assert_eq!(held, wanted, "what the consumer has and what the database has");
        assert!(self.deleting.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn both_ends_agree_once_faults_stop(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check_consumed();
        }
        world.settle();
        world.check_end();
    }
}

#[test]
fn the_tables_of_the_model_are_of_one_database() {
    assert_eq!(SET.db(), Table::DashHaScope.db());
}
