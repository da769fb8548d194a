//! The rows that ought to exist on a switch, and the ones that may be removed.

use std::collections::BTreeSet;

use reconcile::{Plan, RowId};
use schema::appl_db::{HaScopeConfigKey, HaSetConfig};
use schema::{HaScopeKind, HaSetId, Table};

use crate::fleet::{HaSetIntent, SwitchName, VdpuIntent};
use crate::record::Phase;
use crate::switch::{Configured, SwitchView};
use crate::world::{World, next_version, scope_config, scope_key, version_of};

/// What a DPU's phase asks for on its switch. Where DPUs differ over a shared HA set the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Vote {
    Remove,
    Leave,
    Want,
}

/// What shall be on a switch. Every row that is neither wanted nor removable is left alone.
pub(crate) struct SwitchPlan {
    pub wanted: Plan<SwitchName>,
    pub removable: BTreeSet<RowId<SwitchName>>,
}

/// HA scope rows come after HA set rows, and go before them.
pub(crate) fn rank(table: Table) -> u8 {
    u8::from(table == Table::DashHaScopeConfig)
}

/// What shall be on the switch.
pub(crate) fn plan(world: &World<'_>, switch: &SwitchName, view: &SwitchView) -> SwitchPlan {
    let mut plan = SwitchPlan { wanted: Plan::new(), removable: BTreeSet::new() };
    let vdpus = || world.fleet.vdpus_on(switch);
    for vdpu in vdpus() {
        plan_scopes(world, view, vdpu, &mut plan);
    }
    let sets: BTreeSet<&HaSetId> =
        vdpus().flat_map(|vdpu| world.fleet.sets_of(&vdpu.id)).map(|set| &set.id).collect();
    for set in sets.iter().filter_map(|id| world.fleet.ha_set(id)) {
        match set_vote(world, switch, view, set) {
            Vote::Want => plan.wanted.want(switch.clone(), &set.id, &set_config(world, switch, view, set)),
            Vote::Leave => {}
            Vote::Remove => {
                plan.removable.insert(view.set_row(&set.id));
            }
        }
    }
    plan_orphans(world, view, &sets, &mut plan);
    plan
}

/// The vote of one DPU's phase; nothing is decided that is not durable, or while the DPU is not ready.
fn votes(world: &World<'_>, view: &SwitchView, vdpu: &VdpuIntent) -> (Vote, Vote) {
    let Some(dpu) = world.dpus.get(&vdpu.dpu).filter(|dpu| dpu.is_settled()) else {
        return (Vote::Leave, Vote::Leave);
    };
    let Some(record) = &dpu.record else { return (Vote::Leave, Vote::Leave) };
    let want = if view.is_ready(vdpu.dpu.slot) { Vote::Want } else { Vote::Leave };
    match record.phase {
        Phase::DeletingScopes => (Vote::Remove, Vote::Leave),
        Phase::DeletingSets | Phase::WaitingUp => (Vote::Remove, Vote::Remove),
        Phase::ProgrammingSets => (Vote::Remove, want),
        Phase::ProgrammingScopes | Phase::Activating | Phase::Steady => (want, want),
    }
}

fn plan_scopes(world: &World<'_>, view: &SwitchView, vdpu: &VdpuIntent, plan: &mut SwitchPlan) {
    match votes(world, view, vdpu).0 {
        Vote::Leave => {}
        Vote::Remove => {
            let of_vdpu = view.scope_configs().filter(|(key, _)| key.vdpu == vdpu.id);
            plan.removable.extend(of_vdpu.map(|(key, _)| view.scope_row(&key)));
        }
        Vote::Want => {
            let Some(record) = world.record(&vdpu.dpu) else { return };
            for (set, scope) in &record.scopes {
                if world.fleet.sets_of(&vdpu.id).any(|intended| intended.id == *set) {
                    let row = scope_config(set, scope);
                    plan.wanted.want(vdpu.dpu.switch.clone(), &scope_key(&vdpu.id, set), &row);
                }
            }
        }
    }
}

fn members_on<'a>(
    world: &World<'a>,
    switch: &SwitchName,
    set: &'a HaSetIntent,
) -> impl Iterator<Item = &'a VdpuIntent> {
    let (fleet, switch) = (world.fleet, switch.clone());
    set.vdpus.iter().filter_map(|vdpu| fleet.vdpu(vdpu)).filter(move |vdpu| vdpu.dpu.switch == switch)
}

