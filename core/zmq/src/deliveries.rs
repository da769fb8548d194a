//! What a producer's peer has of which row.
//!
//! The rows that ought to be at the peer are those that the database holds: there is no second memory of them. This
//! only remembers what the peer was told, on which connection, and whether it has acknowledged that.
//!
//! - A connection that comes up is another life of the peer, as far as one can tell: everything the database holds is
//!   told anew, and nothing counts as consumed before it is acknowledged there.
//! - Fields that are said once ([`schema::Table::one_shot_fields`]) are neither in the database nor said on another
//!   connection than the one that they were asked for on. After a handshake they are gone from what is reported, so
//!   that whoever asked for them decides anew.
//! - A row that the peer may have and the database has not is deleted at the peer: at once, or after the next
//!   handshake.

use std::collections::BTreeMap;

use reconcile::as_pairs;
use schema::{Fields, Table};
use serde::{Deserialize, Serialize};

use crate::RowId;
use crate::backlog::Outgoing;
use crate::limits::UNTOLD_DELETIONS_MAX;
use crate::producer::Receipt;

/// A row as its reader has it, or will have it once it has caught up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// What the database holds, and the one-shot fields asked for since the last handshake.
    pub fields: Fields,
    /// Whether the peer has acknowledged exactly this on the present connection.
    pub consumed: bool,
}

/// What the peer was told of a row on the present connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// `None`: that it is deleted.
    fields: Option<Fields>,
    serial: u64,
    is_acknowledged: bool,
}

/// A row that the peer may have from an earlier connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Left {
    /// Whether it was deleted since then.
    is_deleted: bool,
}

/// Deliveries to one peer, over all connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliveries {
    connection: Option<u64>,
    serial: u64,
    #[serde(with = "as_pairs")]
    told: BTreeMap<RowId, Told>,
    #[serde(with = "as_pairs")]
    left: BTreeMap<RowId, Left>,
    /// One-shot fields asked for since the last handshake.
    #[serde(with = "as_pairs")]
    asked: BTreeMap<RowId, Fields>,
    /// How many of `told` are not acknowledged.
    unacknowledged: usize,
    forgotten: u64,
}

impl Deliveries {
    /// Nothing was told yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The present connection, if one is up.
    pub fn connection(&self) -> Option<u64> {
        self.connection
    }

    /// Whether the peer has yet to acknowledge anything.
    pub fn is_any_unacknowledged(&self) -> bool {
        self.unacknowledged > 0
    }

    /// How many deletions could not be remembered until the peer was there to be told.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// What of a row is kept in the database: all but what is said once.
    pub fn persistent(table: Table, fields: &Fields) -> Fields {
        let mut kept = fields.clone();
        for field in table.one_shot_fields() {
            kept.remove(field);
        }
        kept
    }

