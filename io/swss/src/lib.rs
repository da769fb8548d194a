//! SONiC's database bus: typed readers and writers over Redis (`reference/swss-wire.md`).
//!
//! | To … | use |
//! | --- | --- |
//! | find a database | [`DatabaseConfig`], which reads SONiC's configuration files and gives [`Endpoint`]s |
//! | follow tables | [`Reader::subscribe`]: `SubscriberStateTable`, any number of readers |
//! | consume tables | [`Reader::consume`]: `ConsumerStateTable`, the one reader |
//! | write tables | [`Store`]: `Table` or `ProducerStateTable`, written and read back |
//! | the same over ZMQ | [`Store::open_zmq`], [`Reader::serve_zmq`] |
//! | ask once | [`Connection`] |
//! | look at any table of any database | [`raw`] |
//! | test | [`testing::RedisServer`] |
//!
//! What SONiC's own library does not do, and this one does: it connects again and reads everything anew;
//! reports the rows that vanished meanwhile; notices flushes at once (`CLIENT TRACKING`), expiry, renames and
//! rows without a key; loads scripts again; waits for nothing without a limit; holds at most one change per row.
//! A reader or store never ends and never fails: it reports that it is lost, and comes back.
//!
//! What to ask a database next, and what follows from the answer, is decided in the crate `bus`; here it is asked.
//!
//! It knows rows as [`schema::Fields`] and nothing of their meaning, and takes no decision about what to
//! write. It polls nothing: a connection that was silent for 5 s is tested, and that is all that happens while
//! nothing happens. The server is asked then, too, whether databases were swapped, of which it tells nobody.
#![doc = include_str!("../README.md")]

mod config;
mod connection;
mod endpoint;
mod error;
mod inbox;
mod link;
pub mod raw;
mod reader;
mod reconnect;
mod round_trip;
mod scripts;
mod store;
mod tables;
pub mod testing;
mod wire;
mod zmq;

pub use crate::zmq::{LinkStats, ORCH_ZMQ_PORT, ServerStats, ZmqAddress, ZmqAddressError, ZmqPeer};
pub use bus::{Change, Mode, Update};
pub use config::{ConfigError, DatabaseConfig};
pub use connection::{Connection, Reply};
pub use endpoint::{Address, Endpoint, NamedEndpoint};
pub use error::Error;
pub use reader::Reader;
pub use store::Store;

#[cfg(test)]
mod tests;
