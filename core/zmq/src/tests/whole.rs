//! A reconciler, its store, a database, a link and a consumer, under random faults: once these stop, the plan, the
//! database and the consumer agree, and nobody sends anything any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bus::Difference;
use proptest::prelude::*;
use reconcile::{Op, OwnedRow, Plan, Reconciler, RowWrite, StoreEvent, StoreUpdate, Time};
use schema::{Db, Fields};

use super::{SCOPE, SET};
use crate::{
    ConsumerSession, Deliveries, Holdings, LinkConfig, LinkEffect, LinkEvent, ProducerLink, ProducerStore,
    RowId, SessionEffect, SessionEvent, StoreInput, StoreOutput,
};

const REQUEST: &str = "activate_role_requested";

#[derive(Clone, Debug)]
enum Step {
    /// The plan wants a row so, or no longer wants it. A request is wanted or not.
    Want(RowId, Option<(u8, bool)>),
    /// The database carries out a write.
    Serve,
    /// The database's store looks at its rows.
    Read,
    /// The database's connection is lost.
    Lose,
    /// Somebody else writes or deletes a row.
    Meddle(RowId, Option<u8>),
    Flush,
    /// Bytes arrive at the consumer, or at the producer.
    Forward(usize),
    Back(usize),
    Break,
    RestartConsumer,
    RestartProducer,
    /// The consumer stores some of what it was told: a step of a deletion, then a step of the row.
    Persist,
    Pass(u64),
}

fn row() -> impl Strategy<Value = RowId> {
    (any::<bool>(), 0..3_u8).prop_map(|(is_set, key)| (if is_set { SET } else { SCOPE }, format!("k{key}")))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (row(), prop::option::weighted(0.7, (0..3_u8, any::<bool>()))).prop_map(|(row, to)| Step::Want(row, to)),
        8 => Just(Step::Serve),
        4 => Just(Step::Read),
        1 => Just(Step::Lose),
        1 => (row(), prop::option::of(0..3_u8)).prop_map(|(row, to)| Step::Meddle(row, to)),
        1 => Just(Step::Flush),
        8 => (1..400_usize).prop_map(Step::Forward),
        8 => (1..200_usize).prop_map(Step::Back),
        2 => Just(Step::Break),
        1 => Just(Step::RestartConsumer),
        1 => Just(Step::RestartProducer),
        4 => Just(Step::Persist),
        4 => (1..3000_u64).prop_map(Step::Pass),
    ]
}

/// The database, and the store that writes it as a plain table.
#[derive(Default)]
struct Base {
    rows: BTreeMap<RowId, Fields>,
    writes: VecDeque<RowWrite>,
    /// What it last reported, if it is connected.
    reported: Option<BTreeMap<RowId, Fields>>,
}

impl Base {
    fn read(&mut self) -> Option<StoreUpdate> {
        if self.reported.as_ref() == Some(&self.rows) {
            return None;
        }
        self.reported = Some(self.rows.clone());
        let owned = |((table, key), fields): (&RowId, &Fields)| OwnedRow {
            table: *table,
            key: key.clone(),
            fields: fields.clone(),
            consumed: true,
        };
        Some(StoreUpdate::Snapshot(self.rows.iter().map(owned).collect()))
    }

    fn serve(&mut self) -> Option<StoreUpdate> {
        let write = self.writes.pop_front()?;
        let row = (write.table, write.key.clone());
        match &write.op {
            Op::Set(fields) => {
                self.rows.insert(row.clone(), fields.clone());
                self.reported.as_mut().map(|reported| reported.insert(row, fields.clone()));
            }
            Op::Merge(_) => panic!("nobody merges"),
            Op::Del => {
                self.rows.remove(&row);
                self.reported.as_mut().map(|reported| reported.remove(&row));
            }
        }
        Some(StoreUpdate::Written { write, done: true })
    }
}

struct World {
    now: Time,
    wanted: BTreeMap<RowId, Fields>,
    reconciler: Reconciler<u8>,
    store: ProducerStore,
    base: Base,
    link: ProducerLink,
    forward: VecDeque<u8>,
    back: VecDeque<u8>,
    holdings: Holdings,
    session: Option<(u64, ConsumerSession)>,
    sessions: u64,
    persists: bool,
    persisting: VecDeque<(RowId, Option<Fields>)>,
    messages: usize,
}

