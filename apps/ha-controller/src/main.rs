//! `ha-controller`: the SDN controller's part in DPU restarts, for a fleet of SmartSwitches.
//!
//! ```text
//!   fleet file, SIGHUP ───────────────► inputs ─► Controller ─┬─► Southbound: configuration of every switch
//!   durable store (at start, reports) ───► ▲                  └─► durable store
//!   Southbound: state of every switch ─────┘
//! ```
//!
//! Decisions are in `core/controller`; this process only carries inputs and effects.
//!
//! Exit codes: 0 asked to leave, 2 wrong use (a fleet file with errors included), 3 could not reach what it needs.

mod fleet_file;
mod notes;
mod redis_southbound;
mod southbound;
mod store;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use clap::Parser;
use controller::{Controller, Effect, Input};
use shell::{CommonArgs, Farewell, INPUT_QUEUE_MAX, Shell};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::fleet_file::FleetFile;
use crate::redis_southbound::RedisSouthbound;
use crate::southbound::Southbound;
use crate::store::{Store, StoreWriter};

/// Removes and re-programs the HA configuration of DPUs that restart, across a fleet of SmartSwitches.
#[derive(Clone, Debug, Parser)]
#[command(name = "ha-controller", version)]
struct Args {
    /// The fleet file: switches, vDPUs, HA sets; SIGHUP reads it again
    #[arg(long, value_name = "FILE")]
    fleet: PathBuf,

    /// The durable store; created where missing
    #[arg(long, value_name = "PATH")]
    store: PathBuf,

    #[command(flatten)]
    common: CommonArgs,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    shell::init_logging(args.common.log_format);
    let fleet = match FleetFile::read(&args.fleet) {
        Ok(fleet) => fleet,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(2);
        }
    };
    match run(&args, fleet).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(3)
        }
    }
}

async fn run(args: &Args, file: FleetFile) -> anyhow::Result<()> {
    let store = Store::open(&args.store)?;
    let records = store.records()?;
    let shell = Shell::start(&args.common).await?;
    let (sender, inputs) = mpsc::channel(INPUT_QUEUE_MAX);
    let writer = StoreWriter::start(store, sender.clone()).context("cannot start the store's thread")?;
    let southbound = Arc::new(Mutex::new(RedisSouthbound::new(sender.clone(), shell.metrics())));

    tracing::info!(fleet = %args.fleet.display(), records = records.len(), "controlling");
    sender.send(Input::Records(records)).await.context("the core is gone")?;
    take(file, &southbound, &sender).await;
    reload_on_sighup(args.fleet.clone(), southbound.clone(), sender)?;

    let mut core = Controller::new(shell::random_seed().context("no seed for retries")?);
    shell::notify_ready();
    let apply = |effects: Vec<Effect>| {
        let mut writes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Write(write) => writes.push(write),
                Effect::Persist(record) => writer.persist(record),
                Effect::Note(note) => notes::log(&note),
            }
        }
        if !writes.is_empty() {
            southbound.lock().unwrap_or_else(PoisonError::into_inner).write(writes);
        }
    };
    shell.run(&mut core, inputs, apply, None::<Farewell<Controller>>).await
}

/// Connects to the switches of a fleet file, then makes it the intent.
async fn take(file: FleetFile, southbound: &Mutex<RedisSouthbound>, inputs: &mpsc::Sender<Input>) {
    southbound.lock().unwrap_or_else(PoisonError::into_inner).attach(&file.targets);
    if inputs.send(Input::Fleet(file.fleet)).await.is_err() {
        tracing::debug!("the core is gone");
    }
}

fn reload_on_sighup(
    path: PathBuf,
    southbound: Arc<Mutex<RedisSouthbound>>,
    inputs: mpsc::Sender<Input>,
) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot handle SIGHUP")?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            reload(&path, &southbound, &inputs).await;
        }
    });
    Ok(())
}

/// A file with errors is reported, and the intent stays as it was.
async fn reload(path: &Path, southbound: &Mutex<RedisSouthbound>, inputs: &mpsc::Sender<Input>) {
    match FleetFile::read(path) {
        Ok(file) => {
            tracing::info!(fleet = %path.display(), "read the fleet file again");
            take(file, southbound, inputs).await;
        }
        Err(error) => tracing::error!("the intent stays as it was: {error}"),
    }
}