    /// A connection is up, and the database was read after that: what to send first on it.
    ///
    /// Deletions come first, sets of HA scopes last among them; then the rows, in the order of [`Table`].
    pub fn up<'a>(
        &mut self,
        connection: u64,
        rows: impl IntoIterator<Item = (&'a RowId, &'a Fields)>,
    ) -> Vec<Outgoing> {
        self.down();
        self.connection = Some(connection);
        self.asked.clear();
        let rows: BTreeMap<&RowId, &Fields> = rows.into_iter().collect();
        let left = std::mem::take(&mut self.left);
        let gone = |(row, left): &(RowId, Left)| left.is_deleted || !rows.contains_key(row);
        let mut out: Vec<Outgoing> =
            left.into_iter().rev().filter(gone).map(|(row, _)| self.tell(row, None)).collect();
        for (row, fields) in rows {
            let fields = Self::persistent(row.0, fields);
            out.push(self.tell(row.clone(), Some(fields)));
        }
        out
    }

    /// The connection is over. Nothing is known to be at the peer any more, though everything may be.
    pub fn down(&mut self) {
        self.connection = None;
        self.unacknowledged = 0;
        for (row, told) in std::mem::take(&mut self.told) {
            self.left.entry(row).or_default().is_deleted |= told.fields.is_none();
        }
        self.forget_too_many();
    }

    /// A row was written to the database: what to send, if a connection is up.
    pub fn set(&mut self, row: &RowId, fields: &Fields) -> Option<Outgoing> {
        let mut asked = Fields::new();
        for name in row.0.one_shot_fields() {
            if let Some(value) = fields.get(name) {
                asked.set(*name, value.clone());
            }
        }
        if asked.is_empty() {
            self.asked.remove(row);
        } else {
            self.asked.insert(row.clone(), asked);
        }
        self.connection.is_some().then(|| self.tell(row.clone(), Some(fields.clone())))
    }

    /// A row is to be deleted: what to send, to be deleted in the database once that is acknowledged or the
    /// connection is over; `None` if it can be deleted at once, since nobody is there to be told.
    pub fn del(&mut self, row: &RowId) -> Option<Outgoing> {
        self.asked.remove(row);
        if self.connection.is_none() {
            self.left.insert(row.clone(), Left { is_deleted: true });
            self.forget_too_many();
            return None;
        }
        Some(self.tell(row.clone(), None))
    }

    /// A row is gone from the database though nobody here deleted it: what to send, if the peer may have it.
    pub fn vanished(&mut self, row: &RowId) -> Option<Outgoing> {
        self.asked.remove(row);
        if let Some(left) = self.left.get_mut(row) {
            left.is_deleted = true;
        }
        let may_have = self.told.get(row).is_some_and(|told| told.fields.is_some());
        may_have.then(|| self.tell(row.clone(), None))
    }

    /// The rows that the peer was told of on the present connection and was not told to delete.
    pub fn rows(&self) -> impl Iterator<Item = &RowId> {
        self.told.iter().filter(|(_, told)| told.fields.is_some()).map(|(row, _)| row)
    }

    /// Whether the peer was last told, on the present connection, that the row is stored so; a row that it was not told
    /// of is one that it was told is gone.
    pub fn is_told(&self, row: &RowId, stored: Option<&Fields>) -> bool {
        let told = self.told.get(row).and_then(|told| told.fields.as_ref());
        let kept = |fields: &Fields| Self::persistent(row.0, fields);
        told.map(kept) == stored.map(kept)
    }

    /// The peer has acknowledged rows: which deletions are among them, in their latest form.
    pub fn acknowledged(&mut self, connection: u64, receipts: Vec<Receipt>) -> Vec<RowId> {
        let mut deleted = Vec::new();
        if self.connection != Some(connection) {
            return deleted;
        }
        for (row, serial) in receipts {
            let Some(told) = self.told.get_mut(&row).filter(|told| told.serial == serial) else { continue };
            if !std::mem::replace(&mut told.is_acknowledged, true) {
                self.unacknowledged -= 1;
            }
            if told.fields.is_none() {
                self.told.remove(&row);
                deleted.push(row);
            }
        }
        deleted
    }

    /// A row that the database holds, as it is at the peer.
    pub fn delivery(&self, row: &RowId, stored: &Fields) -> Delivery {
        let mut fields = Self::persistent(row.0, stored);
        if let Some(asked) = self.asked.get(row) {
            fields.merge(asked);
        }
        let has = |told: &&Told| told.is_acknowledged && told.fields.as_ref() == Some(&fields);
        let consumed = self.told.get(row).filter(has).is_some();
        Delivery { fields, consumed }
    }

    fn tell(&mut self, row: RowId, fields: Option<Fields>) -> Outgoing {
        self.serial += 1;
        let (table, key) = row.clone();
        let serial = self.serial;
        let before = self.told.insert(row, Told { fields: fields.clone(), serial, is_acknowledged: false });
        if before.is_none_or(|told| told.is_acknowledged) {
            self.unacknowledged += 1;
        }
        Outgoing { table, key, fields, serial }
    }

    fn forget_too_many(&mut self) {
        while self.left.len() > UNTOLD_DELETIONS_MAX {
            self.left.pop_first();
            self.forgotten += 1;
        }
    }
}
