//! The task: everything that happens goes into the sessions, everything that they ask for is done.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bfd::{Effect, Input, Note, Path, Refusal, Registry, Sessions, State, Wanted};
use reconcile::{Batch, Core, IdSource, Time};
use schema::WallMs;
use tokio::sync::{mpsc, oneshot, watch};

use crate::events::{Change, EventSender};
use crate::receive::{Clock, Receivers};
use crate::send::Senders;
use crate::server::{Applied, Snapshot, View};
use crate::spec::ServerConfig;
use crate::totals::{Totals, add};

/// How long to wait before an address that could not be bound is tried again.
const BIND_RETRY: Duration = Duration::from_secs(1);

/// Where a snapshot is to go.
pub(crate) type Request = oneshot::Sender<Snapshot>;

pub(crate) struct Task {
    config: ServerConfig,
    wanted: watch::Receiver<(Applied, Arc<Wanted>)>,
    applied: watch::Sender<Applied>,
    requests: mpsc::Receiver<Request>,
    totals: Arc<Totals>,
    events: EventSender,
    clock: Clock,
    sessions: Sessions,
    registry: Registry,
    receivers: Receivers,
    senders: Senders,
    effects: Vec<Effect>,
    rebind_at: Option<Instant>,
}

impl Task {
    pub(crate) fn new(
        config: ServerConfig,
        wanted: watch::Receiver<(Applied, Arc<Wanted>)>,
        applied: watch::Sender<Applied>,
        requests: mpsc::Receiver<Request>,
        totals: Arc<Totals>,
        events: EventSender,
    ) -> Self {
        Self {
            config,
            wanted,
            applied,
            requests,
            totals,
            events,
            clock: Clock::new(),
            sessions: Sessions::new(IdSource::new(config.seed)),
            registry: Registry::default(),
            receivers: Receivers::new(),
            senders: Senders::new(config.seed),
            effects: Vec::new(),
            rebind_at: None,
        }
    }

    /// Runs until the server is dropped. May be cancelled at any await: the sessions end without a word.
    pub(crate) async fn run(mut self) {
        let mut generation = Applied(0);
        loop {
            let due = self.sessions.next_deadline().map(|(at, _)| self.clock.instant(at));
            let deadline = [due, self.rebind_at].into_iter().flatten().min();
            tokio::select! {
                changed = self.wanted.changed() => if changed.is_err() {
                    return;
                },
                () = self.receivers.readable() => {}
                () = sleep_until(deadline) => {}
                Some(reply) = self.requests.recv() => {
                    if reply.send(self.snapshot()).is_err() {
                        tracing::debug!("whoever asked for the BFD sessions is gone");
                    }
                    continue;
                }
            }
            let (wanted_generation, wanted) = {
                let borrowed = self.wanted.borrow_and_update();
                (borrowed.0, Arc::clone(&borrowed.1))
            };
            let mut inputs = Vec::new();
            let is_new = wanted_generation != generation;
            if is_new {
                self.registry.diff(&wanted, &mut inputs);
            }
            // Before the first packet goes out, so that its answer finds an open port.
            if is_new || self.is_rebind_due() {
                self.rebind();
            }
            let has_gone = self.turn(inputs);
            if has_gone {
                // What was refused for want of room may fit now.
                let mut inputs = Vec::new();
                self.registry.diff(&wanted, &mut inputs);
                self.rebind();
                if !inputs.is_empty() {
                    self.turn(inputs);
                }
            }
            if is_new || has_gone {
                generation = wanted_generation;
                self.applied.send_replace(generation);
            }
        }
    }

    /// One turn of the sessions: what has come in, what is due. Whether a session is gone.
    fn turn(&mut self, mut inputs: Vec<Input>) -> bool {
        self.receivers.receive(&self.clock, &self.totals, &mut inputs);
        let now = self.clock.now();
        let mut effects = std::mem::take(&mut self.effects);
        // Sessions write no rows, so they need no wall clock.
        self.sessions.handle(now, Batch { wall: WallMs(0), inputs }, &mut effects);
        let mut has_gone = false;
        for effect in effects.drain(..) {
            has_gone |= self.apply(now, effect);
        }
        self.effects = effects;
        self.totals.set_drops(self.sessions.drops());
        self.totals.sessions.store(self.sessions.len() as u64, Relaxed);
        has_gone
    }

