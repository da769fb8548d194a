//! The defects of SONiC's DashHaOrch, by number (`reference/dpu-side.md` 6.2), that cannot happen here. Those
//! without a test are decided in the crate's documentation.

use schema::{AsicHaRole, AsicHaState, HaOwner, HaScopeKind, Table};

use super::*;

const ACTIVE: AsicHaRole = AsicHaRole::Active;

#[test]
fn defect_1_a_session_before_its_eni_scope_set_is_made_when_the_set_arrives() {
    let mut dpu = Dpu::booted();
    dpu.bfd_row(NPU, Some(bfd_session()));
    assert_eq!(dpu.bfd().len(), 0);
    dpu.set_row("HA_SET_1", Some(HaSet { scope: Some(HaScopeKind::Eni), ..ha_set() }));
    assert_eq!(dpu.bfd().len(), 1);
}

#[test]
fn defect_2_whatever_does_not_serve_has_no_bfd() {
    let dead: [fn(&mut Dpu); 5] = [
        |dpu| dpu.scope_row("HA_SET_1", Some(HaScope { disabled: true, ..with_role(ACTIVE) })),
        |dpu| dpu.scope_row("HA_SET_1", None),
        |dpu| dpu.set_row("HA_SET_1", None),
        |dpu| dpu.state_event(AsicHaRole::Dead, AsicHaState::Dead),
        |dpu| dpu.state_event(ACTIVE, AsicHaState::Destroying),
    ];
    for (n, goes) in dead.into_iter().enumerate() {
        let mut dpu = Dpu::active();
        goes(&mut dpu);
        assert_eq!(dpu.bfd().len(), 0, "{n}");
    }
    for state in AsicHaState::ALL {
        let mut dpu = Dpu::active();
        dpu.state_event(ACTIVE, *state);
        assert_eq!(dpu.bfd().len(), usize::from(state.serves()), "{state}");
    }
}

#[test]
fn defect_3_sessions_of_others_and_of_other_sets_stay() {
    let foreign = Fields::from_iter([("type", "async_active"), ("local_addr", "192.168.2.1")]);
    let mut dpu = Dpu::with(
        Capabilities::default(),
        &[(Place::Local, Table::BfdSoftwareSession, "default|default|10.9.9.9", foreign)],
    );
    let elsewhere = "192.168.3.1".parse().unwrap();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    dpu.set_row("HA_SET_2", Some(HaSet { local_ip: Some(elsewhere), ..ha_set() }));
    dpu.bfd_row(NPU, Some(bfd_session()));
    dpu.bfd_row("192.168.1.101", Some(BfdSession { local_addr: Some(elsewhere), ..bfd_session() }));
    dpu.bfd_row("192.168.1.102", Some(BfdSession { local_addr: None, ..bfd_session() }));
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    dpu.state_event(ACTIVE, AsicHaState::Active);
    dpu.scope_row("HA_SET_2", Some(HaScope { ha_set_id: Some(set_id("HA_SET_2")), ..with_role(ACTIVE) }));
    dpu.state_event(ACTIVE, AsicHaState::Active);
    assert_eq!(dpu.bfd().len(), 4);
    dpu.scope_row("HA_SET_1", Some(with_role(AsicHaRole::Dead)));
    assert_eq!(
        dpu.bfd(),
        ["default|default|10.9.9.9", "default|default|192.168.1.101", "default|default|192.168.1.102",]
    );
    dpu.scope_row("HA_SET_2", None);
    assert_eq!(dpu.bfd(), ["default|default|10.9.9.9"]);
}

#[test]
fn defect_3_a_session_of_another_type_that_we_made_is_ours() {
    let mut dpu = Dpu::active();
    let typeless = BfdSession { kind: None, ..bfd_session() };
    dpu.bfd_row("192.168.1.101", Some(typeless));
    assert_eq!(dpu.bfd().len(), 2);
    dpu.bfd_row("192.168.1.101", None);
    assert_eq!(dpu.bfd().len(), 1);
}

#[test]
fn defect_4_a_failed_call_is_reported_and_repeated() {
    for status in SaiStatus::ALL {
        let mut dpu = Dpu::booted();
        dpu.asic.failures.push_back(*status);
        dpu.set_row("HA_SET_1", Some(ha_set()));
        assert_eq!(dpu.set_result("HA_SET_1"), Some((1, Some("1".into()))), "{status}");
        assert!(dpu.notes.iter().any(|note| matches!(note, Note::SaiFailed { .. })), "{status}");
        let (deadline, _) = dpu.orch.next_deadline().unwrap();
        dpu.pass_ms(deadline.since_ms(dpu.now));
        assert_eq!(dpu.set_result("HA_SET_1"), Some((0, Some("1".into()))), "{status}");
        assert_eq!(dpu.orch.next_deadline(), None, "{status}");
    }
}

