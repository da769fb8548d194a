//! The built-in backend: `io/bfd-net`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use bfd::{Diagnostic, Hops, Link, Path, State};
use bfd_net::{Bind, Events, Server, ServerConfig, Spec, Totals, Wanted};
use bfdmgr::{Peer, Session, Sessions};
use schema::dpu_appl_db::BfdKey;

use super::{BfdBackend, CLOSE_MAX};

/// How long to wait before an interface that was not there is looked for again.
const INTERFACE_RETRY: Duration = Duration::from_secs(1);

/// Sessions of this process.
pub struct Lite {
    server: Server,
    events: Events,
    sessions: Sessions,
    /// The sessions by path, those included that only say farewell.
    keys: BTreeMap<Path, BfdKey>,
    wanted: BTreeSet<Path>,
    states: BTreeMap<Path, State>,
    /// Interfaces that sessions name and that are not there.
    missing: BTreeSet<String>,
    has_told: bool,
}

impl Lite {
    /// Without sessions. Listens only on their local addresses: on a DPU that is one, in the lab many DPUs share a host.
    pub fn start(seed: u64) -> anyhow::Result<Self> {
        let (server, events) = Server::start(ServerConfig { bind: Bind::PerAddress, seed })?;
        Ok(Self {
            server,
            events,
            sessions: Sessions::new(),
            keys: BTreeMap::new(),
            wanted: BTreeSet::new(),
            states: BTreeMap::new(),
            missing: BTreeSet::new(),
            has_told: false,
        })
    }

    /// What it counts.
    pub fn totals(&self) -> Arc<Totals> {
        self.server.totals()
    }

    fn apply(&mut self) {
        let mut wanted = Wanted::new();
        let mut missing = BTreeSet::new();
        for (key, session) in &self.sessions {
            let Some(link) = link_of(key) else {
                missing.insert(key.interface.clone());
                continue;
            };
            let path = path_of(key, session, link);
            self.keys.insert(path, key.clone());
            wanted.insert(path, spec_of(session));
        }
        for interface in missing.difference(&self.missing) {
            tracing::warn!(interface, "no such interface; its BFD sessions wait for it");
        }
        self.missing = missing;
        self.wanted = wanted.keys().copied().collect();
        self.server.want(wanted);
    }

    fn peers(&self) -> Vec<Peer> {
        let peer = |(path, state): (&Path, &State)| {
            // A session that is leaving is gone once its peer has answered.
            let is_open = match state {
                State::Up | State::Init => true,
                State::AdminDown => !self.wanted.contains(path),
                State::Down => false,
            };
            Some(Peer { key: self.keys.get(path)?.clone(), is_up: *state == State::Up, is_open })
        };
        self.states.iter().filter_map(peer).collect()
    }
}

impl BfdBackend for Lite {
    fn want(&mut self, sessions: Sessions) {
        self.sessions = sessions;
        self.apply();
    }

    async fn next(&mut self) -> Vec<Peer> {
        if !std::mem::replace(&mut self.has_told, true) {
            return self.peers();
        }
        loop {
            let retry = async {
                match self.missing.is_empty() {
                    true => std::future::pending().await,
                    false => tokio::time::sleep(INTERFACE_RETRY).await,
                }
            };
            let changes = tokio::select! {
                changes = self.events.next() => changes,
                () = retry => {
                    self.apply();
                    continue;
                }
            };
            let Some(changes) = changes else {
                tracing::error!("the BFD task is gone");
                return std::future::pending().await;
            };
            for change in changes {
                match change.state {
                    Some(state) => {
                        self.states.insert(change.path, state);
                    }
                    None => {
                        self.states.remove(&change.path);
                        if !self.wanted.contains(&change.path) {
                            self.keys.remove(&change.path);
                        }
                    }
                }
            }
            return self.peers();
        }
    }

    async fn close(self) {
        let unanswered = self.server.close(CLOSE_MAX).await;
        tracing::info!(unanswered, "BFD sessions closed");
    }
}

/// The interface's number; `None` if it is not there.
fn link_of(key: &BfdKey) -> Option<Link> {
    if key.interface == "default" {
        return Some(Link::ANY);
    }
    nix::net::if_::if_nametoindex(key.interface.as_str()).ok().map(Link)
}

fn path_of(key: &BfdKey, session: &Session, link: Link) -> Path {
    let any = match key.peer {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let hops = if session.multihop { Hops::Multi } else { Hops::Single };
    Path { peer: key.peer, local: session.local.unwrap_or(any), link, hops }
}

fn spec_of(session: &Session) -> Spec {
    Spec {
        role: session.role,
        desired_min_tx: session.transmit,
        required_min_rx: session.receive,
        detect_multiplier: session.detect_multiplier,
        min_ttl: session.min_ttl,
        held_down: session.shutdown.then_some(Diagnostic::ADMINISTRATIVELY_DOWN),
    }
}
