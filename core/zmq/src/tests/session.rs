//! A consumer's session, told what comes.

use reconcile::Time;

use super::fields;
use crate::message::Writer;
use crate::wire::{Command, greeting, message_frame};
use crate::{ConsumerSession, SessionEffect, SessionEvent};

const NOW: Time = Time(0);

fn session() -> ConsumerSession {
    let mut out = Vec::new();
    let session = ConsumerSession::new(NOW, &mut out);
    let ready = Command::Ready { socket_type: "PULL".to_owned() }.frame();
    assert_eq!(out, [SessionEffect::Transmit([&greeting()[..], &ready].concat())]);
    session
}

fn tell(session: &mut ConsumerSession, bytes: &[u8]) -> Vec<SessionEffect> {
    let mut out = Vec::new();
    session.handle(NOW, SessionEvent::Received(bytes.to_vec()), &mut out);
    out
}

fn up() -> ConsumerSession {
    let mut session = session();
    let ready = Command::Ready { socket_type: "PUSH".to_owned() }.frame();
    assert_eq!(tell(&mut session, &[&greeting()[..], &ready].concat()), [SessionEffect::Up]);
    session
}

fn message(key: &str) -> Vec<u8> {
    let mut writer = Writer::new("DPU_APPL_DB", "DASH_HA_SET_TABLE");
    writer.row(key, Some(&fields(&[("v", "1")])));
    message_frame(&writer.finish())
}

fn ping(context: &[u8], ttl_ds: u16) -> Vec<u8> {
    Command::Ping { ttl_ds, context: context.to_vec() }.frame()
}

#[test]
fn a_pong_comes_after_the_messages_before_its_ping_and_before_those_after_it() {
    let effects = tell(&mut up(), &[message("a"), ping(b"1", 0), message("b"), ping(b"2", 0)].concat());
    let told: Vec<String> = effects
        .iter()
        .map(|effect| match effect {
            SessionEffect::Message(message) => message.rows[0].key.clone(),
            SessionEffect::Transmit(bytes) => String::from_utf8_lossy(&bytes[3..]).into_owned(),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(told, ["a", "PONG1", "b", "PONG2"]);
}

#[test]
fn a_bad_message_is_dropped_and_the_session_goes_on() {
    let mut session = up();
    let effects = tell(&mut session, &[message_frame(b"garbage"), message("a")].concat());
    assert!(matches!(effects.as_slice(), [SessionEffect::Dropped { .. }, SessionEffect::Message(_)]));
    let mut too_long = vec![2];
    too_long.extend(17_000_000_u64.to_be_bytes());
    let reason = "message of 17000000 bytes: at most 16777215 are allowed".to_owned();
    assert_eq!(tell(&mut session, &too_long), [SessionEffect::Dropped { reason }]);
    for _ in 0..17 {
        assert_eq!(tell(&mut session, &[9; 1_000_000]), []);
    }
    assert!(matches!(tell(&mut session, &message("b")).as_slice(), [SessionEffect::Message(_)]));
}

#[test]
fn another_socket_type_is_told_so_and_left() {
    let mut session = session();
    let ready = Command::Ready { socket_type: "PUB".to_owned() }.frame();
    let effects = tell(&mut session, &[&greeting()[..], &ready].concat());
    let error = Command::Error { reason: "Invalid socket type".to_owned() }.frame();
    let reason = "the peer is a socket of type \"PUB\", not PUSH".to_owned();
    assert_eq!(effects, [SessionEffect::Transmit(error), SessionEffect::Close { reason }]);
    assert_eq!(tell(&mut session, &message("a")), [], "nothing more is taken");
}

#[test]
fn a_message_before_the_handshake_ends_the_session() {
    let effects = tell(&mut session(), &[&greeting()[..], &message("a")].concat());
    assert!(matches!(effects.as_slice(), [SessionEffect::Close { .. }]), "{effects:?}");
}

#[test]
fn a_peer_that_never_shakes_hands_is_left() {
    let mut session = session();
    let (at, _) = session.next_deadline().unwrap();
    let mut out = Vec::new();
    session.handle(at, SessionEvent::Tick, &mut out);
    assert_eq!(out, [SessionEffect::Close { reason: "the handshake takes too long".to_owned() }]);
    assert_eq!(session.next_deadline(), None);
}

#[test]
fn a_producer_that_said_how_long_it_may_be_silent_is_left_after_that() {
    let mut session = up();
    assert_eq!(session.next_deadline(), None, "it did not say");
    tell(&mut session, &ping(b"", 50));
    assert_eq!(session.next_deadline().unwrap().0, Time(5000));
    let mut out = Vec::new();
    session.handle(Time(4000), SessionEvent::Received(message("a")), &mut out);
    assert_eq!(session.next_deadline().unwrap().0, Time(9000), "anything counts");
    out.clear();
    session.handle(Time(9000), SessionEvent::Tick, &mut out);
    assert_eq!(out, [SessionEffect::Close { reason: "the producer is silent".to_owned() }]);
}
