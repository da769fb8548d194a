//! BFD presence: which sessions exist in `BFD_SOFTWARE_SESSION_TABLE`, as a pure function of the rows of
//! `BFD_SESSION_TABLE` and of what serves (P4). The rows are the parameter cache.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use reconcile::{Plan, Reconciler, RowId};
use schema::dpu_appl_db::{BfdKey, BfdSession};
use schema::state_db::BfdSoftwareSession;
use schema::{Db, Fields, Row, Table};
use serde::{Deserialize, Serialize};

use crate::io::Place;

/// What marks a session as hamgrd's: no other part of SONiC writes this word (`reference/dpu-side.md` 6.2; BfdOrch
/// says `async_passive`).
const PASSIVE: &str = "passive";

/// The sessions that hamgrd wants, and which rows in the DPU's `STATE_DB` are ours to remove.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BfdSessions {
    /// By the key that the session has in `BFD_SOFTWARE_SESSION_TABLE`.
    rows: BTreeMap<String, BfdSession>,
    /// Keys that were written, until they are known to be gone.
    written: BTreeSet<String>,
}

impl BfdSessions {
    pub(crate) fn set(&mut self, key: &BfdKey, row: Option<BfdSession>) {
        let key = BfdSoftwareSession::key_text(key);
        match row {
            Some(row) => self.rows.insert(key, row),
            None => self.rows.remove(&key),
        };
    }

    /// Adds the sessions that ought to exist, given the local addresses that serve. A session without a local
    /// address belongs to any of them.
    pub(crate) fn plan(&self, serving: &BTreeSet<IpAddr>, plan: &mut Plan<Place>) {
        for (key, row) in &self.rows {
            let is_served = row.local_addr.map_or(!serving.is_empty(), |local| serving.contains(&local));
            if is_served {
                plan.want_fields(row_id(key), BfdSoftwareSession::from(row.clone()).to_fields());
            }
        }
    }

    /// Remembers what is written, until it is known to be gone.
    pub(crate) fn note_writes(&mut self, plan: &Plan<Place>, stores: &Reconciler<Place>) {
        for (row, _) in plan.iter().filter(|(row, _)| row.table == Table::BfdSoftwareSession) {
            self.written.insert(row.key.clone());
        }
        if stores.is_ready(&Place::Local, Db::StateDb) {
            self.written.retain(|key| {
                let row = row_id(key);
                plan.get(&row).is_some() || stores.fields(&row).is_some() || stores.is_under_way(&row)
            });
        }
    }

    /// Whether a row in `BFD_SOFTWARE_SESSION_TABLE` is ours to remove: we wrote it, or it is marked as
    /// hamgrd's, such as one left behind by an earlier process. Sessions of others (static-route BFD) stay.
    pub(crate) fn is_ours(&self, key: &str, fields: &Fields) -> bool {
        self.written.contains(key) || fields.text("type") == Some(PASSIVE)
    }

    /// Whether every session of ours that ought not to exist is confirmed not to.
    pub(crate) fn is_withdrawn(&self, plan: &Plan<Place>, stores: &Reconciler<Place>) -> bool {
        let is_gone = |row: &RowId<Place>| stores.fields(row).is_none() && !stores.is_under_way(row);
        stores.is_ready(&Place::Local, Db::StateDb)
            && self.written.iter().map(|key| row_id(key)).all(|row| plan.get(&row).is_some() || is_gone(&row))
            && stores
                .rows_of(&Place::Local, Table::BfdSoftwareSession)
                .all(|(row, fields)| plan.get(row).is_some() || !self.is_ours(&row.key, fields))
    }
}

fn row_id(key: &str) -> RowId<Place> {
    RowId { place: Place::Local, table: Table::BfdSoftwareSession, key: key.to_owned() }
}
