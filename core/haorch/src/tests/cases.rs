//! The unit tests of SONiC's DashHaOrch, by number (`reference/dpu-side.md` 4.1), with our decisions where they
//! differ.

use schema::{AsicHaRole, AsicHaState, HaOwner, HaScopeKind, LinkState, Table};

use super::*;

const ACTIVE: AsicHaRole = AsicHaRole::Active;

#[test]
fn case_1_a_ha_set_is_made_and_removed_with_its_rows() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    assert_eq!(dpu.calls(is_create_set), 1);
    assert_eq!(dpu.set_state("HA_SET_1"), None, "no state before the first event");
    dpu.set_event(LinkState::Up);
    let state = dpu.set_state("HA_SET_1").unwrap();
    assert_eq!(state.dp_channel_is_alive, Some(LinkState::Up));
    assert_eq!(state.last_updated_time_s, Some(1_700_000_000));
    assert_eq!(dpu.set_result("HA_SET_1"), Some((0, Some("1".into()))));
    dpu.set_row("HA_SET_1", None);
    assert_eq!(dpu.calls(is_remove_set), 1);
    assert!(dpu.rows.is_empty(), "{:?}", dpu.rows);
}

#[test]
fn case_2_the_peer_address_is_set_in_place() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    let peer = "192.168.2.100".parse().unwrap();
    let newer = HaSet { version: Some("2".into()), peer_ip: Some(peer), ..ha_set() };
    dpu.set_row("HA_SET_1", Some(newer.clone()));
    let on_asic = |dpu: &Dpu| dpu.asic.sets.values().next().unwrap().peer_ip;
    assert_eq!(on_asic(&dpu), peer);
    assert_eq!(dpu.set_result("HA_SET_1"), Some((0, Some("2".into()))));
    // An address that is none.
    dpu.refuse(Table::DashHaSet, "HA_SET_1");
    assert_eq!(on_asic(&dpu), peer);
    assert_eq!(dpu.set_result("HA_SET_1"), Some((1, None)));
    // No address at all: the object stays, but the row is not well.
    dpu.set_row("HA_SET_1", Some(HaSet { peer_ip: None, ..newer }));
    assert_eq!(on_asic(&dpu), peer);
    assert_eq!(dpu.set_result("HA_SET_1"), Some((1, Some("2".into()))));
    assert_eq!(dpu.calls(is_set_set), 1);
    assert_eq!(dpu.calls(is_create_set), 1);
}

#[test]
fn case_3_a_bad_row_makes_no_ha_set_and_says_so() {
    let mut dpu = Dpu::booted();
    dpu.refuse(Table::DashHaSet, "HA_SET_1");
    assert_eq!(dpu.calls(|_| true), 0);
    assert_eq!(dpu.set_result("HA_SET_1"), Some((1, None)));
    dpu.set_row("HA_SET_1", None);
    assert!(dpu.rows.is_empty());
}

// Case 4 (an unknown field is ignored) is the schema's: `unknown fields are ignored`.

#[test]
fn case_5_the_same_ha_set_again_is_nothing_new() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    dpu.done.clear();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    assert_eq!(dpu.done, []);
    dpu.set_row("HA_SET_1", None);
    assert_eq!(dpu.calls(is_remove_set), 1);
}

#[test]
fn case_6_a_ha_scope_is_made_once_and_removed_with_its_rows() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    dpu.scope_row("HA_SET_1", Some(ha_scope()));
    dpu.scope_row("HA_SET_1", Some(ha_scope()));
    assert_eq!(dpu.calls(is_create_scope), 1);
    assert_eq!(dpu.asic.scopes.len(), 1);
    assert_eq!(dpu.scope_result("HA_SET_1"), Some((0, Some("1".into()))));
    dpu.scope_row("HA_SET_1", None);
    assert_eq!(dpu.calls(is_remove_scope), 1);
    assert_eq!(dpu.scope_state("HA_SET_1"), None);
    assert_eq!(dpu.scope_result("HA_SET_1"), None);
}