#[test]
fn defect_4_retries_slow_down_and_a_new_row_is_tried_at_once() {
    let mut dpu = Dpu::booted();
    dpu.asic.failures = std::iter::repeat_n(SaiStatus::Failure, 100).collect();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let (deadline, _) = dpu.orch.next_deadline().unwrap();
        pauses.push(deadline.since_ms(dpu.now));
        dpu.pass_ms(deadline.since_ms(dpu.now));
    }
    assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    dpu.asic.failures.clear();
    dpu.set_row("HA_SET_1", Some(HaSet { version: Some("2".into()), ..ha_set() }));
    assert_eq!(dpu.set_result("HA_SET_1"), Some((0, Some("2".into()))));
}

#[test]
fn defect_4_a_failed_role_is_not_published() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(HaSet { owner: Some(HaOwner::Switch), ..ha_set() }));
    dpu.scope_row("HA_SET_1", Some(with_role(AsicHaRole::Standby)));
    dpu.asic.failures.push_back(SaiStatus::Failure);
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    assert_eq!(dpu.scope_state("HA_SET_1").unwrap().ha_role, Some(AsicHaRole::Standby));
    assert_eq!(dpu.scope_result("HA_SET_1"), Some((1, Some("1".into()))));
}

#[test]
fn defect_4_an_object_that_the_asic_lost_is_made_again() {
    let mut dpu = Dpu::active();
    dpu.asic.failures.push_back(SaiStatus::ItemNotFound);
    dpu.scope_row("HA_SET_1", Some(with_role(AsicHaRole::Standalone)));
    assert_eq!(dpu.calls(is_create_scope), 1);
    assert_eq!(dpu.scope_result("HA_SET_1"), Some((0, Some("1".into()))));
}

#[test]
fn defect_6_a_bad_row_leaves_no_stale_success() {
    let mut dpu = Dpu::active();
    assert_eq!(dpu.scope_result("HA_SET_1"), Some((0, Some("1".into()))));
    dpu.refuse(Table::DashHaScope, "HA_SET_1");
    assert_eq!(dpu.scope_result("HA_SET_1"), Some((1, None)));
    assert_eq!(dpu.bfd().len(), 1, "the last good row stays in force");
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    assert_eq!(dpu.scope_result("HA_SET_1"), Some((0, Some("1".into()))));
}

#[test]
fn defect_7_a_late_owner_is_evaluated_for_existing_scopes() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(HaSet { owner: Some(HaOwner::Unspecified), ..ha_set() }));
    dpu.scope_row("HA_SET_1", Some(with_role(ACTIVE)));
    let state = |dpu: &Dpu| dpu.scope_state("HA_SET_1").unwrap().ha_state;
    assert_eq!(state(&dpu), Some(AsicHaState::Dead));
    dpu.set_row("HA_SET_1", Some(HaSet { owner: Some(HaOwner::Switch), ..ha_set() }));
    assert_eq!(state(&dpu), Some(AsicHaState::Active));
}

#[test]
fn defect_8_times_are_seconds_on_the_wire() {
    let dpu = Dpu::active();
    let key = (Place::Remote, Table::DpuDashHaScopeState, "HA_SET_1".to_owned());
    assert_eq!(dpu.rows[&key].text("last_updated_time"), Some("1700000000"));
}

#[test]
fn defect_9_an_event_given_twice_changes_nothing_the_second_time() {
    for kind in [
        HaScopeEventKind::StateChanged,
        HaScopeEventKind::FlowReconcileNeeded,
        HaScopeEventKind::SplitBrainDetected,
    ] {
        let mut dpu = Dpu::active();
        dpu.scope_event(kind, ACTIVE, AsicHaState::PendingActiveActivation, 7);
        dpu.done.clear();
        dpu.scope_event(kind, ACTIVE, AsicHaState::PendingActiveActivation, 7);
        assert_eq!(dpu.done, [], "{kind:?}");
    }
}

#[test]
fn defect_10_a_pending_flag_falls_with_its_state() {
    let mut dpu = Dpu::active();
    dpu.state_event(ACTIVE, AsicHaState::PendingStandaloneActivation);
    assert!(dpu.scope_state("HA_SET_1").unwrap().activate_role_pending);
    dpu.state_event(ACTIVE, AsicHaState::Connected);
    assert!(!dpu.scope_state("HA_SET_1").unwrap().activate_role_pending);
    dpu.scope_event(HaScopeEventKind::FlowReconcileNeeded, ACTIVE, AsicHaState::Standalone, 2);
    dpu.scope_event(HaScopeEventKind::SplitBrainDetected, ACTIVE, AsicHaState::Standalone, 2);
    let state = dpu.scope_state("HA_SET_1").unwrap();
    assert!(state.flow_reconcile_pending && state.brainsplit_recover_pending);
    assert!(state.ha_state.is_some() && state.ha_role.is_some(), "hamgrd needs them in every row");
    dpu.state_event(AsicHaRole::Dead, AsicHaState::Dead);
    let state = dpu.scope_state("HA_SET_1").unwrap();
    assert!(!state.flow_reconcile_pending && !state.brainsplit_recover_pending);
}

