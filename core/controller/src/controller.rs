//! The controller as a [`Core`]: takes inputs in, looks at the DPUs that they concern, and asks for what follows.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{Batch, Core, IdSource, Op, RowWrite, StoreEvent, StoreUpdate, Time, Write};
use schema::{Db, Fields, Row, Slot, Table, state_db::DpuResetInfo};
use serde::{Deserialize, Serialize};

use crate::contest::Contest;
use crate::dpu::{Cleared, Dpu, Wait, backoff_ms};
use crate::effect::{Effect, Note};
use crate::fleet::{DpuId, Fleet, SwitchName};
use crate::input::Input;
use crate::plan::{plan, rank};
use crate::procedure::Look;
use crate::record::{DpuRecord, Life, Phase};
use crate::switch::SwitchView;
use crate::world::World;

/// How often one batch may make DPUs look at each other's news. More follows a little later.
const ROUNDS_MAX: usize = 8;

/// The SDN controller of one fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Controller {
    fleet: Option<Fleet>,
    /// What the store held at start, kept for DPUs that the fleet does not name yet. `None` before it was read.
    records: Option<BTreeMap<DpuId, DpuRecord>>,
    switches: BTreeMap<SwitchName, SwitchView>,
    dpus: BTreeMap<DpuId, Dpu>,
    /// Switches that refused a write, until they take one.
    refusals: BTreeMap<SwitchName, Refusals>,
    contest: Contest,
    ids: IdSource,
}

/// A switch that refused a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Refusals {
    /// How often in a row.
    tries: u32,
    /// When to try again; absent while a try is under way.
    again_at: Option<Time>,
}

/// What a batch may concern.
#[derive(Default)]
struct Touched {
    dpus: BTreeSet<DpuId>,
    switches: BTreeSet<SwitchName>,
}

impl Controller {
    /// A controller that knows nothing yet. `seed` makes the jitter of its retries.
    pub fn new(seed: u64) -> Self {
        Self {
            fleet: None,
            records: None,
            switches: BTreeMap::new(),
            dpus: BTreeMap::new(),
            refusals: BTreeMap::new(),
            contest: Contest::default(),
            ids: IdSource::new(seed),
        }
    }

    /// The record of a DPU as decided, durable or not.
    pub fn record(&self, dpu: &DpuId) -> Option<&DpuRecord> {
        self.dpus.get(dpu)?.record.as_ref()
    }

    /// Takes one input in, and notes what it may concern.
    fn take(&mut self, now: Time, input: Input, touched: &mut Touched, out: &mut Vec<Effect>) {
        match input {
            Input::Fleet(fleet) => {
                self.take_fleet(fleet);
                touched.dpus.extend(self.dpus.keys().cloned());
                touched.switches.extend(self.switches.keys().cloned());
            }
            Input::Records(records) => {
                if self.records.is_none() {
                    self.records =
                        Some(records.into_iter().map(|record| (record.dpu.clone(), record)).collect());
                    self.restore_records();
                }
                touched.dpus.extend(self.dpus.keys().cloned());
                touched.switches.extend(self.switches.keys().cloned());
            }
            Input::Persisted { record, ok } => {
                touched.dpus.insert(record.dpu.clone());
                self.take_persisted(now, record, ok, out);
            }
            Input::Synced { switch, db } => {
                self.change_switch(&switch, |view| view.set_synced(db, true));
                touched.dpus.extend(self.dpus_of(&switch));
                touched.switches.insert(switch);
            }
            Input::Unsynced { switch, db } => {
                self.change_switch(&switch, |view| view.set_synced(db, false));
                touched.dpus.extend(self.dpus_of(&switch));
            }
            Input::DpuState { switch, slot, row } => {
                self.change_switch(&switch, |view| view.set_dpu_state(slot, row));
                touched.dpus.insert(DpuId { switch, slot });
            }
            Input::ResetInfo { switch, slot, row } => {
                self.change_switch(&switch, |view| view.set_reset(slot, row));
                touched.dpus.insert(DpuId { switch, slot });
            }
            Input::ScopeState { switch, key, row } => {
                let vdpu = self.fleet.as_ref().and_then(|fleet| fleet.vdpu(&key.vdpu));
                touched.dpus.extend(vdpu.map(|vdpu| vdpu.dpu.clone()));
                self.change_switch(&switch, |view| view.set_scope_state(key, row));
            }
            Input::Store(event) => {
                touched.dpus.extend(self.dpus_of(&event.place));
                touched.switches.insert(event.place.clone());
                self.take_store(now, event, out);
            }
        }
    }