#[test]
fn case_7_a_scope_without_a_set_id_belongs_to_the_set_of_its_name_and_takes_its_vips() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    let less = HaScope { disabled: false, ha_set_id: None, vip_v4: None, vip_v6: None, ..ha_scope() };
    dpu.scope_row("HA_SET_1", Some(less));
    assert_eq!(dpu.asic.scopes.values().next().unwrap().vip_v4, ha_set().vip_v4);
    assert_eq!(dpu.asic.scopes.values().next().unwrap().vip_v6, ha_set().vip_v6);
    dpu.scope_row("HA_SET_1", Some(ha_scope()));
    assert_eq!(dpu.calls(is_create_scope), 1);
    dpu.scope_row("HA_SET_1", None);
    assert_eq!(dpu.calls(is_remove_scope), 1);
}

#[test]
fn case_8_an_eni_scope_needs_no_eni_here() {
    let mut dpu = Dpu::booted();
    let set = HaSet { scope: Some(HaScopeKind::Eni), owner: Some(HaOwner::Switch), ..ha_set() };
    dpu.set_row("HA_SET_1", Some(set));
    dpu.scope_row("F4939FEFC47E", Some(ha_scope()));
    assert_eq!(dpu.calls(is_create_scope), 1);
    dpu.scope_row("F4939FEFC47E", None);
    assert_eq!(dpu.calls(is_remove_scope), 1);
}

#[test]
fn case_9_a_scope_waits_for_its_set() {
    let mut dpu = Dpu::booted();
    dpu.scope_row("HA_SET_1", Some(ha_scope()));
    assert_eq!(dpu.scope_result("HA_SET_1"), Some((1, Some("1".into()))));
    dpu.scope_row("HA_SET_1", None);
    dpu.set_row("HA_SET_1", None);
    assert_eq!(dpu.calls(|_| true), 0);
    assert!(dpu.rows.is_empty());
}

#[test]
fn case_10_the_published_role_is_the_one_of_the_last_event() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    dpu.scope_row("HA_SET_1", Some(ha_scope()));
    let state = dpu.scope_state("HA_SET_1").unwrap();
    assert_eq!((state.ha_role, state.ha_state), (Some(AsicHaRole::Dead), Some(AsicHaState::Dead)));
    assert_eq!(dpu.asic.scopes.values().next().unwrap().admin_state, Some(false));
    for (role, state) in [
        (ACTIVE, AsicHaState::Active),
        (AsicHaRole::Dead, AsicHaState::Dead),
        (AsicHaRole::Standby, AsicHaState::Standby),
        (AsicHaRole::Standalone, AsicHaState::Standalone),
        (AsicHaRole::SwitchingToActive, AsicHaState::PendingActiveActivation),
    ] {
        dpu.scope_row("HA_SET_1", Some(with_role(role)));
        dpu.state_event(role, state);
        let published = dpu.scope_state("HA_SET_1").unwrap();
        assert_eq!((published.ha_role, published.ha_state), (Some(role), Some(state)));
        assert_eq!(dpu.asic.scopes.values().next().unwrap().admin_state, Some(true));
        assert_eq!(dpu.asic.scopes.values().next().unwrap().dash_ha_role, role);
    }
    // A role that is none leaves everything as it is.
    dpu.refuse(Table::DashHaScope, "HA_SET_1");
    assert_eq!(dpu.scope_result("HA_SET_1"), Some((1, None)));
    assert_eq!(dpu.asic.scopes.values().next().unwrap().dash_ha_role, AsicHaRole::SwitchingToActive);
}

#[test]
fn case_11_times_say_since_when_and_only_change_with_what_they_time() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    dpu.pass_ms(5_000);
    dpu.state_event(ACTIVE, AsicHaState::Active);
    let first = dpu.scope_state("HA_SET_1").unwrap();
    assert_eq!(first.ha_state_start_time_s, Some(1_700_000_005));
    dpu.pass_ms(1_000);
    dpu.state_event(ACTIVE, AsicHaState::Active);
    let second = dpu.scope_state("HA_SET_1").unwrap();
    assert_eq!(second.ha_role_start_time_s, first.ha_role_start_time_s);
    assert_eq!(second.ha_state_start_time_s, first.ha_state_start_time_s);
    assert_eq!(second.last_updated_time_s, Some(1_700_000_006));
    dpu.state_event(AsicHaRole::Standalone, AsicHaState::Standalone);
    assert_eq!(dpu.scope_state("HA_SET_1").unwrap().ha_role_start_time_s, Some(1_700_000_006));
}

