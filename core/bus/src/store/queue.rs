//! Between a store and its user: writes one way, updates the other.

use std::collections::VecDeque;

use reconcile::{RowWrite, StoreUpdate};

/// Writes not yet carried out, and updates not yet read.
///
/// Bounded: there is at most one `Written` per write, and between two of them at most a loss and a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    writes: VecDeque<RowWrite>,
    updates: VecDeque<StoreUpdate>,
    /// Whether a loss was reported and not read yet.
    unread_loss: bool,
}

impl Queue {
    /// Adds writes. Returns whether they count: not where the writer does not know of a loss yet, since it will
    /// forget these writes when it does.
    pub fn write(&mut self, writes: impl IntoIterator<Item = RowWrite>) -> bool {
        if self.unread_loss {
            return false;
        }
        self.writes.extend(writes);
        true
    }

    /// Whether there are writes.
    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Takes the next writes.
    pub fn take_writes(&mut self, limit: usize) -> Vec<RowWrite> {
        let count = self.writes.len().min(limit);
        self.writes.drain(..count).collect()
    }

    /// Adds an update. Of two snapshots in a row only the later stays; a loss makes the writes before it be
    /// forgotten, and the snapshot right before it.
    pub fn report(&mut self, update: StoreUpdate) {
        let last_is_snapshot = matches!(self.updates.back(), Some(StoreUpdate::Snapshot(_)));
        match &update {
            StoreUpdate::Snapshot(_) => {
                if last_is_snapshot {
                    self.updates.pop_back();
                }
                self.updates.push_back(update);
            }
            StoreUpdate::Written { .. } => self.updates.push_back(update),
            StoreUpdate::Lost => {
                self.writes.clear();
                self.unread_loss = true;
                if last_is_snapshot {
                    self.updates.pop_back();
                }
                if self.updates.back() != Some(&StoreUpdate::Lost) {
                    self.updates.push_back(update);
                }
            }
        }
    }

    /// The next update, if there is one.
    pub fn take_update(&mut self) -> Option<StoreUpdate> {
        let update = self.updates.pop_front();
        if update == Some(StoreUpdate::Lost) {
            self.unread_loss = self.updates.contains(&StoreUpdate::Lost);
        }
        update
    }

    /// How many updates were not read yet.
    pub fn updates(&self) -> usize {
        self.updates.len()
    }
}
