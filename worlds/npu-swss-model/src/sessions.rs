//! The active BFD sessions: what the core wants, carried out by `io/bfd-net`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use anyhow::Context;
use bfd::{Hops, Interval, Link, Path, Role, State};
use bfd_net::{Bind, Change, Events, Server, ServerConfig, Spec, Wanted};
use npu_model::{Input, Session};
use schema::BfdState;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How long leaving waits for the DPUs to answer the farewell.
const CLOSE_MAX: Duration = Duration::from_millis(500);

/// The least TTL that is taken, as SONiC has FRR configured on the DPU's side (`reference/dpu-side.md` 2.3).
const TTL_MIN: u8 = 1;

type ByPeer = BTreeMap<IpAddr, Session>;

/// The running sessions.
pub struct Sessions {
    wanted: watch::Sender<ByPeer>,
    task: JoinHandle<()>,
}

impl Sessions {
    /// Without sessions. States go to `inputs`.
    pub fn start(seed: u64, inputs: mpsc::Sender<Input>) -> anyhow::Result<Self> {
        // In the lab many NPUs and DPUs share a host.
        let config = ServerConfig { bind: Bind::PerAddress, seed };
        let (server, events) = Server::start(config).context("cannot run BFD")?;
        let (wanted, present) = watch::channel(ByPeer::new());
        Ok(Self { wanted, task: tokio::spawn(run(server, events, present, inputs)) })
    }

    /// Which sessions ought to run: all of them, each time.
    pub fn want(&self, sessions: ByPeer) {
        self.wanted.send_replace(sessions);
    }

    /// Ends all sessions, AdminDown first.
    pub async fn close(self) {
        drop(self.wanted);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the BFD sessions are gone");
        }
    }
}

async fn run(
    server: Server,
    mut events: Events,
    mut wanted: watch::Receiver<ByPeer>,
    inputs: mpsc::Sender<Input>,
) {
    let mut paths = BTreeMap::new();
    loop {
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    break;
                }
                let specs = specs_of(&wanted.borrow_and_update());
                paths = specs.keys().map(|path| (path.peer, *path)).collect();
                server.want(specs);
            }
            changes = events.next() => {
                let Some(changes) = changes else {
                    tracing::error!("the BFD task is gone");
                    break;
                };
                // A session that is no longer wanted says its last.
                let ours = changes.iter().filter(|change| paths.get(&change.path.peer) == Some(&change.path));
                if tell(&server, ours, &inputs).await.is_err() {
                    break;
                }
            }
        }
    }
    let unanswered = server.close(CLOSE_MAX).await;
    tracing::info!(unanswered, "BFD sessions closed");
}

/// States first, for traffic waits for them; then the discriminators, which only the rows show.
async fn tell(
    server: &Server,
    changes: impl Iterator<Item = &Change> + Clone,
    inputs: &mpsc::Sender<Input>,
) -> Result<(), mpsc::error::SendError<Input>> {
    for change in changes.clone() {
        let state = change.state.map(state_of);
        inputs.send(Input::Bfd { peer: change.path.peer, state, discriminator: None }).await?;
    }
    let snapshot = server.snapshot().await;
    for change in changes {
        let Some(view) = snapshot.sessions.get(&change.path) else { continue };
        let (state, discriminator) = (Some(state_of(view.state)), Some(view.discriminator.get()));
        inputs.send(Input::Bfd { peer: change.path.peer, state, discriminator }).await?;
    }
    Ok(())
}

fn specs_of(sessions: &ByPeer) -> Wanted {
    let spec = |(peer, session): (&IpAddr, &Session)| {
        let path = Path { peer: *peer, local: session.local, link: Link::ANY, hops: Hops::Multi };
        let spec = Spec {
            role: Role::Active,
            desired_min_tx: interval(*peer, session.tx_interval_ms)?,
            required_min_rx: interval(*peer, session.rx_interval_ms)?,
            detect_multiplier: NonZeroU8::new(session.multiplier)?,
            min_ttl: TTL_MIN,
            held_down: None,
        };
        Some((path, spec))
    };
    sessions.iter().filter_map(spec).collect()
}

fn interval(peer: IpAddr, ms: u32) -> Option<Interval> {
    match Interval::from_ms(ms) {
        Ok(interval) => Some(interval),
        Err(error) => {
            tracing::warn!(%peer, ms, %error, "no BFD session: the route's timer cannot be kept");
            None
        }
    }
}

fn state_of(state: State) -> BfdState {
    match state {
        State::AdminDown => BfdState::AdminDown,
        State::Down => BfdState::Down,
        State::Init => BfdState::Init,
        State::Up => BfdState::Up,
    }
}
