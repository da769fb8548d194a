//! The SDN controller: mirrors `apps/ha-controller/src/{run,southbound}.rs`. The durable store is in
//! [`crate::world`].

use controller::{Controller, Effect, Input, Reported, SwitchName};
use reconcile::{Batch, Core, StoreEvent, StoreUpdate, Time};
use schema::chassis_state_db::DpuState;
use schema::state_db::{DpuResetInfo, HaScopeState};
use schema::{Db, Row, Table, WallMs};

use super::{Extra, Out, Part, PortSpec};
use crate::client::{Change, Update};
use crate::redis::Mode;
use crate::topology::{Server, Topology, switch_text};

/// Per switch: two readers, then two stores.
const READ: [(Db, &[Table]); 2] = [
    (Db::ChassisStateDb, &[Table::DpuState]),
    (Db::StateDb, &[Table::DpuResetInfo, Table::DashHaScopeState]),
];
const WRITTEN: [(Db, &[Table]); 2] = [
    (Db::ApplDb, &[Table::DashHaSetConfig, Table::DashHaScopeConfig]),
    (Db::StateDb, &[Table::DpuResetInfo]),
];
const PORTS_PER_SWITCH: usize = READ.len() + WRITTEN.len();

/// The process.
pub struct ControllerPart {
    topology: Topology,
    switches: Vec<SwitchName>,
    core: Controller,
    queue: Vec<Input>,
}

impl ControllerPart {
    /// For all switches, with a seed for the jitter of retries.
    pub fn new(topology: Topology, seed: u64) -> Self {
        let switches =
            topology.switches().filter_map(|switch| SwitchName::new(switch_text(switch))).collect();
        Self { topology, switches, core: Controller::new(seed), queue: Vec::new() }
    }
}

impl Part for ControllerPart {
    fn ports(&self) -> Vec<PortSpec> {
        let mut ports = Vec::new();
        for switch in self.topology.switches() {
            let server = |db| {
                if db == Db::ChassisStateDb { Server::Chassis(switch) } else { Server::Host(switch) }
            };
            ports.extend(READ.map(|(db, tables)| PortSpec::Subscribe(server(db), db, tables.to_vec())));
            ports.extend(WRITTEN.map(|(db, tables)| {
                PortSpec::Store(server(db), db, tables.iter().map(|table| (*table, Mode::Table)).collect())
            }));
        }
        ports
    }

    fn update(&mut self, port: usize, update: Update) {
        let Some(switch) = self.switches.get(port / PORTS_PER_SWITCH).cloned() else { return };
        let Some((db, _)) = READ.get(port % PORTS_PER_SWITCH).copied() else { return };
        match update {
            Update::Changes(changes) => {
                self.queue.extend(changes.iter().filter_map(|change| input_of(&switch, change)));
            }
            Update::Synced => self.queue.push(Input::Synced { switch, db }),
            Update::Lost { .. } => self.queue.push(Input::Unsynced { switch, db }),
        }
    }

    fn stored(&mut self, port: usize, update: StoreUpdate) {
        let Some(place) = self.switches.get(port / PORTS_PER_SWITCH).cloned() else { return };
        let at = (port % PORTS_PER_SWITCH).wrapping_sub(READ.len());
        let Some((db, _)) = WRITTEN.get(at).copied() else { return };
        self.queue.push(Input::Store(StoreEvent { place, db, update }));
    }

    fn extra(&mut self, extra: Extra) {
        match extra {
            Extra::Persisted(record, ok) => self.queue.push(Input::Persisted { record: *record, ok }),
            Extra::Fleet(fleet) => self.queue.push(Input::Fleet(*fleet)),
            Extra::Records(records) => self.queue.push(Input::Records(records)),
            Extra::Haorch(_) | Extra::Bfd(_) | Extra::Probe(..) | Extra::Stop => {}
        }
    }

    fn handle(&mut self, now: Time, wall: WallMs, out: &mut Vec<Out>) {
        let mut effects = Vec::new();
        self.core.handle(now, Batch { wall, inputs: std::mem::take(&mut self.queue) }, &mut effects);
        for effect in effects {
            match effect {
                Effect::Persist(record) => out.push(Out::Persist(Box::new(record))),
                Effect::Write(write) => {
                    let switch = self.switches.iter().position(|name| *name == write.place);
                    let of = WRITTEN.iter().position(|(db, _)| *db == write.write.table.db());
                    if let (Some(switch), Some(of)) = (switch, of) {
                        out.push(Out::Write(switch * PORTS_PER_SWITCH + READ.len() + of, write.write));
                    }
                }
                Effect::Note(note) => out.push(Out::Note(format!("{note:?}"))),
            }
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.core.next_deadline().map(|(at, _)| at)
    }
}

fn input_of(switch: &SwitchName, change: &Change) -> Option<Input> {
    let switch = switch.clone();
    if change.table == Table::DpuState {
        let (slot, row) = reported::<DpuState>(change)?;
        Some(Input::DpuState { switch, slot, row })
    } else if change.table == Table::DpuResetInfo {
        let (slot, row) = reported::<DpuResetInfo>(change)?;
        Some(Input::ResetInfo { switch, slot, row })
    } else {
        let (key, row) = reported::<HaScopeState>(change)?;
        Some(Input::ScopeState { switch, key, row })
    }
}

fn reported<R: Row>(change: &Change) -> Option<(R::Key, Reported<R>)> {
    let key = R::parse_key(&change.key).ok()?;
    let Some(fields) = &change.fields else { return Some((key, Reported::Absent)) };
    match R::parse_reporting(&change.key, fields).0 {
        Some((key, row)) => Some((key, Reported::Present(Box::new(row)))),
        None => Some((key, Reported::Unreadable)),
    }
}
