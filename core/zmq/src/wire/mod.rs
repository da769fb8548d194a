//! ZMTP 3 with the `NULL` mechanism, as far as `PUSH` and `PULL` need it (ZeroMQ RFC 23 and 37,
//! `reference/swss-wire.md` 5.8).

mod command;
mod decoder;
mod error;
mod frame;
mod greeting;

pub use command::Command;
pub use decoder::{Decoder, Item};
pub use error::ProtocolError;
pub use frame::message_frame;
pub use greeting::{GREETING_BYTES, greeting};