    /// Changes what is known of a switch; one that the fleet does not name is nobody's business.
    fn change_switch(&mut self, switch: &SwitchName, change: impl FnOnce(&mut SwitchView)) {
        if let Some(view) = self.switches.get_mut(switch) {
            change(view);
        }
    }

    fn dpus_of(&self, switch: &SwitchName) -> impl Iterator<Item = DpuId> {
        let first = DpuId { switch: switch.clone(), slot: Slot(u8::MIN) };
        let last = DpuId { switch: switch.clone(), slot: Slot(u8::MAX) };
        self.dpus.range(first..=last).map(|(id, _)| id.clone())
    }

    fn take_fleet(&mut self, fleet: Fleet) {
        for name in fleet.switches() {
            self.switches.entry(name.clone()).or_insert_with(|| SwitchView::new(name.clone()));
        }
        self.switches.retain(|name, _| fleet.has_switch(name));
        self.refusals.retain(|name, _| fleet.has_switch(name));
        self.dpus.retain(|id, dpu| {
            let vdpu = fleet.vdpu_at(id).map(|vdpu| &vdpu.id);
            dpu.record.as_ref().map_or(vdpu.is_some(), |record| vdpu == Some(&record.vdpu))
        });
        for vdpu in fleet.vdpus() {
            self.dpus.entry(vdpu.dpu.clone()).or_default();
        }
        self.fleet = Some(fleet);
        self.restore_records();
    }

    /// Gives each DPU what is stored of it. A record of another vDPU says nothing of this one.
    fn restore_records(&mut self) {
        let (Some(records), Some(fleet)) = (&self.records, &self.fleet) else { return };
        for (id, dpu) in self.dpus.iter_mut().filter(|(_, dpu)| dpu.record.is_none()) {
            let vdpu = fleet.vdpu_at(id).map(|vdpu| &vdpu.id);
            if let Some(record) = records.get(id).filter(|record| vdpu == Some(&record.vdpu)) {
                dpu.record = Some(record.clone());
                dpu.stored = Some(record.clone());
            }
        }
    }

    fn take_persisted(&mut self, now: Time, record: DpuRecord, ok: bool, out: &mut Vec<Effect>) {
        let id = record.dpu.clone();
        if ok && let Some(records) = &mut self.records {
            records.insert(id.clone(), record.clone());
        }
        let Some(dpu) = self.dpus.get_mut(&id).filter(|dpu| dpu.persisting.as_ref() == Some(&record)) else {
            return;
        };
        dpu.persisting = None;
        if ok {
            dpu.stored = Some(record);
            dpu.persist_failures = 0;
            dpu.persist_at = None;
        } else if let Some(fleet) = &self.fleet {
            let wait = backoff_ms(fleet.timing(), dpu.persist_failures, &mut self.ids);
            dpu.persist_failures = dpu.persist_failures.saturating_add(1);
            dpu.persist_at = Some(now.after_ms(wait));
            out.push(Effect::Note(Note::NotPersisted { dpu: id }));
        }
    }

    fn take_store(&mut self, now: Time, event: StoreEvent<SwitchName>, out: &mut Vec<Effect>) {
        let (switch, db) = (event.place.clone(), event.db);
        match &event.update {
            StoreUpdate::Written { write, done } if write.table == Table::DpuResetInfo => {
                if let Ok(slot) = DpuResetInfo::parse_key(&write.key) {
                    self.take_clear(now, &DpuId { switch: switch.clone(), slot }, *done);
                }
                if !done {
                    out.push(Effect::Note(Note::Refused { switch: switch.clone() }));
                }
            }
            StoreUpdate::Written { write, done: false } => {
                self.contest
                    .forget(|row| (&row.place, row.table, &row.key) == (&switch, write.table, &write.key));
                self.take_refusal(now, &switch, out);
            }
            StoreUpdate::Written { .. } => {
                self.refusals.remove(&switch);
            }
            StoreUpdate::Lost if db == Db::StateDb => {
                for id in self.dpus_of(&switch).collect::<Vec<_>>() {
                    if let Some(dpu) = self.dpus.get_mut(&id) {
                        dpu.clearing = None;
                    }
                }
            }
            StoreUpdate::Lost => self.contest.forget(|row| row.place == switch),
            StoreUpdate::Snapshot(_) => {}
        }
        self.change_switch(&switch, |view| view.observe(event));
    }

