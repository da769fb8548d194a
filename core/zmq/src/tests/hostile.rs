//! What a peer may send that it should not.

use proptest::prelude::*;

use super::{fields, hex};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::message::{self, MessageError, Writer};
use crate::wire::{Command, Decoder, Item, ProtocolError, greeting, message_frame};

fn golden() -> Vec<u8> {
    let mut writer = Writer::new("DPU_APPL_DB", "DASH_HA_SET_TABLE");
    writer.row("haset0", Some(&fields(&[("version", "1"), ("vip_v4", "10.0.0.1")])));
    writer.row("haset1", None);
    writer.finish()
}

fn pairs(count: u64, pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = count.to_le_bytes().to_vec();
    for (one, other) in pairs {
        for text in [one, other] {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text);
        }
    }
    bytes
}

#[test]
fn a_broken_message_is_refused_with_what_is_wrong() {
    const NAME: (&[u8], &[u8]) = (b"DPU_APPL_DB", b"DASH_HA_SET_TABLE");
    let huge = [&1_u64.to_le_bytes()[..], &u64::MAX.to_le_bytes(), &[0; 64]].concat();
    let rest = [golden(), vec![0]].concat();
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("nothing", vec![], "message of 0 bytes ends within the number of pairs"),
        ("json", b"[\"a\",\"b\"]".to_vec(), "message of 9 bytes ends within the pairs that it announces"),
        ("no pairs", hex("0000000000000000"), "message without database and table"),
        ("a length that overflows", huge, "message of 80 bytes ends within database and table"),
        (
            "a count of pairs that would take all memory",
            pairs(u64::MAX, &[NAME]),
            "message of 52 bytes ends within the pairs that it announces",
        ),
        (
            "text for a number",
            pairs(3, &[NAME, (b"k", b"SET"), (b"f", b"v")]),
            "row k: number of fields \"SET\", of which 1 can be left",
        ),
        (
            "a sign",
            pairs(3, &[NAME, (b"k", b"+1"), (b"f", b"v")]),
            "row k: number of fields \"+1\", of which 1 can be left",
        ),
        ("no number", pairs(2, &[NAME, (b"k", b"")]), "row k: number of fields \"\", of which 0 can be left"),
        (
            "more fields than there are",
            pairs(3, &[NAME, (b"k", b"2"), (b"f", b"v")]),
            "row k: number of fields \"2\", of which 1 can be left",
        ),
        (
            "a number of fields that overflows",
            pairs(2, &[NAME, (b"k", b"99999999999999999999999")]),
            "row k: number of fields \"99999999999999999999999\", of which 0 can be left",
        ),
        ("a rest", rest, "message of 153 bytes has 1 bytes too many"),
        (
            "a name that is not text",
            pairs(1, &[(b"\xff", b"T")]),
            "message whose database or table is not UTF-8: \\xff",
        ),
    ];
    for (what, bytes, error) in cases {
        assert_eq!(message::decode(bytes).unwrap_err().to_string(), *error, "{what}");
    }
    let too_long = vec![0; MESSAGE_BYTES_MAX + 1];
    assert_eq!(message::decode(&too_long), Err(MessageError::TooLong { length: too_long.len() as u64 }));
}

