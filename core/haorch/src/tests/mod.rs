//! A DPU for the tests: an ASIC that records its calls, and stores that read back.

mod asic_table;
mod cases;
mod decisions;
mod properties;
mod stories;

use std::collections::{BTreeMap, VecDeque};

use reconcile::{Batch, Core, Op, OwnedRow, RowWrite, StoreEvent, StoreUpdate, Time};
use schema::dpu_appl_db::{BfdKey, BfdSession, HaScope, HaSet};
use schema::dpu_appl_state_db::{HaScopeResult, HaSetResult};
use schema::dpu_state_db::{HaScopeState, HaSetState};
use schema::state_db::BfdSoftwareSession;
use schema::{
    AsicHaRole, AsicHaState, Db, Fields, HaOwner, HaScopeId, HaScopeKind, HaSetId, LinkState, Row, Table,
    WallMs,
};

use crate::{
    Asic, AsicCall, AsicEvent, AsicOp, Capabilities, Effect, HaOrch, HaScopeAttribute, HaScopeAttributes,
    HaScopeEventKind, HaSetAttribute, HaSetAttributes, Input, Note, Oid, Place, SaiStatus,
};

pub(crate) const NPU: &str = "192.168.1.100";

pub(crate) fn set_id(text: &str) -> HaSetId {
    HaSetId::new(text).unwrap()
}

pub(crate) fn scope_id(text: &str) -> HaScopeId {
    HaScopeId::new(text).unwrap()
}

/// The HA set of `reference/dpu-side.md` 4.1.
pub(crate) fn ha_set() -> HaSet {
    HaSet {
        version: Some("1".into()),
        vip_v4: Some("10.0.0.1".parse().unwrap()),
        vip_v6: Some("3:2::1:0".parse().unwrap()),
        owner: Some(HaOwner::Dpu),
        scope: Some(HaScopeKind::Dpu),
        local_npu_ip: Some("192.168.1.10".parse().unwrap()),
        local_ip: Some("192.168.2.1".parse().unwrap()),
        peer_ip: Some("192.168.2.2".parse().unwrap()),
        cp_data_channel_port: Some(4789),
        dp_channel_dst_port: Some(4790),
        dp_channel_src_port_min: Some(5000),
        dp_channel_src_port_max: Some(6000),
        dp_channel_probe_interval_ms: Some(1000),
        dp_channel_probe_fail_threshold: Some(3),
    }
}

/// The HA scope of `reference/dpu-side.md` 4.1.
pub(crate) fn ha_scope() -> HaScope {
    HaScope {
        version: Some("1".into()),
        disabled: true,
        ha_role: AsicHaRole::Dead,
        ha_term: None,
        ha_set_id: Some(set_id("HA_SET_1")),
        vip_v4: Some("10.0.0.1".parse().unwrap()),
        vip_v6: Some("3:2::1:0".parse().unwrap()),
        flow_reconcile_requested: Some(false),
        activate_role_requested: Some(false),
        brainsplit_recovered: Some(false),
    }
}

/// "set role R" of `reference/dpu-side.md` 4.1.
pub(crate) fn with_role(role: AsicHaRole) -> HaScope {
    HaScope { disabled: false, ha_role: role, ..ha_scope() }
}

pub(crate) fn bfd_key(npu: &str) -> BfdKey {
    BfdKey::to_npu(npu.parse().unwrap())
}

pub(crate) fn bfd_session() -> BfdSession {
    BfdSession {
        tx_interval_ms: Some(100),
        rx_interval_ms: Some(100),
        multiplier: Some(3),
        multihop: true,
        shutdown: false,
        local_addr: Some("192.168.2.1".parse().unwrap()),
        kind: Some("passive".into()),
    }
}

/// What was done, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Done {
    Called(AsicOp),
    Wrote(Table, String, bool),
}

/// An ASIC that does as it is told, unless told to fail.
#[derive(Debug, Default)]
pub(crate) struct FakeAsic {
    next_oid: u64,
    pub(crate) sets: BTreeMap<Oid, HaSetAttributes>,
    pub(crate) scopes: BTreeMap<Oid, HaScopeAttributes>,
    /// The next calls fail with these.
    pub(crate) failures: VecDeque<SaiStatus>,
    pub(crate) activations: usize,
    pub(crate) reconciles: usize,
}

