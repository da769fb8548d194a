//! What readers and stores of SONiC's databases do next (`reference/swss-wire.md` 2, 3, 9): decisions only.
//!
//! A session is asked for its next step, which is one request to the database or a rest; whoever drives it
//! carries the request out and hands the answer in. Everything that was noticed on the connection before the
//! answer was made is handed in first ([`Pending`]): with requests and notifications on one connection that is
//! the order in which they arrive.
//!
//! ```text
//!   notifications ──> Pending ──┐
//!                               ▼
//!   step() ──> request ──> the database ──> answer() ──> Outbox (readers), Queue (stores) ──> the user
//! ```
//!
//! | To … | use |
//! | --- | --- |
//! | name keys and channels, and tell what a notification is of | [`Keyspace`] |
//! | follow or consume tables | [`ReaderSession`], [`Outbox`] |
//! | write tables and read them back | [`StoreSession`], [`Queue`] |
//! | connect again | [`Backoff`] |
//!
//! `io/swss` drives these over real connections, the simulator over modelled ones. Nothing here knows of
//! Redis commands, sockets or clocks, nor what a row means.

mod backoff;
mod keyspace;
mod pending;
mod reader;
mod store;

pub use backoff::Backoff;
pub use keyspace::{Keyspace, Located, event_prefix, row_pattern};
pub use pending::Pending;
pub use reader::{
    Change, Difference, Outbox, ReaderAnswer, ReaderLimits, ReaderSession, ReaderStep, Report, Update,
};
pub use store::{Mode, Queue, StoreAnswer, StoreLimits, StoreSession, StoreStep, Stored, Unread, Waiting};

/// A row's table and key.
pub type RowId = (schema::Table, String);

#[cfg(test)]
mod tests;
