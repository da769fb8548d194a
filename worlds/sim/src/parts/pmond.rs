//! pmond, both halves: mirrors `apps/pmond/src/{npu,dpu}.rs`. The prober is in [`crate::world`].

use std::num::NonZeroU32;

use pmon::{DpuConfig, DpuEffect, DpuInput, Feed, Here, NpuConfig, NpuEffect, NpuInput, PmonDpu, PmonNpu};
use reconcile::{Batch, Core, Op, RowWrite, StoreEvent, StoreUpdate, Time};
use schema::appl_db::PortState;
use schema::config_db::Dpu;
use schema::state_db::SystemReady;
use schema::{Db, Fields, Table, WallMs};

use super::{Extra, Out, Part, PortSpec, or_last_good, or_nothing};
use crate::client::Update;
use crate::redis::Mode;
use crate::topology::{DpuRef, Server};

/// Probes lost in a row after which the midplane is down, as the lab has it.
const THRESHOLD: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);

const NPU_STORES: [(Db, Table); 2] =
    [(Db::ChassisStateDb, Table::DpuState), (Db::StateDb, Table::ChassisMidplane)];

/// The NPU half.
pub struct NpuPart {
    switch: u8,
    core: PmonNpu,
    queue: Vec<NpuInput>,
}

impl NpuPart {
    /// For a switch.
    pub fn new(switch: u8) -> Self {
        let core = PmonNpu::new(NpuConfig { probe_fail_threshold: THRESHOLD });
        Self { switch, core, queue: Vec::new() }
    }
}

impl Part for NpuPart {
    fn ports(&self) -> Vec<PortSpec> {
        let server = |db| match db {
            Db::ChassisStateDb => Server::Chassis(self.switch),
            Db::ConfigDb
            | Db::ApplDb
            | Db::StateDb
            | Db::DpuApplDb
            | Db::DpuApplStateDb
            | Db::DpuStateDb
            | Db::DpuCountersDb => Server::Host(self.switch),
        };
        let stores =
            NPU_STORES.map(|(db, table)| PortSpec::Store(server(db), db, vec![(table, Mode::Table)]));
        let reader = PortSpec::Subscribe(Server::Host(self.switch), Db::ConfigDb, vec![Table::Dpu]);
        stores.into_iter().chain([reader]).collect()
    }

    fn update(&mut self, _port: usize, update: Update) {
        match update {
            Update::Changes(changes) => {
                let rows = changes.iter().filter_map(or_last_good::<Dpu>);
                self.queue.extend(rows.map(|(name, row)| NpuInput::Dpu { name, row }));
            }
            Update::Synced => self.queue.push(NpuInput::DpusSynced),
            Update::Lost { .. } => {}
        }
    }

    fn stored(&mut self, port: usize, update: StoreUpdate) {
        if let Some((db, _)) = NPU_STORES.get(port).copied() {
            self.queue.push(NpuInput::Store(StoreEvent { place: Here, db, update }));
        }
    }

    fn extra(&mut self, extra: Extra) {
        if let Extra::Probe(target, reachable) = extra {
            self.queue.push(NpuInput::Probe { target, reachable });
        }
    }

    fn handle(&mut self, now: Time, wall: WallMs, out: &mut Vec<Out>) {
        let mut effects = Vec::new();
        self.core.handle(now, Batch { wall, inputs: std::mem::take(&mut self.queue) }, &mut effects);
        for effect in effects {
            match effect {
                NpuEffect::Write(write) => {
                    let port = NPU_STORES.iter().position(|(_, table)| *table == write.write.table);
                    if let Some(port) = port {
                        out.push(Out::Write(port, write.write));
                    }
                }
                NpuEffect::Probe(targets) => out.push(Out::Probe(targets)),
                NpuEffect::Note(note) => out.push(Out::Note(format!("{note:?}"))),
            }
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.core.next_deadline().map(|(at, _)| at)
    }
}

const FEEDS: [(Feed, Table); 3] = [
    (Feed::SystemReady, Table::SystemReady),
    (Feed::Ports, Table::Port),
    (Feed::PortStates, Table::PortTable),
];

/// The boot id of a core whose boot id nobody is told.
const UNTOLD: &str = "untold";
const BOOT_ID: &str = "boot_id";

/// Makes of our DPU half an older pmon, which publishes no boot id: the field is taken out of what it writes, and
/// put back into what it reads of its own.
#[derive(Default)]
struct Veil {
    /// Writes under way: as written, and as meant.
    under_way: Vec<(RowWrite, RowWrite)>,
    has_written: bool,
}

impl Veil {
    fn outwards(&mut self, meant: RowWrite) -> RowWrite {
        let without = |fields: &Fields| {
            let others = fields.iter().filter(|(name, _)| *name != BOOT_ID);
            others.map(|(name, value)| (name, value.clone())).collect()
        };
        let op = match &meant.op {
            Op::Set(fields) => Op::Set(without(fields)),
            Op::Merge(fields) => Op::Merge(without(fields)),
            Op::Del => Op::Del,
        };
        let written = RowWrite { op, ..meant.clone() };
        self.under_way.push((written.clone(), meant));
        written
    }

