//! What an operator lives through, from the DPU's side.

use schema::{AsicHaRole, AsicHaState, Db, Table};

use super::*;

const ACTIVE: AsicHaRole = AsicHaRole::Active;

/// Whether the story's calls and BFD removals came in this order.
fn order(dpu: &Dpu) -> Vec<&'static str> {
    let words = dpu.done.iter().filter_map(|done| match done {
        Done::Wrote(Table::BfdSoftwareSession, _, true) => Some("bfd up"),
        Done::Wrote(Table::BfdSoftwareSession, _, false) => Some("bfd gone"),
        Done::Wrote(..) => None,
        Done::Called(AsicOp::SetHaScope(_, HaScopeAttribute::DashHaRole(AsicHaRole::Dead))) => Some("dead"),
        Done::Called(AsicOp::SetHaScope(_, HaScopeAttribute::DashHaRole(_))) => Some("role"),
        Done::Called(AsicOp::SetHaScope(_, HaScopeAttribute::AdminState(true))) => Some("enabled"),
        Done::Called(AsicOp::SetHaScope(_, HaScopeAttribute::AdminState(false))) => Some("disabled"),
        Done::Called(AsicOp::SetHaScope(..)) => Some("attribute"),
        Done::Called(AsicOp::RemoveHaScope(_)) => Some("scope removed"),
        Done::Called(AsicOp::CreateHaScope(_)) => Some("scope made"),
        Done::Called(AsicOp::CreateHaSet(_)) => Some("set made"),
        Done::Called(AsicOp::RemoveHaSet(_)) => Some("set removed"),
        Done::Called(AsicOp::SetHaSet(..)) => Some("peer set"),
    });
    words.collect()
}

#[test]
fn planned_shutdown_withdraws_bfd_first_and_brings_it_back_without_hamgrd() {
    let mut dpu = Dpu::active();
    dpu.holds_local = true;
    dpu.scope_row("HA_SET_1", Some(with_role(AsicHaRole::Dead)));
    assert_eq!(order(&dpu), [] as [&str; 0], "the withdrawal is not confirmed yet");
    dpu.release_local();
    assert_eq!(order(&dpu), ["bfd gone", "dead"]);
    dpu.state_event(AsicHaRole::Dead, AsicHaState::Destroying);
    dpu.state_event(AsicHaRole::Dead, AsicHaState::Dead);
    assert_eq!(dpu.bfd().len(), 0);
    dpu.done.clear();
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    dpu.state_event(ACTIVE, AsicHaState::Connecting);
    assert_eq!(dpu.bfd().len(), 0);
    dpu.state_event(ACTIVE, AsicHaState::Active);
    assert_eq!(order(&dpu), ["role", "bfd up"]);
    assert_eq!(dpu.bfd_fields(NPU), Some(bfd_session().into()), "with the cached parameters");
}

#[test]
fn going_down_waits_until_the_bfd_backend_has_told_the_peers() {
    let open = |open: bool| Input::BfdOpen(open.then(|| bfd_key(NPU)).into_iter().collect());
    let is_dead = |dpu: &Dpu| dpu.calls(is_set_scope) == 1;
    let mut dpu = Dpu::active();
    dpu.step(vec![open(true)]);
    dpu.scope_row("HA_SET_1", Some(with_role(AsicHaRole::Dead)));
    assert!(dpu.bfd().is_empty() && !is_dead(&dpu), "the row is gone, the session is not");
    dpu.pass_ms(999);
    assert!(!is_dead(&dpu));
    dpu.step(vec![open(false)]);
    assert!(is_dead(&dpu));
    assert!(dpu.orch.next_deadline().is_none());

    // A backend that does not say so is given up, and the operator told.
    let mut dpu = Dpu::active();
    dpu.step(vec![open(true)]);
    dpu.scope_row("HA_SET_1", Some(with_role(AsicHaRole::Dead)));
    dpu.pass_ms(1_000);
    assert!(is_dead(&dpu));
    let told = Note::BfdNotClosed { sessions: vec![format!("default|default|{NPU}")] };
    assert_eq!(dpu.notes.iter().filter(|note| **note == told).count(), 1);
    assert!(dpu.orch.next_deadline().is_none());

    // Sessions of others are not waited for.
    let mut dpu = Dpu::active();
    dpu.step(vec![Input::BfdOpen([bfd_key("10.9.9.9")].into())]);
    dpu.scope_row("HA_SET_1", Some(with_role(AsicHaRole::Dead)));
    assert!(is_dead(&dpu));
}

