//! Pending operations and approvals (P9).

use schema::dpu_state_db::HaScopeState;
use schema::{AsicHaState, DesiredHaState, OperationId, OperationType, Slot};

use super::fields::*;
use super::world::World;
use crate::{Config, Input, Note, RestartPolicy};

const SCOPE: &str = "vdpu0_0:haset0";

fn report(world: &mut World, state: HaScopeState) {
    world.tell_one(Input::DpuHaScopeState(Slot(0), scope_id("haset0"), Some(state)));
    world.settle();
}

fn approve(world: &mut World, ids: &[OperationId]) {
    let mut config = ha_scope("1", "haset0", DesiredHaState::Active);
    config.approved_pending_operation_ids = ids.to_vec();
    world.tell_one(Input::HaScopeConfig(scope_key(SCOPE), Some(config)));
    world.settle();
}

fn listed(world: &World) -> Vec<(OperationType, OperationId)> {
    let row = world.state_row(SCOPE).unwrap();
    assert_eq!(row.pending_operation_types.len(), row.pending_operation_ids.len());
    row.pending_operation_types.into_iter().zip(row.pending_operation_ids).collect()
}

fn asking() -> HaScopeState {
    dpu_scope(AsicHaState::PendingActiveActivation, 1_700_000_000, true)
}

#[test]
fn an_operation_is_listed_requested_once_approved_and_gone_when_done() {
    let mut world = World::default_running();
    report(&mut world, asking());
    let operations = listed(&world);
    assert_eq!(operations.len(), 1);
    let (kind, id) = operations[0].clone();
    assert_eq!(kind, OperationType::ActivateRole);
    assert_eq!(world.scope_row(0, "haset0").unwrap().activate_role_requested, Some(false));
    let since = world.state_row(SCOPE).unwrap().pending_operation_list_time_ms;
    assert!(since.is_some());

    approve(&mut world, &[op_id("somebody-elses"), id.clone()]);
    assert_eq!(world.scope_row(0, "haset0").unwrap().activate_role_requested, Some(true));
    assert_eq!(listed(&world), operations, "listed until the DPU has done it");
    assert_eq!(world.state_row(SCOPE).unwrap().pending_operation_list_time_ms, since);
    world.assert_quiet();
    world.restart_hamgrd();
    world.settle();
    let requested = world.scope_row(0, "haset0").unwrap().activate_role_requested;
    assert_eq!(requested, Some(true), "hamgrd's restart does not lose it");
    assert_eq!(listed(&world), operations);

    report(&mut world, dpu_scope(AsicHaState::Active, 1_700_000_001, false));
    assert!(listed(&world).is_empty());
    assert_eq!(world.scope_row(0, "haset0").unwrap().activate_role_requested, Some(false));
    let gone = Note::OperationGone { key: scope_key(SCOPE), kind, id };
    assert!(world.notes.contains(&gone));
    world.assert_quiet();
}

#[test]
fn every_kind_of_operation_has_its_request() {
    let mut world = World::default_running();
    let state = HaScopeState { flow_reconcile_pending: true, brainsplit_recover_pending: true, ..asking() };
    report(&mut world, state.clone());
    let operations = listed(&world);
    let kinds: Vec<OperationType> = operations.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(
        kinds,
        [OperationType::ActivateRole, OperationType::BrainsplitRecover, OperationType::FlowReconcile]
    );
    for (kind, id) in &operations {
        approve(&mut world, std::slice::from_ref(id));
        let row = world.scope_row(0, "haset0").unwrap();
        let requested = [row.activate_role_requested, row.brainsplit_recovered, row.flow_reconcile_requested];
        let expected = kinds.iter().map(|of| Some(of == kind)).collect::<Vec<_>>();
        assert_eq!(requested.to_vec(), expected, "{kind}");
    }
    // A change of state leaves what is not about the state.
    report(
        &mut world,
        HaScopeState { ha_state: Some(AsicHaState::Standalone), activate_role_pending: false, ..state },
    );
    assert_eq!(listed(&world), operations[1..]);
}

