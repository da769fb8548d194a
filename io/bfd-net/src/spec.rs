//! What is asked of the server.

use std::collections::BTreeMap;
use std::num::NonZeroU8;

use bfd::{Config, Diagnostic, Interval, Path, Role};

/// Where packets are received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bind {
    /// On every address of this host or network namespace.
    #[default]
    Wildcard,
    /// Only on the local addresses of the wanted sessions, so that several servers can share one host. A session whose local
    /// address is unspecified needs the wildcard none the less.
    PerAddress,
}

/// How a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where packets are received.
    pub bind: Bind,
    /// Where discriminators and jitter come from. Another one for each life, so that a peer can tell the lives apart.
    pub seed: u64,
}

/// What a session is asked to be; where it runs is the key of [`Wanted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Who speaks first.
    pub role: Role,
    /// How fast to send while up.
    pub desired_min_tx: Interval,
    /// How fast packets can be received.
    pub required_min_rx: Interval,
    /// How many of our packets the peer may miss.
    pub detect_multiplier: NonZeroU8,
    /// The least TTL of a multihop packet that is taken; FRR's `minimum-ttl`.
    pub min_ttl: u8,
    /// Held down by the administrator, and what the peer is told about it.
    pub held_down: Option<Diagnostic>,
}

impl Spec {
    pub(crate) fn config(&self, path: Path) -> Config {
        Config {
            path,
            role: self.role,
            desired_min_tx: self.desired_min_tx,
            required_min_rx: self.required_min_rx,
            detect_multiplier: self.detect_multiplier,
            min_ttl: self.min_ttl,
        }
    }
}

/// All sessions that ought to be. [`bfd::Link`] is the index of an interface, or [`bfd::Link::ANY`].
pub type Wanted = BTreeMap<Path, Spec>;
