//! Strangers' BFD packets, each of which has to be dropped (RFC 5880 6.8.6, RFC 5881 5, RFC 5883 5). P4: nobody's session
//! is another because of one, and it is counted for what it was.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;

use ::bfd::{
    Arrival, Counters, Decoded, Diagnostic, Discriminator, DropReason, Drops, Effect, Handshake, Hops, Input,
    Link, Note, Packet, Session, SessionId, Sessions, State, TTL,
};

use super::*;

/// Between two packets of strangers to a DPU and the NPUs that watch it.
const BETWEEN: std::ops::Range<Micros> = 5 * MS..100 * MS;

const AUTHENTICATION_PRESENT: u8 = 0x04;

/// A packet that has to be dropped.
struct Noise {
    arrival: Arrival,
    /// Whose it is, as far as that can be told.
    owner: Option<SessionId>,
    reason: DropReason,
}

/// What a stranger knows of a session: all that can be overheard.
#[derive(Clone, Copy)]
struct Target {
    id: SessionId,
    peer: IpAddr,
    discriminator: Discriminator,
    min_ttl: u8,
}

impl World {
    /// A stranger's packet arrives at a DPU, or at an NPU that watches it.
    pub(crate) fn noise(&mut self, dpu: DpuRef) {
        if self.noises.get(&dpu).is_none_or(|until| *until <= self.now) {
            self.noises.remove(&dpu);
            return;
        }
        let wait = self.rng.between(BETWEEN.start, BETWEEN.end);
        self.after(wait, Ev::Noise(dpu));
        let peer = self.topology.peer(dpu);
        let npus = [Proc::Orchagent(dpu.switch), Proc::Orchagent(peer.switch)];
        let proc = match self.rng.below(4) {
            0 => npus[0],
            1 => npus[1],
            _ => Proc::Haorchd(dpu),
        };
        if self.pause_left(proc) > 0 {
            return;
        }
        // What was to happen until now happens first: what changes then is the stranger's doing.
        self.turn_bfd(proc);
        let Some(engine) = self.engines.get_mut(&proc) else { return };
        let at = match proc {
            Proc::Orchagent(switch) => Topology::npu(switch),
            _ => Topology::data_path(dpu),
        };
        let now = engine.time(self.now);
        let noise = draw(&mut self.rng, &engine.sessions, now, at);
        let before = engine.sessions.clone();
        let mut effects = Vec::new();
        let mut arrival = noise.arrival;
        if engine.mistake == Some(BfdMistake::AuthIgnored) {
            arrival.content = arrival.content.map(|decoded| Decoded { auth: None, ..decoded });
        }
        let inputs = vec![Input::Received(arrival)];
        engine.sessions.handle(now, Batch { wall: WallMs(0), inputs }, &mut effects);
        if let Some(what) = wrong(&before, &engine.sessions, &noise, &effects) {
            let reason = noise.reason.name();
            self.checks.fail(format!("P4 {proc} was sent a BFD packet to be dropped ({reason}): {what}"));
        }
    }
}

/// What a packet that had to be dropped did.
fn wrong(before: &Sessions, after: &Sessions, noise: &Noise, effects: &[Effect]) -> Option<String> {
    let (was, is) = (before.drops(), after.drops());
    if counts_otherwise(was, is, noise.reason) || is.total() != was.total() + 1 {
        return Some(format!("not counted for it: {:?}", is.iter().collect::<Vec<_>>()));
    }
    if before.len() != after.len() || before.next_deadline() != after.next_deadline() {
        return Some("the timers of sessions are others".to_owned());
    }
    for ((id, was), (_, is)) in before.iter().zip(after.iter()) {
        if known(was) != known(is) {
            return Some(format!("session {id:?} was {was:?} and is {is:?}"));
        }
        let (was, is) = (was.counters(), is.counters());
        let others = |counters: &Counters| Counters { drops: Drops::default(), ..counters.clone() };
        let wrong_drops = if noise.owner == Some(id) {
            counts_otherwise(&was.drops, &is.drops, noise.reason)
        } else {
            was.drops != is.drops
        };
        if others(was) != others(is) || wrong_drops {
            return Some(format!("session {id:?} counted {was:?} and counts {is:?}"));
        }
    }
    effects.iter().find(|effect| !is_note(effect, noise)).map(|effect| format!("it asks for {effect:?}"))
}

/// Whether another number than one more was dropped for the reason, or any more for another.
fn counts_otherwise(was: &Drops, is: &Drops, reason: DropReason) -> bool {
    DropReason::ALL.into_iter().any(|one| is.of(one) != was.of(one) + u64::from(one == reason))
}

/// All that a session is but what it counts.
fn known(session: &Session) -> impl PartialEq {
    let says = (*session.config(), session.discriminator(), session.state(), session.diagnostic());
    (says, session.remote().copied(), session.timing(), session.is_polling(), session.is_leaving())
}

