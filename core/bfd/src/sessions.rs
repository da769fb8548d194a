//! All sessions of a system: which packet is whose, and whose timer is next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use reconcile::{Batch, Core, IdSource, Time, as_pairs};
use serde::{Deserialize, Serialize};

use crate::counters::{DropReason, Drops};
use crate::io::{Arrival, Cause, Config, Effect, Input, Note, Refusal, SessionId};
use crate::path::Path;
use crate::session::{Fate, Session, Turn};
use crate::values::{Diagnostic, Discriminator, State};

/// The most sessions of a system, those that are leaving included: as many as there are source ports
/// ([`crate::SOURCE_PORTS`]).
pub const SESSIONS_MAX: usize = 16_384;

/// All sessions of a system.
///
/// Every session has one entry in one ordered queue of deadlines; a packet that does not move its session's earliest
/// deadline costs no queue operation. Discriminators and jitter follow from the seed of `ids`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sessions {
    ids: IdSource,
    /// What discriminators are made of, together with the path.
    secret: u64,
    #[serde(with = "as_pairs")]
    sessions: BTreeMap<SessionId, Session>,
    #[serde(with = "as_pairs")]
    by_discriminator: BTreeMap<Discriminator, SessionId>,
    #[serde(with = "as_pairs")]
    by_path: BTreeMap<Path, SessionId>,
    timers: BTreeSet<(Time, SessionId)>,
    /// Of all sessions there were, and of none.
    drops: Drops,
    /// Of no session only.
    strays: Drops,
}

impl Core for Sessions {
    type Input = Input;
    type Effect = Effect;

    /// Inputs first, then timers: a packet that was waiting to be read counts before a deadline that passed since.
    fn handle(&mut self, now: Time, batch: Batch<Input>, out: &mut Vec<Effect>) {
        for input in batch.inputs {
            match input {
                Input::Received(arrival) => self.receive(now, &arrival, out),
                Input::Configure { session, config } => self.configure(now, session, config, out),
                Input::AdminDown { session, diagnostic } => {
                    self.administer(now, session, out, |session, turn| {
                        session.admin_down(diagnostic, Cause::AdminDown, turn);
                        Fate::Lives
                    });
                }
                Input::AdminUp { session } => {
                    self.administer(now, session, out, |session, turn| {
                        session.admin_up(turn);
                        Fate::Lives
                    });
                }
                Input::Remove { session } => self.administer(now, session, out, Session::leave),
            }
        }
        self.run_timers(now, out);
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        let (_, session) = self.timers.first()?;
        self.sessions.get(session)?.deadline()
    }
}

impl Sessions {
    /// No sessions yet.
    pub fn new(mut ids: IdSource) -> Self {
        let secret = ids.next_u64();
        Self {
            ids,
            secret,
            sessions: BTreeMap::new(),
            by_discriminator: BTreeMap::new(),
            by_path: BTreeMap::new(),
            timers: BTreeSet::new(),
            drops: Drops::default(),
            strays: Drops::default(),
        }
    }

    /// A session, as it is; also one that is leaving.
    pub fn get(&self, session: SessionId) -> Option<&Session> {
        self.sessions.get(&session)
    }

    /// All sessions, in the order of their ids; also those that are leaving.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|(id, session)| (*id, session))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// All packets dropped, those of sessions that are gone included.
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    /// That every index has one entry per session, and each is true.
    #[cfg(test)]
    pub(crate) fn check_indexes(&self) {
        assert_eq!(self.by_discriminator.len(), self.sessions.len(), "discriminators");
        assert_eq!(self.by_path.len(), self.sessions.len(), "paths");
        for (id, session) in &self.sessions {
            assert_eq!(self.by_discriminator.get(&session.discriminator()), Some(id));
            assert_eq!(self.by_path.get(&session.config().path), Some(id));
        }
        let deadline = |(id, session): (&SessionId, &Session)| Some((session.deadline()?.0, *id));
        let deadlines: BTreeSet<_> = self.sessions.iter().filter_map(deadline).collect();
        assert_eq!(self.timers, deadlines, "deadlines");
    }

