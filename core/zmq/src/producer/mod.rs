//! The producer's end of one connection at a time.
//!
//! ```text
//!             address          connected         greeting, READY (PULL)
//!   Idle ──────────────> Connecting ──> Shaking hands ──> Linked
//!     ^                     │  ^                │            │ row, PING, row, row, PING …
//!     └─ no address         v  │ retry time     v            v PONG: acknowledged
//!                          Waiting <────────────┴────────────┘ closed, silent, not ZMTP
//! ```
//!
//! Messages alone are lost without a word when a connection breaks (`reference/swss-wire.md` 5.5). So every message is
//! followed by a PING: its PONG comes in order (5.8), and means that the peer process has taken all that went before.
//! Whatever was not acknowledged when a connection ends is forgotten here; what to send on the next one is for whoever
//! hears of [`LinkEffect::Up`] to say.

mod io;

use std::collections::VecDeque;

use reconcile::Time;
use serde::{Deserialize, Serialize};

use crate::backlog::{Backlog, Outgoing};
use crate::limits::{MESSAGE_BYTES_MAX, UNACKNOWLEDGED_BYTES_MAX};
use crate::message::length_alone;
pub use crate::producer::io::{LinkConfig, LinkEffect, LinkEvent, Receipt};
use crate::wire::{Command, Decoder, Item, greeting, message_frame};

/// A PING that is not answered yet, and what went before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unanswered {
    number: u64,
    sent: Time,
    bytes: usize,
    receipts: Vec<Receipt>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Linked {
    connection: u64,
    backlog: Backlog,
    unanswered: VecDeque<Unanswered>,
    next_ping: u64,
    /// When the last PONG came, or the connection was up.
    heard: Time,
    /// When something was sent last.
    sent: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Idle,
    Waiting { until: Time },
    Connecting { until: Time },
    ShakingHands { until: Time },
    Linked(Linked),
}

/// A link. See the module's page for its states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerLink {
    config: LinkConfig,
    has_address: bool,
    state: State,
    decoder: Decoder,
    connections: u64,
    /// Attempts since the last connection that was up.
    failures: u32,
}

impl ProducerLink {
    /// A link without an address.
    pub fn new(config: LinkConfig) -> Self {
        Self {
            config,
            has_address: false,
            state: State::Idle,
            decoder: Decoder::new(),
            connections: 0,
            failures: 0,
        }
    }

