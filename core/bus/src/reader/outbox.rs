//! What was not yet taken out of a reader: at most one entry per row.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use schema::Fields;

use crate::RowId;
use crate::reader::view::{Difference, Report};
use crate::reader::{Change, Update};

/// The state of a row that was not yet taken.
#[derive(Clone, Debug)]
struct Unread {
    /// The user has an older state of it, or it was asked for that it be told that the row is gone.
    is_owed: bool,
    /// The row was gone before it became what it is.
    was_gone: bool,
    fields: Option<Fields>,
}

/// Between a reader and its user. Bounded by the rows that there are and those that the user has.
///
/// Taken in this order: lost, changes, synced.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    lost: Option<String>,
    changes: BTreeMap<RowId, Unread>,
    synced: bool,
}

impl Outbox {
    /// Adds a report, the later state of a row replacing the earlier. A row that came and went before the
    /// user heard of it is forgotten. Returns whether there is something to take.
    pub fn put(&mut self, report: Report) -> bool {
        for Difference { row, was_known, fields } in report.differences {
            match self.changes.entry(row) {
                Entry::Vacant(entry) => {
                    let is_owed = was_known || fields.is_none();
                    entry.insert(Unread { is_owed, was_gone: false, fields });
                }
                Entry::Occupied(entry) if fields.is_none() && !entry.get().is_owed => {
                    entry.remove();
                }
                Entry::Occupied(mut entry) => {
                    let unread = entry.get_mut();
                    unread.was_gone |= unread.fields.is_none();
                    unread.fields = fields;
                }
            }
        }
        self.synced |= report.synced;
        !self.is_empty()
    }

    /// The connection is lost.
    pub fn lose(&mut self, reason: String) {
        self.lost = Some(reason);
        self.synced = false;
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.lost.is_none() && self.changes.is_empty() && !self.synced
    }

    /// The next update, if there is one.
    pub fn take(&mut self) -> Option<Update> {
        if let Some(reason) = self.lost.take() {
            return Some(Update::Lost { reason });
        }
        if !self.changes.is_empty() {
            let mut changes = Vec::with_capacity(self.changes.len());
            for ((table, key), Unread { was_gone, fields, .. }) in std::mem::take(&mut self.changes) {
                if was_gone && fields.is_some() {
                    changes.push(Change { table, key: key.clone(), fields: None });
                }
                changes.push(Change { table, key, fields });
            }
            return Some(Update::Changes(changes));
        }
        std::mem::take(&mut self.synced).then_some(Update::Synced)
    }
}
