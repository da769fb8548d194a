//! What can happen to the model, and what it asks for.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use reconcile::{StoreEvent, Write};
use schema::BfdState;
use schema::appl_db::{NeighResolve, NeighbourKey, VnetRouteKey, VnetRouteTunnel};
use serde::{Deserialize, Serialize};

use crate::forwarding::{Forwarding, NextHop};
use crate::prefix::Prefix;
use crate::route::RouteProblem;
use crate::sessions::Session;

/// The only place: the NPU's own `STATE_DB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Here;

/// What can happen. Rows are given whole; `None` is a row that is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A row of `VNET_ROUTE_TUNNEL_TABLE`.
    Route(VnetRouteKey, Option<VnetRouteTunnel>),
    /// A row of `NEIGH_RESOLVE_TABLE`. The model's neighbours answer at once, so a row is a resolved neighbour.
    Neighbour(NeighbourKey, Option<NeighResolve>),
    /// All rows of `APPL_DB` have been given.
    Synced,
    /// The connection to `APPL_DB` is lost. Rows stay in force.
    Unsynced,
    /// What a BFD session is at present.
    Bfd {
        /// The peer: a DPU's data-path address.
        peer: IpAddr,
        /// Its state; `None` once it is gone.
        state: Option<BfdState>,
        /// Our discriminator, where it is known.
        discriminator: Option<u32>,
    },
    /// A report of the store.
    Store(StoreEvent<Here>),
}

/// What the model asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Forward like this from now on. Twice is once.
    Forward(Forwarding),
    /// Run exactly these active BFD sessions, by peer. Twice is once.
    Sessions(BTreeMap<IpAddr, Session>),
    /// Write a row. Twice is once.
    Write(Write<Here>),
    /// Tell the operator.
    Note(Note),
}

/// What an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// A row cannot be followed; the last that could stays in force.
    RouteRefused {
        /// Its key.
        key: VnetRouteKey,
        /// Why.
        problem: RouteProblem,
    },
    /// A VIP's traffic goes elsewhere.
    Moved {
        /// The VIP.
        vip: Prefix,
        /// Where it went.
        from: Vec<NextHop>,
        /// Where it goes.
        to: Vec<NextHop>,
    },
    /// A BFD session changed its state.
    Bfd {
        /// The peer.
        peer: IpAddr,
        /// The state before.
        from: BfdState,
        /// The state now.
        to: BfdState,
    },
    /// The NPU has no address of the family of these peers: they get no session.
    NoTunnelSource(Vec<IpAddr>),
}

impl Note {
    /// Whether an operator should look.
    pub const fn is_warning(&self) -> bool {
        match self {
            Note::RouteRefused { .. } | Note::NoTunnelSource(_) => true,
            Note::Moved { .. } | Note::Bfd { .. } => false,
        }
    }
}

fn joined<T: fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    if items.is_empty() { "nowhere".to_owned() } else { items.join(", ") }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::RouteRefused { key, problem } => {
                write!(f, "route {} {} is refused: {problem}", key.vnet, key.prefix)
            }
            Note::Moved { vip, from, to } => {
                write!(f, "traffic of {vip} moves from {} to {}", joined(from), joined(to))
            }
            Note::Bfd { peer, from, to } => write!(f, "BFD to {peer}: {from} -> {to}"),
            Note::NoTunnelSource(peers) => write!(f, "no tunnel source for BFD to {}", joined(peers)),
        }
    }
}
