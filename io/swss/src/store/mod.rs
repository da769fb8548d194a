//! Stores: the rows that one part of the system writes into one database, written and read back.
//!
//! A store carries out [`RowWrite`]s in order over one connection and reports [`StoreUpdate`]s in the order
//! in which things happened in the database. It never gives up and never writes anything by itself: after a
//! loss it connects, reads, and reports a snapshot; what to write again is the `Reconciler`'s decision.
//!
//! ```text
//!   Store::write ──> queue ──> task: one script per batch ──> Redis
//!   Store::next <── updates <── task: one MULTI read <── keyspace events of our rows, whoever wrote them
//! ```
//!
//! ```no_run
//! # use reconcile::{Op, RowWrite, StoreUpdate};
//! # use schema::{Fields, Table};
//! # use swss::{Endpoint, Mode, Store};
//! # async fn example(endpoint: &Endpoint) {
//! let mut store = Store::open(endpoint, &[(Table::DashHaSet, Mode::ProducerState)]);
//! let fields: Fields = [("version", "1")].into_iter().collect();
//! store.write(vec![RowWrite { table: Table::DashHaSet, key: "haset0".into(), op: Op::Set(fields) }]);
//! match store.next().await {
//!     StoreUpdate::Snapshot(rows) => println!("{rows:?}"),
//!     StoreUpdate::Written { write, done } => println!("{write:?} {done}"),
//!     StoreUpdate::Lost => println!("writes that were not reported are forgotten"),
//! }
//! # }
//! ```

mod queue;
mod session;
mod writes;

use std::sync::Arc;

use reconcile::{RowWrite, StoreUpdate};
use schema::Table;
use tokio::task::AbortHandle;

pub(crate) use crate::store::queue::Queue;
use crate::store::session::Task;
use crate::{Endpoint, LinkStats, Mode};

/// Writes rows of one database and reads them back. Dropping it stops it; what was not written yet is not
/// written then.
#[derive(Debug)]
pub struct Store {
    queue: Arc<Queue>,
    task: AbortHandle,
    zmq: Option<Arc<LinkStats>>,
}

impl Store {
    /// Starts to connect. Must be called within a tokio runtime.
    pub fn open(endpoint: &Endpoint, tables: &[(Table, Mode)]) -> Store {
        let queue = Arc::new(Queue::default());
        let task = tokio::spawn(Task::new(endpoint, tables, queue.clone()).run()).abort_handle();
        Self::started(queue, task, None)
    }

    /// A store whose task runs.
    pub(crate) fn started(queue: Arc<Queue>, task: AbortHandle, zmq: Option<Arc<LinkStats>>) -> Self {
        Self { queue, task, zmq }
    }

    /// State and counters of the link to the consumer, if there is one ([`Store::open_zmq`]).
    pub fn zmq(&self) -> Option<&Arc<LinkStats>> {
        self.zmq.as_ref()
    }

    /// The next update, if there is one already.
    pub(crate) fn try_next(&mut self) -> Option<StoreUpdate> {
        self.queue.with(bus::Queue::take_update)
    }

    /// Queues writes, to be carried out in order. Never blocks.
    ///
    /// Writes that were asked for before the loss of the connection was taken notice of ([`StoreUpdate::Lost`]
    /// was read) are forgotten; writes before the first snapshot are carried out after it. A row with no
    /// fields and a row of another table are refused.
    pub fn write(&self, writes: Vec<RowWrite>) {
        self.queue.write(writes);
    }

    /// The next update; never ends. Cancel-safe: a cancelled call loses nothing.
    ///
    /// First comes a snapshot. A snapshot that equals what was reported is not sent, except after a loss;
    /// of two in a row only the later may be seen.
    pub async fn next(&mut self) -> StoreUpdate {
        self.queue.next_update().await
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.task.abort();
    }
}
