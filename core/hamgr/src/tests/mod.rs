//! Stories over modelled databases, tables over pure functions, and random histories.

mod defects;
mod fields;
mod lives;
mod pending;
mod random;
mod restart;
mod rows;
mod strangers;
mod world;