#[test]
fn defect_11_requests_in_the_creating_row_fire_nothing() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    let eager = HaScope {
        activate_role_requested: Some(true),
        flow_reconcile_requested: Some(true),
        ..with_role(ACTIVE)
    };
    dpu.scope_row("HA_SET_1", Some(eager));
    dpu.state_event(ACTIVE, AsicHaState::Active);
    assert_eq!(dpu.calls(is_set_scope), 0);
}

#[test]
fn defect_12_the_term_is_published_once_known() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(HaSet { owner: Some(HaOwner::Switch), ..ha_set() }));
    dpu.scope_row("HA_SET_1", Some(HaScope { ha_term: Some(9), ..with_role(ACTIVE) }));
    assert_eq!(dpu.scope_state("HA_SET_1").unwrap().ha_term, None);
    dpu.scope_event(HaScopeEventKind::StateChanged, ACTIVE, AsicHaState::Active, 9);
    assert_eq!(dpu.scope_state("HA_SET_1").unwrap().ha_term, Some(9));
}

/// SONiC's own test read the id of a HA scope here.
#[test]
fn defect_15_an_event_reaches_its_own_object_only() {
    let mut dpu = Dpu::active();
    let scope = *dpu.asic.scopes.keys().next().unwrap();
    dpu.step(vec![Input::Event(AsicEvent::HaSet { ha_set_id: scope, dp_channel: LinkState::Up })]);
    assert_eq!(dpu.set_state("HA_SET_1"), None);
    assert!(dpu.notes.iter().any(|note| matches!(note, Note::UnknownObject(_))));
    dpu.set_event(LinkState::Down);
    assert_eq!(dpu.set_state("HA_SET_1").unwrap().dp_channel_is_alive, Some(LinkState::Down));
}

#[test]
fn a_session_without_a_local_address_belongs_to_every_set() {
    let mut dpu = Dpu::active();
    dpu.bfd_row("192.168.1.101", Some(BfdSession { local_addr: None, ..bfd_session() }));
    assert_eq!(dpu.bfd().len(), 2);
    dpu.bfd_row(
        "192.168.1.102",
        Some(BfdSession { local_addr: Some("1.2.3.4".parse().unwrap()), ..bfd_session() }),
    );
    assert_eq!(dpu.bfd().len(), 2, "an address of none of our sets");
}

#[test]
fn an_ipv6_session_follows_every_set_of_the_dpu() {
    const NPU_V6: &str = "fd00:1::32";
    let v6 = BfdSession { local_addr: Some("fd00:2::1".parse().unwrap()), ..bfd_session() };
    let mut dpu = Dpu::active();
    dpu.bfd_row(NPU_V6, Some(v6.clone()));
    assert_eq!(dpu.bfd_fields(NPU_V6), Some(v6.clone().into()));
    dpu.scope_row("HA_SET_1", Some(with_role(AsicHaRole::Dead)));
    assert_eq!(dpu.bfd().len(), 0);
    // Where a set names an IPv6 address, that one counts.
    let mut dpu = Dpu::active();
    dpu.set_row("HA_SET_2", Some(HaSet { local_ip: v6.local_addr, ..ha_set() }));
    dpu.bfd_row(NPU_V6, Some(v6));
    assert_eq!(dpu.bfd_fields(NPU_V6), None);
}

#[test]
fn a_changed_session_is_written_again() {
    let mut dpu = Dpu::active();
    dpu.bfd_row(NPU, Some(BfdSession { multiplier: Some(5), ..bfd_session() }));
    assert_eq!(dpu.bfd_fields(NPU).unwrap().multiplier, Some(5));
}

#[test]
fn nothing_is_done_before_everything_was_read() {
    let mut orch = HaOrch::default();
    let mut out = Vec::new();
    let inputs = vec![Input::HaSet(set_id("HA_SET_1"), Some(ha_set()))];
    orch.handle(Time(0), Batch { wall: WallMs(0), inputs }, &mut out);
    assert_eq!(out, []);
}

#[test]
fn it_says_once_that_everything_was_read() {
    let mut dpu = Dpu::booted();
    dpu.set_row("HA_SET_1", Some(ha_set()));
    dpu.step(vec![Input::Unsynced, Input::Synced]);
    assert_eq!(dpu.notes.iter().filter(|note| **note == Note::Ready).count(), 1);
}
