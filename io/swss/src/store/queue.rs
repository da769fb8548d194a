//! Between a store's task and its user: writes one way, updates the other.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use reconcile::{RowWrite, StoreUpdate};
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Contents {
    writes: VecDeque<RowWrite>,
    updates: VecDeque<StoreUpdate>,
    /// Whether a loss was reported and not read yet.
    unread_loss: bool,
}

/// Writes not yet carried out, and updates not yet read.
///
/// Bounded: there is at most one `Written` per write, and between two of them at most a loss and a snapshot.
#[derive(Debug, Default)]
pub(super) struct Queue {
    contents: Mutex<Contents>,
    written: Notify,
    updated: Notify,
}

impl Queue {
    pub(super) fn write(&self, writes: Vec<RowWrite>) {
        let mut contents = self.lock();
        if contents.unread_loss {
            // The writer does not know of the loss yet, and will forget these writes when it does.
            tracing::debug!(writes = writes.len(), "forgetting writes: the connection is lost");
            return;
        }
        contents.writes.extend(writes);
        drop(contents);
        self.written.notify_one();
    }

    /// Takes the next writes.
    pub(super) fn take_writes(&self, limit: usize) -> Vec<RowWrite> {
        let mut contents = self.lock();
        let count = contents.writes.len().min(limit);
        contents.writes.drain(..count).collect()
    }

    /// Waits until there are writes. Cancel-safe.
    pub(super) async fn has_writes(&self) {
        while self.lock().writes.is_empty() {
            self.written.notified().await;
        }
    }

    pub(super) fn report(&self, update: StoreUpdate) {
        let mut contents = self.lock();
        let last_is_snapshot = matches!(contents.updates.back(), Some(StoreUpdate::Snapshot(_)));
        match &update {
            StoreUpdate::Snapshot(_) => {
                if last_is_snapshot {
                    contents.updates.pop_back();
                }
                contents.updates.push_back(update);
            }
            StoreUpdate::Written { .. } => contents.updates.push_back(update),
            StoreUpdate::Lost => {
                contents.writes.clear();
                contents.unread_loss = true;
                if last_is_snapshot {
                    contents.updates.pop_back();
                }
                if contents.updates.back() != Some(&StoreUpdate::Lost) {
                    contents.updates.push_back(update);
                }
            }
        }
        drop(contents);
        self.updated.notify_one();
    }

    pub(super) async fn next_update(&self) -> StoreUpdate {
        loop {
            if let Some(update) = self.take_update() {
                return update;
            }
            self.updated.notified().await;
        }
    }

    fn take_update(&self) -> Option<StoreUpdate> {
        let mut contents = self.lock();
        let update = contents.updates.pop_front();
        if update == Some(StoreUpdate::Lost) {
            contents.unread_loss = contents.updates.contains(&StoreUpdate::Lost);
        }
        update
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
