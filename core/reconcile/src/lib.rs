//! Derive, diff, apply: what every core of this project is built from (DESIGN 5 and 7).
//!
//! - [`Core`] is the contract between a pure core and its shell.
//! - [`Reconciler`] compares the rows that ought to exist with the rows that are confirmed to exist, and
//!   says what to write.
//! - [`IdSource`] makes ids that are unique and yet reproducible from a seed.
//!
//! This crate knows nothing of Redis, sockets, clocks or random sources.

pub mod as_pairs;
mod core_contract;
mod ids;
mod reconciler;
mod rows;

pub use core_contract::{Batch, Core, Time};
pub use ids::IdSource;
pub use reconciler::{Plan, Reconciler};
pub use rows::{Op, OwnedRow, RowId, RowWrite, StoreEvent, StoreUpdate, Write};

#[cfg(test)]
mod tests;
