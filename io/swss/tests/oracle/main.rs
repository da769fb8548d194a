//! The bus against another implementation: SONiC's side by redis-py and pyzmq (`*.py`), written from the contracts of
//! `reference/swss-wire.md` alone. Both directions of every protocol; the truth tables of 2.5, 2.6 and 3.5.
//!
//! Needs Debian's `python3-redis` and `python3-zmq` (`make test` installs them).

// Clippy knows only functions marked as tests for tests; here everything is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod consumer_state;
mod faults;
mod oracle;
mod subscriber_state;
#[allow(dead_code)]
#[path = "../bus/support.rs"]
mod support;
mod zmq_state;
