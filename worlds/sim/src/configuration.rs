//! What is configured: the fleet file of the controller, and the switches' `CONFIG_DB`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use controller::{
    Admin, ApprovalPolicy, DpuId, Fleet, FleetProblem, HaSetIntent, SwitchName, Timing, VdpuIntent,
};
use schema::config_db::{Dpu, Global, HaGlobalConfig, LoopbackInterface, LoopbackKey, RemoteDpu, Vdpu};
use schema::{DpuName, Fields, Row, Table, VdpuId};

use crate::topology::{DpuRef, Topology, switch_text};
use crate::variant::Variant;

/// The usual BFD multiplier.
pub(crate) const MULTIPLIER: u32 = 3;

/// Where haorchd listens for hamgrd.
pub const ZMQ_PORT: u16 = 8100;

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

impl Topology {
    /// The fleet file, with nothing wrong in it.
    pub fn fleet_file(self, intent: &Intent, variant: &Variant) -> FleetFile {
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
                vip_v6: variant.v6(Self::vip(dpu)),
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
    pub fn npu_config(
        self,
        switch: u8,
        multiplier: Option<u32>,
        variant: &Variant,
    ) -> Vec<(Table, String, Fields)> {
        let npu = Self::npu(switch);
        let addresses = [Some((IpAddr::V4(npu), 32)), variant.v6(npu).map(|npu| (IpAddr::V6(npu), 128))];
        let loopbacks = std::iter::once(None).chain(addresses.into_iter().flatten().map(Some));
        let mut rows: Vec<_> = loopbacks
            .map(|address| {
                of(&LoopbackKey { interface: "Loopback0".to_owned(), address }, &LoopbackInterface {})
            })
            .collect();
        for dpu in self.dpus() {
            let (Some(name), Some(vdpu)) = (DpuName::new(dpu.to_string()), Self::vdpu(dpu)) else { continue };
            if dpu.switch == switch {
                rows.push(of(&name, &local_dpu(dpu, &vdpu, variant)));
            } else {
                rows.push(of(&name, &remote_dpu(dpu, variant)));
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

fn local_dpu(dpu: DpuRef, vdpu: &VdpuId, variant: &Variant) -> Dpu {
    Dpu {
        dpu_id: dpu.slot(),
        pa_ipv4: Some(Topology::data_path(dpu)),
        pa_ipv6: variant.v6(Topology::data_path(dpu)),
        midplane_ipv4: Some(Topology::midplane(dpu)),
        orchagent_zmq_port: Some(ZMQ_PORT),
        swbus_port: None,
        state: Some("up".to_owned()),
        vdpu_id: Some(vdpu.clone()),
        vip_ipv4: None,
        vip_ipv6: None,
    }
}

fn remote_dpu(dpu: DpuRef, variant: &Variant) -> RemoteDpu {
    RemoteDpu {
        dpu_id: Some(dpu.slot()),
        pa_ipv4: Some(Topology::data_path(dpu)),
        pa_ipv6: variant.v6(Topology::data_path(dpu)),
        npu_ipv4: Some(Topology::npu(dpu.switch)),
        npu_ipv6: variant.v6(Topology::npu(dpu.switch)),
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
