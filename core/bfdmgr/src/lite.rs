//! The built-in backend's side of the table: from sessions to what `core/bfd` is to run, and from its states to what the
//! manager is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bfd::{Diagnostic, Hops, Link, Path, Spec, State, Wanted};
use schema::dpu_appl_db::BfdKey;

use crate::io::Peer;
use crate::session::{Session, Sessions};

/// The sessions of the built-in backend, as far as it has told.
#[derive(Clone, Debug, Default)]
pub struct Lite {
    /// The sessions by path, those included that only say farewell.
    keys: BTreeMap<Path, BfdKey>,
    wanted: BTreeSet<Path>,
    states: BTreeMap<Path, State>,
}

impl Lite {
    /// What is to run for these sessions. One whose link is not there is left out.
    pub fn want(&mut self, sessions: &Sessions, mut link_of: impl FnMut(&BfdKey) -> Option<Link>) -> Wanted {
        let mut wanted = Wanted::new();
        for (key, session) in sessions {
            let Some(link) = link_of(key) else { continue };
            let path = path_of(key, session, link);
            self.keys.insert(path, key.clone());
            wanted.insert(path, spec_of(session));
        }
        self.wanted = wanted.keys().copied().collect();
        wanted
    }

    /// A session changed its state; `None`: it is gone.
    pub fn changed(&mut self, path: Path, state: Option<State>) {
        match state {
            Some(state) => {
                self.states.insert(path, state);
            }
            None => {
                self.states.remove(&path);
                if !self.wanted.contains(&path) {
                    self.keys.remove(&path);
                }
            }
        }
    }

    /// All sessions that there are.
    pub fn peers(&self) -> Vec<Peer> {
        let peer = |(path, state): (&Path, &State)| {
            // A session that is leaving is gone once its peer has answered. One that is down may be up in a moment.
            let is_open = match state {
                State::Up | State::Init | State::Down => true,
                State::AdminDown => !self.wanted.contains(path),
            };
            Some(Peer { key: self.keys.get(path)?.clone(), is_up: *state == State::Up, is_open })
        };
        self.states.iter().filter_map(peer).collect()
    }
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