#[test]
fn case_12_an_approved_activation_is_carried_out_once() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    dpu.scope_row("HA_SET_1", Some(HaScope { disabled: false, ..ha_scope() }));
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    dpu.state_event(AsicHaRole::SwitchingToActive, AsicHaState::PendingActiveActivation);
    assert!(dpu.scope_state("HA_SET_1").unwrap().activate_role_pending);
    let approval = HaScope { activate_role_requested: Some(true), ..with_role(ACTIVE) };
    dpu.scope_row("HA_SET_1", Some(approval.clone()));
    dpu.scope_row("HA_SET_1", Some(approval));
    assert!(!dpu.scope_state("HA_SET_1").unwrap().activate_role_pending);
    dpu.state_event(ACTIVE, AsicHaState::Active);
    assert_eq!(dpu.calls(is_set_scope), 2, "role and activation");
    assert_eq!(dpu.asic.activations, 1);
}

#[test]
fn case_13_an_approved_flow_reconcile_is_carried_out_once() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    let row = HaScope { disabled: true, ..with_role(ACTIVE) };
    dpu.scope_row("HA_SET_1", Some(row.clone()));
    dpu.scope_event(HaScopeEventKind::FlowReconcileNeeded, ACTIVE, AsicHaState::Dead, 1);
    assert!(dpu.scope_state("HA_SET_1").unwrap().flow_reconcile_pending);
    dpu.scope_row("HA_SET_1", Some(HaScope { flow_reconcile_requested: Some(true), ..row }));
    assert!(!dpu.scope_state("HA_SET_1").unwrap().flow_reconcile_pending);
    assert_eq!(dpu.calls(is_set_scope), 1);
    assert_eq!(dpu.asic.reconciles, 1);
}

// Case 14 (split brain) is in `stories`; case 15 (a `pb` field, an unknown table) is the schema's and the shell's,
// but for the unspecified set:
#[test]
fn case_15_a_set_of_no_scope_makes_no_objects() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(HaSet { scope: Some(HaScopeKind::Unspecified), ..ha_set() }));
    dpu.scope_row("HA_SET_1", Some(ha_scope()));
    assert_eq!(dpu.calls(|_| true), 0);
    assert_eq!(dpu.set_result("HA_SET_1"), Some((1, Some("1".into()))));
    assert_eq!(dpu.scope_result("HA_SET_1"), Some((1, Some("1".into()))));
    assert!(dpu.notes.iter().any(|note| matches!(note, Note::Unusable { .. })));
}

#[test]
fn case_16_bfd_of_an_eni_scope_set_is_there_at_once_and_stays() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(HaSet { scope: Some(HaScopeKind::Eni), ..ha_set() }));
    dpu.scope_row("ENI", Some(ha_scope()));
    dpu.bfd_row(NPU, Some(bfd_session()));
    assert_eq!(dpu.bfd(), ["default|default|192.168.1.100"]);
    dpu.scope_row("ENI", Some(with_role(ACTIVE)));
    dpu.state_event(ACTIVE, AsicHaState::Active);
    dpu.scope_row("ENI", Some(with_role(AsicHaRole::Dead)));
    dpu.state_event(AsicHaRole::Dead, AsicHaState::Dead);
    assert_eq!(dpu.bfd().len(), 1);
}

#[test]
fn case_17_bfd_of_a_dpu_scope_set_follows_the_state() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    dpu.scope_row("HA_SET_1", Some(ha_scope()));
    dpu.bfd_row(NPU, Some(bfd_session()));
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    assert_eq!(dpu.bfd().len(), 0);
    dpu.state_event(ACTIVE, AsicHaState::PendingActiveActivation);
    assert_eq!(dpu.bfd().len(), 0);
    dpu.state_event(ACTIVE, AsicHaState::Active);
    assert_eq!(dpu.bfd().len(), 1);
    assert_eq!(dpu.bfd_fields(NPU), Some(bfd_session().into()));
    dpu.bfd_row("192.168.1.101", Some(bfd_session()));
    assert_eq!(dpu.bfd().len(), 2);
    dpu.bfd_row("192.168.1.101", None);
    assert_eq!(dpu.bfd().len(), 1);
    dpu.scope_row("HA_SET_1", Some(with_role(AsicHaRole::Dead)));
    assert_eq!(dpu.bfd().len(), 0, "at once, before any event");
}

