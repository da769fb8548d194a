//! P8: a DPU's restart changes no row of another DPU, except what reports the peer's state.

use std::collections::BTreeSet;

use schema::appl_db::HaScopeConfig;
use schema::{Fields, HaSetId, Row, RowKey, Slot, Table, VdpuId};

use super::Findings;
use crate::finding::{Finding, Invariant};
use crate::model::Model;
use crate::snapshot::{Rows, Snapshot};

/// Fields of `DASH_HA_SCOPE_TABLE` that answer what the peer's state makes the DPU ask for.
const APPROVALS: [&str; 3] = ["activate_role_requested", "flow_reconcile_requested", "brainsplit_recovered"];

/// Checks P8: rows of DPUs that are not `restarted`, before against after.
pub fn local(before: &Snapshot, after: &Snapshot, restarted: &BTreeSet<(String, Slot)>) -> Vec<Finding> {
    let mut findings = Findings::of(Invariant::P8);
    let model = Model::of(before);
    for switch in &model.switches {
        let Some(now) = after.switch(&switch.snapshot.name) else { continue };
        let name = &switch.snapshot.name;
        let is_restarted = |slot: Slot| restarted.contains(&(name.clone(), slot));
        let touched_vdpus: BTreeSet<&VdpuId> = switch
            .dpus
            .iter()
            .filter(|dpu| is_restarted(dpu.config.dpu_id))
            .flat_map(|dpu| &dpu.vdpus)
            .collect();
        // The set's own row may be written again on the switch of a restarted member.
        let touched_sets: BTreeSet<&HaSetId> = switch
            .sets
            .iter()
            .filter(|(_, set)| set.vdpu_ids.iter().any(|vdpu| touched_vdpus.contains(vdpu)))
            .map(|(id, _)| id)
            .collect();
        let ours = |table: Table, key: &str| match table {
            Table::DashHaScopeConfig | Table::DashHaScopeFence => {
                let scope = schema::appl_db::HaScopeConfigKey::from_text(key, table.db().separator());
                scope.is_none_or(|scope| !touched_vdpus.contains(&scope.vdpu))
            }
            Table::DashHaSetConfig => HaSetId::new(key).is_none_or(|id| !touched_sets.contains(&id)),
            Table::DpuState | Table::DpuResetInfo | Table::ChassisMidplane => {
                Slot::from_text(key, '|').is_none_or(|slot| !is_restarted(slot))
            }
            Table::Dpu
            | Table::RemoteDpu
            | Table::Vdpu
            | Table::DashHaGlobalConfig
            | Table::LoopbackInterface => true,
            // Reports of the peer's state, and what follows from them.
            Table::DashHaScopeState
            | Table::VnetRouteTunnel
            | Table::NpuBfdSession
            | Table::VnetRouteTunnelState => false,
            Table::NeighResolve => true,
            Table::Port
            | Table::PortTable
            | Table::SystemReady
            | Table::BfdSoftwareSession
            | Table::DpuBfdProbeState => false,
            Table::DashHaSet
            | Table::DashHaScope
            | Table::BfdSession
            | Table::DashHaSetResult
            | Table::DashHaScopeResult
            | Table::DpuDashHaSetState
            | Table::DpuDashHaScopeState
            | Table::DashBfdProbeState => true,
        };
        compare(name, &switch.snapshot.rows, &now.rows, &ours, &mut findings);
        for dpu in &switch.snapshot.dpus {
            if is_restarted(dpu.slot) {
                continue;
            }
            let Some(now) = now.dpus.iter().find(|now| now.slot == dpu.slot) else { continue };
            let place = switch.snapshot.dpu_place(dpu.slot);
            compare(&place, &dpu.rows, &now.rows, &ours, &mut findings);
            if let (Some(before), Some(now)) = (&dpu.local, &now.local) {
                let sessions = |table: Table, _: &str| table == Table::BfdSoftwareSession;
                compare(&place, before, now, &sessions, &mut findings);
            }
        }
    }
    findings.list
}

fn compare(
    place: &str,
    before: &Rows,
    after: &Rows,
    ours: &impl Fn(Table, &str) -> bool,
    findings: &mut Findings,
) {
    for (table, key, old) in before.iter().filter(|(table, key, _)| ours(*table, key)) {
        match after.get(table, key) {
            None => findings.raw(place, table, key, "gone, though this DPU did not restart"),
            Some(new) => {
                let changed = differing(table, key, old, new);
                if !changed.is_empty() {
                    let what = format!("changed, though this DPU did not restart: {}", changed.join(", "));
                    findings.raw(place, table, key, what);
                }
            }
        }
    }
    for (table, key, _) in after.iter().filter(|(table, key, _)| ours(*table, key)) {
        if before.get(table, key).is_none() {
            findings.raw(place, table, key, "new, though this DPU did not restart");
        }
    }
}

/// The fields that differ and may not.
fn differing(table: Table, key: &str, old: &Fields, new: &Fields) -> Vec<String> {
    match table {
        // The peer's state makes this DPU change its own, and report it.
        Table::DpuDashHaScopeState | Table::DpuDashHaSetState | Table::DashBfdProbeState => Vec::new(),
        Table::DashHaScopeConfig => config_differs(key, old, new),
        Table::DashHaScope => {
            let mut changed = fields_that_differ(old, new);
            changed.retain(|field| !APPROVALS.contains(&field.as_str()));
            changed
        }
        // The digest follows the approvals that the configuration lists.
        Table::DashHaScopeFence => {
            let mut changed = fields_that_differ(old, new);
            changed.retain(|field| field != "config_digest");
            changed
        }
        Table::Dpu
        | Table::RemoteDpu
        | Table::Vdpu
        | Table::DashHaGlobalConfig
        | Table::LoopbackInterface
        | Table::Port
        | Table::DashHaSetConfig
        | Table::VnetRouteTunnel
        | Table::NeighResolve
        | Table::PortTable
        | Table::DashHaScopeState
        | Table::DpuResetInfo
        | Table::ChassisMidplane
        | Table::SystemReady
        | Table::BfdSoftwareSession
        | Table::DpuBfdProbeState
        | Table::NpuBfdSession
        | Table::VnetRouteTunnelState
        | Table::DpuState
        | Table::DashHaSet
        | Table::BfdSession
        | Table::DashHaSetResult
        | Table::DashHaScopeResult => fields_that_differ(old, new),
    }
}

fn fields_that_differ(old: &Fields, new: &Fields) -> Vec<String> {
    let names: BTreeSet<&str> = old.iter().chain(new.iter()).map(|(name, _)| name).collect();
    let changed = names.into_iter().filter(|name| old.get(name) != new.get(name));
    changed.map(str::to_owned).collect()
}

fn config_differs(key: &str, old: &Fields, new: &Fields) -> Vec<String> {
    let (Ok(old_row), Ok(new_row)) =
        (HaScopeConfig::from_fields(key, old), HaScopeConfig::from_fields(key, new))
    else {
        return fields_that_differ(old, new);
    };
    let old_row = HaScopeConfig { approved_pending_operation_ids: Vec::new(), ..old_row };
    let new_row = HaScopeConfig { approved_pending_operation_ids: Vec::new(), ..new_row };
    if old_row == new_row { Vec::new() } else { vec![format!("{old_row:?} became {new_row:?}")] }
}
