//! Rows and their defaults, the two probe rows, and what is said to `bfdd`.

mod frr;
mod manager;
mod session;

use std::net::IpAddr;

use schema::dpu_appl_db::BfdKey;
use schema::state_db::BfdSoftwareSession;

use crate::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn key(peer: &str) -> BfdKey {
    BfdKey::to_npu(ip(peer))
}

/// As hamgrd has it.
fn row() -> BfdSoftwareSession {
    BfdSoftwareSession {
        tx_interval_ms: Some(100),
        rx_interval_ms: Some(100),
        multiplier: Some(3),
        multihop: true,
        shutdown: false,
        local_addr: Some(ip("20.0.200.1")),
        kind: Some("passive".to_owned()),
    }
}

fn session(key: &BfdKey, row: &BfdSoftwareSession) -> Session {
    Session::of(Backend::Frr, key, row).unwrap()
}
