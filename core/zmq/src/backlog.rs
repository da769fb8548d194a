//! Rows that wait to be sent: per row its latest form, not every one it had.

use std::collections::BTreeMap;

use reconcile::as_pairs;
use schema::{Fields, Table};
use serde::{Deserialize, Serialize};

use crate::RowId;
use crate::limits::{BATCH_BYTES_MAX, BATCH_ROWS_MAX};
use crate::message::Writer;

/// A row to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// The table.
    pub table: Table,
    /// The key within the table.
    pub key: String,
    /// The whole row; `None` deletes it.
    pub fields: Option<Fields>,
    /// Tells this form of the row from others in receipts.
    pub serial: u64,
}

/// Where a row waits: its deletion, and what comes after that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Places {
    deletion: Option<u64>,
    row: Option<u64>,
}

/// At most two entries per row, in the order in which they are to be sent.
///
/// A newer form takes the place of an older one that still waits. A deletion goes to the end, and takes back whatever
/// of the row waited before it. A row that comes again after its deletion is sent after it: the peer is to see that
/// it was gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Backlog {
    queue: BTreeMap<u64, Outgoing>,
    #[serde(with = "as_pairs")]
    places: BTreeMap<RowId, Places>,
    next: u64,
}

impl Backlog {
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn put(&mut self, row: Outgoing) {
        let places = self.places.entry((row.table, row.key.clone())).or_default();
        if row.fields.is_some() {
            let place = *places.row.get_or_insert(self.next);
            self.queue.insert(place, row);
        } else {
            for older in [places.deletion, places.row].into_iter().flatten() {
                self.queue.remove(&older);
            }
            *places = Places { deletion: Some(self.next), row: None };
            self.queue.insert(self.next, row);
        }
        self.next += 1;
    }

    fn take_first(&mut self) -> Option<Outgoing> {
        let (place, row) = self.queue.pop_first()?;
        let id = (row.table, row.key.clone());
        if let Some(places) = self.places.get_mut(&id) {
            if places.deletion == Some(place) {
                places.deletion = None;
            } else {
                places.row = None;
            }
            if *places == Places::default() {
                self.places.remove(&id);
            }
        }
        Some(row)
    }

    /// Takes the rows that make the next message: those at the front that are of one table, as many as go into it.
    pub(crate) fn take_batch(&mut self) -> Option<(Vec<u8>, Vec<Outgoing>)> {
        let table = self.queue.first_key_value()?.1.table;
        let mut writer = Writer::new(table.db().name(), table.name());
        let mut rows: Vec<Outgoing> = Vec::new();
        while let Some((_, row)) = self.queue.first_key_value() {
            let length = writer.length().saturating_add(Writer::row_length(&row.key, row.fields.as_ref()));
            let is_full = rows.len() >= BATCH_ROWS_MAX || length > BATCH_BYTES_MAX;
            if row.table != table || (is_full && !rows.is_empty()) {
                break;
            }
            writer.row(&row.key, row.fields.as_ref());
            rows.extend(self.take_first());
        }
        Some((writer.finish(), rows))
    }
}
