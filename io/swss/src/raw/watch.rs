//! Following tables by name: all rows, then what changes, through losses of the connection and flushes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bus::Backoff;
use redis::RedisResult;
use schema::Fields;
use tokio::time::Instant;

use crate::NamedEndpoint;
use crate::error::chain;
use crate::inbox::CameIn;
use crate::link::{KEEPALIVE_MS, Link, disconnected};
use crate::raw::tables::{RowName, Tables};

/// A row before and after. After a gap, `before` is what was last seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// The table.
    pub table: String,
    /// The key; empty for a row without one.
    pub key: String,
    /// The whole row as last seen; `None` if it was not there.
    pub before: Option<Fields>,
    /// The whole row now; `None` if it is gone.
    pub now: Option<Fields>,
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// A row changed, came or went. One that went and came back is told as two changes.
    Changed(Changed),
    /// What was told is all there is. Told after the first read, and after each that a loss or a flush caused.
    Synced,
    /// The connection is lost: what was told may be stale until the next [`Seen::Synced`].
    Lost {
        /// Why.
        reason: String,
    },
}

/// Follows tables of one database, by name. Holds the rows and at most one change per row.
pub struct Watch {
    tables: Tables,
    link: Option<Link>,
    known: BTreeMap<RowName, Fields>,
    ready: VecDeque<Seen>,
    synced: bool,
    backoff: Backoff,
    opened: Instant,
    check_at: Instant,
}

impl Watch {
    /// A watch of the tables, or of all tables if none is named. Connects at the first [`Watch::next`].
    pub fn new(endpoint: NamedEndpoint, tables: &[String]) -> Self {
        Self {
            tables: Tables::new(endpoint, tables),
            link: None,
            known: BTreeMap::new(),
            ready: VecDeque::new(),
            synced: false,
            backoff: Backoff::new(),
            opened: Instant::now(),
            check_at: Instant::now(),
        }
    }

    /// What comes next; never ends. A call that is cancelled may lose changes: the watch is of no use then.
    pub async fn next(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.ready.pop_front() {
                return seen;
            }
            if let Err(error) = self.step().await {
                self.link = None;
                if std::mem::take(&mut self.synced) {
                    self.ready.push_back(Seen::Lost { reason: chain(&error) });
                }
                let lived_ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
                tokio::time::sleep(Duration::from_millis(self.backoff.after_ms(lived_ms))).await;
            }
        }
    }

    async fn step(&mut self) -> RedisResult<()> {
        let Some(mut link) = self.link.take() else {
            self.opened = Instant::now();
            let mut link = Link::open(self.tables.endpoint.clone()).await?;
            link.ensure_events().await?;
            let prefix = bus::event_prefix(self.tables.endpoint.index);
            let channels =
                |keys: Vec<String>| keys.iter().map(|key| format!("{prefix}{key}")).collect::<Vec<_>>();
            let (patterns, keyless) = self.tables.patterns();
            link.listen(&channels(patterns), &channels(keyless)).await?;
            self.check_at = Instant::now() + Duration::from_millis(KEEPALIVE_MS);
            self.read_all(&mut link, BTreeMap::new()).await?;
            self.link = Some(link);
            return Ok(());
        };
        let came_in = tokio::time::timeout_at(self.check_at, link.inbox.filled()).await.is_ok();
        if !came_in || Instant::now() >= self.check_at {
            self.check_at = Instant::now() + Duration::from_millis(KEEPALIVE_MS);
            let missed = link.missed().await?;
            self.tables.round_trip.grow();
            if missed {
                self.read_all(&mut link, BTreeMap::new()).await?;
            }
        } else {
            let pending = link.inbox.take();
            if pending.disconnected {
                return Err(disconnected());
            }
            if pending.flushed {
                self.read_all(&mut link, pending.keys).await?;
            } else {
                let changed = self.located(&pending);
                let rows = self.tables.read(&mut link, changed).await?;
                self.compare(rows, &pending.keys);
            }
        }
        self.link = Some(link);
        Ok(())
    }

    fn located(&self, came_in: &CameIn) -> BTreeSet<RowName> {
        came_in.keys.keys().filter_map(|key| self.tables.locate(key)).collect()
    }

    /// Reads everything, and what changed during that once more. `events` are the keys that changed before.
    async fn read_all(&mut self, link: &mut Link, events: BTreeMap<Vec<u8>, bool>) -> RedisResult<()> {
        loop {
            let found = self.tables.scan(link).await?;
            let mut rows = self.tables.read(link, found).await?;
            let meanwhile = link.inbox.take();
            if meanwhile.disconnected {
                return Err(disconnected());
            }
            if meanwhile.flushed {
                continue;
            }
            rows.extend(self.tables.read(link, self.located(&meanwhile)).await?);
            for row in self.known.keys() {
                if !rows.contains_key(row) {
                    rows.insert(row.clone(), None);
                }
            }
            self.compare(rows, &events);
            self.synced = true;
            self.ready.push_back(Seen::Synced);
            return Ok(());
        }
    }

    /// Tells the differences to what is known. `events` says which keys were gone in between.
    fn compare(&mut self, rows: BTreeMap<RowName, Option<Fields>>, events: &BTreeMap<Vec<u8>, bool>) {
        for ((table, key), now) in rows {
            let row = (table.clone(), key.clone());
            let mut before = self.known.remove(&row);
            let redis_key = self.tables.endpoint.redis_key(&table, &key);
            let was_gone = events.get(redis_key.as_bytes()).copied().unwrap_or(false);
            if was_gone && before.is_some() && now.is_some() {
                let gone =
                    Changed { table: table.clone(), key: key.clone(), before: before.take(), now: None };
                self.ready.push_back(Seen::Changed(gone));
            }
            if let Some(now) = &now {
                self.known.insert(row, now.clone());
            }
            if before != now {
                self.ready.push_back(Seen::Changed(Changed { table, key, before, now }));
            }
        }
    }
}
