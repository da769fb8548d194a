//! hamgrd: mirrors `apps/hamgrd/src/{run,inputs}.rs`.

use std::collections::BTreeMap;

use hamgr::{Config, Effect, Hamgr, Input, Note, Place, Source};
use reconcile::{Batch, Core, StoreEvent, StoreUpdate, Time};
use schema::appl_db::{HaScopeConfig, HaSetConfig};
use schema::chassis_state_db::DpuState;
use schema::config_db::{Dpu, HaGlobalConfig, LoopbackInterface, RemoteDpu, Vdpu};
use schema::dpu_state_db::{BfdProbeState, HaScopeState};
use schema::{Db, DpuName, Slot, Table, WallMs};

use super::{Extra, Out, Part, PortSpec, Start, or_last_good, or_nothing};
use crate::client::{Change, Update, ZmqPeer};
use crate::configuration::ZMQ_PORT;
use crate::redis::Mode;
use crate::topology::{DpuRef, Server};

/// How often the heartbeat is renewed in the simulation, ms.
const HEARTBEAT_MS: u64 = 5000;

/// What a DPU is told.
const DPU_TABLES: [Table; 3] = [Table::DashHaSet, Table::DashHaScope, Table::BfdSession];

/// What a port is for.
#[derive(Clone, Copy)]
enum Port {
    Read(Source),
    Write(Place, Db),
}

/// The process.
pub struct HamgrdPart {
    switch: u8,
    zmq: bool,
    ports: Vec<Port>,
    dpus: BTreeMap<DpuName, Dpu>,
    /// Where the DPUs' consumers are, as far as the ports were told.
    peers: BTreeMap<Slot, ZmqPeer>,
    core: Hamgr,
    queue: Vec<Input>,
}

impl HamgrdPart {
    /// For a switch.
    pub fn new(switch: u8, start: &Start) -> Self {
        let config = Config {
            policy: start.policy,
            slots: None,
            heartbeat_interval_ms: HEARTBEAT_MS,
            id_seed: start.seed,
        };
        let mut ports = vec![
            Port::Read(Source::ConfigDb),
            Port::Read(Source::ApplDb),
            Port::Read(Source::ChassisStateDb),
            Port::Write(Place::Npu, Db::StateDb),
            Port::Write(Place::Npu, Db::ApplDb),
        ];
        for slot in (0..start.topology.dpus).map(Slot) {
            ports.push(Port::Read(Source::DpuStateDb(slot)));
            ports.push(Port::Write(Place::Dpu(slot), Db::DpuApplDb));
        }
        Self {
            switch,
            zmq: start.zmq,
            ports,
            dpus: BTreeMap::new(),
            peers: BTreeMap::new(),
            core: Hamgr::new(config),
            queue: Vec::new(),
        }
    }

    fn of_dpu(&self, slot: Slot) -> Server {
        Server::OfDpu(DpuRef { switch: self.switch, slot: slot.0 })
    }

    fn spec(&self, port: Port) -> PortSpec {
        let host = Server::Host(self.switch);
        match port {
            Port::Read(Source::ConfigDb) => PortSpec::Subscribe(
                host,
                Db::ConfigDb,
                vec![
                    Table::Dpu,
                    Table::RemoteDpu,
                    Table::Vdpu,
                    Table::DashHaGlobalConfig,
                    Table::LoopbackInterface,
                ],
            ),
            Port::Read(Source::ApplDb) => {
                let tables = vec![Table::DashHaSetConfig, Table::DashHaScopeConfig];
                PortSpec::Subscribe(host, Db::ApplDb, tables)
            }
            Port::Read(Source::ChassisStateDb) => {
                PortSpec::Subscribe(Server::Chassis(self.switch), Db::ChassisStateDb, vec![Table::DpuState])
            }
            Port::Read(Source::DpuStateDb(slot)) => {
                let tables = vec![Table::DashBfdProbeState, Table::DpuDashHaScopeState];
                PortSpec::Subscribe(self.of_dpu(slot), Db::DpuStateDb, tables)
            }
            Port::Write(Place::Npu, Db::StateDb) => PortSpec::Store(
                host,
                Db::StateDb,
                vec![
                    (Table::DpuResetInfo, Mode::Table),
                    (Table::DashHaScopeFence, Mode::Table),
                    (Table::DashHaScopeState, Mode::Table),
                ],
            ),
            Port::Write(Place::Npu, db) => PortSpec::Store(
                host,
                db,
                vec![
                    (Table::VnetRouteTunnel, Mode::ProducerState),
                    (Table::NeighResolve, Mode::ProducerState),
                ],
            ),
            Port::Write(Place::Dpu(slot), db) if self.zmq => {
                PortSpec::Produce(self.of_dpu(slot), db, DPU_TABLES.to_vec())
            }
            Port::Write(Place::Dpu(slot), db) => {
                let tables = DPU_TABLES.map(|table| (table, Mode::ProducerState));
                PortSpec::Store(self.of_dpu(slot), db, tables.to_vec())
            }
        }
    }