#[test]
fn a_disabled_scope_withdraws_bfd_first() {
    let mut dpu = Dpu::active();
    dpu.scope_row("HA_SET_1", Some(HaScope { disabled: true, ..with_role(ACTIVE) }));
    assert_eq!(order(&dpu), ["bfd gone", "disabled"]);
    dpu.state_event(AsicHaRole::Dead, AsicHaState::Dead);
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    dpu.state_event(ACTIVE, AsicHaState::Active);
    assert_eq!(order(&dpu), ["bfd gone", "disabled", "enabled", "bfd up"]);
}

#[test]
fn a_removed_scope_withdraws_bfd_first() {
    let mut dpu = Dpu::active();
    dpu.scope_row("HA_SET_1", None);
    dpu.set_row("HA_SET_1", None);
    assert_eq!(order(&dpu), ["bfd gone", "scope removed", "set removed"]);
}

/// A DPU's database is emptied, and the controller programs it anew before the BFD backend has told the peers.
#[test]
fn what_was_deleted_and_written_again_is_built_anew_however_soon() {
    let open = |open: bool| Input::BfdOpen(open.then(|| bfd_key(NPU)).into_iter().collect());
    let mut dpu = Dpu::active();
    dpu.step(vec![open(true)]);
    dpu.scope_row("HA_SET_1", None);
    dpu.set_row("HA_SET_1", None);
    dpu.set_row("HA_SET_1", Some(ha_set()));
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    assert!(dpu.bfd().is_empty(), "it is another HA scope that serves");
    assert_eq!(dpu.calls(is_remove_scope), 0);
    dpu.step(vec![open(false)]);
    assert_eq!(order(&dpu)[..3], ["bfd gone", "scope removed", "set removed"]);
    assert_eq!((dpu.calls(is_create_set), dpu.calls(is_create_scope)), (1, 1));
}

#[test]
fn a_shutdown_taken_back_before_the_withdrawal_is_confirmed_never_reaches_the_asic() {
    let mut dpu = Dpu::active();
    dpu.holds_local = true;
    dpu.scope_row("HA_SET_1", Some(with_role(AsicHaRole::Dead)));
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    dpu.release_local();
    assert_eq!(order(&dpu), ["bfd gone", "bfd up"]);
}

#[test]
fn nothing_goes_down_while_the_local_database_is_away() {
    let mut dpu = Dpu::active();
    let lost = StoreEvent { place: Place::Local, db: Db::StateDb, update: StoreUpdate::Lost };
    dpu.step(vec![Input::Store(lost)]);
    dpu.scope_row("HA_SET_1", Some(with_role(AsicHaRole::Dead)));
    assert_eq!(order(&dpu), [] as [&str; 0]);
    let snapshot = dpu.snapshot(Place::Local, Db::StateDb);
    dpu.step(vec![snapshot]);
    assert_eq!(order(&dpu), ["bfd gone", "dead"]);
}

#[test]
fn the_rows_of_a_restarted_dpu_may_arrive_in_any_order() {
    let rows = |dpu: &mut Dpu, which: usize| match which {
        0 => dpu.set_row("HA_SET_1", Some(ha_set())),
        1 => dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE))),
        _ => dpu.bfd_row(NPU, Some(bfd_session())),
    };
    for sequence in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut dpu = Dpu::booted();
        for which in sequence {
            rows(&mut dpu, which);
        }
        dpu.state_event(ACTIVE, AsicHaState::Active);
        assert_eq!(order(&dpu), ["set made", "scope made", "bfd up"], "{sequence:?}");
        assert_eq!(dpu.scope_result("HA_SET_1"), Some((0, Some("1".into()))), "{sequence:?}");
    }
}

#[test]
fn what_sai_cannot_change_in_place_is_made_anew_in_order() {
    let mut dpu = Dpu::active();
    let newer = HaSet { version: Some("2".into()), cp_data_channel_port: Some(11_362), ..ha_set() };
    dpu.set_row("HA_SET_1", Some(newer));
    assert_eq!(order(&dpu), ["bfd gone", "scope removed", "set removed", "set made", "scope made"]);
    assert_eq!(dpu.set_result("HA_SET_1"), Some((0, Some("2".into()))));
    assert_eq!(dpu.scope_state("HA_SET_1").unwrap().ha_state, Some(AsicHaState::Dead));
    dpu.state_event(ACTIVE, AsicHaState::Active);
    assert_eq!(dpu.bfd().len(), 1);
}

#[test]
fn a_scope_that_moves_to_another_set_is_made_anew() {
    let mut dpu = Dpu::active();
    let other = HaSet { local_ip: Some("192.168.3.1".parse().unwrap()), ..ha_set() };
    dpu.set_row("HA_SET_2", Some(other));
    dpu.done.clear();
    dpu.scope_row("HA_SET_1", Some(HaScope { ha_set_id: Some(set_id("HA_SET_2")), ..with_role(ACTIVE) }));
    assert_eq!(order(&dpu), ["bfd gone", "scope removed", "scope made"]);
    dpu.state_event(ACTIVE, AsicHaState::Active);
    assert_eq!(dpu.bfd().len(), 0, "the session starts from the other set's address");
}

