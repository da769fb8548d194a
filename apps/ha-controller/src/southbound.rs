//! The way to the switches.

use std::collections::BTreeMap;

use controller::{Input, Reported, SwitchName};
use fleet::SwitchAccess;
use reconcile::{StoreEvent, StoreUpdate, Write};
use schema::chassis_state_db::DpuState;
use schema::state_db::{DpuResetInfo, HaScopeState};
use schema::{Db, Row, Table};
use shell::{DatabaseArgs, Decoded, Metrics, RowDecoder, StorePorts};
use swss::{Change, Mode, Reader, Store, Update};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

/// What is read, by database.
const READ: [(Db, &[Table]); 2] = [
    (Db::ChassisStateDb, &[Table::DpuState]),
    (Db::StateDb, &[Table::DpuResetInfo, Table::DashHaScopeState]),
];

/// What is written, by database.
const WRITTEN: [(Db, &[(Table, Mode)]); 2] = [
    (Db::ApplDb, &[(Table::DashHaSetConfig, Mode::Table), (Table::DashHaScopeConfig, Mode::Table)]),
    (Db::StateDb, &[(Table::DpuResetInfo, Mode::Table)]),
];

/// A way to read and write the tables of many switches. A switch that cannot be reached holds nobody else up.
pub trait Southbound {
    /// Connects to exactly these switches from now on. What they say goes to the core; a switch that is new, or
    /// is reached in another way, is unknown until it has been read.
    fn connect(&mut self, switches: &BTreeMap<SwitchName, SwitchAccess>);

    /// Sends writes on their way, each switch's in order. Never blocks.
    fn write(&self, writes: Vec<Write<SwitchName>>);
}

/// The databases of the switches, spoken to directly.
pub struct DirectRedis {
    inputs: mpsc::Sender<Input>,
    metrics: Metrics,
    ports: StorePorts<SwitchName>,
    connected: BTreeMap<SwitchName, (SwitchAccess, Vec<AbortHandle>)>,
    /// Switches that were left, and when all that is lost with the connection has been said.
    left: BTreeMap<SwitchName, AllSaid>,
}

/// Ends its wait when the other end is dropped.
type AllSaid = watch::Receiver<()>;

impl DirectRedis {
    /// Connected to nothing yet. Reports to `inputs`.
    pub fn new(inputs: mpsc::Sender<Input>, metrics: Metrics) -> Self {
        Self { inputs, metrics, ports: StorePorts::new(), connected: BTreeMap::new(), left: BTreeMap::new() }
    }

    fn disconnect(&mut self, name: &SwitchName) {
        let Some((_, readers)) = self.connected.remove(name) else { return };
        readers.iter().for_each(AbortHandle::abort);
        self.ports.remove(name);
        // Behind whatever the old connections still had to say, and before the next one says anything.
        let (inputs, lost) = (self.inputs.clone(), lost_inputs(name));
        let (saying, all_said) = watch::channel(());
        self.left.insert(name.clone(), all_said);
        tokio::spawn(async move {
            for input in lost {
                if inputs.send(input).await.is_err() {
                    return;
                }
            }
            drop(saying);
        });
    }

    fn connect_one(&mut self, name: &SwitchName, access: &SwitchAccess) {
        // At boot, the files of a switch may be late as much as its databases.
        let files = DatabaseArgs {
            database_config: access.database_config.clone(),
            database_global: access.database_global.clone(),
        };
        let left = self.left.remove(name);
        let mut readers = Vec::new();
        for (db, tables) in READ {
            let (files, left) = (files.clone(), left.clone());
            let reader = async move {
                wait_for(left).await;
                let endpoint = files.endpoint_when_known(String::new(), db).await;
                Reader::subscribe(&endpoint, tables)
            };
            let feed = feed(name.clone(), db, reader, self.inputs.clone(), self.metrics.clone());
            readers.push(tokio::spawn(feed).abort_handle());
        }
        for (db, tables) in WRITTEN {
            let (files, left) = (files.clone(), left.clone());
            let store = async move {
                wait_for(left).await;
                let endpoint = files.endpoint_when_known(String::new(), db).await;
                Store::open(&endpoint, tables)
            };
            let (inputs, metrics) = (self.inputs.clone(), self.metrics.clone());
            self.ports.add_late(name.clone(), db, store, inputs, metrics, Input::Store);
        }
        self.connected.insert(name.clone(), (access.clone(), readers));
    }
}

impl Southbound for DirectRedis {
    fn connect(&mut self, switches: &BTreeMap<SwitchName, SwitchAccess>) {
        let gone: Vec<SwitchName> = self
            .connected
            .iter()
            .filter(|(name, (access, _))| switches.get(*name) != Some(access))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            tracing::info!(switch = %name, "disconnecting");
            self.disconnect(&name);
        }
        for (name, access) in switches {
            if !self.connected.contains_key(name) {
                tracing::info!(switch = %name, database_config = %access.database_config.display(), "connecting");
                self.connect_one(name, access);
            }
        }
    }

    fn write(&self, writes: Vec<Write<SwitchName>>) {
        self.ports.write(writes);
    }
}

async fn wait_for(left: Option<AllSaid>) {
    if let Some(mut all_said) = left {
        while all_said.changed().await.is_ok() {}
    }
}

fn lost_inputs(name: &SwitchName) -> Vec<Input> {
    let unsynced = READ.map(|(db, _)| Input::Unsynced { switch: name.clone(), db });
    let lost = WRITTEN
        .map(|(db, _)| Input::Store(StoreEvent { place: name.clone(), db, update: StoreUpdate::Lost }));
    unsynced.into_iter().chain(lost).collect()
}

async fn feed(
    switch: SwitchName,
    db: Db,
    reader: impl Future<Output = Reader>,
    inputs: mpsc::Sender<Input>,
    metrics: Metrics,
) {
    let mut reader = reader.await;
    let mut decoder = RowDecoder::new(metrics.clone());
    loop {
        let update = reader.next().await;
        if let Update::Lost { reason } = &update {
            metrics.connection_lost(db);
            tracing::warn!(%switch, %db, %reason, "connection lost; what the switch says is unknown until it is back");
        }
        for input in inputs_of(&switch, db, update, &mut decoder) {
            if inputs.send(input).await.is_err() {
                return;
            }
        }
    }
}

/// The inputs that an update of one database of a switch amounts to.
pub fn inputs_of(switch: &SwitchName, db: Db, update: Update, decoder: &mut RowDecoder) -> Vec<Input> {
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
    match change.table {
        Table::DpuState => {
            let (slot, row) = reported(decoder.decode::<DpuState>(change))?;
            Some(Input::DpuState { switch, slot, row })
        }
        Table::DpuResetInfo => {
            let (slot, row) = reported(decoder.decode::<DpuResetInfo>(change))?;
            Some(Input::ResetInfo { switch, slot, row })
        }
        Table::DashHaScopeState => {
            let (key, row) = reported(decoder.decode::<HaScopeState>(change))?;
            Some(Input::ScopeState { switch, key, row })
        }
        table => {
            tracing::error!(%table, "a change of a table that is not read; it is ignored");
            None
        }
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
