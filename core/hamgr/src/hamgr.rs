//! The HA manager itself: inputs in, steps in order, effects out.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{
    Batch, Core, IdSource, Op, Plan, Reconciler, RowId, RowWrite, StoreEvent, StoreUpdate, Time, Write,
};
use schema::appl_db::HaScopeConfigKey;
use schema::chassis_state_db::{DpuHealth, DpuState};
use schema::dpu_appl_db::{HaScope, HaSet};
use schema::state_db::{DpuResetInfo, HaScopeFence, HaScopeState};
use schema::{Db, HaSetId, Row, Slot, Table, WallMs};
use serde::{Deserialize, Serialize};

use crate::derive::{self, Memory, View};
use crate::derive_dpu::{self, Stages};
use crate::fence::{self, Verdict};
use crate::ha_scope;
use crate::incarnation::{Evidence, Seen, Turn};
use crate::input::{Config, Effect, Input, Place};
use crate::keep::Keeper;
use crate::known::{Known, Resolved};
use crate::note::{Note, ScopeStage, SetStage};
use crate::pairs;
use crate::pending;
use crate::scope_state::ScopeMemory;
use crate::topology::Location;

/// The HA manager of a switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hamgr {
    config: Config,
    ids: IdSource,
    known: Known,
    memory: Memory,
    store: Reconciler<Place>,
    stores_read: BTreeSet<(Place, Db)>,
    /// Scopes whose configuration was deleted before STATE_DB was read: what it says of them is over.
    deleted_unread: BTreeSet<HaScopeConfigKey>,
    #[serde(with = "pairs")]
    scopes_under_way: BTreeMap<RowId<Place>, HaSetId>,
    /// Rows of APPL_DB, a database with many writers, that this process wrote.
    written: BTreeSet<RowId<Place>>,
    heartbeat_due: Option<Time>,
    was_ready: bool,
    set_stages: BTreeMap<HaSetId, SetStage>,
    #[serde(with = "pairs")]
    scope_stages: BTreeMap<HaScopeConfigKey, ScopeStage>,
}

