//! What anybody may send to a BFD port.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;

use bfd::{
    Arrival, Config, Decoded, Effect, Hops, Input, Interval, Link, PACKET_BYTES, Packet, Path, Role,
    SessionId, Sessions, State, decode,
};
use reconcile::{Batch, Core, IdSource, Time};
use schema::WallMs;

/// What one step of [`bfd_session`] takes: how much time passes (in units of 8 ms), a TTL, and a packet.
const STEP_BYTES: usize = 2 + PACKET_BYTES;

/// A datagram: what is understood means the same when it is written and read again.
pub fn bfd_packet(data: &[u8]) {
    if let Ok(Decoded { packet, auth: _ }) = decode(data) {
        assert_eq!(decode(&packet.encode()), Ok(Decoded { packet, auth: None }));
    }
}

/// A peer that says anything at any time: the session answers a packet with one at most, sends nothing that cannot be read, wants
/// to run later than now, and is never up past its detection time.
pub fn bfd_session(data: &[u8]) {
    let (peer, local) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)));
    let session = SessionId(1);
    let interval = Interval::from_ms(100).expect("it is in range");
    let mut sessions = Sessions::new(IdSource::new(1));
    let mut now = Time(0);
    let config = Config {
        path: Path { peer, local, link: Link::ANY, hops: Hops::Multi },
        role: Role::Passive,
        desired_min_tx: interval,
        required_min_rx: interval,
        detect_multiplier: NonZeroU8::MIN,
        min_ttl: 1,
    };
    run(&mut sessions, now, vec![Input::Configure { session, config }], 1);
    for step in data.chunks_exact(STEP_BYTES) {
        let [ms8, ttl, payload @ ..] = step else { return };
        now = now.after_ms(u64::from(*ms8) * 8);
        let mut payload = payload.to_vec();
        // A blind guess never names the session: every other packet does.
        if ttl & 1 == 1
            && let Some(ours) = sessions.get(session)
            && let Some(field) = payload.get_mut(8..12)
        {
            field.copy_from_slice(&ours.discriminator().get().to_be_bytes());
        }
        let arrival = Arrival::read(now, peer, local, Link::ANY, Hops::Multi, *ttl, &payload);
        run(&mut sessions, now, vec![Input::Received(arrival)], 2);
        let ours = sessions.get(session).expect("nobody removed it");
        if ours.state() == State::Up {
            let heard = ours.remote().expect("who is up knows its peer").received_at;
            let detection_us = ours.timing().detection_us.expect("who is up knows when it ends");
            assert!(now.since_ms(heard).saturating_mul(1000) < detection_us.saturating_add(2000));
        }
    }
}

fn run(sessions: &mut Sessions, now: Time, inputs: Vec<Input>, packets_max: usize) {
    let mut effects = Vec::new();
    sessions.handle(now, Batch { wall: WallMs(0), inputs }, &mut effects);
    let sent: Vec<Packet> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send { packet, .. } => Some(*packet),
            Effect::StateChanged { .. } | Effect::Note(_) => None,
        })
        .collect();
    // One answer, and one word at the end of a silence.
    assert!(sent.len() <= packets_max + 1, "{sent:?}");
    for packet in sent {
        assert_eq!(decode(&packet.encode()), Ok(Decoded { packet, auth: None }));
    }
    assert!(sessions.next_deadline().is_none_or(|(at, _)| at > now));
}
