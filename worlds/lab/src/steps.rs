//! The 16 steps of DESIGN 3, each ticked by what the databases show.
//!
//! A step is a predicate over the databases: it is ticked when it holds and the steps that it follows are
//! ticked. Rows that go and come back are remembered, for they may do so quicker than anybody looks.

use std::collections::{BTreeMap, BTreeSet};

use schema::appl_db::{HaScopeConfig, HaScopeConfigKey, HaSetConfig};
use schema::chassis_state_db::{DpuHealth, DpuState};
use schema::dpu_appl_db::{BfdKey, BfdSession, HaScope, HaSet};
use schema::dpu_appl_state_db::{HaScopeResult, HaSetResult, RESULT_OK};
use schema::state_db::HaScopeState;
use schema::{Db, HaSetId, Row, Table, dpu_state_db};
use tokio::time::Instant;

use crate::topology::DpuId;
use crate::world::{Place, Seen, What, World};

/// A step's number and what it is, from DESIGN 3.
pub const STEPS: [(u8, &str, &str); 16] = [
    (1, "DPU", "goes down"),
    (2, "pmon", "DPU_STATE goes down"),
    (3, "controller", "sees the DPU down"),
    (4, "controller", "deletes HA scope and HA set configuration"),
    (5, "hamgrd", "deletes HA scope, BFD and HA set from DPU_APPL_DB"),
    (6, "hamgrd", "deletes DASH_HA_SCOPE_STATE"),
    (7, "DPU", "boots"),
    (8, "DPU", "cleans DPU_APPL_DB"),
    (9, "DPU", "cleans DPU_STATE_DB"),
    (10, "pmon", "DPU_STATE goes up"),
    (11, "controller", "sees the DPU up"),
    (12, "controller", "creates HA set and HA scope configuration"),
    (13, "hamgrd", "writes HA set, BFD and HA scope to DPU_APPL_DB"),
    (14, "DashHaOrch", "consumes them"),
    (15, "DashHaOrch", "updates the HA scope state in DPU_STATE_DB"),
    (16, "hamgrd", "updates DASH_HA_SCOPE_STATE"),
];

/// Which steps each step follows, where they are part of the scenario.
const fn follows(step: u8) -> &'static [u8] {
    match step {
        3 => &[2],
        8 | 9 => &[7],
        10 => &[2, 7],
        11 => &[10],
        12 => &[4, 11],
        13 => &[5, 12],
        14 => &[13],
        15 => &[9, 14],
        16 => &[6, 15],
        2 | 4 | 5 | 6 | 7 => &[1],
        _ => &[],
    }
}

/// A step that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The step.
    pub step: u8,
    /// When.
    pub at: Instant,
    /// Table, key and what was seen of it.
    pub evidence: String,
}

/// Follows the steps of one DPU.
#[derive(Debug)]
pub struct Tracker {
    target: DpuId,
    began: Instant,
    expected: BTreeSet<u8>,
    scopes: Vec<HaScopeConfigKey>,
    /// HA sets of the DPU to which no other scope of its switch belongs.
    sets: Vec<HaSetId>,
    peers: Vec<BfdKey>,
    incarnation: Option<u64>,
    /// Rows that were seen gone since it began.
    gone: BTreeSet<(Table, String)>,
    /// Rows that were seen after they were gone.
    back: BTreeSet<(Table, String)>,
    /// Databases of the DPU whose bystander was deleted.
    cleaned: BTreeSet<Db>,
    /// Rows of the DPU's databases on the NPU when it began.
    held: BTreeSet<(Table, String)>,
    lost: bool,
    ticks: BTreeMap<u8, Tick>,
}

/// Rows of a DPU that have nothing to do with HA, as the SDN controller programs them and as the DPU reports on them. Nobody but
/// the clean-up of a whole database deletes them, so that the clean-up is seen however quickly the database is filled again.
pub const BYSTANDERS: [(Db, &str); 2] =
    [(Db::DpuApplDb, "DASH_APPLIANCE_TABLE:100"), (Db::DpuStateDb, "DASH_FLOW_SYNC_SESSION_STATE_TABLE|100")];

