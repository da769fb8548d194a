//! The process: readers and stores around the core.
//!
//! ```text
//!   CONFIG_DB, APPL_DB, CHASSIS_STATE_DB ─► inputs ─► Hamgr ─┬─► STATE_DB, APPL_DB of the switch
//!   DPU_STATE_DB of each DPU ─────────────►   ▲              └─► DPU_APPL_DB of each DPU, and its haorchd
//!                                             └───── reports of the stores ◄────┘
//! ```
//!
//! Every database has its own connections and tasks: one that cannot be reached holds up only its own rows.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use hamgr::{Config, Effect, Hamgr, Input, Note, Place, Source};
use schema::{Db, Slot, Table};
use shell::{Farewell, INPUT_QUEUE_MAX, Metrics, RowDecoder, Shell, StorePorts};
use swss::{DatabaseConfig, Endpoint, Mode, Reader, Store};
use tokio::sync::mpsc;

use crate::args::Args;
use crate::transport::Peers;
use crate::{inputs, notes, transport};

/// What is written on the switch and on each DPU.
const STATE_TABLES: &[(Table, Mode)] = &[
    (Table::DpuResetInfo, Mode::Table),
    (Table::DashHaScopeFence, Mode::Table),
    (Table::DashHaScopeState, Mode::Table),
];
const APPL_TABLES: &[(Table, Mode)] =
    &[(Table::VnetRouteTunnel, Mode::ProducerState), (Table::NeighResolve, Mode::ProducerState)];

/// Runs until SIGTERM. All rows stay as they are: the next process goes on from there.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let databases = args.databases.load("").await?;
    let slots = slots(args, &databases)?;
    let config = Config {
        policy: args.restart_policy.into(),
        slots: (!args.slots.is_empty()).then(|| slots.iter().copied().collect()),
        heartbeat_interval_ms: args.heartbeat_ms,
        id_seed: shell::random_seed().context("cannot seed the ids of pending operations")?,
    };

    let shell = Shell::start(&args.daemon).await?;
    let metrics = shell.metrics();
    let (sender, inputs) = mpsc::channel(INPUT_QUEUE_MAX);
    let mut stores = StorePorts::new();
    let on_switch = |db| databases.endpoint("", db).with_context(|| format!("{db} is needed on the switch"));

    let mut peers = Peers::default();
    let mut peer_of: BTreeMap<Slot, _> = slots.iter().map(|slot| (*slot, peers.of(*slot))).collect();
    let config_db = on_switch(Db::ConfigDb)?;
    read(Source::ConfigDb, &config_db, &sender, &metrics, move |inputs| peers.take(inputs));
    read(Source::ApplDb, &on_switch(Db::ApplDb)?, &sender, &metrics, |_| {});
    read(Source::ChassisStateDb, &on_switch(Db::ChassisStateDb)?, &sender, &metrics, |_| {});
    for (db, tables) in [(Db::StateDb, STATE_TABLES), (Db::ApplDb, APPL_TABLES)] {
        let store = Store::open(&on_switch(db)?, tables);
        stores.add(Place::Npu, db, store, sender.clone(), metrics.clone(), Input::Store);
    }
    for &slot in &slots {
        let of_dpu = |db| {
            let endpoint = databases.endpoint(&slot.container(), db);
            endpoint.with_context(|| format!("{db} of {slot} is needed"))
        };
        read(Source::DpuStateDb(slot), &of_dpu(Db::DpuStateDb)?, &sender, &metrics, |_| {});
        let Some(peer) = peer_of.remove(&slot) else { continue };
        let (intent, config) = (of_dpu(Db::DpuApplDb)?, config_db.clone());
        let store = transport::open(slot, intent, config, args.transport, peer, metrics.clone());
        let at = Place::Dpu(slot);
        stores.add_late(at, Db::DpuApplDb, store, sender.clone(), metrics.clone(), Input::Store);
    }

    tracing::info!(dpus = slots.iter().map(Slot::to_string).collect::<Vec<_>>().join(","), policy = ?config.policy, heartbeat_ms = config.heartbeat_interval_ms, "managing HA");
    let mut core = Hamgr::new(config);
    let apply = |effects: Vec<Effect>| {
        let mut writes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Write(write) => writes.push(write),
                Effect::Note(note) => {
                    notes::log(&note);
                    if note == Note::Ready {
                        shell::notify_ready();
                    }
                }
            }
        }
        stores.write(writes);
    };
    shell.run(&mut core, inputs, apply, None::<Farewell<Hamgr>>).await
}

/// The DPUs asked for, or all that the database configuration knows.
fn slots(args: &Args, databases: &DatabaseConfig) -> anyhow::Result<Vec<Slot>> {
    let mut slots: Vec<Slot> = if args.slots.is_empty() {
        databases.containers().iter().filter_map(|name| Slot::from_container(name)).collect()
    } else {
        args.slots.iter().copied().map(Slot).collect()
    };
    slots.sort();
    slots.dedup();
    if slots.is_empty() {
        bail!(
            "the database configuration knows no DPU: is {} right?",
            args.databases.global_path().display()
        );
    }
    Ok(slots)
}

fn read(
    source: Source,
    endpoint: &Endpoint,
    inputs: &mpsc::Sender<Input>,
    metrics: &Metrics,
    mut look: impl FnMut(&[Input]) + Send + 'static,
) {
    let reader = Reader::subscribe(endpoint, inputs::tables_of(source));
    let mut decoder = RowDecoder::new(metrics.clone());
    shell::feed(endpoint.db, reader, inputs.clone(), metrics.clone(), move |update| {
        let inputs = inputs::inputs_of(source, update, &mut decoder);
        look(&inputs);
        inputs
    });
}
