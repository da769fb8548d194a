//! Where each VIP's traffic goes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use reconcile::as_pairs;
use serde::{Deserialize, Serialize};

use crate::prefix::Prefix;

/// How a next hop is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reach {
    /// It is a neighbour: a DPU of this chassis.
    Direct,
    /// Through a VXLAN tunnel that ends there: the NPU that carries the DPU.
    Tunnel,
}

/// A next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NextHop {
    /// Its address.
    pub endpoint: IpAddr,
    /// How it is reached.
    pub reach: Reach,
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reach {
            Reach::Direct => write!(f, "{}", self.endpoint),
            Reach::Tunnel => write!(f, "{} (tunnel)", self.endpoint),
        }
    }
}

/// What is done with a VIP's traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// The next hops in force, in the order of the row. None: dropped.
    pub next_hops: Vec<NextHop>,
    /// The DPU of this chassis that takes what comes out of a tunnel (the ACL rule of `VNET_LOCAL_ENDPOINT`).
    pub terminates_at: Option<IpAddr>,
}

/// Where each VIP's traffic goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarding {
    /// By prefix.
    #[serde(with = "as_pairs")]
    pub vips: BTreeMap<Prefix, Vip>,
}

impl Forwarding {
    fn vip(&self, address: IpAddr) -> Option<&Vip> {
        let matching = self.vips.iter().filter(|(prefix, _)| prefix.contains(address));
        matching.max_by_key(|(prefix, _)| prefix.length).map(|(_, vip)| vip)
    }

    /// The next hop of a packet from a client; packets of one `flow` share it.
    pub fn next_hop(&self, address: IpAddr, flow: u64) -> Option<NextHop> {
        let next_hops = &self.vip(address)?.next_hops;
        let count = u64::try_from(next_hops.len()).ok().filter(|count| *count > 0)?;
        next_hops.get(usize::try_from(flow % count).ok()?).copied()
    }

    /// The DPU of this chassis that takes a packet out of a tunnel.
    pub fn terminates_at(&self, address: IpAddr) -> Option<IpAddr> {
        self.vip(address)?.terminates_at
    }
}
