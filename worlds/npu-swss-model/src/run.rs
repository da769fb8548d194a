//! The process: reader, store, BFD and forwarder around the core.
//!
//! ```text
//!   APPL_DB ─► inputs ─► NpuModel ─┬─► STATE_DB: BFD_SESSION_TABLE, VNET_ROUTE_TUNNEL_TABLE
//!                  ▲  ▲            ├─► sessions (a task of its own): active BFD sessions
//!  store reports ──┘  │            └─► forward (a task per socket): clients ─► next hop, answers ─► clients
//!                     └─ states of BFD sessions ─┘
//! ```

use anyhow::Context;
use npu_model::{Effect, Forwarding, Here, Input, Note, NpuModel};
use schema::{Db, Table};
use shell::{Farewell, INPUT_QUEUE_MAX, RowDecoder, Shell, StorePorts};
use swss::{Mode, Reader, Store, Update};
use tokio::sync::{mpsc, watch};

use crate::args::Args;
use crate::forward::Forwarder;
use crate::inputs;
use crate::sessions::Sessions;

/// Runs until SIGTERM; then every DPU is told that its session is administratively down.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let databases = args.databases.load("").await?;
    let endpoint = |db| databases.endpoint("", db).with_context(|| format!("{db} is needed on the NPU"));
    let shell = Shell::start(&args.daemon).await?;
    let metrics = shell.metrics();
    let (sender, queue) = mpsc::channel(INPUT_QUEUE_MAX);

    let tables = [(Table::NpuBfdSession, Mode::Table), (Table::VnetRouteTunnelState, Mode::Table)];
    let mut stores = StorePorts::new();
    let store = Store::open(&endpoint(Db::StateDb)?, &tables);
    stores.add(Here, Db::StateDb, store, sender.clone(), metrics.clone(), Input::Store);

    let (forwarding, in_force) = watch::channel(Forwarding::default());
    let forwarder = Forwarder::bind(&args.vip_listen, &args.uplink, in_force, &metrics);
    forwarder.context("cannot listen for packets for VIPs")?.start();
    let seed = shell::random_seed().context("no seed for BFD's discriminators")?;
    let sessions = Sessions::start(seed, sender.clone())?;

    let appl_db = endpoint(Db::ApplDb)?;
    let reader = Reader::consume(&appl_db, inputs::TABLES);
    let mut decoder = RowDecoder::new(metrics.clone());
    let mut is_ready = false;
    shell::feed(appl_db.db, reader, sender, metrics, move |update| {
        if update == Update::Synced && !std::mem::replace(&mut is_ready, true) {
            shell::notify_ready();
        }
        inputs::inputs_of(update, &mut decoder)
    });

    tracing::info!(rule = %args.next_hop_rule, sources = ?args.tunnel_source, "a model of an NPU's swss: serving");
    let mut core = NpuModel::new(args.config());
    let apply = |effects: Vec<Effect>| {
        let mut writes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Write(write) => writes.push(write),
                Effect::Forward(next) => {
                    forwarding.send_replace(next);
                }
                Effect::Sessions(wanted) => sessions.want(wanted),
                Effect::Note(note) => log(&note),
            }
        }
        stores.write(writes);
    };
    let ran = shell.run(&mut core, queue, apply, None::<Farewell<NpuModel>>).await;
    sessions.close().await;
    ran
}

fn log(note: &Note) {
    if note.is_warning() {
        tracing::warn!("{note}");
    } else {
        tracing::info!("{note}");
    }
}