impl FakeAsic {
    fn fails(&mut self) -> Result<(), SaiStatus> {
        self.failures.pop_front().map_or(Ok(()), Err)
    }

    fn new_oid(&mut self) -> Oid {
        self.next_oid += 1;
        Oid(self.next_oid)
    }
}

impl Asic for FakeAsic {
    fn create_ha_set(&mut self, attributes: &HaSetAttributes) -> Result<Oid, SaiStatus> {
        self.fails()?;
        let oid = self.new_oid();
        self.sets.insert(oid, attributes.clone());
        Ok(oid)
    }

    fn set_ha_set_attribute(&mut self, ha_set: Oid, attribute: &HaSetAttribute) -> Result<(), SaiStatus> {
        self.fails()?;
        let HaSetAttribute::PeerIp(peer_ip) = attribute;
        self.sets.get_mut(&ha_set).ok_or(SaiStatus::ItemNotFound)?.peer_ip = *peer_ip;
        Ok(())
    }

    fn remove_ha_set(&mut self, ha_set: Oid) -> Result<(), SaiStatus> {
        self.fails()?;
        if self.scopes.values().any(|scope| scope.ha_set_id == ha_set) {
            return Err(SaiStatus::ObjectInUse);
        }
        self.sets.remove(&ha_set).map(|_| ()).ok_or(SaiStatus::ItemNotFound)
    }

    fn create_ha_scope(&mut self, attributes: &HaScopeAttributes) -> Result<Oid, SaiStatus> {
        self.fails()?;
        if !self.sets.contains_key(&attributes.ha_set_id) {
            return Err(SaiStatus::InvalidParameter);
        }
        let oid = self.new_oid();
        self.scopes.insert(oid, attributes.clone());
        Ok(oid)
    }

    fn set_ha_scope_attribute(
        &mut self,
        ha_scope: Oid,
        attribute: HaScopeAttribute,
    ) -> Result<(), SaiStatus> {
        self.fails()?;
        let scope = self.scopes.get_mut(&ha_scope).ok_or(SaiStatus::ItemNotFound)?;
        match attribute {
            HaScopeAttribute::DashHaRole(role) => scope.dash_ha_role = role,
            HaScopeAttribute::AdminState(is_up) => scope.admin_state = Some(is_up),
            HaScopeAttribute::VipV4(vip) => scope.vip_v4 = vip,
            HaScopeAttribute::VipV6(vip) => scope.vip_v6 = vip,
            HaScopeAttribute::FlowReconcileRequested => self.reconciles += 1,
            HaScopeAttribute::ActivateRole => self.activations += 1,
        }
        Ok(())
    }

    fn remove_ha_scope(&mut self, ha_scope: Oid) -> Result<(), SaiStatus> {
        self.fails()?;
        self.scopes.remove(&ha_scope).map(|_| ()).ok_or(SaiStatus::ItemNotFound)
    }
}

/// The agent and what is around it. Steps run until nothing is left to do.
#[derive(Debug)]
pub(crate) struct Dpu {
    pub(crate) orch: HaOrch,
    pub(crate) asic: FakeAsic,
    pub(crate) rows: BTreeMap<(Place, Table, String), Fields>,
    pub(crate) now: Time,
    pub(crate) wall: WallMs,
    pub(crate) done: Vec<Done>,
    pub(crate) notes: Vec<Note>,
    /// Calls are answered and local writes carried out only when asked.
    pub(crate) holds_calls: bool,
    pub(crate) holds_local: bool,
    pub(crate) held_calls: VecDeque<AsicCall>,
    pub(crate) held_local: VecDeque<RowWrite>,
}

impl Dpu {
    /// All stores and `DPU_APPL_DB` are read, and empty.
    pub(crate) fn booted() -> Self {
        Self::with(Capabilities::default(), &[])
    }