    fn receive(&mut self, now: Time, arrival: &Arrival, out: &mut Vec<Effect>) {
        match self.select(arrival) {
            Err((owner, reason)) => self.drop_packet(owner, arrival, reason, out),
            Ok((id, packet)) => {
                let at = arrival.at.min(now);
                let mut verdict = Ok(());
                self.turn(now, id, out, |session, turn| {
                    verdict = session.receive(at, &packet, turn);
                    Fate::Lives
                });
                if let Err(reason) = verdict {
                    self.drop_packet(Some(id), arrival, reason, out);
                }
            }
        }
    }

    /// Whose packet it is, and whether that session may look at it (RFC 5880 6.8.6 up to authentication).
    fn select(
        &self,
        arrival: &Arrival,
    ) -> Result<(SessionId, crate::packet::Packet), (Option<SessionId>, DropReason)> {
        let decoded = arrival.content.map_err(|error| (None, error.into()))?;
        let packet = decoded.packet;
        let path = arrival.path.canonical();
        let id = match (packet.your_discriminator, packet.state) {
            // "If the Your Discriminator field is nonzero, it MUST be used to select the session with which this BFD packet
            // is associated. If no session is found, the packet MUST be discarded." And 6.3: "the source address field can
            // change or the interface over which the packets are received can change, but the packets will still be
            // associated with the proper session".
            (Some(discriminator), State::AdminDown | State::Down | State::Init | State::Up) => {
                self.by_discriminator.get(&discriminator).ok_or((None, DropReason::UnknownDiscriminator))?
            }
            // "If the Your Discriminator field is zero and the State field is not Down or AdminDown, the packet MUST be
            // discarded."
            (None, State::Init | State::Up) => return Err((None, DropReason::DiscriminatorMissing)),
            // "If the Your Discriminator field is zero, the session MUST be selected based on some combination of other
            // fields [...] If a matching session is not found, a new session MAY be created, or the packet MAY be
            // discarded."
            (None, State::AdminDown | State::Down) => {
                let candidates = path.candidates();
                let found = candidates.iter().find_map(|candidate| self.by_path.get(candidate));
                found.ok_or((None, DropReason::NoSession))?
            }
        };
        let Some(session) = self.sessions.get(id) else { return Err((None, DropReason::NoSession)) };
        let config = session.config();
        if config.path.hops != path.hops {
            return Err((Some(*id), DropReason::WrongPort));
        }
        if !path.hops.accepts_ttl(arrival.ttl, config.min_ttl) {
            return Err((Some(*id), DropReason::Ttl));
        }
        // "If the A bit is set and no authentication is in use (bfd.AuthType is zero), the packet MUST be discarded."
        match decoded.auth {
            Some(_) => Err((Some(*id), DropReason::AuthNotInUse)),
            None => Ok((*id, packet)),
        }
    }

    fn drop_packet(
        &mut self,
        owner: Option<SessionId>,
        arrival: &Arrival,
        reason: DropReason,
        out: &mut Vec<Effect>,
    ) {
        self.drops.count(reason);
        let session = owner.and_then(|id| self.sessions.get_mut(&id));
        let count = match session {
            Some(session) => session.count_drop(reason),
            None => self.strays.count(reason),
        };
        // A session held down drops every packet of its peer, and that is what was asked for.
        if count.is_power_of_two() && reason != DropReason::AdminDown {
            let peer = arrival.path.peer.to_canonical();
            out.push(Effect::Note(Note::Dropped { session: owner, peer, reason, count }));
        }
    }

    fn configure(&mut self, now: Time, id: SessionId, config: Config, out: &mut Vec<Effect>) {
        let config = Config { path: config.path.canonical(), ..config };
        if let Err(refusal) = self.check(id, &config) {
            out.push(Effect::Note(Note::Refused { session: id, refusal }));
            return;
        }
        // A session that is only saying farewell makes room.
        if let Some(&other) = self.by_path.get(&config.path)
            && other != id
        {
            self.forget(other, out);
        }
        if self.sessions.get(&id).is_some_and(|session| session.config().path != config.path) {
            self.turn(now, id, out, |session, turn| {
                session.admin_down(Diagnostic::ADMINISTRATIVELY_DOWN, Cause::Removed, turn);
                Fate::Gone
            });
        }
        if !self.sessions.contains_key(&id) {
            let discriminator = self.new_discriminator(config.path);
            self.by_discriminator.insert(discriminator, id);
            self.by_path.insert(config.path, id);
            self.sessions.insert(id, Session::new(config, discriminator));
        }
        self.turn(now, id, out, |session, turn| {
            session.configure(config, turn);
            Fate::Lives
        });
    }

