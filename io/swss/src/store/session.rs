//! A store's task: connect, read all, then write and read back, and again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use reconcile::{RowWrite, StoreUpdate};
use redis::RedisResult;
use schema::Table;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::error::chain;
use crate::link::{KEEPALIVE_MS, Link, disconnected};
use crate::scripts::Scripts;
use crate::store::mirror::{Dirty, Mirror};
use crate::store::queue::Queue;
use crate::store::writes;
use crate::{Endpoint, Mode};

/// How many writes are carried out by one call of the script, so that it blocks the server briefly.
const WRITES_PER_CALL: usize = 128;
/// How many calls are made before what was written is read back.
const CALLS_MAX: usize = 16;
/// After how many reads that were overtaken by changes everything is read at once instead.
const READS_MAX: usize = 16;

pub(super) struct Session {
    mirror: Mirror,
    queue: Arc<Queue>,
    scripts: Scripts,
}

impl Session {
    pub(super) fn new(endpoint: &Endpoint, tables: &[(Table, Mode)], queue: Arc<Queue>) -> Self {
        Self { mirror: Mirror::new(endpoint, tables), queue, scripts: Scripts::new() }
    }

    /// Runs for ever.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new();
        let mut failures = 0_u32;
        loop {
            let start = Instant::now();
            let error = match self.connected().await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            let reason = chain(&error);
            if self.mirror.lose() {
                failures = 0;
                self.queue.report(StoreUpdate::Lost);
            }
            let endpoint = &self.mirror.tables.endpoint;
            match failures {
                0 => tracing::warn!(%endpoint, reason, "not connected for writing; will keep trying"),
                _ => tracing::debug!(%endpoint, reason, failures, "still not connected for writing"),
            }
            failures = failures.saturating_add(1);
            tokio::time::sleep(backoff.after(start.elapsed())).await;
        }
    }

    /// One connection's life.
    async fn connected(&mut self) -> RedisResult<Infallible> {
        let mut link = Link::open(&self.mirror.tables.endpoint).await?;
        link.ensure_events().await?;
        let (patterns, channels) = self.mirror.keyspace();
        link.listen(&patterns, &channels).await?;
        self.read_all(&mut link).await?;
        tracing::info!(endpoint = %self.mirror.tables.endpoint, "writing");
        let queue = self.queue.clone();
        let inbox = link.inbox.clone();
        loop {
            let silence = tokio::time::sleep(Duration::from_millis(KEEPALIVE_MS));
            tokio::select! {
                () = inbox.filled() => {}
                () = queue.has_writes() => {}
                () = silence => {
                    if !link.ensure_events().await? {
                        self.read_all(&mut link).await?;
                    }
                    continue;
                }
            }
            let mut dirty = Dirty::default();
            for _ in 0..CALLS_MAX {
                if !self.write(&mut link, &mut dirty).await? {
                    break;
                }
            }
            self.read_back(&mut link, dirty).await?;
        }
    }

    /// Carries out queued writes and reports them.
    ///
    /// Returns whether there were any.
    async fn write(&mut self, link: &mut Link, dirty: &mut Dirty) -> RedisResult<bool> {
        let writes = self.queue.take_writes(WRITES_PER_CALL);
        let mut call = self.scripts.write.prepare_invoke();
        let mut is_empty = true;
        let mut sent = Vec::new();
        for write in writes {
            let refusal = writes::refusal(&self.mirror.modes, &write);
            if let (None, Some(mode)) = (refusal, self.mirror.modes.get(&write.table)) {
                writes::add(&mut call, &self.mirror.tables.endpoint, *mode, &write);
                self.mirror.mark_written(&write, dirty);
                is_empty = false;
            }
            sent.push((write, refusal));
        }
        let any = !sent.is_empty();
        let mut outcomes = if is_empty {
            Vec::new().into_iter()
        } else {
            writes::outcomes(call.invoke_async(link.connection()).await?)?.into_iter()
        };
        for (write, refusal) in sent {
            let refusal = match refusal {
                Some(refusal) => Some(refusal.to_owned()),
                None => outcomes.next().flatten(),
            };
            self.report_written(write, refusal);
        }
        Ok(any)
    }

    fn report_written(&mut self, write: RowWrite, refusal: Option<String>) {
        match &refusal {
            None => self.mirror.report_written(&write),
            Some(reason) => {
                let RowWrite { table, key, .. } = &write;
                tracing::error!(db = %table.db(), %table, key, reason, "refused to write this row");
            }
        }
        self.queue.report(StoreUpdate::Written { write, done: refusal.is_none() });
    }

    /// Reads what changed until nothing changed during the read, and reports a snapshot if it tells anything new.
    async fn read_back(&mut self, link: &mut Link, mut dirty: Dirty) -> RedisResult<()> {
        for _ in 0..READS_MAX {
            // What other clients changed before a read's answer was made is in the inbox by the time of the
            // answer: if that is empty then, all rows are as they were at that one instant.
            let pending = link.inbox.take();
            if pending.disconnected {
                return Err(disconnected());
            }
            if pending.flushed {
                dirty = self.mirror.scan(link).await?;
            }
            for key in pending.keys.keys() {
                self.mirror.mark(key, &mut dirty);
            }
            if dirty.is_empty() {
                self.report_snapshot();
                return Ok(());
            }
            self.mirror.read(link, std::mem::take(&mut dirty)).await?;
        }
        // Too busy for that: read everything at one instant, and leave what follows for the next time.
        let pending = link.inbox.take();
        if pending.disconnected {
            return Err(disconnected());
        }
        let mut all = if pending.flushed { self.mirror.scan(link).await? } else { self.mirror.all() };
        for key in pending.keys.keys() {
            self.mirror.mark(key, &mut all);
        }
        self.mirror.read(link, all).await?;
        self.report_snapshot();
        Ok(())
    }

    async fn read_all(&mut self, link: &mut Link) -> RedisResult<()> {
        let dirty = self.mirror.scan(link).await?;
        self.read_back(link, dirty).await
    }

    fn report_snapshot(&mut self) {
        if let Some(rows) = self.mirror.snapshot() {
            self.queue.report(StoreUpdate::Snapshot(rows));
        }
    }
}
