//! The store's rows as last read, and as last reported.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{Op, OwnedRow, RowWrite};
use redis::{Pipeline, RedisResult, Value};
use schema::{Fields, Table};

use crate::endpoint::{del_set, key_set};
use crate::link::Link;
use crate::tables::{RowId, Tables};
use crate::{Endpoint, Mode, wire};

/// What has to be read again.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    pub(super) rows: BTreeSet<RowId>,
    /// Tables whose sets of pending keys have to be read.
    pub(super) sets: BTreeSet<Table>,
}

/// A row as stored.
#[derive(Debug, Default)]
struct Stored {
    main: Option<Fields>,
    pending: Option<Fields>,
}

/// Keys of a table that wait for the consumer, and those of them whose row it deletes first.
#[derive(Debug, Default)]
struct Waiting {
    keys: BTreeSet<String>,
    deletions: BTreeSet<String>,
}

/// A row as reported: fields, and whether they are consumed.
type Reported = (Fields, bool);

#[derive(Debug)]
pub(super) struct Mirror {
    pub(super) tables: Tables,
    pub(super) modes: BTreeMap<Table, Mode>,
    stored: BTreeMap<RowId, Stored>,
    waiting: BTreeMap<Table, Waiting>,
    /// What the store's user has been told, or is told by the next snapshot.
    reported: BTreeMap<RowId, Reported>,
    /// Whether a snapshot was reported since the last loss.
    has_reported: bool,
    /// Whether the next snapshot tells anything new.
    has_news: bool,
}

impl Waiting {
    /// The keys that wait in one and not in the other, or are deleted first in one and not in the other.
    fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a String> {
        let keys = self.keys.symmetric_difference(&other.keys);
        keys.chain(self.deletions.symmetric_difference(&other.deletions))
    }
}

impl Dirty {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.sets.is_empty()
    }
}

impl Mirror {
    pub(super) fn new(endpoint: &Endpoint, tables: &[(Table, Mode)]) -> Self {
        let list = Tables::new(endpoint, tables.iter().map(|(table, _)| *table));
        let modes =
            tables.iter().filter(|(table, _)| list.iter().any(|here| here == *table)).copied().collect();
        Self {
            tables: list,
            modes,
            stored: BTreeMap::new(),
            waiting: BTreeMap::new(),
            reported: BTreeMap::new(),
            has_reported: false,
            has_news: false,
        }
    }

