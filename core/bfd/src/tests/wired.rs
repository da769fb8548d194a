//! Two systems with one session each, and a wire that loses, delays and reorders.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The most that may happen in one millisecond at one end: a bound on loops, not on traffic.
const TURNS_PER_MS_MAX: usize = 50;

/// Which end.
type End = usize;

struct Wire {
    now: Time,
    ends: [Sessions; 2],
    configs: [Config; 2],
    /// What is under way: when it arrives, in which order, at which end.
    packets: BTreeMap<(Time, u64), (End, [u8; PACKET_BYTES])>,
    serial: u64,
    chance: IdSource,
    loss_percent: u64,
    delay_ms: u64,
    reorder_ms: u64,
    /// Per end: when the last packet was taken, and what was then the Detection Time.
    heard: [Option<Time>; 2],
    /// Per end: the last packet sent in a period without change, and the interval agreed on at that time.
    sent: [Option<(Time, u32)>; 2],
    delivered: [usize; 2],
    flaps: usize,
    turns: usize,
}

fn path_of(end: End, family_v6: bool, hops: Hops) -> Path {
    let (a, b): (IpAddr, IpAddr) =
        if family_v6 { ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap()) } else { (A, B) };
    let (peer, local) = if end == 0 { (b, a) } else { (a, b) };
    Path { peer, local, link: Link::ANY, hops }
}

impl Wire {
    fn new(configs: [Config; 2], seed: u64) -> Self {
        let ends = [0, 1].map(|end| Sessions::new(IdSource::new(seed.wrapping_add(end * 77))));
        let mut wire = Self {
            now: Time(0),
            ends,
            configs,
            packets: BTreeMap::new(),
            serial: 0,
            chance: IdSource::new(seed ^ 0x5eed),
            loss_percent: 0,
            delay_ms: 0,
            reorder_ms: 0,
            heard: [None; 2],
            sent: [None; 2],
            delivered: [0; 2],
            flaps: 0,
            turns: 0,
        };
        wire.configure(0);
        wire.configure(1);
        wire
    }

    fn configure(&mut self, end: End) {
        self.act(end, vec![Input::Configure { session: ID, config: self.configs[end] }]);
    }

    fn session(&self, end: End) -> Option<&Session> {
        self.ends[end].get(ID)
    }

    fn is_up(&self, end: End) -> bool {
        self.session(end).is_some_and(|session| session.state() == State::Up)
    }

    fn both_up(&self) -> bool {
        self.is_up(0) && self.is_up(1)
    }

    fn act(&mut self, end: End, inputs: Vec<Input>) {
        self.turns += 1;
        let arrived = inputs.iter().filter(|input| matches!(input, Input::Received(_))).count();
        let was_held = self.session(end).is_some_and(|session| session.state() == State::AdminDown);
        let taken_before = self.session(end).map(|session| session.counters().received);
        // `handle` checks that no deadline is left behind.
        let effects = handle(&mut self.ends[end], self.now, inputs);
        let packets = sent(&effects);
        // At most one answer per packet, one packet per timer, one per word of the administrator.
        assert!(packets.len() <= arrived + 2, "{} packets for {arrived}", packets.len());
        assert!(effects.len() <= 8, "{effects:?}");

        if self.session(end).map(|session| session.counters().received) > taken_before {
            self.heard[end] = Some(self.now);
        }
        self.check_times(end, !packets.is_empty());
        let only_received = arrived > 0;
        for (from, to, _) in changes(&effects) {
            self.flaps += usize::from(from == State::Up);
            assert!(!(was_held && only_received && to != State::AdminDown), "a packet ended AdminDown");
        }
        for packet in packets {
            // What is sent can be read, is never in demand mode, and is slow while not up.
            assert_eq!(decode(&packet.encode()), Ok(Decoded { packet, auth: None }));
            assert!(!packet.demand);
            assert!(packet.state == State::Up || packet.desired_min_tx_us >= SLOW_TX_US);
            let role = self.configs[end].role;
            assert!(role == Role::Active || packet.your_discriminator.is_some(), "a passive end spoke first");
            self.put(1 - end, packet.encode());
        }
    }

