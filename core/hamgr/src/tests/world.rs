//! The databases around a HA manager, modelled: stores that apply and report writes, DPUs that consume them,
//! and the rows that can be read again by a HA manager that starts anew.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{Batch, Core, Op, OwnedRow, RowId, RowWrite, StoreEvent, StoreUpdate, Time, Write};
use schema::chassis_state_db::DpuHealth;
use schema::dpu_appl_db::{BfdSession, HaScope, HaSet};
use schema::{Db, Fields, HaSetId, Row, Slot, Table, WallMs};

use super::fields;
use crate::{Config, Effect, Hamgr, Input, Note, Place, Source};

/// The most rounds until everything must be quiet.
const ROUNDS_MAX: usize = 40;

type Rows = BTreeMap<(Table, String), (Fields, bool)>;

pub struct World {
    pub hamgr: Hamgr,
    config: Config,
    pub now: Time,
    pub wall: i64,
    queue: Vec<Input>,
    facts: BTreeMap<String, Input>,
    stores: BTreeMap<(Place, Db), Rows>,
    lost: BTreeSet<(Place, Db)>,
    /// DPUs that do not consume DPU_APPL_DB.
    pub idle: BTreeSet<Slot>,
    pub notes: Vec<Note>,
    /// Writes since the last look, in order.
    pub writes: Vec<Write<Place>>,
    /// hamgrd dies after so many more writes.
    pub dies_after_writes: Option<usize>,
    pub died: bool,
    check_order: bool,
}

impl World {
    /// A switch with two DPUs, nothing configured, everything read.
    pub fn empty(config: Config) -> Self {
        let places = [Place::Dpu(Slot(0)), Place::Dpu(Slot(1))];
        let mut stores = BTreeMap::from([
            ((Place::Npu, Db::ApplDb), Rows::new()),
            ((Place::Npu, Db::StateDb), Rows::new()),
        ]);
        stores.extend(places.map(|place| ((place, Db::DpuApplDb), Rows::new())));
        let mut world = Self {
            hamgr: Hamgr::new(config.clone()),
            config,
            now: Time(1_000),
            wall: 1_700_000_000_000,
            queue: Vec::new(),
            facts: BTreeMap::new(),
            stores,
            lost: BTreeSet::new(),
            idle: BTreeSet::new(),
            notes: Vec::new(),
            writes: Vec::new(),
            dies_after_writes: None,
            died: false,
            check_order: true,
        };
        world.start_reading();
        world
    }

    /// The topology of [`fields::topology`], with both DPUs up and HA set and scope 0 configured and settled.
    pub fn running(config: Config) -> Self {
        let mut world = Self::empty(config);
        world.tell(fields::topology());
        world.tell([fields::up(0, "boot-a"), fields::up(1, "boot-a")]);
        world.settle();
        world.tell(fields::ha(0, "1"));
        world.settle();
        world
    }

    pub fn default_running() -> Self {
        Self::running(Config::default())
    }

    fn sources() -> Vec<Source> {
        let dpus = [Slot(0), Slot(1)].map(Source::DpuStateDb);
        [Source::ConfigDb, Source::ApplDb, Source::ChassisStateDb].into_iter().chain(dpus).collect()
    }

    fn start_reading(&mut self) {
        self.queue.clear();
        self.queue.extend(self.facts.values().cloned());
        self.queue.extend(Self::sources().into_iter().map(Input::Synced));
        let stores: Vec<_> = self.stores.keys().copied().filter(|at| !self.lost.contains(at)).collect();
        for at in stores {
            self.report(at);
        }
    }

    /// As a hamgrd that cannot reach one database starts.
    pub fn restart_hamgrd_without(&mut self, missing: Source) {
        self.restart_hamgrd();
        self.queue.retain(|input| *input != Input::Synced(missing));
    }

    /// hamgrd is killed and started again: it knows nothing but what it reads.
    pub fn restart_hamgrd(&mut self) {
        self.config.id_seed += 1;
        self.hamgr = Hamgr::new(self.config.clone());
        self.start_reading();
    }