/// Of a drop nothing follows but that the operator is told, now and then.
fn is_note(effect: &Effect, noise: &Noise) -> bool {
    match effect {
        Effect::Note(Note::Dropped { session, peer, reason, count }) => {
            let from = noise.arrival.path.peer.to_canonical();
            (*session, *reason, *peer) == (noise.owner, noise.reason, from) && count.is_power_of_two()
        }
        Effect::Note(_) | Effect::Send { .. } | Effect::StateChanged { .. } => false,
    }
}

/// Draws a packet that has to be dropped by who has that address, or the IPv6 address that goes with it.
fn draw(rng: &mut Rng, sessions: &Sessions, now: Time, at: Ipv4Addr) -> Noise {
    let targets = sessions.iter().map(|(id, session)| Target {
        id,
        peer: session.config().path.peer,
        discriminator: session.discriminator(),
        min_ttl: session.config().min_ttl,
    });
    let targets: Vec<Target> = targets.collect();
    let target = rng.pick(&targets).copied();
    // As a rule it is the peer's, as far as one can see.
    let from = target.map_or_else(|| stranger(rng), |target| target.peer);
    let mut packet = genuine(rng, target);
    // In every packet one thing is wrong.
    let (mut from, mut hops, mut ttl, mut owner) = (from, Hops::Multi, TTL, None);
    let (bytes, reason) = match (rng.below(15), target) {
        (0, _) => {
            let length = usize::try_from(rng.below(packet.encode().len() as u64)).unwrap_or_default();
            (packet.encode().into_iter().take(length).collect(), DropReason::TooShort)
        }
        (1, _) => {
            let version = rng.pick(&[0_u8, 2, 3, 4, 5, 6, 7]).copied().unwrap_or_default();
            (with(&packet, 0, version << 5), DropReason::Version)
        }
        (2, _) if rng.chance(500) => (with(&packet, 3, byte(rng, 0, 24)), DropReason::LengthTooSmall),
        (2, _) => {
            // Long enough for a packet, not for one with a section.
            let length = rng.between(24, 26);
            (authenticated(&packet, &[1, 2], length), DropReason::LengthTooSmall)
        }
        (3, _) => (with(&packet, 3, byte(rng, 25, 256)), DropReason::LengthBeyondPayload),
        (4, _) => (with(&packet, 2, 0), DropReason::DetectMultiplierZero),
        (5, _) => (with_flags(&packet, 0x01), DropReason::Multipoint),
        (6, _) => {
            let mut bytes = packet.encode().to_vec();
            bytes.iter_mut().skip(4).take(4).for_each(|byte| *byte = 0);
            (bytes, DropReason::MyDiscriminatorZero)
        }
        (7, _) => (with_flags(&packet, 0x30), DropReason::PollAndFinal),
        (8, _) => {
            let section = bad_section(rng);
            let length = 24 + section.len() as u64;
            (authenticated(&packet, &section, length), DropReason::AuthMalformed)
        }
        (9, _) => {
            let is_taken = |one: &Discriminator| targets.iter().any(|target| target.discriminator == *one);
            packet.your_discriminator = Some(discriminator(rng)).filter(|one| !is_taken(one));
            match packet.your_discriminator {
                Some(_) => (packet.encode().to_vec(), DropReason::UnknownDiscriminator),
                None => (with(&packet, 2, 0), DropReason::DetectMultiplierZero),
            }
        }
        (10, _) => {
            packet.your_discriminator = None;
            packet.state = if rng.chance(500) { State::Init } else { State::Up };
            (packet.encode().to_vec(), DropReason::DiscriminatorMissing)
        }
        (11, Some(target)) => {
            (hops, owner) = (Hops::Single, Some(target.id));
            (packet.encode().to_vec(), DropReason::WrongPort)
        }
        (12, Some(target)) if target.min_ttl > 0 => {
            (ttl, owner) = (byte(rng, 0, u64::from(target.min_ttl)), Some(target.id));
            (packet.encode().to_vec(), DropReason::Ttl)
        }
        (13, Some(target)) => {
            owner = Some(target.id);
            let section = good_section(rng);
            let length = 24 + section.len() as u64;
            (authenticated(&packet, &section, length), DropReason::AuthNotInUse)
        }
        _ => {
            packet.your_discriminator = None;
            packet.state = if rng.chance(500) { State::Down } else { State::AdminDown };
            // To the port of one hop, or from somebody else.
            if target.is_some() && rng.chance(300) {
                hops = Hops::Single;
            } else {
                from = stranger(rng);
            }
            (packet.encode().to_vec(), DropReason::NoSession)
        }
    };
    let at = match from {
        IpAddr::V4(_) => IpAddr::V4(at),
        // As a socket of both families says it.
        IpAddr::V6(from) if from.to_ipv4_mapped().is_some() => IpAddr::V6(at.to_ipv6_mapped()),
        IpAddr::V6(_) => IpAddr::V6(Topology::v6(at)),
    };
    let link = if rng.chance(800) { Link::ANY } else { Link(7) };
    Noise { arrival: Arrival::read(now, from, at, link, hops, ttl, &bytes), owner, reason }
}

