//! HA manager: configuration and health in, rows for the DPU, the NPU and the SDN controller out.
//!
//! DPU-driven HA in DPU scope, for all DPUs of a switch at once. [`Hamgr`] holds typed copies of the rows it
//! reads and a little memory of its own (lives, fences, pending operations, heartbeat), all of which it finds
//! again in STATE_DB after a restart. What ought to exist is derived from that as a whole each time
//! ([`derive`]); what is written is the difference to what the stores confirm.
//!
//! The way through [`hamgr`]: inputs -> [`known`] -> lives ([`incarnation`]) -> fences ([`fence`]) -> pending
//! operations ([`pending`]) -> plan ([`derive`], one module per table) -> writes and notes.
//!
//! This crate knows nothing of Redis, of connections, of clocks or of logging.

mod bfd;
mod derive;
mod derive_dpu;
mod fence;
mod ha_scope;
mod ha_set;
mod hamgr;
mod incarnation;
mod input;
mod keep;
mod known;
mod neigh;
mod note;
mod pending;
mod scope_state;
mod steps;
mod topology;
mod vnet;

pub use hamgr::Hamgr;
pub use incarnation::Cause;
pub use input::{Config, Effect, HEARTBEAT_INTERVAL_MS_DEFAULT, Input, Place, RestartPolicy, Source};
pub use note::{Note, ScopeStage, SetStage};
pub use topology::NotReady;

#[cfg(test)]
mod tests;