    pub(crate) fn with(capabilities: Capabilities, rows: &[(Place, Table, &str, Fields)]) -> Self {
        let rows = rows
            .iter()
            .map(|(place, table, key, fields)| ((*place, *table, (*key).to_owned()), fields.clone()));
        let mut dpu = Self {
            orch: HaOrch::new(capabilities),
            asic: FakeAsic::default(),
            rows: rows.collect(),
            now: Time(1_000),
            wall: WallMs(1_700_000_000_000),
            done: Vec::new(),
            notes: Vec::new(),
            holds_calls: false,
            holds_local: false,
            held_calls: VecDeque::new(),
            held_local: VecDeque::new(),
        };
        for (place, db) in [
            (Place::Local, Db::StateDb),
            (Place::Remote, Db::DpuStateDb),
            (Place::Remote, Db::DpuApplStateDb),
        ] {
            let snapshot = dpu.snapshot(place, db);
            dpu.step(vec![snapshot]);
        }
        dpu.step(vec![Input::Synced]);
        dpu
    }

    pub(crate) fn snapshot(&self, place: Place, db: Db) -> Input {
        let rows = self.rows.iter().filter(|((at, table, _), _)| *at == place && table.db() == db);
        let rows = rows.map(|((_, table, key), fields)| OwnedRow {
            table: *table,
            key: key.clone(),
            fields: fields.clone(),
            consumed: true,
        });
        Input::Store(StoreEvent { place, db, update: StoreUpdate::Snapshot(rows.collect()) })
    }

    pub(crate) fn step(&mut self, inputs: Vec<Input>) {
        let mut inputs = inputs;
        for round in 0.. {
            assert!(round < 200, "never quiet: {:?}", self.done);
            let mut effects = Vec::new();
            self.orch.handle(
                self.now,
                Batch { wall: self.wall, inputs: std::mem::take(&mut inputs) },
                &mut effects,
            );
            for effect in effects {
                match effect {
                    Effect::Note(note) => self.notes.push(note),
                    Effect::Asic(call) => {
                        self.done.push(Done::Called(call.op.clone()));
                        if self.holds_calls {
                            self.held_calls.push_back(call);
                        } else {
                            inputs.push(Input::Answer(self.asic.carry_out(&call)));
                        }
                    }
                    Effect::Write(write) => {
                        if write.place == Place::Local && self.holds_local {
                            self.held_local.push_back(write.write);
                        } else {
                            inputs.extend(self.write(write.place, write.write));
                        }
                    }
                }
            }
            if inputs.is_empty() {
                return;
            }
        }
    }

    fn write(&mut self, place: Place, write: RowWrite) -> Vec<Input> {
        let (table, key) = (write.table, write.key.clone());
        self.done.push(Done::Wrote(table, key.clone(), write.op != Op::Del));
        match &write.op {
            Op::Set(fields) => {
                self.rows.insert((place, table, key), fields.clone());
            }
            Op::Merge(fields) => self.rows.entry((place, table, key)).or_default().merge(fields),
            Op::Del => {
                self.rows.remove(&(place, table, key));
            }
        }
        let written = StoreUpdate::Written { write, done: true };
        vec![
            Input::Store(StoreEvent { place, db: table.db(), update: written }),
            self.snapshot(place, table.db()),
        ]
    }

    /// Answers the oldest call that is held back.
    pub(crate) fn answer_one(&mut self) -> Option<AsicOp> {
        let call = self.held_calls.pop_front()?;
        let answer = self.asic.carry_out(&call);
        self.step(vec![Input::Answer(answer)]);
        Some(call.op)
    }

    /// Carries out the local writes that are held back.
    pub(crate) fn release_local(&mut self) {
        self.holds_local = false;
        let held: Vec<RowWrite> = self.held_local.drain(..).collect();
        let inputs = held.into_iter().flat_map(|write| self.write(Place::Local, write)).collect();
        self.step(inputs);
    }

    pub(crate) fn pass_ms(&mut self, ms: u64) {
        self.now = self.now.after_ms(ms);
        self.wall = WallMs(self.wall.0 + i64::try_from(ms).unwrap());
        self.step(Vec::new());
    }

    pub(crate) fn set_row(&mut self, id: &str, row: Option<HaSet>) {
        self.step(vec![Input::HaSet(set_id(id), row)]);
    }

    pub(crate) fn scope_row(&mut self, id: &str, row: Option<HaScope>) {
        self.step(vec![Input::HaScope(scope_id(id), row)]);
    }

    pub(crate) fn bfd_row(&mut self, npu: &str, row: Option<BfdSession>) {
        self.step(vec![Input::BfdSession(bfd_key(npu), row)]);
    }

