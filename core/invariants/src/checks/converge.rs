//! P1: the fixed point of the present configuration is reached.

use std::collections::BTreeSet;

use schema::appl_db::{HaScopeConfig, HaScopeConfigKey, HaSetConfig, VnetRouteKey, VnetRouteTunnel};
use schema::chassis_state_db::{DpuHealth, DpuState};
use schema::config_db::{Dpu, HaGlobalConfig, LoopbackInterface, RemoteDpu, Vdpu};
use schema::dpu_appl_db::{BfdSession, HaScope, HaSet};
use schema::dpu_appl_state_db::{HaScopeResult, HaSetResult, RESULT_OK};
use schema::state_db::{DpuResetInfo, HaScopeFence};
use schema::{
    AsicHaRole, AsicHaState, DesiredHaState, HaScopeId, HaSetId, Row, Table, WallMs, dpu_state_db, state_db,
};
use serde::{Deserialize, Serialize};

use super::Findings;
use crate::finding::{Finding, Invariant, Part};
use crate::model::{DpuModel, Model, ScopeModel, SwitchModel};
use crate::snapshot::Rows;

/// What the caller knows to be configured, by switch. Rows beyond it are findings too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// The HA sets, each on every switch that carries a member.
    pub sets: BTreeSet<(String, HaSetId)>,
    /// The HA scopes, each on the switch that carries its vDPU.
    pub scopes: BTreeSet<(String, HaScopeConfigKey)>,
}

/// Checks P1. With `expected`, the configuration rows themselves are checked; without, they are taken as what
/// is wanted.
pub fn converge(model: &Model<'_>, expected: Option<&Expected>) -> Vec<Finding> {
    let mut findings = Findings::of(Invariant::P1);
    for switch in &model.switches {
        every_row_is_understood(switch, &mut findings);
        if let Some(expected) = expected {
            configuration_is(switch, expected, &mut findings);
        }
        states_have_a_configuration(switch, &mut findings);
        vip_routes(switch, &mut findings);
        for dpu in &switch.dpus {
            dpu_is_settled(switch, dpu, &mut findings);
        }
    }
    findings.list
}

fn every_row_is_understood(switch: &SwitchModel<'_>, findings: &mut Findings) {
    fn check<R: Row>(place: &str, rows: &Rows, findings: &mut Findings) {
        for error in rows.errors::<R>() {
            findings.raw(place, error.table, &error.key, error.to_string());
        }
    }
    let (place, rows) = (&switch.snapshot.name, &switch.snapshot.rows);
    check::<Dpu>(place, rows, findings);
    check::<RemoteDpu>(place, rows, findings);
    check::<Vdpu>(place, rows, findings);
    check::<HaGlobalConfig>(place, rows, findings);
    check::<LoopbackInterface>(place, rows, findings);
    check::<HaSetConfig>(place, rows, findings);
    check::<HaScopeConfig>(place, rows, findings);
    check::<VnetRouteTunnel>(place, rows, findings);
    check::<state_db::HaScopeState>(place, rows, findings);
    check::<DpuResetInfo>(place, rows, findings);
    check::<HaScopeFence>(place, rows, findings);
    check::<DpuState>(place, rows, findings);
    for dpu in &switch.snapshot.dpus {
        let (place, rows) = (switch.snapshot.dpu_place(dpu.slot), &dpu.rows);
        check::<HaSet>(&place, rows, findings);
        check::<HaScope>(&place, rows, findings);
        check::<BfdSession>(&place, rows, findings);
        check::<HaSetResult>(&place, rows, findings);
        check::<HaScopeResult>(&place, rows, findings);
        check::<dpu_state_db::HaSetState>(&place, rows, findings);
        check::<dpu_state_db::HaScopeState>(&place, rows, findings);
    }
}