impl Hamgr {
    /// Knows nothing yet, and so writes nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            ids: IdSource::new(config.id_seed),
            config,
            known: Known::default(),
            memory: Memory::default(),
            store: Reconciler::new(),
            stores_read: BTreeSet::new(),
            deleted_unread: BTreeSet::new(),
            scopes_under_way: BTreeMap::new(),
            written: BTreeSet::new(),
            heartbeat_due: None,
            was_ready: false,
            set_stages: BTreeMap::new(),
            scope_stages: BTreeMap::new(),
        }
    }

    /// Where the HA scopes of managed DPUs stand.
    pub fn scope_stages(&self) -> &BTreeMap<HaScopeConfigKey, ScopeStage> {
        &self.scope_stages
    }

    /// The present life of a DPU, once it was up.
    pub fn incarnation(&self, slot: Slot) -> Option<u64> {
        self.memory.lives.get(&slot)?.incarnation()
    }

    /// Whether all that must be read before anything is written has been read.
    pub fn is_ready(&self) -> bool {
        self.known.is_complete() && self.has_read_state_db()
    }

    fn has_read_state_db(&self) -> bool {
        self.stores_read.contains(&(Place::Npu, Db::StateDb))
    }

    fn take_in(&mut self, input: Input, wall: WallMs, out: &mut Vec<Effect>) {
        match &input {
            Input::Store(event) => {
                self.observe(event.clone(), wall, out);
                return;
            }
            Input::HaScopeConfig(key, None) => self.forget_scope(key, out),
            Input::DpuState(..)
            | Input::Dpu(..)
            | Input::RemoteDpu(..)
            | Input::Vdpu(..)
            | Input::GlobalConfig(_)
            | Input::Loopback(..)
            | Input::HaSetConfig(..)
            | Input::HaScopeConfig(_, Some(_))
            | Input::BfdProbe(..)
            | Input::DpuHaScopeState(..)
            | Input::Synced(_)
            | Input::Unsynced(_) => {}
        }
        let dpu_state_of = match &input {
            Input::DpuState(slot, _) => Some(*slot),
            Input::Dpu(..)
            | Input::RemoteDpu(..)
            | Input::Vdpu(..)
            | Input::GlobalConfig(_)
            | Input::Loopback(..)
            | Input::HaSetConfig(..)
            | Input::HaScopeConfig(..)
            | Input::BfdProbe(..)
            | Input::DpuHaScopeState(..)
            | Input::Synced(_)
            | Input::Unsynced(_)
            | Input::Store(_) => None,
        };
        self.known.take_in(input);
        // A DPU that is down and up again within one batch was down all the same.
        if let Some(slot) = dpu_state_of {
            self.step_life(slot, wall, out);
        }
    }

    /// The same configuration written again after this is a new one.
    fn forget_scope(&mut self, key: &HaScopeConfigKey, out: &mut Vec<Effect>) {
        self.memory.fences.remove(key);
        if let Some(memory) = self.memory.scopes.remove(key) {
            note_operations(key, &memory.pending, &[], out);
        }
        if !self.has_read_state_db() {
            self.deleted_unread.insert(key.clone());
        }
    }

    fn observe(&mut self, event: StoreEvent<Place>, wall: WallMs, out: &mut Vec<Effect>) {
        let (place, db) = (event.place, event.db);
        let is_snapshot = match &event.update {
            StoreUpdate::Snapshot(_) => true,
            StoreUpdate::Written { .. } | StoreUpdate::Lost => false,
        };
        let written = match &event.update {
            StoreUpdate::Written { write, done: true } => Some(write.clone()),
            StoreUpdate::Written { done: false, .. } | StoreUpdate::Snapshot(_) | StoreUpdate::Lost => None,
        };
        self.store.observe(event);
        let store = &self.store;
        self.scopes_under_way.retain(|row, _| store.is_under_way(row));
        if let Some(RowWrite { table, key, op: Op::Del }) = &written {
            self.written.remove(&RowId { place, table: *table, key: key.clone() });
        }
        let first = is_snapshot && self.stores_read.insert((place, db));
        match (place, db) {
            (Place::Npu, Db::StateDb) if first => self.read_back(wall),
            (Place::Npu, Db::StateDb) if is_snapshot => self.respect_clears(out),
            (Place::Dpu(slot), Db::DpuApplDb) => {
                self.note_evidence(slot, is_snapshot, written.as_ref());
                if is_snapshot {
                    self.step_life(slot, wall, out);
                }
            }
            // Every other store holds nothing that is remembered.
            (Place::Npu | Place::Dpu(_), _) => {}
        }
    }

    /// Finds in STATE_DB what an earlier process remembered.
    fn read_back(&mut self, wall: WallMs) {
        let rows = self.store.rows_of(&Place::Npu, Table::DpuResetInfo);
        for (slot, info) in rows.filter_map(|(row, fields)| DpuResetInfo::parse(&row.key, fields).ok()) {
            if self.config.manages(slot) {
                self.memory.lives.entry(slot).or_default().info = Some(info);
            }
        }
        let rows = self.store.rows_of(&Place::Npu, Table::DashHaScopeFence);
        for (key, record) in rows.filter_map(|(row, fields)| HaScopeFence::parse(&row.key, fields).ok()) {
            if !self.deleted_unread.contains(&key) {
                self.memory.fences.insert(key, record);
            }
        }
        let rows = self.store.rows_of(&Place::Npu, Table::DashHaScopeState);
        for (row, fields) in rows {
            if let (Some((key, state)), _) = HaScopeState::parse_reporting(&row.key, fields)
                && !self.deleted_unread.contains(&key)
            {
                self.memory.scopes.insert(key, ScopeMemory::read_back(&state, wall));
            }
        }
        self.deleted_unread.clear();
    }

    fn respect_clears(&mut self, out: &mut Vec<Effect>) {
        for (&slot, life) in &mut self.memory.lives {
            let read = self.store.row::<DpuResetInfo>(Place::Npu, &slot);
            if read.is_some_and(|read| life.respect_clear(&read)) {
                out.push(Effect::Note(Note::ResetCleared { slot }));
            }
        }
    }

    fn note_evidence(&mut self, slot: Slot, is_snapshot: bool, written: Option<&RowWrite>) {
        let any = self.has_rows(slot);
        let life = self.memory.lives.entry(slot).or_default();
        let (set, del) = match written {
            Some(RowWrite {
                table: Table::DashHaSet | Table::DashHaScope,
                op: Op::Set(_) | Op::Merge(_),
                ..
            }) => (true, false),
            Some(RowWrite { table: Table::DashHaSet | Table::DashHaScope, op: Op::Del, .. }) => (false, true),
            Some(_) | None => (false, false),
        };
        if any && (is_snapshot || set) {
            life.evidence = Evidence::Present;
        } else if !any && del {
            life.evidence = Evidence::Absent;
        }
    }

    fn has_rows(&self, slot: Slot) -> bool {
        let place = Place::Dpu(slot);
        [Table::DashHaSet, Table::DashHaScope]
            .into_iter()
            .any(|table| self.store.rows_of(&place, table).next().is_some())
    }

    /// Scopes that were accepted in the present life of the DPU and whose configuration has not changed since.
    fn live_scopes(&self, slot: Slot) -> impl Iterator<Item = (&HaScopeConfigKey, HaSetId)> {
        let present = self.incarnation(slot);
        self.known.scopes.iter().filter_map(move |(key, config)| {
            let record = self.memory.fences.get(key)?;
            let live = self.known.topology.locate(&key.vdpu) == Location::Here(slot)
                && Some(record.incarnation) == present
                && record.config_digest == fence::digest(config);
            if live { Some((key, config.ha_set(key)?)) } else { None }
        })
    }

    /// Whether somebody emptied DPU_APPL_DB: a scope was applied in this life, its HA set ought to be there,
    /// and none of our HA set and HA scope rows is left.
    fn is_emptied(&mut self, slot: Slot) -> bool {
        let place = Place::Dpu(slot);
        if !self.store.is_ready(&place, Db::DpuApplDb) || self.has_rows(slot) {
            return false;
        }
        let sets: BTreeSet<HaSetId> = self.live_scopes(slot).map(|(_, id)| id).collect();
        let expected: BTreeSet<&HaSetId> = sets
            .iter()
            .filter(|id| {
                let config = self.known.sets.get(id);
                let set = config.and_then(|config| self.known.resolve(config).ok());
                set.is_some_and(|set| set.on(slot).is_some())
            })
            .collect();
        let under_way = |id: &HaSetId| self.store.is_under_way(&RowId::of::<HaSet>(place, id));
        if expected.iter().any(|id| under_way(id)) {
            return false;
        }
        let nothing_expected = expected.is_empty();
        let life = self.memory.lives.entry(slot).or_default();
        if nothing_expected {
            life.evidence = Evidence::Absent;
        }
        match life.evidence {
            Evidence::Unread | Evidence::Present => true,
            Evidence::Absent => false,
        }
    }

    fn step_life(&mut self, slot: Slot, wall: WallMs, out: &mut Vec<Effect>) {
        if !self.is_ready() || !self.config.manages(slot) || self.known.topology.local(slot).is_none() {
            return;
        }
        let emptied = self.is_emptied(slot);
        let accepted = self.live_scopes(slot).next().is_some();
        let seen = Seen {
            health: self.known.health(slot),
            boot_id: self.known.dpu_state(slot).and_then(|state: &DpuState| state.boot_id.as_deref()),
            emptied,
            accepted,
        };
        let turn = self.memory.lives.entry(slot).or_default().advance(seen, wall);
        match turn {
            None => {}
            Some(Turn::NotReady) => out.push(Effect::Note(Note::DpuReady { slot, ready: false })),
            Some(Turn::Ready { new_life: None }) => {
                out.push(Effect::Note(Note::DpuReady { slot, ready: true }))
            }
            Some(Turn::Ready { new_life: Some((from, to, cause)) }) => {
                out.push(Effect::Note(Note::Incarnation { slot, from, to, cause }));
            }
        }
    }

    /// Decides which configurations belong to the present lives.
    fn step_fences(&mut self) {
        let scopes = &self.known.scopes;
        self.memory.fences.retain(|key, _| scopes.contains_key(key));
        let mut accepted = Vec::new();
        for (key, config) in scopes {
            let Location::Here(slot) = self.known.topology.locate(&key.vdpu) else { continue };
            if !self.config.manages(slot) {
                continue;
            }
            if !ha_scope::is_dpu_driven(config.owner) {
                self.memory.fences.remove(key);
                continue;
            }
            let up = self.known.health(slot) == DpuHealth::Up;
            let life = self.memory.lives.get(&slot).filter(|_| up);
            let present = life.and_then(|life| life.incarnation());
            let record = self.memory.fences.get(key);
            match fence::judge(record, &fence::digest(config), present, self.config.policy) {
                Verdict::Live | Verdict::Stale { .. } | Verdict::Undecided => {}
                Verdict::Accept(record) => {
                    accepted.push((slot, key.clone(), record));
                }
            }
        }
        for (slot, key, record) in accepted {
            self.expect_nothing_yet(slot);
            self.memory.fences.insert(key, record);
        }
    }

    /// Until now nothing was to be found in DPU_APPL_DB, so that it holds nothing is no evidence.
    fn expect_nothing_yet(&mut self, slot: Slot) {
        if self.live_scopes(slot).next().is_none()
            && let Some(life) = self.memory.lives.get_mut(&slot)
            && life.evidence == Evidence::Unread
        {
            life.evidence = Evidence::Absent;
        }
    }

    /// Brings the lists of pending operations to where the DPUs say they are.
    fn step_pending(&mut self, wall: WallMs, resolved: &Resolved, out: &mut Vec<Effect>) {
        let Self { known: Known { scopes, topology, .. }, .. } = &*self;
        let gone: Vec<HaScopeConfigKey> = self
            .memory
            .scopes
            .keys()
            .filter(|key| !scopes.contains_key(key) || topology.locate(&key.vdpu) == Location::Elsewhere)
            .cloned()
            .collect();
        let keys: Vec<HaScopeConfigKey> = scopes.keys().cloned().collect();
        for key in gone {
            self.memory.scopes.remove(&key);
        }
        for key in keys {
            let view = self.view(resolved);
            let (Location::Here(slot), Some(config)) = (view.locate(&key), view.known.scopes.get(&key))
            else {
                continue;
            };
            if !view.can_report(slot) {
                continue;
            }
            let state = view.believed_state(&key, config, slot).cloned();
            let incarnation = view.incarnation(slot);
            let before =
                view.memory.scopes.get(&key).map(|memory| memory.pending.clone()).unwrap_or_default();
            let after = match state {
                Some(state) => pending::list(&before, &state, incarnation, &mut self.ids),
                None => Vec::new(),
            };
            note_operations(&key, &before, &after, out);
            let memory = self.memory.scopes.entry(key).or_insert_with(|| ScopeMemory::new(wall));
            memory.set_pending(after, wall);
        }
    }

    fn beat(&mut self, now: Time, wall: WallMs) {
        if self.heartbeat_due.is_none_or(|due| now >= due) {
            for memory in self.memory.scopes.values_mut() {
                memory.heartbeat = wall;
            }
            self.heartbeat_due = Some(now.after_ms(self.config.heartbeat_interval_ms));
        }
    }

    fn view<'a>(&'a self, resolved: &'a Resolved) -> View<'a> {
        View {
            config: &self.config,
            known: &self.known,
            memory: &self.memory,
            store: &self.store,
            resolved,
            scopes_under_way: &self.scopes_under_way,
            stores_read: &self.stores_read,
        }
    }

    fn apply(&mut self, plan: &Plan<Place>, out: &mut Vec<Effect>) {
        let Self { config, known, store, written, .. } = self;
        let mut writes: Vec<Write<Place>> = Vec::new();
        let keeper = Keeper::new(config, known, written);
        store.diff(plan, rank, |row, fields| keeper.is_strangers(row, fields), &mut writes);
        for Write { place, write } in &writes {
            let row = RowId { place: *place, table: write.table, key: write.key.clone() };
            let (Op::Set(fields) | Op::Merge(fields)) = &write.op else { continue };
            if write.table.db() == Db::ApplDb {
                self.written.insert(row);
            } else if write.table == Table::DashHaScope {
                let named = HaScope::from_fields(&write.key, fields).ok().and_then(|scope| scope.ha_set_id);
                if let Some(id) = named.or_else(|| HaSetId::new(write.key.as_str())) {
                    self.scopes_under_way.insert(row, id);
                }
            }
        }
        out.extend(writes.into_iter().map(Effect::Write));
    }

    fn note_stages(&mut self, resolved: &Resolved, scopes: Stages, out: &mut Vec<Effect>) {
        let sets = resolved.iter().map(|(id, resolution)| {
            let stage = match resolution {
                Ok(_) => SetStage::Ready,
                Err(reason) => SetStage::Held(reason.clone()),
            };
            (id.clone(), stage)
        });
        let sets: BTreeMap<HaSetId, SetStage> = sets.collect();
        for (ha_set, from, to) in changes(&self.set_stages, &sets) {
            out.push(Effect::Note(Note::HaSet { ha_set, from, to }));
        }
        for (key, from, to) in changes(&self.scope_stages, &scopes) {
            out.push(Effect::Note(Note::HaScope { key, from, to }));
        }
        self.set_stages = sets;
        self.scope_stages = scopes;
    }
}

