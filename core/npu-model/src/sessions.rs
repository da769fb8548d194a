//! The active BFD sessions that an NPU wants (`reference/dpu-side.md` 3.3).

use std::net::IpAddr;

use schema::BfdState;
use schema::dpu_appl_db::BfdKey;
use schema::state_db::NpuBfdSession;
use serde::{Deserialize, Serialize};

use crate::route::Route;

/// orchagent gives no multiplier, and so BfdOrch's default counts.
pub const MULTIPLIER: u8 = 10;

/// BfdOrch's default where a route gives no timer, ms.
pub const INTERVAL_MS_DEFAULT: u32 = 1000;

/// An active multihop session; the peer is its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The NPU's address: the source of the VXLAN tunnel, also towards DPUs of this chassis.
    pub local: IpAddr,
    /// Desired transmit interval, ms.
    pub tx_interval_ms: u32,
    /// Required receive interval, ms.
    pub rx_interval_ms: u32,
    /// Detect multiplier.
    pub multiplier: u8,
}

impl Session {
    pub(crate) fn of(route: &Route, local: IpAddr) -> Self {
        Self {
            local,
            tx_interval_ms: route.tx_interval_ms.unwrap_or(INTERVAL_MS_DEFAULT),
            rx_interval_ms: route.rx_interval_ms.unwrap_or(INTERVAL_MS_DEFAULT),
            multiplier: MULTIPLIER,
        }
    }

    /// The row in `STATE_DB`.
    pub(crate) fn row(&self, state: BfdState, discriminator: Option<u32>) -> NpuBfdSession {
        NpuBfdSession {
            state: Some(state),
            kind: Some("async_active".to_owned()),
            local_discriminator: discriminator,
            local_addr: Some(self.local),
            tx_interval_ms: Some(self.tx_interval_ms),
            rx_interval_ms: Some(self.rx_interval_ms),
            multiplier: Some(self.multiplier.into()),
            multihop: true,
        }
    }
}

/// The row's key.
pub(crate) fn key(peer: IpAddr) -> BfdKey {
    BfdKey { vrf: "default".to_owned(), interface: "default".to_owned(), peer }
}
