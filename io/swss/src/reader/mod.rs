//! Readers: the rows of several tables of one database, kept up to date.
//!
//! A reader owns one connection and one background task. It never gives up: it connects again by itself,
//! reads everything anew and reports the difference. It remembers the last report of each row and at most one
//! change per row that was not yet taken, so its memory is bounded by its tables, however slow its user is.
//!
//! ```text
//!   Redis ──pushes──> Inbox (per key) ──> task: bus::ReaderSession ──> bus::Outbox (per row) ──> Reader::next
//! ```
//!
//! Readers know rows as field/value pairs and nothing of their meaning.
//!
//! ```no_run
//! # use schema::Table;
//! # use swss::{Endpoint, Reader, Update};
//! # async fn example(endpoint: &Endpoint) {
//! let mut reader = Reader::subscribe(endpoint, &[Table::DashHaSetConfig, Table::DashHaScopeConfig]);
//! loop {
//!     match reader.next().await {
//!         Update::Changes(changes) => println!("{changes:?}"),
//!         Update::Synced => println!("all there is has been reported"),
//!         Update::Lost { reason } => println!("{reason}; what was reported may be stale"),
//!     }
//! }
//! # }
//! ```

mod session;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bus::{ReaderLimits, ReaderSession, Report, Update};
use schema::Table;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::tables::Tables;
use crate::{Endpoint, ServerStats};

/// How many rows are read before what came in meanwhile is looked at.
const ROWS_PER_READ: usize = 512;
/// How many pending keys are taken at once.
const KEYS_PER_POP: usize = 128;

/// Between a reader's task and its user.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    contents: Mutex<bus::Outbox>,
    wake: Notify,
}

impl Outbox {
    pub(crate) fn put(&self, report: Report) {
        if self.lock().put(report) {
            self.wake.notify_one();
        }
    }

    pub(crate) fn lose(&self, reason: String) {
        self.lock().lose(reason);
        self.wake.notify_one();
    }

    pub(crate) async fn next(&self) -> Update {
        loop {
            let update = self.lock().take();
            if let Some(update) = update {
                return update;
            }
            self.wake.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, bus::Outbox> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads tables of one database. Dropping it stops it.
#[derive(Debug)]
pub struct Reader {
    outbox: Arc<Outbox>,
    task: AbortHandle,
    zmq: Option<Arc<ServerStats>>,
}

impl Reader {
    /// Reads as a `SubscriberStateTable` does (`reference/swss-wire.md` 2.4-2.6), and also sees rows that
    /// expire, are renamed or flushed, rows without a key, and what happened while it was not connected.
    ///
    /// Any number of subscribers may read a table. Must be called within a tokio runtime.
    pub fn subscribe(endpoint: &Endpoint, tables: &[Table]) -> Reader {
        Self::start(endpoint, tables, ReaderSession::subscribe)
    }

    /// Reads as a `ConsumerStateTable` does (`reference/swss-wire.md` 3.5): takes what producers left pending,
    /// applies it to the rows, and reports the whole rows. Rows that a former consumer took are reported at
    /// the start.
    ///
    /// A table has exactly one consumer. Must be called within a tokio runtime.
    pub fn consume(endpoint: &Endpoint, tables: &[Table]) -> Reader {
        Self::start(endpoint, tables, ReaderSession::consume)
    }

    /// The next update; never ends. Cancel-safe: a cancelled call loses nothing.
    pub async fn next(&mut self) -> Update {
        self.outbox.next().await
    }

    fn start(
        endpoint: &Endpoint,
        tables: &[Table],
        kind: impl FnOnce(Vec<Table>, ReaderLimits) -> ReaderSession,
    ) -> Self {
        let limits = ReaderLimits { rows_per_read: ROWS_PER_READ, keys_per_pop: KEYS_PER_POP };
        let tables = Tables::new(endpoint, tables.iter().copied());
        let session = kind(tables.iter().collect(), limits);
        let outbox = Arc::new(Outbox::default());
        let task = tokio::spawn(session::Task::new(session, tables, outbox.clone()).run()).abort_handle();
        Self::started(outbox, task, None)
    }

    /// A reader whose task runs.
    pub(crate) fn started(outbox: Arc<Outbox>, task: AbortHandle, zmq: Option<Arc<ServerStats>>) -> Self {
        Self { outbox, task, zmq }
    }

    /// Counters, if it listens for producers ([`Reader::serve_zmq`]).
    pub fn zmq(&self) -> Option<&Arc<ServerStats>> {
        self.zmq.as_ref()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}