    /// Takes in the rows of `DPU` among inputs, as `apps/hamgrd/src/transport.rs` does.
    fn take_dpus(&mut self, from: usize) {
        for input in self.queue.iter().skip(from) {
            if let Input::Dpu(name, row) = input {
                match row {
                    Some(row) => self.dpus.insert(name.clone(), row.clone()),
                    None => self.dpus.remove(name),
                };
            }
        }
    }

    /// Where a DPU's consumer is; as in the core, the first row of a slot counts.
    fn peer_of(&self, slot: Slot) -> Option<ZmqPeer> {
        let row = self.dpus.values().find(|row| row.dpu_id == slot)?;
        Some((row.midplane_ipv4?, row.orchagent_zmq_port.unwrap_or(ZMQ_PORT)))
    }

    fn tell_peers(&mut self, out: &mut Vec<Out>) {
        for (at, port) in self.ports.iter().enumerate() {
            let Port::Write(Place::Dpu(slot), _) = port else { continue };
            let peer = self.peer_of(*slot);
            if self.zmq && self.peers.get(slot).copied() != peer {
                match peer {
                    Some(peer) => self.peers.insert(*slot, peer),
                    None => self.peers.remove(slot),
                };
                out.push(Out::Peer(at, peer));
            }
        }
    }

    fn port_to(&self, place: Place, db: Db) -> Option<usize> {
        self.ports.iter().position(|port| match port {
            Port::Write(to, of) => (*to, *of) == (place, db),
            Port::Read(_) => false,
        })
    }
}

impl Part for HamgrdPart {
    fn ports(&self) -> Vec<PortSpec> {
        self.ports.iter().map(|port| self.spec(*port)).collect()
    }

    fn update(&mut self, port: usize, update: Update) {
        let Some(Port::Read(source)) = self.ports.get(port).copied() else { return };
        match update {
            Update::Changes(changes) => {
                let from = self.queue.len();
                self.queue.extend(changes.iter().filter_map(|change| input_of(source, change)));
                self.take_dpus(from);
            }
            Update::Synced => self.queue.push(Input::Synced(source)),
            Update::Lost { .. } => self.queue.push(Input::Unsynced(source)),
        }
    }

    fn stored(&mut self, port: usize, update: StoreUpdate) {
        let Some(Port::Write(place, db)) = self.ports.get(port).copied() else { return };
        self.queue.push(Input::Store(StoreEvent { place, db, update }));
    }

    fn extra(&mut self, _extra: Extra) {}

    fn handle(&mut self, now: Time, wall: WallMs, out: &mut Vec<Out>) {
        self.tell_peers(out);
        let mut effects = Vec::new();
        self.core.handle(now, Batch { wall, inputs: std::mem::take(&mut self.queue) }, &mut effects);
        for effect in effects {
            match effect {
                Effect::Write(write) => {
                    if let Some(port) = self.port_to(write.place, write.write.table.db()) {
                        out.push(Out::Write(port, write.write));
                    }
                }
                Effect::Note(Note::Ready) => out.push(Out::Ready),
                Effect::Note(note) => out.push(Out::Note(format!("{note:?}"))),
            }
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.core.next_deadline().map(|(at, _)| at)
    }
}

fn input_of(source: Source, change: &Change) -> Option<Input> {
    let table = change.table;
    if table == Table::Dpu {
        or_last_good::<Dpu>(change).map(|(name, row)| Input::Dpu(name, row))
    } else if table == Table::RemoteDpu {
        or_last_good::<RemoteDpu>(change).map(|(name, row)| Input::RemoteDpu(name, row))
    } else if table == Table::Vdpu {
        or_last_good::<Vdpu>(change).map(|(id, row)| Input::Vdpu(id, row))
    } else if table == Table::DashHaGlobalConfig {
        or_last_good::<HaGlobalConfig>(change).map(|(_, row)| Input::GlobalConfig(row))
    } else if table == Table::LoopbackInterface {
        or_last_good::<LoopbackInterface>(change).map(|(key, row)| Input::Loopback(key, row.is_some()))
    } else if table == Table::DashHaSetConfig {
        or_last_good::<HaSetConfig>(change).map(|(id, row)| Input::HaSetConfig(id, row))
    } else if table == Table::DashHaScopeConfig {
        or_last_good::<HaScopeConfig>(change).map(|(key, row)| Input::HaScopeConfig(key, row))
    } else if table == Table::DpuState {
        or_nothing::<DpuState>(change).map(|(slot, row)| Input::DpuState(slot, row))
    } else {
        let Source::DpuStateDb(slot) = source else { return None };
        if table == Table::DashBfdProbeState {
            or_nothing::<BfdProbeState>(change).map(|(_, row)| Input::BfdProbe(slot, row))
        } else {
            or_nothing::<HaScopeState>(change).map(|(id, row)| Input::DpuHaScopeState(slot, id, row))
        }
    }
}
