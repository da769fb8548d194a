//! `CHASSIS_STATE_DB` `DPU_STATE`: whether a DPU is up, decided in two halves (`reference/pmon.md` 1).
//!
//! - [`PmonNpu`] owns the midplane fields, `ready_status` and the recovery fields of every DPU of a switch,
//!   forces control and data plane down while the midplane is down, and keeps `CHASSIS_MIDPLANE_TABLE`.
//! - [`PmonDpu`] owns the control-plane and data-plane fields, `id` and `boot_id` of its own DPU.
//!
//! Both write the same row, so both merge and neither replaces. Each compares the row *as it is in the database*
//! with what it ought to be and writes the difference in one write: a row that was deleted, lost with its
//! Redis, or forced by the other half repairs itself, and no reader ever sees half a transition.
//!
//! This crate must never know how a midplane is probed, where a database is, or what time it is.

mod dpu;
mod npu;
mod patch;
mod shared_rows;

use serde::{Deserialize, Serialize};

pub use dpu::{DpuConfig, DpuEffect, DpuInput, DpuNote, Feed, PmonDpu};
pub use npu::{NpuConfig, NpuEffect, NpuInput, NpuNote, PmonNpu, Target};

/// The one place that each half writes to: the databases of its own host configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Here;

#[cfg(test)]
mod tests;
