//! Finding rows by the names of their tables.

use std::collections::{BTreeMap, BTreeSet};

use redis::RedisResult;
use schema::Fields;

use crate::NamedEndpoint;
use crate::link::Link;
use crate::round_trip::RoundTrip;
use crate::wire::{self, Hash};

/// How many buckets of the keyspace one `SCAN` looks at.
const KEYS_PER_SCAN: usize = 1000;

/// A row's table and key; the key is empty for a row without one.
pub type RowName = (String, String);

/// The tables that are looked at: those named, or all if none is.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    pub(super) endpoint: NamedEndpoint,
    names: BTreeSet<String>,
    pub(super) round_trip: RoundTrip,
}

impl Tables {
    pub(super) fn new(endpoint: NamedEndpoint, names: &[String]) -> Self {
        Self { endpoint, names: names.iter().cloned().collect(), round_trip: RoundTrip::new() }
    }

    /// Patterns of Redis keys, and Redis keys of rows without a key.
    pub(super) fn patterns(&self) -> (Vec<String>, Vec<String>) {
        if self.names.is_empty() {
            return (vec!["*".to_owned()], Vec::new());
        }
        let patterns =
            self.names.iter().map(|name| bus::row_pattern(name, self.endpoint.separator)).collect();
        (patterns, self.names.iter().cloned().collect())
    }

    /// The row that a Redis key is for: what precedes the first separator is the table. `None` if it is not of these
    /// tables, or not UTF-8.
    pub(super) fn locate(&self, redis_key: &[u8]) -> Option<RowName> {
        let redis_key = std::str::from_utf8(redis_key).ok()?;
        let (table, key) = redis_key.split_once(self.endpoint.separator).unwrap_or((redis_key, ""));
        let wanted = self.names.is_empty() || self.names.contains(table);
        wanted.then(|| (table.to_owned(), key.to_owned()))
    }

    /// The names of all there is, rows or not, found by `SCAN`.
    pub(super) async fn scan(&self, link: &mut Link) -> RedisResult<BTreeSet<RowName>> {
        let (patterns, keyless) = self.patterns();
        let mut found: BTreeSet<RowName> = keyless.into_iter().map(|name| (name, String::new())).collect();
        for pattern in patterns {
            let mut cursor = b"0".to_vec();
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(KEYS_PER_SCAN);
                let mut answer = wire::items(link.query(&scan).await?)?.into_iter();
                let (Some(next), Some(keys)) = (answer.next(), answer.next()) else {
                    return Err(wire::unexpected("a cursor and keys", None));
                };
                for key in wire::items(keys)? {
                    found.extend(self.locate(&wire::bytes(key)?));
                }
                cursor = wire::bytes(next)?;
                if cursor == b"0" {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Reads rows, each at its own instant. What is absent, or is no hash, is in the result as `None`.
    pub(super) async fn read(
        &mut self,
        link: &mut Link,
        rows: impl IntoIterator<Item = RowName>,
    ) -> RedisResult<BTreeMap<RowName, Option<Fields>>> {
        let rows: Vec<RowName> = rows.into_iter().collect();
        let mut found = BTreeMap::new();
        for chunk in rows.chunks(self.round_trip.rows()) {
            let mut reads = redis::pipe();
            for (table, key) in chunk {
                reads.cmd("HGETALL").arg(self.endpoint.redis_key(table, key));
            }
            let answers = self.round_trip.learn(link.pipeline(&reads).await)?;
            for (row, answer) in chunk.iter().zip(answers) {
                let fields = match wire::hash(answer)? {
                    Hash::Row(fields) => fields,
                    Hash::NotAHash(_) => None,
                };
                found.insert(row.clone(), fields);
            }
        }
        Ok(found)
    }
}
