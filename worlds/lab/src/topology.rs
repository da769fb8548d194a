//! Who is where: switches, DPUs, addresses and ports.
//!
//! On the loopback interface every lab takes one block `127.I.0.0/16` for itself, so that labs run side by side without root
//! and without any network set-up: all of `127.0.0.0/8` is local on Linux. In namespaces every lab has the same addresses, which
//! are those of a SmartSwitch. Ports are the same everywhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use schema::{DpuName, HaScopeId, HaSetId, Slot, VdpuId};

use crate::net::Kind;

/// The number of switches: a pair.
pub const SWITCHES: u8 = 2;
/// The most DPUs that a switch carries.
pub const DPUS_MAX: u8 = 8;
/// UDP port on which a DPU answers the midplane probe.
pub const PROBE_PORT: u16 = 11361;
/// UDP port of the DPU-to-DPU control channel.
pub const CP_CHANNEL_PORT: u16 = 11362;
/// UDP destination port of the DPU-to-DPU data channel.
pub const DP_CHANNEL_PORT: u16 = 11368;
/// UDP port at which NPUs and DPUs take packets for VIPs.
pub const VIP_PORT: u16 = 11370;
/// TCP port of the host's Redis, as on a switch.
pub const REDIS_PORT: u16 = 6379;
/// TCP port of the chassis Redis, as on a switch.
pub const CHASSIS_PORT: u16 = 6380;
/// TCP port of DPU 0's Redis on the NPU; the others follow.
pub const DPU_REDIS_PORT: u16 = 6381;

/// Held for as long as the lab lives: nobody else can bind it.
const CLAIM_PORT: u16 = 11360;
/// Octets that labs use; 0 is everybody's.
const OCTETS: std::ops::RangeInclusive<u8> = 10..=250;

/// A DPU of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DpuId {
    /// The switch, from 0.
    pub switch: u8,
    /// The slot in it, from 0.
    pub slot: Slot,
}

impl DpuId {
    /// The name of its `DPU` row, unique in the cluster.
    pub fn name(self) -> String {
        format!("switch{}_dpu{}", self.switch, self.slot.0)
    }

    /// The vDPU on it.
    pub fn vdpu(self) -> String {
        format!("vdpu{}_{}", self.switch, self.slot.0)
    }

    /// The name of its switch.
    pub fn switch_name(self) -> String {
        switch_name(self.switch)
    }

    /// The DPU of the other switch that is in the same HA set.
    pub fn peer(self) -> Self {
        Self { switch: SWITCHES - 1 - self.switch, slot: self.slot }
    }

    /// The HA set that it is in, of which the scope has the same name.
    pub fn ha_set(self) -> String {
        format!("haset{}", self.slot.0)
    }
}

impl fmt::Display for DpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.switch_name(), self.slot)
    }
}

/// The name of a switch.
pub fn switch_name(switch: u8) -> String {
    format!("switch{switch}")
}

/// Why there is no room for a lab.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// Every block is taken.
    #[error("every block 127.{}.0.0/16 to 127.{}.0.0/16 is taken by another lab", OCTETS.start(), OCTETS.end())]
    NoBlockFree,
    /// The number of DPUs does not make sense.
    #[error("a switch carries 1 to {DPUS_MAX} DPUs, not {0}")]
    Dpus(u8),
}

/// Where the addresses are from.
#[derive(Debug)]
enum Plan {
    /// A block of the loopback interface.
    Loopback { octet: u8, _claim: UdpSocket },
    /// Those of a SmartSwitch, in namespaces of their own.
    Netns,
}

/// The shape of the lab and its addresses.
#[derive(Debug)]
pub struct Topology {
    plan: Plan,
    dpus: u8,
    ipv6: bool,
}

impl Topology {
    /// A pair of switches with so many DPUs each. On the loopback interface it claims a free block.
    ///
    /// # Errors
    /// The number is out of range, or no block is free.
    pub fn new(kind: Kind, dpus: u8, ipv6: bool) -> Result<Self, TopologyError> {
        if !(1..=DPUS_MAX).contains(&dpus) {
            return Err(TopologyError::Dpus(dpus));
        }
        let plan = match kind {
            Kind::Loopback => Self::claim()?,
            Kind::Netns => Plan::Netns,
        };
        Ok(Self { plan, dpus, ipv6 })
    }