#[test]
fn an_approval_is_not_for_an_episode_that_began_while_hamgrd_was_dead() {
    for (kind, flow_reconcile) in
        [(OperationType::FlowReconcile, true), (OperationType::BrainsplitRecover, false)]
    {
        let asks = HaScopeState {
            flow_reconcile_pending: flow_reconcile,
            brainsplit_recover_pending: !flow_reconcile,
            ..dpu_scope(AsicHaState::Active, 1_700_000_000, false)
        };
        let requested = |world: &World| {
            let row = world.scope_row(0, "haset0").unwrap();
            if flow_reconcile { row.flow_reconcile_requested } else { row.brainsplit_recovered }
        };
        let mut world = World::default_running();
        report(&mut world, asks.clone());
        let (_, id) = listed(&world)[0].clone();
        approve(&mut world, std::slice::from_ref(&id));
        assert_eq!(requested(&world), Some(true));
        // The DPU does it and asks again, and nobody sees the flag lowered in between.
        world.restart_hamgrd();
        world.settle();
        let operations = listed(&world);
        assert_eq!(operations.len(), 1);
        assert_eq!(operations[0].0, kind);
        assert_ne!(operations[0].1, id, "{kind}: whether the approval was for this one cannot be told");
        assert_eq!(requested(&world), Some(false));
        approve(&mut world, &[operations[0].1.clone()]);
        assert_eq!(requested(&world), Some(true));
        // What nobody has approved is the same one still.
        report(&mut world, dpu_scope(AsicHaState::Active, 1_700_000_000, false));
        report(&mut world, asks);
        let operations = listed(&world);
        world.restart_hamgrd();
        world.settle();
        assert_eq!(listed(&world), operations);
    }
}

#[test]
fn an_approval_is_not_for_another_life() {
    for policy in [RestartPolicy::Controller, RestartPolicy::Autonomous] {
        let mut world = World::running(Config { policy, ..Config::default() });
        report(&mut world, asking());
        let (_, id) = listed(&world)[0].clone();
        approve(&mut world, std::slice::from_ref(&id));
        world.tell_one(down(0, "boot-a"));
        world.settle();
        world.boot(0, "boot-b");
        world.settle();
        assert!(listed(&world).is_empty());
        if policy == RestartPolicy::Controller {
            world.tell(ha(0, "2"));
            world.settle();
        }
        report(&mut world, asking());
        let (_, fresh) = listed(&world)[0].clone();
        assert_ne!(fresh, id);
        assert_eq!(world.scope_row(0, "haset0").unwrap().activate_role_requested, Some(false));
    }
}

#[test]
fn an_approval_is_not_for_another_role() {
    let mut world = World::default_running();
    report(&mut world, asking());
    let (_, id) = listed(&world)[0].clone();
    approve(&mut world, std::slice::from_ref(&id));
    report(&mut world, dpu_scope(AsicHaState::PendingStandaloneActivation, 1_700_000_009, true));
    assert_ne!(listed(&world)[0].1, id);
    assert_eq!(world.scope_row(0, "haset0").unwrap().activate_role_requested, Some(false));
}

#[test]
fn a_state_row_of_an_earlier_life_raises_nothing() {
    // hamgrd restarts; the DPU restarted meanwhile; DPU_STATE_DB still holds the row of its earlier life.
    let mut world = World::default_running();
    report(&mut world, asking());
    world.while_hamgrd_is_dead(|world| world.tell_one(up(0, "boot-b")));
    world.settle();
    assert!(listed(&world).is_empty());
    assert_eq!(world.state_row(SCOPE).unwrap().local_ha_state, None);
}

#[test]
fn an_operation_of_a_deleted_scope_is_gone() {
    let mut world = World::default_running();
    report(&mut world, asking());
    let (_, id) = listed(&world)[0].clone();
    world.tell_one(Input::HaScopeConfig(scope_key(SCOPE), None));
    world.tell(ha(0, "2"));
    world.settle();
    assert_ne!(listed(&world)[0].1, id);
}
