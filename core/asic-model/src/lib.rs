#![doc = include_str!("../README.md")]

mod channel;
mod decide;
mod io;
mod model;
mod sai;
mod scope;
mod traffic;
mod wire;

pub use io::{CP_DATA_CHANNEL_PORT_DEFAULT, Effect, HA_SETS_MAX, Ignored, Input, ModelConfig};
pub use model::AsicModel;
pub use traffic::{Duty, Fate, Leg, NOBODY, VIP_PACKET_BYTES, VipPacket, duty};
pub use wire::DATAGRAM_BYTES;

#[cfg(test)]
mod tests;
