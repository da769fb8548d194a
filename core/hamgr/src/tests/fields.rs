//! A switch with two DPUs and a peer switch: the rows that tests start from.

use schema::appl_db::{HaScopeConfig, HaScopeConfigKey, HaSetConfig};
use schema::chassis_state_db::DpuState;
use schema::config_db::{Dpu, HaGlobalConfig, LoopbackKey, RemoteDpu, Vdpu};
use schema::dpu_state_db::HaScopeState;
use schema::{
    AsicHaRole, AsicHaState, DesiredHaState, DpuName, HaOwner, HaScopeId, HaScopeKind, HaSetId, LinkState,
    OperationId, Slot, VdpuId,
};

use crate::Input;

pub fn dpu_name(text: &str) -> DpuName {
    DpuName::new(text).unwrap()
}

pub fn vdpu_id(text: &str) -> VdpuId {
    VdpuId::new(text).unwrap()
}

pub fn set_id(text: &str) -> HaSetId {
    HaSetId::new(text).unwrap()
}

pub fn scope_id(text: &str) -> HaScopeId {
    HaScopeId::new(text).unwrap()
}

pub fn op_id(text: &str) -> OperationId {
    OperationId::new(text).unwrap()
}

/// `vdpu0_0:haset0`.
pub fn scope_key(text: &str) -> HaScopeConfigKey {
    let (vdpu, scope) = text.split_once(':').unwrap();
    HaScopeConfigKey { vdpu: vdpu_id(vdpu), scope: scope_id(scope) }
}

/// The DPU in `slot` of this switch.
pub fn local_dpu(slot: u8) -> Dpu {
    Dpu {
        dpu_id: Slot(slot),
        pa_ipv4: Some([18, 0, 0, slot].into()),
        pa_ipv6: None,
        midplane_ipv4: Some([169, 254, 200, slot + 1].into()),
        orchagent_zmq_port: Some(8100),
        swbus_port: Some(23606),
        state: None,
        vdpu_id: Some(vdpu_id(&format!("vdpu0_{slot}"))),
        vip_ipv4: None,
        vip_ipv6: None,
    }
}

/// The DPU in `slot` of the switch numbered `switch`.
pub fn remote_dpu(switch: u8, slot: u8) -> RemoteDpu {
    RemoteDpu {
        dpu_id: Some(Slot(slot)),
        pa_ipv4: Some([18, 0, switch, slot].into()),
        pa_ipv6: None,
        npu_ipv4: Some([10, 1, switch, 32].into()),
        npu_ipv6: None,
        swbus_port: Some(23606),
        kind: Some("cluster".into()),
    }
}

pub fn vdpu(dpu: &str) -> Vdpu {
    Vdpu { main_dpu_ids: vec![dpu_name(dpu)] }
}

pub fn global() -> HaGlobalConfig {
    HaGlobalConfig {
        cp_data_channel_port: Some(11362),
        dp_channel_dst_port: Some(11368),
        dp_channel_src_port_min: Some(49152),
        dp_channel_src_port_max: Some(53247),
        dp_channel_probe_interval_ms: Some(500),
        dp_channel_probe_fail_threshold: Some(3),
        dpu_bfd_probe_interval_ms: Some(100),
        dpu_bfd_probe_multiplier: Some(3),
        dpu_vnet: Some("Vnet55".into()),
        dpu_vlan: Some("Vlan1000".into()),
    }
}

pub fn loopback(address: &str) -> LoopbackKey {
    let address = address.parse().unwrap();
    LoopbackKey { interface: "Loopback0".into(), address: Some((address, 32)) }
}

/// HA set number `n`, of slot `n` here and on switch 1.
pub fn ha_set(n: u8) -> HaSetConfig {
    HaSetConfig {
        version: "1".into(),
        vip_v4: Some([3, 2, 1, n].into()),
        vip_v6: None,
        vdpu_ids: vec![vdpu_id(&format!("vdpu0_{n}")), vdpu_id(&format!("vdpu1_{n}"))],
        scope: HaScopeKind::Dpu,
        pinned_vdpu_bfd_probe_states: vec![],
        preferred_vdpu_ids: vec![vdpu_id(&format!("vdpu0_{n}"))],
        preferred_standalone_vdpu_index: 0,
    }
}

pub fn ha_scope(version: &str, set: &str, desired: DesiredHaState) -> HaScopeConfig {
    HaScopeConfig {
        version: version.into(),
        disabled: false,
        owner: HaOwner::Dpu,
        ha_set_id: Some(set_id(set)),
        desired_ha_state: desired,
        approved_pending_operation_ids: vec![],
    }
}

/// `DPU_STATE` with all planes alike.
pub fn dpu_state(state: Option<LinkState>, boot_id: Option<&str>) -> DpuState {
    DpuState {
        id: None,
        midplane_link_state: state,
        midplane_link_reason: None,
        midplane_link_time: None,
        control_plane_state: state,
        control_plane_reason: None,
        control_plane_time: None,
        data_plane_state: state,
        data_plane_reason: None,
        data_plane_time: None,
        ready_status: None,
        recovery_status: None,
        reset_count: None,
        last_down_time: None,
        last_ready_time: None,
        boot_id: boot_id.map(str::to_owned),
    }
}

pub fn up(slot: u8, boot_id: &str) -> Input {
    Input::DpuState(Slot(slot), Some(dpu_state(Some(LinkState::Up), Some(boot_id))))
}

pub fn down(slot: u8, boot_id: &str) -> Input {
    Input::DpuState(Slot(slot), Some(dpu_state(Some(LinkState::Down), Some(boot_id))))
}

/// What the DPU reports of a scope, since second `since_s`.
pub fn dpu_scope(state: AsicHaState, since_s: i64, activate_role_pending: bool) -> HaScopeState {
    HaScopeState {
        last_updated_time_s: Some(since_s),
        ha_role: Some(AsicHaRole::Active),
        ha_role_start_time_s: Some(since_s),
        ha_state: Some(state),
        ha_state_start_time_s: Some(since_s),
        ha_term: Some(7),
        activate_role_pending,
        flow_reconcile_pending: false,
        brainsplit_recover_pending: false,
    }
}

/// Topology and global configuration; DPUs 0 and 1 here, 0 and 1 on switch 1.
pub fn topology() -> Vec<Input> {
    let mut inputs = vec![Input::Loopback(loopback("10.1.0.32"), true), Input::GlobalConfig(Some(global()))];
    for slot in 0..2 {
        inputs.push(Input::Dpu(dpu_name(&format!("switch0_dpu{slot}")), Some(local_dpu(slot))));
        inputs.push(Input::RemoteDpu(dpu_name(&format!("switch1_dpu{slot}")), Some(remote_dpu(1, slot))));
        for switch in 0..2 {
            let dpu = format!("switch{switch}_dpu{slot}");
            inputs.push(Input::Vdpu(vdpu_id(&format!("vdpu{switch}_{slot}")), Some(vdpu(&dpu))));
        }
    }
    inputs
}

/// HA set and HA scope number `n`.
pub fn ha(n: u8, version: &str) -> Vec<Input> {
    let set = format!("haset{n}");
    vec![
        Input::HaSetConfig(set_id(&set), Some(ha_set(n))),
        Input::HaScopeConfig(
            scope_key(&format!("vdpu0_{n}:{set}")),
            Some(ha_scope(version, &set, DesiredHaState::Active)),
        ),
    ]
}
