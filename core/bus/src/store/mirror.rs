//! The store's rows as last read, and as last reported.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{Op, OwnedRow, RowWrite};
use schema::{Fields, Table};

use crate::RowId;
use crate::store::Mode;

/// What has to be read again, all at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Rows; of a table that is produced also what waits for its consumer.
    pub rows: BTreeSet<RowId>,
    /// Tables whose sets of pending keys have to be read.
    pub sets: BTreeSet<Table>,
}

/// A row as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The row; `None` if there is none.
    pub main: Option<Fields>,
    /// The fields that wait for the consumer; `None` if there are none.
    pub pending: Option<Fields>,
}

/// Keys of a table that wait for the consumer, and those of them whose row it deletes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The keys.
    pub keys: BTreeSet<String>,
    /// Those whose row is deleted first.
    pub deletions: BTreeSet<String>,
}

/// Up to so many rows a snapshot costs little in any case.
const SNAPSHOT_ROWS_CHEAP: usize = 1024;

/// A row as reported: fields, and whether they are consumed.
type Reported = (Fields, bool);

#[derive(Clone, Debug)]
pub(super) struct Mirror {
    modes: BTreeMap<Table, Mode>,
    stored: BTreeMap<RowId, Stored>,
    waiting: BTreeMap<Table, Waiting>,
    /// What the store's user has been told, or is told by the next snapshot.
    reported: BTreeMap<RowId, Reported>,
    /// Whether a snapshot was reported since the last loss.
    has_reported: bool,
    /// Whether the next snapshot tells anything new.
    has_news: bool,
    /// How many rows were read since the last snapshot.
    read: usize,
}

impl Waiting {
    /// The keys that wait in one and not in the other, or are deleted first in one and not in the other.
    fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a String> {
        let keys = self.keys.symmetric_difference(&other.keys);
        keys.chain(self.deletions.symmetric_difference(&other.deletions))
    }
}

impl Unread {
    /// Whether nothing has to be read.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.sets.is_empty()
    }
}

impl Mirror {
    pub(super) fn new(tables: impl IntoIterator<Item = (Table, Mode)>) -> Self {
        Self {
            modes: tables.into_iter().collect(),
            stored: BTreeMap::new(),
            waiting: BTreeMap::new(),
            reported: BTreeMap::new(),
            has_reported: false,
            has_news: false,
            read: 0,
        }
    }

    pub(super) fn mode(&self, table: Table) -> Option<Mode> {
        self.modes.get(&table).copied()
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = Table> + '_ {
        self.modes.keys().copied()
    }

