//! Between a store's task and its user: a [`bus::Queue`] that can be waited for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use reconcile::{RowWrite, StoreUpdate};
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    contents: Mutex<bus::Queue>,
    written: Notify,
    updated: Notify,
}

impl Queue {
    pub(crate) fn write(&self, writes: Vec<RowWrite>) {
        let count = writes.len();
        if self.lock().write(writes) {
            self.written.notify_one();
        } else {
            tracing::debug!(writes = count, "forgetting writes: the connection is lost");
        }
    }

    /// Waits until there are writes. Cancel-safe.
    pub(crate) async fn has_writes(&self) {
        while !self.lock().has_writes() {
            self.written.notified().await;
        }
    }

    /// Lets the task have the queue.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut bus::Queue) -> T) -> T {
        let mut contents = self.lock();
        let result = act(&mut contents);
        let has_updates = contents.updates() > 0;
        drop(contents);
        if has_updates {
            self.updated.notify_one();
        }
        result
    }

    pub(crate) async fn next_update(&self) -> StoreUpdate {
        loop {
            let update = self.lock().take_update();
            if let Some(update) = update {
                return update;
            }
            self.updated.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, bus::Queue> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
