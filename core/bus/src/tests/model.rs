//! Sessions against a model of a database, in any order of steps, changes, flushes and losses: a reader ends with
//! the true table, and a store knows what is there.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use reconcile::{Op, OwnedRow, RowWrite, StoreUpdate};
use schema::{Fields, Table};

use crate::{
    Mode, Outbox, Pending, Queue, ReaderAnswer, ReaderLimits, ReaderSession, ReaderStep, RowId, StoreAnswer,
    StoreLimits, StoreSession, StoreStep, Stored, Unread, Update, Waiting,
};

const TABLE: Table = Table::DashHaSet;
const READER: ReaderLimits = ReaderLimits { rows_per_read: 2, keys_per_pop: 2 };
const STORE: StoreLimits = StoreLimits { writes_per_call: 2, calls_max: 2 };

/// Rows, what is pending for the consumer, and what was noticed since it was last asked.
#[derive(Default)]
struct Database {
    rows: BTreeMap<RowId, Fields>,
    pending: BTreeMap<RowId, Fields>,
    waiting: Waiting,
    noticed: Pending,
}

#[derive(Clone, Debug)]
enum Action {
    /// A stranger changes a row.
    Put(u8, Option<u8>),
    /// A producer leaves a row.
    Produce(u8, Option<u8>),
    Flush,
    Lose,
    /// One request is carried out; or its answer arrives.
    Step,
    /// The user looks.
    Look,
    /// The store's user writes.
    Write(u8, Option<u8>),
}

fn row(key: u8) -> RowId {
    (TABLE, key.to_string())
}

fn fields(value: u8) -> Fields {
    [("v", value.to_string())].into_iter().collect()
}

impl Database {
    fn put(&mut self, row: RowId, fields: Option<Fields>) {
        let gone = fields.is_none();
        let changed = match fields {
            Some(fields) => {
                self.rows.insert(row.clone(), fields);
                true
            }
            None => self.rows.remove(&row).is_some(),
        };
        if changed {
            self.noticed.row(row, gone);
        }
    }

    fn produce(&mut self, row: RowId, fields: Option<Fields>) {
        self.waiting.keys.insert(row.1.clone());
        self.waiting.deletions.insert(row.1.clone());
        match fields {
            Some(fields) => self.pending.insert(row.clone(), fields),
            None => self.pending.remove(&row),
        };
        self.noticed.sets.insert(TABLE);
        self.noticed.wakes.insert(TABLE);
        self.noticed.row(row, false);
    }

    fn pop(&mut self, limit: usize) -> ReaderAnswer {
        let keys: Vec<String> = self.waiting.keys.iter().take(limit).cloned().collect();
        let mut rows = BTreeMap::new();
        for key in &keys {
            self.waiting.keys.remove(key);
            let row = (TABLE, key.clone());
            if self.waiting.deletions.remove(key) {
                self.put(row.clone(), None);
            }
            if let Some(pending) = self.pending.remove(&row) {
                self.put(row.clone(), Some(pending));
            }
            rows.insert(row.clone(), self.rows.get(&row).cloned());
        }
        ReaderAnswer::Popped { rows, is_last: keys.len() < limit }
    }

    fn flush(&mut self) {
        self.rows.clear();
        self.pending.clear();
        self.waiting = Waiting::default();
        self.noticed.everything = true;
    }

    fn write(&mut self, write: &RowWrite) {
        let row = (write.table, write.key.clone());
        match &write.op {
            Op::Set(fields) => self.put(row, Some(fields.clone())),
            Op::Merge(newer) => {
                let mut fields = self.rows.get(&row).cloned().unwrap_or_default();
                fields.merge(newer);
                self.put(row, Some(fields));
            }
            Op::Del => self.put(row, None),
        }
    }
}

/// A reader, its user, and the answer on its way.
struct Reader {
    session: ReaderSession,
    outbox: Outbox,
    answer: Option<ReaderAnswer>,
    belief: BTreeMap<RowId, Fields>,
    is_synced: bool,
}

impl Reader {
    fn new(session: ReaderSession) -> Self {
        let (outbox, belief) = (Outbox::default(), BTreeMap::new());
        Self { session, outbox, answer: None, belief, is_synced: false }
    }

