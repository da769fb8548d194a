//! `SubscriberStateTable`: any number of readers follow keyspace events.

use std::collections::BTreeSet;

use redis::RedisResult;
use schema::Table;

use crate::Endpoint;
use crate::inbox::Pending;
use crate::link::Link;
use crate::reader::Change;
use crate::reader::session::{Kind, View};
use crate::tables::Tables;

pub(super) struct Subscribe {
    view: View,
}

impl Subscribe {
    pub(super) fn new(endpoint: &Endpoint, tables: &[Table]) -> Self {
        Self { view: View::new(Tables::new(endpoint, tables.iter().copied())) }
    }
}

impl Kind for Subscribe {
    fn view(&mut self) -> &mut View {
        &mut self.view
    }

    async fn listen(&mut self, link: &mut Link) -> RedisResult<()> {
        link.ensure_events().await?;
        let tables = &self.view.tables;
        let endpoint = &tables.endpoint;
        let patterns: Vec<String> =
            tables.iter().map(|table| endpoint.keyspace_channel(&endpoint.pattern("", table))).collect();
        // The pattern needs a separator, which the row without a key does not have.
        let channels: Vec<String> =
            tables.iter().map(|table| endpoint.keyspace_channel(&endpoint.redis_key(table, ""))).collect();
        link.listen(&patterns, &channels).await
    }

    async fn before_full_read(&mut self, _link: &mut Link) -> RedisResult<()> {
        Ok(())
    }

    async fn follow(&mut self, link: &mut Link, pending: Pending) -> RedisResult<Vec<Change>> {
        let tables = &mut self.view.tables;
        let mut changed = BTreeSet::new();
        let mut gone = BTreeSet::new();
        for (key, was_gone) in &pending.keys {
            if let Some(row) = tables.locate(key) {
                if *was_gone {
                    gone.insert(row.clone());
                }
                changed.insert(row);
            }
        }
        let rows = tables.read(link, changed).await?;
        Ok(self.view.differences(rows, &gone))
    }

    async fn keep_alive(&mut self, link: &mut Link) -> RedisResult<bool> {
        link.ensure_events().await
    }
}
