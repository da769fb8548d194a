//! The bus against real Redis servers: what other implementations do on the wire, and what must survive.

// Clippy knows only functions marked as tests for tests; here everything is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod config;
mod connection;
mod consumer;
mod faults;
mod random;
mod silence;
mod store;
mod store_faults;
mod store_model;
mod subscriber;
mod support;
