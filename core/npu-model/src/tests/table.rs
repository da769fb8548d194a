//! One primary and one secondary, every combination (`reference/dpu-side.md` 3.5), under both rules.

use schema::BfdState::{self, AdminDown, Down, Init, Up};
use schema::PinnedState;

use super::{Npu, VIP, pinned, row};
use crate::NextHopRule::{self, Design, Orchagent};

const P: &str = "18.0.202.1";
const S: &str = "18.1.202.1";
const PREFIX: &str = "10.3.0.1/32";

/// Where traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Primary,
    Secondary,
    Nowhere,
}

fn outcome(rule: NextHopRule, bfd: [BfdState; 2], pins: [PinnedState; 2]) -> To {
    let mut npu = Npu::new(rule);
    npu.route(VIP, pinned(row(&[P, S], &[P]), pins));
    npu.bfd(P, bfd[0]);
    npu.bfd(S, bfd[1]);
    match npu.next_hops(PREFIX).as_slice() {
        [] => To::Nowhere,
        [hop] if hop == P => To::Primary,
        [hop] if hop == S => To::Secondary,
        other => panic!("{other:?}"),
    }
}

const ANY: [BfdState; 4] = [Up, Down, Init, AdminDown];
const ANY_PIN: [PinnedState; 3] = [PinnedState::None, PinnedState::Up, PinnedState::Down];

#[test]
fn the_table_of_pins_and_probes() {
    use PinnedState as Pin;
    // BFD of the primary, its pin, BFD of the secondary, its pin; empty is any.
    type Line<'a> = (&'a [BfdState], &'a [Pin], &'a [BfdState], &'a [Pin], To);
    let table: &[Line<'_>] = &[
        (&[Up], &[Pin::None], &ANY, &ANY_PIN, To::Primary),
        (&[Down], &[Pin::None], &[Up], &[Pin::None], To::Secondary),
        (&ANY, &[Pin::Up], &ANY, &ANY_PIN, To::Primary),
        (&ANY, &[Pin::Down], &[Up], &[Pin::None], To::Secondary),
        (&ANY, &[Pin::Down], &ANY, &[Pin::Up], To::Secondary),
        (&ANY, &[Pin::Down], &[Down], &[Pin::None], To::Nowhere),
        (&ANY, &[Pin::Down], &ANY, &[Pin::Down], To::Nowhere),
        (&[Down], &[Pin::None], &ANY, &[Pin::Up], To::Secondary),
        (&[Down], &[Pin::None], &ANY, &[Pin::Down], To::Nowhere),
    ];
    for (bfd_p, pin_p, bfd_s, pin_s, expected) in table {
        for rule in NextHopRule::ALL {
            for (bfd_p, pin_p) in bfd_p.iter().flat_map(|bfd| pin_p.iter().map(move |pin| (*bfd, *pin))) {
                for (bfd_s, pin_s) in bfd_s.iter().flat_map(|bfd| pin_s.iter().map(move |pin| (*bfd, *pin))) {
                    let seen = outcome(rule, [bfd_p, bfd_s], [pin_p, pin_s]);
                    assert_eq!(seen, *expected, "{rule:?}: {bfd_p} {pin_p}, {bfd_s} {pin_s}");
                }
            }
        }
    }
}

#[test]
fn both_down_is_both_up_in_the_design_and_no_route_in_orchagent() {
    let no_pins = [PinnedState::None; 2];
    assert_eq!(outcome(Design, [Down, Down], no_pins), To::Primary);
    assert_eq!(outcome(Orchagent, [Down, Down], no_pins), To::Nowhere);
}

#[test]
fn admin_down_and_init_move_traffic_at_once_in_the_design_and_never_in_orchagent() {
    for leaves in [AdminDown, Init] {
        for (rule, expected) in [(Design, S), (Orchagent, P)] {
            let mut npu = Npu::new(rule);
            npu.route(VIP, row(&[P, S], &[P]));
            npu.bfd(P, Up);
            npu.bfd(S, Up);
            npu.bfd(P, leaves);
            assert_eq!(npu.next_hops(PREFIX), [expected], "{rule:?} {leaves}");
            npu.bfd(P, Down);
            assert_eq!(npu.next_hops(PREFIX), [S], "{rule:?} {leaves}, then Down");
        }
    }
}