impl World {
    fn new(persists: bool) -> Self {
        let mut world = Self {
            now: Time(0),
            wanted: BTreeMap::new(),
            reconciler: Reconciler::new(),
            store: ProducerStore::new([SET, SCOPE]),
            base: Base::default(),
            link: ProducerLink::new(LinkConfig::default()),
            forward: VecDeque::new(),
            back: VecDeque::new(),
            holdings: Holdings::new([SET, SCOPE]),
            session: None,
            sessions: 0,
            persists,
            persisting: VecDeque::new(),
            messages: 0,
        };
        world.link(LinkEvent::Address(true));
        world
    }

    fn store(&mut self, input: StoreInput) {
        let mut out = Vec::new();
        self.store.handle(self.now, [input], &mut out);
        for output in out {
            match output {
                StoreOutput::Db(writes) => self.base.writes.extend(writes),
                StoreOutput::Reopen => {
                    self.base.writes.clear();
                    self.base.reported = None;
                }
                StoreOutput::Send { connection, rows } => self.link(LinkEvent::Send { connection, rows }),
                StoreOutput::Report(update) => {
                    self.reconciler.observe(StoreEvent { place: 0, db: Db::DpuApplDb, update });
                }
                StoreOutput::Refused { write, reason } => panic!("{write:?}: {reason}"),
            }
        }
    }

    fn reconcile(&mut self) {
        let mut plan = Plan::new();
        for ((table, key), fields) in &self.wanted {
            plan.want_fields(reconcile::RowId { place: 0, table: *table, key: key.clone() }, fields.clone());
        }
        let mut writes = Vec::new();
        self.reconciler.diff(&plan, |_| 0, |_, _| false, &mut writes);
        if !writes.is_empty() {
            self.store(StoreInput::Write(writes.into_iter().map(|write| write.write).collect()));
        }
    }

    fn link(&mut self, event: LinkEvent) {
        let mut effects = Vec::new();
        self.link.handle(self.now, event, &mut effects);
        for effect in effects {
            match effect {
                LinkEffect::Connect => {
                    self.cut();
                    let mut out = Vec::new();
                    self.sessions += 1;
                    self.session = Some((self.sessions, ConsumerSession::new(self.now, &mut out)));
                    self.consume(out);
                    self.link(LinkEvent::Connected);
                }
                LinkEffect::Transmit(bytes) => self.forward.extend(bytes),
                LinkEffect::Disconnect => self.cut(),
                LinkEffect::Up { connection } => self.store(StoreInput::Up { connection }),
                LinkEffect::Down { .. } => self.store(StoreInput::Down),
                LinkEffect::Failed { .. } => {}
                LinkEffect::Acknowledged { connection, receipts } => {
                    self.store(StoreInput::Acknowledged { connection, receipts });
                }
                LinkEffect::TooLong { .. } => panic!("nothing is that long"),
            }
        }
    }