    fn check(&self, id: SessionId, config: &Config) -> Result<(), Refusal> {
        let Path { peer, local, .. } = config.path;
        if peer.is_unspecified() || peer.is_multicast() {
            return Err(Refusal::BadPeer);
        }
        if peer.is_ipv4() != local.is_ipv4() {
            return Err(Refusal::MixedFamilies);
        }
        let holder = self.by_path.get(&config.path).filter(|holder| **holder != id);
        match holder.and_then(|holder| Some((*holder, self.sessions.get(holder)?))) {
            Some((by, session)) if !session.is_leaving() => Err(Refusal::PathTaken { by }),
            // It takes the place of one that is leaving.
            Some(_) => Ok(()),
            None if !self.sessions.contains_key(&id) && self.sessions.len() >= SESSIONS_MAX => {
                Err(Refusal::TooMany)
            }
            None => Ok(()),
        }
    }

    /// A turn that an administrator asked for. A session that is leaving is no longer his.
    fn administer(
        &mut self,
        now: Time,
        id: SessionId,
        out: &mut Vec<Effect>,
        act: impl FnOnce(&mut Session, &mut Turn<'_>) -> Fate,
    ) {
        if self.sessions.get(&id).is_some_and(|session| !session.is_leaving()) {
            self.turn(now, id, out, act);
        } else {
            out.push(Effect::Note(Note::Refused { session: id, refusal: Refusal::Unknown }));
        }
    }

    fn run_timers(&mut self, now: Time, out: &mut Vec<Effect>) {
        // Each session runs once: whatever it schedules, this ends.
        let due: Vec<SessionId> =
            self.timers.range(..=(now, SessionId(u32::MAX))).map(|(_, id)| *id).collect();
        for id in due {
            self.turn(now, id, out, Session::run_timers);
        }
    }

    /// Lets one session act, and keeps the queue and the log true to what it did.
    fn turn(
        &mut self,
        now: Time,
        id: SessionId,
        out: &mut Vec<Effect>,
        act: impl FnOnce(&mut Session, &mut Turn<'_>) -> Fate,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let deadline_before = session.deadline();
        let timing_before = session.timing();
        let fate = act(session, &mut Turn { now, session: id, ids: &mut self.ids, out });
        let timing = session.timing();
        if session.state() == State::Up && timing != timing_before {
            out.push(Effect::Note(Note::Negotiated { session: id, timing }));
        }
        let (before, after) = (deadline_before.map(|(at, _)| at), session.deadline().map(|(at, _)| at));
        if before != after {
            if let Some(at) = before {
                self.timers.remove(&(at, id));
            }
            if let Some(at) = after {
                self.timers.insert((at, id));
            }
        }
        match fate {
            Fate::Lives => {}
            Fate::Gone => self.forget(id, out),
        }
    }

    fn forget(&mut self, id: SessionId, out: &mut Vec<Effect>) {
        let Some(session) = self.sessions.remove(&id) else { return };
        if let Some((at, _)) = session.deadline() {
            self.timers.remove(&(at, id));
        }
        self.by_discriminator.remove(&session.discriminator());
        self.by_path.remove(&session.config().path);
        out.push(Effect::Note(Note::Removed { session: id }));
    }

    /// RFC 5880 6.8.1: "It MUST be unique across all BFD sessions on this system, and nonzero. It SHOULD be set to a random
    /// (but still unique) value to improve security."
    ///
    /// It follows from the path and a secret of this life, so that a session that is removed and wanted again has the name by
    /// which its peer still calls it. With another one, it would be deaf until the peer has forgotten the first: for the peer's
    /// Detection Time, which is seconds while it is down.
    fn new_discriminator(&self, path: Path) -> Discriminator {
        let mut source = IdSource::new(self.secret);
        let address = |address: IpAddr| match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let rest = u128::from(path.link.0) << 16 | u128::from(path.hops.port());
        for word in [address(path.peer), address(path.local), rest] {
            for half in [(word >> 64) as u64, word as u64] {
                source = IdSource::new(source.next_u64() ^ half);
            }
        }
        loop {
            // 16 thousand of 4 billion are taken at most: it never takes long.
            let drawn = Discriminator::new((source.next_u64() >> 32) as u32);
            if let Some(free) = drawn.filter(|drawn| !self.by_discriminator.contains_key(drawn)) {
                return free;
            }
        }
    }
}
