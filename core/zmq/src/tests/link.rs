//! One link, told what happens.

use reconcile::Time;

use super::{SCOPE, SET, fields, row};
use crate::limits::{BATCH_ROWS_MAX, MESSAGE_BYTES_MAX};
use crate::message;
use crate::wire::{Command, Decoder, Item, greeting};
use crate::{LinkConfig, LinkEffect, LinkEvent, Outgoing, ProducerLink};

/// A link and what a peer sees of it.
struct Story {
    link: ProducerLink,
    now: Time,
    sent: Decoder,
    pings: Vec<Vec<u8>>,
    messages: Vec<message::Message>,
}

impl Story {
    fn new() -> Self {
        Self {
            link: ProducerLink::new(LinkConfig::default()),
            now: Time(1000),
            sent: Decoder::new(),
            pings: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// What the link asks for besides bytes.
    fn tell(&mut self, event: LinkEvent) -> Vec<LinkEffect> {
        let mut out = Vec::new();
        self.link.handle(self.now, event, &mut out);
        out.retain(|effect| {
            let LinkEffect::Transmit(bytes) = effect else { return true };
            self.sent.push(bytes);
            while let Some(item) = self.sent.next().unwrap() {
                match item {
                    Item::Command(Command::Ping { context, .. }) => self.pings.push(context),
                    Item::Message(bytes) => self.messages.push(message::decode(&bytes).unwrap()),
                    Item::Greeting | Item::Command(_) | Item::TooLong { .. } => {}
                }
            }
            false
        });
        out
    }

    fn after(&mut self, ms: u64) -> Vec<LinkEffect> {
        self.now = self.now.after_ms(ms);
        self.tell(LinkEvent::Tick)
    }

    fn due(&mut self) -> Vec<LinkEffect> {
        let (at, _) = self.link.next_deadline().unwrap();
        self.after(at.since_ms(self.now))
    }

    fn receive(&mut self, commands: &[Command]) -> Vec<LinkEffect> {
        let bytes = commands.iter().flat_map(Command::frame).collect();
        self.tell(LinkEvent::Received(bytes))
    }

    fn up(&mut self) {
        self.tell(LinkEvent::Address(true));
        self.handshake();
    }

    fn handshake(&mut self) {
        self.sent = Decoder::new();
        self.tell(LinkEvent::Connected);
        self.tell(LinkEvent::Received(greeting().to_vec()));
        let effects = self.receive(&[Command::Ready { socket_type: "PULL".to_owned() }]);
        assert!(matches!(effects.as_slice(), [LinkEffect::Up { .. }]), "{effects:?}");
    }

    fn send(&mut self, connection: u64, rows: &[(&str, Option<&str>)]) -> Vec<LinkEffect> {
        let rows = rows.iter().zip(1..).map(|((key, value), serial)| Outgoing {
            table: SET,
            key: (*key).to_owned(),
            fields: value.map(|value| fields(&[("v", value)])),
            serial,
        });
        self.tell(LinkEvent::Send { connection, rows: rows.collect() })
    }

    fn answer(&mut self) -> Vec<LinkEffect> {
        let context = self.pings.remove(0);
        self.receive(&[Command::Pong { context }])
    }
}

#[test]
fn nothing_is_done_without_an_address() {
    let mut story = Story::new();
    assert_eq!(story.link.next_deadline(), None);
    assert_eq!(story.tell(LinkEvent::Address(false)), []);
    assert_eq!(story.tell(LinkEvent::Address(true)), [LinkEffect::Connect]);
}

#[test]
fn attempts_come_at_growing_intervals_for_ever() {
    let mut story = Story::new();
    story.tell(LinkEvent::Address(true));
    let mut intervals = Vec::new();
    for _ in 0..40 {
        let reason = "connection refused".to_owned();
        let effects = story.tell(LinkEvent::Refused { reason: reason.clone() });
        assert_eq!(effects, [LinkEffect::Failed { reason }]);
        let (at, _) = story.link.next_deadline().unwrap();
        intervals.push(at.since_ms(story.now));
        assert_eq!(story.due(), [LinkEffect::Connect]);
    }
    assert_eq!(intervals[..6], [20, 40, 80, 160, 250, 250]);
    assert_eq!(intervals[39], 250);
}

#[test]
fn an_attempt_and_a_handshake_that_take_too_long_are_given_up() {
    let mut story = Story::new();
    story.tell(LinkEvent::Address(true));
    let reason = "no connection within 3000 ms".to_owned();
    assert_eq!(story.due(), [LinkEffect::Disconnect, LinkEffect::Failed { reason }]);
    story.due();
    story.tell(LinkEvent::Connected);
    let reason = "no handshake within 3000 ms".to_owned();
    assert_eq!(story.due(), [LinkEffect::Disconnect, LinkEffect::Failed { reason }]);
}

#[test]
fn a_peer_that_is_no_consumer_is_left() {
    for socket_type in ["PUSH", "SUB", ""] {
        let mut story = Story::new();
        story.tell(LinkEvent::Address(true));
        story.tell(LinkEvent::Connected);
        story.tell(LinkEvent::Received(greeting().to_vec()));
        let effects = story.receive(&[Command::Ready { socket_type: socket_type.to_owned() }]);
        let reason = format!("the peer is a socket of type {socket_type:?}, not PULL");
        assert_eq!(effects, [LinkEffect::Disconnect, LinkEffect::Failed { reason }]);
    }
}

#[test]
fn a_pong_acknowledges_what_went_before_its_ping_and_nothing_else() {
    let mut story = Story::new();
    story.up();
    story.send(1, &[("a", Some("1"))]);
    story.send(1, &[("b", Some("2")), ("c", None)]);
    assert_eq!(story.pings.len(), 2);
    assert_eq!(story.link.unacknowledged(), 3);
    let unasked = Command::Pong { context: 99_u64.to_be_bytes().to_vec() };
    assert_eq!(story.receive(&[unasked, Command::Pong { context: vec![1] }]), []);
    let receipts = vec![(row(SET, "a"), 1)];
    assert_eq!(story.answer(), [LinkEffect::Acknowledged { connection: 1, receipts }]);
    let receipts = vec![(row(SET, "b"), 1), (row(SET, "c"), 2)];
    assert_eq!(story.answer(), [LinkEffect::Acknowledged { connection: 1, receipts }]);
    assert_eq!(story.link.unacknowledged(), 0);
}

#[test]
fn a_later_pong_acknowledges_everything_before_it() {
    let mut story = Story::new();
    story.up();
    story.send(1, &[("a", Some("1"))]);
    story.send(1, &[("b", Some("2"))]);
    story.pings.remove(0);
    let receipts = vec![(row(SET, "a"), 1), (row(SET, "b"), 1)];
    assert_eq!(story.answer(), [LinkEffect::Acknowledged { connection: 1, receipts }]);
}

#[test]
fn a_silent_peer_is_asked_and_then_left() {
    let mut story = Story::new();
    story.up();
    assert_eq!(story.due(), []);
    assert_eq!(story.pings.len(), 1, "a heartbeat");
    assert_eq!(story.answer(), []);
    story.send(1, &[("a", Some("1"))]);
    assert_eq!(story.after(4999), []);
    let reason = "no answer to a PING within 5000 ms".to_owned();
    assert_eq!(story.after(1), [LinkEffect::Disconnect, LinkEffect::Down { reason }]);
    assert_eq!(story.due(), [LinkEffect::Connect]);
}

#[test]
fn a_slow_peer_is_not_left_while_it_answers() {
    let mut story = Story::new();
    story.up();
    for i in 0..10 {
        story.send(1, &[(&i.to_string(), Some("1"))]);
    }
    for _ in 0..10 {
        assert_eq!(story.after(4000), []);
        assert_eq!(story.answer().len(), 1);
    }
}

#[test]
fn what_was_meant_for_an_earlier_connection_is_not_sent() {
    let mut story = Story::new();
    story.up();
    let reason = "reset".to_owned();
    assert_eq!(story.tell(LinkEvent::Closed { reason: reason.clone() }), [LinkEffect::Down { reason }]);
    story.due();
    story.handshake();
    story.send(1, &[("a", Some("1"))]);
    assert_eq!(story.messages, []);
    story.send(2, &[("a", Some("2"))]);
    assert_eq!(story.messages.len(), 1);
}

#[test]
fn a_new_address_ends_the_connection_to_the_old_one() {
    let mut story = Story::new();
    story.up();
    let reason = "the peer's address changed".to_owned();
    let effects = story.tell(LinkEvent::Address(true));
    assert_eq!(effects, [LinkEffect::Disconnect, LinkEffect::Down { reason }, LinkEffect::Connect]);
    assert_eq!(story.tell(LinkEvent::Address(false)), [LinkEffect::Disconnect]);
    assert_eq!(story.link.next_deadline(), None);
}

#[test]
fn rows_wait_in_their_latest_form_while_the_peer_does_not_answer() {
    let mut story = Story::new();
    story.up();
    // More than may be under way without an answer: in batches of 1024 rows, of a little more than 4 KiB each.
    let long = "x".repeat(4096);
    let keys: Vec<String> = (0..3000).map(|i| i.to_string()).collect();
    let rows: Vec<(&str, Option<&str>)> =
        keys.iter().map(|key| (key.as_str(), Some(long.as_str()))).collect();
    story.send(1, &rows);
    let waiting = story.link.backlog();
    assert!(waiting > 1000, "{waiting}");
    for value in ["1", "2", "3"] {
        story.send(1, &[("2999", Some(value)), ("2998", None), ("2997", None), ("2997", Some(value))]);
    }
    assert_eq!(story.link.backlog(), waiting + 1, "a row that was deleted and came again waits twice");
    story.messages.clear();
    while !story.pings.is_empty() {
        story.answer();
    }
    let rows: Vec<_> = story.messages.iter().flat_map(|message| &message.rows).collect();
    let of = |key: &str| -> Vec<Option<&str>> {
        let of_key = rows.iter().filter(|row| row.key == key);
        of_key.map(|row| row.fields.as_ref().and_then(|fields| fields.text("v"))).collect()
    };
    assert_eq!(of("2999"), [Some("3")]);
    assert_eq!(of("2998"), [None]);
    assert_eq!(of("2997"), [None, Some("3")]);
    assert_eq!(rows.len(), waiting + 1);
}

#[test]
fn messages_are_of_one_table_each_and_limited() {
    let mut story = Story::new();
    story.up();
    let one = |table, key: String| Outgoing { table, key, fields: Some(fields(&[("v", "1")])), serial: 1 };
    let mut rows: Vec<Outgoing> = (0..BATCH_ROWS_MAX + 1).map(|i| one(SET, i.to_string())).collect();
    rows.push(one(SCOPE, "s".to_owned()));
    rows.push(one(SET, "last".to_owned()));
    story.tell(LinkEvent::Send { connection: 1, rows });
    let batches: Vec<(&str, usize)> =
        story.messages.iter().map(|message| (message.table.as_str(), message.rows.len())).collect();
    let (set, scope) = (SET.name(), SCOPE.name());
    assert_eq!(batches, [(set, BATCH_ROWS_MAX), (set, 1), (scope, 1), (set, 1)]);
    assert_eq!(story.pings.len(), 4, "a PING after each");
}

#[test]
fn a_row_that_is_too_long_is_refused_and_hurts_nothing_else() {
    let mut story = Story::new();
    story.up();
    let alone = message::length_alone(SET, "k", Some(&fields(&[("v", "")])));
    for (length, is_sent) in [(MESSAGE_BYTES_MAX - alone, true), (MESSAGE_BYTES_MAX - alone + 1, false)] {
        story.messages.clear();
        let value = "x".repeat(length);
        let effects = story.send(1, &[("k", Some(&value)), ("l", Some("1"))]);
        let keys: Vec<&str> =
            story.messages.iter().flat_map(|message| &message.rows).map(|row| row.key.as_str()).collect();
        if is_sent {
            assert_eq!(effects, []);
            assert_eq!(keys, ["k"], "the next one waits for an answer");
            story.answer();
        } else {
            let length = MESSAGE_BYTES_MAX + 1;
            assert_eq!(effects, [LinkEffect::TooLong { row: row(SET, "k"), length }]);
            assert_eq!(keys, ["l"]);
        }
    }
}

#[test]
fn a_peer_that_breaks_the_protocol_is_left() {
    let cases: &[(&str, Vec<u8>)] = &[
        ("a message", crate::wire::message_frame(b"x")),
        ("a refusal", Command::Error { reason: "no".to_owned() }.frame()),
        ("a second handshake", Command::Ready { socket_type: "PULL".to_owned() }.frame()),
        ("garbage", vec![0xff; 8]),
    ];
    for (what, bytes) in cases {
        let mut story = Story::new();
        story.up();
        let effects = story.tell(LinkEvent::Received(bytes.clone()));
        assert!(matches!(effects.as_slice(), [LinkEffect::Disconnect, LinkEffect::Down { .. }]), "{what}");
        assert_eq!(story.tell(LinkEvent::Received(bytes.clone())), [], "{what}: late bytes");
    }
}

#[test]
fn the_peer_may_ping_too() {
    let mut story = Story::new();
    story.up();
    let mut out = Vec::new();
    let ping = Command::Ping { ttl_ds: 10, context: b"theirs".to_vec() }.frame();
    story.link.handle(story.now, LinkEvent::Received(ping), &mut out);
    assert_eq!(out, [LinkEffect::Transmit(Command::Pong { context: b"theirs".to_vec() }.frame())]);
}
