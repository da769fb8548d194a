//! Readers: the rows of several tables of one database, kept up to date.

mod outbox;
mod session;
mod view;

use schema::{Fields, Table};

pub use outbox::Outbox;
pub use session::{ReaderAnswer, ReaderLimits, ReaderSession, ReaderStep};
pub use view::{Difference, Report};

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
