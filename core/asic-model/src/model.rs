//! The model as a whole: objects, calls, datagrams, time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use haorch::{Asic, AsicEvent, HaScopeAttributes, HaScopeEventKind, HaSetAttributes, Oid};
use reconcile::{Batch, Core, Time};
use schema::{AsicHaRole, AsicHaState, LinkState};
use serde::{Deserialize, Serialize};

use crate::channel::{Channel, Heard, Word};
use crate::io::{CP_DATA_CHANNEL_PORT_DEFAULT, Effect, Ignored, Input, ModelConfig};
use crate::scope::{Report, Scope};
use crate::wire::Datagram;

/// The modelled ASIC of one DPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AsicModel {
    pub(crate) config: ModelConfig,
    /// Sessions of this life of the ASIC: greater than all of an earlier one.
    pub(crate) session: u64,
    next_oid: u64,
    #[serde(with = "reconcile::as_pairs")]
    pub(crate) sets: BTreeMap<Oid, Set>,
    pub(crate) now: Time,
    #[serde(skip)]
    pub(crate) events: Vec<AsicEvent>,
    #[serde(skip)]
    sends: Vec<(SocketAddr, SocketAddr, Datagram)>,
    ignored: Ignored,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Set {
    pub(crate) attributes: HaSetAttributes,
    pub(crate) channel: Channel,
    /// What the control plane was told of the channel.
    pub(crate) told_alive: Option<bool>,
    pub(crate) scope: Option<(Oid, HaScopeAttributes, Scope)>,
    /// The life of a set without a scope.
    pub(crate) session: u64,
    /// Outlives the scope, as the ASIC's flow tables do.
    pub(crate) term: u32,
}

impl Set {
    fn local(&self) -> SocketAddr {
        SocketAddr::new(self.attributes.local_ip, port(&self.attributes))
    }

    fn peer(&self) -> SocketAddr {
        SocketAddr::new(self.attributes.peer_ip, port(&self.attributes))
    }

    /// What the set says to its peer: the scope's word; a set without one is off.
    fn word(&self) -> Word {
        match &self.scope {
            Some((_, _, scope)) => scope.word(),
            None => Word {
                session: self.session,
                state: AsicHaState::Dead,
                role: AsicHaRole::Dead,
                term: self.term,
                init: 0,
                synced: (0, 0),
            },
        }
    }
}

pub(crate) fn port(attributes: &HaSetAttributes) -> u16 {
    match attributes.cp_data_channel_port {
        0 => CP_DATA_CHANNEL_PORT_DEFAULT,
        port => port,
    }
}

impl AsicModel {
    /// A fresh ASIC. `seed` is greater than that of every earlier life of the same DPU (the wall clock in ms will
    /// do); it makes the peer recognize a restart at once.
    pub fn new(seed: u64, config: ModelConfig) -> Self {
        Self {
            config,
            session: seed << 16,
            next_oid: 0,
            sets: BTreeMap::new(),
            now: Time(0),
            events: Vec::new(),
            sends: Vec::new(),
            ignored: Ignored::default(),
        }
    }

    /// The addresses to receive datagrams at.
    pub fn listens_at(&self) -> BTreeSet<SocketAddr> {
        self.sets.values().map(Set::local).collect()
    }

    /// What was ignored so far.
    pub fn ignored(&self) -> Ignored {
        self.ignored
    }

    /// State and term of each HA scope.
    pub fn scopes(&self) -> impl Iterator<Item = (Oid, AsicHaState, u32)> {
        self.sets.values().filter_map(|set| {
            let (oid, _, scope) = set.scope.as_ref()?;
            Some((*oid, scope.state, scope.term))
        })
    }

    pub(crate) fn new_oid(&mut self) -> Oid {
        self.next_oid += 1;
        Oid(self.next_oid)
    }

    pub(crate) fn new_session(session: &mut u64) -> u64 {
        *session += 1;
        *session
    }

