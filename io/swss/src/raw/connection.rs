//! One connection that asks and writes; it does not connect again.

use std::collections::BTreeMap;

use redis::Value;
use schema::Fields;

use crate::link::Link;
use crate::raw::tables::{RowName, Tables};
use crate::scripts::Scripts;
use crate::wire::{self, Hash};
use crate::{Error, Mode, NamedEndpoint};

/// What is at a place where a row could be.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    /// Nothing.
    Absent,
    /// A row.
    Row(Fields),
    /// Something that is no row; the type, as Redis names it.
    Other(String),
}

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum RawWrite {
    /// These fields and no others, at one instant.
    Set(Fields),
    /// These fields over those that are there.
    Merge(Fields),
    /// Gone.
    Del,
}

/// How a row is written.
pub type How = Mode;

/// A connection to any database.
pub struct Connection {
    endpoint: NamedEndpoint,
    link: Link,
    scripts: Scripts,
}

impl Connection {
    /// Connects, once.
    ///
    /// # Errors
    /// The database is out of reach or cannot serve.
    pub async fn open(endpoint: NamedEndpoint) -> Result<Self, Error> {
        let link = Link::open(endpoint.clone()).await.map_err(|error| Error::new(&endpoint, error))?;
        Ok(Self { endpoint, link, scripts: Scripts::new() })
    }

    /// What is there as row `key` of `table`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn row(&mut self, table: &str, key: &str) -> Result<Stored, Error> {
        let redis_key = self.endpoint.redis_key(table, key);
        let kind = self.query(redis::cmd("TYPE").arg(&redis_key)).await?;
        match kind.as_slice() {
            b"none" => Ok(Stored::Absent),
            b"hash" => {
                let answer = self.link.query(redis::cmd("HGETALL").arg(&redis_key)).await;
                match answer.and_then(wire::hash).map_err(|error| Error::new(&self.endpoint, error))? {
                    Hash::Row(Some(fields)) => Ok(Stored::Row(fields)),
                    Hash::Row(None) | Hash::NotAHash(_) => Ok(Stored::Absent),
                }
            }
            other => Ok(Stored::Other(String::from_utf8_lossy(other).into_owned())),
        }
    }

    /// All rows of the tables, or of all tables if none is named, each read at its own instant. What is no hash,
    /// and what has a name that is not UTF-8, is left out.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rows(&mut self, tables: &[String]) -> Result<BTreeMap<RowName, Fields>, Error> {
        let mut tables = Tables::new(self.endpoint.clone(), tables);
        let read = match tables.scan(&mut self.link).await {
            Ok(found) => tables.read(&mut self.link, found).await,
            Err(error) => Err(error),
        };
        let rows = read.map_err(|error| Error::new(&self.endpoint, error))?;
        Ok(rows.into_iter().filter_map(|(row, fields)| Some((row, fields?))).collect())
    }

    /// Writes a row as a [`Store`](crate::Store) does. A row without fields is refused: Redis cannot hold it, and on a
    /// `ProducerStateTable` it would mean a deletion.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn write(&mut self, table: &str, key: &str, write: &RawWrite, how: How) -> Result<(), Error> {
        let row = self.endpoint.redis_key(table, key);
        let none = Fields::new();
        let (op, fields) = match (how, write) {
            (Mode::Table, RawWrite::Set(fields)) => ("set", fields),
            (Mode::Table, RawWrite::Merge(fields)) => ("merge", fields),
            (Mode::Table, RawWrite::Del) => ("del", &none),
            (Mode::ProducerState, RawWrite::Set(fields)) => ("produce_set", fields),
            (Mode::ProducerState, RawWrite::Merge(fields)) => ("produce_merge", fields),
            (Mode::ProducerState, RawWrite::Del) => ("produce_del", &none),
        };
        if fields.is_empty() && *write != RawWrite::Del {
            return Err(self.refused("a row needs at least one field; NULL:NULL stands for none".to_owned()));
        }
        let mut call = self.scripts.write.key(&row);
        if how == Mode::ProducerState {
            call.key(format!("_{row}")).key(format!("{table}_KEY_SET")).key(format!("{table}_DEL_SET"));
            call.key(format!("{table}_CHANNEL@{}", self.endpoint.index));
        }
        call.arg(op).arg(key).arg(fields.len());
        for (name, value) in fields.iter() {
            call.arg(name).arg(value.as_bytes());
        }
        let answer: Result<Value, _> = call.invoke_async(self.link.connection()).await;
        let failure = answer.and_then(wire::items).map_err(|error| Error::new(&self.endpoint, error))?.pop();
        let text = failure.map(|failure| wire::items(failure).map(|mut failure| failure.pop()));
        match text.transpose().map_err(|error| Error::new(&self.endpoint, error))?.flatten() {
            None => Ok(()),
            Some(text) => {
                let text = wire::bytes(text).map_err(|error| Error::new(&self.endpoint, error))?;
                Err(self.refused(String::from_utf8_lossy(&text).into_owned()))
            }
        }
    }

    /// Removes fields of a row; returns how many were there.
    ///
    /// # Errors
    /// See [`Error`]; refused if there is something else than a row.
    pub async fn remove_fields(&mut self, table: &str, key: &str, fields: &[String]) -> Result<u64, Error> {
        let redis_key = self.endpoint.redis_key(table, key);
        let answer = self.link.query(redis::cmd("HDEL").arg(redis_key).arg(fields)).await;
        let count = answer.and_then(|count| Ok(redis::from_redis_value(count)?));
        count.map_err(|error| Error::new(&self.endpoint, error))
    }

    async fn query(&mut self, command: &redis::Cmd) -> Result<Vec<u8>, Error> {
        let answer = self.link.query(command).await.and_then(wire::bytes);
        answer.map_err(|error| Error::new(&self.endpoint, error))
    }

    fn refused(&self, why: String) -> Error {
        let source = redis::RedisError::from((redis::ErrorKind::Extension, "refused", why));
        Error::Refused { endpoint: self.endpoint.to_string(), source }
    }
}
