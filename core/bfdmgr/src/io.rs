//! What can happen to the manager, and what it can ask for.

use std::collections::BTreeSet;
use std::fmt;

use reconcile::{StoreEvent, Write};
use schema::dpu_appl_db::BfdKey;
use schema::state_db::BfdSoftwareSession;
use serde::{Deserialize, Serialize};

use crate::session::{Session, Unusable};

/// Where a database is, as seen from the DPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Place {
    /// On the DPU itself: its own `STATE_DB`.
    Local,
    /// On the NPU: `DPU_STATE_DB`.
    Remote,
}

/// A session that the backend has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    /// Which.
    pub key: BfdKey,
    /// It is up.
    pub is_up: bool,
    /// Its peer may take it for alive now or in a moment: it is not administratively down, or the peer may not know that yet.
    pub is_open: bool,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A row of `BFD_SOFTWARE_SESSION_TABLE`; `None`: it is gone.
    Session(BfdKey, Option<BfdSoftwareSession>),
    /// A row that cannot be understood. The last good one stays in force.
    Refused(BfdKey),
    /// All rows have been given.
    Synced,
    /// All sessions that the backend has, as of now.
    Backend(Vec<Peer>),
    /// A report of a store.
    Store(StoreEvent<Place>),
}

/// What the manager asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// All sessions that ought to run. Twice is once.
    Want(Vec<(BfdKey, Session)>),
    /// All sessions that may draw traffic now or in a moment, for `core/haorch`: those that the backend is to run, and those
    /// that it still has. Twice is once.
    Open(BTreeSet<BfdKey>),
    /// Write a row. Twice is once.
    Write(Write<Place>),
    /// Tell the operator.
    Note(Note),
}

/// Something for the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Note {
    /// A row makes no session; said once while the row stays as it is.
    Unusable {
        /// Whose row.
        key: BfdKey,
        /// Why.
        why: Unusable,
    },
    /// Other peers are up.
    Up {
        /// All peers that are.
        peers: Vec<std::net::IpAddr>,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Unusable { key, why } => {
                let BfdKey { vrf, interface, peer } = key;
                write!(f, "BFD_SOFTWARE_SESSION_TABLE|{vrf}|{interface}|{peer} makes no session: {why}")
            }
            Note::Up { peers } if peers.is_empty() => write!(f, "no BFD peer is up"),
            Note::Up { peers } => {
                write!(f, "BFD peers that are up:")?;
                peers.iter().try_for_each(|peer| write!(f, " {peer}"))
            }
        }
    }
}
