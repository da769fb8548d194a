//! A Redis server's semantics, as far as the bus uses them: databases of rows, what a producer leaves for its
//! consumer, and the notifications that each operation causes.
//!
//! Mirrors `io/swss/src/lua` operation by operation.

use std::collections::{BTreeMap, BTreeSet};

use bus::{Stored, Unread, Waiting};
use reconcile::{Op, RowWrite};
use schema::{Db, Fields, Table};

/// A row within a database.
pub type RowKey = bus::RowId;

pub use bus::Mode;

/// What a client that listens may get to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A keyspace event of a row, and whether the row was gone then.
    Row(RowKey, bool),
    /// A keyspace event of pending fields or of a set of pending keys.
    Side(RowKey),
    /// A producer's message for the table's consumer.
    Wake(Table),
    /// `FLUSHDB`: nothing else tells of it.
    Flushed,
}

/// One database.
#[derive(Clone, Debug, Default)]
pub struct Database {
    /// The rows themselves.
    pub rows: BTreeMap<RowKey, Fields>,
    pending: BTreeMap<RowKey, Fields>,
    key_set: BTreeSet<RowKey>,
    del_set: BTreeSet<RowKey>,
    /// How often it was emptied.
    pub emptied: u64,
}

/// One server.
#[derive(Clone, Debug)]
pub struct RedisServer {
    /// Whether it runs.
    pub is_up: bool,
    /// Its databases.
    pub databases: BTreeMap<Db, Database>,
}

impl RedisServer {
    /// A server that does not run yet.
    pub fn new(databases: &[Db]) -> Self {
        let databases = databases.iter().map(|db| (*db, Database::default())).collect();
        Self { is_up: false, databases }
    }

    /// All data is lost.
    pub fn lose_data(&mut self) {
        for database in self.databases.values_mut() {
            *database = Database { emptied: database.emptied + 1, ..Database::default() };
        }
    }
}

impl Database {
    /// Carries out a write as `write.lua` does.
    pub fn write(&mut self, mode: Mode, write: &RowWrite) -> Vec<Notice> {
        let row = (write.table, write.key.clone());
        match (mode, &write.op) {
            (Mode::Table, Op::Set(fields)) => {
                self.rows.insert(row.clone(), fields.clone());
                vec![Notice::Row(row, false)]
            }
            (Mode::Table, Op::Merge(fields)) => {
                self.rows.entry(row.clone()).or_default().merge(fields);
                vec![Notice::Row(row, false)]
            }
            (Mode::Table, Op::Del) => self.del(row),
            (Mode::ProducerState, Op::Set(fields)) => self.produce_set(row, fields),
            (Mode::ProducerState, Op::Merge(fields)) => {
                let added = self.key_set.insert(row.clone());
                self.pending.entry(row.clone()).or_default().merge(fields);
                produced(row, added)
            }
            (Mode::ProducerState, Op::Del) => {
                let added = self.key_set.insert(row.clone());
                let is_first = self.del_set.insert(row.clone());
                let had_pending = self.pending.remove(&row).is_some();
                let mut notices = self.del(row.clone());
                // A deletion that already waits tells nobody anything.
                if added || is_first || had_pending {
                    notices.extend(produced(row, added));
                }
                notices
            }
        }
    }

    fn produce_set(&mut self, row: RowKey, fields: &Fields) -> Vec<Notice> {
        let added = self.key_set.insert(row.clone());
        let has_stale = self
            .rows
            .get(&row)
            .is_some_and(|present| present.iter().any(|(name, _)| fields.get(name).is_none()));
        if has_stale {
            self.del_set.insert(row.clone());
        }
        self.pending.insert(row.clone(), fields.clone());
        produced(row, added)
    }

    fn del(&mut self, row: RowKey) -> Vec<Notice> {
        match self.rows.remove(&row) {
            Some(_) => vec![Notice::Row(row, true)],
            None => Vec::new(),
        }
    }

    /// Takes up to `limit` of what is pending for a table, as `pop.lua` does, and the rows as they are then.
    pub fn pop(&mut self, table: Table, limit: usize) -> (BTreeMap<RowKey, Option<Fields>>, Vec<Notice>) {
        let waiting = self.key_set.iter().filter(|row| row.0 == table);
        let waiting: Vec<RowKey> = waiting.take(limit).cloned().collect();
        let (mut rows, mut notices) = (BTreeMap::new(), Vec::new());
        for row in waiting {
            self.key_set.remove(&row);
            notices.push(Notice::Side(row.clone()));
            if self.del_set.remove(&row) {
                notices.extend(self.del(row.clone()));
            }
            if let Some(pending) = self.pending.remove(&row) {
                self.rows.entry(row.clone()).or_default().merge(&pending);
                notices.push(Notice::Row(row.clone(), false));
            }
            let present = self.rows.get(&row).cloned();
            rows.insert(row, present);
        }
        (rows, notices)
    }

    /// `FLUSHDB`; `politely` deletes every key first, as `dpu-dbclean` does.
    pub fn flush(&mut self, politely: bool) -> Vec<Notice> {
        let mut notices = Vec::new();
        if politely {
            notices.extend(self.rows.keys().map(|row| Notice::Row(row.clone(), true)));
            notices.extend(self.key_set.iter().map(|row| Notice::Side(row.clone())));
        }
        notices.push(Notice::Flushed);
        *self = Self { emptied: self.emptied + 1, ..Self::default() };
        notices
    }

    /// Whether a row waits for its consumer.
    pub fn is_waiting(&self, row: &RowKey) -> bool {
        self.key_set.contains(row)
    }

    /// The rows that wait for their consumer.
    pub fn waiting(&self) -> impl Iterator<Item = &RowKey> {
        self.key_set.iter()
    }

    /// The row as the consumer has it, or will have it.
    pub fn taken(&self, row: &RowKey) -> Option<Fields> {
        let mut fields = match self.rows.get(row) {
            Some(main) if !self.del_set.contains(row) => main.clone(),
            Some(_) | None => Fields::new(),
        };
        if let Some(pending) = self.pending.get(row) {
            fields.merge(pending);
        }
        (!fields.is_empty()).then_some(fields)
    }

    /// The keys of all rows of some tables; with what is pending for a consumer if asked for.
    pub fn find(&self, tables: &[Table], with_pending: bool) -> BTreeSet<RowKey> {
        let pending = self.pending.keys().filter(|_| with_pending);
        self.rows.keys().chain(pending).filter(|row| tables.contains(&row.0)).cloned().collect()
    }

    /// What a store reads at one instant.
    pub fn stored(&self, unread: Unread) -> (BTreeMap<RowKey, Stored>, BTreeMap<Table, Waiting>) {
        let stored = |row: RowKey| {
            let stored =
                Stored { main: self.rows.get(&row).cloned(), pending: self.pending.get(&row).cloned() };
            (row, stored)
        };
        let keys = |set: &BTreeSet<RowKey>, table| {
            set.iter().filter(|row| row.0 == table).map(|row| row.1.clone()).collect()
        };
        let waiting = |table| {
            let waiting = Waiting { keys: keys(&self.key_set, table), deletions: keys(&self.del_set, table) };
            (table, waiting)
        };
        (unread.rows.into_iter().map(stored).collect(), unread.sets.into_iter().map(waiting).collect())
    }
}

fn produced(row: RowKey, added: bool) -> Vec<Notice> {
    let mut notices = vec![Notice::Side(row.clone())];
    if added {
        notices.push(Notice::Wake(row.0));
    }
    notices
}