#[test]
fn every_message_that_is_cut_short_is_refused() {
    let whole = golden();
    for length in 0..whole.len() {
        assert!(message::decode(&whole[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn an_unreadable_row_leaves_the_others() {
    let name: (&[u8], &[u8]) = (b"D", b"T");
    let bytes = pairs(6, &[name, (b"\xff", b"0"), (b"k", b"1"), (b"\xff", b"v"), (b"l", b"1"), (b"f", b"v")]);
    let message = message::decode(&bytes).unwrap();
    assert_eq!(message.unreadable_rows, 2);
    assert_eq!(message.rows.len(), 1);
    assert_eq!(message.rows[0].key, "l");
}

#[test]
fn a_longest_message_is_taken_and_a_longer_one_skipped() {
    let mut decoder = Decoder::new();
    decoder.push(&greeting());
    assert_eq!(decoder.next(), Ok(Some(Item::Greeting)));
    for (length, is_taken) in [(MESSAGE_BYTES_MAX, true), (MESSAGE_BYTES_MAX + 1, false)] {
        let bytes = [message_frame(&vec![1; length]), message_frame(b"next")].concat();
        let mut items = Vec::new();
        for piece in bytes.chunks(1 << 20) {
            decoder.push(piece);
            while let Some(item) = decoder.next().unwrap() {
                items.push(item);
            }
        }
        assert_eq!(items.len(), 2);
        match &items[0] {
            Item::Message(body) => assert!(is_taken && body.len() == length),
            Item::TooLong { length: told } => assert!(!is_taken && *told == length as u64),
            other => panic!("{other:?}"),
        }
        assert_eq!(items[1], Item::Message(b"next".to_vec()));
        assert!(!decoder.is_within());
    }
}

#[test]
fn what_is_not_zmtp_ends_the_connection() {
    let version_2 = [&greeting()[..10], &[2]].concat();
    let plain = [&greeting()[..12], b"PLAIN", &[0; 47]].concat();
    let after = |bytes: &[u8]| [&greeting()[..], bytes].concat();
    let cases: &[(&str, Vec<u8>, ProtocolError)] = &[
        ("HTTP", b"GET / HTTP/1.1\r\n".to_vec(), ProtocolError::Signature { at: 0, byte: b'G' }),
        ("ZMTP 1", b"\xff\0\0\0\0\0\0\0\x01\0".to_vec(), ProtocolError::Signature { at: 9, byte: 0 }),
        ("ZMTP 2", version_2, ProtocolError::Version { major: 2 }),
        ("PLAIN", plain, ProtocolError::Mechanism { name: "PLAIN".to_owned() }),
        ("reserved flags", after(&[0x40]), ProtocolError::Flags { flags: 0x40 }),
        ("a command with more to come", after(&[0x05]), ProtocolError::Flags { flags: 5 }),
        ("a long command", after(b"\x06\0\0\0\0\0\x01\0\0"), ProtocolError::CommandTooLong { length: 65536 }),
        (
            "a frame without end",
            after(&[2, 255, 255, 255, 255, 255, 255, 255, 255]),
            ProtocolError::FrameTooLong { length: u64::MAX },
        ),
        ("a command without a name", after(b"\x04\0"), ProtocolError::Command { name: String::new() }),
        (
            "a name that is cut off",
            after(b"\x04\x03\x09PI"),
            ProtocolError::Command { name: "\\tPI".to_owned() },
        ),
        (
            "a PING without TTL",
            after(b"\x04\x06\x04PING\0"),
            ProtocolError::Command { name: "PING".to_owned() },
        ),
        (
            "a PING with a long context",
            after(b"\x04\x18\x04PING\0\0aaaaaaaaaaaaaaaaa"),
            ProtocolError::Command { name: "PING".to_owned() },
        ),
        (
            "a READY whose property ends early",
            after(b"\x04\x0d\x05READY\x01a\0\0\0\x09x"),
            ProtocolError::Command { name: "READY".to_owned() },
        ),
    ];
    for (what, bytes, error) in cases {
        let mut decoder = Decoder::new();
        decoder.push(bytes);
        let end = loop {
            match decoder.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{what}: nothing is wrong"),
                Err(error) => break error,
            }
        };
        assert_eq!(end, *error, "{what}");
    }
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..600).prop_map(Item::Message),
        (any::<u16>(), prop::collection::vec(any::<u8>(), 0..16))
            .prop_map(|(ttl_ds, context)| Item::Command(Command::Ping { ttl_ds, context })),
        prop::collection::vec(any::<u8>(), 0..300)
            .prop_map(|context| Item::Command(Command::Pong { context })),
        "[ -~&&[^\\\\'\"]]{0,200}".prop_map(|reason| Item::Command(Command::Error { reason })),
        "[A-Z]{1,9}".prop_map(|socket_type| Item::Command(Command::Ready { socket_type })),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(message) = message::decode(&bytes) {
            prop_assert!(message.rows.len() * 32 < bytes.len());
        }
    }

    #[test]
    fn a_message_with_bytes_changed_is_a_message_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = golden();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(message) = message::decode(&bytes) {
            prop_assert!(message.rows.len() + message.unreadable_rows <= 5);
        }
    }

    #[test]
    fn what_is_written_is_read(
        rows in prop::collection::vec(
            ("[a-z:|]{0,9}", prop::collection::btree_map("[a-z@]{0,5}", prop::collection::vec(any::<u8>(), 0..20), 0..5)),
            0..9,
        ),
    ) {
        let mut writer = Writer::new("DPU_APPL_DB", "T");
        let mut expected = Vec::new();
        for (key, pairs) in rows {
            let row: schema::Fields = pairs.into_iter().collect();
            let fields = (!row.is_empty()).then_some(row);
            writer.row(&key, fields.as_ref());
            expected.push(message::MessageRow { key, fields });
        }
        let length = writer.length();
        let bytes = writer.finish();
        prop_assert_eq!(bytes.len(), length);
        prop_assert_eq!(message::decode(&bytes).unwrap().rows, expected);
    }

    #[test]
    fn frames_come_out_whole_however_they_come_in(
        items in prop::collection::vec(item(), 0..12),
        cuts in prop::collection::vec(1..200_usize, 1..20),
    ) {
        let mut bytes = greeting().to_vec();
        for item in &items {
            match item {
                Item::Message(body) => bytes.extend(message_frame(body)),
                Item::Command(command) => bytes.extend(command.frame()),
                Item::Greeting | Item::TooLong { .. } => {}
            }
        }
        let mut decoder = Decoder::new();
        let mut out = Vec::new();
        let mut cuts = cuts.into_iter().cycle();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            decoder.push(piece);
            while let Some(item) = decoder.next().unwrap() {
                out.push(item);
            }
            rest = after;
        }
        prop_assert!(!decoder.is_within());
        prop_assert_eq!(out.remove(0), Item::Greeting);
        prop_assert_eq!(out, items);
    }

    #[test]
    fn any_bytes_after_the_greeting_end_or_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut decoder = Decoder::new();
        decoder.push(&greeting());
        decoder.push(&bytes);
        for _ in 0..=bytes.len() + 1 {
            match decoder.next() {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return Ok(()),
            }
        }
        prop_assert!(false, "more items than bytes");
    }
}
