//! What happens to a producer's rows, and what follows.

use reconcile::{RowWrite, StoreUpdate};
use serde::{Deserialize, Serialize};

use crate::backlog::Outgoing;
use crate::producer::Receipt;

/// What can happen to the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum StoreInput {
    /// The user's writes, in order.
    Write(Vec<RowWrite>),
    /// A report of the database's store, which writes the tables as [`StoreOutput::Db`] says.
    Db(StoreUpdate),
    /// [`crate::LinkEffect::Up`].
    Up {
        /// The connection.
        connection: u64,
    },
    /// [`crate::LinkEffect::Down`].
    Down,
    /// [`crate::LinkEffect::Acknowledged`].
    Acknowledged {
        /// The connection.
        connection: u64,
        /// Which rows, in which form.
        receipts: Vec<Receipt>,
    },
    /// Time passed.
    Tick,
}

/// What the store asks for, and reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum StoreOutput {
    /// Writes for the database's store, as of a plain `Table`.
    Db(Vec<RowWrite>),
    /// Read the database anew: whatever its store has reported and was not given in does not count any more, writes
    /// that it has not reported are forgotten, and the next thing that it reports is a snapshot.
    Reopen,
    /// [`crate::LinkEvent::Send`].
    Send {
        /// The connection.
        connection: u64,
        /// The rows, in order.
        rows: Vec<Outgoing>,
    },
    /// A report for the user.
    Report(StoreUpdate),
    /// A write that cannot be carried out; it is also reported.
    Refused {
        /// The write.
        write: RowWrite,
        /// Why.
        reason: String,
    },
}