#[test]
fn a_set_is_not_removed_while_its_scope_is_being_made() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    dpu.holds_calls = true;
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    dpu.scope_row("HA_SET_1", None);
    dpu.set_row("HA_SET_1", None);
    let mut ops = Vec::new();
    while let Some(op) = dpu.answer_one() {
        ops.push(op);
    }
    let kinds: Vec<_> =
        ops.iter().map(|op| (is_create_scope(op), is_remove_scope(op), is_remove_set(op))).collect();
    assert_eq!(kinds, [(true, false, false), (false, true, false), (false, false, true)]);
    assert!(dpu.rows.is_empty());
}

#[test]
fn a_flushed_dpu_state_db_is_published_again() {
    let mut dpu = Dpu::active();
    dpu.set_event(LinkState::Up);
    let before = dpu.rows.clone();
    dpu.rows.retain(|(place, _, _), _| *place == Place::Local);
    let inputs =
        vec![dpu.snapshot(Place::Remote, Db::DpuStateDb), dpu.snapshot(Place::Remote, Db::DpuApplStateDb)];
    dpu.step(inputs);
    assert_eq!(dpu.rows, before);
}

#[test]
fn rows_of_an_earlier_life_are_removed_at_start() {
    let stale = Fields::from_iter([("ha_state", "active")]);
    let left = bfd_session();
    let dpu = Dpu::with(
        Capabilities::default(),
        &[
            (Place::Remote, Table::DpuDashHaScopeState, "HA_SET_1", stale.clone()),
            (Place::Remote, Table::DashHaScopeResult, "HA_SET_1", Fields::from_iter([("result", "0")])),
            (Place::Local, Table::BfdSoftwareSession, "default|default|10.1.0.32", left.to_fields()),
        ],
    );
    assert!(dpu.rows.is_empty(), "{:?}", dpu.rows);
}

#[test]
fn a_split_brain_recovery_makes_the_approved_side_yield_once() {
    let mut dpu = Dpu::active();
    dpu.state_event(AsicHaRole::Standalone, AsicHaState::Standalone);
    dpu.scope_event(HaScopeEventKind::SplitBrainDetected, AsicHaRole::Standalone, AsicHaState::Standalone, 1);
    assert!(dpu.scope_state("HA_SET_1").unwrap().brainsplit_recover_pending);
    assert_eq!(dpu.bfd().len(), 1, "it goes on serving");
    let approval = HaScope { brainsplit_recovered: Some(true), ..with_role(ACTIVE) };
    dpu.scope_row("HA_SET_1", Some(approval));
    assert_eq!(order(&dpu), ["bfd gone", "disabled", "enabled"]);
    assert!(!dpu.scope_state("HA_SET_1").unwrap().brainsplit_recover_pending);
    dpu.state_event(ACTIVE, AsicHaState::Dead);
    dpu.state_event(ACTIVE, AsicHaState::Connecting);
    dpu.pass_ms(60_000);
    assert_eq!(order(&dpu), ["bfd gone", "disabled", "enabled"], "once");
}

#[test]
fn a_side_that_is_down_already_has_yielded() {
    let mut dpu = Dpu::active();
    dpu.scope_row("HA_SET_1", Some(HaScope { disabled: true, ..with_role(ACTIVE) }));
    dpu.scope_event(HaScopeEventKind::SplitBrainDetected, AsicHaRole::Standalone, AsicHaState::Standalone, 1);
    dpu.scope_row("HA_SET_1", Some(HaScope { brainsplit_recovered: Some(true), ..with_role(ACTIVE) }));
    assert_eq!(order(&dpu), ["bfd gone", "disabled", "enabled"]);
    assert!(!dpu.scope_state("HA_SET_1").unwrap().brainsplit_recover_pending);
}

#[test]
fn the_survivor_of_a_split_brain_lowers_its_flag_by_itself() {
    let mut dpu = Dpu::active();
    dpu.state_event(AsicHaRole::Standalone, AsicHaState::Standalone);
    dpu.scope_event(HaScopeEventKind::SplitBrainDetected, AsicHaRole::Standalone, AsicHaState::Standalone, 1);
    // The other side was cycled: the ASIC takes a new term.
    dpu.scope_event(HaScopeEventKind::StateChanged, AsicHaRole::Standalone, AsicHaState::Standalone, 2);
    assert!(!dpu.scope_state("HA_SET_1").unwrap().brainsplit_recover_pending);
    dpu.scope_row("HA_SET_1", Some(HaScope { brainsplit_recovered: Some(true), ..with_role(ACTIVE) }));
    assert_eq!(order(&dpu), [] as [&str; 0], "a late approval does nothing");
}

