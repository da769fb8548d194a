//! What the databases hold, as far as the lab has seen, and when it saw it change.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use invariants::{DpuSnapshot, Rows, Snapshot, SwitchSnapshot};
use schema::{Db, Fields, Row, Table};
use swss::Change;
use tokio::time::Instant;

use crate::topology::{DpuId, Topology, switch_name};

/// The most changes that are remembered.
const TIMELINE_MAX: usize = 100_000;

/// Whose databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// An NPU's own, the chassis' included.
    Npu(u8),
    /// A DPU's, hosted on its NPU.
    OnNpu(DpuId),
    /// A DPU's own; they die with it.
    OnDpu(DpuId),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Npu(switch) => f.write_str(&switch_name(*switch)),
            Place::OnNpu(dpu) => write!(f, "{dpu}"),
            Place::OnDpu(dpu) => write!(f, "{dpu} (own)"),
        }
    }
}

/// Something seen in a database.
#[derive(Clone, Debug)]
pub enum What {
    /// A row is there, changed or gone.
    Change(Change),
    /// The database was read completely.
    Synced,
    /// The database was lost.
    Lost,
    /// A server answers.
    Answers,
    /// A server died.
    Silent,
    /// A key was written, whether or not that changed anything. From keyspace notifications.
    Write {
        /// The Redis key.
        redis_key: String,
        /// The command.
        op: String,
    },
}

/// Something seen, where and when.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When the lab saw it.
    pub at: Instant,
    /// Whose database.
    pub place: Place,
    /// Which database.
    pub db: Db,
    /// What was seen.
    pub what: What,
}

/// A row's change, for the record.
#[derive(Clone, Debug)]
pub struct Changed {
    /// When.
    pub at: Instant,
    /// Whose database.
    pub place: Place,
    /// The table.
    pub table: Table,
    /// The key.
    pub key: String,
    /// The fields that changed, as they are since then, empty where one went; `None` if the row went.
    pub fields: Option<Fields>,
}

/// The field whose change alone is no news.
const HEARTBEAT: &str = "last_heartbeat_time_in_ms";

fn differing(old: &Fields, new: &Fields) -> Fields {
    let mut changed = Fields::new();
    for (name, _) in old.iter().filter(|(name, _)| new.get(name).is_none()) {
        changed.set(name, "");
    }
    for (name, value) in new.iter().filter(|(name, value)| old.get(name) != Some(value)) {
        changed.set(name, value.clone());
    }
    changed
}

/// All databases, as last seen.
#[derive(Debug, Default)]
pub struct World {
    rows: BTreeMap<Place, Rows>,
    answers: BTreeMap<(Place, Db), bool>,
    /// Places of one server that answer at this moment.
    alive: BTreeSet<Place>,
    timeline: VecDeque<Changed>,
}

impl World {
    /// Takes in what was seen.
    pub fn apply(&mut self, seen: &Seen) {
        match &seen.what {
            What::Change(change) => {
                let rows = self.rows.entry(seen.place).or_default();
                let old = rows.get(change.table, &change.key).cloned();
                match &change.fields {
                    Some(fields) => rows.insert(change.table, change.key.clone(), fields.clone()),
                    None => {
                        rows.remove(change.table, &change.key);
                    }
                }
                self.note(seen, change, &old.unwrap_or_default());
            }
            What::Synced => {
                self.answers.insert((seen.place, seen.db), true);
            }
            What::Lost => {
                self.answers.insert((seen.place, seen.db), false);
            }
            What::Answers => {
                self.alive.insert(seen.place);
            }
            What::Silent => {
                self.alive.remove(&seen.place);
            }
            What::Write { .. } => {}
        }
    }

    fn note(&mut self, seen: &Seen, change: &Change, old: &Fields) {
        let fields = change.fields.as_ref().map(|new| differing(old, new));
        let heartbeat = |fields: &Fields| fields.len() <= 1 && fields.get(HEARTBEAT).is_some();
        if fields.as_ref().is_some_and(heartbeat) {
            return;
        }
        if self.timeline.len() == TIMELINE_MAX {
            self.timeline.pop_front();
        }
        let (table, key) = (change.table, change.key.clone());
        self.timeline.push_back(Changed { at: seen.at, place: seen.place, table, key, fields });
    }

    /// The rows of a place.
    pub fn rows(&self, place: Place) -> Option<&Rows> {
        self.rows.get(&place)
    }

    /// A raw row.
    pub fn get(&self, place: Place, table: Table, key: &str) -> Option<&Fields> {
        self.rows.get(&place)?.get(table, key)
    }

    /// A typed row, if it is there and can be understood.
    pub fn row<R: Row>(&self, place: Place, key: &R::Key) -> Option<R> {
        self.rows.get(&place)?.row::<R>(key)
    }

    /// Whether a database was read and has not been lost since.
    pub fn answers(&self, place: Place, db: Db) -> bool {
        self.answers.get(&(place, db)).copied().unwrap_or(false)
    }

    /// Whether a DPU's own database answers at this moment, and so the DPU is on.
    pub fn is_on(&self, dpu: DpuId) -> bool {
        self.alive.contains(&Place::OnDpu(dpu))
    }

    /// The last changes, oldest first.
    pub fn last(&self, count: usize) -> impl Iterator<Item = &Changed> {
        self.timeline.iter().skip(self.timeline.len().saturating_sub(count))
    }

    /// All rows at this moment, for the checks of `invariants`. What waits for a consumer is not seen here.
    pub fn snapshot(&self, topology: &Topology) -> Snapshot {
        let rows = |place| self.rows.get(&place).cloned().unwrap_or_default();
        let dpu = |dpu: DpuId| DpuSnapshot {
            slot: dpu.slot,
            rows: rows(Place::OnNpu(dpu)),
            unconsumed: Default::default(),
            local: self.is_on(dpu).then(|| rows(Place::OnDpu(dpu))),
        };
        let switch = |switch| SwitchSnapshot {
            name: switch_name(switch),
            rows: rows(Place::Npu(switch)),
            dpus: topology.dpus_of(switch).map(dpu).collect(),
        };
        Snapshot { switches: topology.switches().map(switch).collect() }
    }
}
