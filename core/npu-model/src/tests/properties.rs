//! Any order of rows and BFD states: the next hops are a function of what is there at the end, nothing is done twice, and
//! the rules hold.

use proptest::prelude::*;
use schema::appl_db::VnetRouteTunnel;
use schema::{BfdState, PinnedState};

use super::{Npu, VIP, key, row};
use crate::{Input, NextHopRule, NpuModel};

const PREFIX: &str = "10.3.0.1/32";
const ENDPOINTS: [&str; 4] = ["9.1.0.1", "9.1.0.2", "9.1.0.3", "9.1.0.4"];

#[derive(Clone, Debug)]
enum Step {
    Route { endpoints: usize, primaries: usize, pins: Vec<PinnedState> },
    NoRoute,
    Bfd { peer: usize, state: Option<BfdState> },
    Resync,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pin = prop_oneof![
        4 => Just(PinnedState::None),
        1 => Just(PinnedState::Up),
        1 => Just(PinnedState::Down),
    ];
    let route = (1..=4usize, 0..=4usize, proptest::collection::vec(pin, 0..=4))
        .prop_map(|(endpoints, primaries, pins)| Step::Route { endpoints, primaries, pins });
    let state = proptest::option::weighted(0.9, proptest::sample::select(BfdState::ALL));
    let bfd = (0..4usize, state).prop_map(|(peer, state)| Step::Bfd { peer, state });
    let step = prop_oneof![3 => route, 1 => Just(Step::NoRoute), 8 => bfd, 1 => Just(Step::Resync)];
    proptest::collection::vec(step, 0..40)
}

fn input(step: &Step, npu: &Npu) -> Input {
    match step {
        Step::Route { endpoints, primaries, pins } => {
            let primaries = (*primaries).min(*endpoints);
            let row = row(&ENDPOINTS[..*endpoints], &ENDPOINTS[..primaries]);
            Input::Route(key(VIP), Some(VnetRouteTunnel { pinned_state: pins.clone(), ..row }))
        }
        Step::NoRoute => Input::Route(key(VIP), None),
        Step::Bfd { peer, state } => {
            Input::Bfd { peer: super::ip(ENDPOINTS[*peer]), state: *state, discriminator: None }
        }
        Step::Resync => npu.snapshot(),
    }
}

fn check(npu: &Npu, rule: NextHopRule) {
    let hops = npu.next_hops(PREFIX);
    // What is published is what is forwarded.
    match npu.route_state(PREFIX) {
        Some((state, endpoints)) => {
            assert_eq!(endpoints, hops.join(","));
            assert_eq!(state == "active", !hops.is_empty());
        }
        None => assert!(hops.is_empty()),
    }
    // Every session wanted is shown, and no other.
    let shown = npu.state_db.keys().filter(|(table, _)| *table == schema::Table::NpuBfdSession).count();
    assert_eq!(shown, npu.sessions.len());
    let is_up = |peer: &str| npu.session_row(peer).is_some_and(|row| row.state == Some(BfdState::Up));
    if rule == NextHopRule::Design && !hops.is_empty() {
        let somebody_is_up = npu.sessions.keys().any(|peer| is_up(&peer.to_string()));
        let json = serde_json::to_string(&npu.model).unwrap();
        let is_pinned = json.contains("\"pin\":\"up\"") || json.contains("\"pin\":\"down\"");
        if !is_pinned {
            assert_eq!(hops.iter().any(|hop| is_up(hop)), somebody_is_up, "{hops:?}");
        }
    }
}

proptest! {
    #[test]
    fn what_is_forwarded_is_published_and_nothing_is_done_twice(steps in steps()) {
        for rule in NextHopRule::ALL {
            let mut npu = Npu::new(rule);
            for step in &steps {
                let input = input(step, &npu);
                npu.give([input.clone()]);
                check(&npu, rule);
                let writes = npu.writes;
                npu.give([input]);
                prop_assert_eq!(npu.writes, writes, "the same again");
            }
            let json = serde_json::to_string(&npu.model).unwrap();
            prop_assert_eq!(&serde_json::from_str::<NpuModel>(&json).unwrap(), &npu.model);
        }
    }

    #[test]
    fn under_the_design_only_the_present_counts(steps in steps()) {
        let mut npu = Npu::new(NextHopRule::Design);
        for step in &steps {
            let input = input(step, &npu);
            npu.give([input]);
        }
        npu.wait_for_sessions();
        // A second NPU is told only what is there now.
        let mut other = Npu::new(NextHopRule::Design);
        let last = steps.iter().rev().find(|step| matches!(step, Step::Route { .. } | Step::NoRoute));
        if let Some(Step::Route { pins, endpoints, .. }) = last
            && (pins.is_empty() || pins.len() == *endpoints)
        {
            let input = input(last.unwrap(), &other);
            other.give([input]);
            for peer in npu.sessions.keys().map(ToString::to_string) {
                other.bfd(&peer, npu.session_row(&peer).and_then(|row| row.state).unwrap());
            }
            other.wait_for_sessions();
            prop_assert_eq!(&other.forwarding, &npu.forwarding);
        }
    }
}
