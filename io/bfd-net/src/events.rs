//! State changes on their way to whoever asked for the sessions: levels, coalesced per session.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bfd::{Cause, Diagnostic, Path, State};
use tokio::sync::Notify;

/// What a session is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which session.
    pub path: Path,
    /// Its state; `None`: it is gone, and its peer has answered to that or had the time to notice.
    pub state: Option<State>,
    /// Why it last changed its state, as its packets say.
    pub diagnostic: Diagnostic,
    /// What made it change; `None` if it is gone.
    pub cause: Option<Cause>,
    /// When it did.
    pub at: Instant,
    /// How many changes this one stands for: more than 1 if the reader was slower than the session.
    pub transitions: u64,
}

#[derive(Debug, Default)]
struct Pending {
    changes: BTreeMap<Path, Change>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    wake: Notify,
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Pending) -> T) -> T {
        act(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The reading end.
#[derive(Debug)]
pub struct Events {
    shared: Arc<Shared>,
}

impl Events {
    /// What has changed since the last call, in the order of the paths; `None` once the server is gone. Bounded by the number
    /// of sessions. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<Vec<Change>> {
        loop {
            let woken = self.shared.wake.notified();
            let (changes, closed) =
                self.shared.with(|pending| (std::mem::take(&mut pending.changes), pending.closed));
            if !changes.is_empty() {
                return Some(changes.into_values().collect());
            }
            if closed {
                return None;
            }
            woken.await;
        }
    }
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct EventSender {
    shared: Arc<Shared>,
}

impl EventSender {
    pub(crate) fn put(&self, change: Change) {
        self.shared.with(|pending| {
            let before = pending.changes.get(&change.path).map_or(0, |before| before.transitions);
            let transitions = before.saturating_add(change.transitions);
            pending.changes.insert(change.path, Change { transitions, ..change });
        });
        self.shared.wake.notify_one();
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.shared.with(|pending| pending.closed = true);
        self.shared.wake.notify_one();
    }
}

pub(crate) fn channel() -> (EventSender, Events) {
    let shared = Arc::new(Shared::default());
    (EventSender { shared: Arc::clone(&shared) }, Events { shared })
}
