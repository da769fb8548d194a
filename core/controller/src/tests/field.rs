//! The field: modelled switches, a durable store, and the controller, in virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use reconcile::{Batch, Core, IdSource, Op, OwnedRow, StoreEvent, StoreUpdate, Time};
use schema::appl_db::HaScopeConfigKey;
use schema::chassis_state_db::{DpuHealth, DpuState};
use schema::state_db::{DpuResetInfo, HaScopeState};
use schema::{
    AsicHaState, Db, DesiredHaState, HaSetId, OperationId, OperationType, Slot, Table, VdpuId, WallMs,
};

use super::checks::count_approvals;
use super::model::{ModelDpu, ModelSwitch};
use crate::*;

/// Virtual time at which a story begins, as wall-clock time.
const WALL_START_MS: i64 = 1_700_000_000_000;

/// More exchanges than any story needs before all is quiet.
const EXCHANGES_MAX: usize = 10_000;

/// What the controller was told of a switch.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    reachable: bool,
    dpu_states: BTreeMap<Slot, Option<DpuState>>,
    resets: BTreeMap<Slot, DpuResetInfo>,
    states: BTreeMap<HaScopeConfigKey, HaScopeState>,
    snapshot: Option<Vec<OwnedRow>>,
}

pub struct Field {
    pub controller: Controller,
    pub store: BTreeMap<DpuId, DpuRecord>,
    pub store_fails: bool,
    pub refuses_writes: bool,
    /// A switch that is slow to take HA scope configurations: they are under way until released.
    pub holds_scopes_of: Option<SwitchName>,
    held: Vec<Effect>,
    pub switches: BTreeMap<SwitchName, ModelSwitch>,
    pub fleet: Fleet,
    pub now: Time,
    /// The DPU-to-DPU channels are cut.
    pub channel_cut: bool,
    told: BTreeMap<SwitchName, Told>,
    inbox: VecDeque<Input>,
    ids: IdSource,
    /// Everything the controller asked for, in order.
    pub log: Vec<Effect>,
    /// The controller dies after that many further effects.
    pub dies_after: Option<usize>,
    pub crashes: usize,
    /// How often each id was put into a row that did not have it.
    pub(super) approvals: BTreeMap<OperationId, usize>,
    pub(super) ever_cut: bool,
}

pub fn switch_name(name: &str) -> SwitchName {
    SwitchName::new(name).unwrap()
}

pub fn vdpu_id(name: &str) -> VdpuId {
    VdpuId::new(name).unwrap()
}

/// Two switches with `sets` DPUs each; HA set n pairs the n-th DPUs, the one of switch0 active.
pub fn fleet_of(sets: u8) -> Fleet {
    fleet_with(sets, |_| {}, |_| {})
}

pub fn fleet_with(sets: u8, vdpus: impl Fn(&mut VdpuIntent), ha_sets: impl Fn(&mut HaSetIntent)) -> Fleet {
    let mut all_vdpus = Vec::new();
    let mut all_sets = Vec::new();
    for slot in 0..sets {
        for switch in 0..2 {
            let mut vdpu = VdpuIntent {
                id: vdpu_id(&format!("vdpu{switch}_{slot}")),
                dpu: DpuId { switch: switch_name(&format!("switch{switch}")), slot: Slot(slot) },
                admin: Admin::Up,
            };
            vdpus(&mut vdpu);
            all_vdpus.push(vdpu);
        }
        let mut set = HaSetIntent {
            id: HaSetId::new(format!("haset{slot}")).unwrap(),
            vip_v4: Some(format!("10.3.0.{}", slot + 1).parse().unwrap()),
            vip_v6: None,
            vdpus: vec![vdpu_id(&format!("vdpu0_{slot}")), vdpu_id(&format!("vdpu1_{slot}"))],
            active: vdpu_id(&format!("vdpu0_{slot}")),
        };
        ha_sets(&mut set);
        all_sets.push(set);
    }
    let switches = vec![switch_name("switch0"), switch_name("switch1")];
    Fleet::new(switches, all_vdpus, all_sets, Timing::default(), ApprovalPolicy::default()).unwrap()
}

