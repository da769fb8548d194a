//! Every own state meets every peer state: the table has an answer, the answer stands still, and it is safe.

use crate::decide::{Peer, View};

use super::*;

fn peers() -> Vec<Option<Peer>> {
    let mut peers = vec![None];
    for state in AsicHaState::ALL {
        for role in AsicHaRole::ALL {
            for bits in 0..16u8 {
                for term in [1, 2, 3] {
                    peers.push(Some(Peer {
                        hears_us: bits & 1 != 0,
                        knows_our_state: bits & 2 != 0,
                        has_synced_us: bits & 4 != 0,
                        has_lower_address: bits & 8 != 0,
                        state: *state,
                        role: *role,
                        term,
                    }));
                }
            }
        }
    }
    peers
}

fn views() -> impl Iterator<Item = View> {
    peers().into_iter().flat_map(|peer| {
        AsicHaState::ALL.iter().flat_map(move |state| {
            AsicHaRole::ALL.iter().flat_map(move |role| {
                [(true, false), (true, true), (false, false)].into_iter().map(
                    move |(admin_up, is_overdue)| View {
                        state: *state,
                        role: *role,
                        admin_up,
                        term: 2,
                        peer,
                        is_overdue,
                    },
                )
            })
        })
    })
}

#[test]
fn from_every_view_the_table_comes_to_rest() {
    for start in views() {
        let mut view = start;
        let mut steps = 0;
        // A timer that ran out belongs to the state that it ran out in; what the peer knows, and has done for us,
        // too.
        while let Some(next) = view.next() {
            view.state = next;
            view.is_overdue = false;
            if let Some(peer) = &mut view.peer {
                peer.knows_our_state = false;
                peer.has_synced_us = false;
            }
            steps += 1;
            assert!(steps < 8, "no rest from {start:?}");
        }
    }
}

#[test]
fn nobody_begins_to_decide_without_approval_but_who_was_serving() {
    for view in views() {
        let Some(next) = view.next() else { continue };
        if next.decides() && !view.state.decides() {
            assert_eq!(view.state, AsicHaState::Standby, "{view:?}");
        }
        if next == AsicHaState::Active {
            assert_eq!(view.state, AsicHaState::Standalone, "{view:?}");
        }
        if next == AsicHaState::Standby {
            panic!("standby needs approval: {view:?}");
        }
    }
}

#[test]
fn nobody_asks_to_be_active_before_its_peer_knows_and_waits_for_it() {
    let asking = views().filter(|view| view.next() == Some(AsicHaState::PendingActiveActivation));
    let mut count = 0;
    for view in asking {
        let peer = view.peer.unwrap();
        assert_eq!(view.state, AsicHaState::InitializingToActive);
        assert!(peer.hears_us && peer.knows_our_state && peer.state == AsicHaState::InitializingToStandby);
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn admin_down_is_dead_from_everywhere() {
    for view in views().filter(|view| !view.admin_up && view.state != AsicHaState::Dead) {
        assert_eq!(view.next(), Some(AsicHaState::Dead));
    }
}

#[test]
fn the_role_dead_ends_in_dead() {
    for view in views().filter(|view| view.role == AsicHaRole::Dead && view.is_overdue) {
        let mut view = view;
        for _ in 0..3 {
            view.state = view.next().unwrap_or(view.state);
        }
        assert_eq!(view.state, AsicHaState::Dead, "{view:?}");
    }
}
