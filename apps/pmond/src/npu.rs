//! The NPU half as a process.
//!
//! ```text
//!   CONFIG_DB DPU ───────► inputs ─► PmonNpu ─┬─► CHASSIS_STATE_DB DPU_STATE, STATE_DB CHASSIS_MIDPLANE_TABLE
//!   both stores' reports ─►  ▲                └─► targets ─► prober ─┐
//!                            └──────────────── answers, losses ◄─────┘
//! ```

use anyhow::Context;
use pmon::{Here, NpuConfig, NpuEffect, NpuInput, NpuNote, PmonNpu};
use schema::{Db, Table, config_db};
use shell::{Farewell, INPUT_QUEUE_MAX, RowDecoder, Shell, StorePorts};
use swss::{Mode, Reader, Store, Update};
use tokio::sync::{mpsc, watch};

use crate::args::Args;
use crate::probe::{DatagramProbe, Prober};

/// Runs until SIGTERM. The row is left as it is: a restart of this process is no event for the DPUs.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let probe = DatagramProbe::open(args.midplane_probe)?;
    let databases = args.databases.load("").await?;
    let endpoint = |db| databases.endpoint("", db).with_context(|| format!("{db} is needed on the NPU"));
    let (config, chassis, state) =
        (endpoint(Db::ConfigDb)?, endpoint(Db::ChassisStateDb)?, endpoint(Db::StateDb)?);

    let shell = Shell::start(&args.daemon).await?;
    let metrics = shell.metrics();
    let (sender, inputs) = mpsc::channel(INPUT_QUEUE_MAX);

    let mut decoder = RowDecoder::new(metrics.clone());
    let reader = Reader::subscribe(&config, &[Table::Dpu]);
    shell::feed(Db::ConfigDb, reader, sender.clone(), metrics.clone(), move |update| {
        inputs_of(update, &mut decoder)
    });

    let mut stores = StorePorts::new();
    for (endpoint, table) in [(&chassis, Table::DpuState), (&state, Table::ChassisMidplane)] {
        let store = Store::open(endpoint, &[(table, Mode::Table)]);
        stores.add(Here, table.db(), store, sender.clone(), metrics.clone(), NpuInput::Store);
    }

    let (targets, targets_of_prober) = watch::channel(Vec::new());
    let prober = Prober {
        probe,
        interval: args.probe_interval(),
        timeout: args.probe_timeout(),
        targets: targets_of_prober,
    };
    tokio::spawn(prober.run(sender));

    let mut core = PmonNpu::new(NpuConfig { probe_fail_threshold: args.probe_fail_threshold });
    shell::notify_ready();
    tracing::info!(probe = %args.midplane_probe, interval_ms = args.probe_interval_ms,
        threshold = args.probe_fail_threshold, "watching the midplane");
    let apply = |effects: Vec<NpuEffect>| {
        let mut writes = Vec::new();
        for effect in effects {
            match effect {
                NpuEffect::Write(write) => writes.push(write),
                NpuEffect::Probe(wanted) => {
                    targets.send_replace(wanted);
                }
                NpuEffect::Note(note) => log(&note),
            }
        }
        stores.write(writes);
    };
    shell.run(&mut core, inputs, apply, None::<Farewell<PmonNpu>>).await
}

fn inputs_of(update: Update, decoder: &mut RowDecoder) -> Vec<NpuInput> {
    match update {
        Update::Changes(changes) => {
            let rows =
                changes.iter().filter_map(|change| decoder.decode::<config_db::Dpu>(change).or_last_good());
            rows.map(|(name, row)| NpuInput::Dpu { name, row }).collect()
        }
        Update::Synced => vec![NpuInput::DpusSynced],
        Update::Lost { .. } => Vec::new(),
    }
}

fn log(note: &NpuNote) {
    match note {
        NpuNote::MidplaneUp(slot) => tracing::info!(dpu = %slot, "midplane up"),
        NpuNote::MidplaneDown { slot, lost } => {
            tracing::warn!(dpu = %slot, lost, "midplane down; control and data plane are forced down with it");
        }
        NpuNote::NoMidplaneAddress(name) => {
            tracing::warn!(dpu = %name, "no midplane_ipv4: the state of this DPU stays unknown");
        }
        NpuNote::SlotTaken { ignored, slot } => {
            tracing::warn!(row = %ignored, dpu = %slot, "another DPU row names this slot; this one does not count");
        }
    }
}
