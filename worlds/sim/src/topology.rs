//! Switches with a number of DPUs each, and the names and addresses of everything.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use invariants::Expected;
use schema::appl_db::HaScopeConfigKey;
use schema::{Db, HaScopeId, HaSetId, Slot, VdpuId};

/// The only port of a DPU.
pub const DPU_PORT: &str = "Ethernet0";

/// The network of every IPv6 address.
const V6_NETWORK: u128 = 0xfd00_0055 << 96;

/// A DPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DpuRef {
    /// Its switch.
    pub switch: u8,
    /// Its slot.
    pub slot: u8,
}

impl DpuRef {
    /// Its slot, typed.
    pub fn slot(self) -> Slot {
        Slot(self.slot)
    }
}

impl fmt::Display for DpuRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "switch{}_dpu{}", self.switch, self.slot)
    }
}

/// A Redis server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// The NPU's own.
    Host(u8),
    /// The chassis'.
    Chassis(u8),
    /// A DPU's, on the NPU.
    OfDpu(DpuRef),
    /// On the DPU itself; dies with it.
    Local(DpuRef),
}

impl Server {
    /// The switch that holds it, or the DPU with it.
    pub const fn switch(self) -> u8 {
        match self {
            Self::Host(switch) | Self::Chassis(switch) => switch,
            Self::OfDpu(dpu) | Self::Local(dpu) => dpu.switch,
        }
    }

    /// The databases that it holds.
    pub const fn databases(self) -> &'static [Db] {
        match self {
            Self::Host(_) | Self::Local(_) => &[Db::ConfigDb, Db::ApplDb, Db::StateDb],
            Self::Chassis(_) => &[Db::ChassisStateDb],
            Self::OfDpu(_) => &Db::OF_A_DPU,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(switch) => write!(f, "switch{switch}"),
            Self::Chassis(switch) => write!(f, "switch{switch} chassis"),
            Self::OfDpu(dpu) => write!(f, "{dpu} on the NPU"),
            Self::Local(dpu) => write!(f, "{dpu} itself"),
        }
    }
}

/// A machine with a clock of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    /// Where the controllers run.
    Controller,
    /// A switch.
    Switch(u8),
    /// A DPU.
    Dpu(DpuRef),
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proc {
    /// The SDN controller.
    Controller,
    /// A second one, which ought not to be there.
    Rival,
    /// The HA manager of a switch.
    Hamgrd(u8),
    /// The state monitor of a switch.
    PmonNpu(u8),
    /// The HA agent of a DPU, with its ASIC.
    Haorchd(DpuRef),
    /// The state monitor of a DPU.
    PmonDpu(DpuRef),
    /// The switch's orchagent; never fails, takes what hamgrd produces.
    Orchagent(u8),
}

impl Proc {
    /// The DPU that it runs on.
    pub const fn on_dpu(self) -> Option<DpuRef> {
        match self {
            Self::Haorchd(dpu) | Self::PmonDpu(dpu) => Some(dpu),
            Self::Controller | Self::Rival | Self::Hamgrd(_) | Self::PmonNpu(_) | Self::Orchagent(_) => None,
        }
    }

    /// The machine that it runs on.
    pub const fn machine(self) -> Machine {
        match self {
            Self::Haorchd(dpu) | Self::PmonDpu(dpu) => Machine::Dpu(dpu),
            Self::Controller | Self::Rival => Machine::Controller,
            Self::Hamgrd(switch) | Self::PmonNpu(switch) | Self::Orchagent(switch) => Machine::Switch(switch),
        }
    }
}

impl fmt::Display for Proc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller => f.write_str("controller"),
            Self::Rival => f.write_str("rival controller"),
            Self::Hamgrd(switch) => write!(f, "hamgrd@switch{switch}"),
            Self::PmonNpu(switch) => write!(f, "pmond@switch{switch}"),
            Self::Haorchd(dpu) => write!(f, "haorchd@{dpu}"),
            Self::PmonDpu(dpu) => write!(f, "pmond@{dpu}"),
            Self::Orchagent(switch) => write!(f, "orchagent@switch{switch}"),
        }
    }
}

/// How many there are, and who is paired with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Switches: 2, 4 or 8.
    pub switches: u8,
    /// DPUs per switch: 1 to 8.
    pub dpus: u8,
}

/// The name of a switch.
pub fn switch_text(switch: u8) -> String {
    format!("switch{switch}")
}

impl Topology {
    /// Two switches with a DPU each.
    pub const PAIR: Self = Self { switches: 2, dpus: 1 };
    /// Two full switches: every DPU is paired with that of the same slot.
    pub const RACK: Self = Self { switches: 2, dpus: 8 };
    /// Eight full switches: the DPUs of a switch have their peers on seven others.
    pub const CLUSTER: Self = Self { switches: 8, dpus: 8 };

