//! The data path, as far as a witness needs it: what becomes of a packet for a VIP, and what such a packet looks like.
//!
//! ```text
//!   client ──► NPU ──► DPU that decides ──answer──► NPU ──► client
//!                └───► standby ──► its peer, who decides
//! ```

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use schema::AsicHaState;
use serde::{Deserialize, Serialize};

use crate::model::AsicModel;

/// What a state has the data path do with a packet for the scope's VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Duty {
    /// Decide on the flow and answer.
    Serve,
    /// Pass it on to the peer, who decides.
    Relay,
    /// Drop it.
    Drop,
}

/// The duty of a state.
///
/// A standby holds the flows but does not decide: its active does, over the data channel. A DPU that is DESTROYING serves until
/// its peer has taken over, so that nothing under way is lost.
pub const fn duty(state: AsicHaState) -> Duty {
    match state {
        AsicHaState::Active
        | AsicHaState::Standalone
        | AsicHaState::SwitchingToStandalone
        | AsicHaState::Destroying => Duty::Serve,
        AsicHaState::Standby => Duty::Relay,
        AsicHaState::Dead
        | AsicHaState::Connecting
        | AsicHaState::Connected
        | AsicHaState::InitializingToActive
        | AsicHaState::InitializingToStandby
        | AsicHaState::PendingStandaloneActivation
        | AsicHaState::PendingActiveActivation
        | AsicHaState::PendingStandbyActivation => Duty::Drop,
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It is answered by the DPU of this address.
    Served {
        /// `local_ip` of the HA set.
        by: IpAddr,
    },
    /// It goes on to the peer.
    Relayed {
        /// `local_ip` of the HA set.
        from: IpAddr,
        /// `peer_ip` of the HA set.
        to: IpAddr,
    },
    /// It is dropped.
    Dropped,
}

impl AsicModel {
    /// What becomes of a packet for `vip`; one that was relayed once is not relayed again.
    pub fn fate(&self, vip: IpAddr, was_relayed: bool) -> Fate {
        let is_vip = |v4, v6| v4 == Some(vip) || v6 == Some(vip);
        for set in self.sets.values() {
            let Some((_, attributes, scope)) = &set.scope else { continue };
            if !is_vip(attributes.vip_v4.map(IpAddr::V4), attributes.vip_v6.map(IpAddr::V6)) {
                continue;
            }
            let (local, peer) = (set.attributes.local_ip, set.attributes.peer_ip);
            return match duty(scope.state) {
                Duty::Serve => Fate::Served { by: local },
                Duty::Relay if !was_relayed => Fate::Relayed { from: local, to: peer },
                Duty::Relay | Duty::Drop => Fate::Dropped,
            };
        }
        Fate::Dropped
    }
}

/// Where a packet is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Leg {
    /// From the client to an NPU.
    Client,
    /// From an NPU through a tunnel to another.
    Tunnel,
    /// From an NPU to a DPU.
    Dpu,
    /// From a standby DPU to its peer.
    Relay,
    /// The answer, back to the client.
    Answer,
}

impl Leg {
    const ALL: [Leg; 5] = [Leg::Client, Leg::Tunnel, Leg::Dpu, Leg::Relay, Leg::Answer];
}

/// A packet for a VIP, with what real headers would say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipPacket {
    /// Where it is on its way.
    pub leg: Leg,
    /// The VIP.
    pub vip: IpAddr,
    /// The client's number.
    pub number: u64,
    /// The client. Set by the first NPU.
    pub client: SocketAddr,
    /// The NPU that handed it to a DPU: the answer goes there.
    pub npu: SocketAddr,
    /// Who served it; unspecified until then.
    pub served_by: IpAddr,
}

/// The length of every packet, bytes.
pub const VIP_PACKET_BYTES: usize = 82;

const MAGIC: &[u8; 5] = b"SSVP\x01";

/// The unspecified address, where nothing is known yet.
pub const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

impl VipPacket {
    /// A client's packet.
    pub fn new(vip: IpAddr, number: u64) -> Self {
        Self { leg: Leg::Client, vip, number, client: NOBODY, npu: NOBODY, served_by: NOBODY.ip() }
    }

    /// The bytes; numbers are big endian, IPv4 addresses mapped into IPv6.
    pub fn encode(&self) -> Vec<u8> {
        let leg = Leg::ALL.iter().position(|leg| *leg == self.leg).unwrap_or_default();
        let mut bytes = Vec::with_capacity(VIP_PACKET_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.push(u8::try_from(leg).unwrap_or_default());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        for address in [self.vip, self.client.ip(), self.npu.ip(), self.served_by] {
            bytes.extend_from_slice(&mapped(address).octets());
        }
        for port in [self.client.port(), self.npu.port()] {
            bytes.extend_from_slice(&port.to_be_bytes());
        }
        bytes
    }

    /// Reads a packet; `None` if it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, mut rest) = bytes.split_at_checked(MAGIC.len())?;
        if head != MAGIC || bytes.len() != VIP_PACKET_BYTES {
            return None;
        }
        let leg = *Leg::ALL.get(usize::from(u8::from_be_bytes(take(&mut rest)?)))?;
        let number = u64::from_be_bytes(take(&mut rest)?);
        let mut address = || Some(Ipv6Addr::from(take::<16>(&mut rest)?).to_canonical());
        let (vip, client, npu, served_by) = (address()?, address()?, address()?, address()?);
        let mut port = || Some(u16::from_be_bytes(take(&mut rest)?));
        let (client, npu) = (SocketAddr::new(client, port()?), SocketAddr::new(npu, port()?));
        Some(Self { leg, vip, number, client, npu, served_by })
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}
