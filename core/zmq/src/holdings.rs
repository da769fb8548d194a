//! What a consumer holds, and of which of its rows the database must be asked.
//!
//! A producer sends again everything that is, after each handshake. What it cannot send again is a deletion that it
//! had not sent when it died. So rows that came on a connection that is over, and did not come again on a later one, are
//! looked for in the producer's database, and dropped if they are not there. They are looked for twice, since SONiC's
//! own producers write the database after they send, and replace a row by deleting it first (`reference/swss-wire.md`
//! 5.7); and again and again, ever less often, as long as a producer is there that has sent some of them neither again nor
//! away.
//!
//! Connections end late: what a hamgrd had sent before it died, or before it gave its link up, may come out of the network
//! when the next connection has sent everything already. So who spoke of a table last counts, and whoever connected before
//! is not listened to any more. If there is somebody, he connects anew and sends everything again.

use std::collections::{BTreeMap, BTreeSet};

use bus::Difference;
use reconcile::{Time, as_pairs};
use schema::{Fields, Table};
use serde::{Deserialize, Serialize};

use crate::RowId;
use crate::message::Message;

/// How long after a handshake the database is asked, and asked again, ms.
const ASK_AFTER_MS: u64 = 250;
/// How long it is until it is asked again, at most, while some of those rows are left, ms.
const ASK_AGAIN_MS_MAX: u64 = 8000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    fields: Fields,
    session: u64,
}

/// When to ask the database, how long that is after the last time, and what was missing there then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ask {
    at: Time,
    wait_ms: u64,
    missing: BTreeSet<RowId>,
}

/// The rows of a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    tables: BTreeSet<Table>,
    #[serde(with = "as_pairs")]
    rows: BTreeMap<RowId, Held>,
    open: BTreeSet<u64>,
    /// The latest session that a message of the table came on.
    latest: BTreeMap<Table, u64>,
    ask: Option<Ask>,
}

/// Why a message changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// Its table is not one of ours.
    Unknown,
    /// A producer that connected later has spoken of its table. The connection is to end.
    Superseded,
}

impl Holdings {
    /// Nothing, of these tables.
    pub fn new(tables: impl IntoIterator<Item = Table>) -> Self {
        Self { tables: tables.into_iter().collect(), ..Self::default() }
    }

    /// The row as held.
    pub fn get(&self, row: &RowId) -> Option<&Fields> {
        self.rows.get(row).map(|held| &held.fields)
    }

    /// The rows held, in order.
    pub fn rows(&self) -> impl Iterator<Item = (&RowId, &Fields)> {
        self.rows.iter().map(|(row, held)| (row, &held.fields))
    }

    /// A producer's handshake is done. Sessions are numbered by the caller as they are accepted, each number used once.
    pub fn opened(&mut self, now: Time, session: u64) {
        self.open.insert(session);
        self.ask_anew(now);
    }

    /// A producer's connection is over. Its rows stay in force.
    pub fn closed(&mut self, now: Time, session: u64) {
        // Another one may be there already, and have sent all that it will.
        if self.open.remove(&session) && self.ask.is_none() && !self.open.is_empty() {
            self.ask_anew(now);
        }
    }

    fn ask_anew(&mut self, now: Time) {
        self.ask =
            Some(Ask { at: now.after_ms(ASK_AFTER_MS), wait_ms: ASK_AFTER_MS, missing: BTreeSet::new() });
    }

    /// A message came: the rows that it sets or deletes, in order.
    ///
    /// # Errors
    /// It changes nothing.
    pub fn take(&mut self, session: u64, message: Message) -> Result<Vec<Difference>, NotTaken> {
        let is_named = |table: &&Table| table.name() == message.table && table.db().name() == message.db;
        let table = *self.tables.iter().find(is_named).ok_or(NotTaken::Unknown)?;
        let latest = self.latest.entry(table).or_default();
        if session < *latest {
            return Err(NotTaken::Superseded);
        }
        *latest = session;
        let mut changes = Vec::with_capacity(message.rows.len());
        for row in message.rows {
            let id = (table, row.key);
            let former = match &row.fields {
                Some(fields) => self.rows.insert(id.clone(), Held { fields: fields.clone(), session }),
                None => self.rows.remove(&id),
            };
            changes.push(Difference { row: id, was_known: former.is_some(), fields: row.fields });
        }
        Ok(changes)
    }

    /// When to look which of [`Holdings::orphans`] the database holds, if at all.
    pub fn ask_at(&self) -> Option<Time> {
        self.ask.as_ref().map(|ask| ask.at)
    }

    /// Rows that came on a connection that is over, or that is not listened to any more.
    pub fn orphans(&self) -> impl Iterator<Item = &RowId> {
        let is_orphan = |((table, _), held): &(&RowId, &Held)| {
            let is_superseded = self.latest.get(table).is_some_and(|latest| held.session < *latest);
            is_superseded || !self.open.contains(&held.session)
        };
        self.rows.iter().filter(is_orphan).map(|(row, _)| row)
    }

    /// The database was asked, and holds `present`: the rows that are gone. `None` for one that could not be asked,
    /// which is tried again.
    pub fn asked(&mut self, now: Time, present: Option<&BTreeSet<RowId>>) -> Vec<Difference> {
        let Some(ask) = self.ask.take() else { return Vec::new() };
        let Some(present) = present else {
            self.ask = Some(Ask { at: now.after_ms(ask.wait_ms), ..ask });
            return Vec::new();
        };
        let missing: BTreeSet<RowId> =
            self.orphans().filter(|row| !present.contains(*row)).cloned().collect();
        // In the opposite order of tables: what refers to others goes before what it refers to.
        let (gone, missing): (Vec<RowId>, Vec<RowId>) =
            missing.into_iter().rev().partition(|row| ask.missing.contains(row));
        for row in &gone {
            self.rows.remove(row);
        }
        // Those that are left may vanish before their producer has read them.
        if !self.open.is_empty() && self.orphans().next().is_some() {
            let wait_ms =
                if missing.is_empty() { (ask.wait_ms * 2).min(ASK_AGAIN_MS_MAX) } else { ASK_AFTER_MS };
            let missing = missing.into_iter().collect();
            self.ask = Some(Ask { at: now.after_ms(wait_ms), wait_ms, missing });
        }
        gone.into_iter().map(|row| Difference { row, was_known: true, fields: None }).collect()
    }
}
