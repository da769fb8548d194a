//! What somebody says on a ZMQ connection who has no business there.

use schema::Table;
use zmq::message::Writer;
use zmq::wire::{Command, greeting, message_frame};

use crate::damage::STRANGE_KEY;
use crate::faults::Speech;
use crate::rng::Rng;

/// Flags of a frame's head.
const MORE: u8 = 0b001;
const LONG: u8 = 0b010;
const COMMAND: u8 = 0b100;

/// A message that is longer than any that is taken, and not too long to be skipped.
const SKIPPED_BYTES: u64 = zmq::limits::MESSAGE_BYTES_MAX as u64 + 1;

/// How many messages a flood has, and how long each is.
const FLOOD: (usize, usize) = (20, 20_000);

/// The pieces of a speech, from an end that ought to be a socket of type `socket_type`.
pub fn pieces(speech: Speech, socket_type: &str, rng: &mut Rng) -> Vec<Vec<u8>> {
    let ready = |socket_type: &str| Command::Ready { socket_type: socket_type.to_owned() }.frame();
    let handshake = || [greeting().to_vec(), ready(socket_type)].concat();
    match speech {
        Speech::Noise => vec![b"GET / HTTP/1.1\r\nHost: dpu\r\n\r\n".to_vec()],
        Speech::HalfGreeting => vec![greeting().into_iter().take(20).collect()],
        Speech::OldVersion => vec![greeting_with(10, b"\x01")],
        Speech::Mechanism => vec![greeting_with(12, b"PLAIN")],
        Speech::SocketType => vec![[greeting().to_vec(), ready("REQ")].concat()],
        Speech::Unshaken => vec![greeting().to_vec(), message_frame(b"hello")],
        Speech::Refusal => {
            vec![greeting().to_vec(), Command::Error { reason: "go away".to_owned() }.frame()]
        }
        Speech::Twice => vec![handshake(), ready(socket_type)],
        Speech::Flags => vec![handshake(), vec![0xf8, 0]],
        Speech::LongCommand => vec![handshake(), long_head(COMMAND, 9000)],
        Speech::EndlessMessage => vec![handshake(), long_head(0, u64::MAX)],
        Speech::LongMessage => vec![handshake(), long_head(0, SKIPPED_BYTES), vec![b'x'; 5000]],
        Speech::HalfMessage => {
            let frame = message_frame(&rows_of("DPU_APPL_DB", "WHAT_TABLE"));
            vec![handshake(), frame.split_at(frame.len() / 2).0.to_vec()]
        }
        Speech::BrokenCommand => {
            let bodies: [&[u8]; 6] = [
                b"",
                b"\x20READY",
                b"\x05READY\x0bSocket-Type\x00\x00\x01\x00PUSH",
                b"\x05ERROR\x20why",
                b"\x04PING\x00",
                b"\x04PING\x00\x00a context of seventeen bytes or more",
            ];
            vec![handshake(), command(rng.pick(&bodies).copied().unwrap_or_default())]
        }
        Speech::StrangeCommands => {
            let unasked = |context: &[u8]| Command::Pong { context: context.to_vec() }.frame();
            let subscribe = Command::Other { name: "SUBSCRIBE".to_owned() }.frame();
            let ping = Command::Ping { ttl_ds: 0, context: b"what?".to_vec() }.frame();
            vec![handshake(), subscribe, unasked(b"what?"), unasked(&u64::MAX.to_be_bytes()), ping]
        }
        Speech::NoMessages => {
            let frames = no_messages().into_iter().map(|body| message_frame(&body));
            [handshake()].into_iter().chain(frames).chain([vec![MORE, 2, 0, 0]]).collect()
        }
        Speech::OtherTables => {
            let others = [
                rows_of("DPU_APPL_DB", "WHAT_TABLE"),
                rows_of("APPL_DB", Table::DashHaSet.name()),
                unreadable_rows(Table::DashHaSet),
            ];
            [handshake()].into_iter().chain(others.map(|body| message_frame(&body))).collect()
        }
        Speech::Flood => {
            let (messages, length) = FLOOD;
            let mut writer = Writer::new("DPU_APPL_DB", "WHAT_TABLE");
            let value = "x".repeat(length);
            writer.row(STRANGE_KEY, Some(&[("what", value.as_str())].into_iter().collect()));
            let frame = message_frame(&writer.finish());
            // All but its end is there at once.
            let all = [handshake(), frame.repeat(messages)].concat();
            let (first, rest) = all.split_at(all.len() - 10);
            vec![first.to_vec(), rest.to_vec()]
        }
        Speech::Silence => {
            vec![handshake(), Command::Ping { ttl_ds: 5, context: Vec::new() }.frame()]
        }
    }
}

fn greeting_with(at: usize, what: &[u8]) -> Vec<u8> {
    let mut bytes = greeting();
    for (to, from) in bytes.iter_mut().skip(at).zip(what) {
        *to = *from;
    }
    bytes.to_vec()
}

fn long_head(flags: u8, length: u64) -> Vec<u8> {
    let mut head = vec![flags | LONG];
    head.extend(length.to_be_bytes());
    head
}

fn command(body: &[u8]) -> Vec<u8> {
    let mut frame = vec![COMMAND, u8::try_from(body.len()).unwrap_or_default()];
    frame.extend_from_slice(body);
    frame
}

fn rows_of(db: &str, table: &str) -> Vec<u8> {
    let mut writer = Writer::new(db, table);
    writer.row(STRANGE_KEY, Some(&[("what", "is this")].into_iter().collect()));
    writer.row("gone", None);
    writer.finish()
}

/// Rows of a table that somebody may well take: one's key is not text, the other's field.
fn unreadable_rows(table: Table) -> Vec<u8> {
    let names = [table.db().name().as_bytes(), table.name().as_bytes()];
    message(5, &[names, [b"\xff\xfe", b"1"], [b"field", b"value"], [b"key", b"1"], [b"\xff\xfe", b"value"]])
}

/// Messages that are none, each in its own way.
fn no_messages() -> Vec<Vec<u8>> {
    let names: [&[u8]; 2] = [b"DPU_APPL_DB", b"DASH_HA_SET_TABLE"];
    let row: [&[u8]; 2] = [b"key", b"1"];
    let field: [&[u8]; 2] = [b"field", b"value"];
    let whole = message(3, &[names, row, field]);
    // Shorter than it says in one place, though there is enough for as many pairs.
    let mut short = message(2, &[names, [b"key", b"0"]]);
    short.get_mut(8).into_iter().for_each(|length| *length = 0xff);
    vec![
        Vec::new(),
        b"what?".to_vec(),
        message(0, &[]),
        message(1000, &[names]),
        short,
        message(3, &[names, row]),
        whole.split_at(whole.len() - 1).0.to_vec(),
        [whole, b"rest".to_vec()].concat(),
        message(1, &[[b"\xff\xfe", b"DASH_HA_SET_TABLE"]]),
        message(1, &[[b"DPU_APPL_DB", b"\xff\xfe"]]),
        message(3, &[names, [b"key", b"+1"], field]),
        message(3, &[names, [b"key", b"99"], field]),
    ]
}

/// A message of these pairs that says that it has `count` of them.
fn message(count: u64, pairs: &[[&[u8]; 2]]) -> Vec<u8> {
    let mut bytes = count.to_le_bytes().to_vec();
    for text in pairs.iter().flatten() {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text);
    }
    bytes
}
