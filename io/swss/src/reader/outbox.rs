//! What was not yet taken out of a reader: at most one entry per row.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use schema::Fields;
use tokio::sync::Notify;

use crate::reader::{Change, Update};
use crate::tables::RowId;

/// The state of a row that was not yet taken.
#[derive(Debug)]
struct Unread {
    /// The row was gone before it became what it is.
    was_gone: bool,
    fields: Option<Fields>,
}

/// Taken in this order: lost, changes, synced.
#[derive(Debug, Default)]
struct Contents {
    lost: Option<String>,
    changes: BTreeMap<RowId, Unread>,
    synced: bool,
}

/// Between a reader's task and its user.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    contents: Mutex<Contents>,
    wake: Notify,
}

impl Outbox {
    /// Adds changes, the later of a row replacing the earlier, and with `synced` says that they complete a
    /// full read.
    pub(super) fn put(&self, changes: Vec<Change>, synced: bool) {
        if changes.is_empty() && !synced {
            return;
        }
        let mut contents = self.lock();
        for Change { table, key, fields } in changes {
            match contents.changes.entry((table, key)) {
                Entry::Vacant(entry) => {
                    entry.insert(Unread { was_gone: false, fields });
                }
                Entry::Occupied(mut entry) => {
                    let unread = entry.get_mut();
                    unread.was_gone |= unread.fields.is_none();
                    unread.fields = fields;
                }
            }
        }
        contents.synced |= synced;
        drop(contents);
        self.wake.notify_one();
    }

    /// Says that the connection is lost.
    pub(super) fn lose(&self, reason: String) {
        let mut contents = self.lock();
        contents.lost = Some(reason);
        contents.synced = false;
        drop(contents);
        self.wake.notify_one();
    }

    pub(super) async fn next(&self) -> Update {
        loop {
            if let Some(update) = self.take() {
                return update;
            }
            self.wake.notified().await;
        }
    }

    pub(super) fn take(&self) -> Option<Update> {
        let mut contents = self.lock();
        if let Some(reason) = contents.lost.take() {
            return Some(Update::Lost { reason });
        }
        if !contents.changes.is_empty() {
            let mut changes = Vec::with_capacity(contents.changes.len());
            for ((table, key), Unread { was_gone, fields }) in std::mem::take(&mut contents.changes) {
                if was_gone && fields.is_some() {
                    changes.push(Change { table, key: key.clone(), fields: None });
                }
                changes.push(Change { table, key, fields });
            }
            return Some(Update::Changes(changes));
        }
        std::mem::take(&mut contents.synced).then_some(Update::Synced)
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