    fn produced(&self) -> impl Iterator<Item = Table> + '_ {
        self.modes.iter().filter(|(_, mode)| **mode == Mode::ProducerState).map(|(table, _)| *table)
    }

    fn is_produced(&self, table: Table) -> bool {
        self.mode(table) == Some(Mode::ProducerState)
    }

    /// What came in is to be read again.
    pub(super) fn mark(&self, rows: BTreeMap<RowId, bool>, sets: BTreeSet<Table>, unread: &mut Unread) {
        unread.rows.extend(rows.into_keys().filter(|(table, _)| self.modes.contains_key(table)));
        unread.sets.extend(sets.into_iter().filter(|table| self.is_produced(*table)));
    }

    /// What a write touched is to be read again, even if no event tells of it.
    pub(super) fn mark_written(&self, write: &RowWrite, unread: &mut Unread) {
        unread.rows.insert((write.table, write.key.clone()));
        if self.is_produced(write.table) {
            unread.sets.insert(write.table);
        }
    }

    /// All rows were found: they, and those that are gone, are to be read.
    pub(super) fn found(&mut self, mut rows: BTreeSet<RowId>) -> Unread {
        self.stored.clear();
        self.waiting.clear();
        rows.extend(self.reported.keys().cloned());
        Unread { rows, sets: self.produced().collect() }
    }

    /// All rows that are known, and all sets.
    pub(super) fn all(&self) -> Unread {
        Unread { rows: self.stored.keys().cloned().collect(), sets: self.produced().collect() }
    }

    /// What was read, all at one instant.
    pub(super) fn take_in(&mut self, rows: BTreeMap<RowId, Stored>, sets: BTreeMap<Table, Waiting>) {
        let mut affected = BTreeSet::new();
        self.read += rows.len();
        for (table, newer) in sets {
            let older = self.waiting.remove(&table).unwrap_or_default();
            affected.extend(older.differences(&newer).map(|key| (table, key.clone())));
            self.waiting.insert(table, newer);
        }
        for (row, mut stored) in rows {
            self.share(&row, &mut stored);
            self.refresh(&row, &stored);
            affected.remove(&row);
            if stored == Stored::default() {
                self.stored.remove(&row);
            } else {
                self.stored.insert(row, stored);
            }
        }
        for row in affected {
            let stored = self.stored.get(&row).cloned().unwrap_or_default();
            self.refresh(&row, &stored);
        }
    }

    /// A row that was read as it was reported is held once, and is quickly seen to be the same from then on.
    fn share(&self, row: &RowId, stored: &mut Stored) {
        if let (Some(main), Some((fields, _))) = (&mut stored.main, self.reported.get(row))
            && main == fields
        {
            main.clone_from(fields);
        }
    }

    /// Notes whether a row that is stored so has to be reported.
    fn refresh(&mut self, row: &RowId, stored: &Stored) {
        let present = self.effective(row, stored);
        match (self.reported.get_mut(row), present) {
            (None, None) => return,
            (Some(reported), Some(present)) if *reported == present => return,
            (Some(reported), Some(present)) => *reported = present,
            (Some(_), None) => drop(self.reported.remove(row)),
            (None, Some(present)) => drop(self.reported.insert(row.clone(), present)),
        }
        self.has_news = true;
    }

    /// A row as its reader has it, or will have it: the row (nothing, if it is about to be deleted), and what
    /// is pending laid over it.
    fn effective(&self, row: &RowId, stored: &Stored) -> Option<Reported> {
        let waiting = self.waiting.get(&row.0);
        let deleted = waiting.is_some_and(|waiting| waiting.deletions.contains(&row.1));
        let consumed = !waiting.is_some_and(|waiting| waiting.keys.contains(&row.1));
        let mut fields = match &stored.main {
            Some(main) if !deleted => main.clone(),
            Some(_) | None => Fields::new(),
        };
        if let Some(pending) = &stored.pending {
            fields.merge(pending);
        }
        (!fields.is_empty()).then_some((fields, consumed))
    }

    /// Whether a snapshot costs little beside what was read since the last: it tells all rows, however few have changed.
    pub(super) fn is_snapshot_cheap(&self) -> bool {
        let rows = self.reported.len();
        !self.has_reported || rows <= SNAPSHOT_ROWS_CHEAP || self.read >= rows / 2
    }

    /// The snapshot to report, if it tells anything new.
    pub(super) fn snapshot(&mut self) -> Option<Vec<OwnedRow>> {
        if self.has_reported && !self.has_news {
            return None;
        }
        self.has_reported = true;
        self.has_news = false;
        self.read = 0;
        let owned = |((table, key), (fields, consumed)): (&RowId, &Reported)| OwnedRow {
            table: *table,
            key: key.clone(),
            fields: fields.clone(),
            consumed: *consumed,
        };
        Some(self.reported.iter().map(owned).collect())
    }

    /// A write is reported as done: what its user makes of that is what a `Reconciler` does.
    pub(super) fn report_written(&mut self, write: &RowWrite) {
        let reported = &mut self.reported;
        let row = (write.table, write.key.clone());
        match &write.op {
            Op::Set(fields) => {
                reported.insert(row, (fields.clone(), false));
            }
            Op::Merge(newer) => {
                reported.entry(row).or_insert_with(|| (Fields::new(), false)).0.merge(newer);
            }
            Op::Del => {
                reported.remove(&row);
            }
        }
    }

    /// The connection is lost: nothing is known. Returns whether anything had been reported.
    pub(super) fn lose(&mut self) -> bool {
        self.stored.clear();
        self.waiting.clear();
        self.reported.clear();
        self.has_news = false;
        std::mem::take(&mut self.has_reported)
    }
}