impl Tracker {
    /// Begins to follow what happens to `target` from now on. `expected` are the steps of the scenario.
    pub fn new(target: DpuId, expected: &[u8], snapshot: &invariants::Snapshot) -> Self {
        let model = invariants::Model::of(snapshot);
        let switch = model.switches.iter().find(|switch| switch.snapshot.name == target.switch_name());
        let dpu = switch.and_then(|switch| switch.dpus.iter().find(|dpu| dpu.config.dpu_id == target.slot));
        let scopes: Vec<HaScopeConfigKey> =
            dpu.map(|dpu| dpu.scopes.iter().map(|scope| scope.key.clone()).collect()).unwrap_or_default();
        let shared: BTreeSet<HaSetId> = switch
            .map(|switch| {
                let others = switch.scopes.iter().filter(|scope| !scopes.contains(&scope.key));
                others.filter_map(|scope| scope.set.clone()).collect()
            })
            .unwrap_or_default();
        let sets = dpu
            .map(|dpu| dpu.sets.keys().filter(|set| !shared.contains(set)).cloned().collect())
            .unwrap_or_default();
        let peers = dpu
            .map(|dpu| dpu.bfd_peers.iter().map(|peer| BfdKey::to_npu(*peer)).collect())
            .unwrap_or_default();
        let incarnation = dpu.and_then(invariants::DpuModel::incarnation);
        let held = dpu
            .map(|dpu| dpu.snapshot.rows.iter().map(|(table, key, _)| (table, key.to_owned())).collect())
            .unwrap_or_default();
        Self {
            target,
            began: Instant::now(),
            expected: expected.iter().copied().collect(),
            scopes,
            sets,
            peers,
            incarnation,
            gone: BTreeSet::new(),
            back: BTreeSet::new(),
            cleaned: BTreeSet::new(),
            held,
            lost: false,
            ticks: BTreeMap::new(),
        }
    }