/// State row and next hops of: all down at first, all down later.
#[test]
fn what_is_published_while_nothing_is_up() {
    let inactive = Some(("inactive".to_owned(), String::new()));
    let active = |endpoint: &str| Some(("active".to_owned(), endpoint.to_owned()));

    let mut npu = Npu::new(Orchagent);
    npu.route(VIP, row(&[P, S], &[P]));
    assert_eq!(npu.route_state(PREFIX), inactive, "first SET");
    npu.bfd(S, Up);
    assert_eq!(npu.route_state(PREFIX), active(S));
    npu.bfd(S, Down);
    assert_eq!(npu.route_state(PREFIX), None, "the route is deleted");
    npu.bfd(P, Up);
    assert_eq!(npu.route_state(PREFIX), active(P));

    let mut npu = Npu::new(Design);
    npu.route(VIP, row(&[P, S], &[P]));
    assert_eq!(npu.route_state(PREFIX), inactive, "nobody was heard yet, and nobody is guessed at");
    npu.wait_for_sessions();
    assert_eq!(npu.route_state(PREFIX), active(P), "all down is all up");
    npu.route(VIP, pinned(row(&[P, S], &[P]), [PinnedState::Down; 2]));
    assert_eq!(npu.route_state(PREFIX), inactive, "the operator wants no next hop");
}

#[test]
fn a_plain_group_is_installed_before_bfd_in_orchagent_and_has_no_pins() {
    let mut npu = Npu::new(Orchagent);
    npu.route(VIP, pinned(row(&[P, S], &[]), [PinnedState::Down, PinnedState::None]));
    assert_eq!(npu.next_hops(PREFIX), [P, S], "before BFD was ever up");
    npu.bfd(P, Down);
    assert_eq!(npu.next_hops(PREFIX), [P, S], "down, but it never was up");
    npu.bfd(P, Up);
    npu.bfd(P, Down);
    assert_eq!(npu.next_hops(PREFIX), [S]);
    npu.bfd(S, Up);
    npu.bfd(S, Down);
    assert_eq!(npu.next_hops(PREFIX), [""; 0]);
    assert_eq!(npu.route_state(PREFIX), None);

    let mut npu = Npu::new(Design);
    npu.route(VIP, row(&[P, S], &[]));
    npu.wait_for_sessions();
    assert_eq!(npu.next_hops(PREFIX), [P, S], "all down is all up");
    npu.bfd(S, Up);
    assert_eq!(npu.next_hops(PREFIX), [S]);
}

#[test]
fn a_new_route_waits_for_the_first_who_is_heard_and_guesses_only_if_nobody_is() {
    let mut npu = Npu::new(Design);
    npu.route(VIP, row(&[P, S], &[P]));
    npu.bfd(P, Down);
    assert_eq!(npu.next_hops(PREFIX), [""; 0], "the other may yet be heard");
    npu.bfd(S, Init);
    assert_eq!(npu.next_hops(PREFIX), [""; 0], "it is about to come up");
    npu.bfd(S, Up);
    assert_eq!(npu.next_hops(PREFIX), [S]);
    npu.bfd(S, Down);
    assert_eq!(npu.next_hops(PREFIX), [P], "all are down, which all are known to be");
    // A session that is new again has its time again.
    npu.give([crate::Input::Route(super::key(VIP), None)]);
    npu.route(VIP, row(&[P, S], &[P]));
    assert_eq!(npu.next_hops(PREFIX), [""; 0]);
}

#[test]
fn an_endpoint_without_a_monitor_is_always_up() {
    for rule in NextHopRule::ALL {
        let mut npu = Npu::new(rule);
        let unmonitored = schema::appl_db::VnetRouteTunnel { endpoint_monitor: Vec::new(), ..row(&[P], &[]) };
        npu.route(VIP, unmonitored);
        assert_eq!(npu.next_hops(PREFIX), [P]);
        assert!(npu.sessions.is_empty());
    }
}
