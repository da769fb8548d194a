//! Tests against modelled switches: [`field`] is the world, the others tell stories in it.

mod crash;
mod field;
mod fleet;
mod model;
mod random;
mod roles;
mod stories;
