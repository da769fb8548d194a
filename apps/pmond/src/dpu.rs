//! The DPU half as a process.
//!
//! ```text
//!   STATE_DB SYSTEM_READY, CONFIG_DB PORT, APPL_DB PORT_TABLE (the DPU's own) ─► inputs ─► PmonDpu
//!                                                                                  ▲          │
//!                          CHASSIS_STATE_DB DPU_STATE (on the NPU): reports, writes └──────────┘
//! ```

use std::time::Duration;

use anyhow::Context;
use pmon::{DpuConfig, DpuEffect, DpuInput, DpuNote, Feed, Here, PmonDpu};
use schema::appl_db::PortState;
use schema::state_db::SystemReady;
use schema::{Db, Table};
use shell::{Farewell, INPUT_QUEUE_MAX, RowDecoder, Shell, StorePorts};
use swss::{Change, Mode, Reader, Store, Update};
use tokio::sync::mpsc;

use crate::args::Args;

/// How long the last word may take. If the NPU's Redis is out of reach, so is the midplane, and the NPU half says it.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

const KERNEL_BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Runs until SIGTERM, then says that the planes are down.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let slot = args.dpu_id.context("--dpu-id is needed on a DPU")?;
    let boot_id = match &args.boot_id {
        Some(boot_id) => boot_id.clone(),
        None => std::fs::read_to_string(KERNEL_BOOT_ID)
            .with_context(|| format!("cannot read {KERNEL_BOOT_ID}; use --boot-id"))?
            .trim()
            .to_owned(),
    };
    let databases = args.databases.load("").await?;
    let endpoint = |db| databases.endpoint("", db).with_context(|| format!("{db} is needed on a DPU"));
    let chassis = endpoint(Db::ChassisStateDb)?;

    let shell = Shell::start(&args.daemon).await?;
    let metrics = shell.metrics();
    let (sender, inputs) = mpsc::channel(INPUT_QUEUE_MAX);

    for feed in [Feed::SystemReady, Feed::Ports, Feed::PortStates] {
        let table = table_of(feed);
        let reader = Reader::subscribe(&endpoint(table.db())?, &[table]);
        let mut decoder = RowDecoder::new(metrics.clone());
        shell::feed(table.db(), reader, sender.clone(), metrics.clone(), move |update| {
            inputs_of(feed, update, &mut decoder)
        });
    }
    let mut stores = StorePorts::new();
    let store = Store::open(&chassis, &[(Table::DpuState, Mode::Table)]);
    stores.add(Here, Db::ChassisStateDb, store, sender, metrics, DpuInput::Store);

    tracing::info!(dpu = %slot, boot_id, "reporting control and data plane");
    let mut core = PmonDpu::new(DpuConfig { slot, boot_id });
    shell::notify_ready();
    let apply = |effects: Vec<DpuEffect>| {
        let mut writes = Vec::new();
        for effect in effects {
            match effect {
                DpuEffect::Write(write) => writes.push(write),
                DpuEffect::Note(note) => log(note),
            }
        }
        stores.write(writes);
    };
    let farewell = Farewell { input: DpuInput::Stop, is_over: PmonDpu::has_left, timeout: FAREWELL_TIMEOUT };
    shell.run(&mut core, inputs, apply, Some(farewell)).await?;
    if !core.has_left() {
        tracing::warn!("left without saying that the planes are down: CHASSIS_STATE_DB is out of reach");
    }
    Ok(())
}

fn table_of(feed: Feed) -> Table {
    match feed {
        Feed::SystemReady => Table::SystemReady,
        Feed::Ports => Table::Port,
        Feed::PortStates => Table::PortTable,
    }
}

fn inputs_of(feed: Feed, update: Update, decoder: &mut RowDecoder) -> Vec<DpuInput> {
    match update {
        Update::Changes(changes) => {
            changes.iter().filter_map(|change| input_of(feed, change, decoder)).collect()
        }
        Update::Synced => vec![DpuInput::Synced(feed)],
        // What was read last stays in force until it is read again.
        Update::Lost { .. } => Vec::new(),
    }
}

fn input_of(feed: Feed, change: &Change, decoder: &mut RowDecoder) -> Option<DpuInput> {
    match feed {
        Feed::SystemReady => {
            let (_, row) = decoder.decode::<SystemReady>(change).or_nothing()?;
            Some(DpuInput::SystemReady(row))
        }
        Feed::Ports => Some(DpuInput::Port { name: change.key.clone(), present: change.fields.is_some() }),
        Feed::PortStates => {
            let (name, row) = decoder.decode::<PortState>(change).or_nothing()?;
            Some(DpuInput::PortState { name, row })
        }
    }
}

fn log(note: DpuNote) {
    match note {
        DpuNote::Planes { control_plane, data_plane } => {
            tracing::info!(%control_plane, %data_plane, "planes");
        }
        DpuNote::Held => {
            tracing::info!("the NPU holds the midplane down; the planes are raised when it lets go")
        }
        DpuNote::Repaired => tracing::info!("the row did not say what is true; repaired"),
    }
}