impl Field {
    /// Nothing has started yet; DPUs are up.
    pub fn new(fleet: Fleet) -> Self {
        let mut switches = BTreeMap::new();
        for name in fleet.switches() {
            let dpus =
                fleet.vdpus_on(name).map(|vdpu| ModelDpu::new(vdpu.id.as_str(), vdpu.dpu.slot.0)).collect();
            switches.insert(name.clone(), ModelSwitch::new(dpus));
        }
        let mut field = Self {
            controller: Controller::new(0),
            store: BTreeMap::new(),
            store_fails: false,
            refuses_writes: false,
            holds_scopes_of: None,
            held: Vec::new(),
            switches,
            fleet,
            now: Time(0),
            channel_cut: false,
            told: BTreeMap::new(),
            inbox: VecDeque::new(),
            ids: IdSource::new(7),
            log: Vec::new(),
            dies_after: None,
            crashes: 0,
            approvals: BTreeMap::new(),
            ever_cut: false,
        };
        field.start_controller();
        field
    }

    /// One HA set, started and settled: vdpu0_0 active, vdpu1_0 standby.
    pub fn settled() -> Self {
        let mut field = Self::new(fleet_of(1));
        field.run_ms(10_000);
        assert_eq!(field.roles(), [Some(AsicHaState::Active), Some(AsicHaState::Standby)]);
        field.log.clear();
        field
    }

    /// A new controller: all it has is the store and what it reads.
    pub fn start_controller(&mut self) {
        self.controller = Controller::new(self.now.0);
        self.told.clear();
        self.inbox.clear();
        self.inbox.push_back(Input::Fleet(self.fleet.clone()));
        self.inbox.push_back(Input::Records(self.store.values().cloned().collect()));
    }

    pub fn reload(&mut self, fleet: Fleet) {
        self.fleet = fleet.clone();
        self.inbox.push_back(Input::Fleet(fleet));
    }

    /// Carries out what was held back.
    pub fn release(&mut self) {
        self.holds_scopes_of = None;
        for effect in std::mem::take(&mut self.held) {
            self.carry_out(&effect);
        }
    }

    /// Something happens that no model would do.
    pub fn happen(&mut self, input: Input) {
        self.inbox.push_back(input);
    }

    pub fn switch(&mut self, name: &str) -> &mut ModelSwitch {
        self.switches.get_mut(&switch_name(name)).unwrap()
    }

    /// `vdpu<switch>_<slot>`.
    pub fn dpu(&mut self, vdpu: &str) -> &mut ModelDpu {
        let vdpu = vdpu_id(vdpu);
        self.switches.values_mut().flat_map(|switch| &mut switch.dpus).find(|dpu| dpu.vdpu == vdpu).unwrap()
    }

    pub fn roles(&mut self) -> [Option<AsicHaState>; 2] {
        [self.dpu("vdpu0_0").asic, self.dpu("vdpu1_0").asic]
    }

    pub fn desired(&self, vdpu: &str) -> Option<DesiredHaState> {
        let vdpu = vdpu_id(vdpu);
        self.switches
            .values()
            .find_map(|switch| switch.scope(&vdpu))
            .map(|(_, config)| config.desired_ha_state)
    }

    pub fn version(&self, vdpu: &str) -> Option<u32> {
        let vdpu = vdpu_id(vdpu);
        self.switches
            .values()
            .find_map(|switch| switch.scope(&vdpu))
            .map(|(_, config)| config.version.parse().unwrap())
    }