impl Core for Hamgr {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Time, batch: Batch<Input>, out: &mut Vec<Effect>) {
        let Batch { wall, inputs } = batch;
        for input in inputs {
            self.take_in(input, wall, out);
        }
        if !self.is_ready() {
            return;
        }
        if !std::mem::replace(&mut self.was_ready, true) {
            out.push(Effect::Note(Note::Ready));
        }
        for slot in self.known.topology.slots() {
            self.step_life(slot, wall, out);
        }
        let resolved = self.known.resolve_all();
        self.step_fences();
        self.step_pending(wall, &resolved, out);
        self.beat(now, wall);

        let mut plan = Plan::new();
        let mut stages = Stages::new();
        let view = self.view(&resolved);
        for slot in view.slots_with_rows() {
            derive_dpu::dpu(&view, slot, &mut plan, &mut stages);
        }
        derive::npu(&view, &mut plan);
        self.apply(&plan, out);
        self.note_stages(&resolved, stages, out);
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        if !self.is_ready() || self.memory.scopes.is_empty() {
            return None;
        }
        self.heartbeat_due.map(|due| (due, "heartbeat"))
    }
}

/// The order of rows: low ranks are written first and removed last. It counts within one database.
fn rank(table: Table) -> u8 {
    match table {
        Table::DpuResetInfo | Table::DashHaSet | Table::NeighResolve => 0,
        Table::DashHaScopeFence | Table::BfdSession | Table::VnetRouteTunnel => 1,
        Table::DashHaScopeState | Table::DashHaScope => 2,
        Table::Dpu
        | Table::RemoteDpu
        | Table::Vdpu
        | Table::DashHaGlobalConfig
        | Table::LoopbackInterface
        | Table::Port
        | Table::DashHaSetConfig
        | Table::DashHaScopeConfig
        | Table::PortTable
        | Table::ChassisMidplane
        | Table::SystemReady
        | Table::BfdSoftwareSession
        | Table::DpuState
        | Table::DashHaSetResult
        | Table::DashHaScopeResult
        | Table::DpuDashHaSetState
        | Table::DpuDashHaScopeState
        | Table::DashBfdProbeState => 3,
    }
}

