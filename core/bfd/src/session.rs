//! One session: the variables of RFC 5880 6.8.1 and what packets, timers and its administrator do to them.
//!
//! A session must never know of other sessions, nor how its packets travel.

mod rules;

use std::num::NonZeroU8;

use reconcile::{IdSource, Time};
use serde::{Deserialize, Serialize};

use crate::counters::{Counters, DropReason};
use crate::io::{Cause, Config, Effect, Note, SessionId, Timing};
use crate::machine::{Step, step};
use crate::packet::{Handshake, Packet};
use crate::poll::Poll;
use crate::timing::{SLOW_TX_US, jittered_ms};
use crate::values::{Diagnostic, Discriminator, Role, State};

/// The longest that a removed session stays to tell its peer, ms.
pub const FAREWELL_MS_MAX: u64 = 10_000;

/// What is known of the peer: all of it from its last packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// bfd.RemoteDiscr.
    pub discriminator: Discriminator,
    /// bfd.RemoteSessionState.
    pub state: State,
    /// Why the peer's session last changed.
    pub diagnostic: Diagnostic,
    /// bfd.RemoteDemandMode.
    pub demand: bool,
    /// bfd.RemoteMinRxInterval, us.
    pub min_rx_us: u32,
    /// Desired Min TX Interval, us.
    pub desired_min_tx_us: u32,
    /// Detect Mult.
    pub detect_multiplier: NonZeroU8,
    /// When it came.
    pub received_at: Time,
}

/// The two intervals that a change of needs a Poll Sequence, us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Intervals {
    desired_min_tx_us: u32,
    required_min_rx_us: u32,
}

/// One BFD session.
///
/// Memory: at most 224 bytes, and with its entries in the four indexes of [`crate::Sessions`] about 300 bytes at best and
/// 736 at worst (asserted by a test), plus 112 once a packet of it was dropped. No other allocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    config: Config,
    /// bfd.LocalDiscr.
    discriminator: Discriminator,
    /// bfd.SessionState.
    state: State,
    /// bfd.LocalDiag.
    diagnostic: Diagnostic,
    /// `None` is bfd.RemoteDiscr = 0: nothing is known of a peer.
    remote: Option<Remote>,
    poll: Poll,
    /// bfd.DesiredMinTxInterval and bfd.RequiredMinRxInterval, as our packets say.
    advertised: Intervals,
    /// The same as far as the peer has confirmed what must be confirmed.
    in_force: Intervals,
    sent_at: Option<Time>,
    transmit_at: Option<Time>,
    /// The interval that `transmit_at` was drawn for, us.
    drawn_for_us: u32,
    /// Being removed: until when the peer is told.
    farewell_until: Option<Time>,
    counters: Counters,
}

/// One turn of one session: when, whose, and where the effects go.
pub(crate) struct Turn<'a> {
    pub(crate) now: Time,
    pub(crate) session: SessionId,
    pub(crate) ids: &'a mut IdSource,
    pub(crate) out: &'a mut Vec<Effect>,
}

/// What is to become of a session after its timers ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lives,
    Gone,
}

impl Session {
    /// A session that has said and heard nothing: bfd.SessionState is Down, all else unknown (6.8.1).
    pub(crate) fn new(config: Config, discriminator: Discriminator) -> Self {
        let intervals = Intervals {
            desired_min_tx_us: config.desired_min_tx.us().max(SLOW_TX_US),
            required_min_rx_us: config.required_min_rx.us(),
        };
        Self {
            config,
            discriminator,
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            remote: None,
            poll: Poll::Idle,
            advertised: intervals,
            in_force: intervals,
            sent_at: None,
            transmit_at: None,
            drawn_for_us: 0,
            farewell_until: None,
            counters: Counters::default(),
        }
    }