    fn inwards(&mut self, dpu: DpuRef, update: StoreUpdate) -> StoreUpdate {
        match update {
            StoreUpdate::Written { write, done } => {
                self.has_written |= done;
                let at = self.under_way.iter().position(|(written, _)| *written == write);
                let write = at.map_or(write, |at| self.under_way.remove(at).1);
                StoreUpdate::Written { write, done }
            }
            StoreUpdate::Snapshot(mut rows) => {
                let key = dpu.slot().to_string();
                for row in rows.iter_mut().filter(|row| self.has_written && row.key == key) {
                    row.fields.set(BOOT_ID, UNTOLD);
                }
                StoreUpdate::Snapshot(rows)
            }
            StoreUpdate::Lost => {
                self.under_way.clear();
                StoreUpdate::Lost
            }
        }
    }
}

/// The DPU half.
pub struct DpuPart {
    dpu: DpuRef,
    veil: Option<Veil>,
    core: PmonDpu,
    queue: Vec<DpuInput>,
}

impl DpuPart {
    /// For a DPU in the life of that boot id, which is never told to anybody where there is none.
    pub fn new(dpu: DpuRef, boot_id: Option<String>) -> Self {
        let veil = boot_id.is_none().then(Veil::default);
        let boot_id = boot_id.unwrap_or_else(|| UNTOLD.to_owned());
        let core = PmonDpu::new(DpuConfig { slot: dpu.slot(), boot_id });
        Self { dpu, veil, core, queue: Vec::new() }
    }
}

impl Part for DpuPart {
    fn ports(&self) -> Vec<PortSpec> {
        let local = Server::Local(self.dpu);
        let readers = FEEDS.map(|(_, table)| PortSpec::Subscribe(local, table.db(), vec![table]));
        let tables = vec![(Table::DpuState, Mode::Table)];
        let store = PortSpec::Store(Server::Chassis(self.dpu.switch), Db::ChassisStateDb, tables);
        readers.into_iter().chain([store]).collect()
    }

    fn update(&mut self, port: usize, update: Update) {
        let Some((feed, _)) = FEEDS.get(port).copied() else { return };
        match update {
            Update::Changes(changes) => {
                let inputs = changes.iter().filter_map(|change| match feed {
                    Feed::SystemReady => {
                        or_nothing::<SystemReady>(change).map(|(_, row)| DpuInput::SystemReady(row))
                    }
                    Feed::Ports => {
                        Some(DpuInput::Port { name: change.key.clone(), present: change.fields.is_some() })
                    }
                    Feed::PortStates => {
                        or_nothing::<PortState>(change).map(|(name, row)| DpuInput::PortState { name, row })
                    }
                });
                self.queue.extend(inputs);
            }
            Update::Synced => self.queue.push(DpuInput::Synced(feed)),
            Update::Lost { .. } => {}
        }
    }

    fn stored(&mut self, _port: usize, update: StoreUpdate) {
        let update = match &mut self.veil {
            Some(veil) => veil.inwards(self.dpu, update),
            None => update,
        };
        self.queue.push(DpuInput::Store(StoreEvent { place: Here, db: Db::ChassisStateDb, update }));
    }

    fn extra(&mut self, extra: Extra) {
        if let Extra::Stop = extra {
            self.queue.push(DpuInput::Stop);
        }
    }

    fn handle(&mut self, now: Time, wall: WallMs, out: &mut Vec<Out>) {
        let mut effects = Vec::new();
        self.core.handle(now, Batch { wall, inputs: std::mem::take(&mut self.queue) }, &mut effects);
        for effect in effects {
            match effect {
                DpuEffect::Write(write) => {
                    let write = match &mut self.veil {
                        Some(veil) => veil.outwards(write.write),
                        None => write.write,
                    };
                    out.push(Out::Write(FEEDS.len(), write));
                }
                DpuEffect::Note(note) => out.push(Out::Note(format!("{note:?}"))),
            }
        }
        if self.core.has_left() {
            out.push(Out::Left);
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.core.next_deadline().map(|(at, _)| at)
    }
}
