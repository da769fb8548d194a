//! Whatever was wanted before, what is wanted now is what there is.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;

use proptest::prelude::*;
use reconcile::{Batch, Core, IdSource, Time};
use schema::WallMs;

use crate::{
    Diagnostic, Effect, Hops, Interval, Link, Note, Path, Registry, Role, Sessions, Spec, State, Wanted,
};

fn path(n: u8) -> Path {
    Path {
        peer: IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)),
        local: IpAddr::V4(Ipv4Addr::new(20, 0, 0, 1)),
        link: Link::ANY,
        hops: Hops::Multi,
    }
}

fn spec(ms: u32, held_down: bool) -> Spec {
    Spec {
        role: Role::Active,
        desired_min_tx: Interval::from_ms(ms).unwrap(),
        required_min_rx: Interval::from_ms(ms).unwrap(),
        detect_multiplier: NonZeroU8::new(3).unwrap(),
        min_ttl: 1,
        held_down: held_down.then_some(Diagnostic::ADMINISTRATIVELY_DOWN),
    }
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let one = (1u8..6, 1u32..4, any::<bool>()).prop_map(|(n, tens, held)| (path(n), spec(tens * 10, held)));
    proptest::collection::btree_map(1u8..6, one, 0..5).prop_map(|map| map.into_values().collect())
}

proptest! {
    #[test]
    fn the_sessions_are_those_wanted_last(history in proptest::collection::vec(wanted(), 1..8), pauses: u64) {
        let mut sessions = Sessions::new(IdSource::new(1));
        let mut registry = Registry::default();
        let mut now = Time(0);
        let mut run = |registry: &mut Registry, now: Time, inputs| {
            let mut effects = Vec::new();
            sessions.handle(now, Batch { wall: WallMs(0), inputs }, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Note(Note::Removed { session }) => {
                        registry.forget(session);
                    }
                    Effect::Note(Note::Refused { session, refusal }) => panic!("{session:?}: {refusal:?}"),
                    Effect::Note(_) | Effect::Send { .. } | Effect::StateChanged { .. } => {}
                }
            }
            let views: Vec<(Path, Spec)> = sessions
                .iter()
                .filter(|(_, session)| !session.is_leaving())
                .map(|(_, session)| {
                    let held = session.state() == State::AdminDown;
                    (session.config().path, spec(session.config().desired_min_tx.ms(), held))
                })
                .collect();
            views.into_iter().collect::<Wanted>()
        };
        for (n, wanted) in history.iter().enumerate() {
            let mut inputs = Vec::new();
            registry.diff(wanted, &mut inputs);
            prop_assert_eq!(&run(&mut registry, now, inputs), wanted);
            let mut again = Vec::new();
            registry.diff(wanted, &mut again);
            prop_assert!(again.is_empty(), "{again:?}");
            if pauses >> n & 1 == 1 {
                now = now.after_ms(20_000);
                run(&mut registry, now, vec![]);
            }
        }
    }
}
