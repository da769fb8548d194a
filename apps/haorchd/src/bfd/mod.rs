//! The DPU's BFD: what `core/bfdmgr` decides, carried out by a backend.
//!
//! ```text
//!  STATE_DB (DPU) BFD_SOFTWARE_SESSION_TABLE ─► BfdMgr ─Want─► backend (lite: io/bfd-net; frr: bfdd by vtysh)
//!                                               ▲   │             │
//!                        what it has, as levels └───┼─────────────┘
//!  core/haorch ◄── Open ─────────────────────────────┼─► DPU_STATE_DB (NPU) DASH_BFD_PROBE_STATE|dash_ha
//!                                                   └─► STATE_DB (DPU) DPU_BFD_PROBE_STATE
//! ```
//!
//! It reads the row rather than being told by the agent next door, so that it serves whoever writes that table, as BfdMgr does.

mod frr;
mod lite;
mod metrics;

use std::future::Future;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bfdmgr::{Backend, BfdMgr, Effect, Input, Peer, Place, Sessions};
use reconcile::{Batch, Core, Time};
use schema::state_db::BfdSoftwareSession;
use schema::{Db, Row, Table, WallMs};
use shell::{Decoded, INPUT_QUEUE_MAX, Metrics, RowDecoder, StorePorts};
use swss::{DatabaseConfig, Mode, Reader, Store, Update};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::args::BfdKind;

/// How long leaving waits for the peers to answer the farewell.
const CLOSE_MAX: Duration = Duration::from_millis(500);

/// How long leaving waits for the task itself, a call of `vtysh` included.
const LEAVE_MAX: Duration = Duration::from_secs(3);

const ROWS: [(Place, Db, Table); 2] = [
    (Place::Local, Db::StateDb, Table::DpuBfdProbeState),
    (Place::Remote, Db::DpuStateDb, Table::DashBfdProbeState),
];

/// What runs BFD sessions. Both ways are levels, so either side may forget everything at any moment.
pub trait BfdBackend: Send + 'static {
    /// The sessions that ought to run: all of them. Returns at once; what fails is repeated until it is no longer wanted. A session
    /// that is no longer wanted tells its peer AdminDown before it ends.
    fn want(&mut self, sessions: Sessions);

    /// All sessions that it has, each time that something about them changed, and once at the start. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Vec<Peer>> + Send;

    /// Ends all sessions, AdminDown first.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// The running manager.
pub struct Bfd {
    leave: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Starts the manager and its backend. What the agent has to know goes to `agent`.
pub fn start(
    kind: BfdKind,
    frr_directory: &Path,
    databases: &DatabaseConfig,
    metrics: &Metrics,
    agent: mpsc::Sender<haorch::Input>,
) -> anyhow::Result<Bfd> {
    let endpoint = |db| databases.endpoint("", db).with_context(|| format!("{db} is needed on the DPU"));
    let (sender, inputs) = mpsc::channel(INPUT_QUEUE_MAX);
    let mut stores = StorePorts::new();
    for (place, db, table) in ROWS {
        let store = Store::open(&endpoint(db)?, &[(table, Mode::Table)]);
        stores.add(place, db, store, sender.clone(), metrics.clone(), Input::Store);
    }
    let local = endpoint(Db::StateDb)?;
    let reader = Reader::subscribe(&local, &[BfdSoftwareSession::TABLE]);
    let mut decoder = RowDecoder::new(metrics.clone());
    shell::feed(local.db, reader, sender, metrics.clone(), move |update| inputs_of(update, &mut decoder));

    let (leave, left) = oneshot::channel();
    let ports = Ports { inputs, stores, agent, left };
    let task = match kind {
        BfdKind::Lite => {
            let seed = shell::random_seed().context("no seed for BFD's discriminators")?;
            let backend = lite::Lite::start(seed)?;
            metrics::register(metrics, backend.totals());
            tokio::spawn(run(backend, BfdMgr::new(Backend::Lite), ports))
        }
        BfdKind::Frr => tokio::spawn(run(frr::Frr::start(frr_directory), BfdMgr::new(Backend::Frr), ports)),
    };
    Ok(Bfd { leave, task })
}

impl Bfd {
    /// Ends all sessions; AdminDown is on the wire when this returns, so that the NPUs need not wait for their detection time.
    pub async fn close(self) {
        if self.leave.send(()).is_err() {
            tracing::error!("the BFD manager is gone");
        }
        if tokio::time::timeout(LEAVE_MAX, self.task).await.is_err() {
            tracing::warn!("the BFD backend did not leave in time");
        }
    }
}

struct Ports {
    inputs: mpsc::Receiver<Input>,
    stores: StorePorts<Place>,
    agent: mpsc::Sender<haorch::Input>,
    left: oneshot::Receiver<()>,
}

async fn run<B: BfdBackend>(mut backend: B, mut core: BfdMgr, ports: Ports) {
    let Ports { mut inputs, stores, agent, mut left } = ports;
    let mut queued = Vec::new();
    loop {
        tokio::select! {
            count = inputs.recv_many(&mut queued, INPUT_QUEUE_MAX) => if count == 0 {
                break;
            },
            peers = backend.next() => queued.push(Input::Backend(peers)),
            _ = &mut left => break,
        }
        let batch = Batch { wall: wall_now(), inputs: std::mem::take(&mut queued) };
        let mut effects = Vec::new();
        // It has no deadlines, so it needs no time.
        core.handle(Time::default(), batch, &mut effects);
        let mut writes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Want(sessions) => {
                    tracing::info!(sessions = sessions.len(), "BFD sessions wanted");
                    backend.want(sessions.into_iter().collect());
                }
                Effect::Open(open) => {
                    if agent.send(haorch::Input::BfdOpen(open)).await.is_err() {
                        tracing::debug!("the agent is gone");
                    }
                }
                Effect::Write(write) => writes.push(write),
                Effect::Note(note @ bfdmgr::Note::Unusable { .. }) => tracing::warn!("{note}"),
                Effect::Note(note @ bfdmgr::Note::Up { .. }) => tracing::info!("{note}"),
            }
        }
        stores.write(writes);
    }
    backend.close().await;
}

fn inputs_of(update: Update, decoder: &mut RowDecoder) -> Vec<Input> {
    match update {
        Update::Changes(changes) => changes
            .iter()
            .filter_map(|change| match decoder.decode::<BfdSoftwareSession>(change) {
                Decoded::Present(key, row) => Some(Input::Session(key, Some(row))),
                Decoded::Gone(key) => Some(Input::Session(key, None)),
                Decoded::Bad(key) => Some(Input::Refused(key)),
                Decoded::BadKey => None,
            })
            .collect(),
        Update::Synced => vec![Input::Synced],
        // Rows stay in force; the next read gives what has changed.
        Update::Lost { .. } => Vec::new(),
    }
}

fn wall_now() -> WallMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
