//! What changes in place while a DPU is programmed: planned shutdown, split brain, placement, and approvals of
//! pending operations (`reference/controller.md` 4.4, 4.5).
//!
//! One kind of change per write, one approval per write: the next follows once the row is confirmed.

use schema::state_db::HaScopeState;
use schema::{AsicHaState, DesiredHaState, HaSetId, OperationId, OperationType};

use crate::dpu::{Dpu, Wait};
use crate::effect::{Note, Withheld};
use crate::fleet::{Admin, VdpuIntent};
use crate::procedure::Look;
use crate::record::{Phase, ScopeRecord, Verdict};
use crate::roles::{
    Stance, activation_decides, desired_state, is_approval_outstanding, operations, stance, stance_of_others,
};
use crate::switch::Seen;
use crate::world::{scope_config, scope_key, version_of};

/// What hamgrd reports of a HA scope, if it is of the configuration and the life that were programmed.
pub(crate) fn fresh_state<'a>(look: &Look<'a>, dpu: &Dpu, set: &HaSetId) -> Option<&'a HaScopeState> {
    let scope = dpu.record.as_ref()?.scopes.get(set)?;
    let Some(Seen::Row(state)) = look.view.scope_state(&scope_key(&look.vdpu.id, set)) else { return None };
    let of_version =
        state.version.as_deref().is_none_or(|version| version_of(version) == Some(scope.version));
    let present = look.view.reset(look.vdpu.dpu.slot).and_then(|reset| reset.incarnation);
    let of_life = state.incarnation.zip(present).is_none_or(|(state, present)| state == present);
    (of_version && of_life).then_some(state)
}

/// Brings every HA scope of the DPU to what is wanted of it now.
pub(crate) fn follow(look: &mut Look<'_>, dpu: &mut Dpu) {
    let Some(record) = dpu.record.clone().filter(|_| dpu.is_settled()) else { return };
    let mut lacks_decider = false;
    let mut listed: Vec<&OperationId> = Vec::new();
    let mut changed = record.clone();
    for (set, scope) in &mut changed.scopes {
        let state = fresh_state(look, dpu, set);
        listed.extend(state.into_iter().flat_map(operations).map(|(id, _)| id));
        let row = look.view.scope_row(&scope_key(&look.vdpu.id, set));
        if !look.view.is_confirmed(&row, &scope_config(set, scope)) {
            continue;
        }
        let before = scope.clone();
        follow_desired(look, scope, set, state);
        if *scope == before
            && let Some(state) = state
        {
            lacks_decider |= has_no_decider(look, scope, set, state);
            approve_next(look, dpu, scope, set, state);
        }
    }
    dpu.withheld.retain(|(id, _)| listed.contains(&id));
    if !lacks_decider || changed != record {
        dpu.idle_since = None;
    } else {
        let wait = look.world.fleet.timing().placement_ms;
        let since = *dpu.idle_since.get_or_insert(look.now);
        if look.now >= since.after_ms(wait) {
            dpu.idle_since = None;
            for (set, scope) in &mut changed.scopes {
                let state = fresh_state(look, dpu, set);
                if state.is_some_and(|state| has_no_decider(look, scope, set, state)) {
                    look.change_desired(scope, set, DesiredHaState::Active);
                }
            }
        } else {
            dpu.wake_at(since.after_ms(wait), Wait::Placement);
        }
    }
    dpu.record = Some(changed);
}

/// Planned shutdown and its end, and the way out of a split brain.
fn follow_desired(look: &mut Look<'_>, scope: &mut ScopeRecord, set: &HaSetId, state: Option<&HaScopeState>) {
    let is_dead = state.is_some_and(|state| state.local_ha_state == Some(AsicHaState::Dead));
    match (look.vdpu.admin, scope.desired) {
        (Admin::Down, _) => {
            scope.yielding = false;
            look.change_desired(scope, set, DesiredHaState::Dead);
        }
        (Admin::Up, DesiredHaState::Dead) if scope.yielding => {
            if is_dead && has_left_split_brain(look, set) {
                let moot =
                    state.into_iter().flat_map(operations).filter(|(_, operation)| is_split(*operation));
                for (id, _) in moot.filter(|(id, _)| !scope.has_handled(id)).collect::<Vec<_>>() {
                    scope.handle(id.clone(), Verdict::Settled);
                }
                scope.yielding = false;
                let desired = desired_state(&look.world, look.vdpu, set);
                look.change_desired(scope, set, desired);
            }
        }
        (Admin::Up, DesiredHaState::Dead) => {
            let desired = desired_state(&look.world, look.vdpu, set);
            look.change_desired(scope, set, desired);
        }
        (Admin::Up, DesiredHaState::Unspecified | DesiredHaState::Active | DesiredHaState::Standalone) => {
            if state.is_some_and(|state| must_yield(look, scope, set, state)) {
                scope.yielding = true;
                look.change_desired(scope, set, DesiredHaState::Dead);
            }
        }
    }
}

const fn is_split(operation: OperationType) -> bool {
    match operation {
        OperationType::BrainsplitRecover => true,
        OperationType::ActivateRole | OperationType::FlowReconcile | OperationType::Switchover => false,
    }
}

/// The row of another member, if its switch is known.
fn state_of<'a>(look: &Look<'a>, other: &VdpuIntent, set: &HaSetId) -> Option<&'a HaScopeState> {
    match look.world.known(&other.dpu.switch)?.scope_state(&scope_key(&other.id, set))? {
        Seen::Row(state) => Some(state),
        Seen::Unreadable => None,
    }
}

