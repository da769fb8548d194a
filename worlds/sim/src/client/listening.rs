//! What a client is told: messages on channels, by name, as a Redis server sends them to `io/swss`.

use std::collections::BTreeSet;

use bus::{Keyspace, Located, Pending};
use schema::{Db, Table};

use crate::redis::Notice;

/// A message on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The channel's name, which need not be text.
    pub channel: Vec<u8>,
    /// Whether it says that a key is gone.
    pub gone: bool,
}

/// What a server tells at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Messages on channels, in order.
    pub messages: Vec<Message>,
    /// A database of the server was flushed.
    pub flushed: bool,
}

impl Told {
    /// What the server tells when this happens in a database.
    pub fn of(db: Db, notices: &[Notice]) -> Self {
        let keyspace = keyspace(db, []);
        let mut told = Self::default();
        for notice in notices {
            match notice {
                Notice::Row((table, key), gone) => {
                    told.key(&keyspace, keyspace.redis_key(*table, key).as_bytes(), *gone);
                }
                Notice::Side((table, key)) => {
                    told.key(&keyspace, keyspace.pending_key(*table, key).as_bytes(), false);
                    told.key(&keyspace, Keyspace::key_set(*table).as_bytes(), false);
                }
                Notice::Wake(table) => {
                    let channel = keyspace.channel(*table).into_bytes();
                    told.messages.push(Message { channel, gone: false });
                }
                Notice::Flushed => told.flushed = true,
            }
        }
        told
    }

    /// What the server tells when somebody writes, or deletes, a key that may be anything.
    pub fn of_key(db: Db, redis_key: &[u8], gone: bool) -> Self {
        let mut told = Self::default();
        told.key(&keyspace(db, []), redis_key, gone);
        told
    }

    fn key(&mut self, keyspace: &Keyspace, redis_key: &[u8], gone: bool) {
        let mut channel = keyspace.event_prefix().into_bytes();
        channel.extend_from_slice(redis_key);
        self.messages.push(Message { channel, gone });
    }
}

/// What a connection listens to.
#[derive(Clone, Debug)]
pub struct Listening {
    keyspace: Keyspace,
    event_prefix: Vec<u8>,
    /// The patterns, each without the asterisk at its end.
    beginnings: Vec<Vec<u8>>,
    channels: BTreeSet<Vec<u8>>,
}

impl Listening {
    /// To these tables, as who consumes some, and produces some.
    pub fn to(
        db: Db,
        tables: impl IntoIterator<Item = Table>,
        consumes: bool,
        produces: impl Fn(Table) -> bool,
    ) -> Self {
        let keyspace = keyspace(db, tables);
        let (patterns, mut channels) = keyspace.event_channels(produces);
        if consumes {
            channels.extend(keyspace.tables().map(|table| keyspace.channel(table)));
        }
        let beginning = |pattern: String| {
            let pattern = pattern.strip_suffix('*').unwrap_or(&pattern);
            pattern.replace('\\', "").into_bytes()
        };
        Self {
            event_prefix: keyspace.event_prefix().into_bytes(),
            keyspace,
            beginnings: patterns.into_iter().map(beginning).collect(),
            channels: channels.into_iter().map(String::into_bytes).collect(),
        }
    }

    fn hears(&self, channel: &[u8]) -> bool {
        self.beginnings.iter().any(|beginning| channel.starts_with(beginning))
            || self.channels.contains(channel)
    }

    /// What of it concerns the client, as `io/swss` sorts it.
    pub fn sort(&self, told: &Told) -> Pending {
        let mut pending = Pending { everything: told.flushed, ..Pending::default() };
        for Message { channel, gone } in told.messages.iter().filter(|message| self.hears(&message.channel)) {
            let Some(redis_key) = channel.strip_prefix(self.event_prefix.as_slice()) else {
                pending.wakes.extend(self.keyspace.woken(|name| name == channel.as_slice()));
                continue;
            };
            match self.keyspace.locate(redis_key) {
                Some(Located::Row(row)) => pending.row(row, *gone),
                Some(Located::Set(table)) => {
                    pending.sets.insert(table);
                }
                Some(Located::NotText(..)) | None => {}
            }
        }
        pending
    }
}

fn keyspace(db: Db, tables: impl IntoIterator<Item = Table>) -> Keyspace {
    Keyspace::new(db, db.default_index(), db.separator(), tables)
}
