//! The consumer's end of one connection.

use reconcile::Time;
use serde::{Deserialize, Serialize};

use crate::message::{self, Message};
use crate::wire::{Command, Decoder, Item, greeting};

/// How long a peer may take for its handshake, ms.
const HANDSHAKE_TIMEOUT_MS: u64 = 5000;

/// What can happen to a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionEvent {
    /// Bytes came.
    Received(Vec<u8>),
    /// Time passed.
    Tick,
}

/// What a session asks for, in order. A PONG stands after the messages that it acknowledges: hand them over before it
/// is transmitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionEffect {
    /// Send bytes.
    Transmit(Vec<u8>),
    /// The handshake is done.
    Up,
    /// A message.
    Message(Message),
    /// A message that is none, or is too long. It is dropped, and the session goes on.
    Dropped {
        /// What is wrong with it.
        reason: String,
    },
    /// End the connection.
    Close {
        /// Why.
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    ShakingHands {
        until: Time,
    },
    /// `silent` is when the peer, by its own word, may be taken for dead.
    Up {
        silent: Option<Time>,
        ttl_ms: u64,
    },
    Closed,
}

/// A session with one producer, from accept to close.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerSession {
    state: State,
    decoder: Decoder,
}

impl ConsumerSession {
    /// A connection was accepted.
    pub fn new(now: Time, out: &mut Vec<SessionEffect>) -> Self {
        let mut bytes = greeting().to_vec();
        bytes.extend(Command::Ready { socket_type: "PULL".to_owned() }.frame());
        out.push(SessionEffect::Transmit(bytes));
        Self {
            state: State::ShakingHands { until: now.after_ms(HANDSHAKE_TIMEOUT_MS) },
            decoder: Decoder::new(),
        }
    }

    /// Takes in what happened, and appends what to do about it.
    pub fn handle(&mut self, now: Time, event: SessionEvent, out: &mut Vec<SessionEffect>) {
        match event {
            SessionEvent::Received(bytes) => self.received(now, &bytes, out),
            SessionEvent::Tick => self.tick(now, out),
        }
    }

    /// When to give [`SessionEvent::Tick`] even if nothing happens, and why.
    pub fn next_deadline(&self) -> Option<(Time, &'static str)> {
        match self.state {
            State::ShakingHands { until } => Some((until, "the handshake takes too long")),
            State::Up { silent, .. } => silent.map(|at| (at, "the producer is silent")),
            State::Closed => None,
        }
    }

    /// Whether the peer broke off within something: for the log.
    pub fn is_within(&self) -> bool {
        self.decoder.is_within()
    }

    fn received(&mut self, now: Time, bytes: &[u8], out: &mut Vec<SessionEffect>) {
        self.decoder.push(bytes);
        if let State::Up { silent: Some(silent), ttl_ms } = &mut self.state {
            *silent = now.after_ms(*ttl_ms);
        }
        while self.state != State::Closed {
            match self.decoder.next() {
                Ok(Some(item)) => self.take(now, item, out),
                Ok(None) => return,
                Err(error) => self.close(error.to_string(), out),
            }
        }
    }

    fn take(&mut self, now: Time, item: Item, out: &mut Vec<SessionEffect>) {
        let is_up = matches!(self.state, State::Up { .. });
        match item {
            Item::Greeting => {}
            Item::Command(Command::Ready { .. }) if is_up => {
                self.close("the peer shakes hands twice".to_owned(), out);
            }
            Item::Command(Command::Ready { socket_type }) if socket_type == "PUSH" => {
                self.state = State::Up { silent: None, ttl_ms: 0 };
                out.push(SessionEffect::Up);
            }
            Item::Command(Command::Ready { socket_type }) => {
                let error = Command::Error { reason: "Invalid socket type".to_owned() };
                out.push(SessionEffect::Transmit(error.frame()));
                self.close(format!("the peer is a socket of type {socket_type:?}, not PUSH"), out);
            }
            Item::Command(Command::Error { reason }) => {
                self.close(format!("the peer refused us: {reason}"), out);
            }
            Item::Command(Command::Ping { ttl_ds, context }) => {
                if is_up && ttl_ds > 0 {
                    let ttl_ms = u64::from(ttl_ds) * 100;
                    self.state = State::Up { silent: Some(now.after_ms(ttl_ms)), ttl_ms };
                }
                out.push(SessionEffect::Transmit(Command::Pong { context }.frame()));
            }
            // Nobody asked for the one; the others mean nothing between PUSH and PULL.
            Item::Command(Command::Pong { .. } | Command::Other { .. }) => {}
            Item::Message(_) | Item::TooLong { .. } if !is_up => {
                self.close("a message before the handshake".to_owned(), out);
            }
            Item::Message(bytes) => out.push(match message::decode(&bytes) {
                Ok(message) => SessionEffect::Message(message),
                Err(error) => SessionEffect::Dropped { reason: error.to_string() },
            }),
            Item::TooLong { length } => {
                let reason = message::MessageError::TooLong { length }.to_string();
                out.push(SessionEffect::Dropped { reason });
            }
        }
    }

    fn tick(&mut self, now: Time, out: &mut Vec<SessionEffect>) {
        if let Some((at, why)) = self.next_deadline()
            && now >= at
        {
            self.close(why.to_owned(), out);
        }
    }

    fn close(&mut self, reason: String, out: &mut Vec<SessionEffect>) {
        self.state = State::Closed;
        out.push(SessionEffect::Close { reason });
    }
}