    fn take_clear(&mut self, now: Time, id: &DpuId, is_done: bool) {
        let (Some(fleet), Some(dpu)) = (&self.fleet, self.dpus.get_mut(id)) else { return };
        let Some(life) = dpu.clearing.take() else { return };
        let before = dpu.cleared.filter(|cleared| cleared.life == life).map_or(0, |cleared| cleared.tries);
        let again_at = now.after_ms(backoff_ms(fleet.timing(), before, &mut self.ids));
        dpu.cleared = Some(Cleared { life, is_done, tries: before.saturating_add(1), again_at });
    }

    fn take_refusal(&mut self, now: Time, switch: &SwitchName, out: &mut Vec<Effect>) {
        let Some(fleet) = &self.fleet else { return };
        let refusals = self.refusals.entry(switch.clone()).or_default();
        if refusals.again_at.is_some() {
            return;
        }
        let wait = backoff_ms(fleet.timing(), refusals.tries, &mut self.ids);
        refusals.tries = refusals.tries.saturating_add(1);
        refusals.again_at = Some(now.after_ms(wait));
        out.push(Effect::Note(Note::Refused { switch: switch.clone() }));
    }

    /// The DPUs whose deadline has come.
    fn due(&mut self, now: Time) -> Touched {
        let mut due = Touched::default();
        for (id, dpu) in &self.dpus {
            let deadline = dpu.deadline.is_some_and(|(at, _)| at <= now);
            let persist = dpu.persist_at.is_some_and(|at| at <= now);
            if deadline || persist {
                due.dpus.insert(id.clone());
            }
        }
        for (switch, refusals) in &mut self.refusals {
            if refusals.again_at.is_some_and(|at| at <= now) {
                refusals.again_at = None;
                if let Some(view) = self.switches.get_mut(switch) {
                    view.forgive_refusals();
                }
                due.switches.insert(switch.clone());
            }
        }
        due.switches.extend(self.contest.due(now));
        due
    }

    /// These DPUs and all that share a HA set with one of them.
    fn with_peers(&self, dpus: &BTreeSet<DpuId>) -> BTreeSet<DpuId> {
        let Some(fleet) = &self.fleet else { return BTreeSet::new() };
        let peers = dpus.iter().flat_map(|id| fleet.peers_of(id)).cloned();
        dpus.iter().cloned().chain(peers).collect()
    }

    /// Decides for one DPU. Returns whether anything changed that its peers may care about.
    fn look(&mut self, now: Time, id: &DpuId, notes: &mut Vec<Note>) -> bool {
        let Some(fleet) = &self.fleet else { return false };
        let (Some(vdpu), Some(dpu)) = (fleet.vdpu_at(id), self.dpus.get(id)) else { return false };
        let mut dpu = dpu.clone();
        let before = dpu.record.clone();
        let world = World { fleet, switches: &self.switches, dpus: &self.dpus };
        match world.known(&id.switch) {
            // Unknown is not down: nothing is decided, and nothing has lasted.
            None => {
                dpu.forget_timers();
                dpu.deadline = None;
            }
            Some(view) => Look { world, view, vdpu, now, ids: &mut self.ids, notes }.run(&mut dpu),
        }
        let changed = dpu.record != before;
        self.dpus.insert(id.clone(), dpu);
        changed
    }

    fn wake_later(&mut self, now: Time, id: &DpuId) {
        if let (Some(fleet), Some(dpu)) = (&self.fleet, self.dpus.get_mut(id)) {
            dpu.wake_at(now.after_ms(fleet.timing().retry_ms_min), Wait::Turn);
        }
    }

    fn persist(&mut self, now: Time, id: &DpuId, out: &mut Vec<Effect>) {
        let Some(dpu) = self.dpus.get_mut(id) else { return };
        if dpu.record == dpu.stored {
            // What could not be stored is no longer decided.
            dpu.persist_at = None;
            return;
        }
        if dpu.persisting.is_some() || dpu.persist_at.is_some_and(|at| at > now) {
            return;
        }
        dpu.persist_at = None;
        dpu.persisting.clone_from(&dpu.record);
        out.extend(dpu.persisting.clone().map(Effect::Persist));
    }

