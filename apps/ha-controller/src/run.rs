//! The process: readers, stores and the durable store around the core.
//!
//! ```text
//!   fleet file (SIGHUP) ─────────────────────────► inputs ─► Controller ─┬─► durable store ─► Persisted
//!   CHASSIS_STATE_DB, STATE_DB of each switch ───►   ▲                   └─► APPL_DB, STATE_DB of each switch
//!                                                    └──── reports of the stores ◄────┘
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use controller::{Controller, Effect, Input};
use fleet::{FleetFile, FleetFileError};
use shell::{Farewell, INPUT_QUEUE_MAX, Shell};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::args::Args;
use crate::notes;
use crate::southbound::{DirectRedis, Southbound};
use crate::store::DurableStore;

type Shared<S> = Arc<Mutex<S>>;

/// Runs until SIGTERM. All rows stay as they are: the next process goes on from there.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    // Before anything that takes time: an early SIGHUP must not end the process.
    let hangups = signal(SignalKind::hangup()).context("cannot handle SIGHUP")?;
    let file = FleetFile::load(&args.fleet)?;
    let (sender, inputs) = mpsc::channel(INPUT_QUEUE_MAX);
    let (store, records) = DurableStore::open(&args.store, sender.clone())?;
    let shell = Shell::start(&args.daemon).await?;
    let seed = shell::random_seed().context("cannot seed the jitter of retries")?;

    log_fleet(&args.fleet, &file);
    tracing::info!(path = %args.store.display(), records = records.len(), "store");
    sender.send(Input::Fleet(file.fleet)).await.context("the queue ended before it was used")?;
    sender.send(Input::Records(records)).await.context("the queue ended before it was used")?;
    let southbound = DirectRedis::new(sender.clone(), shell.metrics());
    let southbound = Arc::new(Mutex::new(southbound));
    lock(&southbound).connect(&file.switches);
    tokio::spawn(reload(args.fleet.clone(), hangups, sender, southbound.clone()));
    shell::notify_ready();

    let mut core = Controller::new(seed);
    let apply = |effects: Vec<Effect>| {
        let mut writes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist(record) => store.persist(record),
                Effect::Write(write) => writes.push(write),
                Effect::Note(note) => notes::log(&note),
            }
        }
        lock(&southbound).write(writes);
    };
    shell.run(&mut core, inputs, apply, None::<Farewell<Controller>>).await
}

fn lock<S>(shared: &Shared<S>) -> std::sync::MutexGuard<'_, S> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn log_fleet(path: &Path, file: &FleetFile) {
    let (switches, vdpus) = (file.fleet.switches().count(), file.fleet.vdpus().count());
    let ha_sets = file.fleet.ha_sets().count();
    tracing::info!(path = %path.display(), switches, vdpus, ha_sets, "fleet");
}

/// On SIGHUP the file is read again. A bad one is reported, and the old intent stays.
async fn reload(
    path: PathBuf,
    mut hangups: Signal,
    inputs: mpsc::Sender<Input>,
    southbound: Shared<impl Southbound>,
) {
    while hangups.recv().await.is_some() {
        match FleetFile::load(&path) {
            Ok(file) => {
                log_fleet(&path, &file);
                // First the intent: what a switch says counts only once the switch is intended.
                if inputs.send(Input::Fleet(file.fleet)).await.is_err() {
                    return;
                }
                lock(&southbound).connect(&file.switches);
            }
            Err(error) => report(&error),
        }
    }
}

fn report(error: &FleetFileError) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(cause, "{error}; the intent stays as it was");
}
