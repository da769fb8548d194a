//! Where a session runs: one hop or many, and the rules of RFC 5881 and 5883 about ports and TTLs, as data.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// UDP source ports of packets that we send.
///
/// RFC 5881 4: "The source port MUST be in the range 49152 through 65535. The same UDP source port number MUST be used
/// for all BFD Control packets associated with a particular session. The source port number SHOULD be unique among all
/// BFD sessions on the system." What is received is not held to it: the RFC binds the sender only.
pub const SOURCE_PORTS: RangeInclusive<u16> = 49152..=65535;

/// TTL (IPv4) or hop limit (IPv6) of every packet that we send, and of every single-hop packet that we take.
pub const TTL: u8 = 255;

/// Whether `port` may be the source port of a session.
pub fn is_source_port(port: u16) -> bool {
    SOURCE_PORTS.contains(&port)
}

/// The source port of the `n`th session, so that sessions differ as long as there are ports.
pub fn source_port(n: u16) -> u16 {
    SOURCE_PORTS.start() | (n & (SOURCE_PORTS.end() - SOURCE_PORTS.start()))
}

/// How far the peer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Hops {
    /// On the same link (RFC 5881).
    Single,
    /// Anywhere (RFC 5883).
    Multi,
}

impl Hops {
    /// UDP destination port: 3784 (RFC 5881 4) or 4784 (RFC 5883 5).
    pub fn port(self) -> u16 {
        match self {
            Hops::Single => 3784,
            Hops::Multi => 4784,
        }
    }

    /// The kind of packet that arrives at a UDP port; `None` if the port is not BFD's.
    pub fn of_port(port: u16) -> Option<Self> {
        match port {
            3784 => Some(Hops::Single),
            4784 => Some(Hops::Multi),
            _ => None,
        }
    }

    /// Whether a packet with this TTL may be taken.
    ///
    /// RFC 5881 5 (GTSM): "If BFD authentication is not in use on a session, all BFD Control packets for the session
    /// MUST be sent with a Time to Live (TTL) or Hop Limit value of 255. All received BFD Control packets that are
    /// demultiplexed to the session MUST be discarded if the received TTL or Hop Limit is not equal to 255." Over many
    /// hops, `min_ttl` bounds how far a packet may have come.
    pub fn accepts_ttl(self, ttl: u8, min_ttl: u8) -> bool {
        match self {
            Hops::Single => ttl == TTL,
            Hops::Multi => ttl >= min_ttl,
        }
    }
}

/// What a session is bound to, numbered by the shell: an interface for one hop, a VRF for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Link(pub u32);

impl Link {
    /// Bound to none: packets from any link are taken.
    pub const ANY: Self = Self(0);
}

/// Where a session runs. No two sessions run in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Path {
    /// The peer's address.
    pub peer: IpAddr,
    /// Our address; unspecified (`0.0.0.0`, `::`): any of ours.
    pub local: IpAddr,
    /// What it is bound to.
    pub link: Link,
    /// How far the peer may be.
    pub hops: Hops,
}

impl Path {
    /// The same path with IPv4-mapped IPv6 addresses, as dual-stack sockets report them, written as IPv4.
    pub(crate) fn canonical(self) -> Self {
        Self { peer: self.peer.to_canonical(), local: self.local.to_canonical(), ..self }
    }

    /// The paths of sessions that would take a packet which arrived on this one, the most specific first.
    pub(crate) fn candidates(self) -> [Self; 4] {
        let any_local = match self.local {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let any_link = Link::ANY;
        [
            self,
            Self { link: any_link, ..self },
            Self { local: any_local, ..self },
            Self { local: any_local, link: any_link, ..self },
        ]
    }
}
