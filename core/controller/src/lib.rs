//! The SDN controller's decisions: the restart procedure of a DPU, roles and approvals
//! (`reference/controller.md` 4, DESIGN 3 and 4).
//!
//! One [`Controller`] looks after a whole [`Fleet`]. It works per DPU, which is a slot of a switch, and is driven by
//! levels: every input only says "look again", and what to do follows from the intent, the rows and the durable
//! [`DpuRecord`]. Nothing is written that the record does not cover, so a controller that is killed anywhere
//! finds in records and rows all it needs to go on.
//!
//! - What is unknown is not down: a switch that cannot be read is neither acted on nor counted on.
//! - Rows of strangers (vDPUs that the fleet does not name) are never touched.
//! - At most one member of a HA set is instructed or approved to decide (P7).
//!
//! This crate knows nothing of Redis, files, sockets or clocks.
//!
//! Where to start reading: [`Phase`] for the procedure, `procedure.rs` for its steps, `roles.rs` for P7.

mod adopt;
mod approvals;
mod contest;
mod controller;
mod dpu;
mod effect;
mod fleet;
mod input;
mod plan;
mod procedure;
mod record;
mod roles;
mod switch;
mod world;

pub use controller::Controller;
pub use effect::{Effect, Note, Reason, Withheld};
pub use fleet::{
    Admin, ApprovalPolicy, DpuId, Fleet, FleetItem, FleetProblem, HaSetIntent, SwitchName, Timing, VdpuIntent,
};
pub use input::{Input, Reported};
pub use record::{DpuRecord, Handled, Life, Phase, ScopeRecord, Verdict};

#[cfg(test)]
mod tests;
