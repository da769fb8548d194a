//! What can happen to the model, what it asks for, and its limits.

use std::net::SocketAddr;

use haorch::{AsicAnswer, AsicCall, AsicEvent};
use serde::{Deserialize, Serialize};

/// How many HA sets the ASIC holds.
pub const HA_SETS_MAX: usize = 64;

/// The peers' UDP port where the HA set names none.
pub const CP_DATA_CHANNEL_PORT_DEFAULT: u16 = 11_362;

/// The model's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// How long a side looks for its peer before it asks to be standalone, ms.
    pub peer_wait_ms: u64,
    /// How long a bulk sync takes, ms.
    pub bulk_sync_ms: u64,
    /// How long the survivor of a planned shutdown takes to take over, ms.
    pub switchover_ms: u64,
    /// How long a side that shuts down waits for its peer to take over, ms.
    pub destroy_ms_max: u64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { peer_wait_ms: 2_000, bulk_sync_ms: 20, switchover_ms: 50, destroy_ms_max: 3_000 }
    }
}

/// What can happen to the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A SAI call.
    Call(AsicCall),
    /// A datagram from a peer, or from anybody.
    Datagram {
        /// The address that it came to.
        local: SocketAddr,
        /// The address that it came from.
        from: SocketAddr,
        /// What it says.
        bytes: Vec<u8>,
    },
}

/// What the model asks for. Answers and events are to be given to the control plane in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// The answer to [`Input::Call`].
    Answer(AsicAnswer),
    /// A notification.
    Event(AsicEvent),
    /// Send a datagram. Losing it, or sending it twice, is harmless.
    Send {
        /// From this address.
        local: SocketAddr,
        /// To this address.
        to: SocketAddr,
        /// What to say; [`crate::DATAGRAM_BYTES`] long.
        bytes: Vec<u8>,
    },
}

/// What was ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ignored {
    /// Datagrams that are not ours.
    pub bad: u64,
    /// Datagrams from an address that is no peer's.
    pub strangers: u64,
    /// Datagrams that were overtaken, or of an earlier life of the peer.
    pub stale: u64,
}
