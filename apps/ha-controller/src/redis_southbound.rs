//! Switches reached by their databases directly.

use std::collections::BTreeMap;
use std::time::Duration;

use controller::{Input, Reported, SwitchName};
use reconcile::{StoreEvent, StoreUpdate, Write};
use schema::chassis_state_db::DpuState;
use schema::state_db::{DpuResetInfo, HaScopeState};
use schema::{Db, Row, Table};
use shell::{Decoded, Metrics, RowDecoder, StorePorts};
use swss::{Change, DatabaseConfig, Endpoint, Mode, Reader, Store, Update};
use tokio::sync::{mpsc, watch};

use crate::fleet_file::Target;
use crate::southbound::Southbound;

/// How long to wait for a switch's configuration files before saying that they are missing.
const FILES_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait before configuration files that are not understood are looked at again.
const LOOK_AGAIN_DELAY: Duration = Duration::from_secs(5);

const READ: [(Db, &[Table]); 2] = [
    (Db::ChassisStateDb, &[Table::DpuState]),
    (Db::StateDb, &[Table::DpuResetInfo, Table::DashHaScopeState]),
];

const WRITTEN: [(Db, &[(Table, Mode)]); 2] = [
    // A plain Table: several hamgrd may have to see the same rows (`reference/controller.md` 1.3).
    (Db::ApplDb, &[(Table::DashHaSetConfig, Mode::Table), (Table::DashHaScopeConfig, Mode::Table)]),
    (Db::StateDb, &[(Table::DpuResetInfo, Mode::Table)]),
];

/// Every switch by its own databases.
pub struct RedisSouthbound {
    inputs: mpsc::Sender<Input>,
    metrics: Metrics,
    ports: StorePorts<SwitchName>,
    switches: BTreeMap<SwitchName, Attached>,
}

/// A switch that is attached until this is dropped.
struct Attached {
    target: Target,
    _detach: watch::Sender<()>,
}

impl RedisSouthbound {
    /// No switch yet; what is seen goes to `inputs`.
    pub fn new(inputs: mpsc::Sender<Input>, metrics: Metrics) -> Self {
        Self { inputs, metrics, ports: StorePorts::new(), switches: BTreeMap::new() }
    }

    fn connect(&mut self, switch: &SwitchName, target: &Target) {
        let (detach, detached) = watch::channel(());
        for (db, tables) in READ {
            let endpoint = endpoint(switch.clone(), target.clone(), db);
            let reader = async move { Reader::subscribe(&endpoint.await, tables) };
            let mut decoder = RowDecoder::new(self.metrics.clone());
            let at = switch.clone();
            let inputs = while_attached(detached.clone(), self.inputs.clone());
            shell::feed_late(db, reader, inputs, self.metrics.clone(), move |update| {
                inputs_of(&at, db, update, &mut decoder)
            });
        }
        for (db, tables) in WRITTEN {
            let endpoint = endpoint(switch.clone(), target.clone(), db);
            let store = async move { Store::open(&endpoint.await, tables) };
            let inputs = while_attached(detached.clone(), self.inputs.clone());
            self.ports.add_late(switch.clone(), db, store, inputs, self.metrics.clone(), Input::Store);
        }
        self.switches.insert(switch.clone(), Attached { target: target.clone(), _detach: detach });
    }

    /// What is known of a switch that is no longer reached, or is reached in another way, is void.
    fn detach(&mut self, switch: &SwitchName) {
        self.ports.remove(switch);
        self.switches.remove(switch);
        let lost = READ.map(|(db, _)| Input::Unsynced { switch: switch.clone(), db }).into_iter().chain(
            WRITTEN.map(|(db, _)| {
                Input::Store(StoreEvent { place: switch.clone(), db, update: StoreUpdate::Lost })
            }),
        );
        let (inputs, lost) = (self.inputs.clone(), lost.collect::<Vec<_>>());
        tokio::spawn(async move {
            for input in lost {
                if inputs.send(input).await.is_err() {
                    return;
                }
            }
        });
    }
}

impl Southbound for RedisSouthbound {
    fn attach(&mut self, targets: &BTreeMap<SwitchName, Target>) {
        let stale: Vec<SwitchName> = self
            .switches
            .iter()
            .filter(|(switch, attached)| targets.get(switch) != Some(&attached.target))
            .map(|(switch, _)| switch.clone())
            .collect();
        for switch in stale {
            self.detach(&switch);
        }
        for (switch, target) in targets {
            if !self.switches.contains_key(switch) {
                self.connect(switch, target);
            }
        }
    }

    fn write(&self, writes: Vec<Write<SwitchName>>) {
        self.ports.write(writes);
    }
}

/// A queue into `inputs` that ends when the switch is detached.
fn while_attached(mut detached: watch::Receiver<()>, inputs: mpsc::Sender<Input>) -> mpsc::Sender<Input> {
    let (sender, mut receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        loop {
            let input = tokio::select! {
                gone = detached.changed() => match gone {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                input = receiver.recv() => input,
            };
            let Some(input) = input else { return };
            if inputs.send(input).await.is_err() {
                return;
            }
        }
    });
    sender
}

/// Finds a database of a switch, as soon as its files tell.
async fn endpoint(switch: SwitchName, target: Target, db: Db) -> Endpoint {
    loop {
        let databases =
            DatabaseConfig::wait(&target.database_config, &target.database_global, "", FILES_TIMEOUT);
        match databases.await.and_then(|databases| databases.endpoint("", db)) {
            Ok(endpoint) => return endpoint,
            Err(error) => tracing::warn!(%switch, %db, "waiting for this switch: {error}"),
        }
        tokio::time::sleep(LOOK_AGAIN_DELAY).await;
    }
}

fn inputs_of(switch: &SwitchName, db: Db, update: Update, decoder: &mut RowDecoder) -> Vec<Input> {
    match update {
        Update::Changes(changes) => {
            changes.iter().filter_map(|change| input_of(switch, change, decoder)).collect()
        }
        Update::Synced => vec![Input::Synced { switch: switch.clone(), db }],
        Update::Lost { .. } => vec![Input::Unsynced { switch: switch.clone(), db }],
    }
}

fn input_of(switch: &SwitchName, change: &Change, decoder: &mut RowDecoder) -> Option<Input> {
    let switch = switch.clone();
    if change.table == Table::DpuState {
        let (slot, row) = reported(decoder.decode::<DpuState>(change))?;
        Some(Input::DpuState { switch, slot, row })
    } else if change.table == Table::DpuResetInfo {
        let (slot, row) = reported(decoder.decode::<DpuResetInfo>(change))?;
        Some(Input::ResetInfo { switch, slot, row })
    } else {
        let (key, row) = reported(decoder.decode::<HaScopeState>(change))?;
        Some(Input::ScopeState { switch, key, row })
    }
}

fn reported<R: Row>(decoded: Decoded<R>) -> Option<(R::Key, Reported<R>)> {
    match decoded {
        Decoded::Present(key, row) => Some((key, Reported::Present(Box::new(row)))),
        Decoded::Bad(key) => Some((key, Reported::Unreadable)),
        Decoded::Gone(key) => Some((key, Reported::Absent)),
        Decoded::BadKey => None,
    }
}