fn configuration_is(switch: &SwitchModel<'_>, expected: &Expected, findings: &mut Findings) {
    let place = &switch.snapshot.name;
    let sets: BTreeSet<&HaSetId> =
        expected.sets.iter().filter(|(name, _)| name == place).map(|(_, set)| set).collect();
    let scopes: BTreeSet<&HaScopeConfigKey> =
        expected.scopes.iter().filter(|(name, _)| name == place).map(|(_, scope)| scope).collect();
    // A DPU that is down has its configuration removed until it is back (DESIGN 3, steps 4 and 12).
    let down = |vdpu| switch.dpu_of(vdpu).is_some_and(|dpu| dpu.health == DpuHealth::Down);
    let removed =
        |set: &HaSetId| scopes.iter().any(|key| key.scope == HaScopeId::from(set.clone()) && down(&key.vdpu));
    for set in sets.iter().filter(|set| !switch.sets.contains_key(**set) && !removed(set)) {
        findings.row::<HaSetConfig>(place, set, "missing: the fleet has this HA set here");
    }
    for set in switch.sets.keys().filter(|set| !sets.contains(set)) {
        findings.row::<HaSetConfig>(place, set, "extra: the fleet has no such HA set here");
    }
    let present: BTreeSet<&HaScopeConfigKey> = switch.scopes.iter().map(|scope| &scope.key).collect();
    for key in scopes.intersection(&present).filter(|key| down(&key.vdpu)) {
        findings.row::<HaScopeConfig>(place, key, "still there, though the DPU is down");
        findings.since(switch.dpu_of(&key.vdpu).and_then(DpuModel::health_since));
    }
    for key in scopes.difference(&present).filter(|key| !down(&key.vdpu)) {
        findings.row::<HaScopeConfig>(place, key, "missing: the fleet has this HA scope here");
    }
    for key in present.difference(&scopes) {
        findings.row::<HaScopeConfig>(place, key, "extra: the fleet has no such HA scope here");
    }
}

fn states_have_a_configuration(switch: &SwitchModel<'_>, findings: &mut Findings) {
    let place = &switch.snapshot.name;
    for (key, _) in switch.snapshot.rows.typed::<state_db::HaScopeState>() {
        let configured = switch.scopes.iter().any(|scope| scope.key == key);
        if !configured {
            let what = format!("extra: there is no {} row for it", Table::DashHaScopeConfig);
            findings.row::<state_db::HaScopeState>(place, &key, what);
        } else if switch.dpu_of(&key.vdpu).is_none() {
            findings.row::<state_db::HaScopeState>(
                place,
                &key,
                "extra: no DPU of this switch carries the vDPU",
            );
        }
    }
}

/// One route per VIP of every HA set with a DPU of this switch, and no other.
fn vip_routes(switch: &SwitchModel<'_>, findings: &mut Findings) {
    let place = &switch.snapshot.name;
    let Some(vnet) = switch.global.as_ref().and_then(|global| global.dpu_vnet.clone()) else { return };
    let mut wanted: BTreeSet<VnetRouteKey> = BTreeSet::new();
    for set in switch.sets.values() {
        let ours = || set.vdpu_ids.iter().filter_map(|vdpu| switch.dpu_of(vdpu));
        // A VIP needs a next hop of its own family.
        let v4 = set.vip_v4.filter(|_| ours().any(|dpu| dpu.config.pa_ipv4.is_some()));
        let v6 = set.vip_v6.filter(|_| ours().any(|dpu| dpu.config.pa_ipv6.is_some()));
        for prefix in v4.map(|vip| vip.to_string()).into_iter().chain(v6.map(|vip| vip.to_string())) {
            wanted.insert(VnetRouteKey { vnet: vnet.clone(), prefix });
        }
    }
    let present: BTreeSet<VnetRouteKey> =
        switch.snapshot.rows.typed::<VnetRouteTunnel>().into_iter().map(|(key, _)| key).collect();
    for key in wanted.difference(&present) {
        findings.row::<VnetRouteTunnel>(place, key, "missing: a HA set of this switch has this VIP");
    }
    for key in present.difference(&wanted) {
        findings.row::<VnetRouteTunnel>(place, key, "extra: no HA set of this switch has this VIP");
    }
}

fn dpu_is_settled(switch: &SwitchModel<'_>, dpu: &DpuModel<'_>, findings: &mut Findings) {
    let (place, slot) = (&switch.snapshot.name, dpu.config.dpu_id);
    if dpu.state.is_none() {
        findings.row::<DpuState>(place, &slot, "missing");
    }
    let up = match dpu.health {
        DpuHealth::Up => true,
        DpuHealth::Down => false,
        DpuHealth::Unknown => {
            findings.row::<DpuState>(place, &slot, "neither up nor down at rest");
            findings.since(dpu.health_since());
            return;
        }
    };
    match &dpu.reset {
        None => findings.row::<DpuResetInfo>(place, &slot, "missing"),
        Some(reset) => {
            if reset.dpu_ready != Some(up) {
                let what = format!("dpu_ready is {:?}, the DPU is {}", reset.dpu_ready, word(up));
                findings.row::<DpuResetInfo>(place, &slot, what);
                findings.since(dpu.health_since());
            }
            if up && reset.incarnation.is_none() {
                findings.row::<DpuResetInfo>(place, &slot, "the DPU is up and has no incarnation");
            }
        }
    }
    if !up {
        return;
    }
    if let Some(scope) = dpu.scopes.first()
        && let Some(reset) = dpu.reset.as_ref().filter(|reset| reset.reset_status)
    {
        let what = format!("the reset that {} {slot} tells of was not dealt with", Table::DpuResetInfo);
        findings.row::<HaScopeConfig>(place, &scope.key, what);
        findings.since(reset.timestamp_ms);
    }
    for (table, key) in &dpu.snapshot.unconsumed {
        findings.raw(&dpu.place, *table, key, "produced and not consumed: haorchd did not take it");
        findings.repair(Part::Haorchd);
    }
    for (set, config) in &dpu.sets {
        set_is_applied(dpu, set, config, findings);
    }
    for scope in &dpu.scopes {
        scope_is_settled(switch, dpu, scope, findings);
    }
}

