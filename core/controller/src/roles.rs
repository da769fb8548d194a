//! Who may decide: at most one member of a HA set is instructed or approved to be active or standalone (P7).

use schema::chassis_state_db::DpuHealth;
use schema::state_db::HaScopeState;
use schema::{AsicHaState, DesiredHaState, HaSetId, OperationId, OperationType, VdpuId};

use crate::fleet::{Admin, VdpuIntent};
use crate::record::{Phase, ScopeRecord};
use crate::switch::{Configured, Seen};
use crate::world::{World, scope_key};

/// What is known of a member's part in its HA set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stance {
    /// It surely does not decide, and nothing that we said can make it.
    Idle,
    /// It decides, or may at any moment because of what we said.
    Decides,
    /// Nobody can say.
    Unknown,
}

/// Whether a state wanted makes a DPU decide.
pub(crate) const fn wants_to_decide(desired: DesiredHaState) -> bool {
    match desired {
        DesiredHaState::Active | DesiredHaState::Standalone => true,
        DesiredHaState::Unspecified | DesiredHaState::Dead => false,
    }
}

/// Whether approving `activate_role` in this state makes the DPU decide; `None` where the state waits for no
/// approval.
pub(crate) const fn activation_decides(state: AsicHaState) -> Option<bool> {
    match state {
        AsicHaState::PendingActiveActivation | AsicHaState::PendingStandaloneActivation => Some(true),
        AsicHaState::PendingStandbyActivation => Some(false),
        AsicHaState::Dead
        | AsicHaState::Connecting
        | AsicHaState::Connected
        | AsicHaState::InitializingToActive
        | AsicHaState::InitializingToStandby
        | AsicHaState::Standalone
        | AsicHaState::Active
        | AsicHaState::Standby
        | AsicHaState::Destroying
        | AsicHaState::SwitchingToStandalone => None,
    }
}

/// A member's stance, from both what it was told and what it reports.
pub(crate) fn stance(world: &World<'_>, member: &VdpuIntent, set: &HaSetId) -> Stance {
    let Some(view) = world.known(&member.dpu.switch) else { return Stance::Unknown };
    let key = scope_key(&member.id, set);
    let configured = match view.scope_config(&key) {
        Configured::Unreadable => return Stance::Unknown,
        Configured::Absent => None,
        Configured::Row(config) => Some(config.desired_ha_state),
    };
    let record = world.record(&member.dpu).filter(|record| record.vdpu == member.id);
    let instructed =
        record.filter(|record| record.phase.wants_scopes()).and_then(|record| record.scopes.get(set));
    let under_way = view.scope_config_under_way(&key).map(|config| config.desired_ha_state);
    let told = [configured, under_way, instructed.map(|scope| scope.desired)];
    if told.into_iter().flatten().any(wants_to_decide) {
        return Stance::Decides;
    }
    let deconfigured = configured.is_none() && instructed.is_none();
    let (state, row) = match view.scope_state(&key) {
        Some(Seen::Unreadable) => return Stance::Unknown,
        Some(Seen::Row(row)) => (row.local_ha_state, Some(row)),
        None => (None, None),
    };
    let approved = instructed.is_some_and(|scope| is_approval_outstanding(scope, row.map(Box::as_ref)));
    match state {
        // hamgrd has not removed the row of a DPU that is down and has nothing to come back with.
        Some(_) if deconfigured && view.health(member.dpu.slot) == DpuHealth::Down => Stance::Idle,
        Some(state) if state.decides() => Stance::Decides,
        Some(_) if approved => Stance::Decides,
        Some(_) => Stance::Idle,
        None if deconfigured => Stance::Idle,
        None if approved => Stance::Decides,
        None => match record.map(|record| record.phase) {
            // It was just told to stand by and has not reported yet: it needs an approval before it decides.
            Some(Phase::ProgrammingScopes | Phase::Activating) => Stance::Idle,
            Some(
                Phase::Steady
                | Phase::DeletingScopes
                | Phase::DeletingSets
                | Phase::WaitingUp
                | Phase::ProgrammingSets,
            )
            | None => Stance::Unknown,
        },
    }
}

/// Whether the DPU may still follow an approval to decide: it waits for one, or does not report. It no longer does
/// once it asks anew.
pub(crate) fn is_approval_outstanding(scope: &ScopeRecord, row: Option<&HaScopeState>) -> bool {
    let waits = match row.and_then(|row| row.local_ha_state) {
        Some(state) => activation_decides(state) == Some(true),
        None => true,
    };
    let asks_anew = row.is_some_and(|row| {
        operations(row)
            .any(|(id, operation)| operation == OperationType::ActivateRole && !scope.has_handled(id))
    });
    scope.may_decide_by_approval() && waits && !asks_anew
}

/// The pending operations of a row. Nothing where ids and types do not go together.
pub(crate) fn operations(state: &HaScopeState) -> impl Iterator<Item = (&OperationId, OperationType)> {
    let (ids, types) = (&state.pending_operation_ids, &state.pending_operation_types);
    let count = if ids.len() == types.len() { ids.len() } else { 0 };
    ids.iter().zip(types.iter().copied()).take(count)
}

/// The stance of the others together: idle only if each surely is.
pub(crate) fn stance_of_others(world: &World<'_>, vdpu: &VdpuId, set: &HaSetId) -> Stance {
    let mut all = Stance::Idle;
    for other in world.others(vdpu, set) {
        match stance(world, other, set) {
            Stance::Idle => {}
            Stance::Decides => return Stance::Decides,
            Stance::Unknown => all = Stance::Unknown,
        }
    }
    all
}

/// The state to ask of a member that is programmed now (`reference/controller.md` 4.4).
///
/// The intended active member is told to be active only if nobody else decides. Otherwise it comes back as a
/// standby, and the survivor keeps the traffic.
pub(crate) fn desired_state(world: &World<'_>, vdpu: &VdpuIntent, set: &HaSetId) -> DesiredHaState {
    let intended = world.fleet.ha_set(set).is_some_and(|set| set.active == vdpu.id);
    match (vdpu.admin, intended) {
        (Admin::Down, _) => DesiredHaState::Dead,
        (Admin::Up, false) => DesiredHaState::Unspecified,
        (Admin::Up, true) => match stance_of_others(world, &vdpu.id, set) {
            Stance::Idle => DesiredHaState::Active,
            Stance::Decides | Stance::Unknown => DesiredHaState::Unspecified,
        },
    }
}
