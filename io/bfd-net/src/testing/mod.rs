//! What tests of BFD need around it: network namespaces, FRR's `bfdd`, and a capture that `tshark` judges.
//!
//! All of it is removed when it is dropped, also when a test fails. Making a namespace takes root; [`skip`] says loudly that a
//! test did not run.

mod bfdd;
mod capture;
mod namespace;

use std::io::{self, Write};
use std::time::{Duration, Instant};

pub use bfdd::Bfdd;
pub use capture::Capture;
pub use namespace::Net;

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Says where nobody can overlook it that a test did not run. The test harness shows only what is written past it.
pub fn skip(test: &str, why: &io::Error) {
    let text = format!("\nSKIPPED {test}: {why}\n");
    if io::stderr().write_all(text.as_bytes()).is_err() {
        tracing::warn!(test, %why, "skipped");
    }
}

/// Looks until something is so; blocks the thread.
///
/// # Errors
/// It never was so; the error says what.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("never happened: {what}")));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}