/// A packet that a session would take, with whatever it may say.
fn genuine(rng: &mut Rng, target: Option<Target>) -> Packet {
    let handshakes = [Handshake::None, Handshake::Poll, Handshake::Final];
    Packet {
        diagnostic: Diagnostic::from_code(byte(rng, 0, 32)),
        state: rng.pick(&State::ALL).copied().unwrap_or(State::Up),
        handshake: rng.pick(&handshakes).copied().unwrap_or_default(),
        control_plane_independent: rng.chance(500),
        demand: rng.chance(500),
        detect_multiplier: NonZeroU8::new(byte(rng, 1, 256)).unwrap_or(NonZeroU8::MIN),
        my_discriminator: discriminator(rng),
        your_discriminator: Some(target.map_or_else(|| discriminator(rng), |target| target.discriminator)),
        desired_min_tx_us: interval(rng),
        required_min_rx_us: interval(rng),
        required_min_echo_rx_us: interval(rng),
    }
}

/// None, a short one, or any.
fn interval(rng: &mut Rng) -> u32 {
    let highest = rng.pick(&[1_u64, 50_000, 1 << 32]).copied().unwrap_or(1);
    u32::try_from(rng.below(highest)).unwrap_or_default()
}

fn discriminator(rng: &mut Rng) -> Discriminator {
    let value = u32::try_from(rng.between(1, 1 << 32)).unwrap_or(1);
    Discriminator::new(value).unwrap_or(Discriminator(std::num::NonZeroU32::MIN))
}

fn byte(rng: &mut Rng, low: u64, high: u64) -> u8 {
    u8::try_from(rng.between(low, high)).unwrap_or_default()
}

/// Somebody with whom nobody has a session.
fn stranger(rng: &mut Rng) -> IpAddr {
    let v4 = Ipv4Addr::new(192, 0, 2, byte(rng, 1, 255));
    match rng.below(3) {
        0 => IpAddr::V4(v4),
        // As a socket of both families says it.
        1 => IpAddr::V6(v4.to_ipv6_mapped()),
        _ => IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(rng.any()))),
    }
}

/// The packet with one byte changed.
fn with(packet: &Packet, at: usize, byte: u8) -> Vec<u8> {
    packet.encode().into_iter().enumerate().map(|(one, was)| if one == at { byte } else { was }).collect()
}

fn with_flags(packet: &Packet, flags: u8) -> Vec<u8> {
    packet.encode().into_iter().enumerate().map(|(at, was)| if at == 1 { was | flags } else { was }).collect()
}

/// The packet with an authentication section, and what its Length says.
fn authenticated(packet: &Packet, section: &[u8], length: u64) -> Vec<u8> {
    let mut bytes = with_flags(packet, AUTHENTICATION_PRESENT);
    if let Some(says) = bytes.get_mut(3) {
        *says = u8::try_from(length).unwrap_or(u8::MAX);
    }
    bytes.extend_from_slice(section);
    bytes
}

/// A section as RFC 5880 4.2 to 4.4 have it.
fn good_section(rng: &mut Rng) -> Vec<u8> {
    let kind = byte(rng, 1, 6);
    let length = match kind {
        1 => byte(rng, 4, 20),
        2 | 3 => 24,
        _ => 28,
    };
    section(rng, kind, length, length)
}

/// One that is none.
fn bad_section(rng: &mut Rng) -> Vec<u8> {
    match rng.below(5) {
        // A password of no byte, or of too many.
        0 if rng.chance(500) => section(rng, 1, 3, 3),
        0 => section(rng, 1, 20, 20),
        1 => {
            let (kind, length) = (byte(rng, 2, 6), byte(rng, 3, 24));
            section(rng, kind, length, length)
        }
        2 => {
            let kind = if rng.chance(500) { 0 } else { byte(rng, 6, 256) };
            section(rng, kind, 24, 24)
        }
        // It ends before it says what it is, or before its own length.
        3 => section(rng, 2, 24, 2),
        _ => {
            let (kind, there) = (byte(rng, 1, 6), byte(rng, 3, 24));
            section(rng, kind, there + 1, there)
        }
    }
}

/// A section of that type which says that it is so long; so many bytes of it.
fn section(rng: &mut Rng, kind: u8, length: u8, there: u8) -> Vec<u8> {
    let rest = std::iter::repeat_with(|| byte(rng, 0, 256));
    [kind, length].into_iter().chain(rest).take(usize::from(there)).collect()
}