    /// Its name; of one with another number of DPUs, that of the one it is like.
    pub const fn name(self) -> &'static str {
        match (self.switches, self.dpus) {
            (0..=2, 0..=1) => "pair",
            (0..=2, _) => "rack",
            _ => "cluster",
        }
    }

    /// The topology of that name: `pair`, `rack` or `cluster`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "pair" => Some(Self::PAIR),
            "rack" => Some(Self::RACK),
            "cluster" => Some(Self::CLUSTER),
            _ => None,
        }
    }

    /// Every switch.
    pub fn switches(self) -> std::ops::Range<u8> {
        0..self.switches
    }

    /// Every DPU, by switch and slot.
    pub fn dpus(self) -> impl Iterator<Item = DpuRef> {
        self.switches().flat_map(move |switch| self.dpus_of(switch))
    }

    /// The DPU of another switch, in the same slot, that is paired with it.
    pub fn peer(self, dpu: DpuRef) -> DpuRef {
        // With a power of two of switches, this pairs each slot across all switches, differently slot by slot.
        let distance = 1 + dpu.slot % (self.switches - 1);
        DpuRef { switch: dpu.switch ^ distance, slot: dpu.slot }
    }

    /// Which of it and its peer stands for the pair.
    pub fn first(self, dpu: DpuRef) -> DpuRef {
        dpu.min(self.peer(dpu))
    }

    /// Every pair, as its first DPU.
    pub fn pairs(self) -> impl Iterator<Item = DpuRef> {
        self.dpus().filter(move |dpu| self.first(*dpu) == *dpu)
    }

    /// The DPUs of a switch.
    pub fn dpus_of(self, switch: u8) -> impl Iterator<Item = DpuRef> {
        (0..self.dpus).map(move |slot| DpuRef { switch, slot })
    }

    /// `Loopback0` of an NPU.
    pub fn npu(switch: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 1, switch, 32)
    }

    /// A DPU's data-path address.
    pub fn data_path(dpu: DpuRef) -> Ipv4Addr {
        Ipv4Addr::new(18, 0, 200 + dpu.switch, dpu.slot + 1)
    }

    /// The VIP of a pair, by its first DPU.
    pub fn vip(pair: DpuRef) -> Ipv4Addr {
        Ipv4Addr::new(10, 3, pair.switch, pair.slot + 1)
    }

    /// A DPU's midplane address.
    pub fn midplane(dpu: DpuRef) -> Ipv4Addr {
        Ipv4Addr::new(169, 254, 200 + dpu.switch, dpu.slot + 1)
    }

    /// The IPv6 address of what has that IPv4 address, where everything has both.
    pub fn v6(address: Ipv4Addr) -> Ipv6Addr {
        Ipv6Addr::from_bits(V6_NETWORK | u128::from(address.to_bits()))
    }

    fn v4(address: IpAddr) -> Option<Ipv4Addr> {
        match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(address) => {
                let host = u32::try_from(address.to_bits().checked_sub(V6_NETWORK)?).ok()?;
                Some(Ipv4Addr::from_bits(host))
            }
        }
    }

    /// The DPU with that data-path address.
    pub fn by_data_path(self, address: IpAddr) -> Option<DpuRef> {
        self.by_octets([18, 0], Self::v4(address)?)
    }

    /// The switch whose NPU has that address.
    pub fn by_npu(self, address: IpAddr) -> Option<u8> {
        let address = Self::v4(address)?;
        self.switches().find(|switch| Self::npu(*switch) == address)
    }

    /// The DPU with that midplane address.
    pub fn by_midplane(self, address: Ipv4Addr) -> Option<DpuRef> {
        self.by_octets([169, 254], address)
    }

    fn by_octets(self, network: [u8; 2], address: Ipv4Addr) -> Option<DpuRef> {
        let [first, second, switch, slot] = address.octets();
        let dpu = DpuRef { switch: switch.checked_sub(200)?, slot: slot.checked_sub(1)? };
        ([first, second] == network && dpu.switch < self.switches && dpu.slot < self.dpus).then_some(dpu)
    }

    /// The vDPU of a DPU.
    pub fn vdpu(dpu: DpuRef) -> Option<VdpuId> {
        VdpuId::new(format!("vdpu{}_{}", dpu.switch, dpu.slot))
    }

    /// The id of a DPU's HA set and HA scope, as text.
    pub fn ha_set_text(self, dpu: DpuRef) -> String {
        let first = self.first(dpu);
        format!("haset{}_{}", first.switch, first.slot)
    }

    /// A DPU's HA set.
    pub fn ha_set(self, dpu: DpuRef) -> Option<HaSetId> {
        HaSetId::new(self.ha_set_text(dpu))
    }

    /// A DPU's HA scope.
    pub fn ha_scope(self, dpu: DpuRef) -> Option<HaScopeId> {
        HaScopeId::new(self.ha_set_text(dpu))
    }

    /// The key of a DPU's HA scope configuration.
    pub fn scope_key(self, dpu: DpuRef) -> Option<HaScopeConfigKey> {
        Some(HaScopeConfigKey { vdpu: Self::vdpu(dpu)?, scope: self.ha_scope(dpu)? })
    }

    /// What the fleet configures.
    pub fn expected(self) -> Expected {
        let mut expected = Expected::default();
        for dpu in self.dpus() {
            if let (Some(set), Some(key)) = (self.ha_set(dpu), self.scope_key(dpu)) {
                expected.sets.insert((switch_text(dpu.switch), set));
                expected.scopes.insert((switch_text(dpu.switch), key));
            }
        }
        expected
    }
}