    /// hamgrd is replaced by one for this DPU alone; there is another for the others.
    pub fn manage_only(&mut self, slot: u8) {
        self.config.slots = Some(BTreeSet::from([Slot(slot)]));
        self.restart_hamgrd();
    }

    /// hamgrd is killed; meanwhile these rows change; then it starts.
    pub fn while_hamgrd_is_dead(&mut self, change: impl FnOnce(&mut World)) {
        change(self);
        self.restart_hamgrd();
    }

    pub fn tell(&mut self, inputs: impl IntoIterator<Item = Input>) {
        for input in inputs {
            self.remember(&input);
            self.queue.push(input);
        }
    }

    pub fn tell_one(&mut self, input: Input) {
        self.tell([input]);
    }

    fn remember(&mut self, input: &Input) {
        let (key, present) = match input {
            Input::Dpu(key, row) => (format!("0dpu {key}"), row.is_some()),
            Input::RemoteDpu(key, row) => (format!("0remote {key}"), row.is_some()),
            Input::Vdpu(key, row) => (format!("0vdpu {key}"), row.is_some()),
            Input::GlobalConfig(row) => ("0global".to_owned(), row.is_some()),
            Input::Loopback(key, present) => (format!("0loopback {key:?}"), *present),
            Input::HaSetConfig(key, row) => (format!("1set {key}"), row.is_some()),
            Input::HaScopeConfig(key, row) => (format!("1scope {key}"), row.is_some()),
            Input::DpuState(slot, row) => (format!("2state {slot}"), row.is_some()),
            Input::BfdProbe(slot, row) => (format!("3bfd {slot}"), row.is_some()),
            Input::DpuHaScopeState(slot, key, row) => (format!("3scope {slot} {key}"), row.is_some()),
            Input::Synced(_) | Input::Unsynced(_) | Input::Store(_) => return,
        };
        if present {
            self.facts.insert(key, input.clone());
        } else {
            self.facts.remove(&key);
        }
    }

    /// The present health of a DPU.
    pub fn health(&self, slot: u8) -> DpuHealth {
        match self.facts.get(&format!("2state {}", Slot(slot))) {
            Some(Input::DpuState(_, Some(state))) => state.health(),
            _ => DpuHealth::Unknown,
        }
    }

    /// Gives the HA manager everything that waits, and carries out what it asks for.
    pub fn step(&mut self) -> usize {
        self.now = self.now.after_ms(1);
        self.wall += 1;
        let batch = Batch { wall: WallMs(self.wall), inputs: std::mem::take(&mut self.queue) };
        let mut effects = Vec::new();
        self.hamgr.handle(self.now, batch, &mut effects);
        let mut touched = BTreeSet::new();
        let mut count = 0;
        for effect in effects {
            match effect {
                Effect::Note(note) => self.notes.push(note),
                Effect::Write(write) => {
                    if let Some(left) = self.dies_after_writes.as_mut() {
                        if *left == 0 {
                            self.dies_after_writes = None;
                            self.died = true;
                            self.consume_all();
                            self.restart_hamgrd();
                            return 1;
                        }
                        *left -= 1;
                    }
                    count += 1;
                    touched.extend(self.carry_out(write));
                }
            }
        }
        for at in touched {
            self.report(at);
            self.consume(at);
        }
        count
    }

    fn carry_out(&mut self, write: Write<Place>) -> Option<(Place, Db)> {
        self.writes.push(write.clone());
        let Write { place, write } = write;
        let at = (place, write.table.db());
        if self.lost.contains(&at) {
            return None;
        }
        let rows = self.stores.get_mut(&at).unwrap_or_else(|| panic!("a write to {at:?}, which nobody has"));
        let id = (write.table, write.key.clone());
        match &write.op {
            Op::Set(fields) => {
                assert!(!fields.is_empty(), "an empty row: {write:?}");
                rows.insert(id, (fields.clone(), false));
            }
            Op::Merge(fields) => rows.entry(id).or_default().0.merge(fields),
            Op::Del => {
                rows.remove(&id);
            }
        }
        self.check_order(&write);
        let update = StoreUpdate::Written { write, done: true };
        self.queue.push(Input::Store(StoreEvent { place: at.0, db: at.1, update }));
        Some(at)
    }

