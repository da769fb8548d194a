//! How a server runs.

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