    fn apply(&mut self, now: Time, effect: Effect) -> bool {
        match effect {
            Effect::Send { session, path, packet } => {
                self.senders.send(session, path, &packet.encode(), &self.totals);
                false
            }
            Effect::StateChanged { session, from, to, diagnostic, cause } => {
                let Some(path) = self.registry.path(session) else { return false };
                let Path { peer, local, hops, link: _ } = path;
                tracing::info!(%peer, %local, ?hops, %from, %to, %diagnostic, ?cause, "BFD session");
                if to == State::Up {
                    add(&self.totals.ups, 1);
                    add(&self.totals.sessions_up, 1);
                }
                if from == State::Up {
                    add(&self.totals.downs, 1);
                    self.totals.sessions_up.fetch_sub(1, Relaxed);
                }
                let at = self.clock.instant(now);
                let cause = Some(cause);
                self.events.put(Change { path, state: Some(to), diagnostic, cause, at, transitions: 1 });
                false
            }
            Effect::Note(note) => self.note(now, note),
        }
    }

    fn note(&mut self, now: Time, note: Note) -> bool {
        match note {
            Note::Negotiated { session, timing } => {
                let peer = self.registry.path(session).map(|path| path.peer);
                tracing::debug!(?peer, ?timing, "BFD timers");
                false
            }
            Note::PeerDemand { session, silent } => {
                let peer = self.registry.path(session).map(|path| path.peer);
                tracing::warn!(?peer, silent, "the BFD peer asks for demand mode");
                false
            }
            Note::Dropped { session, peer, reason, count } => {
                let ours = session.is_some();
                tracing::warn!(%peer, reason = reason.name(), count, ours, "BFD packets dropped");
                false
            }
            Note::Refused { session, refusal } => {
                let path = self.registry.path(session);
                tracing::warn!(?path, ?refusal, "BFD session refused");
                add(&self.totals.refused, 1);
                match refusal {
                    Refusal::Unknown => {}
                    Refusal::PathTaken { .. }
                    | Refusal::MixedFamilies
                    | Refusal::BadPeer
                    | Refusal::TooMany => {
                        self.registry.forget(session);
                    }
                }
                false
            }
            Note::Removed { session } => {
                self.senders.forget(session);
                if let Some(path) = self.registry.forget(session) {
                    tracing::debug!(peer = %path.peer, local = %path.local, "BFD session gone");
                    let diagnostic = bfd::Diagnostic::ADMINISTRATIVELY_DOWN;
                    let at = self.clock.instant(now);
                    let change = Change { path, state: None, diagnostic, cause: None, at, transitions: 1 };
                    self.events.put(change);
                }
                true
            }
        }
    }

    fn is_rebind_due(&self) -> bool {
        self.rebind_at.is_some_and(|at| at <= Instant::now())
    }

    fn rebind(&mut self) {
        let retry = self.is_rebind_due() || self.rebind_at.is_none();
        let missing = self.receivers.bind(self.config.bind, self.registry.paths(), retry, &self.totals);
        if !missing {
            self.rebind_at = None;
        } else if retry {
            self.rebind_at = Some(Instant::now() + BIND_RETRY);
        }
    }

    fn snapshot(&self) -> Snapshot {
        let views = self.sessions.iter().filter_map(|(id, session)| {
            let view = View {
                state: session.state(),
                diagnostic: session.diagnostic(),
                discriminator: session.discriminator(),
                remote: session.remote().copied(),
                timing: session.timing(),
                is_polling: session.is_polling(),
                is_leaving: session.is_leaving(),
                counters: session.counters().clone(),
            };
            Some((self.registry.path(id)?, view))
        });
        Snapshot { sessions: views.collect(), drops: self.sessions.drops().clone() }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
