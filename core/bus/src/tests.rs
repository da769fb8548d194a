//! The parts alone, and all of them against a model of a database.

mod model;
mod outbox;
mod parts;
