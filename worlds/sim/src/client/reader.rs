//! Subscribers and consumers, as `io/swss/src/reader`.

use std::collections::{BTreeMap, BTreeSet};

use schema::{Fields, Table};

use super::{Change, Pending, Stepped, Update};
use crate::redis::{Database, RowKey};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reading {
    Off,
    /// A full read is under way; what was gone before it.
    All(BTreeMap<RowKey, bool>),
    Idle,
    /// These are to be read.
    Some(BTreeMap<RowKey, bool>, BTreeSet<Table>),
}

#[derive(Clone, Debug, Default)]
struct Unread {
    was_gone: bool,
    fields: Option<Fields>,
}

/// As `swss::Reader`.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) tables: Vec<Table>,
    pub(super) consumes: bool,
    known: BTreeMap<RowKey, Fields>,
    pub(super) phase: Reading,
    has_synced: bool,
    lost: bool,
    changes: BTreeMap<RowKey, Unread>,
    synced: bool,
}

impl Reader {
    /// A subscriber.
    pub fn subscribe(tables: &[Table]) -> Self {
        Self {
            tables: tables.to_vec(),
            consumes: false,
            known: BTreeMap::new(),
            phase: Reading::Off,
            has_synced: false,
            lost: false,
            changes: BTreeMap::new(),
            synced: false,
        }
    }

    /// A consumer.
    pub fn consume(tables: &[Table]) -> Self {
        Self { consumes: true, ..Self::subscribe(tables) }
    }

    pub(super) fn step(&mut self, inbox: &mut Pending, database: &mut Database, out: &mut Stepped) {
        match std::mem::replace(&mut self.phase, Reading::Idle) {
            // Off is left by connecting only.
            Reading::Off => self.phase = Reading::Off,
            Reading::All(gone) => self.read_all(gone, inbox, database, out),
            Reading::Idle => {
                let Pending { keys, wakes, flushed, disconnected: _ } = std::mem::take(inbox);
                self.phase = if flushed {
                    Reading::All(keys)
                } else if keys.is_empty() && wakes.is_empty() {
                    Reading::Idle
                } else {
                    Reading::Some(keys, wakes)
                };
            }
            Reading::Some(keys, wakes) => {
                let mut changes = Vec::new();
                for table in wakes {
                    for (row, fields) in Self::pop(database, table, out) {
                        changes.push(self.report(row, fields));
                    }
                }
                let gone: BTreeSet<RowKey> =
                    keys.iter().filter(|(_, gone)| **gone).map(|(row, _)| row.clone()).collect();
                let rows =
                    keys.into_keys().map(|row| (row.clone(), database.rows.get(&row).cloned())).collect();
                changes.extend(self.differences(rows, &gone));
                self.put(changes, false);
                out.fed = true;
            }
        }
    }

    fn pop(database: &mut Database, table: Table, out: &mut Stepped) -> BTreeMap<RowKey, Option<Fields>> {
        let (rows, notices) = database.pop(table);
        out.notices.extend(notices);
        out.popped.extend(rows.keys().cloned());
        rows
    }

    fn read_all(
        &mut self,
        mut gone: BTreeMap<RowKey, bool>,
        inbox: &mut Pending,
        database: &mut Database,
        out: &mut Stepped,
    ) {
        if self.consumes {
            for table in self.tables.clone() {
                Self::pop(database, table, out);
            }
        }
        let meanwhile = std::mem::take(inbox);
        if meanwhile.flushed {
            gone.extend(meanwhile.keys);
            self.phase = Reading::All(gone);
            return;
        }
        let tables = &self.tables;
        let found = database.rows.iter().filter(|(row, _)| tables.contains(&row.0));
        let mut rows: BTreeMap<RowKey, Option<Fields>> =
            found.map(|(row, fields)| (row.clone(), Some(fields.clone()))).collect();
        let vanished: Vec<RowKey> =
            self.known.keys().filter(|row| !rows.contains_key(*row)).cloned().collect();
        rows.extend(vanished.into_iter().map(|row| (row, None)));
        let gone = gone.into_iter().filter(|(_, gone)| *gone).map(|(row, _)| row).collect();
        let changes = self.differences(rows, &gone);
        self.put(changes, true);
        self.has_synced = true;
        inbox.wakes = meanwhile.wakes;
        out.fed = true;
    }

    fn differences(
        &mut self,
        rows: BTreeMap<RowKey, Option<Fields>>,
        gone: &BTreeSet<RowKey>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (row, fields) in rows {
            let known = self.known.get(&row);
            if known.is_some() && fields.is_some() && gone.contains(&row) {
                changes.push(Change { table: row.0, key: row.1.clone(), fields: None });
            } else if known == fields.as_ref() {
                continue;
            }
            changes.push(self.report(row, fields));
        }
        changes
    }

    fn report(&mut self, row: RowKey, fields: Option<Fields>) -> Change {
        match &fields {
            Some(fields) => self.known.insert(row.clone(), fields.clone()),
            None => self.known.remove(&row),
        };
        Change { table: row.0, key: row.1, fields }
    }

    fn put(&mut self, changes: Vec<Change>, synced: bool) {
        for Change { table, key, fields } in changes {
            let row = (table, key);
            match self.changes.get_mut(&row) {
                Some(unread) => {
                    unread.was_gone |= unread.fields.is_none();
                    unread.fields = fields;
                }
                None => {
                    self.changes.insert(row, Unread { was_gone: false, fields });
                }
            }
        }
        self.synced |= synced;
    }

    pub(super) fn lose(&mut self) {
        self.phase = Reading::Off;
        if std::mem::take(&mut self.has_synced) {
            self.lost = true;
            self.synced = false;
        }
    }

    /// The next update, if there is one.
    pub fn take(&mut self) -> Option<Update> {
        if std::mem::take(&mut self.lost) {
            return Some(Update::Lost);
        }
        if !self.changes.is_empty() {
            let mut changes = Vec::new();
            for ((table, key), Unread { was_gone, fields }) in std::mem::take(&mut self.changes) {
                if was_gone && fields.is_some() {
                    changes.push(Change { table, key: key.clone(), fields: None });
                }
                changes.push(Change { table, key, fields });
            }
            return Some(Update::Changes(changes));
        }
        std::mem::take(&mut self.synced).then_some(Update::Synced)
    }
}
