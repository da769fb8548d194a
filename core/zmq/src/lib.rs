//! SONiC's ZMQ tables (`reference/swss-wire.md` 5), decisions only: what goes over the wire, when, and what is known
//! to have arrived.
//!
//! | Module | What |
//! | --- | --- |
//! | [`wire`] | ZMTP 3: greeting, commands, frames; a [`wire::Decoder`] that is fed bytes as they come |
//! | [`message`] | rows as one frame, and back (SONiC's `BinarySerializer`) |
//! | [`ProducerLink`] | one `PUSH` connection: connect, handshake, batches, acknowledgements, time-outs |
//! | [`Deliveries`] | what a producer's peer has of which row, over many connections |
//! | [`ProducerStore`] | a producer's rows: database and link together |
//! | [`ConsumerSession`] | one accepted connection of a `PULL` socket |
//! | [`Holdings`] | what a consumer holds, over many connections |
//!
//! A producer is a [`ProducerLink`] below a [`ProducerStore`]; a consumer is a [`ConsumerSession`] per peer below one
//! [`Holdings`]. All are machines in the style of the house: time and events go in, effects come out.
//!
//! It knows rows as [`schema::Fields`], and nothing of their meaning but which fields are said only once. It knows
//! no socket, no Redis and no clock.

mod backlog;
mod consumer;
mod deliveries;
mod holdings;
pub mod limits;
pub mod message;
mod producer;
mod store;
pub mod wire;

pub use backlog::Outgoing;
pub use bus::RowId;
pub use consumer::{ConsumerSession, SessionEffect, SessionEvent};
pub use deliveries::{Deliveries, Delivery};
pub use holdings::{Holdings, NotTaken};
pub use producer::{LinkConfig, LinkEffect, LinkEvent, ProducerLink, Receipt};
pub use store::{ProducerStore, SETTLE_MS, StoreInput, StoreOutput};

#[cfg(test)]
mod tests;
