//! `hamgrd`: the HA manager of a SmartSwitch, for all its DPUs.
//!
//! ```text
//!   CONFIG_DB, APPL_DB configuration, DPU_STATE ─► inputs ─► Hamgr ─┬─► STATE_DB (HA scope state, resets, fences)
//!   per DPU: DPU_STATE_DB ────────────────────────►  ▲              ├─► APPL_DB (VNET routes, neighbours)
//!   all stores' reports ─────────────────────────────┘              └─► per DPU: DPU_APPL_DB
//! ```
//!
//! Decisions are in `core/hamgr`; this process only carries inputs and effects.
//!
//! Exit codes: 0 asked to leave, 2 wrong use, 3 could not reach what it needs.

mod args;
mod notes;
mod sources;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use hamgr::{Config, Effect, Hamgr, Input, Place, Source};
use schema::{Db, Slot, Table};
use shell::{Farewell, INPUT_QUEUE_MAX, Metrics, Shell, StorePorts};
use swss::{DatabaseConfig, Mode, Reader, Store};
use tokio::sync::mpsc;

use crate::args::Args;
use crate::sources::Decoder;

/// What hamgrd writes on the switch itself.
const NPU_STORES: [&[(Table, Mode)]; 2] = [
    &[
        (Table::DashHaScopeState, Mode::Table),
        (Table::DpuResetInfo, Mode::Table),
        (Table::DashHaScopeFence, Mode::Table),
    ],
    &[(Table::VnetRouteTunnel, Mode::ProducerState), (Table::NeighResolve, Mode::ProducerState)],
];

/// What hamgrd writes for a DPU.
const DPU_STORE: &[(Table, Mode)] = &[
    (Table::DashHaSet, Mode::ProducerState),
    (Table::DashHaScope, Mode::ProducerState),
    (Table::BfdSession, Mode::ProducerState),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    shell::init_logging(args.common.log_format);
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(3)
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let databases = args.common.databases("").await?;
    let slots = args.slots().map_or_else(|| slots_of(&databases), |slots| slots.into_iter().collect());
    let shell = Shell::start(&args.common).await?;
    let (sender, inputs) = mpsc::channel(INPUT_QUEUE_MAX);
    let mut stores = StorePorts::new();
    let mut wiring = Wiring { args: &args, sender, metrics: shell.metrics(), stores: &mut stores };
    wiring.npu(&databases)?;
    for slot in &slots {
        wiring.dpu(*slot);
    }
    drop(wiring);

    let slots: Vec<String> = slots.iter().map(Slot::to_string).collect();
    tracing::info!(dpus = slots.join(","), policy = ?args.restart_policy, "managing HA");
    let mut core = Hamgr::new(Config {
        policy: args.restart_policy.into(),
        slots: args.slots(),
        heartbeat_interval_ms: args.heartbeat_ms,
        id_seed: shell::random_seed().context("no seed for ids")?,
    });
    shell::notify_ready();
    let apply = |effects: Vec<Effect>| {
        let mut writes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Write(write) => writes.push(write),
                Effect::Note(note) => notes::log(&note),
            }
        }
        stores.write(writes);
    };
    shell.run(&mut core, inputs, apply, None::<Farewell<Hamgr>>).await
}

/// Every DPU whose databases this switch hosts.
fn slots_of(databases: &DatabaseConfig) -> Vec<Slot> {
    databases.containers().iter().filter_map(|container| Slot::from_container(container)).collect()
}

/// Connects databases with the core's queue.
struct Wiring<'a> {
    args: &'a Args,
    sender: mpsc::Sender<Input>,
    metrics: Metrics,
    stores: &'a mut StorePorts<Place>,
}

impl Wiring<'_> {
    /// The switch's own databases: they must be configured.
    fn npu(&mut self, databases: &DatabaseConfig) -> anyhow::Result<()> {
        let endpoint =
            |db: Db| databases.endpoint("", db).with_context(|| format!("{db} is needed on the NPU"));
        for source in [Source::ConfigDb, Source::ApplDb, Source::ChassisStateDb] {
            let db = sources::db(source);
            let reader = Reader::subscribe(&endpoint(db)?, sources::tables(source));
            let mut decoder = Decoder::new(source, self.metrics.clone());
            let inputs = move |update| decoder.inputs(update);
            shell::feed(db, reader, self.sender.clone(), self.metrics.clone(), inputs);
        }
        for tables in NPU_STORES {
            let db = tables[0].0.db();
            let store = Store::open(&endpoint(db)?, tables);
            self.stores.add(Place::Npu, db, store, self.sender.clone(), self.metrics.clone(), Input::Store);
        }
        Ok(())
    }

    /// The databases of one DPU: they may come late, and never keep the others waiting.
    fn dpu(&mut self, slot: Slot) {
        let source = Source::DpuStateDb(slot);
        let args = self.args.common.clone();
        let reader = async move {
            let endpoint = args.endpoint_when_known(slot.container(), Db::DpuStateDb).await;
            Reader::subscribe(&endpoint, sources::tables(source))
        };
        let mut decoder = Decoder::new(source, self.metrics.clone());
        let inputs = move |update| decoder.inputs(update);
        shell::feed_late(Db::DpuStateDb, reader, self.sender.clone(), self.metrics.clone(), inputs);

        let args = self.args.common.clone();
        let store = async move {
            let endpoint = args.endpoint_when_known(slot.container(), Db::DpuApplDb).await;
            Store::open(&endpoint, DPU_STORE)
        };
        let (place, sender, metrics) = (Place::Dpu(slot), self.sender.clone(), self.metrics.clone());
        self.stores.add_late(place, Db::DpuApplDb, store, sender, metrics, Input::Store);
    }
}
