//! The model as a whole: objects, calls, datagrams, time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use haorch::{
    Asic, AsicAnswer, AsicCall, AsicEvent, HaScopeAttribute, HaScopeAttributes, HaScopeEventKind,
    HaSetAttribute, HaSetAttributes, Oid, SaiStatus,
};
use reconcile::{Batch, Core, Time};
use schema::{AsicHaRole, AsicHaState, LinkState};
use serde::{Deserialize, Serialize};

use crate::channel::{Channel, Heard, Word};
use crate::scope::{Report, Scope};
use crate::wire::Datagram;

/// How many HA sets the ASIC holds.
pub const HA_SETS_MAX: usize = 64;

/// The peers' UDP port where the HA set names none.
pub const CP_DATA_CHANNEL_PORT_DEFAULT: u16 = 11_362;

/// The model's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// How long a side looks for its peer before it asks to be standalone, ms.
    pub peer_wait_ms: u64,
    /// How long a bulk sync takes, ms.
    pub bulk_sync_ms: u64,
    /// How long the survivor of a planned shutdown takes to take over, ms.
    pub switchover_ms: u64,
    /// How long a side that shuts down waits for its peer to take over, ms.
    pub destroy_ms_max: u64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { peer_wait_ms: 2_000, bulk_sync_ms: 20, switchover_ms: 50, destroy_ms_max: 3_000 }
    }
}

/// What can happen to the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A SAI call.
    Call(AsicCall),
    /// A datagram from a peer, or from anybody.
    Datagram {
        /// The address that it came to.
        local: SocketAddr,
        /// The address that it came from.
        from: SocketAddr,
        /// What it says.
        bytes: Vec<u8>,
    },
}

/// What the model asks for. Answers and events are to be given to the control plane in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// The answer to [`Input::Call`].
    Answer(AsicAnswer),
    /// A notification.
    Event(AsicEvent),
    /// Send a datagram. Losing it, or sending it twice, is harmless.
    Send {
        /// From this address.
        local: SocketAddr,
        /// To this address.
        to: SocketAddr,
        /// What to say; [`crate::DATAGRAM_BYTES`] long.
        bytes: Vec<u8>,
    },
}

/// What was ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ignored {
    /// Datagrams that are not ours.
    pub bad: u64,
    /// Datagrams from an address that is no peer's.
    pub strangers: u64,
    /// Datagrams that were overtaken, or of an earlier life of the peer.
    pub stale: u64,
}

