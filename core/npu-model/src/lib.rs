#![doc = include_str!("../README.md")]

mod forwarding;
mod io;
mod next_hop;
mod npu;
mod prefix;
mod route;
mod sessions;

pub use forwarding::{Forwarding, NextHop, Reach, Vip};
pub use io::{Effect, Here, Input, Note};
pub use next_hop::{NextHopRule, NoSuchRule};
pub use npu::{FIRST_UP_MS_MAX, NpuConfig, NpuModel};
pub use prefix::Prefix;
pub use route::RouteProblem;
pub use sessions::{INTERVAL_MS_DEFAULT, MULTIPLIER, Session};

#[cfg(test)]
mod tests;
