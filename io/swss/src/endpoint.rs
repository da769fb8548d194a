//! Where a database is.

use std::fmt;
use std::path::PathBuf;

use bus::Keyspace;
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
        self.keyspace(None).redis_key(table, key)
    }

    /// The names of the keys and channels of those tables that are of this database.
    pub(crate) fn keyspace(&self, tables: impl IntoIterator<Item = Table>) -> Keyspace {
        Keyspace::new(self.db, self.index, self.separator, tables)
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