    fn receive(&mut self, local: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        let Ok(datagram) = Datagram::decode(bytes) else {
            self.ignored.bad += 1;
            return;
        };
        let Some(set) = self.sets.values_mut().find(|set| set.local() == local && set.peer() == from) else {
            self.ignored.strangers += 1;
            return;
        };
        if set.channel.hear(datagram) == Heard::Stale {
            self.ignored.stale += 1;
        }
    }

    /// Follows the tables, reports, and says what has changed.
    fn settle(&mut self) {
        let oids: Vec<Oid> = self.sets.keys().copied().collect();
        for oid in oids {
            self.settle_set(oid);
        }
    }

    fn settle_set(&mut self, oid: Oid) {
        let Some(set) = self.sets.get_mut(&oid) else { return };
        let is_alive = set.channel.is_alive();
        if set.told_alive.unwrap_or(false) != is_alive {
            set.told_alive = Some(is_alive);
            let dp_channel = if is_alive { LinkState::Up } else { LinkState::Down };
            self.events.push(AsicEvent::HaSet { ha_set_id: oid, dp_channel });
        }
        let we_are_lower = set.local() < set.peer();
        if let Some((scope_oid, _, scope)) = &mut set.scope {
            let mut seen = Vec::new();
            let session = &mut self.session;
            scope.settle(
                self.now,
                &self.config,
                &set.channel,
                we_are_lower,
                || Self::new_session(session),
                &mut seen,
            );
            Self::report(&mut self.events, *scope_oid, scope, &seen);
            set.term = scope.term;
        }
        if let Some(datagram) = set.channel.speak(set.word()) {
            self.sends.push((set.local(), set.peer(), datagram));
        }
    }

    /// States that followed each other at one instant are reported as the last of them.
    pub(crate) fn report(events: &mut Vec<AsicEvent>, ha_scope_id: Oid, scope: &Scope, reports: &[Report]) {
        for (report, kind) in [
            (Report::StateChanged, HaScopeEventKind::StateChanged),
            (Report::FlowReconcileNeeded, HaScopeEventKind::FlowReconcileNeeded),
            (Report::SplitBrainDetected, HaScopeEventKind::SplitBrainDetected),
        ] {
            if reports.contains(&report) {
                events.push(AsicEvent::HaScope {
                    kind,
                    ha_scope_id,
                    ha_role: scope.reported_role(),
                    flow_version: scope.term,
                    ha_state: scope.state,
                });
            }
        }
    }

    fn flush(&mut self, out: &mut Vec<Effect>) {
        out.extend(self.events.drain(..).map(Effect::Event));
        for (local, to, datagram) in self.sends.drain(..) {
            out.push(Effect::Send { local, to, bytes: datagram.encode() });
        }
    }
}

impl Core for AsicModel {
    type Input = Input;
    type Effect = Effect;

    /// What has come in is taken in before time is: a side that was late does not find its peer lost.
    fn handle(&mut self, now: Time, batch: Batch<Input>, out: &mut Vec<Effect>) {
        self.now = now;
        for input in batch.inputs {
            match input {
                Input::Call(call) => {
                    let answer = self.carry_out(&call);
                    out.push(Effect::Answer(answer));
                }
                Input::Datagram { local, from, bytes } => self.receive(local, from, &bytes),
            }
            self.settle();
            self.flush(out);
        }
        for set in self.sets.values_mut() {
            set.channel.tick(now);
        }
        self.settle();
        self.flush(out);
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        let heartbeats = self.sets.values().map(|set| (set.channel.next_heartbeat(), "a heartbeat is due"));
        let timers = self.sets.values().filter_map(|set| {
            let (_, _, scope) = set.scope.as_ref()?;
            scope.deadline(self.now).map(|at| (at, "a state is overdue"))
        });
        heartbeats.chain(timers).min()
    }
}