    fn consume(&mut self, effects: Vec<SessionEffect>) {
        let Some(number) = self.session.as_ref().map(|(number, _)| *number) else { return };
        for effect in effects {
            match effect {
                SessionEffect::Transmit(bytes) => self.back.extend(bytes),
                SessionEffect::Up => self.holdings.opened(self.now, number),
                SessionEffect::Message(message) => {
                    self.messages += 1;
                    for Difference { row, fields, .. } in self.holdings.take(number, message).unwrap() {
                        if self.persists {
                            self.persisting.push_back((row.clone(), None));
                            self.persisting.extend(fields.map(|fields| (row, Some(fields))));
                        }
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

    fn cut(&mut self) {
        if let Some((number, _)) = self.session.take() {
            self.holdings.closed(self.now, number);
        }
        self.forward.clear();
        self.back.clear();
    }

    fn read(&mut self) {
        if let Some(update) = self.base.read() {
            self.store(StoreInput::Db(update));
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Want(row, None) => {
                self.wanted.remove(&row);
            }
            Step::Want(row, Some((value, asks))) => {
                let mut fields: Fields = [("v", value.to_string())].into_iter().collect();
                if row.0 == SCOPE {
                    fields.set(REQUEST, if asks { "true" } else { "false" });
                }
                self.wanted.insert(row, fields);
            }
            Step::Serve => {
                if self.base.reported.is_none() {
                    self.read();
                }
                if let Some(update) = self.base.serve() {
                    self.store(StoreInput::Db(update));
                }
            }
            Step::Read => self.read(),
            Step::Lose => {
                // Before its first snapshot a store keeps its writes, and reports no loss.
                if self.base.reported.take().is_some() {
                    self.base.writes.clear();
                    self.store(StoreInput::Db(StoreUpdate::Lost));
                }
            }
            Step::Meddle(row, value) => {
                match value {
                    Some(value) => {
                        self.base.rows.insert(row, [("v", value.to_string())].into_iter().collect())
                    }
                    None => self.base.rows.remove(&row),
                };
            }
            Step::Flush => self.base.rows.clear(),
            Step::Forward(count) => {
                let bytes = self.forward.drain(..count.min(self.forward.len())).collect();
                let now = self.now;
                let mut out = Vec::new();
                let Some((_, session)) = &mut self.session else { return };
                session.handle(now, SessionEvent::Received(bytes), &mut out);
                self.consume(out);
            }
            Step::Back(count) => {
                let bytes = self.back.drain(..count.min(self.back.len())).collect();
                self.link(LinkEvent::Received(bytes));
            }
            Step::Break => {
                self.cut();
                self.link(LinkEvent::Closed { reason: "reset".to_owned() });
            }
            Step::RestartConsumer => {
                self.cut();
                self.holdings = Holdings::new([SET, SCOPE]);
                self.persisting.clear();
                self.link(LinkEvent::Closed { reason: "reset".to_owned() });
            }
            Step::RestartProducer => {
                self.cut();
                self.reconciler = Reconciler::new();
                self.store = ProducerStore::new([SET, SCOPE]);
                self.base.writes.clear();
                self.base.reported = None;
                self.link = ProducerLink::new(LinkConfig::default());
                self.link(LinkEvent::Address(true));
            }
            Step::Persist => {
                if let Some((row, fields)) = self.persisting.pop_front() {
                    match fields {
                        Some(fields) => self.base.rows.insert(row, fields),
                        None => self.base.rows.remove(&row),
                    };
                }
            }
            Step::Pass(ms) => self.pass(ms),
        }
        self.reconcile();
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.after_ms(ms);
        self.link(LinkEvent::Tick);
        self.store(StoreInput::Tick);
        let now = self.now;
        if let Some((_, session)) = &mut self.session {
            let mut out = Vec::new();
            session.handle(now, SessionEvent::Tick, &mut out);
            self.consume(out);
        }
        if self.holdings.ask_at().is_some_and(|at| at <= now) {
            let present: BTreeSet<RowId> = self.base.rows.keys().cloned().collect();
            self.holdings.asked(now, Some(&present));
        }
    }

    fn settle(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for step in [Step::Serve, Step::Persist, Step::Persist, Step::Read] {
                self.step(step);
            }
            for step in [Step::Forward(usize::MAX), Step::Back(usize::MAX), Step::Pass(60)] {
                self.step(step);
            }
        }
    }

    fn check(&self) {
        let kept = |(row, fields): (&RowId, &Fields)| (row.clone(), Deliveries::persistent(row.0, fields));
        let stored: BTreeMap<RowId, Fields> = self.base.rows.iter().map(kept).collect();
        let wanted: BTreeMap<RowId, Fields> = self.wanted.iter().map(kept).collect();
        assert_eq!(stored, wanted, "the database and the plan");
        let held: BTreeMap<RowId, Fields> =
            self.holdings.rows().map(|(row, fields)| (row.clone(), fields.clone())).collect();
        assert_eq!(held, self.wanted, "the consumer and the plan");
        for (table, key) in self.wanted.keys() {
            let row = reconcile::RowId { place: 0, table: *table, key: key.clone() };
            assert!(self.reconciler.is_consumed(&row), "{row:?} is not consumed in the end");
            assert!(!self.reconciler.is_under_way(&row), "{row:?} is under way for ever");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn plan_database_and_consumer_agree_once_faults_stop(
        persists in any::<bool>(),
        steps in prop::collection::vec(step(), 0..120),
        late in prop::collection::vec((row(), prop::option::of(0..3_u8)), 0..3),
    ) {
        let mut world = World::new(persists);
        for step in steps {
            world.step(step);
        }
        world.settle(200);
        world.check();
        // A stranger, while all is well and nobody comes or goes.
        for (row, value) in late {
            world.step(Step::Meddle(row, value));
        }
        world.settle(60);
        world.check();
        let messages = world.messages;
        world.settle(60);
        prop_assert_eq!(world.messages, messages, "somebody still sends");
        world.check();
    }
}
