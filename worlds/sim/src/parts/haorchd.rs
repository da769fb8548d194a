//! haorchd: mirrors `apps/haorchd/src/{run,inputs}.rs`. Its ASIC is in `core/asic-model`.

use haorch::{Capabilities, Effect, HaOrch, Input, Note, Place};
use reconcile::{Batch, Core, StoreEvent, StoreUpdate, Time};
use schema::dpu_appl_db::{BfdSession, HaScope, HaSet};
use schema::{Db, Row, Table, WallMs};

use super::bfdmgr::BfdSide;
use super::{Extra, Out, Part, PortSpec, Start};
use crate::client::{Change, Update};
use crate::redis::Mode;
use crate::topology::{DpuRef, Server};

const STORES: [(Place, Db, &[Table]); 3] = [
    (Place::Local, Db::StateDb, &[Table::BfdSoftwareSession]),
    (Place::Remote, Db::DpuStateDb, &[Table::DpuDashHaSetState, Table::DpuDashHaScopeState]),
    (Place::Remote, Db::DpuApplStateDb, &[Table::DashHaSetResult, Table::DashHaScopeResult]),
];

/// The process.
pub struct HaorchdPart {
    dpu: DpuRef,
    zmq: bool,
    bfd: Option<BfdSide>,
    core: HaOrch,
    queue: Vec<Input>,
}

impl HaorchdPart {
    /// On a DPU.
    pub fn new(dpu: DpuRef, start: &Start) -> Self {
        let bfd = start.bfd.then(|| BfdSide::new(dpu, STORES.len() + 1));
        Self { dpu, zmq: start.zmq, bfd, core: HaOrch::new(Capabilities::default()), queue: Vec::new() }
    }
}

impl Part for HaorchdPart {
    fn ports(&self) -> Vec<PortSpec> {
        let stores = STORES.iter().map(|(place, db, tables)| {
            let server = match place {
                Place::Local => Server::Local(self.dpu),
                Place::Remote => Server::OfDpu(self.dpu),
            };
            PortSpec::Store(server, *db, tables.iter().map(|table| (*table, Mode::Table)).collect())
        });
        let tables = vec![Table::DashHaSet, Table::DashHaScope, Table::BfdSession];
        let server = Server::OfDpu(self.dpu);
        let reader = if self.zmq {
            PortSpec::Serve(server, Db::DpuApplDb, tables)
        } else {
            PortSpec::Consume(server, Db::DpuApplDb, tables)
        };
        let bfd = self.bfd.iter().flat_map(BfdSide::ports);
        stores.chain([reader]).chain(bfd).collect()
    }

    fn update(&mut self, port: usize, update: Update) {
        if let Some(bfd) = self.bfd.as_mut().filter(|bfd| bfd.has_port(port)) {
            bfd.update(update);
            return;
        }
        match update {
            Update::Changes(changes) => self.queue.extend(changes.iter().filter_map(input_of)),
            Update::Synced => self.queue.push(Input::Synced),
            Update::Lost { .. } => self.queue.push(Input::Unsynced),
        }
    }

    fn stored(&mut self, port: usize, update: StoreUpdate) {
        if let Some(bfd) = self.bfd.as_mut().filter(|bfd| bfd.has_port(port)) {
            bfd.stored(port, update);
        } else if let Some((place, db, _)) = STORES.get(port).copied() {
            self.queue.push(Input::Store(StoreEvent { place, db, update }));
        }
    }

    fn extra(&mut self, extra: Extra) {
        match (extra, &mut self.bfd) {
            (Extra::Haorch(input), _) => self.queue.push(input),
            (Extra::Bfd(changes), Some(bfd)) => bfd.changed(changes),
            (
                Extra::Bfd(_)
                | Extra::Probe(..)
                | Extra::Persisted(..)
                | Extra::Fleet(_)
                | Extra::Records(_)
                | Extra::Stop,
                _,
            ) => {}
        }
    }

    fn handle(&mut self, now: Time, wall: WallMs, out: &mut Vec<Out>) {
        let open = self.bfd.as_mut().and_then(|bfd| bfd.handle(wall, out));
        self.queue.extend(open.map(Input::BfdOpen));
        let mut effects = Vec::new();
        self.core.handle(now, Batch { wall, inputs: std::mem::take(&mut self.queue) }, &mut effects);
        for effect in effects {
            match effect {
                Effect::Write(write) => {
                    let at = (write.place, write.write.table.db());
                    let port = STORES.iter().position(|(place, db, _)| (*place, *db) == at);
                    if let Some(port) = port {
                        out.push(Out::Write(port, write.write));
                    }
                }
                Effect::Asic(call) => out.push(Out::Asic(call)),
                Effect::Note(Note::Ready) => out.push(Out::Ready),
                Effect::Note(note) => out.push(Out::Note(note.to_string())),
            }
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.core.next_deadline().map(|(at, _)| at)
    }
}

fn input_of(change: &Change) -> Option<Input> {
    if change.table == Table::DashHaSet {
        typed::<HaSet>(change, Input::HaSet)
    } else if change.table == Table::DashHaScope {
        typed::<HaScope>(change, Input::HaScope)
    } else {
        typed::<BfdSession>(change, Input::BfdSession)
    }
}

fn typed<R: Row>(change: &Change, input: impl Fn(R::Key, Option<R>) -> Input) -> Option<Input> {
    let key = R::parse_key(&change.key).ok()?;
    let Some(fields) = &change.fields else { return Some(input(key, None)) };
    match R::parse_reporting(&change.key, fields).0 {
        Some((key, row)) => Some(input(key, Some(row))),
        None => Some(Input::Refused { table: change.table, key: change.key.clone() }),
    }
}
