//! Readers: the rows of several tables of one database, kept up to date.
//!
//! A reader owns one connection and one background task. It never gives up: it connects again by itself,
//! reads everything anew and reports the difference. It remembers the last report of each row and at most one
//! change per row that was not yet taken, so its memory is bounded by its tables, however slow its user is.
//!
//! ```text
//!   Redis ──pushes──> Inbox (per key) ──> task: re-read, compare ──> Outbox (per row) ──> Reader::next
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

mod consume;
mod outbox;
mod session;
mod subscribe;

use std::sync::Arc;

use schema::{Fields, Table};
use tokio::task::AbortHandle;

use crate::Endpoint;
use crate::reader::consume::Consume;
use crate::reader::outbox::Outbox;
use crate::reader::subscribe::Subscribe;

/// A row as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The table.
    pub table: Table,
    /// The key within the table; empty for the row of a table without keys.
    pub key: String,
    /// The whole present row; `None` if it is gone.
    pub fields: Option<Fields>,
}

/// What a reader reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Rows changed. A row that went and came back is there twice: gone, then present.
    Changes(Vec<Change>),
    /// The reports now amount to everything there is: sent after the first full read, and after each that
    /// follows a [`Update::Lost`] or a flush. Rows that vanished in a gap have been reported gone.
    Synced,
    /// The connection is lost, so the reports may be stale until the next [`Update::Synced`]. Not sent before
    /// the first one.
    Lost {
        /// Why, with all causes.
        reason: String,
    },
}

/// Reads tables of one database. Dropping it stops it.
#[derive(Debug)]
pub struct Reader {
    outbox: Arc<Outbox>,
    task: AbortHandle,
}

impl Reader {
    /// Reads as a `SubscriberStateTable` does (`reference/swss-wire.md` 2.4-2.6), and also sees rows that
    /// expire, are renamed or flushed, rows without a key, and what happened while it was not connected.
    ///
    /// Any number of subscribers may read a table. Must be called within a tokio runtime.
    pub fn subscribe(endpoint: &Endpoint, tables: &[Table]) -> Reader {
        Self::start(|outbox| session::run(Subscribe::new(endpoint, tables), outbox))
    }

    /// Reads as a `ConsumerStateTable` does (`reference/swss-wire.md` 3.5): takes what producers left pending,
    /// applies it to the rows, and reports the whole rows. Rows that a former consumer took are reported at
    /// the start.
    ///
    /// A table has exactly one consumer. Must be called within a tokio runtime.
    pub fn consume(endpoint: &Endpoint, tables: &[Table]) -> Reader {
        Self::start(|outbox| session::run(Consume::new(endpoint, tables), outbox))
    }

    /// The next update; never ends. Cancel-safe: a cancelled call loses nothing.
    pub async fn next(&mut self) -> Update {
        self.outbox.next().await
    }

    fn start<T: Future<Output = ()> + Send + 'static>(task: impl FnOnce(Arc<Outbox>) -> T) -> Self {
        let outbox = Arc::new(Outbox::default());
        let task = tokio::spawn(task(outbox.clone())).abort_handle();
        Self { outbox, task }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
