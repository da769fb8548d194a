//! Loss, delay, reordering, stalls, restarts, shutdowns, partitions; then quiet.
//!
//! Safety, at every moment: never both active. Two deciders only after somebody was deaf for longer than the loss
//! threshold. Liveness: once left alone, with the split-brain rule obeyed, one side is active and the other
//! standby.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Run(u64),
    Restart(usize, bool),
    Kill(usize),
    Role(usize, AsicHaRole),
    Admin(usize, bool),
    Cut(usize, bool),
    Stall(usize, bool),
    Weather(usize),
    Approves(bool),
}

/// By number of the datagram: its delay, or its loss.
const WEATHER: [fn(u64) -> Option<u64>; 4] = [
    |_| Some(1),
    |n| Some(1 + n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 90),
    |n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 10 > 3).then_some(2),
    |n| {
        let mix = n.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 7;
        (mix % 5 != 0).then_some(1 + mix % 70)
    },
];

fn act(is_mild: bool) -> BoxedStrategy<Act> {
    let side = 0..2usize;
    let role = prop::sample::select(AsicHaRole::ALL);
    let mild = prop_oneof![
        8 => (1..1_500u64).prop_map(Act::Run),
        2 => (side.clone(), any::<bool>()).prop_map(|(side, active)| Act::Restart(side, active)),
        1 => side.clone().prop_map(Act::Kill),
        1 => any::<bool>().prop_map(Act::Approves),
    ];
    if is_mild {
        return mild.boxed();
    }
    prop_oneof![
        4 => mild,
        1 => (side.clone(), role).prop_map(|(side, role)| Act::Role(side, role)),
        1 => (side.clone(), any::<bool>()).prop_map(|(side, up)| Act::Admin(side, up)),
        1 => (side.clone(), any::<bool>()).prop_map(|(side, cut)| Act::Cut(side, cut)),
        1 => (side, any::<bool>()).prop_map(|(side, stall)| Act::Stall(side, stall)),
        1 => (0..WEATHER.len()).prop_map(Act::Weather),
    ]
    .boxed()
}

fn perform(pair: &mut Pair, act: Act) {
    match act {
        Act::Run(ms) => pair.run_ms(ms),
        Act::Restart(side, active) => {
            pair.kill(side);
            pair.boot(side, if active { AsicHaRole::Active } else { AsicHaRole::Standby });
        }
        Act::Kill(side) => pair.kill(side),
        Act::Role(side, role) => {
            if pair.sides[side].model.is_some() {
                pair.set_role(side, role);
            }
        }
        Act::Admin(side, up) => {
            if pair.sides[side].model.is_some() {
                pair.set(side, HaScopeAttribute::AdminState(up)).unwrap();
            }
        }
        Act::Cut(side, is_cut) => {
            if is_cut {
                pair.cut.insert(side);
            } else {
                pair.cut.remove(&side);
            }
        }
        Act::Stall(side, is_stalled) => pair.sides[side].is_stalled = is_stalled,
        Act::Weather(which) => pair.weather = WEATHER[which],
        Act::Approves(approves) => pair.approves = approves,
    }
    pair.check();
}

fn end_faults(pair: &mut Pair) {
    pair.cut.clear();
    pair.weather = WEATHER[0];
    pair.approves = true;
    for side in 0..2 {
        pair.sides[side].is_stalled = false;
        if pair.sides[side].model.is_none() {
            pair.boot(side, AsicHaRole::Standby);
        }
        pair.set_role(side, AsicHaRole::Standby);
        pair.set(side, HaScopeAttribute::AdminState(true)).unwrap();
    }
    pair.run_ms(10_000);
}

fn sorted(states: [AsicHaState; 2]) -> [AsicHaState; 2] {
    let mut states = states;
    states.sort();
    states
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_never_both_are_active_and_in_the_end_they_pair(acts in prop::collection::vec(act(false), 1..40)) {
        let mut pair = Pair::new();
        for act in acts {
            perform(&mut pair, act);
        }
        end_faults(&mut pair);
        if pair.states() == [AsicHaState::Standalone, AsicHaState::Standalone] {
            // Split brain, as it should be told: the controller has one side yield.
            let told = pair.sides.iter_mut().flat_map(|side| side.events.drain(..)).any(|event| {
                matches!(event, AsicEvent::HaScope { kind: HaScopeEventKind::SplitBrainDetected, .. })
            });
            prop_assert!(told);
            pair.set(0, HaScopeAttribute::AdminState(false)).unwrap();
            pair.run_ms(500);
            pair.set(0, HaScopeAttribute::AdminState(true)).unwrap();
            pair.run_ms(5_000);
        }
        prop_assert_eq!(sorted(pair.states()), [AsicHaState::Active, AsicHaState::Standby]);
        // And then nothing more than heartbeats.
        let before = pair.total_datagrams;
        for side in &mut pair.sides {
            side.events.clear();
        }
        pair.run_ms(5_000);
        prop_assert!(pair.total_datagrams - before <= 104);
        prop_assert!(pair.sides.iter().all(|side| side.events.is_empty()));
    }

    #[test]
    fn restarts_over_a_healthy_channel_never_make_two_deciders(acts in prop::collection::vec(act(true), 1..40)) {
        let mut pair = Pair::new();
        for act in acts {
            perform(&mut pair, act);
            let deciders = pair.states().iter().filter(|state| state.decides()).count();
            prop_assert!(deciders <= 1, "{:?}", pair.states());
        }
        end_faults(&mut pair);
        prop_assert_eq!(sorted(pair.states()), [AsicHaState::Active, AsicHaState::Standby]);
    }
}
