//! What a ZMQ peer may send (`reference/swss-wire.md` 5).

use std::fmt::Debug;

use reconcile::Time;
use zmq::message::{self, MessageRow, Writer};
use zmq::{ConsumerSession, LinkConfig, LinkEffect, LinkEvent, ProducerLink, SessionEffect, SessionEvent};

/// The body of a message: rows of one table.
///
/// # Panics
/// The decoder panics, or a message that it takes is another one after our own encoder.
pub fn zmq_message(data: &[u8]) {
    let Ok(read) = message::decode(data) else { return };
    assert!(read.rows.len() + read.unreadable_rows <= data.len(), "more rows than bytes");
    let mut writer = Writer::new(&read.db, &read.table);
    for MessageRow { key, fields } in &read.rows {
        writer.row(key, fields.as_ref());
    }
    let again = message::decode(&writer.finish());
    assert_eq!(again.as_ref().map(|again| &again.rows), Ok(&read.rows));
}

/// All that a producer sends to a consumer on one connection.
///
/// # Panics
/// The consumer panics, does anything after it asked to close, or depends on how the bytes come in pieces.
pub fn zmq_consumer(data: &[u8]) {
    let run = |piece: usize| {
        let (mut opening, mut out) = (Vec::new(), Vec::new());
        let mut session = ConsumerSession::new(Time(0), &mut opening);
        for bytes in data.chunks(piece) {
            session.handle(Time(1), SessionEvent::Received(bytes.to_vec()), &mut out);
        }
        out
    };
    let whole = run(data.len().max(1));
    ends_with_close(&whole, |effect| matches!(effect, SessionEffect::Close { .. }));
    for piece in [1, 7, 64] {
        assert_eq!(whole, run(piece), "in pieces of {piece} bytes");
    }
}

/// All that a consumer sends to a producer on one connection.
///
/// # Panics
/// The producer panics, believes something acknowledged that it never sent, or depends on how the bytes come in pieces.
pub fn zmq_producer(data: &[u8]) {
    let run = |piece: usize| {
        let mut link = ProducerLink::new(LinkConfig::default());
        let mut out = Vec::new();
        link.handle(Time(0), LinkEvent::Address(true), &mut out);
        link.handle(Time(1), LinkEvent::Connected, &mut out);
        for bytes in data.chunks(piece) {
            link.handle(Time(2), LinkEvent::Received(bytes.to_vec()), &mut out);
        }
        out
    };
    let whole = run(data.len().max(1));
    let believed = |effect: &LinkEffect| matches!(effect, LinkEffect::Acknowledged { receipts, .. } if !receipts.is_empty());
    assert!(!whole.iter().any(believed), "{whole:?}");
    for piece in [1, 7, 64] {
        assert_eq!(whole, run(piece), "in pieces of {piece} bytes");
    }
}

fn ends_with_close<E: Debug>(effects: &[E], is_close: fn(&E) -> bool) {
    if let Some(at) = effects.iter().position(is_close) {
        assert_eq!(at + 1, effects.len(), "{effects:?}");
    }
}
