//! Byte for byte what SONiC sends (`reference/swss-wire.md` 5.2 and 5.8).

use super::{fields, hex};
use crate::message::{self, MessageRow, Writer};
use crate::wire::{Command, greeting, message_frame};

const PAIR_0: &str =
    "0b00000000000000 4450555f4150504c5f4442 1100000000000000 444153485f48415f5345545f5441424c45";
const SET: &str = "0800000000000000 6861736574305f30 0100000000000000 32
    0700000000000000 76657273696f6e 0100000000000000 31
    0600000000000000 7669705f7634 0700000000000000 332e322e312e30";

fn writer() -> Writer {
    Writer::new("DPU_APPL_DB", "DASH_HA_SET_TABLE")
}

#[test]
fn a_set_is_the_bytes_of_sonic() {
    let row = fields(&[("version", "1"), ("vip_v4", "3.2.1.0")]);
    let mut writer = writer();
    let before = writer.length();
    writer.row("haset0_0", Some(&row));
    assert_eq!(writer.length() - before, Writer::row_length("haset0_0", Some(&row)));
    let bytes = writer.finish();
    assert_eq!(bytes, hex(&format!("0400000000000000 {PAIR_0} {SET}")));
    assert_eq!(bytes.len(), 130);

    let message = message::decode(&bytes).unwrap();
    assert_eq!((message.db.as_str(), message.table.as_str()), ("DPU_APPL_DB", "DASH_HA_SET_TABLE"));
    assert_eq!(message.rows, [MessageRow { key: "haset0_0".to_owned(), fields: Some(row) }]);
}

#[test]
fn a_deletion_is_the_bytes_of_sonic() {
    let mut writer = writer();
    writer.row("haset0_0", None);
    let bytes = writer.finish();
    let golden =
        hex(&format!("0200000000000000 {PAIR_0} 0800000000000000 6861736574305f30 0100000000000000 30"));
    assert_eq!(bytes, golden);
    assert_eq!(bytes.len(), 77);
    assert_eq!(message::decode(&bytes).unwrap().rows[0].fields, None);
}

#[test]
fn a_batch_mixes_rows_and_deletions() {
    let mut writer = writer();
    writer.row("a", Some(&fields(&[("f", "v")])));
    writer.row("b", None);
    writer.row("c", Some(&fields(&[("", "")])));
    let bytes = writer.finish();
    assert_eq!(bytes.len(), 140);
    assert_eq!(bytes[0], 6);
    let rows = message::decode(&bytes).unwrap().rows;
    let set: Vec<(&str, bool)> = rows.iter().map(|row| (row.key.as_str(), row.fields.is_some())).collect();
    assert_eq!(set, [("a", true), ("b", false), ("c", true)]);
}

#[test]
fn values_are_bytes() {
    let mut row = fields(&[]);
    row.set("pb", vec![0, 255, b'@', 0]);
    let mut writer = writer();
    writer.row("k", Some(&row));
    assert_eq!(message::decode(&writer.finish()).unwrap().rows[0].fields, Some(row));
}

#[test]
fn the_handshake_is_that_of_zmtp_3() {
    let mut golden = hex("ff 0000000000000000 7f 03 01 4e554c4c");
    golden.resize(64, 0);
    assert_eq!(greeting().to_vec(), golden);

    let ready = Command::Ready { socket_type: "PUSH".to_owned() }.frame();
    assert_eq!(ready, b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH");
}

#[test]
fn frames_are_those_of_zmtp_3() {
    assert_eq!(message_frame(b"abc"), b"\x00\x03abc");
    let long = message_frame(&[7; 256]);
    assert_eq!(long[..9], [2, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(message_frame(&[7; 255])[..2], [0, 255]);
    let ping = Command::Ping { ttl_ds: 50, context: b"ctx".to_vec() }.frame();
    assert_eq!(ping, b"\x04\x0a\x04PING\x00\x32ctx");
    assert_eq!(Command::Pong { context: b"ctx".to_vec() }.frame(), b"\x04\x08\x04PONGctx");
}
