//! The diff.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use schema::{Db, Fields, Row, Table};
use serde::{Deserialize, Serialize};

use crate::as_pairs;
use crate::rows::{Op, RowId, RowWrite, StoreEvent, StoreUpdate, Write};

/// A row as it was last confirmed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Confirmed {
    fields: Fields,
    consumed: bool,
}

/// The rows that ought to exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<P: Ord> {
    wanted: BTreeMap<RowId<P>, Fields>,
}

impl<P: Ord> Default for Plan<P> {
    fn default() -> Self {
        Self { wanted: BTreeMap::new() }
    }
}

impl<P: Ord + Clone> Plan<P> {
    /// Nothing is wanted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wants a row.
    pub fn want<R: Row>(&mut self, place: P, key: &R::Key, row: &R) {
        self.want_fields(RowId::of::<R>(place, key), row.to_fields());
    }

    /// Wants a row in its raw form.
    pub fn want_fields(&mut self, row: RowId<P>, fields: Fields) {
        self.wanted.insert(row, fields);
    }

    /// Wants nothing of a row.
    pub fn leave(&mut self, row: &RowId<P>) {
        self.wanted.remove(row);
    }

    /// The fields wanted for a row, if it is wanted.
    pub fn get(&self, row: &RowId<P>) -> Option<&Fields> {
        self.wanted.get(row)
    }

    /// All rows wanted, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&RowId<P>, &Fields)> {
        self.wanted.iter()
    }
}

/// Knows which rows are confirmed to exist, and turns a [`Plan`] into writes.
///
/// - Nothing is written into a store before its first snapshot, nor while it is lost.
/// - A row has at most one write under way; the next follows when that is reported.
/// - A row that vanishes or changes behind our back shows in the next snapshot and is repaired.
/// - A write that the server refused is not repeated until something about the row changes: what is wanted
///   of it, or what a snapshot shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reconciler<P: Ord> {
    #[serde(with = "as_pairs")]
    confirmed: BTreeMap<RowId<P>, Confirmed>,
    #[serde(with = "as_pairs")]
    under_way: BTreeMap<RowId<P>, Op>,
    #[serde(with = "as_pairs")]
    refused: BTreeMap<RowId<P>, Op>,
    ready: BTreeSet<(P, Db)>,
}

impl<P: Ord> Default for Reconciler<P> {
    fn default() -> Self {
        Self {
            confirmed: BTreeMap::new(),
            under_way: BTreeMap::new(),
            refused: BTreeMap::new(),
            ready: BTreeSet::new(),
        }
    }
}

impl<P: Ord + Clone + Debug> Reconciler<P> {
    /// Knows nothing yet, and so writes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what a store reports.
    pub fn observe(&mut self, event: StoreEvent<P>) {
        let StoreEvent { place, db, update } = event;
        let in_store = |row: &RowId<P>| row.place == place && row.table.db() == db;
        match update {
            StoreUpdate::Snapshot(rows) => {
                self.confirmed.retain(|row, _| !in_store(row));
                self.refused.retain(|row, _| !in_store(row));
                for row in rows {
                    let id = RowId { place: place.clone(), table: row.table, key: row.key };
                    self.confirmed.insert(id, Confirmed { fields: row.fields, consumed: row.consumed });
                }
                self.ready.insert((place, db));
            }
            StoreUpdate::Written { write: RowWrite { table, key, op }, done } => {
                let row = RowId { place, table, key };
                self.under_way.remove(&row);
                if done {
                    self.confirm(row, op);
                } else {
                    self.refused.insert(row, op);
                }
            }
            StoreUpdate::Lost => {
                self.under_way.retain(|row, _| !in_store(row));
                self.ready.remove(&(place, db));
            }
        }
    }

