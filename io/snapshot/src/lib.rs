//! Live databases of SmartSwitches as one [`invariants::Snapshot`].
//!
//! [`Switch`] says where the databases of a switch are: as its configuration files tell, or as the caller does.
//! [`read`] reads them all, side by side and within a bound, and says when each was read, how long that took and
//! what could not be had. It knows where rows are and nothing of their meaning, and takes no decision; what could
//! not be read is in [`Reading::unread`], so that nobody takes it for absent.
//!
//! A reading is not one instant: each database is read on its own, in a few round trips, and the last is read some
//! milliseconds after the first. Whoever judges a reading made while something moves has to look twice.

mod read;
mod source;

pub use read::{DatabaseRead, Reading, read};
pub use source::{Database, Dpu, Local, Switch};
