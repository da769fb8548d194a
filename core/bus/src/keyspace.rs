//! Names of keys and channels (`reference/swss-wire.md` 2.1, 2.4, 3.1), and back from a name to what it is of.

use std::collections::BTreeSet;

use schema::{Db, Table};

use crate::RowId;

/// Several tables of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyspace {
    index: u32,
    separator: char,
    tables: Vec<Table>,
}

/// What a Redis key is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Located<'a> {
    /// A row, or the fields that wait for its consumer.
    Row(RowId),
    /// A set of keys that wait for the table's consumer.
    Set(Table),
    /// A row whose key is not UTF-8, which nothing of ours can be.
    NotText(Table, &'a [u8]),
}

impl Keyspace {
    /// The tables that are of `db`, which has that number on its server and that separator.
    pub fn new(db: Db, index: u32, separator: char, tables: impl IntoIterator<Item = Table>) -> Self {
        let tables: BTreeSet<Table> = tables.into_iter().filter(|table| table.db() == db).collect();
        Self { index, separator, tables: tables.into_iter().collect() }
    }

    /// The tables, in order.
    pub fn tables(&self) -> impl Iterator<Item = Table> + '_ {
        self.tables.iter().copied()
    }

    /// What stands between table and key.
    pub fn separator(&self) -> char {
        self.separator
    }

    /// The Redis key of a row: just the table's name where the row has no key.
    pub fn redis_key(&self, table: Table, key: &str) -> String {
        if key.is_empty() {
            return table.name().to_owned();
        }
        format!("{}{}{key}", table.name(), self.separator)
    }

    /// The Redis key of the fields that wait for the table's consumer.
    pub fn pending_key(&self, table: Table, key: &str) -> String {
        format!("_{}", self.redis_key(table, key))
    }

    /// The set of keys that have something pending for the table's consumer.
    pub fn key_set(table: Table) -> String {
        format!("{}_KEY_SET", table.name())
    }

    /// The set of keys whose row the consumer deletes before it applies what is pending.
    pub fn del_set(table: Table) -> String {
        format!("{}_DEL_SET", table.name())
    }

    /// The channel that wakes the table's consumer.
    pub fn channel(&self, table: Table) -> String {
        format!("{}_CHANNEL@{}", table.name(), self.index)
    }

    /// What the channels of keyspace events start with.
    pub fn event_prefix(&self) -> String {
        event_prefix(self.index)
    }

    /// The pattern of all rows of a table that have a key; `prefix` is `_` for pending fields.
    pub fn pattern(&self, prefix: &str, table: Table) -> String {
        format!("{prefix}{}", row_pattern(table.name(), self.separator))
    }

    /// Patterns and channels of the keyspace events of everything that rows are made of; those of `produced`
    /// tables are also made of what is pending.
    pub fn event_channels(&self, produced: impl Fn(Table) -> bool) -> (Vec<String>, Vec<String>) {
        let prefix = self.event_prefix();
        let (mut patterns, mut channels) = (Vec::new(), Vec::new());
        for table in self.tables() {
            patterns.push(format!("{prefix}{}", self.pattern("", table)));
            // The pattern needs a separator, which the row without a key does not have.
            channels.push(format!("{prefix}{}", self.redis_key(table, "")));
            if produced(table) {
                patterns.push(format!("{prefix}{}", self.pattern("_", table)));
                channels.push(format!("{prefix}{}", self.pending_key(table, "")));
                channels.push(format!("{prefix}{}", Self::key_set(table)));
                channels.push(format!("{prefix}{}", Self::del_set(table)));
            }
        }
        (patterns, channels)
    }

    /// The tables whose consumer a message on one of these channels wakes.
    pub fn woken<'a>(&'a self, is_among: impl Fn(&[u8]) -> bool + 'a) -> impl Iterator<Item = Table> + 'a {
        self.tables().filter(move |table| is_among(self.channel(*table).as_bytes()))
    }

    /// What a Redis key is of; `None` if of none of these tables.
    pub fn locate<'a>(&self, redis_key: &'a [u8]) -> Option<Located<'a>> {
        let row_key = redis_key.strip_prefix(b"_").unwrap_or(redis_key);
        let mut separator = [0; 4];
        let separator = self.separator.encode_utf8(&mut separator).as_bytes();
        let at = row_key.windows(separator.len()).position(|window| window == separator);
        let (name, key) = match at {
            Some(at) => (row_key.get(..at)?, row_key.get(at + separator.len()..)?),
            None => (row_key, [].as_slice()),
        };
        if let Some(table) = self.tables().find(|table| table.name().as_bytes() == name) {
            return Some(match std::str::from_utf8(key) {
                Ok(key) => Located::Row((table, key.to_owned())),
                Err(_) => Located::NotText(table, key),
            });
        }
        let is_set_of = |table: &Table| {
            let suffix = redis_key.strip_prefix(table.name().as_bytes());
            suffix.is_some_and(|suffix| suffix == b"_KEY_SET" || suffix == b"_DEL_SET")
        };
        self.tables().find(is_set_of).map(Located::Set)
    }
}

/// What the channels of keyspace events of database number `index` start with.
pub fn event_prefix(index: u32) -> String {
    format!("__keyspace@{index}__:")
}

/// The pattern of the Redis keys of all rows of a table that have a key.
pub fn row_pattern(table: &str, separator: char) -> String {
    let mut pattern = String::new();
    for c in table.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push(separator);
    pattern.push('*');
    pattern
}