    /// The DPU that is followed.
    pub fn target(&self) -> DpuId {
        self.target
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// The ticks so far.
    pub fn ticks(&self) -> &BTreeMap<u8, Tick> {
        &self.ticks
    }

    /// The steps that are expected and not ticked yet.
    pub fn missing(&self) -> Vec<u8> {
        self.expected.iter().copied().filter(|step| !self.ticks.contains_key(step)).collect()
    }

    /// Takes in what was seen; returns the steps that it ticked.
    pub fn seen(&mut self, world: &World, seen: &Seen) -> Vec<Tick> {
        self.remember(seen);
        self.advance(world, seen.at)
    }

    fn remember(&mut self, seen: &Seen) {
        let on_npu = seen.place == Place::OnNpu(self.target);
        if seen.place == Place::OnDpu(self.target) && matches!(seen.what, What::Silent) {
            self.lost = true;
        }
        if !on_npu && seen.place != Place::Npu(self.target.switch) {
            return;
        }
        match &seen.what {
            What::Change(change) => {
                let row = (change.table, change.key.clone());
                if change.fields.is_none() {
                    self.gone.insert(row);
                } else if self.gone.contains(&row) {
                    self.back.insert(row);
                }
            }
            What::Write { redis_key, op } => {
                if op != "del" {
                    return;
                }
                if let Some((table, key)) = split(seen.db, redis_key) {
                    self.gone.insert((table, key.to_owned()));
                }
                if on_npu && BYSTANDERS.contains(&(seen.db, redis_key.as_str())) {
                    self.cleaned.insert(seen.db);
                }
            }
            What::Synced | What::Lost | What::Answers | What::Silent => {}
        }
    }

    fn may_tick(&self, step: u8) -> bool {
        let done = |earlier: &u8| !self.expected.contains(earlier) || self.ticks.contains_key(earlier);
        self.expected.contains(&step) && follows(step).iter().all(done)
    }

    fn advance(&mut self, world: &World, at: Instant) -> Vec<Tick> {
        let mut new = Vec::new();
        // One look may tick several steps, each of which may be what the next one follows.
        for (step, _, _) in STEPS {
            if self.ticks.contains_key(&step) || !self.may_tick(step) {
                continue;
            }
            if let Some(evidence) = self.holds(step, world) {
                let tick = Tick { step, at, evidence };
                self.ticks.insert(step, tick.clone());
                new.push(tick);
            }
        }
        new
    }

    fn holds(&self, step: u8, world: &World) -> Option<String> {
        match step {
            1 => self.lost.then(|| format!("STATE_DB of {} itself no longer answers", self.target)),
            2 => self.health(world, DpuHealth::Down),
            3 => self.reacts(),
            4 => self.configuration_gone(),
            5 => self.rows_gone(world),
            6 => self.states_gone(),
            7 => world.is_on(self.target).then(|| format!("STATE_DB of {} itself answers", self.target)),
            8 => self.is_emptied(Db::DpuApplDb),
            9 => self.is_emptied(Db::DpuStateDb),
            10 => self.health(world, DpuHealth::Up),
            11 => self.acts(),
            12 => self.configuration_back(world),
            13 => self.rows_back(world),
            14 => self.results(world),
            15 => self.dpu_reports(world),
            16 => self.npu_reports(world),
            _ => None,
        }
    }

    fn npu(&self) -> Place {
        Place::Npu(self.target.switch)
    }

    fn on_npu(&self) -> Place {
        Place::OnNpu(self.target)
    }

    fn was_gone<R: Row>(&self, key: &R::Key) -> bool {
        self.gone.contains(&(R::TABLE, R::key_text(key)))
    }

    fn is_back<R: Row>(&self, key: &R::Key) -> bool {
        self.back.contains(&(R::TABLE, R::key_text(key)))
    }

    fn health(&self, world: &World, wanted: DpuHealth) -> Option<String> {
        let row = world.row::<DpuState>(self.npu(), &self.target.slot)?;
        let word = |state: Option<schema::LinkState>| state.map_or("unknown", |state| state.as_str());
        (row.health() == wanted).then(|| {
            format!(
                "CHASSIS_STATE_DB DPU_STATE|{} midplane {}, control plane {}",
                self.target.slot,
                word(row.midplane_link_state),
                word(row.control_plane_state)
            )
        })
    }

    /// Step 3 shows in what the controller does next, or in what hamgrd noticed for it.
    fn reacts(&self) -> Option<String> {
        let gone = self.scopes.iter().find(|scope| self.was_gone::<HaScopeConfig>(scope))?;
        Some(format!("acts: APPL_DB {}:{gone} goes", Table::DashHaScopeConfig))
    }

    fn configuration_gone(&self) -> Option<String> {
        let scopes = self.scopes.iter().all(|scope| self.was_gone::<HaScopeConfig>(scope));
        let sets = self.sets.iter().all(|set| self.was_gone::<HaSetConfig>(set));
        (scopes && sets).then(|| {
            let scopes: Vec<String> = self.scopes.iter().map(ToString::to_string).collect();
            let sets: Vec<&str> = self.sets.iter().map(HaSetId::as_str).collect();
            format!(
                "APPL_DB {}:{} gone, {}:{} gone",
                Table::DashHaScopeConfig,
                scopes.join(","),
                Table::DashHaSetConfig,
                sets.join(",")
            )
        })
    }

    fn rows_gone(&self, world: &World) -> Option<String> {
        let absent = |table, key: String| {
            self.gone.contains(&(table, key.clone())) || world.get(self.on_npu(), table, &key).is_none()
        };
        let scopes = self.scopes.iter().all(|key| absent(Table::DashHaScope, HaScope::key_text(&key.scope)));
        let sets = self.sets.iter().all(|set| absent(Table::DashHaSet, HaSet::key_text(set)));
        let peers = self.peers.iter().all(|peer| absent(Table::BfdSession, BfdSession::key_text(peer)));
        (scopes && sets && peers).then(|| {
            let tables = [Table::DashHaScope, Table::BfdSession, Table::DashHaSet].map(Table::name);
            format!("DPU_APPL_DB {} gone ({} BFD rows)", tables.join(", "), self.peers.len())
        })
    }

    fn states_gone(&self) -> Option<String> {
        let gone = self.scopes.iter().all(|scope| self.was_gone::<HaScopeState>(scope));
        let keys: Vec<String> = self.scopes.iter().map(HaScopeState::key_text).collect();
        gone.then(|| format!("STATE_DB {}|{} gone", Table::DashHaScopeState, keys.join(",")))
    }

    /// Every row that it held went, those included that have nothing to do with HA.
    fn is_emptied(&self, db: Db) -> Option<String> {
        let mut held = self.held.iter().filter(|(table, _)| table.db() == db);
        let cleaned = self.cleaned.contains(&db) && held.all(|row| self.gone.contains(row));
        cleaned.then(|| format!("{db}: every row went"))
    }

    /// Step 11 shows in what the controller does next.
    fn acts(&self) -> Option<String> {
        let set = self.sets.iter().find(|set| self.is_back::<HaSetConfig>(set));
        if let Some(set) = set {
            return Some(format!("acts: APPL_DB {}:{set} comes", Table::DashHaSetConfig));
        }
        let scope = self.scopes.iter().find(|scope| self.is_back::<HaScopeConfig>(scope))?;
        Some(format!("acts: APPL_DB {}:{scope} comes", Table::DashHaScopeConfig))
    }

    fn configuration_back(&self, world: &World) -> Option<String> {
        let sets = self.sets.iter().all(|set| {
            self.is_back::<HaSetConfig>(set) && world.row::<HaSetConfig>(self.npu(), set).is_some()
        });
        let mut evidence = Vec::new();
        for scope in &self.scopes {
            let row = world.row::<HaScopeConfig>(self.npu(), scope)?;
            if !self.is_back::<HaScopeConfig>(scope) {
                return None;
            }
            let (desired, version) = (row.desired_ha_state, row.version);
            let table = Table::DashHaScopeConfig;
            evidence.push(format!("{table}:{scope} desired {desired}, version {version}"));
        }
        sets.then(|| format!("APPL_DB {}", evidence.join(", ")))
    }

    fn rows_back(&self, world: &World) -> Option<String> {
        let place = self.on_npu();
        let mut roles = Vec::new();
        for key in &self.scopes {
            let row = world.row::<HaScope>(place, &key.scope)?;
            roles.push(format!("{}:{} role {}", Table::DashHaScope, key.scope, row.ha_role));
        }
        let sets = self.sets.iter().all(|set| world.row::<HaSet>(place, set).is_some());
        let peers = self.peers.iter().all(|peer| world.row::<BfdSession>(place, peer).is_some());
        (sets && peers).then(|| {
            let bfd = self.peers.len();
            format!("DPU_APPL_DB {}, {bfd} {} rows", roles.join(", "), Table::BfdSession)
        })
    }

    fn results(&self, world: &World) -> Option<String> {
        let place = self.on_npu();
        let scope =
            |key: &HaScopeConfigKey| world.row::<HaScopeResult>(place, &key.scope).map(|row| row.result);
        let set = |id: &HaSetId| world.row::<HaSetResult>(place, id).map(|row| row.result);
        let all = self.sets.iter().all(|id| set(id) == Some(RESULT_OK))
            && self.scopes.iter().all(|key| scope(key) == Some(RESULT_OK));
        let keys: Vec<&str> = self.scopes.iter().map(|key| key.scope.as_str()).collect();
        all.then(|| format!("DPU_APPL_STATE_DB {}|{} result 0", Table::DashHaScopeResult, keys.join(",")))
    }

    fn dpu_reports(&self, world: &World) -> Option<String> {
        let mut evidence = Vec::new();
        for key in &self.scopes {
            let row = world.row::<dpu_state_db::HaScopeState>(self.on_npu(), &key.scope)?;
            let state = row.ha_state?;
            let id = (Table::DpuDashHaScopeState, dpu_state_db::HaScopeState::key_text(&key.scope));
            // The row of the previous life says nothing.
            if self.held.contains(&id) && !self.back.contains(&id) {
                return None;
            }
            evidence.push(format!("{}|{} ha_state {state}", Table::DpuDashHaScopeState, key.scope));
        }
        Some(format!("DPU_STATE_DB {}", evidence.join(", ")))
    }

    /// The report of this life, and of the state that the DPU came to rest in.
    fn npu_reports(&self, world: &World) -> Option<String> {
        let mut evidence = Vec::new();
        for key in &self.scopes {
            let row = world.row::<HaScopeState>(self.npu(), key)?;
            let acked = row.local_acked_asic_ha_state?;
            let settled = acked.serves() && row.pending_operation_ids.is_empty();
            let dpu = world.row::<dpu_state_db::HaScopeState>(self.on_npu(), &key.scope)?;
            if !settled || dpu.ha_state != Some(acked) {
                return None;
            }
            let life = row.incarnation.map_or_else(|| "none".to_owned(), |life| life.to_string());
            let table = Table::DashHaScopeState;
            evidence
                .push(format!("{table}|{} acked {acked}, incarnation {life}", HaScopeState::key_text(key)));
        }
        Some(format!("STATE_DB {}", evidence.join(", ")))
    }

    /// Configuration rows of the DPU that went: a sign that the procedure ran.
    pub fn configuration_that_went(&self) -> impl Iterator<Item = String> {
        self.gone
            .iter()
            .filter(|(table, key)| match table {
                Table::DashHaScopeConfig => {
                    self.scopes.iter().any(|scope| HaScopeConfig::key_text(scope) == *key)
                }
                Table::DashHaSetConfig => self.sets.iter().any(|set| set.as_str() == key),
                _ => false,
            })
            .map(|(table, key)| table.redis_key(key))
    }

    /// The incarnation in which the DPU was when it began.
    pub fn incarnation_before(&self) -> Option<u64> {
        self.incarnation
    }
}

fn split(db: Db, redis_key: &str) -> Option<(Table, &str)> {
    let (name, key) = redis_key.split_once(db.separator())?;
    Some((Table::find(db, name)?, key))
}

#[cfg(test)]
mod tests;
