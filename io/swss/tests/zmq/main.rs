//! The ZMQ tables over real sockets and a real Redis: a scripted peer that does what peers do, both ends of ours, and
//! libzmq on the other side.

// Clippy knows only functions marked as tests for tests; here everything is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod both_ends;
mod consumer;
mod libzmq;
mod peer;
mod producer;
mod random;
mod support;