    /// Whether the handshake is done and the connection not over.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Linked(_))
    }

    /// How many rows wait to be sent.
    pub fn backlog(&self) -> usize {
        match &self.state {
            State::Linked(linked) => linked.backlog.len(),
            State::Idle | State::Waiting { .. } | State::Connecting { .. } | State::ShakingHands { .. } => 0,
        }
    }

    /// How many rows were sent and are not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        match &self.state {
            State::Linked(linked) => linked.unanswered.iter().map(|ping| ping.receipts.len()).sum(),
            State::Idle | State::Waiting { .. } | State::Connecting { .. } | State::ShakingHands { .. } => 0,
        }
    }

    /// Takes in what happened, and appends what to do about it, in order.
    pub fn handle(&mut self, now: Time, event: LinkEvent, out: &mut Vec<LinkEffect>) {
        match event {
            LinkEvent::Address(has_address) => self.take_address(now, has_address, out),
            LinkEvent::Connected => self.connected(now, out),
            LinkEvent::Refused { reason } | LinkEvent::Closed { reason } => {
                self.over(now, reason, false, out)
            }
            LinkEvent::Received(bytes) => self.received(now, &bytes, out),
            LinkEvent::Send { connection, rows } => self.send(now, connection, rows, out),
            LinkEvent::Tick => self.tick(now, out),
        }
    }

    /// When to give [`LinkEvent::Tick`] even if nothing happens, and why.
    pub fn next_deadline(&self) -> Option<(Time, &'static str)> {
        match &self.state {
            State::Idle => None,
            State::Waiting { until } => Some((*until, "the next attempt to connect")),
            State::Connecting { until } => Some((*until, "connecting takes too long")),
            State::ShakingHands { until } => Some((*until, "the handshake takes too long")),
            State::Linked(linked) => Some(linked.deadline(&self.config)),
        }
    }

    fn take_address(&mut self, now: Time, has_address: bool, out: &mut Vec<LinkEffect>) {
        self.has_address = has_address;
        self.failures = 0;
        match &self.state {
            State::Idle | State::Waiting { .. } => {}
            State::Connecting { .. } | State::ShakingHands { .. } => out.push(LinkEffect::Disconnect),
            State::Linked(_) => {
                out.push(LinkEffect::Disconnect);
                out.push(LinkEffect::Down { reason: "the peer's address changed".to_owned() });
            }
        }
        self.connect(now, out);
    }

    fn connect(&mut self, now: Time, out: &mut Vec<LinkEffect>) {
        if self.has_address {
            self.state = State::Connecting { until: now.after_ms(self.config.connect_timeout_ms) };
            out.push(LinkEffect::Connect);
        } else {
            self.state = State::Idle;
        }
    }

    fn connected(&mut self, now: Time, out: &mut Vec<LinkEffect>) {
        match self.state {
            State::Connecting { .. } => {
                self.decoder = Decoder::new();
                self.state = State::ShakingHands { until: now.after_ms(self.config.handshake_timeout_ms) };
                let mut bytes = greeting().to_vec();
                bytes.extend(Command::Ready { socket_type: "PUSH".to_owned() }.frame());
                out.push(LinkEffect::Transmit(bytes));
            }
            // Nothing was asked for: an event of an attempt that was given up.
            State::Idle | State::Waiting { .. } | State::ShakingHands { .. } | State::Linked(_) => {}
        }
    }

    /// The present attempt or connection is over, by our own decision (`disconnect`) or not.
    fn over(&mut self, now: Time, reason: String, disconnect: bool, out: &mut Vec<LinkEffect>) {
        let was_up = match &self.state {
            State::Idle | State::Waiting { .. } => return,
            State::Connecting { .. } | State::ShakingHands { .. } => false,
            State::Linked(_) => true,
        };
        if disconnect {
            out.push(LinkEffect::Disconnect);
        }
        if was_up {
            self.failures = 0;
            out.push(LinkEffect::Down { reason });
        } else {
            out.push(LinkEffect::Failed { reason });
        }
        let doubled = self.config.retry_ms_min.checked_shl(self.failures).unwrap_or(u64::MAX);
        self.failures = self.failures.saturating_add(1).min(32);
        self.state = State::Waiting { until: now.after_ms(doubled.min(self.config.retry_ms_max)) };
    }

    fn received(&mut self, now: Time, bytes: &[u8], out: &mut Vec<LinkEffect>) {
        self.decoder.push(bytes);
        loop {
            match &self.state {
                State::ShakingHands { .. } | State::Linked(_) => {}
                // Bytes of a connection that was given up.
                State::Idle | State::Waiting { .. } | State::Connecting { .. } => return,
            }
            match self.decoder.next() {
                Ok(Some(item)) => self.take(now, item, out),
                Ok(None) => return,
                Err(error) => return self.over(now, error.to_string(), true, out),
            }
        }
    }

    fn take(&mut self, now: Time, item: Item, out: &mut Vec<LinkEffect>) {
        match item {
            Item::Greeting => {}
            Item::Command(Command::Ready { socket_type }) => self.ready(now, &socket_type, out),
            Item::Command(Command::Error { reason }) => {
                self.over(now, format!("the peer refused us: {reason}"), true, out);
            }
            Item::Command(Command::Ping { ttl_ds: _, context }) => {
                out.push(LinkEffect::Transmit(Command::Pong { context }.frame()));
            }
            Item::Command(Command::Pong { context }) => self.pong(now, &context, out),
            // SUBSCRIBE and the like: nothing between PUSH and PULL.
            Item::Command(Command::Other { .. }) => {}
            Item::Message(_) | Item::TooLong { .. } => {
                self.over(now, "the peer sends messages: it is no consumer".to_owned(), true, out);
            }
        }
    }

    fn ready(&mut self, now: Time, socket_type: &str, out: &mut Vec<LinkEffect>) {
        match self.state {
            State::ShakingHands { .. } if socket_type == "PULL" => {
                self.connections += 1;
                self.failures = 0;
                let connection = self.connections;
                self.state = State::Linked(Linked {
                    connection,
                    backlog: Backlog::default(),
                    unanswered: VecDeque::new(),
                    next_ping: 1,
                    heard: now,
                    sent: now,
                });
                out.push(LinkEffect::Up { connection });
            }
            State::ShakingHands { .. } => {
                self.over(now, format!("the peer is a socket of type {socket_type:?}, not PULL"), true, out);
            }
            State::Linked(_) => self.over(now, "the peer shakes hands twice".to_owned(), true, out),
            State::Idle | State::Waiting { .. } | State::Connecting { .. } => {}
        }
    }

    fn pong(&mut self, now: Time, context: &[u8], out: &mut Vec<LinkEffect>) {
        let State::Linked(linked) = &mut self.state else { return };
        // Another context is none of ours; a PONG that nobody asked for acknowledges nothing.
        let Ok(number) = <[u8; 8]>::try_from(context).map(u64::from_be_bytes) else { return };
        if !linked.unanswered.iter().any(|ping| ping.number == number) {
            return;
        }
        let mut receipts = Vec::new();
        while linked.unanswered.front().is_some_and(|ping| ping.number <= number) {
            receipts.extend(linked.unanswered.pop_front().map(|ping| ping.receipts).unwrap_or_default());
        }
        linked.heard = now;
        if !receipts.is_empty() {
            out.push(LinkEffect::Acknowledged { connection: linked.connection, receipts });
        }
        linked.pump(now, &self.config, out);
    }

    fn send(&mut self, now: Time, connection: u64, rows: Vec<Outgoing>, out: &mut Vec<LinkEffect>) {
        let State::Linked(linked) = &mut self.state else { return };
        if linked.connection != connection {
            return;
        }
        for row in rows {
            let length = length_alone(row.table, &row.key, row.fields.as_ref());
            if length > MESSAGE_BYTES_MAX {
                out.push(LinkEffect::TooLong { row: (row.table, row.key), length });
            } else {
                linked.backlog.put(row);
            }
        }
        linked.pump(now, &self.config, out);
    }

    fn tick(&mut self, now: Time, out: &mut Vec<LinkEffect>) {
        match &mut self.state {
            State::Idle => {}
            State::Waiting { until } => {
                if now >= *until {
                    self.connect(now, out);
                }
            }
            State::Connecting { until } => {
                if now >= *until {
                    let reason = format!("no connection within {} ms", self.config.connect_timeout_ms);
                    self.over(now, reason, true, out);
                }
            }
            State::ShakingHands { until } => {
                if now >= *until {
                    let reason = format!("no handshake within {} ms", self.config.handshake_timeout_ms);
                    self.over(now, reason, true, out);
                }
            }
            State::Linked(linked) => {
                let (deadline, _) = linked.deadline(&self.config);
                if now < deadline {
                    return;
                }
                if linked.unanswered.is_empty() {
                    linked.ping(now, &self.config, Vec::new(), Vec::new(), out);
                } else {
                    let reason = format!("no answer to a PING within {} ms", self.config.pong_timeout_ms);
                    self.over(now, reason, true, out);
                }
            }
        }
    }
}

