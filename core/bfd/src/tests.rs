//! The codec, the table, time, one session against a scripted peer, the
//! registry against the sessions it drives, and two sessions on a bad wire.

mod codec;
mod machine;
mod memory;
mod peer;
mod registry;
mod selection;
mod stories;
mod timing;
mod wired;

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;

use reconcile::{Batch, Core, IdSource, Time};
use schema::WallMs;

use crate::*;

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 32));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(20, 0, 200, 1));
const ID: SessionId = SessionId(7);

fn ms(value: u32) -> Interval {
    Interval::from_ms(value).unwrap()
}

fn times(value: u8) -> NonZeroU8 {
    NonZeroU8::new(value).unwrap()
}

fn discriminator(value: u32) -> Discriminator {
    Discriminator::new(value).unwrap()
}

/// As the HA design has it: multihop, 100 ms, 3 times.
fn config(role: Role) -> Config {
    Config {
        path: Path { peer: A, local: B, link: Link::ANY, hops: Hops::Multi },
        role,
        desired_min_tx: ms(100),
        required_min_rx: ms(100),
        detect_multiplier: times(3),
        min_ttl: 1,
    }
}

fn handle(sessions: &mut Sessions, now: Time, inputs: Vec<Input>) -> Vec<Effect> {
    let mut out = Vec::new();
    sessions.handle(now, Batch { wall: WallMs(0), inputs }, &mut out);
    assert!(
        sessions.next_deadline().is_none_or(|(at, _)| at > now),
        "wants to run again at {now:?} without end"
    );
    // Of thousands, only now and then: it looks at all of them.
    if sessions.len() < 100 || now.0 == 0 {
        sessions.check_indexes();
    }
    out
}

fn sent(effects: &[Effect]) -> Vec<Packet> {
    let packet = |effect: &Effect| match effect {
        Effect::Send { packet, .. } => Some(*packet),
        Effect::StateChanged { .. } | Effect::Note(_) => None,
    };
    effects.iter().filter_map(packet).collect()
}

fn changes(effects: &[Effect]) -> Vec<(State, State, Diagnostic)> {
    let change = |effect: &Effect| match effect {
        Effect::StateChanged { from, to, diagnostic, .. } => Some((*from, *to, *diagnostic)),
        Effect::Send { .. } | Effect::Note(_) => None,
    };
    effects.iter().filter_map(change).collect()
}

fn notes(effects: &[Effect]) -> Vec<Note> {
    let note = |effect: &Effect| match effect {
        Effect::Note(note) => Some(*note),
        Effect::Send { .. } | Effect::StateChanged { .. } => None,
    };
    effects.iter().filter_map(note).collect()
}