    /// P5 after every single write.
    fn check_order(&self, write: &RowWrite) {
        for ((place, db), rows) in self.stores.iter().filter(|_| self.check_order) {
            if *db != Db::DpuApplDb {
                continue;
            }
            for ((_, key), (fields, _)) in rows.iter().filter(|((table, _), _)| *table == Table::DashHaScope)
            {
                let scope = HaScope::from_fields(key, fields).unwrap();
                let set = scope.ha_set_id.or_else(|| HaSetId::new(key.as_str())).unwrap();
                assert!(
                    rows.contains_key(&(Table::DashHaSet, HaSet::key_text(&set))),
                    "P5: scope {key} in {place:?} without its HA set {set} after {write:?}"
                );
            }
        }
    }

    pub fn do_not_check_order(&mut self) {
        self.check_order = false;
    }

    fn report(&mut self, at: (Place, Db)) {
        if self.lost.contains(&at) {
            return;
        }
        let snapshot = self.snapshot_of(at.0, at.1);
        self.queue.push(snapshot);
    }

    /// What a store tells of a database.
    pub fn snapshot_of(&self, place: Place, db: Db) -> Input {
        let rows = self.stores[&(place, db)].iter().map(|((table, key), (fields, consumed))| OwnedRow {
            table: *table,
            key: key.clone(),
            fields: fields.clone(),
            consumed: *consumed,
        });
        let update = StoreUpdate::Snapshot(rows.collect());
        Input::Store(StoreEvent { place, db, update })
    }

    /// A store tells this after its answers to writes and before what it has read since.
    pub fn tell_before_what_was_read(&mut self, place: Place, db: Db, snapshot: Input) {
        let is_read = |input: &Input| {
            let Input::Store(event) = input else { return false };
            (event.place, event.db) == (place, db) && matches!(event.update, StoreUpdate::Snapshot(_))
        };
        let at = self.queue.iter().position(is_read).expect("it was read");
        self.queue.insert(at, snapshot);
    }

    /// A store tells this before everything that waits.
    pub fn tell_first(&mut self, input: Input) {
        self.queue.insert(0, input);
    }

    fn consume(&mut self, at: (Place, Db)) {
        if matches!(at.0, Place::Dpu(slot) if self.idle.contains(&slot)) {
            return;
        }
        let rows = self.stores.get_mut(&at).unwrap();
        if rows.values().all(|(_, consumed)| *consumed) {
            return;
        }
        rows.values_mut().for_each(|(_, consumed)| *consumed = true);
        self.report(at);
    }

    pub fn consume_all(&mut self) {
        let stores: Vec<_> = self.stores.keys().copied().collect();
        stores.into_iter().for_each(|at| self.consume(at));
    }

    /// Lets everything happen that follows; the number of writes.
    pub fn settle(&mut self) -> usize {
        let mut count = 0;
        for _ in 0..ROUNDS_MAX {
            let wrote = self.step();
            count += wrote;
            if wrote == 0 && self.queue.is_empty() {
                return count;
            }
        }
        panic!("never quiet: {:?}", self.writes.iter().rev().take(10).collect::<Vec<_>>());
    }

    /// P6.
    pub fn assert_quiet(&mut self) {
        self.writes.clear();
        assert_eq!((self.settle(), &self.writes[..]), (0, &[][..]), "P6: writes at the fixed point");
    }

    pub fn flush(&mut self, place: Place, db: Db) {
        self.stores.get_mut(&(place, db)).unwrap().clear();
        self.report((place, db));
    }

    /// A database is emptied, and nobody has noticed it yet.
    pub fn flush_unnoticed(&mut self, place: Place, db: Db) {
        self.stores.get_mut(&(place, db)).unwrap().clear();
    }

    /// What a store would have reported is lost with its connection.
    pub fn forget_reports_of(&mut self, place: Place, db: Db) {
        self.queue
            .retain(|input| !matches!(input, Input::Store(event) if (event.place, event.db) == (place, db)));
    }