    /// Whether there was anything to do.
    fn step(&mut self, database: &mut Database) -> bool {
        self.session.notice(std::mem::take(&mut database.noticed));
        if let Some(answer) = self.answer.take() {
            if let Some(report) = self.session.answer(answer) {
                self.outbox.put(report);
            }
            return true;
        }
        if !self.session.is_connected() {
            self.session.connected();
        }
        self.answer = match self.session.step() {
            ReaderStep::Rest => None,
            ReaderStep::Pop { table: _, limit } => Some(database.pop(limit)),
            ReaderStep::Find => Some(ReaderAnswer::Found(database.rows.keys().cloned().collect())),
            ReaderStep::Read(rows) => {
                let read = |row: RowId| {
                    let fields = database.rows.get(&row).cloned();
                    (row, fields)
                };
                Some(ReaderAnswer::Rows(rows.into_iter().map(read).collect()))
            }
            ReaderStep::Check => Some(ReaderAnswer::Checked { waiting: BTreeSet::new(), missed: false }),
        };
        self.answer.is_some()
    }

    fn lose(&mut self) {
        self.answer = None;
        if self.session.lost() {
            self.outbox.lose("test".to_owned());
        }
    }

    fn look(&mut self) {
        while let Some(update) = self.outbox.take() {
            match update {
                Update::Changes(changes) => {
                    for change in changes {
                        match change.fields {
                            Some(fields) => self.belief.insert((change.table, change.key), fields),
                            None => self.belief.remove(&(change.table, change.key)),
                        };
                    }
                }
                Update::Synced => self.is_synced = true,
                Update::Lost { .. } => self.is_synced = false,
            }
        }
    }
}

/// A read of a store that is under way: part by part, unless it is of one instant.
struct PartlyRead {
    left: Unread,
    rows: BTreeMap<RowId, Stored>,
    sets: BTreeMap<Table, Waiting>,
}

impl PartlyRead {
    fn of(left: Unread) -> Self {
        Self { left, rows: BTreeMap::new(), sets: BTreeMap::new() }
    }

    fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    fn go_on(&mut self, database: &Database, produces: bool, at_once: bool) {
        loop {
            if let Some(table) = self.left.sets.pop_first() {
                self.sets.insert(table, database.waiting.clone());
            } else if let Some(row) = self.left.rows.pop_first() {
                let main = database.rows.get(&row).cloned();
                let pending = database.pending.get(&row).filter(|_| produces).cloned();
                self.rows.insert(row, Stored { main, pending });
            }
            if !at_once || self.is_done() {
                return;
            }
        }
    }

    fn answer(self) -> StoreAnswer {
        StoreAnswer::Read { rows: self.rows, sets: self.sets }
    }
}

/// What a write that was carried out makes of a belief.
fn apply(belief: &mut BTreeMap<RowId, OwnedRow>, RowWrite { table, key, op }: RowWrite) {
    let row = (table, key.clone());
    let absent = OwnedRow { table, key, fields: Fields::new(), consumed: false };
    match op {
        Op::Set(fields) => {
            belief.insert(row, OwnedRow { fields, ..absent });
        }
        Op::Merge(newer) => belief.entry(row).or_insert(absent).fields.merge(&newer),
        Op::Del => {
            belief.remove(&row);
        }
    }
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let value = || prop::option::of(0..3_u8);
    let action = prop_oneof![
        6 => (0..5_u8, value()).prop_map(|(key, value)| Action::Put(key, value)),
        4 => (0..5_u8, value()).prop_map(|(key, value)| Action::Produce(key, value)),
        4 => (0..5_u8, value()).prop_map(|(key, value)| Action::Write(key, value)),
        1 => Just(Action::Flush),
        1 => Just(Action::Lose),
        12 => Just(Action::Step),
        2 => Just(Action::Look),
    ];
    prop::collection::vec(action, 0..80)
}