#[test]
fn case_18_a_session_waits_for_a_scope() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    dpu.bfd_row(NPU, Some(bfd_session()));
    assert_eq!(dpu.bfd().len(), 0);
    dpu.scope_row("HA_SET_1", Some(ha_scope()));
    assert_eq!(dpu.bfd().len(), 0);
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    dpu.state_event(ACTIVE, AsicHaState::Active);
    assert_eq!(dpu.bfd().len(), 1);
}

#[test]
fn case_19_without_an_admin_state_only_the_role_is_set() {
    let mut dpu = Dpu::with(Capabilities { admin_state: false }, &[]);
    dpu.set_row("HA_SET_1", Some(ha_set()));
    dpu.scope_row("HA_SET_1", Some(ha_scope()));
    assert_eq!(dpu.asic.scopes.values().next().unwrap().admin_state, None);
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    assert_eq!(dpu.calls(is_set_scope), 1);
    // Disabled must mean something all the same.
    dpu.scope_row("HA_SET_1", Some(HaScope { disabled: true, ..with_role(ACTIVE) }));
    assert_eq!(dpu.asic.scopes.values().next().unwrap().dash_ha_role, AsicHaRole::Dead);
    dpu.scope_row("HA_SET_1", None);
    assert_eq!(dpu.calls(is_remove_scope), 1);
}

#[test]
fn case_20_the_state_of_a_switch_driven_scope_is_its_role() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(HaSet { owner: Some(HaOwner::Switch), ..ha_set() }));
    dpu.scope_row("HA_SET_1", Some(ha_scope()));
    let state = |dpu: &Dpu| dpu.scope_state("HA_SET_1").unwrap().ha_state;
    assert_eq!(state(&dpu), Some(AsicHaState::Dead));
    for (role, expected) in [
        (ACTIVE, AsicHaState::Active),
        (AsicHaRole::Standby, AsicHaState::Standby),
        (AsicHaRole::SwitchingToActive, AsicHaState::InitializingToActive),
        (AsicHaRole::Standalone, AsicHaState::Standalone),
        (AsicHaRole::Dead, AsicHaState::Dead),
    ] {
        dpu.scope_row("HA_SET_1", Some(with_role(role)));
        assert_eq!(state(&dpu), Some(expected));
    }
}

#[test]
fn case_21_bfd_of_a_switch_driven_scope_follows_its_role() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(HaSet { owner: Some(HaOwner::Switch), ..ha_set() }));
    dpu.scope_row("HA_SET_1", Some(ha_scope()));
    dpu.bfd_row(NPU, Some(bfd_session()));
    assert_eq!(dpu.bfd().len(), 0);
    for role in [AsicHaRole::Standby, AsicHaRole::SwitchingToActive, ACTIVE] {
        dpu.scope_row("HA_SET_1", Some(with_role(role)));
        assert_eq!(dpu.bfd().len(), 1, "{role}");
    }
}

#[test]
fn case_22_a_role_does_not_change_the_state_of_a_dpu_driven_scope() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    dpu.scope_row("HA_SET_1", Some(ha_scope()));
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    assert_eq!(dpu.scope_state("HA_SET_1").unwrap().ha_state, Some(AsicHaState::Dead));
}

/// SONiC goes on with the scope as if its set were still there. A scope without a set is not to exist (P5).
#[test]
fn case_23_a_scope_whose_set_is_removed_goes_first() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(HaSet { owner: Some(HaOwner::Switch), ..ha_set() }));
    dpu.scope_row("HA_SET_1", Some(ha_scope()));
    dpu.done.clear();
    dpu.set_row("HA_SET_1", None);
    let calls: Vec<_> = dpu.done.iter().filter(|done| matches!(done, Done::Called(_))).collect();
    assert!(
        matches!(calls[..], [Done::Called(AsicOp::RemoveHaScope(_)), Done::Called(AsicOp::RemoveHaSet(_))]),
        "{calls:?}"
    );
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    assert_eq!(dpu.scope_result("HA_SET_1"), Some((1, Some("1".into()))));
    dpu.scope_row("HA_SET_1", None);
    assert!(dpu.rows.is_empty());
}
