//! Two models and the network between them, in virtual time.

mod objects;
mod pairing;
mod properties;
mod table;
mod traffic;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use haorch::{
    AsicAnswer, AsicCall, AsicEvent, AsicOp, CallId, HaScopeAttribute, HaScopeAttributes, HaScopeEventKind,
    HaSetAttributes, Oid, SaiStatus,
};
use reconcile::{Batch, Core, Time};
use schema::{AsicHaRole, AsicHaState, WallMs};

use crate::{AsicModel, Effect, Input, ModelConfig};

pub(crate) const PORT: u16 = 11_362;

pub(crate) fn address(side: usize) -> IpAddr {
    format!("10.0.0.{}", side + 1).parse().unwrap()
}

pub(crate) fn attributes(side: usize) -> HaSetAttributes {
    HaSetAttributes {
        local_ip: address(side),
        peer_ip: address(1 - side),
        cp_data_channel_port: PORT,
        dp_channel_dst_port: 0,
        dp_channel_min_src_port: 0,
        dp_channel_max_src_port: 0,
        dp_channel_probe_interval_ms: 100,
        dp_channel_probe_fail_threshold: 3,
    }
}

/// One side: its model, or nothing while it is off.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) model: Option<AsicModel>,
    pub(crate) set: Option<Oid>,
    pub(crate) scope: Option<Oid>,
    /// It is not scheduled: datagrams wait in its socket, timers are late.
    pub(crate) is_stalled: bool,
    socket: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    pub(crate) events: Vec<AsicEvent>,
    lives: u64,
    calls: u64,
}

/// A datagram: to which side, at which address, from where, and what it says.
type Letter = (usize, SocketAddr, SocketAddr, Vec<u8>);

