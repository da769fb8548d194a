//! A software BFD session as its row asks for it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::str::FromStr;

use bfd::{Interval, IntervalOutOfRange, Role, RoleError};
use schema::dpu_appl_db::BfdKey;
use schema::state_db::BfdSoftwareSession;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The interval where the row has none, ms (BfdMgr's default).
const INTERVAL_MS_DEFAULT: u32 = 200;

/// The detect multiplier where the row has none (BfdMgr's default).
const MULTIPLIER_DEFAULT: u32 = 3;

/// The least TTL of a multihop packet: any, since FRR's own default, 254, drops them (sonic-buildimage PR 24019).
const MIN_TTL_MULTIHOP: u8 = 1;

/// The word for no VRF and no interface.
const DEFAULT: &str = "default";

/// What runs the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backend {
    /// The built-in one, `io/bfd-net`.
    Lite,
    /// FRR's `bfdd`.
    Frr,
}

/// A session, with nothing left to default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Over many hops. Never with an interface.
    pub multihop: bool,
    /// Our address; `None`: the host's choice.
    pub local: Option<IpAddr>,
    /// Who speaks first.
    pub role: Role,
    /// How fast to send.
    pub transmit: Interval,
    /// How fast packets can be received.
    pub receive: Interval,
    /// How many packets the peer may miss.
    pub detect_multiplier: NonZeroU8,
    /// The least TTL of a packet over many hops.
    pub min_ttl: u8,
    /// Held down by the administrator.
    pub shutdown: bool,
}

/// All sessions that ought to run.
pub type Sessions = BTreeMap<BfdKey, Session>;

/// Why a row makes no session.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Unusable {
    /// An interval that cannot be configured.
    #[error("{field}: {cause}")]
    Interval {
        /// Which field.
        field: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A multiplier that does not fit the packet.
    #[error("multiplier: {0} is not between 1 and 255")]
    Multiplier(u32),
    /// Demand mode.
    #[error("{0}")]
    Demand(String),
    /// Our address and the peer's are of different families.
    #[error("local_addr {local} and peer {peer} are of different families")]
    MixedFamilies {
        /// Ours.
        local: IpAddr,
        /// The peer's.
        peer: IpAddr,
    },
    /// A VRF that the backend cannot run sessions in.
    #[error("vrf {0}: the built-in BFD runs in the default VRF only")]
    Vrf(String),
}

impl Session {
    /// The session of a row, with BfdMgr's defaults (`reference/dpu-side.md` 2.3): every `type` but `async_active` is passive.
    ///
    /// # Errors
    /// The row asks for what cannot be; demand mode among it, which BfdMgr takes for passive.
    pub fn of(backend: Backend, key: &BfdKey, row: &BfdSoftwareSession) -> Result<Self, Unusable> {
        if backend == Backend::Lite && key.vrf != DEFAULT {
            return Err(Unusable::Vrf(key.vrf.clone()));
        }
        if let Some(local) = row.local_addr
            && local.is_ipv4() != key.peer.is_ipv4()
        {
            return Err(Unusable::MixedFamilies { local, peer: key.peer });
        }
        let role = match row.kind.as_deref().map(Role::from_str) {
            Some(Ok(role)) => role,
            None | Some(Err(RoleError::Unknown(_))) => Role::Passive,
            Some(Err(error @ RoleError::Demand(_))) => return Err(Unusable::Demand(error.to_string())),
        };
        let multiplier = row.multiplier.unwrap_or(MULTIPLIER_DEFAULT);
        let detect_multiplier = u8::try_from(multiplier).ok().and_then(NonZeroU8::new);
        // BfdMgr: an interface makes it one hop, whatever the row says.
        let multihop = row.multihop && key.interface == DEFAULT;
        Ok(Self {
            multihop,
            local: row.local_addr,
            role,
            transmit: interval("tx_interval", row.tx_interval_ms)?,
            receive: interval("rx_interval", row.rx_interval_ms)?,
            detect_multiplier: detect_multiplier.ok_or(Unusable::Multiplier(multiplier))?,
            min_ttl: if multihop { MIN_TTL_MULTIHOP } else { bfd::TTL },
            shutdown: row.shutdown,
        })
    }
}

fn interval(field: &str, ms: Option<u32>) -> Result<Interval, Unusable> {
    Interval::from_ms(ms.unwrap_or(INTERVAL_MS_DEFAULT)).map_err(|cause: IntervalOutOfRange| {
        Unusable::Interval { field: field.to_owned(), cause: cause.to_string() }
    })
}
