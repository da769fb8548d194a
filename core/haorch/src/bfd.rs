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

/// For which local addresses BFD answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Serving {
    /// The local addresses of the HA sets that serve.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// The local addresses of all HA sets.
    pub(crate) known: BTreeSet<IpAddr>,
}

impl Serving {
    /// Whether a session from that local address is answered.
    ///
    /// A HA set names one local address, so the DPU's address of the other family is known from sessions only.
    /// Such a session belongs to every HA set of the DPU, as one without a local address does.
    fn answers(&self, local: Option<IpAddr>) -> bool {
        match local {
            Some(local) if self.known.iter().any(|known| known.is_ipv4() == local.is_ipv4()) => {
                self.addresses.contains(&local)
            }
            Some(_) | None => !self.addresses.is_empty(),
        }
    }
}

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

    /// Adds the sessions that ought to exist.
    pub(crate) fn plan(&self, serving: &Serving, plan: &mut Plan<Place>) {
        for (key, row) in &self.rows {
            if serving.answers(row.local_addr) {
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
