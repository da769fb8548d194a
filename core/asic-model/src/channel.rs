//! The channel to the peer DPU: heartbeats out, the peer's last word in, and when it is lost.
//!
//! A heartbeat is missed when one of our own goes out and none has come in since the last. So a side that was not
//! scheduled for a while, or a machine that stood still, does not take its own absence for the peer's.

use reconcile::Time;
use schema::{AsicHaRole, AsicHaState};
use serde::{Deserialize, Serialize};

use crate::wire::Datagram;

/// Used where the HA set names no probe interval, ms.
const INTERVAL_MS_DEFAULT: u32 = 100;
/// The shortest interval that is kept, ms.
const INTERVAL_MS_MIN: u32 = 10;
/// The longest interval that is kept, ms.
const INTERVAL_MS_MAX: u32 = 60_000;
/// Used where the HA set names no threshold.
const THRESHOLD_DEFAULT: u32 = 3;

/// What a side says of itself, without the numbers that differ in each datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Word {
    pub(crate) session: u64,
    pub(crate) state: AsicHaState,
    pub(crate) role: AsicHaRole,
    pub(crate) term: u32,
    pub(crate) init: u32,
    pub(crate) synced: (u64, u32),
}

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Channel {
    interval_ms: u32,
    threshold: u32,
    next_heartbeat: Time,
    missed: u32,
    /// The peer's last word; kept after it is lost so that what it said before then is not taken for new.
    heard: Option<Datagram>,
    is_alive: bool,
    seq: u64,
    /// What went out last, and the session it answered.
    said: Option<(Word, u64)>,
    /// The first datagram that announced the present session and state.
    state_since_seq: u64,
    /// The peer said something that it ought to know we heard.
    owes_answer: bool,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is the peer's last word.
    Taken,
    /// It was overtaken, or comes from an earlier life of the peer.
    Stale,
}

impl Channel {
    pub(crate) fn new(now: Time, interval_ms: u32, threshold: u32) -> Self {
        let or = |value: u32, default: u32| if value == 0 { default } else { value };
        Self {
            interval_ms: or(interval_ms, INTERVAL_MS_DEFAULT).clamp(INTERVAL_MS_MIN, INTERVAL_MS_MAX),
            threshold: or(threshold, THRESHOLD_DEFAULT),
            next_heartbeat: now,
            missed: 0,
            heard: None,
            is_alive: false,
            seq: 0,
            said: None,
            state_since_seq: 0,
            owes_answer: false,
        }
    }

    /// Another peer: nothing that was heard counts. What we say goes on counting, in case it is an old one.
    pub(crate) fn start_over(&mut self, now: Time) {
        *self = Self { seq: self.seq, ..Self::new(now, self.interval_ms, self.threshold) };
    }

    /// The peer's last word, while it is heard.
    pub(crate) fn peer(&self) -> Option<&Datagram> {
        self.heard.as_ref().filter(|_| self.is_alive)
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.is_alive
    }

    pub(crate) fn next_heartbeat(&self) -> Time {
        self.next_heartbeat
    }

    /// Whether the peer has heard what we announced last.
    pub(crate) fn is_our_state_known(&self, word: &Word) -> bool {
        let is_announced =
            self.said.is_some_and(|(said, _)| (said.session, said.state) == (word.session, word.state));
        is_announced
            && self.peer().is_some_and(|peer| peer.seen == word.session && peer.ack >= self.state_since_seq)
    }

    /// Takes in what the peer says.
    pub(crate) fn hear(&mut self, datagram: Datagram) -> Heard {
        if let Some(last) = &self.heard {
            let is_older_life = datagram.session < last.session && self.is_alive;
            let is_overtaken = datagram.session == last.session && datagram.seq <= last.seq;
            if is_older_life || is_overtaken {
                return Heard::Stale;
            }
            let news = |datagram: &Datagram| {
                (
                    datagram.session,
                    datagram.seen,
                    datagram.state,
                    datagram.role,
                    datagram.init,
                    datagram.synced,
                )
            };
            self.owes_answer |= news(last) != news(&datagram) || !self.is_alive;
        } else {
            self.owes_answer = true;
        }
        self.heard = Some(datagram);
        self.is_alive = true;
        self.missed = 0;
        Heard::Taken
    }

    /// A heartbeat is due: counts the one that did not come in.
    pub(crate) fn tick(&mut self, now: Time) {
        if self.next_heartbeat > now {
            return;
        }
        self.next_heartbeat = now.after_ms(u64::from(self.interval_ms));
        self.owes_answer = true;
        self.missed = self.missed.saturating_add(1);
        if self.missed > self.threshold {
            self.is_alive = false;
        }
    }

    /// The datagram to send now, if the peer is owed one: a heartbeat, an answer, or a change of what we say.
    pub(crate) fn speak(&mut self, word: Word) -> Option<Datagram> {
        let seen = self.peer().map_or(0, |peer| peer.session);
        if !self.owes_answer && self.said == Some((word, seen)) {
            return None;
        }
        self.seq += 1;
        if self.said.is_none_or(|(said, _)| (said.session, said.state) != (word.session, word.state)) {
            self.state_since_seq = self.seq;
        }
        self.said = Some((word, seen));
        self.owes_answer = false;
        Some(Datagram {
            session: word.session,
            seen,
            seq: self.seq,
            ack: self.peer().map_or(0, |peer| peer.seq),
            state: word.state,
            role: word.role,
            term: word.term,
            init: word.init,
            synced: word.synced,
        })
    }
}