    pub fn phase(&self, vdpu: &str) -> Option<Phase> {
        let vdpu = self.fleet.vdpu(&vdpu_id(vdpu)).unwrap();
        self.controller.record(&vdpu.dpu).map(|record| record.phase)
    }

    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        self.log.iter().filter_map(|effect| match effect {
            Effect::Note(note) => Some(note),
            Effect::Persist(_) | Effect::Write(_) => None,
        })
    }

    pub fn begun(&self) -> Vec<(String, Reason)> {
        let begun = |note: &Note| match note {
            Note::Begun { vdpu, reason, .. } => Some((vdpu.to_string(), *reason)),
            _ => None,
        };
        self.notes().filter_map(begun).collect()
    }

    /// Writes as `switch table key op`, in order.
    pub fn writes(&self) -> Vec<String> {
        let name = |op: &Op| match op {
            Op::Set(_) => "set",
            Op::Merge(_) => "merge",
            Op::Del => "del",
        };
        self.log
            .iter()
            .filter_map(|effect| match effect {
                Effect::Write(write) => {
                    let row = &write.write;
                    Some(format!("{} {} {} {}", write.place, row.table, row.key, name(&row.op)))
                }
                Effect::Persist(_) | Effect::Note(_) => None,
            })
            .collect()
    }

    /// Lets `ms` milliseconds pass, with everything that happens in them.
    pub fn run_ms(&mut self, ms: u64) {
        let end = self.now.after_ms(ms);
        loop {
            self.settle();
            match self.controller.next_deadline() {
                Some((at, why)) if at <= end => {
                    assert!(at >= self.now, "a deadline in the past: {why}");
                    self.now = at;
                    self.deliver(vec![]);
                    let next = self.controller.next_deadline();
                    assert!(
                        next.is_none_or(|(next, _)| next > at),
                        "woken again at once: {why} then {next:?}"
                    );
                }
                Some(_) | None => break,
            }
        }
        self.now = end;
        self.settle();
    }

    /// Runs everybody until nobody has anything to say.
    pub fn settle(&mut self) {
        for _ in 0..EXCHANGES_MAX {
            let asics = self.step_dpus();
            let wall = self.wall();
            let mut hamgrds = false;
            for switch in self.switches.values_mut() {
                hamgrds |= switch.step_hamgrd(wall);
            }
            self.check();
            self.tell();
            let inputs: Vec<Input> = self.inbox.drain(..).collect();
            if !asics && !hamgrds && inputs.is_empty() {
                return;
            }
            if !inputs.is_empty() {
                self.deliver(inputs);
            }
        }
        panic!("nothing settles: {:?}", &self.log[self.log.len().saturating_sub(20)..]);
    }

    fn wall(&self) -> WallMs {
        WallMs(WALL_START_MS + self.now.0 as i64)
    }

    fn step_dpus(&mut self) -> bool {
        let all: BTreeMap<VdpuId, ModelDpu> = self
            .switches
            .values()
            .flat_map(|switch| &switch.dpus)
            .map(|dpu| (dpu.vdpu.clone(), dpu.clone()))
            .collect();
        let mut changed = false;
        for dpu in self.switches.values_mut().flat_map(|switch| &mut switch.dpus) {
            let set = self.fleet.sets_of(&dpu.vdpu).next();
            let peer = set.and_then(|set| set.vdpus.iter().find(|member| **member != dpu.vdpu));
            let peer = peer.and_then(|peer| all.get(peer)).filter(|_| !self.channel_cut);
            changed |= dpu.step_asic(peer, &mut self.ids);
        }
        self.ever_cut |= self.channel_cut;
        changed
    }

    /// Tells the controller what has changed since it was last told.
    fn tell(&mut self) {
        for (name, switch) in &self.switches {
            let told = self.told.entry(name.clone()).or_default();
            let switch_name = || name.clone();
            if !switch.reachable {
                if told.reachable {
                    told.reachable = false;
                    told.snapshot = None;
                    for db in [Db::ChassisStateDb, Db::StateDb] {
                        self.inbox.push_back(Input::Unsynced { switch: switch_name(), db });
                    }
                    for db in [Db::ApplDb, Db::StateDb] {
                        let event = StoreEvent { place: switch_name(), db, update: StoreUpdate::Lost };
                        self.inbox.push_back(Input::Store(event));
                    }
                }
                continue;
            }
            for dpu in &switch.dpus {
                let row = dpu.row();
                if told.dpu_states.get(&dpu.slot) != Some(&row) {
                    told.dpu_states.insert(dpu.slot, row.clone());
                    let row = row.map_or(Reported::Absent, |row| Reported::Present(Box::new(row)));
                    self.inbox.push_back(Input::DpuState { switch: switch_name(), slot: dpu.slot, row });
                }
            }
            for slot in told.resets.keys().chain(switch.resets.keys()).collect::<BTreeSet<_>>() {
                if told.resets.get(slot) != switch.resets.get(slot) {
                    let row = switch.resets.get(slot).cloned();
                    let row = row.map_or(Reported::Absent, |row| Reported::Present(Box::new(row)));
                    self.inbox.push_back(Input::ResetInfo { switch: switch_name(), slot: *slot, row });
                }
            }
            told.resets = switch.resets.clone();
            for key in told.states.keys().chain(switch.states.keys()).collect::<BTreeSet<_>>() {
                if told.states.get(key) != switch.states.get(key) {
                    let row = switch.states.get(key).cloned();
                    let row = row.map_or(Reported::Absent, |row| Reported::Present(Box::new(row)));
                    self.inbox.push_back(Input::ScopeState { switch: switch_name(), key: key.clone(), row });
                }
            }
            told.states = switch.states.clone();
            let rows = |(table, key): &(Table, String), fields: &schema::Fields| OwnedRow {
                table: *table,
                key: key.clone(),
                fields: fields.clone(),
                consumed: true,
            };
            let snapshot: Vec<OwnedRow> = switch.appl.iter().map(|(key, fields)| rows(key, fields)).collect();
            if told.snapshot.as_ref() != Some(&snapshot) {
                told.snapshot = Some(snapshot.clone());
                let update = StoreUpdate::Snapshot(snapshot);
                let event = StoreEvent { place: switch_name(), db: Db::ApplDb, update };
                self.inbox.push_back(Input::Store(event));
            }
            if !told.reachable {
                told.reachable = true;
                for db in [Db::ChassisStateDb, Db::StateDb] {
                    self.inbox.push_back(Input::Synced { switch: switch_name(), db });
                }
                let update = StoreUpdate::Snapshot(vec![]);
                let event = StoreEvent { place: switch_name(), db: Db::StateDb, update };
                self.inbox.push_back(Input::Store(event));
            }
        }
    }

    fn deliver(&mut self, inputs: Vec<Input>) {
        let mut effects = Vec::new();
        self.controller.handle(self.now, Batch { wall: self.wall(), inputs }, &mut effects);
        for effect in effects {
            if self.dies_after == Some(0) {
                self.dies_after = None;
                self.crashes += 1;
                self.start_controller();
                return;
            }
            self.dies_after = self.dies_after.map(|left| left - 1);
            self.carry_out(&effect);
            self.log.push(effect);
        }
    }

    fn carry_out(&mut self, effect: &Effect) {
        match effect {
            Effect::Persist(record) => {
                let ok = !self.store_fails;
                if ok {
                    self.store.insert(record.dpu.clone(), record.clone());
                }
                self.inbox.push_back(Input::Persisted { record: record.clone(), ok });
            }
            Effect::Write(write) => {
                let switch = self.switches.get_mut(&write.place).unwrap();
                if !switch.reachable {
                    let knows = self.told.get(&write.place).is_none_or(|told| !told.reachable);
                    assert!(!knows, "wrote to a switch known to be unreachable: {write:?}");
                    return;
                }
                if self.holds_scopes_of.as_ref() == Some(&write.place)
                    && write.write.table == Table::DashHaScopeConfig
                {
                    self.held.push(effect.clone());
                    return;
                }
                let done = !self.refuses_writes;
                if done {
                    count_approvals(switch, &write.write, &mut self.approvals);
                    switch.write(&write.write);
                }
                let update = StoreUpdate::Written { write: write.write.clone(), done };
                let db = write.write.table.db();
                self.inbox.push_back(Input::Store(StoreEvent { place: write.place.clone(), db, update }));
            }
            Effect::Note(Note::Begun { dpu, reason: Reason::Down, .. }) => {
                let told = &self.told[&dpu.switch];
                assert!(told.reachable, "began for an unreachable {dpu}");
                let row = told.dpu_states[&dpu.slot].as_ref().expect("no row is not down");
                assert_eq!(row.health(), DpuHealth::Down, "began for {dpu} that is not down");
            }
            Effect::Note(_) => {}
        }
    }

    pub fn withheld(&self) -> Vec<(String, OperationType, Withheld)> {
        let withheld = |note: &Note| match note {
            Note::Withheld { vdpu, operation, why, .. } => Some((vdpu.to_string(), *operation, *why)),
            _ => None,
        };
        self.notes().filter_map(withheld).collect()
    }
}
