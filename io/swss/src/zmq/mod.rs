//! ZMQ tables: SONiC's `ZmqProducerStateTable` and `ZmqConsumerStateTable` (`reference/swss-wire.md` 5).
//!
//! | To … | use |
//! | --- | --- |
//! | name a peer | [`ZmqAddress`]: `tcp://host[:port]`, `ipc:///path` |
//! | produce | [`Store::open_zmq`](crate::Store::open_zmq): a store whose rows also go to a consumer |
//! | consume | [`Reader::serve_zmq`](crate::Reader::serve_zmq): a reader that listens for producers |
//! | watch | [`LinkStats`], [`ServerStats`] |
//!
//! The decisions are in `core/zmq`; here are the sockets, and the tasks that carry bytes and reports to and fro.
//! Unlike libzmq's, a link never loses a row for good, and says what it knows: a row counts as consumed once the
//! peer's process has taken it, a silent peer is noticed within seconds, and nothing waits in a queue that grows.
//!
//! ```no_run
//! # use schema::Table;
//! # use swss::{Endpoint, Reader, Store, ZmqPeer};
//! # async fn example(endpoint: &Endpoint) -> Result<(), Box<dyn std::error::Error>> {
//! // On the DPU. The database is asked only for deletions that a producer took to its grave.
//! let mut reader = Reader::serve_zmq(&"tcp://127.0.0.1:8100".parse()?, endpoint, &[Table::DashHaSet]);
//! // On the NPU. The peer may change, or not be known yet.
//! let (peer, known) = tokio::sync::watch::channel(None);
//! let mut store = Store::open_zmq(endpoint, &[Table::DashHaSet], known);
//! peer.send_replace(Some(ZmqPeer { address: "tcp://127.0.0.1:8100".parse()?, device: None }));
//! # Ok(()) }
//! ```

mod address;
mod consumer;
mod producer;
mod socket;
mod stats;
mod wire;

pub use address::{ORCH_ZMQ_PORT, ZmqAddress, ZmqAddressError};
pub use stats::{LinkStats, ServerStats};

/// A consumer, as seen by its producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZmqPeer {
    /// Where it listens.
    pub address: ZmqAddress,
    /// The interface or VRF to connect from; needs the capability `CAP_NET_RAW`.
    pub device: Option<String>,
}

#[cfg(test)]
mod tests;