#[test]
fn a_request_that_stands_before_the_episode_approves_nothing() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    let requested = HaScope { activate_role_requested: Some(true), ..with_role(ACTIVE) };
    dpu.scope_row("HA_SET_1", Some(requested.clone()));
    dpu.state_event(ACTIVE, AsicHaState::PendingStandbyActivation);
    let pending = |dpu: &Dpu| dpu.scope_state("HA_SET_1").unwrap().activate_role_pending;
    assert!(!pending(&dpu), "held back until hamgrd lowers its request");
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    assert!(pending(&dpu));
    assert_eq!(dpu.asic.activations, 0);
    dpu.scope_row("HA_SET_1", Some(requested));
    assert_eq!(dpu.asic.activations, 1);
    assert_eq!(dpu.calls(is_activate), 1);
    assert!(!pending(&dpu));
}

#[test]
fn a_request_that_nobody_lowers_holds_an_episode_back_for_a_while_only() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    let requested = HaScope { activate_role_requested: Some(true), ..with_role(ACTIVE) };
    dpu.scope_row("HA_SET_1", Some(requested.clone()));
    dpu.state_event(ACTIVE, AsicHaState::PendingStandbyActivation);
    let (deadline, _) = dpu.orch.next_deadline().unwrap();
    dpu.pass_ms(deadline.since_ms(dpu.now));
    assert!(dpu.scope_state("HA_SET_1").unwrap().activate_role_pending);
    dpu.scope_row("HA_SET_1", Some(requested.clone()));
    assert_eq!(dpu.asic.activations, 0, "a row read again is no approval");
    dpu.scope_row("HA_SET_1", Some(HaScope { version: Some("2".into()), ..requested }));
    assert_eq!(dpu.asic.activations, 1, "a row written again is, as SONiC's hamgrd gives it");
}

/// Found by reading: a row as it comes after a handshake of the ZMQ link, without its requests, read as lowered.
#[test]
fn a_row_without_its_requests_ends_no_hold_and_is_no_new_answer() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    let lowered = with_role(ACTIVE);
    let requested = HaScope { flow_reconcile_requested: Some(true), ..lowered.clone() };
    let silent = HaScope {
        flow_reconcile_requested: None,
        activate_role_requested: None,
        brainsplit_recovered: None,
        ..lowered.clone()
    };
    let pending = |dpu: &Dpu| dpu.scope_state("HA_SET_1").unwrap().flow_reconcile_pending;
    let needed = |dpu: &mut Dpu| {
        dpu.scope_event(HaScopeEventKind::FlowReconcileNeeded, ACTIVE, AsicHaState::Dead, 1);
    };
    dpu.scope_row("HA_SET_1", Some(lowered.clone()));
    needed(&mut dpu);
    dpu.scope_row("HA_SET_1", Some(requested.clone()));
    assert_eq!(dpu.asic.reconciles, 1);
    // The next episode begins before hamgrd has seen the flag of the first lowered; then the link breaks.
    needed(&mut dpu);
    assert!(!pending(&dpu));
    dpu.scope_row("HA_SET_1", Some(silent.clone()));
    assert!(!pending(&dpu), "held back all the same");
    dpu.scope_row("HA_SET_1", Some(requested.clone()));
    assert_eq!(dpu.asic.reconciles, 1, "the approval of the first episode, said again");
    dpu.scope_row("HA_SET_1", Some(lowered));
    assert!(pending(&dpu));
    dpu.scope_row("HA_SET_1", Some(requested));
    assert_eq!(dpu.asic.reconciles, 2);
    assert!(!pending(&dpu));
}

#[test]
fn another_pending_state_is_another_episode() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    dpu.state_event(ACTIVE, AsicHaState::PendingStandaloneActivation);
    dpu.scope_row("HA_SET_1", Some(HaScope { activate_role_requested: Some(true), ..with_role(ACTIVE) }));
    assert_eq!(dpu.asic.activations, 1);
    dpu.state_event(ACTIVE, AsicHaState::Connected);
    dpu.state_event(ACTIVE, AsicHaState::PendingActiveActivation);
    assert_eq!(dpu.asic.activations, 1);
    assert!(!dpu.scope_state("HA_SET_1").unwrap().activate_role_pending);
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    assert!(dpu.scope_state("HA_SET_1").unwrap().activate_role_pending);
}
