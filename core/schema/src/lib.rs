//! Every row of every SONiC table that this project reads or writes, as typed Rust.
//!
//! One module per database. A row type knows its table, its key and the encodings that SONiC really
//! uses (`reference/hamgrd.md` 2, `reference/dpu-side.md` 1, `reference/pmon.md` 1,
//! `reference/controller.md` 2). Parsing happens here and nowhere else: past this crate there are no
//! strings for states, roles or addresses.
//!
//! This crate knows nothing of Redis, of connections or of time passing; it turns field/value pairs
//! into types and back.
//!
//! - A missing optional field, or one whose text is empty or `none`, is `None`; an unknown field is ignored.
//! - A bad value is a [`RowError`] that names table, key, field and value.

mod codec;
mod error;
mod fields;
mod ids;
mod table;
mod time;
mod values;
#[macro_use]
mod row;

pub mod appl_db;
pub mod chassis_state_db;
pub mod config_db;
pub mod dpu_appl_db;
pub mod dpu_appl_state_db;
pub mod dpu_state_db;
pub mod proto;
pub mod state_db;

pub use codec::{FIELD_BYTES_MAX, LIST_ITEMS_MAX, Scalar};
pub use error::RowError;
pub use fields::{Fields, Value};
pub use ids::{DpuName, HaScopeId, HaSetId, OperationId, Slot, VdpuId};
pub use row::{Row, RowKey};
pub use table::{Db, Table};
pub use time::{PmonTime, WallMs};
pub use values::{
    AsicHaRole, AsicHaState, BfdState, DesiredHaState, HaOwner, HaScopeKind, LinkState, OperationType,
    PinnedState, RecoveryStatus, RouteState,
};

#[cfg(test)]
mod tests;
