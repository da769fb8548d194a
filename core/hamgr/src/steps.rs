//! What the HA manager remembers, step by step: what the stores report, the lives of the DPUs, the fences of
//! the scopes, their pending operations.

use std::collections::BTreeSet;

use reconcile::{Op, RowId, RowWrite, StoreEvent, StoreUpdate, Time};
use schema::appl_db::HaScopeConfigKey;
use schema::chassis_state_db::{DpuHealth, DpuState};
use schema::dpu_appl_db::{HaScope, HaSet};
use schema::state_db::{DpuResetInfo, HaScopeFence, HaScopeState};
use schema::{Db, HaSetId, Row, Slot, Table, WallMs};

use crate::fence::{self, Verdict};
use crate::ha_scope;
use crate::hamgr::Hamgr;
use crate::incarnation::{Evidence, Life, Seen, Turn};
use crate::input::{Effect, Place};
use crate::known::{Known, Resolved};
use crate::note::Note;
use crate::pending;
use crate::scope_state::ScopeMemory;
use crate::topology::Location;

/// For how long a row that we wrote may stand in DPU_APPL_DB without telling that what is missing there was deleted by itself, ms.
/// Over ZMQ a snapshot also tells what became of the peer, between two readings of the database, and what a stranger did
/// counts once it has stood for half a second (`zmq::SETTLE_MS`): only one that comes later than that was surely read after
/// the write.
const WRITTEN_LATELY_MS: u64 = 2_000;

