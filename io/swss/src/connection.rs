//! A request connection for one-shot users: a boot clean-up, a watcher, a test.
//!
//! It asks and answers. It follows nothing: that is what a [`Reader`](crate::Reader) is for.
//!
//! ```no_run
//! # use schema::Table;
//! # use swss::{Connection, Endpoint};
//! # async fn example(endpoint: &Endpoint) -> Result<(), swss::Error> {
//! let connection = Connection::open(endpoint).await?;
//! for (key, fields) in connection.rows(Table::DpuState).await? {
//!     println!("{key}: {fields:?}");
//! }
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bus::{Backoff, Keyspace};
use redis::{Cmd, RedisError, RedisResult};
use schema::{Fields, Table};
use tokio::sync::Mutex;

use crate::error::{Severity, severity};
use crate::link::Link;
use crate::scripts::Scripts;
use crate::tables::Tables;
use crate::wire::{self, Hash};
use crate::{Endpoint, Error};

/// What the server answered.
pub use redis::Value as Reply;

/// A request connection to one database.
///
/// After a loss the next request connects again. A request that is idempotent is tried once more if the
/// connection turns out to be lost. Requests are served one at a time, in order.
pub struct Connection {
    endpoint: Endpoint,
    link: Mutex<Option<Link>>,
    scripts: Scripts,
}

impl Connection {
    /// Connects, once.
    ///
    /// # Errors
    /// The database is out of reach or cannot serve.
    pub async fn open(endpoint: &Endpoint) -> Result<Self, Error> {
        let link = Link::open(endpoint).await.map_err(|error| Error::new(endpoint, error))?;
        Ok(Self { endpoint: endpoint.clone(), link: Mutex::new(Some(link)), scripts: Scripts::new() })
    }

    /// Connects and pings, and keeps trying for `timeout`.
    ///
    /// # Errors
    /// The database is out of reach or cannot serve, to the last; or it refuses.
    pub async fn open_within(endpoint: &Endpoint, timeout: Duration) -> Result<Self, Error> {
        let start = tokio::time::Instant::now();
        let mut backoff = Backoff::new();
        loop {
            let opened = match Self::open(endpoint).await {
                Ok(connection) => connection.ping().await.map(|()| connection),
                Err(error) => Err(error),
            };
            match opened {
                Err(Error::Unreachable { .. } | Error::NotNow { .. }) if start.elapsed() < timeout => {
                    tokio::time::sleep(Duration::from_millis(backoff.after_ms(0))).await;
                }
                result => return result,
            }
        }
    }

