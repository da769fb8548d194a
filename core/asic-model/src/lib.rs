#![doc = include_str!("../README.md")]

mod channel;
mod decide;
mod model;
mod scope;
mod wire;

pub use model::{AsicModel, CP_DATA_CHANNEL_PORT_DEFAULT, Effect, HA_SETS_MAX, Ignored, Input, ModelConfig};
pub use wire::DATAGRAM_BYTES;

#[cfg(test)]
mod tests;