    pub fn lose(&mut self, place: Place, db: Db) {
        self.lost.insert((place, db));
        self.queue.push(Input::Store(StoreEvent { place, db, update: StoreUpdate::Lost }));
    }

    pub fn find(&mut self, place: Place, db: Db) {
        self.lost.remove(&(place, db));
        self.report((place, db));
    }

    /// Somebody else writes a row.
    pub fn put<R: Row>(&mut self, place: Place, key: &R::Key, row: &R) {
        self.put_fields(place, R::TABLE, &R::key_text(key), row.to_fields());
    }

    pub fn put_fields(&mut self, place: Place, table: Table, key: &str, fields: Fields) {
        let at = (place, table.db());
        self.stores.get_mut(&at).unwrap().insert((table, key.to_owned()), (fields, true));
        self.report(at);
    }

    /// Somebody else removes a row.
    pub fn remove(&mut self, place: Place, table: Table, key: &str) {
        self.stores.get_mut(&(place, table.db())).unwrap().remove(&(table, key.to_owned()));
        self.report((place, table.db()));
    }

    pub fn get<R: Row>(&self, place: Place, key: &R::Key) -> Option<R> {
        let RowId { key, .. } = RowId::of::<R>(place, key);
        let (fields, _) = self.stores[&(place, R::TABLE.db())].get(&(R::TABLE, key.clone()))?;
        Some(R::from_fields(&key, fields).unwrap())
    }

    pub fn keys(&self, place: Place, table: Table) -> Vec<String> {
        let rows = self.stores[&(place, table.db())].keys();
        rows.filter(|(of, _)| *of == table).map(|(_, key)| key.clone()).collect()
    }

    pub fn is_empty(&self, place: Place, db: Db) -> bool {
        self.stores[&(place, db)].is_empty()
    }

    /// All rows of a database.
    pub fn dump(&self, place: Place, db: Db) -> Vec<(Table, String, Fields)> {
        let rows = self.stores[&(place, db)].iter();
        rows.map(|((table, key), (fields, _))| (*table, key.clone(), fields.clone())).collect()
    }

    // The rows that most stories are about.

    pub fn set_row(&self, slot: u8, id: &str) -> Option<HaSet> {
        self.get(Place::Dpu(Slot(slot)), &fields::set_id(id))
    }

    pub fn scope_row(&self, slot: u8, id: &str) -> Option<HaScope> {
        self.get(Place::Dpu(Slot(slot)), &fields::scope_id(id))
    }

    pub fn bfd_rows(&self, slot: u8) -> Vec<String> {
        self.keys(Place::Dpu(Slot(slot)), BfdSession::TABLE)
    }

    pub fn state_row(&self, key: &str) -> Option<schema::state_db::HaScopeState> {
        self.get(Place::Npu, &fields::scope_key(key))
    }

    pub fn reset_info(&self, slot: u8) -> Option<schema::state_db::DpuResetInfo> {
        self.get(Place::Npu, &Slot(slot))
    }

    pub fn fence_row(&self, key: &str) -> Option<schema::state_db::HaScopeFence> {
        self.get(Place::Npu, &fields::scope_key(key))
    }

    pub fn incarnation(&self, slot: u8) -> u64 {
        self.reset_info(slot).unwrap().incarnation.unwrap()
    }

    /// A DPU boots: its databases are emptied, then it comes up.
    pub fn boot(&mut self, slot: u8, boot_id: &str) {
        self.empty_dpu(slot);
        self.tell_one(fields::up(slot, boot_id));
    }

    /// What `dpu-dbclean` does to the databases.
    pub fn empty_dpu(&mut self, slot: u8) {
        let stale = format!("3scope {} ", Slot(slot));
        let rows: Vec<Input> = self
            .facts
            .iter()
            .filter(|(key, _)| key.starts_with(&stale))
            .map(|(_, input)| input.clone())
            .collect();
        for row in rows {
            if let Input::DpuHaScopeState(slot, id, _) = row {
                self.tell_one(Input::DpuHaScopeState(slot, id, None));
            }
        }
        self.tell_one(Input::BfdProbe(Slot(slot), None));
        self.flush(Place::Dpu(Slot(slot)), Db::DpuApplDb);
    }
}