    fn write(&mut self, now: Time, switch: &SwitchName, out: &mut Vec<Effect>) {
        let Some(fleet) = &self.fleet else { return };
        let world = World { fleet, switches: &self.switches, dpus: &self.dpus };
        let Some(view) = world.known(switch) else { return };
        let mut plan = plan(&world, switch, view);
        self.contest.hold_back(switch, &mut plan);
        let mut writes = Vec::new();
        if let Some(view) = self.switches.get_mut(switch) {
            let keep = |row: &_, _: &_| !plan.removable.contains(row);
            view.store_mut().diff(&plan.wanted, rank, keep, &mut writes);
        }
        for write in writes {
            if self.contest.note(now, &write, fleet.timing(), &mut self.ids) {
                let (table, key) = (write.write.table, write.write.key.clone());
                out.push(Effect::Note(Note::Contested { switch: switch.clone(), table, key }));
            }
            out.push(Effect::Write(write));
        }
    }

    /// Lowers the reset latch once the procedure is complete.
    ///
    /// SONiC's hamgrd raises it again and again for the same reset (`reference/hamgrd.md` 5.1 step 10), so there it is
    /// lowered once per reset and the two do not fight. A hamgrd that publishes incarnations respects that it was
    /// lowered; if the latch is raised all the same, the clear was lost, with the server's data for one, and is repeated,
    /// as is one that the switch refused, less and less often.
    fn clear_reset(&mut self, now: Time, id: &DpuId, out: &mut Vec<Effect>) {
        let Some(view) = self.switches.get(&id.switch).filter(|view| view.is_known()) else { return };
        let Some(dpu) = self.dpus.get_mut(id).filter(|dpu| dpu.is_settled()) else { return };
        let Some(reset) = view.reset(id.slot).filter(|reset| reset.reset_status) else { return };
        let life = Life::of(Some(reset));
        let is_over = dpu
            .record
            .as_ref()
            .is_none_or(|record| record.phase != Phase::Steady || record.life.is_over(reset));
        let is_ready = view.is_ready(id.slot) && view.can_clear_resets();
        if is_over || !is_ready || dpu.clearing.is_some() {
            return;
        }
        if let Some(cleared) = dpu.cleared.filter(|cleared| cleared.life == life) {
            if cleared.is_done && life.incarnation.is_none() {
                return;
            }
            if now < cleared.again_at {
                dpu.wake_at(cleared.again_at, Wait::LatchToLower);
                return;
            }
        }
        dpu.clearing = Some(life);
        let op = Op::Merge(Fields::from_iter([("reset_status", "false")]));
        let write = RowWrite { table: Table::DpuResetInfo, key: id.slot.to_string(), op };
        out.push(Effect::Write(Write { place: id.switch.clone(), write }));
    }
}

impl Core for Controller {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Time, batch: Batch<Input>, out: &mut Vec<Effect>) {
        let mut touched = self.due(now);
        for input in batch.inputs {
            self.take(now, input, &mut touched, out);
        }
        if self.fleet.is_none() || self.records.is_none() {
            return;
        }
        let mut notes = Vec::new();
        let mut looked_at = BTreeSet::new();
        let mut next = self.with_peers(&touched.dpus);
        for _ in 0..ROUNDS_MAX {
            if next.is_empty() {
                break;
            }
            let mut changed = BTreeSet::new();
            for id in &next {
                if self.look(now, id, &mut notes) {
                    changed.insert(id.clone());
                }
            }
            looked_at.append(&mut next);
            next = self.with_peers(&changed);
        }
        for id in &next {
            self.wake_later(now, id);
        }
        out.extend(notes.into_iter().map(Effect::Note));
        for id in &looked_at {
            self.persist(now, id, out);
            self.clear_reset(now, id, out);
        }
        touched.switches.extend(looked_at.into_iter().map(|id| id.switch));
        for switch in &touched.switches {
            self.write(now, switch, out);
        }
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        let waits = self.dpus.values().filter_map(|dpu| dpu.deadline).map(|(at, why)| (at, why.as_str()));
        let persists = self.dpus.values().filter_map(|dpu| dpu.persist_at).map(|at| (at, "the store failed"));
        let again = self.refusals.values().filter_map(|refusals| refusals.again_at);
        let refusals = again.map(|at| (at, "a switch refused a write"));
        let contest = self.contest.next_at().map(|at| (at, "somebody undoes a write"));
        waits.chain(persists).chain(refusals).chain(contest).min_by_key(|(at, _)| *at)
    }
}
