//! Rows of several tables of one database: finding and reading them.

use std::collections::{BTreeMap, BTreeSet};

use redis::{RedisResult, Value};
use schema::{Fields, Table};

use crate::Endpoint;
use crate::link::Link;
use crate::wire::{self, Hash};

/// How many rows are read in one round trip.
const ROWS_PER_ROUND_TRIP: usize = 512;
/// How many buckets of the keyspace one `SCAN` looks at.
const KEYS_PER_SCAN: usize = 1000;
/// Of how many unusable keys it is remembered that a warning was given.
const WARNED_MAX: usize = 1000;

/// A row's table and key.
pub(crate) type RowId = (Table, String);

/// Several tables of one database.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) endpoint: Endpoint,
    tables: Vec<Table>,
    warned: BTreeSet<Vec<u8>>,
}

impl Tables {
    pub(crate) fn new(endpoint: &Endpoint, tables: impl Iterator<Item = Table>) -> Self {
        let tables: BTreeSet<Table> = tables
            .filter(|table| {
                let here = table.db() == endpoint.db;
                if !here {
                    tracing::error!(%table, db = %endpoint.db, "this table is not of this database: ignored");
                }
                here
            })
            .collect();
        Self { endpoint: endpoint.clone(), tables: tables.into_iter().collect(), warned: BTreeSet::new() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Table> + '_ {
        self.tables.iter().copied()
    }

    /// The row that a Redis key is for; `None` if it is not of these tables, or is not UTF-8.
    pub(crate) fn locate(&mut self, redis_key: &[u8]) -> Option<RowId> {
        let mut separator = [0; 4];
        let separator = self.endpoint.separator.encode_utf8(&mut separator).as_bytes();
        let at = redis_key.windows(separator.len()).position(|window| window == separator);
        let (name, key) = match at {
            Some(at) => (redis_key.get(..at)?, redis_key.get(at + separator.len()..)?),
            None => (redis_key, [].as_slice()),
        };
        let table = self.iter().find(|table| table.name().as_bytes() == name)?;
        self.key_text(table, key).map(|key| (table, key))
    }

    /// A key as text; warns once if it is not UTF-8.
    pub(crate) fn key_text(&mut self, table: Table, key: &[u8]) -> Option<String> {
        match std::str::from_utf8(key) {
            Ok(text) => Some(text.to_owned()),
            Err(_) => {
                if self.first_warning(key) {
                    tracing::warn!(db = %self.endpoint.db, %table, key = ?key.escape_ascii().to_string(),
                        "skipping a row whose key is not UTF-8");
                }
                None
            }
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
                let pattern = self.endpoint.pattern(prefix, *table);
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
                .take(ROWS_PER_ROUND_TRIP)
                .map(|row| {
                    let redis_key = self.endpoint.redis_key(row.0, &row.1);
                    (row, redis_key)
                })
                .collect();
            let mut reads = redis::pipe();
            for (_, redis_key) in &chunk {
                reads.cmd("HGETALL").arg(redis_key);
            }
            for ((row, redis_key), answer) in chunk.into_iter().zip(link.pipeline(&reads).await?) {
                found.insert(row, self.row(&redis_key, answer)?);
            }
        }
        Ok(found)
    }
}