/// In a split brain both decide. The intended standby yields, and only while the other surely serves.
fn must_yield(look: &Look<'_>, scope: &ScopeRecord, set: &HaSetId, state: &HaScopeState) -> bool {
    let fleet = look.world.fleet;
    let intended_active = fleet.ha_set(set).is_some_and(|set| set.active == look.vdpu.id);
    if intended_active || !fleet.approve().brainsplit_recover {
        return false;
    }
    let decides = |state: &HaScopeState| state.local_ha_state.is_some_and(AsicHaState::decides);
    let mut asked = operations(state).any(|(id, operation)| is_split(operation) && !scope.has_handled(id));
    for other in look.world.others(&look.vdpu.id, set) {
        let is_ready = look.world.known(&other.dpu.switch).is_some_and(|view| view.is_ready(other.dpu.slot));
        let Some(theirs) = state_of(look, other, set).filter(|theirs| is_ready && decides(theirs)) else {
            return false;
        };
        let record = look.world.record(&other.dpu).and_then(|record| record.scopes.get(set));
        asked |= operations(theirs).any(|(id, operation)| {
            is_split(operation) && record.is_some_and(|record| !record.has_handled(id))
        });
    }
    asked && decides(state)
}

/// The others no longer ask to leave it, or are gone.
fn has_left_split_brain(look: &Look<'_>, set: &HaSetId) -> bool {
    look.world.others(&look.vdpu.id, set).all(|other| {
        let asks = state_of(look, other, set)
            .map(|state| operations(state).any(|(_, operation)| is_split(operation)));
        asks == Some(false) || stance(&look.world, other, set) == Stance::Idle && asks.is_none()
    })
}

/// Both members are programmed to stand by and none decides: the intended active one was programmed while the
/// other decided or was unknown, and then that one was lost.
fn has_no_decider(look: &Look<'_>, scope: &ScopeRecord, set: &HaSetId, state: &HaScopeState) -> bool {
    let intended_active = look.world.fleet.ha_set(set).is_some_and(|set| set.active == look.vdpu.id);
    if !intended_active
        || look.vdpu.admin == Admin::Down
        || scope.desired != DesiredHaState::Unspecified
        || state.local_ha_state.is_none_or(AsicHaState::decides)
        || is_approval_outstanding(scope, Some(state))
    {
        return false;
    }
    look.world.others(&look.vdpu.id, set).all(|other| {
        let is_ready = look.world.known(&other.dpu.switch).is_some_and(|view| view.is_ready(other.dpu.slot));
        let is_programmed = look.world.record(&other.dpu).is_some_and(|record| match record.phase {
            Phase::Steady | Phase::Activating => record.scopes.contains_key(set),
            Phase::DeletingScopes
            | Phase::DeletingSets
            | Phase::WaitingUp
            | Phase::ProgrammingSets
            | Phase::ProgrammingScopes => false,
        });
        let reports = state_of(look, other, set).is_some_and(|state| state.local_ha_state.is_some());
        is_ready && is_programmed && reports && stance(&look.world, other, set) == Stance::Idle
    })
}

/// Approves the first pending operation that may be, if any; reports the others once.
fn approve_next(
    look: &mut Look<'_>,
    dpu: &mut Dpu,
    scope: &mut ScopeRecord,
    set: &HaSetId,
    state: &HaScopeState,
) {
    for (id, operation) in operations(state) {
        if scope.has_handled(id) {
            continue;
        }
        match judge(look, scope, set, state, operation) {
            Ok(verdict) => {
                // Approvals of operations that hamgrd no longer lists have done their work.
                scope.approvals.retain(|approved| state.pending_operation_ids.contains(approved));
                scope.approvals.push(id.clone());
                scope.handle(id.clone(), verdict);
                let (vdpu, ha_set, id) = (look.vdpu.id.clone(), set.clone(), id.clone());
                look.notes.push(Note::Approved { vdpu, ha_set, id, operation });
                return;
            }
            Err(why) => {
                if dpu.withheld.insert((id.clone(), why)) {
                    let (vdpu, ha_set, id) = (look.vdpu.id.clone(), set.clone(), id.clone());
                    look.notes.push(Note::Withheld { vdpu, ha_set, id, operation, why });
                }
            }
        }
    }
}

fn judge(
    look: &Look<'_>,
    scope: &ScopeRecord,
    set: &HaSetId,
    state: &HaScopeState,
    operation: OperationType,
) -> Result<Verdict, Withheld> {
    let policy = look.world.fleet.approve();
    let allowed = match operation {
        OperationType::ActivateRole => policy.activate_role,
        OperationType::FlowReconcile => policy.flow_reconcile,
        OperationType::BrainsplitRecover => policy.brainsplit_recover,
        // Nobody raises it in DPU-driven HA, and nobody asked for it.
        OperationType::Switchover => false,
    };
    if !allowed {
        return Err(Withheld::Policy);
    }
    if scope.desired == DesiredHaState::Dead {
        return Err(Withheld::ShallBeDead);
    }
    let only_decider = |verdict| match stance_of_others(&look.world, &look.vdpu.id, set) {
        Stance::Idle => Ok(verdict),
        Stance::Decides => Err(Withheld::PeerDecides),
        Stance::Unknown => Err(Withheld::PeerUnknown),
    };
    match operation {
        OperationType::ActivateRole => match state.local_ha_state.and_then(activation_decides) {
            Some(true) => only_decider(Verdict::ApprovedToDecide),
            Some(false) => Ok(Verdict::Approved),
            None => Err(Withheld::OtherState),
        },
        OperationType::FlowReconcile => Ok(Verdict::Approved),
        OperationType::BrainsplitRecover => only_decider(Verdict::Approved),
        OperationType::Switchover => Err(Withheld::Policy),
    }
}
