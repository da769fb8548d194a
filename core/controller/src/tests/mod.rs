//! Tests against modelled switches: [`field`] is the world, the others tell stories in it.

mod approvals;
mod checks;
mod crash;
mod field;
mod fleet;
mod hazards;
mod intent;
mod model;
mod random;
mod roles;
mod stories;