/// The modelled ASIC of one DPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AsicModel {
    config: ModelConfig,
    /// Sessions of this life of the ASIC: greater than all of an earlier one.
    session: u64,
    next_oid: u64,
    #[serde(with = "by_oid")]
    sets: BTreeMap<Oid, Set>,
    now: Time,
    #[serde(skip)]
    events: Vec<AsicEvent>,
    #[serde(skip)]
    sends: Vec<(SocketAddr, SocketAddr, Datagram)>,
    ignored: Ignored,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Set {
    attributes: HaSetAttributes,
    channel: Channel,
    /// What the control plane was told of the channel.
    told_alive: Option<bool>,
    scope: Option<(Oid, HaScopeAttributes, Scope)>,
    /// The life of a set without a scope.
    session: u64,
    /// Outlives the scope, as the ASIC's flow tables do.
    term: u32,
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

fn port(attributes: &HaSetAttributes) -> u16 {
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

    fn new_oid(&mut self) -> Oid {
        self.next_oid += 1;
        Oid(self.next_oid)
    }

    fn new_session(session: &mut u64) -> u64 {
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
    fn report(events: &mut Vec<AsicEvent>, ha_scope_id: Oid, scope: &Scope, reports: &[Report]) {
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

fn set_of_scope(sets: &mut BTreeMap<Oid, Set>, ha_scope: Oid) -> Option<&mut Set> {
    sets.values_mut().find(|set| set.scope.as_ref().is_some_and(|(oid, _, _)| *oid == ha_scope))
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

impl Asic for AsicModel {
    fn create_ha_set(&mut self, attributes: &HaSetAttributes) -> Result<Oid, SaiStatus> {
        if attributes.local_ip == attributes.peer_ip
            || attributes.local_ip.is_ipv4() != attributes.peer_ip.is_ipv4()
        {
            return Err(SaiStatus::InvalidParameter);
        }
        let is_taken = |set: &Set| {
            set.attributes.local_ip == attributes.local_ip
                && set.attributes.peer_ip == attributes.peer_ip
                && port(&set.attributes) == port(attributes)
        };
        if self.sets.values().any(is_taken) {
            return Err(SaiStatus::ItemAlreadyExists);
        }
        if self.sets.len() >= HA_SETS_MAX {
            return Err(SaiStatus::TableFull);
        }
        let oid = self.new_oid();
        let session = Self::new_session(&mut self.session);
        self.sets.insert(
            oid,
            Set {
                channel: Channel::new(
                    self.now,
                    attributes.dp_channel_probe_interval_ms,
                    attributes.dp_channel_probe_fail_threshold,
                ),
                attributes: attributes.clone(),
                told_alive: None,
                scope: None,
                session,
                term: 0,
            },
        );
        Ok(oid)
    }

    fn set_ha_set_attribute(&mut self, ha_set: Oid, attribute: &HaSetAttribute) -> Result<(), SaiStatus> {
        let now = self.now;
        let set = self.sets.get_mut(&ha_set).ok_or(SaiStatus::ItemNotFound)?;
        let HaSetAttribute::PeerIp(peer_ip) = attribute;
        if *peer_ip == set.attributes.local_ip {
            return Err(SaiStatus::InvalidParameter);
        }
        if *peer_ip != set.attributes.peer_ip {
            set.attributes.peer_ip = *peer_ip;
            // Another peer: nothing that was heard counts.
            set.channel.start_over(now);
        }
        Ok(())
    }

    fn remove_ha_set(&mut self, ha_set: Oid) -> Result<(), SaiStatus> {
        let set = self.sets.get(&ha_set).ok_or(SaiStatus::ItemNotFound)?;
        if set.scope.is_some() {
            return Err(SaiStatus::ObjectInUse);
        }
        self.sets.remove(&ha_set);
        Ok(())
    }

    fn create_ha_scope(&mut self, attributes: &HaScopeAttributes) -> Result<Oid, SaiStatus> {
        let oid = self.new_oid();
        let session = Self::new_session(&mut self.session);
        let set = self.sets.get_mut(&attributes.ha_set_id).ok_or(SaiStatus::InvalidParameter)?;
        if set.scope.is_some() {
            return Err(SaiStatus::InsufficientResources);
        }
        // An ASIC without an admin state is always on.
        let mut scope = Scope::new(attributes.dash_ha_role, attributes.admin_state.unwrap_or(true), session);
        scope.term = set.term;
        set.scope = Some((oid, attributes.clone(), scope));
        Ok(oid)
    }

    fn set_ha_scope_attribute(
        &mut self,
        ha_scope: Oid,
        attribute: HaScopeAttribute,
    ) -> Result<(), SaiStatus> {
        let (now, config) = (self.now, self.config);
        let set = set_of_scope(&mut self.sets, ha_scope).ok_or(SaiStatus::ItemNotFound)?;
        let Some((oid, attributes, scope)) = &mut set.scope else { return Err(SaiStatus::ItemNotFound) };
        match attribute {
            HaScopeAttribute::DashHaRole(role) => {
                attributes.dash_ha_role = role;
                scope.role = role;
            }
            HaScopeAttribute::AdminState(is_up) => {
                attributes.admin_state = Some(is_up);
                scope.admin_up = is_up;
            }
            HaScopeAttribute::VipV4(vip) => attributes.vip_v4 = vip,
            HaScopeAttribute::VipV6(vip) => attributes.vip_v6 = vip,
            // The model's flows have nothing to reconcile.
            HaScopeAttribute::FlowReconcileRequested => {}
            HaScopeAttribute::ActivateRole => {
                let mut seen = Vec::new();
                if !scope.activate(now, &config, &set.channel, &mut seen) {
                    return Err(SaiStatus::InvalidParameter);
                }
                Self::report(&mut self.events, *oid, scope, &seen);
            }
        }
        Ok(())
    }

    fn remove_ha_scope(&mut self, ha_scope: Oid) -> Result<(), SaiStatus> {
        let session = Self::new_session(&mut self.session);
        let set = set_of_scope(&mut self.sets, ha_scope).ok_or(SaiStatus::ItemNotFound)?;
        set.scope = None;
        // What is left of it is a new life without a scope, and says so.
        set.session = session;
        Ok(())
    }
}

/// JSON knows only text as keys of a map.
mod by_oid {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