/// The pair.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) sides: [Side; 2],
    pub(crate) now: Time,
    /// Datagrams under way: when they arrive, in order of sending, and to whom.
    under_way: BTreeMap<(Time, u64), Letter>,
    sent: u64,
    /// Which directions are cut, by receiver.
    pub(crate) cut: BTreeSet<usize>,
    /// The delay of each datagram in ms, and whether it is lost.
    pub(crate) weather: fn(u64) -> Option<u64>,
    /// Approve whatever is pending, as a controller would that sees both sides.
    pub(crate) approves: bool,
    pub(crate) total_datagrams: u64,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self {
            sides: [Side::default(), Side::default()],
            now: Time(1_000),
            under_way: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            weather: |_| Some(1),
            approves: true,
            total_datagrams: 0,
        }
    }

    /// Both sides on; side 0 has the role active, side 1 standby; settled.
    pub(crate) fn settled() -> Self {
        let mut pair = Self::new();
        pair.boot(0, AsicHaRole::Active);
        pair.boot(1, AsicHaRole::Standby);
        pair.run_ms(2_000);
        assert_eq!(pair.states(), [AsicHaState::Active, AsicHaState::Standby]);
        pair
    }

    pub(crate) fn boot(&mut self, side: usize, role: AsicHaRole) {
        let it = &mut self.sides[side];
        it.lives += 1;
        it.model = Some(AsicModel::new(it.lives, ModelConfig::default()));
        (it.set, it.scope) = (None, None);
        it.socket.clear();
        let set = self.call(side, AsicOp::CreateHaSet(attributes(side))).unwrap().unwrap();
        self.sides[side].set = Some(set);
        self.create_scope(side, role);
    }

    pub(crate) fn create_scope(&mut self, side: usize, role: AsicHaRole) {
        let ha_set_id = self.sides[side].set.unwrap();
        let attributes = HaScopeAttributes {
            ha_set_id,
            dash_ha_role: role,
            admin_state: Some(true),
            vip_v4: Some("10.3.0.1".parse().unwrap()),
            vip_v6: None,
        };
        self.sides[side].scope = self.call(side, AsicOp::CreateHaScope(attributes)).unwrap();
    }

    pub(crate) fn kill(&mut self, side: usize) {
        let it = &mut self.sides[side];
        it.model = None;
        it.is_stalled = false;
        it.socket.clear();
    }

    pub(crate) fn call(&mut self, side: usize, op: AsicOp) -> Result<Option<Oid>, SaiStatus> {
        self.sides[side].calls += 1;
        let id = CallId(self.sides[side].calls);
        let answers = self.handle(side, vec![Input::Call(AsicCall { id, op })]);
        let [answer] = <[AsicAnswer; 1]>::try_from(answers).unwrap();
        assert_eq!(answer.id, id);
        answer.result
    }

    pub(crate) fn set(&mut self, side: usize, attribute: HaScopeAttribute) -> Result<Option<Oid>, SaiStatus> {
        let scope = self.sides[side].scope.unwrap();
        self.call(side, AsicOp::SetHaScope(scope, attribute))
    }

    pub(crate) fn set_role(&mut self, side: usize, role: AsicHaRole) {
        self.set(side, HaScopeAttribute::DashHaRole(role)).unwrap();
    }

    fn handle(&mut self, side: usize, inputs: Vec<Input>) -> Vec<AsicAnswer> {
        let Some(model) = &mut self.sides[side].model else { return Vec::new() };
        let mut effects = Vec::new();
        model.handle(self.now, Batch { wall: WallMs(0), inputs }, &mut effects);
        let mut answers = Vec::new();
        for effect in effects {
            match effect {
                Effect::Answer(answer) => answers.push(answer),
                Effect::Event(event) => self.sides[side].events.push(event),
                Effect::Send { local, to, bytes } => {
                    self.sent += 1;
                    self.total_datagrams += 1;
                    let receiver = 1 - side;
                    assert_eq!(local.ip(), address(side));
                    if to.ip() == address(receiver)
                        && !self.cut.contains(&receiver)
                        && let Some(delay) = (self.weather)(self.sent)
                    {
                        let at = (self.now.after_ms(delay), self.sent);
                        self.under_way.insert(at, (receiver, to, local, bytes));
                    }
                }
            }
        }
        answers
    }

    /// The next moment at which something happens.
    fn next(&self) -> Option<Time> {
        let timers = self
            .sides
            .iter()
            .filter(|side| !side.is_stalled)
            .filter_map(|side| Some(side.model.as_ref()?.next_deadline()?.0));
        timers.chain(self.under_way.keys().map(|(at, _)| *at)).min()
    }

    pub(crate) fn run_ms(&mut self, ms: u64) {
        let end = self.now.after_ms(ms);
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (side, local, from, bytes) = entry.remove();
                if self.sides[side].model.is_some() {
                    self.sides[side].socket.push((local, from, bytes));
                }
            }
            for side in 0..2 {
                self.wake(side);
            }
            self.check();
        }
        self.now = end;
    }

    fn wake(&mut self, side: usize) {
        if self.sides[side].is_stalled {
            return;
        }
        let datagrams = self.sides[side].socket.drain(..);
        let inputs = datagrams.map(|(local, from, bytes)| Input::Datagram { local, from, bytes }).collect();
        self.handle(side, inputs);
        if self.approves && self.may_approve(side) {
            self.set(side, HaScopeAttribute::ActivateRole).unwrap();
        }
    }

    /// What a controller may approve (P7): standby always, active and standalone only while the peer does not
    /// decide.
    pub(crate) fn may_approve(&self, side: usize) -> bool {
        match self.states()[side] {
            AsicHaState::PendingStandbyActivation => true,
            AsicHaState::PendingActiveActivation | AsicHaState::PendingStandaloneActivation => {
                !self.states()[1 - side].decides()
            }
            _ => false,
        }
    }

    /// What must hold at every moment, whatever the network does.
    pub(crate) fn check(&self) {
        for state in [AsicHaState::Active, AsicHaState::PendingActiveActivation] {
            assert_ne!(self.states(), [state, state], "both sides");
        }
    }

    /// The states; a side that is off is dead.
    pub(crate) fn states(&self) -> [AsicHaState; 2] {
        [0, 1].map(|side| self.of(side).map_or(AsicHaState::Dead, |(state, _)| state))
    }

    pub(crate) fn terms(&self) -> [u32; 2] {
        [0, 1].map(|side| self.of(side).map_or(0, |(_, term)| term))
    }

    fn of(&self, side: usize) -> Option<(AsicHaState, u32)> {
        let model = self.sides[side].model.as_ref()?;
        model.scopes().next().map(|(_, state, term)| (state, term))
    }

    /// The states that a side has reported, without repetition, since it was last asked.
    pub(crate) fn reported(&mut self, side: usize) -> Vec<AsicHaState> {
        let mut states: Vec<_> = self.sides[side]
            .events
            .drain(..)
            .filter_map(|event| match event {
                AsicEvent::HaScope { kind: HaScopeEventKind::StateChanged, ha_state, .. } => Some(ha_state),
                AsicEvent::HaScope { .. } | AsicEvent::HaSet { .. } => None,
            })
            .collect();
        states.dedup();
        states
    }

    /// How often a side has reported something since it was last asked.
    pub(crate) fn count(&mut self, side: usize, wanted: HaScopeEventKind) -> usize {
        let is_wanted =
            |event: &AsicEvent| matches!(event, AsicEvent::HaScope { kind, .. } if *kind == wanted);
        self.sides[side].events.drain(..).filter(is_wanted).count()
    }
}
