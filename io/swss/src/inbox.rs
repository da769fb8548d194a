//! Where a connection's pushes land: coalesced per key, so that their number is bounded by the tables'.
//!
//! Pushes are put here by the connection's own task before the reply that follows them is handed out. So
//! whoever holds a reply finds here everything that other clients changed before it was made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::aio::{AsyncPushSender, SendError};
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

/// Events after which the key was gone, if only for a moment.
const GONE: [&[u8]; 5] = [b"del", b"expired", b"evicted", b"rename_from", b"move_from"];

/// What came in since it was last looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CameIn {
    /// Redis keys that changed, and whether they were gone in between.
    pub(crate) keys: BTreeMap<Vec<u8>, bool>,
    /// Channels, other than those of keyspace events, that a message came on.
    pub(crate) channels: BTreeSet<Vec<u8>>,
    /// A database of this server was flushed; perhaps not this one.
    pub(crate) flushed: bool,
    /// The connection is lost.
    pub(crate) disconnected: bool,
}

impl CameIn {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.channels.is_empty() && !self.flushed && !self.disconnected
    }
}

/// The pushes of one connection.
#[derive(Debug)]
pub(crate) struct Inbox {
    keyspace_prefix: Vec<u8>,
    came_in: Mutex<CameIn>,
    wake: Notify,
}

impl Inbox {
    pub(crate) fn new(keyspace_prefix: String) -> Self {
        let keyspace_prefix = keyspace_prefix.into_bytes();
        Self { keyspace_prefix, came_in: Mutex::default(), wake: Notify::new() }
    }

    /// Takes everything out.
    pub(crate) fn take(&self) -> CameIn {
        std::mem::take(&mut *self.lock())
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Waits until there is something in it. Cancel-safe.
    pub(crate) async fn filled(&self) {
        while self.is_empty() {
            self.wake.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, CameIn> {
        self.came_in.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, PushInfo { kind, data }: PushInfo) {
        let mut came_in = self.lock();
        match kind {
            PushKind::PMessage => {
                if let [_pattern, Value::BulkString(channel), Value::BulkString(event)] = data.as_slice() {
                    self.put_message(&mut came_in, channel, event);
                }
            }
            PushKind::Message => {
                if let [Value::BulkString(channel), Value::BulkString(event)] = data.as_slice() {
                    self.put_message(&mut came_in, channel, event);
                }
            }
            PushKind::Invalidate => {
                if matches!(data.as_slice(), [Value::Nil]) {
                    came_in.flushed = true;
                }
            }
            PushKind::Disconnection => came_in.disconnected = true,
            // Confirmations of subscriptions, and kinds that nobody here asked for.
            _ => return,
        }
        drop(came_in);
        self.wake.notify_one();
    }

    fn put_message(&self, came_in: &mut CameIn, channel: &[u8], event: &[u8]) {
        match channel.strip_prefix(self.keyspace_prefix.as_slice()) {
            Some(key) => *came_in.keys.entry(key.to_vec()).or_default() |= GONE.contains(&event),
            None => {
                came_in.channels.insert(channel.to_vec());
            }
        }
    }
}

/// The redis crate wants to own its sender.
pub(crate) struct Sender(pub(crate) std::sync::Arc<Inbox>);

impl AsyncPushSender for Sender {
    fn send(&self, info: PushInfo) -> Result<(), SendError> {
        self.0.put(info);
        Ok(())
    }
}