    /// Never up past the Detection Time; never silent for longer than was agreed on.
    fn check_times(&mut self, end: End, spoke: bool) {
        let now = self.now;
        let Some(session) = self.session(end) else {
            self.sent[end] = None;
            return;
        };
        let timing = session.timing();
        if session.state() == State::Up {
            let heard = self.heard[end].expect("a session that is up has heard something");
            let detection_us = timing.detection_us.expect("a session that is up knows its peer");
            assert!(
                now.since_ms(heard) * 1000 < detection_us + 2000,
                "up at {now:?}, last heard at {heard:?}"
            );
        }
        if let Some((sent_at, interval_us)) = self.sent[end]
            && timing.transmit_us == Some(interval_us)
        {
            assert!(now.since_ms(sent_at) <= u64::from(interval_us) / 1000, "silent for too long");
        }
        match timing.transmit_us {
            None => self.sent[end] = None,
            Some(interval_us) if spoke => self.sent[end] = Some((now, interval_us)),
            Some(interval_us) => {
                // Another interval counts from the next packet on.
                if self.sent[end].is_some_and(|(_, before)| before != interval_us) {
                    self.sent[end] = None;
                }
            }
        }
    }

    fn put(&mut self, to: End, bytes: [u8; PACKET_BYTES]) {
        if self.chance.next_u64() % 100 < self.loss_percent {
            return;
        }
        let jitter_ms = self.chance.next_u64() % (self.reorder_ms + 1);
        self.serial += 1;
        let at = self.now.after_ms(self.delay_ms + jitter_ms);
        self.packets.insert((at, self.serial), (to, bytes));
    }

    /// The next thing to happen up to `end` happens.
    fn step(&mut self, end: Time) -> bool {
        let deadline = |sessions: &Sessions| sessions.next_deadline().map(|(at, _)| at);
        let deadlines = [deadline(&self.ends[0]), deadline(&self.ends[1])];
        let arrival = self.packets.first_key_value().map(|((at, _), _)| *at);
        let Some(next) =
            [deadlines[0], deadlines[1], arrival].into_iter().flatten().min().filter(|at| *at <= end)
        else {
            self.now = end;
            return false;
        };
        if next > self.now {
            self.turns = 0;
        }
        self.now = self.now.max(next);
        assert!(self.turns < TURNS_PER_MS_MAX, "a loop at {:?}", self.now);
        if arrival == Some(next)
            && let Some((_, (to, bytes))) = self.packets.pop_first()
        {
            self.delivered[to] += 1;
            let Path { peer, local, link, hops } = self.configs[to].path;
            let arrival = Arrival::read(self.now, peer, local, link, hops, TTL, &bytes);
            self.act(to, vec![Input::Received(arrival)]);
        } else {
            let due = if deadlines[0] == Some(next) { 0 } else { 1 };
            self.act(due, vec![]);
        }
        true
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now.after_ms(ms);
        while self.step(end) {}
    }

