//! The built-in backend: `io/bfd-net`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bfd::Link;
use bfd_net::{Bind, Events, Server, ServerConfig, Totals};
use bfdmgr::{Peer, Sessions};
use schema::dpu_appl_db::BfdKey;

use super::{BfdBackend, CLOSE_MAX};

/// How long to wait before an interface that was not there is looked for again.
const INTERFACE_RETRY: Duration = Duration::from_secs(1);

/// Sessions of this process.
pub struct Lite {
    server: Server,
    events: Events,
    sessions: Sessions,
    view: bfdmgr::Lite,
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
            view: bfdmgr::Lite::default(),
            missing: BTreeSet::new(),
            has_told: false,
        })
    }

    /// What it counts.
    pub fn totals(&self) -> Arc<Totals> {
        self.server.totals()
    }

    fn apply(&mut self) {
        let mut missing = BTreeSet::new();
        let wanted = self.view.want(&self.sessions, |key| {
            let link = link_of(key);
            if link.is_none() {
                missing.insert(key.interface.clone());
            }
            link
        });
        for interface in missing.difference(&self.missing) {
            tracing::warn!(interface, "no such interface; its BFD sessions wait for it");
        }
        self.missing = missing;
        self.server.want(wanted);
    }
}

impl BfdBackend for Lite {
    fn want(&mut self, sessions: Sessions) {
        self.sessions = sessions;
        self.apply();
    }

    async fn next(&mut self) -> Vec<Peer> {
        if !std::mem::replace(&mut self.has_told, true) {
            return self.view.peers();
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
                self.view.changed(change.path, change.state);
            }
            return self.view.peers();
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
