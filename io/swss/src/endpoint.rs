//! Where a database is, and how its keys are built (`reference/swss-wire.md` 2.1, 3.1).

use std::fmt;
use std::path::PathBuf;

use schema::{Db, Table};

/// A database that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The database's name.
    pub db: Db,
    /// Its server.
    pub address: Address,
    /// Its number on that server.
    pub index: u32,
    /// What stands between table and key.
    pub separator: char,
}

/// A database by the name that the configuration files give it, whether [`schema`] knows it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedEndpoint {
    /// The database's name.
    pub name: String,
    /// Its server.
    pub address: Address,
    /// Its number on that server.
    pub index: u32,
    /// What stands between table and key.
    pub separator: char,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// By unix socket.
    Unix(PathBuf),
    /// By TCP.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
}

impl Endpoint {
    /// The Redis key of a row: just the table's name where the row has no key.
    pub fn redis_key(&self, table: Table, key: &str) -> String {
        if key.is_empty() {
            return table.name().to_owned();
        }
        format!("{}{}{key}", table.name(), self.separator)
    }

    /// The Redis key of the fields that wait for the table's consumer.
    pub(crate) fn pending_key(&self, table: Table, key: &str) -> String {
        format!("_{}", self.redis_key(table, key))
    }

    /// The channel that wakes the table's consumer.
    pub(crate) fn channel(&self, table: Table) -> String {
        format!("{}_CHANNEL@{}", table.name(), self.index)
    }

    /// The channel of keyspace events of a Redis key, or of a pattern of them.
    pub(crate) fn keyspace_channel(&self, redis_key: &str) -> String {
        format!("{}{redis_key}", keyspace_prefix(self.index))
    }

    /// The pattern of all rows of a table that have a key; `prefix` is `_` for pending fields.
    pub(crate) fn pattern(&self, prefix: &str, table: Table) -> String {
        format!("{prefix}{}", pattern(table.name(), self.separator))
    }
}

impl NamedEndpoint {
    /// The Redis key of a row: just the table's name where the row has no key.
    pub fn redis_key(&self, table: &str, key: &str) -> String {
        if key.is_empty() {
            return table.to_owned();
        }
        format!("{table}{}{key}", self.separator)
    }
}

impl From<&Endpoint> for NamedEndpoint {
    fn from(endpoint: &Endpoint) -> Self {
        let Endpoint { db, address, index, separator } = endpoint;
        Self { name: db.to_string(), address: address.clone(), index: *index, separator: *separator }
    }
}

/// What the channels of keyspace events of database number `index` start with.
pub(crate) fn keyspace_prefix(index: u32) -> String {
    format!("__keyspace@{index}__:")
}

/// The pattern of all Redis keys of a table that have a key.
pub(crate) fn pattern(table: &str, separator: char) -> String {
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

/// The set of keys that have something pending for the table's consumer.
pub(crate) fn key_set(table: Table) -> String {
    format!("{}_KEY_SET", table.name())
}

/// The set of keys whose row the consumer deletes before it applies what is pending.
pub(crate) fn del_set(table: Table) -> String {
    format!("{}_DEL_SET", table.name())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "{}", path.display()),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        NamedEndpoint::from(self).fmt(f)
    }
}

impl fmt::Display for NamedEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, index {})", self.name, self.address, self.index)
    }
}
