//! Stores, as `io/swss/src/store`.

use std::collections::{BTreeMap, VecDeque};

use reconcile::{Op, RowWrite, StoreUpdate};
use schema::{Fields, Table};

use super::{Pending, Stepped, TaggedWrite};
use crate::redis::{Database, Mode, RowKey};

/// After how many reads that were overtaken the last one counts.
const READS_MAX: u32 = 16;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Storing {
    Off,
    Idle,
    /// Carried out on the server; the answer is on its way.
    Wrote(Vec<RowWrite>),
    /// To be read, for the so-manieth time.
    Read(u32),
    /// Read; the answer is on its way.
    Answered(u32),
}

/// As `swss::Store`.
#[derive(Clone, Debug)]
pub struct Store {
    tables: Vec<(Table, Mode)>,
    pub(super) phase: Storing,
    /// Handed over by the process, not yet to the store.
    pub port: VecDeque<Vec<TaggedWrite>>,
    pub(super) writes: VecDeque<TaggedWrite>,
    updates: VecDeque<(StoreUpdate, Option<u64>)>,
    unread_loss: bool,
    reported: BTreeMap<RowKey, (Fields, bool)>,
    has_reported: bool,
    has_news: bool,
    read_emptied: u64,
    /// How often the database had been emptied when the last snapshot that the process has was read.
    pub known_emptied: u64,
}

impl Store {
    /// A store that writes these tables.
    pub fn open(tables: &[(Table, Mode)]) -> Self {
        Self {
            tables: tables.to_vec(),
            phase: Storing::Off,
            port: VecDeque::new(),
            writes: VecDeque::new(),
            updates: VecDeque::new(),
            unread_loss: false,
            reported: BTreeMap::new(),
            has_reported: false,
            has_news: false,
            read_emptied: 0,
            known_emptied: 0,
        }
    }

    pub(super) fn mode(&self, table: Table) -> Option<Mode> {
        self.tables.iter().find(|(ours, _)| *ours == table).map(|(_, mode)| *mode)
    }

    /// As `Queue::write`; whether the client has to be woken.
    pub fn write(&mut self, writes: Vec<TaggedWrite>) -> bool {
        if self.unread_loss {
            return false;
        }
        self.writes.extend(writes);
        true
    }

    fn execute(&mut self, database: &mut Database, out: &mut Stepped) {
        let mut sent = Vec::new();
        while let Some((write, known)) = self.writes.pop_front() {
            if let Some(mode) = self.mode(write.table) {
                out.notices.extend(database.write(mode, &write));
                out.written.push((write.clone(), known));
                sent.push(write);
            }
        }
        self.phase = Storing::Wrote(sent);
    }

    pub(super) fn step(&mut self, inbox: &mut Pending, database: &mut Database, out: &mut Stepped) {
        match std::mem::replace(&mut self.phase, Storing::Idle) {
            // Off is left by connecting only.
            Storing::Off => self.phase = Storing::Off,
            Storing::Idle => {
                if !self.writes.is_empty() {
                    self.execute(database, out);
                } else if !inbox.is_empty() {
                    *inbox = Pending::default();
                    self.phase = Storing::Read(0);
                }
            }
            Storing::Wrote(sent) => {
                for write in sent {
                    self.note_written(&write);
                    self.report(StoreUpdate::Written { write, done: true }, None);
                }
                out.fed = true;
                if self.writes.is_empty() {
                    *inbox = Pending::default();
                    self.phase = Storing::Read(0);
                } else {
                    self.execute(database, out);
                }
            }
            Storing::Read(count) => {
                // What the read answers includes everything noticed so far.
                *inbox = Pending::default();
                self.read(database);
                self.phase = Storing::Answered(count);
            }
            Storing::Answered(count) => {
                if !inbox.is_empty() && count < READS_MAX {
                    self.phase = Storing::Read(count + 1);
                    return;
                }
                if !self.has_reported || self.has_news {
                    self.has_reported = true;
                    self.has_news = false;
                    let owned = |((table, key), (fields, consumed)): (&RowKey, &(Fields, bool))| {
                        reconcile::OwnedRow {
                            table: *table,
                            key: key.clone(),
                            fields: fields.clone(),
                            consumed: *consumed,
                        }
                    };
                    let snapshot = StoreUpdate::Snapshot(self.reported.iter().map(owned).collect());
                    self.report(snapshot, Some(self.read_emptied));
                    out.fed = true;
                } else {
                    match self.updates.back_mut() {
                        Some((_, emptied)) => *emptied = Some(self.read_emptied),
                        None => self.known_emptied = self.read_emptied,
                    }
                }
            }
        }
    }

    fn read(&mut self, database: &Database) {
        self.read_emptied = database.emptied;
        let rows = database.owned_rows(&self.tables);
        let present: BTreeMap<RowKey, (Fields, bool)> =
            rows.into_iter().map(|row| ((row.table, row.key), (row.fields, row.consumed))).collect();
        if present != self.reported {
            self.has_news = true;
            self.reported = present;
        }
    }

    fn note_written(&mut self, write: &RowWrite) {
        let row = (write.table, write.key.clone());
        match &write.op {
            Op::Set(fields) => {
                self.reported.insert(row, (fields.clone(), false));
            }
            Op::Merge(newer) => {
                self.reported.entry(row).or_insert_with(|| (Fields::new(), false)).0.merge(newer);
            }
            Op::Del => {
                self.reported.remove(&row);
            }
        }
    }

    fn report(&mut self, update: StoreUpdate, emptied: Option<u64>) {
        let last_is_snapshot = matches!(self.updates.back(), Some((StoreUpdate::Snapshot(_), _)));
        match &update {
            StoreUpdate::Snapshot(_) => {
                if last_is_snapshot {
                    self.updates.pop_back();
                }
                self.updates.push_back((update, emptied));
            }
            StoreUpdate::Written { .. } => self.updates.push_back((update, emptied)),
            StoreUpdate::Lost => {
                self.writes.clear();
                self.unread_loss = true;
                if last_is_snapshot {
                    self.updates.pop_back();
                }
                if !matches!(self.updates.back(), Some((StoreUpdate::Lost, _))) {
                    self.updates.push_back((update, emptied));
                }
            }
        }
    }

    pub(super) fn lose(&mut self) {
        self.phase = Storing::Off;
        self.reported.clear();
        self.has_news = false;
        if std::mem::take(&mut self.has_reported) {
            self.report(StoreUpdate::Lost, None);
        }
    }

    /// The next update, if there is one.
    pub fn take(&mut self) -> Option<StoreUpdate> {
        let (update, emptied) = self.updates.pop_front()?;
        if update == StoreUpdate::Lost {
            self.unread_loss = self.updates.iter().any(|(update, _)| *update == StoreUpdate::Lost);
        }
        if let Some(emptied) = emptied {
            self.known_emptied = emptied;
        }
        Some(update)
    }

    /// Whether there is an update to take.
    pub fn has_update(&self) -> bool {
        !self.updates.is_empty()
    }
}
