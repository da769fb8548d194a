//! Rows in places, and what happens to them.

use schema::{Db, Fields, Row, Table};
use serde::{Deserialize, Serialize};

/// One row of one table in one place: an NPU, a DPU, a switch, as the core names them with `P`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowId<P> {
    /// Where the database is.
    pub place: P,
    /// The table.
    pub table: Table,
    /// The key within the table.
    pub key: String,
}

impl<P> RowId<P> {
    /// The id of the row of type `R` with that key.
    pub fn of<R: Row>(place: P, key: &R::Key) -> Self {
        Self { place, table: R::TABLE, key: R::key_text(key) }
    }
}

/// What to do to a row. Doing any of these twice is doing it once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Make the row exactly these fields; readers never see it gone in between. Not empty.
    Set(Fields),
    /// Write these fields and leave the others: for rows with several writers. Not empty.
    Merge(Fields),
    /// Remove the row.
    Del,
}

/// A write to one row of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowWrite {
    /// The table.
    pub table: Table,
    /// The key within the table.
    pub key: String,
    /// What to do.
    pub op: Op,
}

/// A write and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write<P> {
    /// Where the database is.
    pub place: P,
    /// The write.
    pub write: RowWrite,
}

/// A row of a table that this part writes, as read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedRow {
    /// The table.
    pub table: Table,
    /// The key within the table.
    pub key: String,
    /// The fields as the table's reader has them, or will have them once it has caught up.
    pub fields: Fields,
    /// Whether the reader has caught up. `false` only for a `ProducerStateTable` row that still waits for
    /// its consumer.
    pub consumed: bool,
}

/// What a store reports. Updates of one store are totally ordered: a snapshot that follows `Written` was
/// read after that write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum StoreUpdate {
    /// All rows of the tables that this part writes in this database, read at one instant. Sent at start,
    /// after each reconnect, after a flush, and whenever somebody (the own writes included) changed them.
    Snapshot(Vec<OwnedRow>),
    /// A write was carried out, or refused by the server for good (`done` false; logged by the store).
    Written {
        /// The write, as asked for.
        write: RowWrite,
        /// Whether it was carried out.
        done: bool,
    },
    /// The connection is lost. Writes that were not reported are forgotten; a snapshot follows.
    Lost,
}

/// A store's report and where the store is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoreEvent<P> {
    /// Where the database is.
    pub place: P,
    /// The database.
    pub db: Db,
    /// The report.
    pub update: StoreUpdate,
}
