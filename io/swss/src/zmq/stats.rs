//! What is counted, readable at any time from anywhere.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::zmq::ZmqAddress;

/// A producer's link.
#[derive(Debug, Default)]
pub struct LinkStats {
    pub(super) is_up: AtomicBool,
    pub(super) waiting: AtomicU64,
    pub(super) unacknowledged: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) rows_sent: AtomicU64,
    pub(super) rows_acknowledged: AtomicU64,
    pub(super) rows_refused: AtomicU64,
    pub(super) bytes_sent: AtomicU64,
}

/// A consumer's socket.
#[derive(Debug, Default)]
pub struct ServerStats {
    address: OnceLock<ZmqAddress>,
    pub(super) producers: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) messages: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) unknown: AtomicU64,
}

macro_rules! readers {
    ($( $(#[$doc:meta])* $name:ident; )*) => {
        $( $(#[$doc])* pub fn $name(&self) -> u64 { self.$name.load(Ordering::Relaxed) } )*
    };
}

impl LinkStats {
    /// Whether a consumer is connected.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    readers! {
        /// Rows that wait to be sent.
        waiting;
        /// Rows that were sent and are not acknowledged.
        unacknowledged;
        /// Handshakes that were done.
        connections;
        /// Connections that were refused, broke before the handshake was done, or took too long for it.
        failures;
        /// Rows handed to the link.
        rows_sent;
        /// Rows that the consumer has acknowledged.
        rows_acknowledged;
        /// Rows that could not be sent, such as those longer than a message may be.
        rows_refused;
        /// Bytes written to the socket.
        bytes_sent;
    }
}

impl ServerStats {
    /// Where it listens, once it does.
    pub fn address(&self) -> Option<&ZmqAddress> {
        self.address.get()
    }

    pub(super) fn set_address(&self, address: ZmqAddress) {
        self.address.get_or_init(|| address);
    }

    readers! {
        /// Producers that are connected, their handshake done.
        producers;
        /// Connections that were accepted.
        connections;
        /// Messages that were taken.
        messages;
        /// Rows in them.
        rows;
        /// Messages and rows that were refused: too long, or not what they should be.
        refused;
        /// Messages for a table that nobody asked for.
        unknown;
    }
}

pub(super) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

pub(super) fn set(gauge: &AtomicU64, value: usize) {
    gauge.store(value as u64, Ordering::Relaxed);
}