impl Linked {
    fn deadline(&self, config: &LinkConfig) -> (Time, &'static str) {
        match self.unanswered.front() {
            Some(ping) => {
                (ping.sent.max(self.heard).after_ms(config.pong_timeout_ms), "a PING is not answered")
            }
            None => (self.sent.after_ms(config.heartbeat_ms), "heartbeat"),
        }
    }

    /// Sends what may be sent.
    fn pump(&mut self, now: Time, config: &LinkConfig, out: &mut Vec<LinkEffect>) {
        loop {
            let under_way: usize = self.unanswered.iter().map(|ping| ping.bytes).sum();
            if under_way >= UNACKNOWLEDGED_BYTES_MAX {
                return;
            }
            let Some((message, rows)) = self.backlog.take_batch() else { return };
            let receipts = rows.into_iter().map(|row| ((row.table, row.key), row.serial)).collect();
            self.ping(now, config, message_frame(&message), receipts, out);
        }
    }

    /// Sends `bytes` and a PING after them.
    fn ping(
        &mut self,
        now: Time,
        config: &LinkConfig,
        mut bytes: Vec<u8>,
        receipts: Vec<Receipt>,
        out: &mut Vec<LinkEffect>,
    ) {
        let number = self.next_ping;
        self.next_ping += 1;
        self.unanswered.push_back(Unanswered { number, sent: now, bytes: bytes.len(), receipts });
        self.sent = now;
        // The peer may take us for dead after as long a silence as we would take it.
        let ttl_ds = u16::try_from((config.heartbeat_ms + config.pong_timeout_ms) / 100).unwrap_or(u16::MAX);
        bytes.extend(Command::Ping { ttl_ds, context: number.to_be_bytes().to_vec() }.frame());
        out.push(LinkEffect::Transmit(bytes));
    }
}
