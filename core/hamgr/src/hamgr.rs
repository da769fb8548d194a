//! The HA manager itself: inputs in, steps in order, effects out.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{Batch, Core, IdSource, Op, Plan, Reconciler, RowId, Time, Write};
use schema::appl_db::HaScopeConfigKey;
use schema::dpu_appl_db::HaScope;
use schema::{Db, HaSetId, Row, Slot, Table, WallMs};
use serde::{Deserialize, Serialize};

use crate::derive::{self, Memory, View};
use crate::derive_dpu::{self, Stages};
use crate::input::{Config, Effect, Input, Place};
use crate::keep::Keeper;
use crate::known::{Known, Resolved};
use crate::note::{Note, ScopeStage, SetStage};
use crate::steps::note_operations;

/// The HA manager of a switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hamgr {
    pub(crate) config: Config,
    pub(crate) ids: IdSource,
    pub(crate) known: Known,
    pub(crate) memory: Memory,
    pub(crate) store: Reconciler<Place>,
    pub(crate) stores_read: BTreeSet<(Place, Db)>,
    /// Scopes whose configuration was deleted before STATE_DB was read: what it says of them is over.
    pub(crate) deleted_unread: BTreeSet<HaScopeConfigKey>,
    #[serde(with = "reconcile::as_pairs")]
    pub(crate) scopes_under_way: BTreeMap<RowId<Place>, HaSetId>,
    /// Rows of APPL_DB, a database with many writers, that this process wrote.
    pub(crate) written: BTreeSet<RowId<Place>>,
    /// HA set and HA scope rows that were, or may have been, written since DPU_APPL_DB was last read: that they are
    /// there does not tell that it was not emptied.
    pub(crate) written_unread: BTreeSet<RowId<Place>>,
    /// When HA set and HA scope rows were written last, if that is not long ago.
    #[serde(with = "reconcile::as_pairs")]
    pub(crate) written_lately: BTreeMap<RowId<Place>, Time>,
    heartbeat_due: Option<Time>,
    pub(crate) was_ready: bool,
    set_stages: BTreeMap<HaSetId, SetStage>,
    #[serde(with = "reconcile::as_pairs")]
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
            written_unread: BTreeSet::new(),
            written_lately: BTreeMap::new(),
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

    pub(crate) fn has_read_state_db(&self) -> bool {
        self.stores_read.contains(&(Place::Npu, Db::StateDb))
    }

    fn take_in(&mut self, now: Time, input: Input, wall: WallMs, out: &mut Vec<Effect>) {
        if let Input::Store(event) = input {
            self.observe(now, event, wall, out);
            return;
        }
        if let Input::HaScopeConfig(key, None) = &input {
            self.forget_scope(key, out);
        }
        let dpu_state_of = if let Input::DpuState(slot, _) = &input { Some(*slot) } else { None };
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

    fn beat(&mut self, now: Time, wall: WallMs) {
        if self.heartbeat_due.is_none_or(|due| now >= due) {
            for memory in self.memory.scopes.values_mut() {
                memory.heartbeat = wall;
            }
            self.heartbeat_due = Some(now.after_ms(self.config.heartbeat_interval_ms));
        }
    }

    pub(crate) fn view<'a>(&'a self, resolved: &'a Resolved) -> View<'a> {
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
            self.take_in(now, input, wall, out);
        }
        if !self.is_ready() {
            return;
        }
        if !std::mem::replace(&mut self.was_ready, true) {
            out.push(Effect::Note(Note::Ready));
            self.fence_what_was_found();
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

/// The order of rows within a database: tables of an earlier line are written first and removed last.
const ORDER: [&[Table]; 3] = [
    &[Table::DpuResetInfo, Table::DashHaSet, Table::NeighResolve],
    &[Table::DashHaScopeFence, Table::BfdSession, Table::VnetRouteTunnel],
    &[Table::DashHaScopeState, Table::DashHaScope],
];

fn rank(table: Table) -> u8 {
    let line = ORDER.iter().position(|tables| tables.contains(&table)).unwrap_or(ORDER.len());
    u8::try_from(line).unwrap_or(u8::MAX)
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
