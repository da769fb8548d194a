//! P6: at the fixed point nobody writes anything but the heartbeat.

use schema::{Db, Table};
use serde::{Deserialize, Serialize};

use super::Findings;
use crate::finding::{Finding, Invariant};

/// A write seen in a database, whether or not it changed anything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WriteSeen {
    /// The switch, and the DPU where the database is one of a DPU's.
    pub place: String,
    /// The database.
    pub db: Db,
    /// The Redis key.
    pub redis_key: String,
    /// The command, as the keyspace notification names it.
    pub op: String,
}

impl WriteSeen {
    /// The table of the project that the key belongs to, if any.
    pub fn table(&self) -> Option<Table> {
        let name = self.redis_key.split(self.db.separator()).next().unwrap_or(&self.redis_key);
        Table::find(self.db, name)
    }

    /// The heartbeat: fields of a `DASH_HA_SCOPE_STATE` row are set, the row stays.
    fn is_heartbeat(&self) -> bool {
        self.table() == Some(Table::DashHaScopeState) && self.op == "hset"
    }
}

/// Checks P6 over the writes of a window at rest. Equal writes are reported once, with their number.
pub fn quiet(writes: &[WriteSeen]) -> Vec<Finding> {
    let mut unexpected: Vec<&WriteSeen> = writes.iter().filter(|write| !write.is_heartbeat()).collect();
    unexpected.sort();
    let mut findings = Findings::of(Invariant::P6);
    for equal in unexpected.chunk_by(|a, b| a == b) {
        let Some(write) = equal.first() else { continue };
        findings.list.push(Finding {
            invariant: Invariant::P6,
            place: format!("{} {}", write.place, write.db),
            table: write.table(),
            key: write.redis_key.clone(),
            what: format!("{} at rest, {} times", write.op, equal.len()),
            since: None,
            repair: None,
        });
    }
    findings.list
}
