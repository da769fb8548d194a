//! pmond, both halves: mirrors `apps/pmond/src/{npu,dpu}.rs`. The prober is in [`crate::world`].

use std::num::NonZeroU32;

use pmon::{DpuConfig, DpuEffect, DpuInput, Feed, Here, NpuConfig, NpuEffect, NpuInput, PmonDpu, PmonNpu};
use reconcile::{Batch, Core, StoreEvent, StoreUpdate, Time};
use schema::appl_db::PortState;
use schema::config_db::Dpu;
use schema::state_db::SystemReady;
use schema::{Db, Table, WallMs};

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
            Update::Lost => {}
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

/// The DPU half.
pub struct DpuPart {
    dpu: DpuRef,
    core: PmonDpu,
    queue: Vec<DpuInput>,
}

impl DpuPart {
    /// For a DPU in the life of that boot id.
    pub fn new(dpu: DpuRef, boot_id: String) -> Self {
        let core = PmonDpu::new(DpuConfig { slot: dpu.slot(), boot_id });
        Self { dpu, core, queue: Vec::new() }
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
            Update::Lost => {}
        }
    }

    fn stored(&mut self, _port: usize, update: StoreUpdate) {
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
                DpuEffect::Write(write) => out.push(Out::Write(FEEDS.len(), write.write)),
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