    pub(crate) fn refuse(&mut self, table: Table, key: &str) {
        self.step(vec![Input::Refused { table, key: key.to_owned() }]);
    }

    pub(crate) fn scope_event(
        &mut self,
        kind: HaScopeEventKind,
        role: AsicHaRole,
        state: AsicHaState,
        term: u32,
    ) {
        let oid = *self.asic.scopes.keys().next_back().unwrap();
        let event =
            AsicEvent::HaScope { kind, ha_scope_id: oid, ha_role: role, flow_version: term, ha_state: state };
        self.step(vec![Input::Event(event)]);
    }

    pub(crate) fn state_event(&mut self, role: AsicHaRole, state: AsicHaState) {
        self.scope_event(HaScopeEventKind::StateChanged, role, state, 1);
    }

    pub(crate) fn set_event(&mut self, dp_channel: LinkState) {
        let oid = *self.asic.sets.keys().next_back().unwrap();
        self.step(vec![Input::Event(AsicEvent::HaSet { ha_set_id: oid, dp_channel })]);
    }

    fn read<R: Row>(&self, place: Place, key: &R::Key) -> Option<R> {
        let key = R::key_text(key);
        let fields = self.rows.get(&(place, R::TABLE, key.clone()))?;
        Some(R::from_fields(&key, fields).unwrap())
    }

    pub(crate) fn scope_state(&self, id: &str) -> Option<HaScopeState> {
        self.read(Place::Remote, &scope_id(id))
    }

    pub(crate) fn set_state(&self, id: &str) -> Option<HaSetState> {
        self.read(Place::Remote, &set_id(id))
    }

    pub(crate) fn scope_result(&self, id: &str) -> Option<(u32, Option<String>)> {
        self.read::<HaScopeResult>(Place::Remote, &scope_id(id)).map(|row| (row.result, row.version))
    }

    pub(crate) fn set_result(&self, id: &str) -> Option<(u32, Option<String>)> {
        self.read::<HaSetResult>(Place::Remote, &set_id(id)).map(|row| (row.result, row.version))
    }

    pub(crate) fn bfd(&self) -> Vec<String> {
        let rows = self.rows.keys().filter(|(_, table, _)| *table == Table::BfdSoftwareSession);
        rows.map(|(_, _, key)| key.clone()).collect()
    }

    pub(crate) fn bfd_fields(&self, npu: &str) -> Option<BfdSoftwareSession> {
        self.read(Place::Local, &bfd_key(npu))
    }

    pub(crate) fn calls(&self, of: impl Fn(&AsicOp) -> bool) -> usize {
        self.done.iter().filter(|done| matches!(done, Done::Called(op) if of(op))).count()
    }

    /// A DPU-scope HA set and its scope, active and serving, with one BFD session.
    pub(crate) fn active() -> Self {
        let mut dpu = Self::booted();
        dpu.set_row("HA_SET_1", Some(ha_set()));
        dpu.bfd_row(NPU, Some(bfd_session()));
        dpu.scope_row("HA_SET_1", Some(with_role(AsicHaRole::Active)));
        dpu.state_event(AsicHaRole::Active, AsicHaState::Active);
        assert_eq!(dpu.bfd().len(), 1);
        dpu.done.clear();
        dpu
    }
}

pub(crate) fn is_create_set(op: &AsicOp) -> bool {
    matches!(op, AsicOp::CreateHaSet(_))
}

pub(crate) fn is_create_scope(op: &AsicOp) -> bool {
    matches!(op, AsicOp::CreateHaScope(_))
}

pub(crate) fn is_set_scope(op: &AsicOp) -> bool {
    matches!(op, AsicOp::SetHaScope(..))
}

pub(crate) fn is_remove_scope(op: &AsicOp) -> bool {
    matches!(op, AsicOp::RemoveHaScope(_))
}

pub(crate) fn is_remove_set(op: &AsicOp) -> bool {
    matches!(op, AsicOp::RemoveHaSet(_))
}

pub(crate) fn is_set_set(op: &AsicOp) -> bool {
    matches!(op, AsicOp::SetHaSet(..))
}

pub(crate) fn is_activate(op: &AsicOp) -> bool {
    matches!(op, AsicOp::SetHaScope(_, HaScopeAttribute::ActivateRole))
}
