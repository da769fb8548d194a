//! The life of a pair, story by story.

use haorch::HaSetAttribute;
use schema::LinkState;

use AsicHaState::*;

use super::*;

#[test]
fn a_fresh_pair_goes_through_all_states_and_waits_for_approval() {
    let mut pair = Pair::new();
    pair.approves = false;
    pair.boot(0, AsicHaRole::Active);
    pair.boot(1, AsicHaRole::Standby);
    pair.run_ms(1_000);
    assert_eq!(pair.states(), [PendingActiveActivation, InitializingToStandby]);
    pair.set(0, HaScopeAttribute::ActivateRole).unwrap();
    pair.run_ms(1_000);
    assert_eq!(pair.states(), [Active, PendingStandbyActivation]);
    pair.set(1, HaScopeAttribute::ActivateRole).unwrap();
    pair.run_ms(1_000);
    assert_eq!(pair.states(), [Active, Standby]);
    assert_eq!(pair.terms(), [1, 1]);
    let active = pair.reported(0);
    assert_eq!(active.last_chunk::<3>(), Some(&[InitializingToActive, PendingActiveActivation, Active]));
    assert_eq!(active.first(), Some(&Connecting));
    let standby = pair.reported(1);
    assert_eq!(standby.last_chunk::<3>(), Some(&[InitializingToStandby, PendingStandbyActivation, Standby]));
}

#[test]
fn the_pair_settles_within_half_a_second() {
    let mut pair = Pair::new();
    pair.boot(0, AsicHaRole::Active);
    pair.boot(1, AsicHaRole::Standby);
    pair.run_ms(500);
    assert_eq!(pair.states(), [Active, Standby]);
}

#[test]
fn equal_roles_are_settled_by_the_address() {
    for role in [AsicHaRole::Standby, AsicHaRole::Active] {
        let mut pair = Pair::new();
        pair.boot(0, role);
        pair.boot(1, role);
        pair.run_ms(1_000);
        assert_eq!(pair.states(), [Standby, Active], "the higher address wins");
    }
}

#[test]
fn without_a_peer_it_asks_to_be_standalone() {
    let mut pair = Pair::new();
    pair.approves = false;
    pair.boot(0, AsicHaRole::Standby);
    pair.run_ms(1_900);
    assert_eq!(pair.states()[0], Connecting);
    pair.run_ms(200);
    assert_eq!(pair.states()[0], PendingStandaloneActivation);
    pair.set(0, HaScopeAttribute::ActivateRole).unwrap();
    assert_eq!(pair.states()[0], Standalone);
}

#[test]
fn a_peer_that_appears_while_it_waits_is_paired_with_after_all() {
    let mut pair = Pair::new();
    pair.approves = false;
    pair.boot(0, AsicHaRole::Standby);
    pair.run_ms(3_000);
    pair.approves = true;
    pair.sides[0].is_stalled = true;
    pair.boot(1, AsicHaRole::Active);
    pair.run_ms(5);
    pair.sides[0].is_stalled = false;
    pair.run_ms(2_000);
    assert_eq!(pair.states(), [Standby, Active]);
}

#[test]
fn peer_loss_makes_either_side_standalone_and_tells_the_channel_down() {
    for lost in [0, 1] {
        let mut pair = Pair::settled();
        let survivor = 1 - lost;
        pair.sides[survivor].events.clear();
        pair.kill(lost);
        pair.run_ms(250);
        assert_ne!(pair.states()[survivor], Standalone, "three heartbeats may be missed");
        pair.run_ms(250);
        assert_eq!(pair.states()[survivor], Standalone);
        assert_eq!(pair.terms()[survivor], 2);
        let events = &pair.sides[survivor].events;
        let down =
            AsicEvent::HaSet { ha_set_id: pair.sides[survivor].set.unwrap(), dp_channel: LinkState::Down };
        assert_eq!(events.iter().filter(|event| **event == down).count(), 1);
        // Only the one that takes over has flows to reconcile.
        assert_eq!(pair.count(survivor, HaScopeEventKind::FlowReconcileNeeded), usize::from(survivor == 1));
    }
}

#[test]
fn a_newcomer_becomes_standby_whatever_its_role() {
    for (lost, role) in [(0, AsicHaRole::Active), (0, AsicHaRole::Standby), (1, AsicHaRole::Standby)] {
        let mut pair = Pair::settled();
        pair.kill(lost);
        pair.run_ms(1_000);
        pair.boot(lost, role);
        pair.sides[lost].events.clear();
        pair.run_ms(1_000);
        assert_eq!(pair.states()[lost], Standby);
        assert_eq!(pair.states()[1 - lost], Active);
        let way = pair.reported(lost);
        assert_eq!(way.last_chunk::<3>(), Some(&[InitializingToStandby, PendingStandbyActivation, Standby]));
        assert_eq!(pair.terms()[0], pair.terms()[1]);
    }
}

