//! Roles and approvals: at most one decider, no id twice (`reference/controller.md` 4.4, 4.5).

use schema::appl_db::HaScopeConfig;
use schema::{AsicHaState, DesiredHaState, OperationType, Row, Table};

use super::field::{Field, fleet_of, vdpu_id};
use crate::*;

const ACTIVE: Option<AsicHaState> = Some(AsicHaState::Active);
const STANDBY: Option<AsicHaState> = Some(AsicHaState::Standby);
const STANDALONE: Option<AsicHaState> = Some(AsicHaState::Standalone);

#[test]
fn a_standby_whose_peers_switch_is_unreachable_is_not_approved_to_decide() {
    let mut field = Field::settled();
    for vdpu in ["vdpu0_0", "vdpu1_0"] {
        field.dpu(vdpu).die();
    }
    field.run_ms(3000);
    field.switch("switch0").reachable = false;
    field.dpu("vdpu1_0").boot();
    field.run_ms(10_000);
    assert_eq!(field.roles(), [None, Some(AsicHaState::PendingStandaloneActivation)]);
    assert_eq!(
        field.withheld(),
        [("vdpu1_0".to_owned(), OperationType::ActivateRole, Withheld::PeerUnknown)]
    );
    field.switch("switch0").reachable = true;
    field.run_ms(3000);
    assert_eq!(field.roles(), [None, STANDALONE]);
    field.dpu("vdpu0_0").boot();
    field.run_ms(5000);
    assert_eq!(field.roles(), [STANDBY, ACTIVE]);
    field.assert_quiet();
}

#[test]
fn an_active_one_programmed_while_its_peer_was_unknown_is_told_to_be_active_once_nobody_decides() {
    let mut field = Field::settled();
    for vdpu in ["vdpu0_0", "vdpu1_0"] {
        field.dpu(vdpu).die();
    }
    field.run_ms(3000);
    field.switch("switch1").reachable = false;
    field.dpu("vdpu0_0").boot();
    field.run_ms(3000);
    assert_eq!(field.desired("vdpu0_0"), Some(DesiredHaState::Unspecified));
    // The peer's scope is there before anything was approved: both stand by and nobody serves.
    field.dpu("vdpu1_0").boot();
    field.switch("switch1").reachable = true;
    field.run_ms(20_000);
    let roles = field.roles();
    assert!(roles == [ACTIVE, STANDBY] || roles == [STANDBY, ACTIVE], "{roles:?}");
    field.assert_quiet();
}

#[test]
fn a_split_brain_ends_with_the_intended_standby_yielding() {
    let mut field = Field::settled();
    field.channel_cut = true;
    field.run_ms(5000);
    assert_eq!(field.roles(), [STANDALONE, STANDALONE]);
    field.channel_cut = false;
    field.run_ms(10_000);
    assert_eq!(field.roles(), [ACTIVE, STANDBY]);
    let recovered = field
        .notes()
        .filter(|note| matches!(note, Note::Approved { operation: OperationType::BrainsplitRecover, .. }));
    assert!(recovered.count() <= 1, "one side only");
    assert!(field.writes().iter().any(|write| write.starts_with("switch1")));
    assert_eq!(field.begun(), []);
    field.assert_quiet();
}

#[test]
fn of_two_that_cannot_see_each_other_only_the_one_told_to_be_active_is_approved_to_stand_alone() {
    let mut field = Field::new(fleet_of(1));
    field.channel_cut = true;
    field.run_ms(20_000);
    assert_eq!(field.roles(), [STANDALONE, Some(AsicHaState::PendingStandaloneActivation)]);
    assert_eq!(
        field.withheld(),
        [("vdpu1_0".to_owned(), OperationType::ActivateRole, Withheld::PeerDecides)]
    );
    field.channel_cut = false;
    field.run_ms(20_000);
    assert_eq!(field.roles(), [ACTIVE, STANDBY]);
    field.assert_quiet();
}

#[test]
fn where_both_stand_by_and_nobody_decides_the_intended_one_is_told_to_after_a_while() {
    let mut field = Field::settled();
    field.store.clear();
    for (switch, vdpu) in [("switch0", "vdpu0_0"), ("switch1", "vdpu1_0")] {
        let (key, mut config) = field.switch(switch).scope(&vdpu_id(vdpu)).unwrap();
        config.desired_ha_state = DesiredHaState::Unspecified;
        config.version = "9".to_owned();
        let row = (Table::DashHaScopeConfig, HaScopeConfig::key_text(&key));
        field.switch(switch).appl.insert(row, config.to_fields());
        field.dpu(vdpu).applied = None;
    }
    field.start_controller();
    field.run_ms(4000);
    assert_eq!(field.roles(), [Some(AsicHaState::Connecting), Some(AsicHaState::Connecting)]);
    field.run_ms(5000);
    assert_eq!(field.roles(), [ACTIVE, STANDBY]);
    assert_eq!(field.begun(), []);
    assert_eq!(field.version("vdpu0_0"), Some(10));
    field.assert_quiet();
}

