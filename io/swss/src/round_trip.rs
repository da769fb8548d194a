//! How much is asked for in one round trip.
//!
//! A server may limit what it holds for a client that has not read it yet, and closes the connection of one that asked for
//! more (`reference/swss-wire.md` 9.6). Where rows are huge, a usual round trip is more: asked for again and again, it would
//! never be answered. So after a connection that broke meanwhile less is asked for.

/// How many rows are asked for in one round trip at most.
const ROWS_MAX: usize = 512;
/// How much less is asked for after a connection broke meanwhile.
const SHRINK: usize = 4;

/// The number of rows per round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoundTrip {
    rows: usize,
}

impl RoundTrip {
    pub(crate) const fn new() -> Self {
        Self { rows: ROWS_MAX }
    }

    pub(crate) fn rows(self) -> usize {
        self.rows
    }

    /// Learns from what came of one.
    pub(crate) fn learn<T, E>(&mut self, result: Result<T, E>) -> Result<T, E> {
        if result.is_err() {
            self.rows = (self.rows / SHRINK).max(1);
        }
        result
    }

    /// The connection has served for a while.
    pub(crate) fn grow(&mut self) {
        self.rows = (self.rows * 2).min(ROWS_MAX);
    }
}