#[test]
fn a_restarted_peer_is_recognized_at_once() {
    for restarted in [0, 1] {
        let mut pair = Pair::settled();
        let survivor = 1 - restarted;
        pair.reported(survivor);
        pair.kill(restarted);
        pair.boot(restarted, AsicHaRole::Standby);
        pair.run_ms(10);
        assert!(pair.reported(survivor).contains(&Standalone), "no waiting for lost heartbeats");
        pair.run_ms(1_000);
        assert_eq!(pair.states()[survivor], Active);
        assert_eq!(pair.states()[restarted], Standby);
    }
}

#[test]
fn planned_shutdown_of_either_side_leaves_the_other_standalone_without_a_gap() {
    for leaving in [0, 1] {
        let mut pair = Pair::settled();
        let survivor = 1 - leaving;
        pair.reported(0);
        pair.reported(1);
        pair.set_role(leaving, AsicHaRole::Dead);
        assert_eq!(pair.states()[leaving], Destroying);
        pair.run_ms(20);
        assert_eq!(pair.states()[survivor], SwitchingToStandalone);
        assert_eq!(pair.states()[leaving], Destroying, "it waits for the other");
        pair.run_ms(200);
        assert_eq!(pair.states()[survivor], Standalone);
        assert_eq!(pair.states()[leaving], Dead);
        assert_eq!(pair.reported(survivor), [SwitchingToStandalone, Standalone]);
        // And back, without a restart.
        pair.set_role(leaving, AsicHaRole::Standby);
        pair.run_ms(1_000);
        assert_eq!(pair.states()[survivor], Active);
        assert_eq!(pair.states()[leaving], Standby);
    }
}

#[test]
fn the_standby_that_takes_over_in_a_planned_shutdown_reconciles() {
    let mut pair = Pair::settled();
    pair.sides[1].events.clear();
    pair.set_role(0, AsicHaRole::Dead);
    pair.run_ms(500);
    assert_eq!(pair.count(1, HaScopeEventKind::FlowReconcileNeeded), 1);
}

#[test]
fn a_shutdown_that_the_peer_never_takes_note_of_ends_all_the_same() {
    let mut pair = Pair::settled();
    pair.sides[1].is_stalled = true;
    pair.set_role(0, AsicHaRole::Dead);
    pair.run_ms(5_000);
    assert_eq!(pair.states()[0], Dead);
}

#[test]
fn both_sides_may_be_shut_down_at_once() {
    let mut pair = Pair::settled();
    pair.set_role(0, AsicHaRole::Dead);
    pair.set_role(1, AsicHaRole::Dead);
    pair.run_ms(1_000);
    assert_eq!(pair.states(), [Dead, Dead]);
    pair.set_role(1, AsicHaRole::Active);
    pair.set_role(0, AsicHaRole::Standby);
    pair.run_ms(1_000);
    assert_eq!(pair.states(), [Standby, Active]);
}

#[test]
fn admin_down_is_dead_at_once_and_the_peer_hears_of_it() {
    let mut pair = Pair::settled();
    pair.set(0, HaScopeAttribute::AdminState(false)).unwrap();
    assert_eq!(pair.states()[0], Dead);
    pair.run_ms(10);
    assert_eq!(pair.states()[1], Standalone);
    pair.set(0, HaScopeAttribute::AdminState(true)).unwrap();
    pair.run_ms(1_000);
    assert_eq!(pair.states(), [Standby, Active]);
}

#[test]
fn a_removed_scope_is_gone_for_the_peer_and_the_channel_stays_up() {
    let mut pair = Pair::settled();
    let scope = pair.sides[0].scope.unwrap();
    pair.sides[1].events.clear();
    pair.call(0, AsicOp::RemoveHaScope(scope)).unwrap();
    pair.run_ms(2_000);
    assert_eq!(pair.states(), [Dead, Standalone]);
    assert!(!pair.sides[1].events.iter().any(|event| matches!(event, AsicEvent::HaSet { .. })));
    pair.create_scope(0, AsicHaRole::Standby);
    pair.run_ms(1_000);
    assert_eq!(pair.states(), [Standby, Active]);
}

#[test]
fn split_brain_is_told_once_and_is_not_healed_by_itself() {
    let mut pair = Pair::settled();
    pair.cut = BTreeSet::from([0, 1]);
    pair.run_ms(2_000);
    assert_eq!(pair.states(), [Standalone, Standalone]);
    pair.cut.clear();
    pair.run_ms(10_000);
    assert_eq!(pair.states(), [Standalone, Standalone]);
    for side in [0, 1] {
        assert_eq!(pair.count(side, HaScopeEventKind::SplitBrainDetected), 1);
    }
}