fn set_vote(world: &World<'_>, switch: &SwitchName, view: &SwitchView, set: &HaSetIntent) -> Vote {
    let vote = members_on(world, switch, set).map(|vdpu| votes(world, view, vdpu).1).max();
    match vote {
        // Deleting a HA set takes the switch's route and BFD sessions away from everybody who uses it.
        Some(Vote::Remove) if view.refers_to(&set.id) => Vote::Leave,
        Some(vote) => vote,
        None => Vote::Leave,
    }
}

/// Whether the HA set's row has gone, or stays because somebody else needs it.
pub(crate) fn set_is_dealt_with(
    world: &World<'_>,
    switch: &SwitchName,
    view: &SwitchView,
    set: &HaSetId,
) -> bool {
    if view.is_gone(&view.set_row(set)) {
        return true;
    }
    let Some(intent) = world.fleet.ha_set(set) else { return true };
    match set_vote(world, switch, view, intent) {
        Vote::Remove => false,
        Vote::Leave => view.refers_to(set) || is_claimed(world, switch, intent),
        Vote::Want => true,
    }
}

/// Whether another DPU of the switch is in a phase in which it has the HA set.
fn is_claimed(world: &World<'_>, switch: &SwitchName, set: &HaSetIntent) -> bool {
    members_on(world, switch, set).any(|vdpu| match world.record(&vdpu.dpu).map(|record| record.phase) {
        Some(Phase::DeletingSets | Phase::WaitingUp) => false,
        Some(
            Phase::DeletingScopes
            | Phase::ProgrammingSets
            | Phase::ProgrammingScopes
            | Phase::Activating
            | Phase::Steady,
        )
        | None => true,
    })
}

/// The HA set's row on this switch. Its version moves only when its content does, so that a set that two DPUs of a
/// switch share stays as it is when one of them restarts (P8).
pub(crate) fn set_config(
    world: &World<'_>,
    switch: &SwitchName,
    view: &SwitchView,
    set: &HaSetIntent,
) -> HaSetConfig {
    let mut row = HaSetConfig {
        version: String::new(),
        vip_v4: set.vip_v4,
        vip_v6: set.vip_v6,
        vdpu_ids: set.vdpus.clone(),
        scope: HaScopeKind::Dpu,
        pinned_vdpu_bfd_probe_states: Vec::new(),
        preferred_vdpu_ids: vec![set.active.clone()],
        preferred_standalone_vdpu_index: u32::from(set.vdpus.first() != Some(&set.active)),
    };
    let scopes =
        members_on(world, switch, set).filter_map(|vdpu| world.record(&vdpu.dpu)?.scopes.get(&set.id));
    let programmed = scopes.map(|scope| scope.version).max().unwrap_or(1);
    row.version = match view.set_config(&set.id) {
        Configured::Absent | Configured::Unreadable => programmed.to_string(),
        Configured::Row(present) => {
            row.version.clone_from(&present.version);
            match version_of(&present.version) {
                Some(_) if row == present => present.version,
                Some(version) => next_version(version).to_string(),
                None => programmed.to_string(),
            }
        }
    };
    row
}

/// Rows that were ours and are intended no more: those of vDPUs of the fleet. All others are a stranger's.
fn plan_orphans(world: &World<'_>, view: &SwitchView, intended: &BTreeSet<&HaSetId>, plan: &mut SwitchPlan) {
    for (key, _) in view.scope_configs() {
        if is_orphan(world, view, &key) {
            plan.removable.insert(view.scope_row(&key));
        }
    }
    for (id, config) in view.set_configs().filter(|(id, _)| !intended.contains(id)) {
        let mut members = config.vdpu_ids.iter();
        let ours = !config.vdpu_ids.is_empty() && members.all(|vdpu| world.fleet.vdpu(vdpu).is_some());
        if ours && !view.refers_to(&id) {
            plan.removable.insert(view.set_row(&id));
        }
    }
}

fn is_orphan(world: &World<'_>, view: &SwitchView, key: &HaScopeConfigKey) -> bool {
    let Some(vdpu) = world.fleet.vdpu(&key.vdpu) else { return false };
    let here = view.scope_row(key).place == vdpu.dpu.switch;
    let intended = world.fleet.sets_of(&vdpu.id).any(|set| set.id.as_str() == key.scope.as_str());
    !(here && intended)
}