    /// Where it goes.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks whether the database serves.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn ping(&self) -> Result<(), Error> {
        self.query(&redis::cmd("PING"), true).await.map(|_| ())
    }

    /// The fields at a Redis key; none if it is absent.
    ///
    /// # Errors
    /// See [`Error`]; refused if the key is not of a hash.
    pub async fn hgetall(&self, redis_key: &str) -> Result<Fields, Error> {
        let answer = self.query(redis::cmd("HGETALL").arg(redis_key), true).await?;
        match wire::hash(answer) {
            Ok(Hash::Row(fields)) => Ok(fields.unwrap_or_default()),
            Ok(Hash::NotAHash(_)) => Ok(Fields::new()),
            Err(error) => Err(Error::new(&self.endpoint, error)),
        }
    }

    /// Lays fields over those at a Redis key. Without fields nothing is sent.
    ///
    /// # Errors
    /// See [`Error`]; refused if the key is not of a hash.
    pub async fn hset(&self, redis_key: &str, fields: &Fields) -> Result<(), Error> {
        if fields.is_empty() {
            return Ok(());
        }
        let mut hset = redis::cmd("HSET");
        hset.arg(redis_key);
        for (name, value) in fields.iter() {
            hset.arg(name).arg(value.as_bytes());
        }
        self.query(&hset, true).await.map(|_| ())
    }

    /// Removes fields; returns how many were there.
    ///
    /// # Errors
    /// See [`Error`]; refused if the key is not of a hash.
    pub async fn hdel(&self, redis_key: &str, fields: &[&str]) -> Result<u64, Error> {
        if fields.is_empty() {
            return Ok(0);
        }
        self.count(redis::cmd("HDEL").arg(redis_key).arg(fields), true).await
    }

    /// Removes a Redis key; returns whether it was there.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn del(&self, redis_key: &str) -> Result<bool, Error> {
        self.count(redis::cmd("DEL").arg(redis_key), true).await.map(|count| count > 0)
    }

    /// Whether a Redis key is there.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn exists(&self, redis_key: &str) -> Result<bool, Error> {
        self.count(redis::cmd("EXISTS").arg(redis_key), true).await.map(|count| count > 0)
    }

    /// A row of a table; `None` if it is absent.
    ///
    /// # Errors
    /// See [`Error`]; refused if the key is not of a hash.
    pub async fn row(&self, table: Table, key: &str) -> Result<Option<Fields>, Error> {
        let fields = self.hgetall(&self.endpoint.redis_key(table, key)).await?;
        Ok((!fields.is_empty()).then_some(fields))
    }

    /// All rows of a table by key, each read at its own instant, found by `SCAN`. Rows that are not hashes, or
    /// whose key is not UTF-8, are left out with a warning.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rows(&self, table: Table) -> Result<BTreeMap<String, Fields>, Error> {
        let rows = self.rows_of(&[table]).await?;
        Ok(rows.into_iter().map(|((_, key), fields)| (key, fields)).collect())
    }

    /// As [`Connection::rows`], of several tables of this database at once: their `SCAN`s share round trips, and
    /// so do the reads. Tables of other databases have no rows here.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rows_of(&self, tables: &[Table]) -> Result<BTreeMap<(Table, String), Fields>, Error> {
        let mut again = true;
        loop {
            match self.try_rows_of(tables).await {
                Err(error) if again && is_lost(&error) => again = false,
                result => return result.map_err(|error| Error::new(&self.endpoint, error)),
            }
        }
    }

    /// The keys that a table's `ConsumerStateTable` has not taken yet (`reference/swss-wire.md` 3).
    ///
    /// # Errors
    /// See [`Error`]; refused if something else than a set is at that key.
    pub async fn unconsumed(&self, table: Table) -> Result<Vec<String>, Error> {
        let answer = self.query(redis::cmd("SMEMBERS").arg(Keyspace::key_set(table)), true).await?;
        let keys = wire::items(answer).map_err(|error| Error::new(&self.endpoint, error))?;
        let text = |key| Ok(String::from_utf8_lossy(&wire::bytes(key)?).into_owned());
        let keys: RedisResult<Vec<String>> = keys.into_iter().map(text).collect();
        keys.map_err(|error| Error::new(&self.endpoint, error))
    }

    /// Empties the database. Subscribers of keyspace events do not notice: see [`Connection::delete_all`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn flushdb(&self) -> Result<(), Error> {
        self.query(&redis::cmd("FLUSHDB"), true).await.map(|_| ())
    }

    /// Empties the database at one instant so that everybody notices: deletes every key, which makes a keyspace
    /// event each, then flushes. Returns how many keys there were.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete_all(&self) -> Result<u64, Error> {
        let mut again = true;
        loop {
            match self.try_delete_all().await {
                Err(error) if again && is_lost(&error) => again = false,
                result => return result.map_err(|error| Error::new(&self.endpoint, error)),
            }
        }
    }

    /// Publishes a message; returns how many clients received it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn publish(&self, channel: &str, payload: &str) -> Result<u64, Error> {
        self.count(redis::cmd("PUBLISH").arg(channel).arg(payload), false).await
    }

    /// Any command, word by word; never tried twice.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn command(&self, words: &[&str]) -> Result<Reply, Error> {
        let mut words = words.iter();
        let mut command = redis::cmd(words.next().copied().unwrap_or_default());
        command.arg(words.as_slice());
        self.query(&command, false).await
    }

    async fn count(&self, command: &Cmd, again: bool) -> Result<u64, Error> {
        let answer = self.query(command, again).await?;
        redis::from_redis_value(answer).map_err(|error| Error::new(&self.endpoint, error.into()))
    }

    async fn query(&self, command: &Cmd, mut again: bool) -> Result<Reply, Error> {
        loop {
            match self.try_query(command).await {
                Err(error) if again && is_lost(&error) => again = false,
                result => return result.map_err(|error| Error::new(&self.endpoint, error)),
            }
        }
    }

    async fn try_query(&self, command: &Cmd) -> RedisResult<Reply> {
        let mut slot = self.link.lock().await;
        let link = linked(&mut slot, &self.endpoint).await?;
        let result = link.query(command).await;
        drop_if_lost(&mut slot, result)
    }

    async fn try_rows_of(&self, tables: &[Table]) -> RedisResult<BTreeMap<(Table, String), Fields>> {
        let mut tables = Tables::new(&self.endpoint, tables.iter().copied());
        let mut slot = self.link.lock().await;
        let link = linked(&mut slot, &self.endpoint).await?;
        let result = match tables.scan(link, "").await {
            Ok(found) => tables.read(link, found).await,
            Err(error) => Err(error),
        };
        let rows = drop_if_lost(&mut slot, result)?;
        Ok(rows.into_iter().filter_map(|(row, fields)| Some((row, fields?))).collect())
    }

    async fn try_delete_all(&self) -> RedisResult<u64> {
        let mut slot = self.link.lock().await;
        let link = linked(&mut slot, &self.endpoint).await?;
        let result = self.scripts.delete_all.invoke_async(link.connection()).await;
        drop_if_lost(&mut slot, result)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// The link, opened if there is none.
async fn linked<'a>(slot: &'a mut Option<Link>, endpoint: &Endpoint) -> RedisResult<&'a mut Link> {
    let link = match slot.take() {
        Some(link) => link,
        None => Link::open(endpoint).await?,
    };
    Ok(slot.insert(link))
}

fn drop_if_lost<T>(slot: &mut Option<Link>, result: RedisResult<T>) -> RedisResult<T> {
    if let Err(error) = &result
        && severity(error) == Severity::Unreachable
    {
        *slot = None;
    }
    result
}

/// Whether the connection was closed under the request, so that a new one may serve it. A timeout is not that.
fn is_lost(error: &RedisError) -> bool {
    severity(error) == Severity::Unreachable
        && error.is_connection_dropped()
        && !error.is_connection_refusal()
}