fn word(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

fn set_is_applied(dpu: &DpuModel<'_>, id: &HaSetId, config: &HaSetConfig, findings: &mut Findings) {
    let rows = &dpu.snapshot.rows;
    let Some(row) = rows.row::<HaSet>(id) else {
        findings.row::<HaSet>(&dpu.place, id, "missing, though the DPU is up and the HA set is configured");
        return;
    };
    if row.version.as_deref() != Some(config.version.as_str()) {
        let what = format!("version {:?}, the configuration's is {:?}", row.version, config.version);
        findings.row::<HaSet>(&dpu.place, id, what);
    }
    if (row.vip_v4, row.vip_v6) != (config.vip_v4, config.vip_v6) {
        findings.row::<HaSet>(&dpu.place, id, "its VIPs are not the configuration's");
    }
    if row.local_ip.is_none() || row.local_ip.is_some_and(|local| dpu.address_towards(local) != Some(local)) {
        findings.row::<HaSet>(
            &dpu.place,
            id,
            format!("local_ip {:?} is not the DPU's address", row.local_ip),
        );
    }
    if row.peer_ip.is_none() || row.peer_ip == row.local_ip {
        findings.row::<HaSet>(&dpu.place, id, format!("peer_ip {:?} is not the peer's address", row.peer_ip));
    }
    match rows.row::<HaSetResult>(id) {
        Some(result) if result.result == RESULT_OK => {}
        Some(result) => {
            findings.row::<HaSetResult>(
                &dpu.place,
                id,
                format!("programming failed: result {}", result.result),
            );
        }
        None => findings.row::<HaSetResult>(&dpu.place, id, "missing: the DPU did not program the HA set"),
    }
}

fn scope_is_settled(
    switch: &SwitchModel<'_>,
    dpu: &DpuModel<'_>,
    scope: &ScopeModel,
    findings: &mut Findings,
) {
    let id = &scope.key.scope;
    let rows = &dpu.snapshot.rows;
    let applied = rows.row::<HaScope>(id);
    let fence = switch.snapshot.rows.row::<HaScopeFence>(&scope.key);
    match &applied {
        None if dpu.is_fenced(fence.as_ref()) => {
            let what = "not written again since the DPU's restart, so not applied (fenced)";
            findings.row::<HaScopeConfig>(&switch.snapshot.name, &scope.key, what);
            findings.since(dpu.lives_since());
        }
        None => {
            let what = "missing, though the DPU is up and the HA scope is configured";
            findings.row::<HaScope>(&dpu.place, id, what);
        }
        Some(row) => scope_row_matches(dpu, scope, row, findings),
    }
    scope_is_taken(dpu, scope, applied.is_some(), findings);
    let reported = rows.row::<dpu_state_db::HaScopeState>(id);
    npu_reports(switch, scope, reported.as_ref(), findings);
}

/// What the DPU made of the row: nothing can be asked of it where there is none.
fn scope_is_taken(dpu: &DpuModel<'_>, scope: &ScopeModel, applied: bool, findings: &mut Findings) {
    let id = &scope.key.scope;
    let rows = &dpu.snapshot.rows;
    match rows.row::<HaScopeResult>(id) {
        None if !applied => {}
        Some(result) if result.result == RESULT_OK => {}
        Some(result) => {
            findings.row::<HaScopeResult>(
                &dpu.place,
                id,
                format!("programming failed: result {}", result.result),
            );
        }
        None => {
            findings.row::<HaScopeResult>(&dpu.place, id, "missing: the DPU did not program the HA scope")
        }
    }
    let reported = rows.row::<dpu_state_db::HaScopeState>(id);
    let since = since_of(reported.as_ref());
    match reported.and_then(|state| state.ha_state) {
        None if !applied => {}
        None => findings.row::<dpu_state_db::HaScopeState>(&dpu.place, id, "missing, or without a state"),
        Some(state) if !is_final(scope, state) => {
            let what = format!("in state {state}, which is not one to rest in");
            findings.row::<dpu_state_db::HaScopeState>(&dpu.place, id, what);
            findings.since(since);
            if waits_for_approval(state) {
                findings.repair(Part::HaController);
            }
        }
        Some(_) => {}
    }
}

/// Since when the DPU is in the state that it reports.
fn since_of(reported: Option<&dpu_state_db::HaScopeState>) -> Option<WallMs> {
    reported?.ha_state_start_time_s.map(WallMs::from_seconds_or_ms)
}

fn waits_for_approval(state: AsicHaState) -> bool {
    match state {
        AsicHaState::PendingStandaloneActivation
        | AsicHaState::PendingActiveActivation
        | AsicHaState::PendingStandbyActivation => true,
        AsicHaState::Dead
        | AsicHaState::Connecting
        | AsicHaState::Connected
        | AsicHaState::InitializingToActive
        | AsicHaState::InitializingToStandby
        | AsicHaState::Standalone
        | AsicHaState::Active
        | AsicHaState::Standby
        | AsicHaState::Destroying
        | AsicHaState::SwitchingToStandalone => false,
    }
}

/// Whether a scope may stay in this state while nothing fails.
fn is_final(scope: &ScopeModel, state: AsicHaState) -> bool {
    let off = scope.config.disabled || scope.config.desired_ha_state == DesiredHaState::Dead;
    match state {
        AsicHaState::Dead => off,
        AsicHaState::Active | AsicHaState::Standby | AsicHaState::Standalone => !off,
        AsicHaState::Connecting
        | AsicHaState::Connected
        | AsicHaState::InitializingToActive
        | AsicHaState::InitializingToStandby
        | AsicHaState::PendingStandaloneActivation
        | AsicHaState::PendingActiveActivation
        | AsicHaState::PendingStandbyActivation
        | AsicHaState::Destroying
        | AsicHaState::SwitchingToStandalone => false,
    }
}

fn scope_row_matches(dpu: &DpuModel<'_>, scope: &ScopeModel, row: &HaScope, findings: &mut Findings) {
    let (place, id) = (&dpu.place, &scope.key.scope);
    let role = match scope.config.desired_ha_state {
        DesiredHaState::Unspecified => AsicHaRole::Standby,
        DesiredHaState::Dead => AsicHaRole::Dead,
        DesiredHaState::Active => AsicHaRole::Active,
        DesiredHaState::Standalone => AsicHaRole::Standalone,
    };
    if row.ha_role != role {
        let what = format!("ha_role {}, the configuration asks for {role}", row.ha_role);
        findings.row::<HaScope>(place, id, what);
    }
    if row.disabled != scope.config.disabled {
        let what = format!("disabled {}, the configuration's is {}", row.disabled, scope.config.disabled);
        findings.row::<HaScope>(place, id, what);
    }
    if row.version.as_deref() != Some(scope.config.version.as_str()) {
        let what = format!("version {:?}, the configuration's is {:?}", row.version, scope.config.version);
        findings.row::<HaScope>(place, id, what);
    }
    if [row.activate_role_requested, row.flow_reconcile_requested, row.brainsplit_recovered]
        .contains(&Some(true))
    {
        findings.row::<HaScope>(place, id, "an approval still stands at rest");
    }
}

fn npu_reports(
    switch: &SwitchModel<'_>,
    scope: &ScopeModel,
    reported: Option<&dpu_state_db::HaScopeState>,
    findings: &mut Findings,
) {
    let ha_state = reported.and_then(|state| state.ha_state);
    let (place, key) = (&switch.snapshot.name, &scope.key);
    let Some(row) = switch.snapshot.rows.row::<state_db::HaScopeState>(key) else {
        findings.row::<state_db::HaScopeState>(place, key, "missing, though the HA scope is configured");
        return;
    };
    if row.local_acked_asic_ha_state != ha_state || row.local_ha_state != ha_state {
        let what = format!(
            "reports {}/{} where the DPU reports {}",
            shown(row.local_ha_state),
            shown(row.local_acked_asic_ha_state),
            shown(ha_state)
        );
        findings.row::<state_db::HaScopeState>(place, key, what);
        findings.since(since_of(reported));
    }
    if !row.pending_operation_ids.is_empty() {
        let what = format!("{} pending operations wait for approval", row.pending_operation_ids.len());
        findings.row::<state_db::HaScopeState>(place, key, what);
        findings.since(row.pending_operation_list_time_ms);
        findings.repair(Part::HaController);
    }
    if row.version.as_deref() != Some(scope.config.version.as_str()) {
        let what = format!("version {:?}, the configuration's is {:?}", row.version, scope.config.version);
        findings.row::<state_db::HaScopeState>(place, key, what);
    }
}

fn shown(state: Option<AsicHaState>) -> &'static str {
    state.map_or("nothing", AsicHaState::as_str)
}
