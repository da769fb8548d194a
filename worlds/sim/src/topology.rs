//! Switches with a number of DPUs each, the addresses of everything, and their configuration.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

use controller::{
    Admin, ApprovalPolicy, DpuId, Fleet, FleetProblem, HaSetIntent, SwitchName, Timing, VdpuIntent,
};
use invariants::Expected;
use schema::appl_db::HaScopeConfigKey;
use schema::config_db::{Dpu, Global, HaGlobalConfig, LoopbackInterface, LoopbackKey, RemoteDpu, Vdpu};
use schema::{Db, DpuName, Fields, HaScopeId, HaSetId, Row, Slot, Table, VdpuId};

/// The usual BFD multiplier.
pub(crate) const MULTIPLIER: u32 = 3;

/// Where haorchd listens for hamgrd.
pub const ZMQ_PORT: u16 = 8100;

/// The only port of a DPU.
pub const DPU_PORT: &str = "Ethernet0";

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

/// What the fleet file says beyond the topology.
#[derive(Clone, Debug, Default)]
pub struct Intent {
    /// DPUs that are administratively down.
    pub off: BTreeSet<DpuRef>,
    /// Pairs, by their first DPU, whose second is the active one.
    pub swapped: BTreeSet<DpuRef>,
    /// Pairs without a HA set.
    pub retired: BTreeSet<DpuRef>,
    /// DPUs that it does not name.
    pub unnamed: BTreeSet<DpuRef>,
    /// Switches that it does not name, nor their DPUs.
    pub without: BTreeSet<u8>,
}

impl Intent {
    fn names(&self, dpu: DpuRef) -> bool {
        !self.unnamed.contains(&dpu) && !self.without.contains(&dpu.switch)
    }
}

/// What stands in a fleet file, right or wrong.
#[derive(Clone, Debug)]
pub struct FleetFile {
    /// The switches.
    pub switches: Vec<SwitchName>,
    /// The vDPUs.
    pub vdpus: Vec<VdpuIntent>,
    /// The HA sets.
    pub sets: Vec<HaSetIntent>,
    /// The waits.
    pub timing: Timing,
}

impl FleetFile {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(self) -> Result<Fleet, Vec<FleetProblem>> {
        Fleet::new(self.switches, self.vdpus, self.sets, self.timing, ApprovalPolicy::default())
    }
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

    /// The DPU with that data-path address.
    pub fn by_data_path(self, address: Ipv4Addr) -> Option<DpuRef> {
        self.by_octets([18, 0], address)
    }

    /// The switch whose NPU has that address.
    pub fn by_npu(self, address: Ipv4Addr) -> Option<u8> {
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

    /// The fleet file, with nothing wrong in it.
    pub fn fleet_file(self, intent: &Intent) -> FleetFile {
        let switches = self.switches().filter(|switch| !intent.without.contains(switch));
        let switches = switches.filter_map(|switch| SwitchName::new(switch_text(switch))).collect();
        let vdpus = self.dpus().filter(|dpu| intent.names(*dpu)).filter_map(|dpu| {
            let admin = if intent.off.contains(&dpu) { Admin::Down } else { Admin::Up };
            let at = DpuId { switch: SwitchName::new(switch_text(dpu.switch))?, slot: dpu.slot() };
            Some(VdpuIntent { id: Self::vdpu(dpu)?, dpu: at, admin })
        });
        let is_set = |dpu: &DpuRef| {
            !intent.retired.contains(dpu) && intent.names(*dpu) && intent.names(self.peer(*dpu))
        };
        let sets = self.pairs().filter(is_set).filter_map(|dpu| {
            let (first, second) = (Self::vdpu(dpu)?, Self::vdpu(self.peer(dpu))?);
            Some(HaSetIntent {
                id: self.ha_set(dpu)?,
                vip_v4: Some(Self::vip(dpu)),
                vip_v6: None,
                vdpus: vec![first.clone(), second.clone()],
                active: if intent.swapped.contains(&dpu) { second } else { first },
            })
        });
        FleetFile { switches, vdpus: vdpus.collect(), sets: sets.collect(), timing: Timing::default() }
    }

    /// How often BFD packets go out, ms: less often than on a switch, and the less the more sessions there are.
    const fn bfd_interval_ms(self) -> u32 {
        if self.dpus == 1 { 300 } else { 1000 }
    }

    /// The rows of a switch's `CONFIG_DB`, with that BFD multiplier instead of the usual one.
    pub fn npu_config(self, switch: u8, multiplier: Option<u32>) -> Vec<(Table, String, Fields)> {
        let interface = "Loopback0".to_owned();
        let address = Some((Self::npu(switch).into(), 32));
        let mut rows = vec![
            of(&LoopbackKey { interface: interface.clone(), address: None }, &LoopbackInterface {}),
            of(&LoopbackKey { interface, address }, &LoopbackInterface {}),
        ];
        for dpu in self.dpus() {
            let (Some(name), Some(vdpu)) = (DpuName::new(dpu.to_string()), Self::vdpu(dpu)) else { continue };
            if dpu.switch == switch {
                rows.push(of(&name, &local_dpu(dpu, &vdpu)));
            } else {
                rows.push(of(&name, &remote_dpu(dpu)));
            }
            rows.push(of(&vdpu, &Vdpu { main_dpu_ids: vec![name] }));
        }
        let mut global = global(self.bfd_interval_ms());
        global.dpu_bfd_probe_multiplier = multiplier.or(global.dpu_bfd_probe_multiplier);
        rows.push(of(&Global, &global));
        rows
    }
}

fn of<R: Row>(key: &R::Key, row: &R) -> (Table, String, Fields) {
    (R::TABLE, R::key_text(key), row.to_fields())
}

fn local_dpu(dpu: DpuRef, vdpu: &VdpuId) -> Dpu {
    Dpu {
        dpu_id: dpu.slot(),
        pa_ipv4: Some(Topology::data_path(dpu)),
        pa_ipv6: None,
        midplane_ipv4: Some(Topology::midplane(dpu)),
        orchagent_zmq_port: Some(ZMQ_PORT),
        swbus_port: None,
        state: Some("up".to_owned()),
        vdpu_id: Some(vdpu.clone()),
        vip_ipv4: None,
        vip_ipv6: None,
    }
}

fn remote_dpu(dpu: DpuRef) -> RemoteDpu {
    RemoteDpu {
        dpu_id: Some(dpu.slot()),
        pa_ipv4: Some(Topology::data_path(dpu)),
        pa_ipv6: None,
        npu_ipv4: Some(Topology::npu(dpu.switch)),
        npu_ipv6: None,
        swbus_port: None,
        kind: Some("cluster".to_owned()),
    }
}

fn global(bfd_interval_ms: u32) -> HaGlobalConfig {
    HaGlobalConfig {
        cp_data_channel_port: Some(11_362),
        dp_channel_dst_port: Some(11_368),
        dp_channel_src_port_min: Some(49152),
        dp_channel_src_port_max: Some(53247),
        dp_channel_probe_interval_ms: Some(100),
        dp_channel_probe_fail_threshold: Some(3),
        dpu_bfd_probe_interval_ms: Some(bfd_interval_ms),
        dpu_bfd_probe_multiplier: Some(MULTIPLIER),
        dpu_vnet: Some("Vnet_55".to_owned()),
        dpu_vlan: Some("Vlan55".to_owned()),
    }
}
