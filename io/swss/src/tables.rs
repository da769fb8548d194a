//! Rows of several tables of one database: finding and reading them.

use std::collections::{BTreeMap, BTreeSet};

use bus::{Keyspace, Located, Pending, RowId};
use redis::{RedisResult, Value};
use schema::{Fields, Table};

use crate::Endpoint;
use crate::inbox::CameIn;
use crate::link::Link;
use crate::round_trip::RoundTrip;
use crate::wire::{self, Hash};

/// How many buckets of the keyspace one `SCAN` looks at.
const KEYS_PER_SCAN: usize = 1000;
/// Of how many unusable keys it is remembered that a warning was given.
const WARNED_MAX: usize = 1000;

/// Several tables of one database.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) endpoint: Endpoint,
    pub(crate) keyspace: Keyspace,
    pub(crate) round_trip: RoundTrip,
    warned: BTreeSet<Vec<u8>>,
}

impl Tables {
    pub(crate) fn new(endpoint: &Endpoint, tables: impl IntoIterator<Item = Table>) -> Self {
        let tables: Vec<Table> = tables.into_iter().collect();
        for table in tables.iter().filter(|table| table.db() != endpoint.db) {
            tracing::error!(%table, db = %endpoint.db, "this table is not of this database: ignored");
        }
        let (keyspace, round_trip) = (endpoint.keyspace(tables), RoundTrip::new());
        Self { endpoint: endpoint.clone(), keyspace, round_trip, warned: BTreeSet::new() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Table> + '_ {
        self.keyspace.tables()
    }

    /// What came in, by row and table.
    pub(crate) fn sort(&mut self, came_in: CameIn) -> Pending {
        let CameIn { keys, channels, flushed, disconnected: _ } = came_in;
        let mut pending = Pending { everything: flushed, ..Pending::default() };
        for (redis_key, gone) in keys {
            match self.keyspace.locate(&redis_key) {
                Some(Located::Row(row)) => pending.row(row, gone),
                Some(Located::Set(table)) => {
                    pending.sets.insert(table);
                }
                Some(Located::NotText(table, key)) => self.warn_not_text(table, key),
                None => {}
            }
        }
        if !channels.is_empty() {
            pending.wakes.extend(self.keyspace.woken(|channel| channels.contains(channel)));
        }
        pending
    }

    /// The row that a Redis key is for; `None` if it is not of these tables, or is not UTF-8.
    fn locate(&mut self, redis_key: &[u8]) -> Option<RowId> {
        match self.keyspace.locate(redis_key)? {
            Located::Row(row) => Some(row),
            Located::Set(_) => None,
            Located::NotText(table, key) => {
                self.warn_not_text(table, key);
                None
            }
        }
    }

    /// A key as text; warns once if it is not UTF-8.
    pub(crate) fn key_text(&mut self, table: Table, key: &[u8]) -> Option<String> {
        match std::str::from_utf8(key) {
            Ok(text) => Some(text.to_owned()),
            Err(_) => {
                self.warn_not_text(table, key);
                None
            }
        }
    }

    fn warn_not_text(&mut self, table: Table, key: &[u8]) {
        if self.first_warning(key) {
            tracing::warn!(db = %self.endpoint.db, %table, key = ?key.escape_ascii().to_string(),
                "skipping a row whose key is not UTF-8");
        }
    }

    /// What is at a Redis key as a row; anything but a hash counts as gone, and is warned of once.
    pub(crate) fn row(&mut self, redis_key: &str, answer: Value) -> RedisResult<Option<Fields>> {
        match wire::hash(answer)? {
            Hash::Row(fields) => {
                if !self.warned.is_empty() {
                    self.warned.remove(redis_key.as_bytes());
                }
                Ok(fields)
            }
            Hash::NotAHash(error) => {
                if self.first_warning(redis_key.as_bytes()) {
                    tracing::warn!(db = %self.endpoint.db, key = redis_key, error,
                        "this row is not a hash: it counts as gone");
                }
                Ok(None)
            }
        }
    }

    fn first_warning(&mut self, key: &[u8]) -> bool {
        if self.warned.len() >= WARNED_MAX {
            self.warned.clear();
        }
        self.warned.insert(key.to_vec())
    }

    /// The keys of all rows, found by `SCAN`; `prefix` is `_` for pending fields. A row that is there all the
    /// while is found; one that comes or goes meanwhile shows in the keyspace events.
    pub(crate) async fn scan(&mut self, link: &mut Link, prefix: &str) -> RedisResult<BTreeSet<RowId>> {
        let mut found: BTreeSet<RowId> = self.iter().map(|table| (table, String::new())).collect();
        let mut open: BTreeMap<Table, Vec<u8>> = self.iter().map(|table| (table, b"0".to_vec())).collect();
        while !open.is_empty() {
            let mut scans = redis::pipe();
            for (table, cursor) in &open {
                let pattern = self.keyspace.pattern(prefix, *table);
                scans.cmd("SCAN").arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(KEYS_PER_SCAN);
            }
            let answers = link.pipeline(&scans).await?;
            let mut next = BTreeMap::new();
            for (table, answer) in open.into_keys().zip(answers) {
                let mut answer = wire::items(answer.extract_error()?)?.into_iter();
                let (Some(cursor), Some(keys)) = (answer.next(), answer.next()) else {
                    return Err(wire::unexpected("a cursor and keys", None));
                };
                for key in wire::items(keys)? {
                    let key = wire::bytes(key)?;
                    let key = key.strip_prefix(prefix.as_bytes()).unwrap_or(&key);
                    found.extend(self.locate(key));
                }
                let cursor = wire::bytes(cursor)?;
                if cursor != b"0" {
                    next.insert(table, cursor);
                }
            }
            open = next;
        }
        Ok(found)
    }

    /// Reads rows, each at its own instant. Those that are absent are in the result as `None`.
    pub(crate) async fn read(
        &mut self,
        link: &mut Link,
        rows: impl IntoIterator<Item = RowId>,
    ) -> RedisResult<BTreeMap<RowId, Option<Fields>>> {
        let mut found = BTreeMap::new();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let chunk: Vec<(RowId, String)> = rows
                .by_ref()
                .take(self.round_trip.rows())
                .map(|row| {
                    let redis_key = self.keyspace.redis_key(row.0, &row.1);
                    (row, redis_key)
                })
                .collect();
            let mut reads = redis::pipe();
            for (_, redis_key) in &chunk {
                reads.cmd("HGETALL").arg(redis_key);
            }
            let answers = self.round_trip.learn(link.pipeline(&reads).await)?;
            for ((row, redis_key), answer) in chunk.into_iter().zip(answers) {
                found.insert(row, self.row(&redis_key, answer)?);
            }
        }
        Ok(found)
    }
}
