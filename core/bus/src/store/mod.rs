//! Stores: rows that one part of the system writes into one database, written and read back.

mod mirror;
mod queue;
mod session;

pub use mirror::{Stored, Unread, Waiting};
pub use queue::Queue;
pub use session::{StoreAnswer, StoreLimits, StoreSession, StoreStep};

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As a `Table` (`reference/swss-wire.md` 2): rows are changed in place, and readers see it. A row that is
    /// replaced is never gone in between.
    Table,
    /// As a `ProducerStateTable` (`reference/swss-wire.md` 3): changes wait for the table's one consumer, which
    /// applies them. A row that is deleted is gone at once, whether there is a consumer or not.
    ProducerState,
}