    fn restart(&mut self, end: End, seed: u64) {
        self.ends[end] = Sessions::new(IdSource::new(seed));
        (self.heard[end], self.sent[end]) = (None, None);
        self.configure(end);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Pass(u64),
    Loss(u64),
    Delay { delay_ms: u64, reorder_ms: u64 },
    Configure(End, u32, u32, u8),
    AdminDown(End),
    AdminUp(End),
    Remove(End),
    Restart(End, u64),
    Forged([u8; PACKET_BYTES], End),
}

fn ops() -> impl Strategy<Value = Op> {
    let end = || 0usize..2;
    prop_oneof![
        6 => (0u64..3000).prop_map(Op::Pass),
        1 => prop_oneof![Just(0u64), 0u64..80, Just(100)].prop_map(Op::Loss),
        1 => (0u64..400, 0u64..400).prop_map(|(delay_ms, reorder_ms)| Op::Delay { delay_ms, reorder_ms }),
        2 => (end(), 10u32..1500, 10u32..1500, 1u8..6).prop_map(|(end, tx, rx, times)| Op::Configure(end, tx, rx, times)),
        1 => end().prop_map(Op::AdminDown),
        1 => end().prop_map(Op::AdminUp),
        1 => end().prop_map(Op::Remove),
        1 => (end(), any::<u64>()).prop_map(|(end, seed)| Op::Restart(end, seed)),
        1 => (super::codec::packets(), end()).prop_map(|(packet, end)| {
            // Its intervals are short enough that its effects end within the test.
            let packet = Packet {
                desired_min_tx_us: packet.desired_min_tx_us % 2_000_000,
                required_min_rx_us: packet.required_min_rx_us % 2_000_000,
                detect_multiplier: times(packet.detect_multiplier.get() % 5 + 1),
                your_discriminator: None,
                ..packet
            };
            Op::Forged(packet.encode(), end)
        }),
    ]
}

/// Both roles, at least one of them active; both families; both kinds of path.
fn pairs() -> impl Strategy<Value = [Config; 2]> {
    let roles = prop_oneof![
        Just([Role::Active, Role::Active]),
        Just([Role::Active, Role::Passive]),
        Just([Role::Passive, Role::Active]),
    ];
    let numbers = || (10u32..1500, 10u32..1500, 1u8..6);
    (roles, any::<bool>(), prop_oneof![Just(Hops::Single), Just(Hops::Multi)], numbers(), numbers()).prop_map(
        |(roles, v6, hops, first, second)| {
            let one = |end: End, (tx, rx, multiplier): (u32, u32, u8)| Config {
                path: path_of(end, v6, hops),
                role: roles[end],
                desired_min_tx: ms(tx),
                required_min_rx: ms(rx),
                detect_multiplier: times(multiplier),
                min_ttl: 1,
            };
            [one(0, first), one(1, second)]
        },
    )
}

fn apply(wire: &mut Wire, op: Op) {
    match op {
        Op::Pass(ms) => wire.pass(ms),
        Op::Loss(percent) => wire.loss_percent = percent,
        Op::Delay { delay_ms, reorder_ms } => (wire.delay_ms, wire.reorder_ms) = (delay_ms, reorder_ms),
        Op::Configure(end, tx, rx, multiplier) => {
            let config = Config {
                desired_min_tx: ms(tx),
                required_min_rx: ms(rx),
                detect_multiplier: times(multiplier),
                ..wire.configs[end]
            };
            wire.configs[end] = config;
            wire.configure(end);
        }
        Op::AdminDown(end) => {
            let diagnostic = Diagnostic::ADMINISTRATIVELY_DOWN;
            wire.act(end, vec![Input::AdminDown { session: ID, diagnostic }]);
        }
        Op::AdminUp(end) => wire.act(end, vec![Input::AdminUp { session: ID }]),
        Op::Remove(end) => wire.act(end, vec![Input::Remove { session: ID }]),
        Op::Restart(end, seed) => wire.restart(end, seed),
        Op::Forged(bytes, end) => wire.put(end, bytes),
    }
    // Many words of administrators at one instant are no loop.
    wire.turns = 0;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happened_both_come_up_and_stay_up_once_the_wire_is_well(
        pair in pairs(), seed: u64, ops in proptest::collection::vec(ops(), 0..40), delay_ms in 0u64..50,
    ) {
        let mut wire = Wire::new(pair, seed);
        for op in ops {
            apply(&mut wire, op);
        }
        (wire.loss_percent, wire.delay_ms, wire.reorder_ms) = (0, delay_ms, 0);
        for end in [0, 1] {
            wire.configure(end);
            wire.act(end, vec![Input::AdminUp { session: ID }]);
        }
        // What is still under way, the longest Detection Time (6 times 2 s), three slow packets.
        wire.pass(20_000);
        prop_assert!(wire.both_up(), "{:?}", wire.ends);
        let flaps = wire.flaps;
        wire.pass(20_000);
        prop_assert_eq!(wire.flaps, flaps, "a session fell on a wire that loses nothing");
        prop_assert!(wire.both_up());
        for end in [0, 1] {
            let (own, peer) = (wire.configs[end], wire.configs[1 - end]);
            let session = wire.session(end).unwrap();
            let transmit_us = own.desired_min_tx.us().max(peer.required_min_rx.us());
            let heard_us = own.required_min_rx.us().max(peer.desired_min_tx.us());
            let detection_us = u64::from(peer.detect_multiplier.get()) * u64::from(heard_us);
            prop_assert!(!session.is_polling());
            prop_assert_eq!(
                session.timing(),
                Timing { transmit_us: Some(transmit_us), detection_us: Some(detection_us) }
            );
        }
    }

    #[test]
    fn both_are_up_within_two_exchanges_of_being_ready(pair in pairs(), seed: u64, delay_ms in 0u64..5, wait_ms in 0u64..5000) {
        // The second end is ready only after a while; the first may have been talking to nobody.
        let mut wire = Wire::new(pair, seed);
        wire.pass(wait_ms);
        wire.restart(1, seed ^ 1);
        wire.restart(0, seed ^ 2);
        wire.packets.clear();
        wire.delay_ms = delay_ms;
        wire.delivered = [0; 2];
        let end = wire.now.after_ms(5000);
        while !wire.both_up() && wire.step(end) {}
        prop_assert!(wire.both_up());
        prop_assert!(wire.delivered[0] <= 2 && wire.delivered[1] <= 2, "{:?}", wire.delivered);
    }

    #[test]
    fn one_end_held_down_or_removed_takes_the_other_down_at_once(pair in pairs(), seed: u64, delay_ms in 0u64..50, removed: bool, end in 0usize..2) {
        let mut wire = Wire::new(pair, seed);
        wire.delay_ms = delay_ms;
        wire.pass(10_000);
        prop_assert!(wire.both_up());
        let input = if removed {
            Input::Remove { session: ID }
        } else {
            Input::AdminDown { session: ID, diagnostic: Diagnostic::ADMINISTRATIVELY_DOWN }
        };
        wire.act(end, vec![input]);
        wire.pass(delay_ms);
        let other = wire.session(1 - end).unwrap();
        prop_assert_eq!(other.state(), State::Down);
        prop_assert_eq!(other.diagnostic(), Diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN);
        prop_assert_eq!(other.remote().map(|remote| remote.diagnostic), Some(Diagnostic::ADMINISTRATIVELY_DOWN));
        wire.pass(delay_ms);
        prop_assert_eq!(wire.session(end).is_none(), removed, "the answer ends the farewell");
    }

    #[test]
    fn the_same_inputs_make_the_same_effects(pair in pairs(), seed: u64, ops in proptest::collection::vec(ops(), 0..20)) {
        let run = || {
            let mut wire = Wire::new(pair, seed);
            ops.iter().cloned().for_each(|op| apply(&mut wire, op));
            (wire.ends, wire.packets)
        };
        prop_assert_eq!(run(), run());
    }
}

/// A wire cut one way: the end that still is heard learns it from the other's last word.
#[test]
fn a_wire_that_is_cut_one_way_takes_both_down() {
    for role in [Role::Active, Role::Passive] {
        let one = |end, role| Config { path: path_of(end, false, Hops::Multi), ..config(role) };
        let mut wire = Wire::new([one(0, role), one(1, Role::Active)], 4);
        wire.pass(3000);
        assert!(wire.both_up());
        // Nothing reaches end 0 any more.
        let cut = wire.now;
        while wire.is_up(1) {
            wire.packets.retain(|_, (to, _)| *to == 1);
            let end = cut.after_ms(1000);
            assert!(wire.step(end), "end 1 never learned it");
        }
        assert!(wire.now.since_ms(cut) <= 302, "{} ms", wire.now.since_ms(cut));
        assert!(!wire.is_up(0));
    }
}

/// The peer goes on naming the session that it knew; one with another name would be deaf for the peer's Detection Time.
#[test]
fn a_session_that_was_removed_and_is_wanted_again_is_up_with_the_peers_next_packet() {
    let one = |end, role| Config { path: path_of(end, false, Hops::Multi), ..config(role) };
    let mut wire = Wire::new([one(0, Role::Passive), one(1, Role::Active)], 8);
    wire.pass(3000);
    assert!(wire.both_up());
    wire.act(0, vec![Input::Remove { session: ID }]);
    wire.pass(500);
    assert!(wire.session(0).is_none() && !wire.is_up(1));
    wire.configure(0);
    wire.pass(1001);
    assert!(wire.both_up(), "{:?}", wire.session(1));
}
