//! How long to wait before connecting again.

/// The first wait.
const WAIT_MS_MIN: u64 = 20;
/// The longest wait.
const WAIT_MS_MAX: u64 = 1000;

/// Doubles from 20 ms to 1 s while connections fail, or do not live for 1 s.
#[derive(Clone, Debug)]
pub struct Backoff {
    wait_ms: u64,
}

impl Backoff {
    /// The next wait is the shortest.
    pub fn new() -> Self {
        Self { wait_ms: WAIT_MS_MIN }
    }

    /// How long to wait, in ms, after a try that lived for `lived_ms`.
    pub fn after_ms(&mut self, lived_ms: u64) -> u64 {
        if lived_ms >= WAIT_MS_MAX {
            self.wait_ms = WAIT_MS_MIN;
        }
        let wait_ms = self.wait_ms;
        self.wait_ms = (self.wait_ms * 2).min(WAIT_MS_MAX);
        wait_ms
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}
