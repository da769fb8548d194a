//! What came in on a connection and was not dealt with yet.

use std::collections::{BTreeMap, BTreeSet};

use schema::Table;

use crate::RowId;

/// What was noticed, coalesced: so its size is bounded by the tables'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Rows that changed, and whether they were gone in between.
    pub rows: BTreeMap<RowId, bool>,
    /// Tables whose sets of pending keys changed.
    pub sets: BTreeSet<Table>,
    /// Tables for which a producer woke the consumer.
    pub wakes: BTreeSet<Table>,
    /// Anything may have changed: a database of the server was flushed, or notifications may have been lost.
    pub everything: bool,
}

impl Pending {
    /// Nothing was noticed.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.sets.is_empty() && self.wakes.is_empty() && !self.everything
    }

    /// A row changed; `gone` if it was away, if only for a moment.
    pub fn row(&mut self, row: RowId, gone: bool) {
        *self.rows.entry(row).or_default() |= gone;
    }

    /// Adds what was noticed later.
    pub fn extend(&mut self, later: Pending) {
        if self.is_empty() {
            *self = later;
            return;
        }
        for (row, gone) in later.rows {
            self.row(row, gone);
        }
        self.sets.extend(later.sets);
        self.wakes.extend(later.wakes);
        self.everything |= later.everything;
    }
}
