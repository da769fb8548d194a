//! When a connection is over: says so once, and lets the next attempt wait.

use std::time::Duration;

use bus::Backoff;
use tokio::time::Instant;

use crate::Endpoint;

/// The attempts of one reader or store to be connected.
pub(crate) struct Reconnect {
    /// What is missing without a connection, as it ends "not connected".
    what: &'static str,
    backoff: Backoff,
    /// Attempts since the last that worked.
    failures: u32,
    began: Instant,
}

impl Reconnect {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, backoff: Backoff::new(), failures: 0, began: Instant::now() }
    }

    /// An attempt begins.
    pub(crate) fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// It is over. Whether it `worked` decides how loudly that is said.
    pub(crate) async fn after(&mut self, endpoint: &Endpoint, reason: &str, worked: bool) {
        if worked {
            self.failures = 0;
        }
        let Self { what, failures, .. } = self;
        match failures {
            0 => tracing::warn!(%endpoint, reason, "not connected{what}; will keep trying"),
            _ => tracing::debug!(%endpoint, reason, failures, "still not connected{what}"),
        }
        self.failures = self.failures.saturating_add(1);
        let lived_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tokio::time::sleep(Duration::from_millis(self.backoff.after_ms(lived_ms))).await;
    }
}
