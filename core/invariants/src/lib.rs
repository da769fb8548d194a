//! The promise of DESIGN 4, P1 to P9, as pure functions over what the databases hold.
//!
//! - [`Snapshot`] is every row of a pair of SmartSwitches, raw, as read at one moment.
//! - [`Model`] is what the configuration rows of a snapshot say ought to be.
//! - Each check compares the two and returns [`Finding`]s in plain words: what is missing, what is extra, what
//!   differs, and who should have repaired it. No finding means that the invariant holds.
//!
//! This crate knows nothing of Redis, of processes or of time passing. It shares no code with the cores it
//! judges: a mistake there must not hide itself here.

mod audit;
mod checks;
mod finding;
mod model;
mod snapshot;

pub use audit::{Unread, audit};
pub use checks::converge::{Expected, converge};
pub use checks::fresh::{Boots, fresh};
pub use checks::local::local;
pub use checks::once::once;
pub use checks::one_decider::one_decider;
pub use checks::order::order;
pub use checks::presence::{bfd, fenced};
pub use checks::quiet::{WriteSeen, quiet};
pub use finding::{Finding, Invariant, Part};
pub use model::{DpuModel, Model, ScopeModel, SwitchModel};
pub use snapshot::{DpuSnapshot, Rows, Snapshot, SwitchSnapshot};

#[cfg(test)]
mod tests;
