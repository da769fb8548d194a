//! A store's task: connects, does what its session asks for, and connects again.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bus::{Keyspace, StoreAnswer, StoreLimits, StoreSession, StoreStep, Stored, Unread, Waiting};
use reconcile::RowWrite;
use redis::{Cmd, RedisResult, Value};
use schema::Table;
use tokio::time::Instant;

use crate::error::chain;
use crate::link::{KEEPALIVE_MS, Link, disconnected, pipeline_of, pipelines_of};
use crate::reconnect::Reconnect;
use crate::scripts::{self, Scripts};
use crate::store::queue::Queue;
use crate::store::writes;
use crate::tables::Tables;
use crate::{Endpoint, Mode, wire};

/// How many writes are under way together, and how often that many are carried out before what was written is read
/// back.
const LIMITS: StoreLimits = StoreLimits { writes_per_call: 512, calls_max: 4 };
/// How many of them are carried out by one call of the script, so that it blocks the server briefly.
const WRITES_PER_SCRIPT: usize = 64;

pub(super) struct Task {
    session: StoreSession,
    tables: Tables,
    queue: Arc<Queue>,
    scripts: Scripts,
}

impl Task {
    pub(super) fn new(endpoint: &Endpoint, tables: &[(Table, Mode)], queue: Arc<Queue>) -> Self {
        let list = Tables::new(endpoint, tables.iter().map(|(table, _)| *table));
        let here = tables.iter().filter(|(table, _)| table.db() == endpoint.db).copied();
        Self { session: StoreSession::new(here, LIMITS), tables: list, queue, scripts: Scripts::new() }
    }

    /// Runs for ever.
    pub(super) async fn run(mut self) {
        let mut reconnect = Reconnect::new(" for writing");
        loop {
            reconnect.begin();
            let error = match self.connected().await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            let reason = chain(&error);
            let had_reported = self.queue.with(|queue| self.session.lost(queue));
            reconnect.after(&self.tables.endpoint, &reason, had_reported).await;
        }
    }

    /// One connection's life.
    async fn connected(&mut self) -> RedisResult<Infallible> {
        let mut link = Link::open(&self.tables.endpoint).await?;
        link.ensure_events().await?;
        let is_produced = |table| self.session.mode(table) == Some(Mode::ProducerState);
        let (patterns, channels) = self.tables.keyspace.event_channels(is_produced);
        link.listen(&patterns, &channels).await?;
        self.session.connected();
        tracing::info!(endpoint = %self.tables.endpoint, "writing");
        let queue = self.queue.clone();
        let keepalive = Duration::from_millis(KEEPALIVE_MS);
        let mut check_at = Instant::now() + keepalive;
        loop {
            let answer = match queue.with(|queue| self.session.step(queue)) {
                StoreStep::Rest => {
                    tokio::select! {
                        () = link.inbox.filled() => {}
                        () = queue.has_writes() => {}
                        () = tokio::time::sleep_until(check_at) => {}
                    }
                    None
                }
                step => Some(self.ask(&mut link, step).await?),
            };
            // What came in before the answer was made is here by now.
            let came_in = link.inbox.take();
            let is_lost = came_in.disconnected;
            self.session.notice(self.tables.sort(came_in));
            if let Some(answer) = answer {
                queue.with(|queue| self.session.answer(answer, queue));
            }
            for (RowWrite { table, key, .. }, reason) in self.session.take_refusals() {
                tracing::error!(db = %table.db(), %table, key, reason, "refused to write this row");
            }
            if is_lost {
                return Err(disconnected());
            }
            if Instant::now() >= check_at {
                self.session.check();
                self.tables.round_trip.grow();
                check_at = Instant::now() + keepalive;
            }
        }
    }

    async fn ask(&mut self, link: &mut Link, step: StoreStep) -> RedisResult<StoreAnswer> {
        match step {
            StoreStep::Write(writes) => self.write(link, &writes).await.map(StoreAnswer::Written),
            StoreStep::Find => {
                let mut found = self.tables.scan(link, "").await?;
                if self.tables.iter().any(|table| self.is_produced(table)) {
                    found.extend(self.tables.scan(link, "_").await?);
                }
                Ok(StoreAnswer::Found(found))
            }
            StoreStep::Read { unread, at_once } => self.read(link, unread, at_once).await,
            StoreStep::Check | StoreStep::Rest => {
                let missed = link.missed().await?;
                Ok(StoreAnswer::Checked { missed })
            }
        }
    }

    fn is_produced(&self, table: Table) -> bool {
        self.session.mode(table) == Some(Mode::ProducerState)
    }

    /// All calls are sent before the first is answered.
    async fn write(&self, link: &mut Link, writes: &[RowWrite]) -> RedisResult<Vec<Option<String>>> {
        let chunks = || writes.chunks(WRITES_PER_SCRIPT);
        let mode = |table| self.session.mode(table).unwrap_or(Mode::Table);
        let call = |chunk| writes::call(&self.scripts.write, &self.tables.keyspace, mode, chunk);
        let calls = pipeline_of(chunks().map(call));
        let answers = scripts::invoke_all(&self.scripts.write, link, calls).await?;
        let mut outcomes = Vec::with_capacity(writes.len());
        for (chunk, answer) in chunks().zip(answers) {
            outcomes.extend(writes::outcomes(chunk.len(), answer)?);
        }
        Ok(outcomes)
    }

    async fn read(&mut self, link: &mut Link, unread: Unread, at_once: bool) -> RedisResult<StoreAnswer> {
        let answers = if at_once {
            link.at_once(pipeline_of(self.reads(&unread))).await?
        } else {
            let pipelines = pipelines_of(self.reads(&unread), self.tables.round_trip.rows());
            self.tables.round_trip.learn(link.pipelines(pipelines).await)?
        };
        let mut answers = answers.into_iter();
        let mut next = || answers.next().ok_or_else(|| wire::unexpected("an answer per command", None));
        let mut sets = BTreeMap::new();
        for table in unread.sets {
            let keys = self.members(table, &Keyspace::key_set(table), next()?)?;
            let deletions = self.members(table, &Keyspace::del_set(table), next()?)?;
            sets.insert(table, Waiting { keys, deletions });
        }
        let mut rows = BTreeMap::new();
        for row in unread.rows {
            let redis_key = self.tables.keyspace.redis_key(row.0, &row.1);
            let main = self.tables.row(&redis_key, next()?)?;
            let pending = if self.is_produced(row.0) {
                self.tables.row(&format!("_{redis_key}"), next()?)?
            } else {
                None
            };
            rows.insert(row, Stored { main, pending });
        }
        Ok(StoreAnswer::Read { rows, sets })
    }

    fn reads(&self, unread: &Unread) -> impl Iterator<Item = Cmd> {
        let keyspace = &self.tables.keyspace;
        let sets = unread.sets.iter().flat_map(|table| {
            let keys = [Keyspace::key_set(*table), Keyspace::del_set(*table)];
            keys.map(|key| command("SMEMBERS", key))
        });
        let rows = unread.rows.iter().flat_map(|(table, key)| {
            let pending = self.is_produced(*table).then(|| keyspace.pending_key(*table, key));
            let row = command("HGETALL", keyspace.redis_key(*table, key));
            std::iter::once(row).chain(pending.map(|pending| command("HGETALL", pending)))
        });
        sets.chain(rows)
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
}

fn command(name: &str, redis_key: String) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(redis_key);
    command
}