fn note_operations(
    key: &HaScopeConfigKey,
    before: &[pending::PendingOperation],
    after: &[pending::PendingOperation],
    out: &mut Vec<Effect>,
) {
    let lists = |list: &[pending::PendingOperation], id| list.iter().any(|operation| &operation.id == id);
    for operation in before.iter().filter(|operation| !lists(after, &operation.id)) {
        let (key, kind, id) = (key.clone(), operation.kind, operation.id.clone());
        out.push(Effect::Note(Note::OperationGone { key, kind, id }));
    }
    for operation in after.iter().filter(|operation| !lists(before, &operation.id)) {
        let (key, kind, id) = (key.clone(), operation.kind, operation.id.clone());
        out.push(Effect::Note(Note::OperationPending { key, kind, id }));
    }
}

/// Keys whose value differs between two maps, with both values.
fn changes<K: Ord + Clone, V: PartialEq + Clone>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
) -> Vec<(K, Option<V>, Option<V>)> {
    let keys: BTreeSet<&K> = before.keys().chain(after.keys()).collect();
    let pairs = keys.into_iter().map(|key| (key, before.get(key), after.get(key)));
    let changed = pairs.filter(|(_, from, to)| from != to);
    changed.map(|(key, from, to)| (key.clone(), from.cloned(), to.cloned())).collect()
}
