//! Two switches with a number of DPUs each, the addresses of everything, and their configuration.

use std::fmt;
use std::net::Ipv4Addr;

use controller::{
    Admin, ApprovalPolicy, DpuId, Fleet, FleetProblem, HaSetIntent, SwitchName, Timing, VdpuIntent,
};
use invariants::Expected;
use schema::appl_db::HaScopeConfigKey;
use schema::config_db::{Dpu, Global, HaGlobalConfig, LoopbackInterface, LoopbackKey, RemoteDpu, Vdpu};
use schema::{Db, DpuName, Fields, HaScopeId, HaSetId, Row, Slot, Table, VdpuId};

/// The switches of the pair.
pub const SWITCHES: u8 = 2;

/// The only port of a DPU.
pub const DPU_PORT: &str = "Ethernet0";

/// A DPU of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DpuRef {
    /// Its switch.
    pub switch: u8,
    /// Its slot.
    pub slot: u8,
}

impl DpuRef {
    /// The DPU of the other switch that is paired with it.
    pub fn peer(self) -> Self {
        Self { switch: 1 - self.switch, slot: self.slot }
    }

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

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proc {
    /// The SDN controller.
    Controller,
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
            Self::Controller | Self::Hamgrd(_) | Self::PmonNpu(_) | Self::Orchagent(_) => None,
        }
    }
}

impl fmt::Display for Proc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller => f.write_str("controller"),
            Self::Hamgrd(switch) => write!(f, "hamgrd@switch{switch}"),
            Self::PmonNpu(switch) => write!(f, "pmond@switch{switch}"),
            Self::Haorchd(dpu) => write!(f, "haorchd@{dpu}"),
            Self::PmonDpu(dpu) => write!(f, "pmond@{dpu}"),
            Self::Orchagent(switch) => write!(f, "orchagent@switch{switch}"),
        }
    }
}

/// The pair's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    /// DPUs per switch.
    pub dpus: u8,
}

/// The name of a switch.
pub fn switch_text(switch: u8) -> String {
    format!("switch{switch}")
}

impl Topology {
    /// Every DPU, by switch and slot.
    pub fn dpus(self) -> impl Iterator<Item = DpuRef> {
        (0..SWITCHES).flat_map(move |switch| self.dpus_of(switch))
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

    /// A DPU's midplane address.
    pub fn midplane(dpu: DpuRef) -> Ipv4Addr {
        Ipv4Addr::new(169, 254, 200 + dpu.switch, dpu.slot + 1)
    }

    /// The DPU with that data-path address.
    pub fn by_data_path(self, address: Ipv4Addr) -> Option<DpuRef> {
        self.dpus().find(|dpu| Self::data_path(*dpu) == address)
    }

    /// The DPU with that midplane address.
    pub fn by_midplane(self, address: Ipv4Addr) -> Option<DpuRef> {
        self.dpus().find(|dpu| Self::midplane(*dpu) == address)
    }

    /// The vDPU of a DPU.
    pub fn vdpu(dpu: DpuRef) -> Option<VdpuId> {
        VdpuId::new(format!("vdpu{}_{}", dpu.switch, dpu.slot))
    }

    /// The HA set of a slot.
    pub fn ha_set(slot: u8) -> Option<HaSetId> {
        HaSetId::new(format!("haset{slot}"))
    }

    /// The key of a DPU's HA scope configuration.
    pub fn scope_key(dpu: DpuRef) -> Option<HaScopeConfigKey> {
        let scope = HaScopeId::new(format!("haset{}", dpu.slot))?;
        Some(HaScopeConfigKey { vdpu: Self::vdpu(dpu)?, scope })
    }

    /// What the fleet configures.
    pub fn expected(self) -> Expected {
        let mut expected = Expected::default();
        for dpu in self.dpus() {
            if let (Some(set), Some(key)) = (Self::ha_set(dpu.slot), Self::scope_key(dpu)) {
                expected.sets.insert((switch_text(dpu.switch), set));
                expected.scopes.insert((switch_text(dpu.switch), key));
            }
        }
        expected
    }

    /// The controller's intent, with these DPUs administratively down.
    ///
    /// # Errors
    /// Never, unless the topology itself is wrong.
    pub fn fleet(self, is_off: impl Fn(DpuRef) -> bool) -> Result<Fleet, Vec<FleetProblem>> {
        let switches = (0..SWITCHES).filter_map(|switch| SwitchName::new(switch_text(switch))).collect();
        let vdpus = self.dpus().filter_map(|dpu| {
            let admin = if is_off(dpu) { Admin::Down } else { Admin::Up };
            let at = DpuId { switch: SwitchName::new(switch_text(dpu.switch))?, slot: dpu.slot() };
            Some(VdpuIntent { id: Self::vdpu(dpu)?, dpu: at, admin })
        });
        let sets = self.dpus_of(0).filter_map(|dpu| {
            let (first, second) = (Self::vdpu(dpu)?, Self::vdpu(dpu.peer())?);
            Some(HaSetIntent {
                id: Self::ha_set(dpu.slot)?,
                vip_v4: Some(Ipv4Addr::new(10, 3, 0, dpu.slot + 1)),
                vip_v6: None,
                vdpus: vec![first.clone(), second],
                active: first,
            })
        });
        let (vdpus, sets) = (vdpus.collect(), sets.collect());
        Fleet::new(switches, vdpus, sets, Timing::default(), ApprovalPolicy::default())
    }

    /// The rows of a switch's `CONFIG_DB`.
    pub fn npu_config(self, switch: u8) -> Vec<(Table, String, Fields)> {
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
        rows.push(of(&Global, &global()));
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
        orchagent_zmq_port: Some(8100),
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

fn global() -> HaGlobalConfig {
    HaGlobalConfig {
        cp_data_channel_port: Some(11_362),
        dp_channel_dst_port: Some(11_368),
        dp_channel_src_port_min: Some(49152),
        dp_channel_src_port_max: Some(53247),
        dp_channel_probe_interval_ms: Some(100),
        dp_channel_probe_fail_threshold: Some(3),
        dpu_bfd_probe_interval_ms: Some(100),
        dpu_bfd_probe_multiplier: Some(3),
        dpu_vnet: Some("Vnet_55".to_owned()),
        dpu_vlan: Some("Vlan55".to_owned()),
    }
}