fn follow(mut reader: Reader, actions: Vec<Action>) -> Result<(), TestCaseError> {
    let mut database = Database::default();
    for action in actions {
        match action {
            // A consumer is the only one who changes its rows; though anybody may delete them.
            Action::Put(key, None) => database.put(row(key), None),
            Action::Put(key, value) | Action::Write(key, value) if !reader.session.consumes() => {
                database.put(row(key), value.map(fields));
            }
            Action::Put(key, value) | Action::Write(key, value) | Action::Produce(key, value) => {
                database.produce(row(key), value.map(fields));
            }
            Action::Flush => database.flush(),
            Action::Lose => reader.lose(),
            Action::Step => {
                reader.step(&mut database);
            }
            Action::Look => reader.look(),
        }
    }
    let mut steps = 0;
    while reader.step(&mut database) {
        steps += 1;
        prop_assert!(steps < 1000, "it never rests");
    }
    reader.look();
    prop_assert!(reader.is_synced);
    prop_assert_eq!(reader.belief, database.rows);
    if reader.session.consumes() {
        prop_assert_eq!(database.waiting, Waiting::default());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_subscriber_ends_with_the_true_table(actions in actions()) {
        follow(Reader::new(ReaderSession::subscribe([TABLE], READER)), actions)?;
    }

    #[test]
    fn a_consumer_ends_with_the_true_table_and_leaves_nothing_pending(actions in actions()) {
        follow(Reader::new(ReaderSession::consume([TABLE], READER)), actions)?;
    }

    #[test]
    fn a_store_ends_knowing_what_is_there(produces: bool, actions in actions()) {
        let mode = if produces { Mode::ProducerState } else { Mode::Table };
        let mut session = StoreSession::new([(TABLE, mode)], STORE);
        let (mut queue, mut database) = (Queue::default(), Database::default());
        let (mut answer, mut reading) = (None, None::<PartlyRead>);
        let mut belief: Option<BTreeMap<RowId, OwnedRow>> = None;
        let mut is_calm = false;
        let mut actions = actions.into_iter();
        let mut steps = 0;
        while !is_calm {
            match actions.next() {
                Some(Action::Put(key, value)) => database.put(row(key), value.map(fields)),
                Some(Action::Produce(key, value)) => database.produce(row(key), value.map(fields)),
                Some(Action::Flush) => database.flush(),
                Some(Action::Write(key, value)) => {
                    let op = value.map_or(Op::Del, |value| Op::Set(fields(value)));
                    queue.write([RowWrite { table: TABLE, key: key.to_string(), op }]);
                }
                Some(Action::Lose) => {
                    answer = None;
                    reading = None;
                    session.lost(&mut queue);
                }
                Some(Action::Look) | None if queue.updates() > 0 => {
                    while let Some(update) = queue.take_update() {
                        match update {
                            StoreUpdate::Snapshot(rows) => {
                                let rows = rows.into_iter().map(|row| ((row.table, row.key.clone()), row));
                                belief = Some(rows.collect());
                            }
                            StoreUpdate::Lost => belief = None,
                            StoreUpdate::Written { write, done } => {
                                prop_assert!(done);
                                prop_assert!(belief.is_some(), "written before the first snapshot");
                                apply(belief.get_or_insert_default(), write);
                            }
                        }
                    }
                }
                Some(Action::Look | Action::Step) | None => {
                    let is_over = actions.len() == 0;
                    session.notice(std::mem::take(&mut database.noticed));
                    if let Some(answer) = answer.take() {
                        session.answer(answer, &mut queue);
                        continue;
                    }
                    if !session.is_connected() {
                        session.connected();
                    }
                    answer = match session.step(&mut queue) {
                        StoreStep::Rest => {
                            is_calm = is_over && queue.updates() == 0;
                            None
                        }
                        StoreStep::Write(writes) => {
                            writes.iter().for_each(|write| database.write(write));
                            Some(StoreAnswer::Written(vec![None; writes.len()]))
                        }
                        StoreStep::Find => {
                            let found = database.rows.keys().chain(database.pending.keys());
                            Some(StoreAnswer::Found(found.cloned().collect()))
                        }
                        StoreStep::Read { unread, at_once } => {
                            reading.get_or_insert_with(|| PartlyRead::of(unread)).go_on(&database, produces, at_once);
                            reading.take_if(|reading| reading.is_done()).map(PartlyRead::answer)
                        }
                        StoreStep::Check => Some(StoreAnswer::Checked { missed: false }),
                    };
                    steps += 1;
                    prop_assert!(steps < 1000, "it never rests");
                }
            }
        }
        let effective = |row: &RowId| {
            let main = database.rows.get(row).filter(|_| !(produces && database.waiting.deletions.contains(&row.1)));
            let mut fields = main.cloned().unwrap_or_default();
            if let Some(pending) = database.pending.get(row).filter(|_| produces) {
                fields.merge(pending);
            }
            let consumed = !(produces && database.waiting.keys.contains(&row.1));
            (!fields.is_empty()).then(|| OwnedRow { table: row.0, key: row.1.clone(), fields, consumed })
        };
        let keys: BTreeSet<&RowId> = database.rows.keys().chain(database.pending.keys()).collect();
        let expected: Vec<OwnedRow> = keys.into_iter().filter_map(effective).collect();
        prop_assert_eq!(belief.map(|rows| rows.into_values().collect()), Some(expected));
    }
}