    fn claim() -> Result<Plan, TopologyError> {
        // Labs that start together should not all try the same block first.
        let start = std::process::id() % u32::from(OCTETS.end() - OCTETS.start());
        let octets: Vec<u8> = OCTETS.collect();
        let from = usize::try_from(start).unwrap_or_default();
        for octet in octets.iter().cycle().skip(from).take(octets.len()) {
            let address = SocketAddr::from((Ipv4Addr::new(127, *octet, 0, 1), CLAIM_PORT));
            if let Ok(claim) = UdpSocket::bind(address) {
                return Ok(Plan::Loopback { octet: *octet, _claim: claim });
            }
        }
        Err(TopologyError::NoBlockFree)
    }

    /// On what kind of network.
    pub fn kind(&self) -> Kind {
        match self.plan {
            Plan::Loopback { .. } => Kind::Loopback,
            Plan::Netns => Kind::Netns,
        }
    }

    /// The block of loopback addresses, for people.
    pub fn block(&self) -> String {
        match self.plan {
            Plan::Loopback { octet, .. } => format!("127.{octet}.0.0/16"),
            Plan::Netns => "none".to_owned(),
        }
    }

    /// Whether NPUs, DPUs and VIPs have IPv6 addresses too.
    pub fn has_ipv6(&self) -> bool {
        self.ipv6
    }

    /// Whether packets between addresses of that family arrive. On the loopback interface IPv6 has one address only, so
    /// that sessions and VIPs of IPv6 are rows there, and no packets.
    pub fn carries(&self, address: IpAddr) -> bool {
        address.is_ipv4() || self.kind() == Kind::Netns
    }

    /// DPUs per switch.
    pub fn dpus_per_switch(&self) -> u8 {
        self.dpus
    }

    /// The switches.
    pub fn switches(&self) -> impl Iterator<Item = u8> + use<> {
        0..SWITCHES
    }

    /// The DPUs of a switch.
    pub fn dpus_of(&self, switch: u8) -> impl Iterator<Item = DpuId> + use<> {
        (0..self.dpus).map(move |slot| DpuId { switch, slot: Slot(slot) })
    }

    /// All DPUs.
    pub fn dpus(&self) -> impl Iterator<Item = DpuId> + use<> {
        let dpus = self.dpus;
        self.switches().flat_map(move |switch| (0..dpus).map(move |slot| DpuId { switch, slot: Slot(slot) }))
    }

    /// `Loopback0` of an NPU.
    pub fn npu(&self, switch: u8) -> Ipv4Addr {
        match self.plan {
            Plan::Loopback { octet, .. } => Ipv4Addr::new(127, octet, switch, 32),
            Plan::Netns => Ipv4Addr::new(10, 1, 0, 32 + switch),
        }
    }