    /// A write leaves a row unconsumed until a snapshot says otherwise.
    fn confirm(&mut self, row: RowId<P>, op: Op) {
        match op {
            Op::Set(fields) => {
                self.confirmed.insert(row, Confirmed { fields, consumed: false });
            }
            Op::Merge(newer) => {
                let confirmed = self.confirmed.entry(row);
                let confirmed =
                    confirmed.or_insert_with(|| Confirmed { fields: Fields::new(), consumed: false });
                confirmed.fields.merge(&newer);
            }
            Op::Del => {
                self.confirmed.remove(&row);
            }
        }
    }

    /// Whether the store has been read, and not been lost since.
    pub fn is_ready(&self, place: &P, db: Db) -> bool {
        self.ready.contains(&(place.clone(), db))
    }

    /// The fields that the row is confirmed to have.
    pub fn fields(&self, row: &RowId<P>) -> Option<&Fields> {
        self.confirmed.get(row).map(|confirmed| &confirmed.fields)
    }

    /// The row as confirmed, if it is there and can be understood.
    pub fn row<R: Row>(&self, place: P, key: &R::Key) -> Option<R> {
        let id = RowId::of::<R>(place, key);
        R::from_fields(&id.key, self.fields(&id)?).ok()
    }

    /// Whether the row's reader is known to have it in its present form.
    pub fn is_consumed(&self, row: &RowId<P>) -> bool {
        self.confirmed.get(row).is_some_and(|confirmed| confirmed.consumed)
    }

    /// The write to the row that is under way, if there is one.
    pub fn under_way(&self, row: &RowId<P>) -> Option<&Op> {
        self.under_way.get(row)
    }

    /// Whether a write to the row is under way.
    pub fn is_under_way(&self, row: &RowId<P>) -> bool {
        self.under_way.contains_key(row)
    }

    /// The confirmed rows of a table, in key order.
    pub fn rows_of(&self, place: &P, table: Table) -> impl Iterator<Item = (&RowId<P>, &Fields)> {
        let place = place.clone();
        self.confirmed
            .iter()
            .filter(move |(row, _)| row.place == place && row.table == table)
            .map(|(row, confirmed)| (row, &confirmed.fields))
    }

    /// The writes that turn what is confirmed into `plan`.
    ///
    /// Removals come first, highest `rank` first; then rows are written, lowest `rank` first. A confirmed row
    /// that is not wanted is removed unless `keep` says to leave it alone.
    pub fn diff(
        &mut self,
        plan: &Plan<P>,
        rank: impl Fn(Table) -> u8,
        keep: impl Fn(&RowId<P>, &Fields) -> bool,
        out: &mut Vec<Write<P>>,
    ) {
        self.refused.retain(|row, op| match op {
            Op::Set(fields) | Op::Merge(fields) => plan.get(row) == Some(fields),
            Op::Del => plan.get(row).is_none(),
        });

        let mut removals: Vec<RowId<P>> = Vec::new();
        for (row, confirmed) in &self.confirmed {
            if plan.get(row).is_none() && self.may_write(row, &Op::Del) && !keep(row, &confirmed.fields) {
                removals.push(row.clone());
            }
        }
        removals.sort_by_key(|row| std::cmp::Reverse(rank(row.table)));

        let mut settings: Vec<(RowId<P>, Fields)> = Vec::new();
        for (row, fields) in plan.iter() {
            if self.fields(row) != Some(fields) && self.may_write(row, &Op::Set(fields.clone())) {
                settings.push((row.clone(), fields.clone()));
            }
        }
        settings.sort_by_key(|(row, _)| rank(row.table));

        for row in removals {
            self.start(row, Op::Del, out);
        }
        for (row, fields) in settings {
            self.start(row, Op::Set(fields), out);
        }
    }

    fn may_write(&self, row: &RowId<P>, op: &Op) -> bool {
        self.is_ready(&row.place, row.table.db())
            && !self.is_under_way(row)
            && self.refused.get(row) != Some(op)
    }

    fn start(&mut self, row: RowId<P>, op: Op, out: &mut Vec<Write<P>>) {
        self.under_way.insert(row.clone(), op.clone());
        let RowId { place, table, key } = row;
        out.push(Write { place, write: RowWrite { table, key, op } });
    }
}
