//! Entry points that hand any bytes to a decoder of this project and check what must always hold.
//!
//! A decoder reads what a stranger wrote: it never panics, never loops, and what it accepts survives its own
//! encoder. Each entry point is a plain function that panics where that is broken. The same functions are run
//!
//! - by `tests/corpus.rs` on stable Rust, in CI: the corpus in `fuzz/corpus/<name>/`, and thousands of random
//!   mutations of it;
//! - by cargo-fuzz for as long as one likes: `make fuzz TARGET=<name> SECONDS=600` (`fuzz/fuzz_targets/<name>.rs`).
//!
//! To add a decoder: a function here, a line in [`TARGETS`], a file `fuzz/fuzz_targets/<name>.rs` with a `[[bin]]` in
//! `fuzz/Cargo.toml`, and at least one file in `fuzz/corpus/<name>/`. A test checks that none is missing.
//!
//! It knows the decoders and nothing of what their results are for.

// What an entry point finds, it reports by a panic: it is a test.
#![allow(clippy::expect_used)]

mod bfd_peer;
mod config;
mod rows;
mod zmq_peer;

pub use bfd_peer::{bfd_packet, bfd_session};
pub use config::config_files;
pub use rows::{ha_scope_config, ha_set_config, rows, tables};
pub use zmq_peer::{zmq_consumer, zmq_message, zmq_producer};

/// A name, and what is run with any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All entry points by name.
pub const TARGETS: &[Target] = &[
    ("bfd_packet", bfd_packet),
    ("bfd_session", bfd_session),
    ("config_files", config_files),
    ("ha_scope_config", ha_scope_config),
    ("ha_set_config", ha_set_config),
    ("rows", rows),
    ("zmq_consumer", zmq_consumer),
    ("zmq_message", zmq_message),
    ("zmq_producer", zmq_producer),
];
