//! What both kinds of readers do: connect, read all, follow, connect again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use schema::Fields;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::error::chain;
use crate::inbox::Pending;
use crate::link::{KEEPALIVE_MS, Link, disconnected};
use crate::reader::Change;
use crate::reader::outbox::Outbox;
use crate::tables::{RowId, Tables};

/// The rows as last reported.
pub(super) struct View {
    pub(super) tables: Tables,
    known: BTreeMap<RowId, Fields>,
}

/// How a reader learns of changes.
pub(super) trait Kind: Send {
    /// The reader's rows.
    fn view(&mut self) -> &mut View;

    /// Starts listening. From here on no change goes unnoticed.
    fn listen(&mut self, link: &mut Link) -> impl Future<Output = RedisResult<()>> + Send;

    /// Does what has to be done before a full read.
    fn before_full_read(&mut self, link: &mut Link) -> impl Future<Output = RedisResult<()>> + Send;

    /// The changes that follow from what came in.
    fn follow(
        &mut self,
        link: &mut Link,
        pending: Pending,
    ) -> impl Future<Output = RedisResult<Vec<Change>>> + Send;

    /// Makes sure of a connection that has been silent; returns whether all events were sure to come.
    fn keep_alive(&mut self, link: &mut Link) -> impl Future<Output = RedisResult<bool>> + Send;
}

/// Runs a reader for ever.
pub(super) async fn run(mut kind: impl Kind, outbox: Arc<Outbox>) {
    let mut backoff = Backoff::new();
    let mut failures = 0_u32;
    loop {
        let start = Instant::now();
        let mut synced = false;
        let error = match session(&mut kind, &outbox, &mut synced).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        let reason = chain(&error);
        let endpoint = &kind.view().tables.endpoint;
        if synced {
            failures = 0;
            outbox.lose(format!("{endpoint}: {reason}"));
        }
        match failures {
            0 => tracing::warn!(%endpoint, reason, "not connected; will keep trying"),
            _ => tracing::debug!(%endpoint, reason, failures, "still not connected"),
        }
        failures = failures.saturating_add(1);
        tokio::time::sleep(backoff.after(start.elapsed())).await;
    }
}

/// One connection's life.
async fn session<K: Kind>(
    kind: &mut K,
    outbox: &Outbox,
    synced: &mut bool,
) -> RedisResult<std::convert::Infallible> {
    let mut link = Link::open(&kind.view().tables.endpoint).await?;
    kind.listen(&mut link).await?;
    full_read(kind, &mut link, outbox, BTreeMap::new()).await?;
    *synced = true;
    let view = kind.view();
    tracing::info!(endpoint = %view.tables.endpoint, rows = view.known.len(), "reading");
    loop {
        let silence = Duration::from_millis(KEEPALIVE_MS);
        if tokio::time::timeout(silence, link.inbox.filled()).await.is_err() {
            if !kind.keep_alive(&mut link).await? {
                full_read(kind, &mut link, outbox, BTreeMap::new()).await?;
            }
            continue;
        }
        let pending = link.inbox.take();
        if pending.disconnected {
            return Err(disconnected());
        }
        if pending.flushed {
            full_read(kind, &mut link, outbox, pending.keys).await?;
        } else {
            let changes = kind.follow(&mut link, pending).await?;
            outbox.put(changes, false);
        }
    }
}

/// Reads everything, and reports the difference. `events` are the keys that changed before, as far as known,
/// and whether they were gone.
async fn full_read<K: Kind>(
    kind: &mut K,
    link: &mut Link,
    outbox: &Outbox,
    mut events: BTreeMap<Vec<u8>, bool>,
) -> RedisResult<()> {
    loop {
        kind.before_full_read(link).await?;
        let tables = &mut kind.view().tables;
        let found = tables.scan(link, "").await?;
        let mut rows = tables.read(link, found).await?;

        // What changed during the read belongs to it: so nothing is reported before `Synced` that is known to
        // be outdated.
        let meanwhile = link.inbox.take();
        if meanwhile.disconnected {
            return Err(disconnected());
        }
        if meanwhile.flushed {
            events.extend(meanwhile.keys);
            continue;
        }
        let changed: BTreeSet<RowId> = meanwhile.keys.keys().filter_map(|key| tables.locate(key)).collect();
        rows.extend(tables.read(link, changed).await?);

        let was_gone = |(key, gone)| if gone { Some(key) } else { None };
        let gone: Vec<Vec<u8>> = events.into_iter().filter_map(was_gone).collect();
        let gone: BTreeSet<RowId> = gone.iter().filter_map(|key| tables.locate(key)).collect();
        let view = kind.view();
        let vanished: Vec<RowId> = view.known.keys().filter(|row| !rows.contains_key(row)).cloned().collect();
        rows.extend(vanished.into_iter().map(|row| (row, None)));
        let changes = view.differences(rows, &gone);
        outbox.put(changes, true);
        for channel in meanwhile.channels {
            link.inbox.put_back(channel);
        }
        return Ok(());
    }
}

impl View {
    pub(super) fn new(tables: Tables) -> Self {
        Self { tables, known: BTreeMap::new() }
    }

    /// Takes in what was read, and says what is to be reported: rows that differ from the last report, and
    /// those that were `gone` in between.
    pub(super) fn differences(
        &mut self,
        rows: BTreeMap<RowId, Option<Fields>>,
        gone: &BTreeSet<RowId>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (row, fields) in rows {
            let known = self.known.get(&row);
            if known.is_some() && fields.is_some() && gone.contains(&row) {
                changes.push(Change { table: row.0, key: row.1.clone(), fields: None });
            } else if known == fields.as_ref() {
                continue;
            }
            changes.push(self.report(row, fields));
        }
        changes
    }

    /// Reports a row, whether it differs from the last report or not.
    pub(super) fn report(&mut self, row: RowId, fields: Option<Fields>) -> Change {
        match &fields {
            Some(fields) => self.known.insert(row.clone(), fields.clone()),
            None => self.known.remove(&row),
        };
        let (table, key) = row;
        Change { table, key, fields }
    }
}
