//! What happens to a link, and what follows.

use serde::{Deserialize, Serialize};

use crate::RowId;
use crate::backlog::Outgoing;

/// Times of a link, ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkConfig {
    /// How long connecting may take.
    pub connect_timeout_ms: u64,
    /// How long the handshake may take.
    pub handshake_timeout_ms: u64,
    /// How long a PONG may take, counted from the one before it if that came later than the PING.
    pub pong_timeout_ms: u64,
    /// After how long a silence a PING is sent.
    pub heartbeat_ms: u64,
    /// How long to wait before the first new attempt.
    pub retry_ms_min: u64,
    /// How long to wait between attempts at most.
    pub retry_ms_max: u64,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 3000,
            handshake_timeout_ms: 3000,
            pong_timeout_ms: 5000,
            heartbeat_ms: 3000,
            retry_ms_min: 20,
            retry_ms_max: 250,
        }
    }
}

/// A row, and which form of it ([`Outgoing::serial`]).
pub type Receipt = (RowId, u64);

/// What can happen to a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkEvent {
    /// The peer's address became known, changed, or is no longer known (`false`). A connection to the old one ends.
    Address(bool),
    /// The connection asked for is there.
    Connected,
    /// The connection asked for could not be made.
    Refused {
        /// Why.
        reason: String,
    },
    /// Bytes came.
    Received(Vec<u8>),
    /// The connection ended.
    Closed {
        /// Why.
        reason: String,
    },
    /// Rows to be sent on this connection; ignored if it is not the present one.
    Send {
        /// The connection, as numbered by [`LinkEffect::Up`].
        connection: u64,
        /// The rows, in order.
        rows: Vec<Outgoing>,
    },
    /// Time passed.
    Tick,
}

/// What a link asks for, and reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkEffect {
    /// Connect to the address.
    Connect,
    /// Send bytes.
    Transmit(Vec<u8>),
    /// End the connection, or the attempt; nothing more is to be heard of it.
    Disconnect,
    /// The handshake is done. Nothing has been sent.
    Up {
        /// Number of the connection, from 1.
        connection: u64,
    },
    /// The connection that was up is over. What was not acknowledged may be lost.
    Down {
        /// Why.
        reason: String,
    },
    /// No connection could be made, or its handshake failed; it is tried again.
    Failed {
        /// Why.
        reason: String,
    },
    /// The peer's process has taken these.
    Acknowledged {
        /// The connection.
        connection: u64,
        /// Which rows, in which form.
        receipts: Vec<Receipt>,
    },
    /// A row is too long for a message; it is not sent.
    TooLong {
        /// The row.
        row: RowId,
        /// How long its message would be, bytes.
        length: usize,
    },
}
