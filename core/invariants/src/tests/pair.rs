//! A pair of SmartSwitches at rest, as the databases hold it.

use std::collections::BTreeSet;

use schema::appl_db::{HaScopeConfig, HaScopeConfigKey, HaSetConfig, VnetRouteKey, VnetRouteTunnel};
use schema::chassis_state_db::DpuState;
use schema::config_db::{Dpu, Global, HaGlobalConfig, LoopbackInterface, LoopbackKey, RemoteDpu, Vdpu};
use schema::dpu_appl_db::{BfdKey, BfdSession, HaScope, HaSet};
use schema::dpu_appl_state_db::{HaScopeResult, HaSetResult, RESULT_OK};
use schema::state_db::{BfdSoftwareSession, DpuResetInfo, HaScopeFence, HaScopeState};
use schema::{AsicHaRole, AsicHaState, DpuName, Fields, HaScopeId, HaSetId, Row, Slot, VdpuId, dpu_state_db};

use crate::{DpuSnapshot, Expected, Rows, Snapshot, SwitchSnapshot};

pub(super) const BOOT_MS: i64 = 1_700_000_000_000;
pub(super) const INCARNATION: u64 = 1_700_000_000_500;
const BOOT_ID: &str = "0b6ef9ab-0d4f-4d2c-8f0c-2c0a4f6f8e11";

pub(super) fn set_id() -> HaSetId {
    HaSetId::new("haset0").unwrap()
}

pub(super) fn scope_id() -> HaScopeId {
    HaScopeId::new("haset0").unwrap()
}

pub(super) fn vdpu(switch: usize) -> VdpuId {
    VdpuId::new(format!("vdpu{switch}_0")).unwrap()
}

pub(super) fn scope_key(switch: usize) -> HaScopeConfigKey {
    HaScopeConfigKey { vdpu: vdpu(switch), scope: scope_id() }
}

/// A row read from plain fields; what is absent stays absent.
fn row<R: Row>(fields: &[(&str, &str)]) -> R {
    R::from_fields("test", &fields.iter().copied().collect::<Fields>()).unwrap()
}

pub(super) fn expected() -> Expected {
    let switches = ["switch0".to_owned(), "switch1".to_owned()];
    let sets: BTreeSet<_> = switches.iter().map(|name| (name.clone(), set_id())).collect();
    let scopes = switches.iter().enumerate().map(|(i, name)| (name.clone(), scope_key(i))).collect();
    Expected { sets, scopes }
}

pub(super) fn healthy() -> Snapshot {
    Snapshot { switches: vec![switch(0), switch(1)] }
}

