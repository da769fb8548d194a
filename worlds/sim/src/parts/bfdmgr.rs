//! The BFD side of haorchd: mirrors `apps/haorchd/src/bfd`. The sessions themselves are in [`crate::world`].

use std::collections::BTreeSet;

use ::bfdmgr::{Backend, BfdMgr, Effect, Input, Lite, Place};
use bfd::Link;
use reconcile::{Batch, Core, StoreEvent, StoreUpdate, Time};
use schema::dpu_appl_db::BfdKey;
use schema::state_db::BfdSoftwareSession;
use schema::{Db, Row, Table, WallMs};

use super::{Out, PortSpec};
use crate::client::{Change, Update};
use crate::redis::Mode;
use crate::topology::{DpuRef, Server};

const ROWS: [(Place, Db, Table); 2] = [
    (Place::Local, Db::StateDb, Table::DpuBfdProbeState),
    (Place::Remote, Db::DpuStateDb, Table::DashBfdProbeState),
];

/// The manager and its backend's view; its ports follow those of the agent, from `first_port` on.
pub struct BfdSide {
    dpu: DpuRef,
    first_port: usize,
    core: BfdMgr,
    lite: Lite,
    queue: Vec<Input>,
}

impl BfdSide {
    /// On a DPU.
    pub fn new(dpu: DpuRef, first_port: usize) -> Self {
        // The backend speaks once at the start.
        let queue = vec![Input::Backend(Vec::new())];
        Self { dpu, first_port, core: BfdMgr::new(Backend::Lite), lite: Lite::default(), queue }
    }

    /// A subscriber, then the stores.
    pub fn ports(&self) -> Vec<PortSpec> {
        let (local, remote) = (Server::Local(self.dpu), Server::OfDpu(self.dpu));
        let reader = PortSpec::Subscribe(local, Db::StateDb, vec![Table::BfdSoftwareSession]);
        let stores = ROWS.map(|(place, db, table)| {
            let server = match place {
                Place::Local => local,
                Place::Remote => remote,
            };
            PortSpec::Store(server, db, vec![(table, Mode::Table)])
        });
        [reader].into_iter().chain(stores).collect()
    }

    /// Whether that port is one of these.
    pub fn has_port(&self, port: usize) -> bool {
        port >= self.first_port
    }

    /// The reader's update.
    pub fn update(&mut self, update: Update) {
        match update {
            Update::Changes(changes) => self.queue.extend(changes.iter().filter_map(input_of)),
            Update::Synced => self.queue.push(Input::Synced),
            // Rows stay in force; the next read gives what has changed.
            Update::Lost { .. } => {}
        }
    }

    /// A store's update.
    pub fn stored(&mut self, port: usize, update: StoreUpdate) {
        if let Some((place, db, _)) = ROWS.get(port.wrapping_sub(self.first_port + 1)).copied() {
            self.queue.push(Input::Store(StoreEvent { place, db, update }));
        }
    }

    /// Sessions changed.
    pub fn changed(&mut self, changes: Vec<(bfd::Path, Option<bfd::State>, Option<u32>)>) {
        for (path, state, _) in changes {
            self.lite.changed(path, state);
        }
        self.queue.push(Input::Backend(self.lite.peers()));
    }

    /// Gives the core its queue; what the agent has to know.
    pub fn handle(&mut self, wall: WallMs, out: &mut Vec<Out>) -> Option<BTreeSet<BfdKey>> {
        if self.queue.is_empty() {
            return None;
        }
        let mut effects = Vec::new();
        let batch = Batch { wall, inputs: std::mem::take(&mut self.queue) };
        self.core.handle(Time::default(), batch, &mut effects);
        let mut told = None;
        for effect in effects {
            match effect {
                Effect::Want(sessions) => {
                    let wanted = self.lite.want(&sessions.into_iter().collect(), |_| Some(Link::ANY));
                    out.push(Out::Bfd(wanted));
                }
                Effect::Open(open) => told = Some(open),
                Effect::Write(write) => {
                    let at = ROWS
                        .iter()
                        .position(|(place, _, table)| (*place, *table) == (write.place, write.write.table));
                    if let Some(at) = at {
                        out.push(Out::Write(self.first_port + 1 + at, write.write));
                    }
                }
                Effect::Note(note) => out.push(Out::Note(note.to_string())),
            }
        }
        told
    }
}

fn input_of(change: &Change) -> Option<Input> {
    let key = BfdSoftwareSession::parse_key(&change.key).ok()?;
    let Some(fields) = &change.fields else { return Some(Input::Session(key, None)) };
    match BfdSoftwareSession::parse_reporting(&change.key, fields).0 {
        Some((key, row)) => Some(Input::Session(key, Some(row))),
        None => Some(Input::Refused(key)),
    }
}
