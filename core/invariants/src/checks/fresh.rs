//! P2: after a restart no row comes from the DPU's previous life.

use std::collections::BTreeMap;

use schema::dpu_state_db as dpu_state;
use schema::state_db::{DpuResetInfo, HaScopeState};
use schema::{HaScopeId, HaSetId, Slot, Table, WallMs};

use super::Findings;
use crate::finding::{Finding, Invariant};
use crate::model::{DpuModel, Model, SwitchModel};

/// When each DPU that restarted began its present life, by switch and slot.
pub type Boots = BTreeMap<(String, Slot), WallMs>;

/// Checks P2 at rest: rows of the DPU's databases belong to a present configuration, states belong to the
/// present incarnation, and nothing is older than the boot.
pub fn fresh(model: &Model<'_>, boots: &Boots) -> Vec<Finding> {
    let mut findings = Findings::of(Invariant::P2);
    for (switch, dpu) in model.dpus() {
        rows_have_a_configuration(dpu, &mut findings);
        states_are_of_this_life(switch, dpu, &mut findings);
        if let Some(boot) = boots.get(&(switch.snapshot.name.clone(), dpu.config.dpu_id)) {
            nothing_is_older(switch, dpu, *boot, &mut findings);
        }
    }
    findings.list
}

fn rows_have_a_configuration(dpu: &DpuModel<'_>, findings: &mut Findings) {
    let is_set = |key: &str| HaSetId::new(key).is_some_and(|id| dpu.sets.contains_key(&id));
    let is_scope = |key: &str| {
        HaScopeId::new(key).is_some_and(|id| dpu.scopes.iter().any(|scope| scope.key.scope == id))
    };
    for (table, key, _) in dpu.snapshot.rows.iter() {
        let stale = match table {
            Table::DashHaSet | Table::DashHaSetResult | Table::DpuDashHaSetState => !is_set(key),
            Table::DashHaScope | Table::DashHaScopeResult | Table::DpuDashHaScopeState => !is_scope(key),
            // BFD rows are P4's; the probe state names no configuration; the rest is not a DPU's.
            Table::BfdSession
            | Table::DashBfdProbeState
            | Table::Dpu
            | Table::RemoteDpu
            | Table::Vdpu
            | Table::DashHaGlobalConfig
            | Table::LoopbackInterface
            | Table::Port
            | Table::DashHaSetConfig
            | Table::DashHaScopeConfig
            | Table::VnetRouteTunnel
            | Table::NeighResolve
            | Table::PortTable
            | Table::DashHaScopeState
            | Table::DpuResetInfo
            | Table::DashHaScopeFence
            | Table::ChassisMidplane
            | Table::SystemReady
            | Table::BfdSoftwareSession
            | Table::DpuBfdProbeState
            | Table::NpuBfdSession
            | Table::VnetRouteTunnelState
            | Table::DpuState => false,
        };
        if stale {
            findings.raw(&dpu.place, table, key, "there is no configuration for it");
        }
    }
}

fn states_are_of_this_life(switch: &SwitchModel<'_>, dpu: &DpuModel<'_>, findings: &mut Findings) {
    let place = &switch.snapshot.name;
    let slot = dpu.config.dpu_id;
    for (key, state) in switch.snapshot.rows.typed::<HaScopeState>() {
        if !dpu.vdpus.contains(&key.vdpu) {
            continue;
        }
        let (theirs, present) = (state.incarnation, dpu.incarnation());
        if theirs != present && state.local_ha_state.is_some() {
            let what =
                format!("it is of incarnation {}, but {slot} lives in {}", shown(theirs), shown(present));
            findings.row::<HaScopeState>(place, &key, what);
            findings.since(dpu.lives_since());
        }
    }
    let noticed = dpu.reset.as_ref().and_then(|reset| reset.boot_id.as_ref());
    let published = dpu.state.as_ref().and_then(|state| state.boot_id.as_ref());
    if let (Some(noticed), Some(published)) = (noticed, published)
        && noticed != published
    {
        let what = format!("boot_id {noticed} is not the present one, {published}");
        findings.row::<DpuResetInfo>(place, &slot, what);
        findings.since(dpu.health_since());
    }
}

fn nothing_is_older(switch: &SwitchModel<'_>, dpu: &DpuModel<'_>, boot: WallMs, findings: &mut Findings) {
    // States of a DPU are written in whole seconds.
    let oldest_s = boot.seconds();
    let rows = &dpu.snapshot.rows;
    let mut check_s = |table: Table, key: &str, written_s: Option<i64>| {
        if let Some(written_s) = written_s.filter(|written_s| *written_s < oldest_s) {
            let what = format!("written {} s before the DPU's boot", oldest_s - written_s);
            findings.raw(&dpu.place, table, key, what);
        }
    };
    for (key, state) in rows.typed::<dpu_state::HaScopeState>() {
        check_s(Table::DpuDashHaScopeState, key.as_str(), state.last_updated_time_s);
    }
    for (key, state) in rows.typed::<dpu_state::HaSetState>() {
        check_s(Table::DpuDashHaSetState, key.as_str(), state.last_updated_time_s);
    }
    let present = dpu.incarnation().and_then(|incarnation| i64::try_from(incarnation).ok());
    if let Some(since) = present.filter(|since| *since < boot.0) {
        let what = format!("the restart was not noticed: incarnation {since} is older than the boot, {boot}");
        findings.row::<DpuResetInfo>(&switch.snapshot.name, &dpu.config.dpu_id, what);
    }
}

fn shown(incarnation: Option<u64>) -> String {
    incarnation.map_or_else(|| "none".to_owned(), |incarnation| incarnation.to_string())
}