fn switch(own: usize) -> SwitchSnapshot {
    let other = 1 - own;
    let mut rows = Rows::new();
    let loopback = |text: &str| LoopbackInterface::parse_key(text).unwrap();
    rows.put::<LoopbackInterface>(&loopback("Loopback0"), &row(&[]));
    let key: LoopbackKey = loopback(&format!("Loopback0|10.1.{own}.32/32"));
    rows.put::<LoopbackInterface>(&key, &row(&[]));
    let name = |i: usize| DpuName::new(format!("switch{i}_dpu0")).unwrap();
    let pa = |i: usize| format!("18.0.20{i}.1");
    rows.put::<Dpu>(&name(own), &row(&[("dpu_id", "0"), ("pa_ipv4", &pa(own))]));
    rows.put::<RemoteDpu>(
        &name(other),
        &row(&[("dpu_id", "0"), ("pa_ipv4", &pa(other)), ("npu_ipv4", &format!("10.1.{other}.32"))]),
    );
    for i in [0, 1] {
        rows.put::<Vdpu>(&vdpu(i), &row(&[("main_dpu_ids", name(i).as_str())]));
    }
    rows.put::<HaGlobalConfig>(&Global, &row(&[("dpu_vnet", "Vnet_55")]));
    let set = HaSetConfig {
        version: "1".into(),
        vip_v4: Some("3.2.1.0".parse().unwrap()),
        vip_v6: None,
        vdpu_ids: vec![vdpu(0), vdpu(1)],
        scope: schema::HaScopeKind::Dpu,
        pinned_vdpu_bfd_probe_states: vec![],
        preferred_vdpu_ids: vec![vdpu(0)],
        preferred_standalone_vdpu_index: 0,
    };
    rows.put::<HaSetConfig>(&set_id(), &set);
    let scope = HaScopeConfig {
        version: "1".into(),
        disabled: false,
        owner: schema::HaOwner::Dpu,
        ha_set_id: Some(set_id()),
        desired_ha_state: match own {
            0 => schema::DesiredHaState::Active,
            _ => schema::DesiredHaState::Unspecified,
        },
        approved_pending_operation_ids: vec![],
    };
    rows.put::<HaScopeConfig>(&scope_key(own), &scope);
    let route = VnetRouteKey { vnet: "Vnet_55".into(), prefix: "3.2.1.0".into() };
    rows.put::<VnetRouteTunnel>(
        &route,
        &row(&[("endpoint", "10.1.1.32"), ("endpoint_monitor", "18.0.200.1")]),
    );
    rows.put::<DpuState>(
        &Slot(0),
        &row(&[
            ("dpu_midplane_link_state", "up"),
            ("dpu_control_plane_state", "up"),
            ("dpu_data_plane_state", "up"),
            ("boot_id", BOOT_ID),
        ]),
    );
    rows.put::<DpuResetInfo>(
        &Slot(0),
        &row(&[
            ("reset_status", "false"),
            ("dpu_ready", "true"),
            ("incarnation", &INCARNATION.to_string()),
            ("boot_id", BOOT_ID),
        ]),
    );
    rows.put::<HaScopeFence>(
        &scope_key(own),
        &HaScopeFence { incarnation: INCARNATION, config_digest: "d1".into() },
    );
    let (role, state) = match own {
        0 => (AsicHaRole::Active, AsicHaState::Active),
        _ => (AsicHaRole::Standby, AsicHaState::Standby),
    };
    let word = state.as_str();
    rows.put::<HaScopeState>(
        &scope_key(own),
        &row(&[
            ("version", "1"),
            ("local_ha_state", word),
            ("local_acked_asic_ha_state", word),
            ("incarnation", &INCARNATION.to_string()),
        ]),
    );
    SwitchSnapshot {
        name: format!("switch{own}"),
        rows,
        dpus: vec![dpu(own, role, state, &pa(own), &pa(other))],
    }
}

fn dpu(own: usize, role: AsicHaRole, state: AsicHaState, pa: &str, peer: &str) -> DpuSnapshot {
    let mut rows = Rows::new();
    let mut local = Rows::new();
    rows.put::<HaSet>(
        &set_id(),
        &row(&[("version", "1"), ("vip_v4", "3.2.1.0"), ("local_ip", pa), ("peer_ip", peer)]),
    );
    rows.put::<HaScope>(
        &scope_id(),
        &row(&[("version", "1"), ("ha_role", role.as_str()), ("ha_set_id", "haset0")]),
    );
    for npu in [0, 1] {
        let key = BfdKey::to_npu(format!("10.1.{npu}.32").parse().unwrap());
        let session: BfdSession = row(&[("local_addr", pa), ("type", "passive"), ("multihop", "true")]);
        rows.put::<BfdSession>(&key, &session);
        local.put::<BfdSoftwareSession>(&key, &session.into());
    }
    rows.put::<HaSetResult>(&set_id(), &HaSetResult { result: RESULT_OK, version: None });
    rows.put::<HaScopeResult>(&scope_id(), &HaScopeResult { result: RESULT_OK, version: None });
    let since = (BOOT_MS / 1000 + 3 + i64::try_from(own).unwrap()).to_string();
    rows.put::<dpu_state_db::HaScopeState>(
        &scope_id(),
        &row(&[
            ("last_updated_time", &since),
            ("ha_role", role.as_str()),
            ("ha_role_start_time", &since),
            ("ha_state", state.as_str()),
            ("ha_state_start_time", &since),
            ("ha_term", "1"),
        ]),
    );
    DpuSnapshot { slot: Slot(0), rows, unconsumed: BTreeSet::new(), local: Some(local) }
}