#[test]
fn an_operation_in_a_row_of_another_version_or_another_life_is_not_approved() {
    type Spoil = fn(&mut schema::state_db::HaScopeState);
    let spoils: [(&str, Spoil, bool); 3] = [
        ("another version", |row| row.version = Some("999".to_owned()), false),
        ("another life", |row| row.incarnation = Some(1), false),
        ("this version and life", |_| {}, true),
    ];
    for (what, spoil, approved) in spoils {
        let mut field = Field::settled();
        field.switch("switch1").hamgrd_runs = false;
        let row = field.switch("switch1").states.values_mut().next().unwrap();
        row.local_ha_state = Some(AsicHaState::PendingStandbyActivation);
        row.pending_operation_ids = vec![schema::OperationId::new("from-elsewhere").unwrap()];
        row.pending_operation_types = vec![OperationType::ActivateRole];
        spoil(row);
        field.run_ms(10_000);
        assert_eq!(!field.writes().is_empty(), approved, "{what}");
    }
}

#[test]
fn ids_and_types_that_do_not_go_together_and_operations_nobody_asked_for_are_not_approved() {
    let mut field = Field::settled();
    field.switch("switch1").hamgrd_runs = false;
    let ids = ["a", "b"].map(|id| schema::OperationId::new(id).unwrap());
    let row = field.switch("switch1").states.values_mut().next().unwrap();
    row.local_ha_state = Some(AsicHaState::PendingStandbyActivation);
    row.pending_operation_ids = ids.to_vec();
    row.pending_operation_types = vec![OperationType::ActivateRole];
    field.run_ms(10_000);
    assert_eq!(field.writes(), [] as [&str; 0]);
    let row = field.switch("switch1").states.values_mut().next().unwrap();
    row.pending_operation_types = vec![OperationType::Switchover, OperationType::FlowReconcile];
    field.run_ms(10_000);
    assert_eq!(field.withheld(), [("vdpu1_0".to_owned(), OperationType::Switchover, Withheld::Policy)]);
    let (_, config) = field.switch("switch1").scope(&vdpu_id("vdpu1_0")).unwrap();
    assert!(config.approved_pending_operation_ids.contains(&ids[1]));
    assert!(!config.approved_pending_operation_ids.contains(&ids[0]));
}

#[test]
fn between_an_approval_and_the_role_it_brings_the_peer_is_not_approved() {
    let mut field = Field::settled();
    field.dpu("vdpu0_0").die();
    field.run_ms(3000);
    field.dpu("vdpu0_0").boot();
    field.run_ms(5000);
    // Neither is told to be active now.
    let report = |field: &mut Field, switch: &str, state, id: Option<&str>| {
        let switch = field.switch(switch);
        switch.hamgrd_runs = false;
        let row = switch.states.values_mut().next().unwrap();
        row.local_ha_state = Some(state);
        row.pending_operation_ids = id.iter().map(|id| schema::OperationId::new(*id).unwrap()).collect();
        row.pending_operation_types = id.iter().map(|_| OperationType::ActivateRole).collect();
    };
    report(&mut field, "switch0", AsicHaState::Connecting, None);
    report(&mut field, "switch1", AsicHaState::PendingStandaloneActivation, Some("b1"));
    field.run_ms(1000);
    assert!(field.notes().any(|note| matches!(note, Note::Approved { id, .. } if id.as_str() == "b1")));
    report(&mut field, "switch1", AsicHaState::PendingStandaloneActivation, None);
    report(&mut field, "switch0", AsicHaState::PendingStandaloneActivation, Some("a1"));
    field.run_ms(1000);
    assert_eq!(
        field.withheld(),
        [("vdpu0_0".to_owned(), OperationType::ActivateRole, Withheld::PeerDecides)]
    );
    // It did not follow: it asks anew, and only one of the two is approved.
    report(&mut field, "switch1", AsicHaState::PendingStandaloneActivation, Some("b2"));
    field.run_ms(1000);
    let approved = |field: &Field, wanted: &str| {
        field.notes().any(|note| matches!(note, Note::Approved { id, .. } if id.as_str() == wanted))
    };
    assert!(approved(&field, "a1") != approved(&field, "b2"));
}
