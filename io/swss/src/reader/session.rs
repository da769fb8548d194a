//! A reader's task: connects, does what its session asks for, and connects again.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bus::{Keyspace, ReaderAnswer, ReaderSession, ReaderStep};
use redis::RedisResult;
use schema::Table;
use tokio::time::Instant;

use crate::error::{Severity, chain, severity};
use crate::link::{KEEPALIVE_MS, Link, disconnected};
use crate::reader::Outbox;
use crate::reconnect::Reconnect;
use crate::scripts::Scripts;
use crate::tables::Tables;
use crate::wire;

pub(super) struct Task {
    session: ReaderSession,
    tables: Tables,
    outbox: Arc<Outbox>,
    scripts: Scripts,
}

impl Task {
    pub(super) fn new(session: ReaderSession, tables: Tables, outbox: Arc<Outbox>) -> Self {
        Self { session, tables, outbox, scripts: Scripts::new() }
    }

    /// Runs for ever.
    pub(super) async fn run(mut self) {
        let mut reconnect = Reconnect::new("");
        loop {
            reconnect.begin();
            let error = match self.connected().await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            let reason = chain(&error);
            let endpoint = &self.tables.endpoint;
            let had_synced = self.session.lost();
            if had_synced {
                self.outbox.lose(format!("{endpoint}: {reason}"));
            }
            reconnect.after(endpoint, &reason, had_synced).await;
        }
    }

    /// One connection's life.
    async fn connected(&mut self) -> RedisResult<Infallible> {
        let mut link = Link::open(&self.tables.endpoint).await?;
        self.listen(&mut link).await?;
        self.session.connected();
        let keepalive = Duration::from_millis(KEEPALIVE_MS);
        let mut check_at = Instant::now() + keepalive;
        loop {
            let answer = match self.session.step() {
                ReaderStep::Rest => {
                    // Out of time is as good as filled.
                    tokio::select! {
                        () = link.inbox.filled() => {}
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
            if let Some(report) = answer.and_then(|answer| self.session.answer(answer)) {
                if report.synced {
                    tracing::info!(endpoint = %self.tables.endpoint, rows = self.session.len(), "read everything");
                }
                self.outbox.put(report);
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

    async fn listen(&self, link: &mut Link) -> RedisResult<()> {
        let keyspace = &self.tables.keyspace;
        link.ensure_events().await?;
        let (patterns, mut channels) = keyspace.event_channels(|_| false);
        if self.session.consumes() {
            channels.extend(keyspace.tables().map(|table| keyspace.channel(table)));
        }
        link.listen(&patterns, &channels).await
    }

    async fn ask(&mut self, link: &mut Link, step: ReaderStep) -> RedisResult<ReaderAnswer> {
        match step {
            ReaderStep::Pop { table, limit } => self.pop(link, table, limit).await,
            ReaderStep::Find => self.tables.scan(link, "").await.map(ReaderAnswer::Found),
            ReaderStep::Read(rows) => self.tables.read(link, rows).await.map(ReaderAnswer::Rows),
            ReaderStep::Check if self.session.consumes() => {
                let missed = link.missed().await?;
                let waiting = self.waiting(link).await?;
                Ok(ReaderAnswer::Checked { waiting, missed })
            }
            ReaderStep::Check | ReaderStep::Rest => {
                let missed = link.missed().await?;
                Ok(ReaderAnswer::Checked { waiting: BTreeSet::new(), missed })
            }
        }
    }

    async fn pop(&mut self, link: &mut Link, table: Table, limit: usize) -> RedisResult<ReaderAnswer> {
        let mut pop = self.scripts.pop.key(Keyspace::key_set(table));
        pop.key(Keyspace::del_set(table)).key(table.name());
        pop.arg(self.tables.keyspace.separator().to_string()).arg(limit);
        let mut rows = BTreeMap::new();
        let popped = match pop.invoke_async(link.connection()).await {
            Ok(answer) => wire::items(answer)?,
            Err(error) if severity(&error) == Severity::Refused => {
                tracing::warn!(%table, %error, "cannot take what is pending for this table");
                return Ok(ReaderAnswer::Popped { rows, is_last: true });
            }
            Err(error) => return Err(error),
        };
        let is_last = popped.len() < limit;
        for item in popped {
            let mut item = wire::items(item)?.into_iter();
            let (Some(key), Some(fields)) = (item.next(), item.next()) else {
                return Err(wire::unexpected("a key and fields", None));
            };
            if let Some(key) = self.tables.key_text(table, &wire::bytes(key)?) {
                let redis_key = self.tables.keyspace.redis_key(table, &key);
                let fields = self.tables.row(&redis_key, fields)?;
                rows.insert((table, key), fields);
            }
        }
        Ok(ReaderAnswer::Popped { rows, is_last })
    }

    /// The tables that have something pending, although nobody woke this consumer.
    async fn waiting(&self, link: &mut Link) -> RedisResult<BTreeSet<Table>> {
        let mut counts = redis::pipe();
        counts.cmd("PING");
        for table in self.session.tables() {
            counts.cmd("SCARD").arg(Keyspace::key_set(*table));
        }
        let answers = link.pipeline(&counts).await?.into_iter().skip(1);
        let waiting = self.session.tables().iter().zip(answers);
        let waiting = waiting.filter(|(_, count)| matches!(count, redis::Value::Int(count) if *count > 0));
        Ok(waiting.map(|(table, _)| *table).collect())
    }
}
