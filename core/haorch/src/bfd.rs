//! BFD presence: which sessions exist in `BFD_SOFTWARE_SESSION_TABLE`, as a pure function of the rows of
//! `BFD_SESSION_TABLE` and of what serves (P4). The rows are the parameter cache.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use reconcile::{Plan, Reconciler, RowId, Time};
use schema::dpu_appl_db::{BfdKey, BfdSession};
use schema::state_db::BfdSoftwareSession;
use schema::{Db, Fields, Row, Table};
use serde::{Deserialize, Serialize};

use crate::io::Place;

/// What marks a session as hamgrd's: no other part of SONiC writes this word (`reference/dpu-side.md` 6.2; BfdOrch
/// says `async_passive`).
const PASSIVE: &str = "passive";

/// How long going down waits for the backend to say that its peers were told, ms. Longer than any NPU needs to notice a session
/// that fell silent at the timers of the HA design (100 ms, 3 times), so that giving up costs what not telling would.
pub(crate) const BFD_CLOSE_MS_MAX: u64 = 1_000;

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
    /// Keys that were planned, until the backend has closed them as well.
    served: BTreeSet<String>,
    /// What the backend has open, as far as it says.
    open: BTreeSet<String>,
    closing: Closing,
}

/// Whether the backend is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Closing {
    /// It has closed every session that must go, as far as it says.
    #[default]
    No,
    /// It has not, and is waited for.
    Until(Time),
    /// It has not, and was waited for.
    GivenUp,
}

impl BfdSessions {
    pub(crate) fn set(&mut self, key: &BfdKey, row: Option<BfdSession>) {
        let key = BfdSoftwareSession::key_text(key);
        match row {
            Some(row) => self.rows.insert(key, row),
            None => self.rows.remove(&key),
        };
    }

    /// The sessions that the backend has open.
    pub(crate) fn set_open(&mut self, open: &BTreeSet<BfdKey>) {
        self.open = open.iter().map(BfdSoftwareSession::key_text).collect();
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

    /// Looks whether the backend still has sessions that must go, and for how long that may last. What it has not closed in
    /// time is returned once.
    pub(crate) fn await_close(&mut self, now: Time, plan: &Plan<Place>) -> Vec<String> {
        let planned = plan.iter().filter(|(row, _)| row.table == Table::BfdSoftwareSession);
        self.served.extend(planned.map(|(row, _)| row.key.clone()));
        let open = &self.open;
        self.served.retain(|key| plan.get(&row_id(key)).is_some() || open.contains(key));
        let left = || self.served.iter().filter(|key| plan.get(&row_id(key)).is_none());
        if left().next().is_none() {
            self.closing = Closing::No;
            return Vec::new();
        }
        let (closing, told) = match self.closing {
            Closing::No => (Closing::Until(now.after_ms(BFD_CLOSE_MS_MAX)), Vec::new()),
            Closing::Until(at) if at <= now => (Closing::GivenUp, left().cloned().collect()),
            Closing::Until(_) | Closing::GivenUp => (self.closing, Vec::new()),
        };
        self.closing = closing;
        told
    }

    /// When the backend is no longer waited for.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.closing {
            Closing::Until(at) => Some(at),
            Closing::No | Closing::GivenUp => None,
        }
    }

    /// Whether every session of ours that ought not to exist is confirmed not to: its row is gone, and the backend's peer was
    /// told, or that was waited for long enough.
    pub(crate) fn is_withdrawn(&self, plan: &Plan<Place>, stores: &Reconciler<Place>) -> bool {
        self.are_rows_withdrawn(plan, stores) && self.deadline().is_none()
    }

    fn are_rows_withdrawn(&self, plan: &Plan<Place>, stores: &Reconciler<Place>) -> bool {
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
