//! Stories of one reconciler and one store, the same under random faults, and ids.

mod ids;
mod model;
mod stories;