    fn produced(&self) -> impl Iterator<Item = Table> + '_ {
        self.modes.iter().filter(|(_, mode)| **mode == Mode::ProducerState).map(|(table, _)| *table)
    }

    fn is_produced(&self, table: Table) -> bool {
        self.modes.get(&table) == Some(&Mode::ProducerState)
    }

    /// Patterns and channels of the keyspace events of everything that a row is made of.
    pub(super) fn keyspace(&self) -> (Vec<String>, Vec<String>) {
        let endpoint = &self.tables.endpoint;
        let (mut patterns, mut channels) = (Vec::new(), Vec::new());
        for table in self.tables.iter() {
            patterns.push(endpoint.keyspace_channel(&endpoint.pattern("", table)));
            channels.push(endpoint.keyspace_channel(&endpoint.redis_key(table, "")));
        }
        for table in self.produced() {
            patterns.push(endpoint.keyspace_channel(&endpoint.pattern("_", table)));
            channels.push(endpoint.keyspace_channel(&endpoint.pending_key(table, "")));
            channels.push(endpoint.keyspace_channel(&key_set(table)));
            channels.push(endpoint.keyspace_channel(&del_set(table)));
        }
        (patterns, channels)
    }

    /// What a Redis key belongs to is to be read again.
    pub(super) fn mark(&mut self, redis_key: &[u8], dirty: &mut Dirty) {
        let set = self
            .produced()
            .find(|table| redis_key == key_set(*table).as_bytes() || redis_key == del_set(*table).as_bytes());
        if let Some(table) = set {
            dirty.sets.insert(table);
            return;
        }
        let row = self.tables.locate(redis_key.strip_prefix(b"_").unwrap_or(redis_key));
        dirty.rows.extend(row);
    }

    /// What a write touched is to be read again, even if no event tells of it.
    pub(super) fn mark_written(&self, write: &RowWrite, dirty: &mut Dirty) {
        dirty.rows.insert((write.table, write.key.clone()));
        if self.is_produced(write.table) {
            dirty.sets.insert(write.table);
        }
    }

    /// Forgets what is stored; all there is, is to be read.
    pub(super) async fn scan(&mut self, link: &mut Link) -> RedisResult<Dirty> {
        self.stored.clear();
        self.waiting.clear();
        let mut rows = self.tables.scan(link, "").await?;
        let sets: BTreeSet<Table> = self.produced().collect();
        if !sets.is_empty() {
            rows.extend(self.tables.scan(link, "_").await?);
        }
        rows.extend(self.reported.keys().cloned());
        Ok(Dirty { rows, sets })
    }

    /// All rows that are known, and all sets.
    pub(super) fn all(&self) -> Dirty {
        Dirty { rows: self.stored.keys().cloned().collect(), sets: self.produced().collect() }
    }

    /// Reads at one instant.
    pub(super) async fn read(&mut self, link: &mut Link, dirty: Dirty) -> RedisResult<()> {
        let endpoint = self.tables.endpoint.clone();
        let mut reads = Pipeline::new();
        for table in &dirty.sets {
            reads.cmd("SMEMBERS").arg(key_set(*table)).cmd("SMEMBERS").arg(del_set(*table));
        }
        for (table, key) in &dirty.rows {
            reads.cmd("HGETALL").arg(endpoint.redis_key(*table, key));
            if self.is_produced(*table) {
                reads.cmd("HGETALL").arg(endpoint.pending_key(*table, key));
            }
        }
        let mut answers = link.at_once(&mut reads).await?.into_iter();
        let mut next = || answers.next().ok_or_else(|| wire::unexpected("an answer per command", None));
        let mut affected = BTreeSet::new();
        for table in dirty.sets {
            let keys = self.members(table, &key_set(table), next()?)?;
            let deletions = self.members(table, &del_set(table), next()?)?;
            let newer = Waiting { keys, deletions };
            let older = self.waiting.remove(&table).unwrap_or_default();
            affected.extend(older.differences(&newer).map(|key| (table, key.clone())));
            self.waiting.insert(table, newer);
        }
        for row in dirty.rows {
            let main = self.tables.row(&endpoint.redis_key(row.0, &row.1), next()?)?;
            let pending = if self.is_produced(row.0) {
                self.tables.row(&endpoint.pending_key(row.0, &row.1), next()?)?
            } else {
                None
            };
            if main.is_none() && pending.is_none() {
                self.stored.remove(&row);
            } else {
                self.stored.insert(row.clone(), Stored { main, pending });
            }
            affected.insert(row);
        }
        for row in affected {
            let present = self.effective(&row);
            if self.reported.get(&row) != present.as_ref() {
                self.has_news = true;
                match present {
                    Some(present) => self.reported.insert(row, present),
                    None => self.reported.remove(&row),
                };
            }
        }
        Ok(())
    }

    fn members(&mut self, table: Table, redis_key: &str, answer: Value) -> RedisResult<BTreeSet<String>> {
        let items = match answer {
            Value::ServerError(error) => {
                let error = redis::RedisError::from(error);
                tracing::warn!(db = %self.tables.endpoint.db, key = redis_key, %error,
                    "this is not a set of keys: it counts as empty");
                return Ok(BTreeSet::new());
            }
            answer => wire::items(answer)?,
        };
        let mut members = BTreeSet::new();
        for item in items {
            members.extend(self.tables.key_text(table, &wire::bytes(item)?));
        }
        Ok(members)
    }

    /// A row as its reader has it, or will have it: the row (nothing, if it is about to be deleted), and what
    /// is pending laid over it.
    fn effective(&self, row: &RowId) -> Option<Reported> {
        let stored = self.stored.get(row)?;
        let waiting = self.waiting.get(&row.0);
        let deleted = waiting.is_some_and(|waiting| waiting.deletions.contains(&row.1));
        let consumed = !waiting.is_some_and(|waiting| waiting.keys.contains(&row.1));
        let mut fields = match &stored.main {
            Some(main) if !deleted => main.clone(),
            Some(_) | None => Fields::new(),
        };
        if let Some(pending) = &stored.pending {
            fields.merge(pending);
        }
        (!fields.is_empty()).then_some((fields, consumed))
    }

    /// The snapshot to report, if it tells anything new.
    pub(super) fn snapshot(&mut self) -> Option<Vec<OwnedRow>> {
        if self.has_reported && !self.has_news {
            return None;
        }
        self.has_reported = true;
        self.has_news = false;
        let owned = |((table, key), (fields, consumed)): (&RowId, &Reported)| OwnedRow {
            table: *table,
            key: key.clone(),
            fields: fields.clone(),
            consumed: *consumed,
        };
        Some(self.reported.iter().map(owned).collect())
    }

    /// A write is reported as done: what its user makes of that is what a `Reconciler` does.
    pub(super) fn report_written(&mut self, write: &RowWrite) {
        let reported = &mut self.reported;
        let row = (write.table, write.key.clone());
        match &write.op {
            Op::Set(fields) => {
                reported.insert(row, (fields.clone(), false));
            }
            Op::Merge(newer) => {
                reported.entry(row).or_insert_with(|| (Fields::new(), false)).0.merge(newer);
            }
            Op::Del => {
                reported.remove(&row);
            }
        }
    }

    /// The connection is lost: nothing is known. Returns whether anything had been reported.
    pub(super) fn lose(&mut self) -> bool {
        self.stored.clear();
        self.waiting.clear();
        self.reported.clear();
        self.has_news = false;
        std::mem::take(&mut self.has_reported)
    }
}
