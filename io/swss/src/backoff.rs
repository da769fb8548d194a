//! How long to wait before connecting again.

use std::time::Duration;

/// The first wait.
const WAIT_MS_MIN: u64 = 20;
/// The longest wait.
const WAIT_MS_MAX: u64 = 1000;

/// Doubles from 20 ms to 1 s while connections fail, or do not live for 1 s.
#[derive(Debug)]
pub(crate) struct Backoff {
    wait_ms: u64,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { wait_ms: WAIT_MS_MIN }
    }

    /// How long to wait after a try that lived for that long.
    pub(crate) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= Duration::from_millis(WAIT_MS_MAX) {
            self.wait_ms = WAIT_MS_MIN;
        }
        let wait = Duration::from_millis(self.wait_ms);
        self.wait_ms = (self.wait_ms * 2).min(WAIT_MS_MAX);
        wait
    }
}
