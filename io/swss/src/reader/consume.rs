//! `ConsumerStateTable`: the one reader that takes what producers left pending.

use std::collections::{BTreeMap, BTreeSet};

use redis::{RedisResult, Value};
use schema::{Fields, Table};

use crate::Endpoint;
use crate::endpoint::{del_set, key_set};
use crate::error::{Severity, severity};
use crate::inbox::Pending;
use crate::link::Link;
use crate::reader::Change;
use crate::reader::session::{Kind, View};
use crate::scripts::Scripts;
use crate::tables::{RowId, Tables};
use crate::wire;

/// How many keys are taken at once.
const KEYS_PER_POP: usize = 128;

pub(super) struct Consume {
    view: View,
    scripts: Scripts,
}

impl Consume {
    pub(super) fn new(endpoint: &Endpoint, tables: &[Table]) -> Self {
        let view = View::new(Tables::new(endpoint, tables.iter().copied()));
        Self { view, scripts: Scripts::new() }
    }

    /// Takes everything that is pending for a table, and returns the rows as they are then.
    async fn pop(&mut self, link: &mut Link, table: Table) -> RedisResult<BTreeMap<RowId, Option<Fields>>> {
        let mut rows = BTreeMap::new();
        loop {
            let answer = match self.pop_some(link, table).await {
                Ok(answer) => answer,
                Err(error) if severity(&error) == Severity::Refused => {
                    tracing::warn!(%table, %error, "cannot take what is pending for this table");
                    return Ok(rows);
                }
                Err(error) => return Err(error),
            };
            let popped = wire::items(answer)?;
            // A producer wakes its consumer only for the first key that is pending: go on until none is left.
            let last = popped.len() < KEYS_PER_POP;
            for item in popped {
                let mut item = wire::items(item)?.into_iter();
                let (Some(key), Some(fields)) = (item.next(), item.next()) else {
                    return Err(wire::unexpected("a key and fields", None));
                };
                let key = wire::bytes(key)?;
                let tables = &mut self.view.tables;
                if let Some(key) = tables.key_text(table, &key) {
                    let redis_key = tables.endpoint.redis_key(table, &key);
                    let fields = tables.row(&redis_key, fields)?;
                    rows.insert((table, key), fields);
                }
            }
            if last {
                return Ok(rows);
            }
        }
    }

    async fn pop_some(&self, link: &mut Link, table: Table) -> RedisResult<Value> {
        let mut pop = self.scripts.pop.key(key_set(table));
        pop.key(del_set(table)).key(table.name());
        pop.arg(self.view.tables.endpoint.separator.to_string()).arg(KEYS_PER_POP);
        pop.invoke_async(link.connection()).await
    }
}

impl Kind for Consume {
    fn view(&mut self) -> &mut View {
        &mut self.view
    }

    async fn listen(&mut self, link: &mut Link) -> RedisResult<()> {
        let tables = &self.view.tables;
        let channels: Vec<String> = tables.iter().map(|table| tables.endpoint.channel(table)).collect();
        link.listen(&[], &channels).await
    }

    async fn before_full_read(&mut self, link: &mut Link) -> RedisResult<()> {
        let tables: Vec<Table> = self.view.tables.iter().collect();
        for table in tables {
            self.pop(link, table).await?;
        }
        Ok(())
    }

    /// Unlike a subscriber, a consumer reports what it took even if that changes nothing: the producer asked
    /// for it.
    async fn follow(&mut self, link: &mut Link, pending: Pending) -> RedisResult<Vec<Change>> {
        let endpoint = &self.view.tables.endpoint;
        let woken: BTreeSet<Table> = self
            .view
            .tables
            .iter()
            .filter(|table| pending.channels.contains(endpoint.channel(*table).as_bytes()))
            .collect();
        let mut changes = Vec::new();
        for table in woken {
            for (row, fields) in self.pop(link, table).await? {
                changes.push(self.view.report(row, fields));
            }
        }
        Ok(changes)
    }

    async fn keep_alive(&mut self, link: &mut Link) -> RedisResult<bool> {
        link.query(&redis::cmd("PING")).await.map(|_| true)
    }
}