    /// What it is asked to be.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Our discriminator.
    pub fn discriminator(&self) -> Discriminator {
        self.discriminator
    }

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why the state last changed, as our packets say.
    pub fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// What is known of the peer; `None` if it was not heard for its Detection Time.
    pub fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    /// Whether it was removed and only tells its peer so.
    pub fn is_leaving(&self) -> bool {
        self.farewell_until.is_some()
    }

    /// Whether a Poll Sequence is under way.
    pub fn is_polling(&self) -> bool {
        self.poll.asks()
    }

    /// What it has counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The timers in force.
    pub fn timing(&self) -> Timing {
        Timing {
            transmit_us: self.transmits_periodically().then(|| self.transmit_interval_us()),
            detection_us: self.remote.as_ref().map(|remote| self.detection_us(remote)),
        }
    }

    /// When its timers want to run, and for what.
    pub(crate) fn deadline(&self) -> Option<(Time, &'static str)> {
        let detect = self.detect_at().map(|at| (at, "BFD detection"));
        let transmit = self.transmit_at.map(|at| (at, "BFD transmission"));
        let farewell = self.farewell_until.map(|at| (at, "BFD farewell"));
        [detect, transmit, farewell].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Takes a packet that was found to be this session's, from `at` on as in RFC 5880 6.8.6; `at` is not after now.
    pub(crate) fn receive(
        &mut self,
        at: Time,
        packet: &Packet,
        turn: &mut Turn<'_>,
    ) -> Result<(), DropReason> {
        // The silence before this packet comes first, even if nobody had time to notice it.
        if self.detect_at().is_some_and(|deadline| deadline <= at) {
            self.expire(turn);
        }
        let was_silent = self.silenced_by_peer();
        // "Set bfd.RemoteDiscr to the value of My Discriminator", and so on for the other variables.
        self.remote = Some(Remote {
            discriminator: packet.my_discriminator,
            state: packet.state,
            diagnostic: packet.diagnostic,
            demand: packet.demand,
            min_rx_us: packet.required_min_rx_us,
            desired_min_tx_us: packet.desired_min_tx_us,
            detect_multiplier: packet.detect_multiplier,
            received_at: self.remote.map_or(at, |remote| remote.received_at.max(at)),
        });
        let is_answered = packet.handshake == Handshake::Final && self.poll.answered();
        if is_answered {
            self.settle();
        }
        // Two ends that leave at once do not answer each other.
        if self.is_leaving() && (is_answered || packet.state == State::AdminDown) {
            self.farewell_until = Some(turn.now);
        }
        let cause = Cause::PeerIs { state: packet.state, diagnostic: packet.diagnostic };
        let changed = match step(self.state, packet.state) {
            Step::Discard => {
                self.schedule(turn);
                return Err(DropReason::AdminDown);
            }
            Step::Stay(_why) => false,
            Step::Enter(state, diagnostic) => {
                self.enter(state, diagnostic.unwrap_or(self.diagnostic), cause, turn);
                true
            }
        };
        self.counters.received = self.counters.received.saturating_add(1);
        if was_silent != self.silenced_by_peer() {
            let note = Note::PeerDemand { session: turn.session, silent: !was_silent };
            turn.out.push(Effect::Note(note));
        }
        // "If the Poll (P) bit is set, send a BFD Control packet to the remote system with the Poll (P) bit clear, and
        // the Final (F) bit set (see section 6.8.7)." It tells of the new state as well.
        if packet.handshake == Handshake::Poll {
            self.transmit(Handshake::Final, turn);
        } else if changed {
            self.transmit(self.periodic_handshake(), turn);
        }
        self.schedule(turn);
        Ok(())
    }

    /// Does what is due.
    pub(crate) fn run_timers(&mut self, turn: &mut Turn<'_>) -> Fate {
        if self.detect_at().is_some_and(|deadline| deadline <= turn.now) {
            self.expire(turn);
        }
        if self.farewell_until.is_some_and(|until| until <= turn.now || self.remote.is_none()) {
            return Fate::Gone;
        }
        // A silence may have ended the periodic transmission, or the farewell the session.
        self.schedule(turn);
        if self.transmit_at.is_some_and(|at| at <= turn.now) {
            self.transmit(self.periodic_handshake(), turn);
        }
        Fate::Lives
    }

    /// Changes the parameters; the path must be the same.
    pub(crate) fn configure(&mut self, config: Config, turn: &mut Turn<'_>) {
        let before = (self.advertised, self.config.detect_multiplier);
        self.config = config;
        self.advertise();
        if self.farewell_until.take().is_some() {
            self.admin_up(turn);
        } else if self.remote.is_some() && before != (self.advertised, self.config.detect_multiplier) {
            // "When it is desired to change the detect multiplier, the value of bfd.DetectMult can be changed to any
            // nonzero value. The new value will be transmitted with the next BFD Control packet" (6.8.12)
            self.transmit(self.periodic_handshake(), turn);
        }
        self.schedule(turn);
    }

    /// Holds the session down (6.8.16: "Set bfd.SessionState to AdminDown"). Doing it twice changes at most the reason.
    pub(crate) fn admin_down(&mut self, diagnostic: Diagnostic, cause: Cause, turn: &mut Turn<'_>) {
        if self.state == State::AdminDown && self.diagnostic == diagnostic {
            return;
        }
        if self.state == State::AdminDown {
            self.diagnostic = diagnostic;
        } else {
            self.enter(State::AdminDown, diagnostic, cause, turn);
        }
        self.tell_of_change(turn);
    }

    /// Holds it down no longer (6.8.16: "Set bfd.SessionState to Down"). Nothing if it was not held down.
    pub(crate) fn admin_up(&mut self, turn: &mut Turn<'_>) {
        if self.state == State::AdminDown {
            self.enter(State::Down, self.diagnostic, Cause::AdminUp, turn);
            self.tell_of_change(turn);
        }
    }

    /// Starts to leave; [`Fate::Gone`] if there is nobody to wait for.
    ///
    /// RFC 5880 6.8.16: "BFD Control packets SHOULD be transmitted for at least a Detection Time after transitioning to
    /// AdminDown state in order to ensure that the remote system is aware of the state change."
    pub(crate) fn leave(&mut self, turn: &mut Turn<'_>) -> Fate {
        if self.is_leaving() {
            return Fate::Lives;
        }
        // A peer that is held down itself relies on nobody: it is told once, and may be gone before it could answer.
        let is_waited_for = self.remote.is_some_and(|remote| remote.state != State::AdminDown);
        if is_waited_for {
            // The answer to a poll shows that the peer knows.
            self.poll.start();
        }
        self.admin_down(Diagnostic::ADMINISTRATIVELY_DOWN, Cause::Removed, turn);
        if !is_waited_for {
            return Fate::Gone;
        }
        let detection_us =
            u64::from(self.config.detect_multiplier.get()) * u64::from(self.transmit_interval_us());
        let farewell_ms = detection_us.div_ceil(1000).min(FAREWELL_MS_MAX);
        self.farewell_until = Some(turn.now.after_ms(farewell_ms));
        Fate::Lives
    }

    /// Counts a packet that was this session's and yet not taken.
    pub(crate) fn count_drop(&mut self, reason: DropReason) -> u64 {
        self.counters.drops.count(reason)
    }

    /// The peer was silent for its Detection Time.
    ///
    /// RFC 5880 6.8.4: "If [...] a period of time equal to the Detection Time passes without receiving a BFD Control
    /// packet from the remote system, and bfd.SessionState is Init or Up, the session has gone down -- the local system
    /// MUST set bfd.SessionState to Down and bfd.LocalDiag to 1 (Control Detection Time Expired)." And 6.8.1: "If a
    /// period of a Detection Time passes without the receipt of a valid, authenticated BFD packet from the remote
    /// system, [bfd.RemoteDiscr] MUST be set to zero."
    fn expire(&mut self, turn: &mut Turn<'_>) {
        self.counters.expirations = self.counters.expirations.saturating_add(1);
        match self.state {
            State::Init | State::Up => {
                let diagnostic = Diagnostic::CONTROL_DETECTION_TIME_EXPIRED;
                self.enter(State::Down, diagnostic, Cause::DetectionTimeExpired, turn);
                // The last word still names the peer's session: if only its packets are lost, it learns at once, even
                // from a passive session, which must be silent from here on.
                self.transmit(self.periodic_handshake(), turn);
            }
            State::AdminDown | State::Down => {}
        }
        self.remote = None;
        self.poll = Poll::Idle;
        self.settle();
        self.schedule(turn);
    }

    fn enter(&mut self, to: State, diagnostic: Diagnostic, cause: Cause, turn: &mut Turn<'_>) {
        let from = self.state;
        self.state = to;
        self.diagnostic = diagnostic;
        if to == State::Up {
            self.counters.ups = self.counters.ups.saturating_add(1);
        }
        if from == State::Up {
            self.counters.downs = self.counters.downs.saturating_add(1);
        }
        turn.out.push(Effect::StateChanged { session: turn.session, from, to, diagnostic, cause });
        self.advertise();
    }

    /// P on every packet of a Poll Sequence but the answers to the peer's.
    fn periodic_handshake(&self) -> Handshake {
        if self.poll.asks() { Handshake::Poll } else { Handshake::None }
    }

    /// RFC 5880 6.8.7: "A BFD Control packet SHOULD be transmitted during the interval between periodic Control packet
    /// transmissions when the contents of that packet would differ from that in the previously transmitted packet (other
    /// than the Poll and Final bits) in order to more rapidly communicate a change in state." Where nothing was sent yet
    /// nothing differs.
    fn tell_of_change(&mut self, turn: &mut Turn<'_>) {
        let may_send = self.remote.is_some() || self.config.role == Role::Active;
        if may_send && self.sent_at.is_some() {
            self.transmit(self.periodic_handshake(), turn);
        }
        self.schedule(turn);
    }

    /// Sends a packet with the contents of RFC 5880 6.8.7.
    fn transmit(&mut self, handshake: Handshake, turn: &mut Turn<'_>) {
        if handshake == Handshake::Poll {
            self.poll.asked();
        }
        let packet = Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            handshake,
            control_plane_independent: false,
            demand: false,
            detect_multiplier: self.config.detect_multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.map(|remote| remote.discriminator),
            desired_min_tx_us: self.advertised.desired_min_tx_us,
            required_min_rx_us: self.advertised.required_min_rx_us,
            // "If this field is set to zero, the local system is unwilling or unable to loop back BFD Echo packets to the
            // remote system" (4.1).
            required_min_echo_rx_us: 0,
        };
        turn.out.push(Effect::Send { session: turn.session, path: self.config.path, packet });
        self.counters.sent = self.counters.sent.saturating_add(1);
        self.sent_at = Some(turn.now);
        self.transmit_at = None;
        self.schedule(turn);
    }

    /// Says when the next periodic packet is due: now if there was none yet, else an interval after the last one. A drawn
    /// time stays until the interval changes; then it is drawn anew from the last packet, sooner or later.
    fn schedule(&mut self, turn: &mut Turn<'_>) {
        if !self.transmits_periodically() {
            self.transmit_at = None;
            return;
        }
        let interval_us = self.transmit_interval_us();
        if self.transmit_at.is_some() && self.drawn_for_us == interval_us {
            return;
        }
        self.drawn_for_us = interval_us;
        let at = match self.sent_at {
            None => turn.now,
            Some(sent_at) => {
                let multiplier = self.config.detect_multiplier;
                sent_at.after_ms(jittered_ms(interval_us, multiplier, turn.ids)).max(turn.now)
            }
        };
        self.transmit_at = Some(at);
    }
}