impl Hamgr {
    pub(crate) fn observe(
        &mut self,
        now: Time,
        event: StoreEvent<Place>,
        wall: WallMs,
        out: &mut Vec<Effect>,
    ) {
        let (place, db) = (event.place, event.db);
        let is_snapshot = match &event.update {
            StoreUpdate::Snapshot(_) => true,
            StoreUpdate::Written { .. } | StoreUpdate::Lost => false,
        };
        let written = match &event.update {
            StoreUpdate::Written { write, done: true } => Some(write.clone()),
            StoreUpdate::Written { done: false, .. } | StoreUpdate::Snapshot(_) | StoreUpdate::Lost => None,
        };
        let is_lost = event.update == StoreUpdate::Lost;
        if let (Place::Dpu(_), Db::DpuApplDb, true) = (place, db, is_lost) {
            // They may have been carried out all the same.
            let under_way = |row: &RowId<Place>| self.store.is_under_way(row);
            let rows = self.rows_of_life(place).into_iter().chain(self.scopes_under_way.keys().cloned());
            let unsure: Vec<RowId<Place>> = rows.filter(|row| row.place == place && under_way(row)).collect();
            self.written_lately.extend(unsure.iter().map(|row| (row.clone(), now)));
            self.written_unread.extend(unsure);
        }
        let before = if is_snapshot && db == Db::DpuApplDb { self.rows_of_life(place) } else { Vec::new() };
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
                self.note_evidence(now, slot, is_snapshot, written.as_ref());
                if is_snapshot {
                    self.note_vanished(now, slot, first, &before);
                }
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

    fn note_evidence(&mut self, now: Time, slot: Slot, is_snapshot: bool, written: Option<&RowWrite>) {
        let any = self.has_rows(slot);
        if let Some(RowWrite { table: table @ (Table::DashHaSet | Table::DashHaScope), key, .. }) = written {
            let row = RowId { place: Place::Dpu(slot), table: *table, key: key.clone() };
            self.written_lately.insert(row.clone(), now);
            self.written_unread.insert(row);
        }
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
        if life.evidence == Evidence::Vanished {
            return;
        }
        if any && (is_snapshot || set) {
            life.evidence = Evidence::Present;
        } else if !any && del {
            life.evidence = Evidence::Absent;
        }
    }

    /// Rows are there, or on their way, and yet the database may have been emptied: if rows that were there `before` are
    /// gone, and those that are left were written lately, they were written after it was emptied. What an earlier process
    /// wrote last is not known; but none ever leaves a scope without its set.
    fn note_vanished(&mut self, now: Time, slot: Slot, first: bool, before: &[RowId<Place>]) {
        let place = Place::Dpu(slot);
        let has_orphan = || {
            let view = self.store.rows_of(&place, Table::DashHaScope);
            let mut sets = view.filter_map(|(row, fields)| {
                let named = HaScope::from_fields(&row.key, fields).ok().and_then(|scope| scope.ha_set_id);
                named.or_else(|| HaSetId::new(row.key.as_str()))
            });
            sets.any(|id| self.store.fields(&RowId::of::<HaSet>(place, &id)).is_none())
        };
        self.written_lately.retain(|_, at| now < at.after_ms(WRITTEN_LATELY_MS));
        let is_there = |row: &RowId<Place>| self.store.fields(row).is_some();
        // A row that we deleted, or may have deleted, is missed by nobody.
        let is_ours = |row: &RowId<Place>| {
            self.written_unread.contains(row) || matches!(self.store.under_way(row), Some(Op::Del))
        };
        let mut missed = before.iter().filter(|row| !is_there(row) && !is_ours(row));
        let has_vanished = (first && has_orphan())
            || missed.next().is_some()
                && before.iter().all(|row| !is_there(row) || self.written_lately.contains_key(row));
        self.written_unread.retain(|row| row.place != place);
        if has_vanished {
            self.memory.lives.entry(slot).or_default().evidence = Evidence::Vanished;
        }
    }

    /// The confirmed HA set and HA scope rows of a DPU.
    fn rows_of_life(&self, place: Place) -> Vec<RowId<Place>> {
        let tables = [Table::DashHaSet, Table::DashHaScope].into_iter();
        tables.flat_map(|table| self.store.rows_of(&place, table)).map(|(row, _)| row.clone()).collect()
    }

    fn has_rows(&self, slot: Slot) -> bool {
        let place = Place::Dpu(slot);
        [Table::DashHaSet, Table::DashHaScope]
            .into_iter()
            .any(|table| self.store.rows_of(&place, table).next().is_some())
    }

    /// Scopes of which some configuration was accepted in the present life of the DPU.
    fn live_scopes(&self, slot: Slot) -> impl Iterator<Item = (&HaScopeConfigKey, HaSetId)> {
        let present = self.incarnation(slot);
        self.known.scopes.iter().filter_map(move |(key, config)| {
            let record = self.memory.fences.get(key)?;
            let live = self.known.topology.locate(&key.vdpu) == Location::Here(slot)
                && Some(record.incarnation) == present;
            if live { Some((key, config.ha_set(key)?)) } else { None }
        })
    }

    /// Whether somebody emptied DPU_APPL_DB: rows were seen to vanish; or a scope was applied in this life, its HA set ought
    /// to be there, and none of our HA set and HA scope rows is left.
    fn is_emptied(&mut self, slot: Slot) -> bool {
        let place = Place::Dpu(slot);
        if !self.store.is_ready(&place, Db::DpuApplDb) {
            return false;
        }
        if self.memory.lives.get(&slot).is_some_and(|life| life.evidence == Evidence::Vanished) {
            return true;
        }
        if self.has_rows(slot) {
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
        let (nothing_accepted, nothing_expected) = (sets.is_empty(), expected.is_empty());
        let life = self.memory.lives.entry(slot).or_default();
        if nothing_accepted {
            life.evidence = Evidence::Absent;
        }
        match life.evidence {
            // Rows that were there are missed even while the configuration does not tell how to write them again.
            Evidence::Present | Evidence::Vanished => true,
            Evidence::Unread => !nothing_expected,
            Evidence::Absent => false,
        }
    }

    pub(crate) fn step_life(&mut self, slot: Slot, wall: WallMs, out: &mut Vec<Effect>) {
        if !self.was_ready
            || !self.is_ready()
            || !self.config.manages(slot)
            || self.known.topology.local(slot).is_none()
        {
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

    /// What this process finds when it comes was written in the lives that STATE_DB has on record, as far as it can
    /// tell. If one of them turns out to be over, the controller has to write it again (P3).
    pub(crate) fn fence_what_was_found(&mut self) {
        self.fence(|_, life| {
            let info = life.info.as_ref()?;
            info.incarnation.filter(|_| info.dpu_ready == Some(true))
        });
    }

    /// Decides which configurations belong to the present lives.
    pub(crate) fn step_fences(&mut self) {
        self.fence(|health, life| life.incarnation().filter(|_| health == DpuHealth::Up));
    }

    /// `life_of` tells the life in which what is there is accepted, if it is to be decided.
    fn fence(&mut self, life_of: impl Fn(DpuHealth, &Life) -> Option<u64>) {
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
            let health = self.known.health(slot);
            let present = self.memory.lives.get(&slot).and_then(|life| life_of(health, life));
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
            self.memory.lives.entry(slot).or_default().was_used = true;
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
    pub(crate) fn step_pending(&mut self, wall: WallMs, resolved: &Resolved, out: &mut Vec<Effect>) {
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
            let approved = config.approved_pending_operation_ids.clone();
            let memory = self.memory.scopes.entry(key.clone()).or_insert_with(|| ScopeMemory::new(wall));
            let known = match std::mem::take(&mut memory.is_found) {
                true => pending::certain(&memory.pending, &approved),
                false => memory.pending.clone(),
            };
            let after = match state {
                Some(state) => pending::list(&known, &state, incarnation, &mut self.ids),
                None => Vec::new(),
            };
            note_operations(&key, &memory.pending, &after, out);
            memory.set_pending(after, wall);
        }
    }
}

pub(crate) fn note_operations(
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