#[test]
fn split_brain_ends_when_one_side_is_cycled() {
    let cycles: [fn(&mut Pair, bool); 2] = [
        |pair, is_up| {
            pair.set(0, HaScopeAttribute::AdminState(is_up)).unwrap();
        },
        |pair, is_up| pair.set_role(0, if is_up { AsicHaRole::Active } else { AsicHaRole::Dead }),
    ];
    for cycle in cycles {
        let mut pair = Pair::settled();
        pair.cut = BTreeSet::from([0, 1]);
        pair.run_ms(2_000);
        pair.cut.clear();
        pair.run_ms(500);
        let term = pair.terms()[1];
        cycle(&mut pair, false);
        pair.run_ms(500);
        assert_eq!(pair.states(), [Dead, Standalone]);
        assert!(pair.terms()[1] > term, "the survivor says that it is over");
        cycle(&mut pair, true);
        pair.run_ms(1_000);
        assert_eq!(pair.states(), [Standby, Active]);
    }
}

#[test]
fn a_side_that_stood_still_steps_back_for_the_one_that_took_over() {
    for still in [0, 1] {
        let mut pair = Pair::settled();
        pair.sides[still].is_stalled = true;
        pair.run_ms(1_000);
        assert_eq!(pair.states()[1 - still], Standalone);
        pair.sides[still].is_stalled = false;
        pair.run_ms(1_000);
        assert_eq!(pair.states()[1 - still], Active);
        assert_eq!(pair.states()[still], Standby);
        assert_eq!(pair.count(1 - still, HaScopeEventKind::SplitBrainDetected), 0);
    }
}

#[test]
fn a_machine_that_stood_still_as_a_whole_loses_nothing() {
    let mut pair = Pair::settled();
    pair.reported(0);
    pair.reported(1);
    for side in [0, 1] {
        pair.sides[side].is_stalled = true;
    }
    pair.run_ms(10_000);
    for side in [0, 1] {
        pair.sides[side].is_stalled = false;
    }
    pair.run_ms(1_000);
    assert_eq!(pair.states(), [Active, Standby]);
    assert_eq!((pair.reported(0), pair.reported(1)), (vec![], vec![]));
}

#[test]
fn a_channel_that_is_cut_one_way_leaves_one_decider_and_heals() {
    for deaf in [0, 1] {
        let mut pair = Pair::settled();
        pair.cut = BTreeSet::from([deaf]);
        pair.run_ms(10_000);
        let deciders = pair.states().iter().filter(|state| state.decides()).count();
        assert_eq!(deciders, 1, "{:?}", pair.states());
        pair.cut.clear();
        pair.run_ms(2_000);
        let mut states = pair.states();
        states.sort();
        assert_eq!(states, [Active, Standby]);
    }
}

#[test]
fn a_pinned_side_is_standalone_and_its_peer_waits() {
    let mut pair = Pair::new();
    pair.boot(0, AsicHaRole::Standalone);
    pair.run_ms(100);
    assert_eq!(pair.states()[0], Standalone);
    pair.boot(1, AsicHaRole::Standby);
    pair.run_ms(10_000);
    assert_eq!(pair.states(), [Standalone, Connected]);
    pair.set_role(0, AsicHaRole::Active);
    pair.run_ms(1_000);
    assert_eq!(pair.states(), [Active, Standby]);
}

#[test]
fn a_pinned_side_waits_while_its_peer_decides() {
    let mut pair = Pair::settled();
    pair.kill(1);
    pair.run_ms(1_000);
    pair.boot(1, AsicHaRole::Standalone);
    pair.run_ms(5_000);
    assert_eq!(pair.states()[0], Standalone);
    assert!(!pair.states()[1].decides(), "{:?}", pair.states());
}

#[test]
fn an_active_side_that_is_pinned_stops_syncing() {
    let mut pair = Pair::settled();
    pair.set_role(0, AsicHaRole::Standalone);
    pair.run_ms(1_000);
    assert_eq!(pair.states(), [Standalone, Connected]);
}

#[test]
fn the_peer_of_a_new_address_is_found() {
    let mut pair = Pair::new();
    pair.boot(0, AsicHaRole::Active);
    let set = pair.sides[0].set.unwrap();
    pair.call(0, AsicOp::SetHaSet(set, HaSetAttribute::PeerIp("10.0.0.9".parse().unwrap()))).unwrap();
    pair.call(0, AsicOp::SetHaSet(set, HaSetAttribute::PeerIp(address(1)))).unwrap();
    pair.boot(1, AsicHaRole::Standby);
    pair.run_ms(1_000);
    assert_eq!(pair.states(), [Active, Standby]);
}

#[test]
fn a_settled_pair_sends_heartbeats_and_nothing_else() {
    let mut pair = Pair::settled();
    let before = pair.total_datagrams;
    pair.run_ms(10_000);
    let sent = pair.total_datagrams - before;
    assert!((195..=205).contains(&sent), "two sides, ten a second: {sent}");
}
