//! The process: reader, stores and ASIC around the core.
//!
//! ```text
//!   hamgrd (ZMQ) or DPU_APPL_DB (NPU) ─► inputs ─► HaOrch ─┬─► DPU_STATE_DB, DPU_APPL_STATE_DB (NPU)
//!                                  ▲  ▲            ├─► STATE_DB (DPU): BFD_SOFTWARE_SESSION_TABLE
//!                 store reports ───┘  │            └─► ASIC
//!                                     ├─ answers, events ─┘
//!                                     └─ sessions that are open ─ bfd (a task of its own)
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use asic_model::ModelConfig;
use haorch::{Capabilities, Effect, HaOrch, Input, Note, Place};
use schema::{Db, Table};
use shell::{Farewell, INPUT_QUEUE_MAX, RowDecoder, Shell, StorePorts};
use swss::{Mode, Reader, Store};
use tokio::sync::mpsc;

use crate::args::{Args, AsicKind};
use crate::{asic, bfd, inputs};

/// What is written, and where. On the DPU every database is found through the DPU's own configuration.
const STORES: &[(Place, Db, &[Table])] = &[
    (Place::Local, Db::StateDb, &[Table::BfdSoftwareSession]),
    (Place::Remote, Db::DpuStateDb, &[Table::DpuDashHaSetState, Table::DpuDashHaScopeState]),
    (Place::Remote, Db::DpuApplStateDb, &[Table::DashHaSetResult, Table::DashHaScopeResult]),
];

/// Runs until SIGTERM. The ASIC ends with the process; rows that speak of it are removed by the next one, or by
/// `dpu-dbclean` before it.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let databases = args.databases.load("").await?;
    let endpoint = |db| databases.endpoint("", db).with_context(|| format!("{db} is needed on the DPU"));
    let shell = Shell::start(&args.daemon).await?;
    let metrics = shell.metrics();
    let (sender, queue) = mpsc::channel(INPUT_QUEUE_MAX);

    let mut stores = StorePorts::new();
    for &(place, db, tables) in STORES {
        let tables: Vec<(Table, Mode)> = tables.iter().map(|table| (*table, Mode::Table)).collect();
        let store = Store::open(&endpoint(db)?, &tables);
        stores.add(place, db, store, sender.clone(), metrics.clone(), Input::Store);
    }
    let intent = endpoint(Db::DpuApplDb)?;
    let reader = match &args.zmq_endpoint {
        Some(address) => Reader::serve_zmq(address, &intent, inputs::TABLES),
        None => Reader::consume(&intent, inputs::TABLES),
    };
    if let Some(server) = reader.zmq() {
        metrics.zmq_server(server.clone());
    }
    let mut decoder = RowDecoder::new(metrics.clone());
    shell::feed(intent.db, reader, sender.clone(), metrics.clone(), move |update| {
        inputs::inputs_of(update, &mut decoder)
    });

    let bfd = bfd::start(args.bfd, &args.frr_dir, &databases, &metrics, sender.clone())?;
    let calls = match args.asic {
        AsicKind::Model => {
            let config = ModelConfig { peer_wait_ms: args.peer_wait_ms, ..ModelConfig::default() };
            let since_epoch =
                SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
            let seed = u64::try_from(since_epoch.as_millis())?;
            asic::start(config, seed, &args.vip_listen, sender)
                .context("cannot listen for packets for VIPs")?
        }
    };

    tracing::info!(dpu = %args.dpu_id, asic = ?args.asic, bfd = ?args.bfd, "serving");
    let mut core = HaOrch::new(Capabilities::default());
    let apply = |effects: Vec<Effect>| {
        let mut writes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Write(write) => writes.push(write),
                Effect::Asic(call) => {
                    tracing::debug!(?call, "SAI");
                    if calls.send(call).is_err() {
                        tracing::error!("the ASIC is gone");
                    }
                }
                Effect::Note(note) => log(&note),
            }
        }
        stores.write(writes);
    };
    let ran = shell.run(&mut core, queue, apply, None::<Farewell<HaOrch>>).await;
    // The ASIC stops serving with this process: traffic is to move before.
    bfd.close().await;
    ran
}

fn log(note: &Note) {
    if note.is_warning() {
        tracing::warn!("{note}");
    } else {
        tracing::info!("{note}");
    }
    if *note == Note::Ready {
        shell::notify_ready();
    }
}