    /// `Loopback0` of an NPU, IPv6. On the loopback interface nothing is ever sent there.
    pub fn npu_v6(&self, switch: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 1, self.octet_v6(), u16::from(switch), 0, 0, 0, 0x32)
    }

    /// Keeps labs apart where they share an interface.
    fn octet_v6(&self) -> u16 {
        match self.plan {
            Plan::Loopback { octet, .. } => u16::from(octet),
            Plan::Netns => 0,
        }
    }

    /// The NPU's end of the midplane.
    pub fn midplane_bridge(&self, switch: u8) -> Ipv4Addr {
        match self.plan {
            Plan::Loopback { octet, .. } => Ipv4Addr::new(127, octet, 100 + switch, 254),
            Plan::Netns => Ipv4Addr::new(169, 254, 200, 254),
        }
    }

    /// A DPU's end of the midplane.
    pub fn midplane(&self, dpu: DpuId) -> Ipv4Addr {
        match self.plan {
            Plan::Loopback { octet, .. } => Ipv4Addr::new(127, octet, 100 + dpu.switch, dpu.slot.0 + 1),
            Plan::Netns => Ipv4Addr::new(169, 254, 200, dpu.slot.0 + 1),
        }
    }

    /// A DPU's data-path address.
    pub fn data_path(&self, dpu: DpuId) -> Ipv4Addr {
        match self.plan {
            Plan::Loopback { octet, .. } => Ipv4Addr::new(127, octet, 200 + dpu.switch, dpu.slot.0 + 1),
            Plan::Netns => Ipv4Addr::new(20, 0, 200 + dpu.switch, 2 * dpu.slot.0 + 1),
        }
    }

    /// A DPU's data-path address, IPv6. On the loopback interface nothing is ever sent there.
    pub fn data_path_v6(&self, dpu: DpuId) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.front_panel_v6(dpu)) + 1)
    }

    /// The NPU's end of a DPU's front-panel link; the DPU's is the next address.
    fn front_panel_v6(&self, dpu: DpuId) -> Ipv6Addr {
        let (octet, switch) = (self.octet_v6(), u16::from(dpu.switch));
        Ipv6Addr::new(0xfd00, 2, octet, switch, 0, 0, 0, 2 * u16::from(dpu.slot.0))
    }

    /// Both ends of a DPU's front-panel link, the NPU's first, by family. Only in namespaces there is one.
    pub fn front_panel(&self, dpu: DpuId) -> Vec<(IpAddr, IpAddr)> {
        let own = self.data_path(dpu);
        let mut ends: Vec<(IpAddr, IpAddr)> = vec![(Ipv4Addr::from(u32::from(own) - 1).into(), own.into())];
        let v6 = || (self.front_panel_v6(dpu).into(), self.data_path_v6(dpu).into());
        ends.extend(self.ipv6.then(v6));
        ends
    }

    /// Both ends of a switch's uplink, the NPU's first, by family. Only in namespaces there is one.
    pub fn uplink(&self, switch: u8) -> Vec<(IpAddr, IpAddr)> {
        let v4 = |host| Ipv4Addr::new(10, 0, 0, 4 * switch + host);
        let v6 = |host| Ipv6Addr::new(0xfd00, 0, 0, u16::from(switch), 0, 0, 0, host);
        let mut ends: Vec<(IpAddr, IpAddr)> = vec![(v4(1).into(), v4(2).into())];
        ends.extend(self.ipv6.then(|| (v6(1).into(), v6(2).into())));
        ends
    }

    /// `Loopback0` of an NPU, by family.
    pub fn loopbacks(&self, switch: u8) -> Vec<IpAddr> {
        let mut all: Vec<IpAddr> = vec![self.npu(switch).into()];
        all.extend(self.ipv6.then(|| IpAddr::from(self.npu_v6(switch))));
        all
    }

    /// The addresses of an NPU that packets reach: where its VXLAN tunnels and its BFD sessions begin.
    pub fn tunnel_sources(&self, switch: u8) -> Vec<IpAddr> {
        self.loopbacks(switch).into_iter().filter(|address| self.carries(*address)).collect()
    }

    /// The data-path addresses of a DPU that packets reach.
    pub fn data_paths(&self, dpu: DpuId) -> Vec<IpAddr> {
        let mut all: Vec<IpAddr> = vec![self.data_path(dpu).into()];
        all.extend(self.ipv6.then(|| IpAddr::from(self.data_path_v6(dpu))));
        all.into_iter().filter(|address| self.carries(*address)).collect()
    }

    /// The VIPs of a HA set that packets reach.
    pub fn vips(&self, slot: Slot) -> Vec<IpAddr> {
        let mut all: Vec<IpAddr> = vec![self.vip(slot).into()];
        all.extend(self.ipv6.then(|| IpAddr::from(self.vip_v6(slot))));
        all.into_iter().filter(|vip| self.carries(*vip)).collect()
    }

    /// Where the client of all VIPs is, by family: beside the switches.
    pub fn clients(&self) -> Vec<IpAddr> {
        let v4 = match self.plan {
            Plan::Loopback { octet, .. } => Ipv4Addr::new(127, octet, 250, 1),
            Plan::Netns => Ipv4Addr::new(192, 168, 250, 1),
        };
        let v6 = Ipv6Addr::new(0xfd00, 4, self.octet_v6(), 0, 0, 0, 0, 1);
        let mut all: Vec<IpAddr> = vec![v4.into()];
        all.extend(self.ipv6.then_some(IpAddr::from(v6)));
        all.into_iter().filter(|address| self.carries(*address)).collect()
    }

    /// The VIP of a HA set.
    pub fn vip(&self, slot: Slot) -> Ipv4Addr {
        Ipv4Addr::new(10, 3, 0, slot.0 + 1)
    }

    /// The IPv6 VIP of a HA set.
    pub fn vip_v6(&self, slot: Slot) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 3, 0, 0, 0, 0, 0, u16::from(slot.0) + 1)
    }

    /// TCP port of a DPU's Redis on its NPU.
    pub fn dpu_redis_port(dpu: DpuId) -> u16 {
        DPU_REDIS_PORT + u16::from(dpu.slot.0)
    }

    /// Where a DPU answers the midplane probe.
    pub fn probe(&self, dpu: DpuId) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.midplane(dpu)), PROBE_PORT)
    }

    /// What the fleet configures: HA sets per switch and HA scopes per switch.
    pub fn expected(&self) -> invariants::Expected {
        let mut expected = invariants::Expected::default();
        for dpu in self.dpus() {
            let (set, scope) = (HaSetId::new(dpu.ha_set()), HaScopeId::new(dpu.ha_set()));
            let (Some(set), Some(scope), Some(vdpu)) = (set, scope, VdpuId::new(dpu.vdpu())) else {
                continue;
            };
            expected.sets.insert((dpu.switch_name(), set));
            let key = schema::appl_db::HaScopeConfigKey { vdpu, scope };
            expected.scopes.insert((dpu.switch_name(), key));
        }
        expected
    }

    /// The name of a DPU's `DPU` row, as a type.
    pub fn dpu_name(dpu: DpuId) -> Option<DpuName> {
        DpuName::new(dpu.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_labs_never_share_a_block() {
        let labs: Vec<Topology> = (0..5).map(|_| Topology::new(Kind::Loopback, 1, true).unwrap()).collect();
        let mut blocks: Vec<String> = labs.iter().map(Topology::block).collect();
        blocks.sort();
        blocks.dedup();
        assert_eq!(blocks.len(), 5);
    }

    #[test]
    fn every_address_is_used_once() {
        let lab = Topology::new(Kind::Loopback, DPUS_MAX, true).unwrap();
        let mut all = lab.clients();
        all.extend(lab.switches().flat_map(|s| [lab.npu(s), lab.midplane_bridge(s)]).map(IpAddr::from));
        all.extend(lab.dpus().flat_map(|dpu| [lab.midplane(dpu), lab.data_path(dpu)]).map(IpAddr::from));
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_switch_without_dpus_or_with_too_many_is_refused() {
        for kind in [Kind::Loopback, Kind::Netns] {
            assert!(matches!(Topology::new(kind, 0, true), Err(TopologyError::Dpus(0))));
            assert!(matches!(Topology::new(kind, 9, true), Err(TopologyError::Dpus(9))));
        }
    }

    #[test]
    fn in_namespaces_every_address_between_the_switches_is_used_once() {
        let lab = Topology::new(Kind::Netns, DPUS_MAX, true).unwrap();
        let links = lab.dpus().flat_map(|dpu| lab.front_panel(dpu));
        let links = links.chain(lab.switches().flat_map(|switch| lab.uplink(switch)));
        let mut all: Vec<IpAddr> = links.flat_map(|(near, far)| [near, far]).collect();
        all.extend(lab.clients());
        all.extend(lab.switches().flat_map(|switch| lab.loopbacks(switch)));
        let count = all.len();
        assert_eq!(count, 2 * (2 * DPUS_MAX as usize * 2 + 2 * 2 + 1 + 2));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        // The midplanes are the same on every switch, as on real ones.
        let first = |switch| lab.midplane(DpuId { switch, slot: Slot(0) });
        assert_eq!((first(0), first(1)), (Ipv4Addr::new(169, 254, 200, 1), Ipv4Addr::new(169, 254, 200, 1)));
    }
}
