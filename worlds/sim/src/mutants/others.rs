//! Mistakes of haorchd and pmond, and one that two daemons can make.

use std::collections::BTreeMap;

use haorch::{AsicOp, HaScopeAttribute};
use reconcile::{Op, RowWrite, StoreUpdate};
use schema::{AsicHaRole, Db, Fields, Table};

use super::{Lens, Ports, Said, Told};
use crate::client::{Change, Update};
use crate::parts::{Extra, Out};

/// Reports every DPU as down when the state of the DPUs cannot be read.
pub(super) struct UnknownIsDown {
    ports: Vec<usize>,
    known: BTreeMap<usize, BTreeMap<String, Fields>>,
}

impl UnknownIsDown {
    pub(super) fn at(ports: &Ports) -> Self {
        Self { ports: ports.reading(Db::ChassisStateDb), known: BTreeMap::new() }
    }
}

impl Lens for UnknownIsDown {
    fn update(&mut self, port: usize, update: Update) -> Vec<Update> {
        if !self.ports.contains(&port) {
            return vec![update];
        }
        let known = self.known.entry(port).or_default();
        match update {
            Update::Changes(changes) => {
                for change in &changes {
                    match &change.fields {
                        Some(fields) => known.insert(change.key.clone(), fields.clone()),
                        None => known.remove(&change.key),
                    };
                }
                vec![Update::Changes(changes)]
            }
            Update::Synced => {
                let all = known.iter().map(|(key, fields)| of(key, fields.clone()));
                vec![Update::Changes(all.collect()), Update::Synced]
            }
            Update::Lost { .. } => {
                let down = known.iter().map(|(key, fields)| {
                    let mut fields = fields.clone();
                    fields.set("dpu_midplane_link_state", "down");
                    of(key, fields)
                });
                vec![Update::Changes(down.collect())]
            }
        }
    }
}

fn of(key: &str, fields: Fields) -> Change {
    Change { table: Table::DpuState, key: key.to_owned(), fields: Some(fields) }
}

/// No session is ever withdrawn.
pub(super) struct BfdOutlivesService;

impl Lens for BfdOutlivesService {
    fn said(&mut self, mut out: Vec<Out>) -> Said {
        out.retain(|said| match said {
            Out::Write(_, write) => write.table != Table::BfdSoftwareSession || write.op != Op::Del,
            Out::Peer(..)
            | Out::Bfd(_)
            | Out::Note(_)
            | Out::Ready
            | Out::Asic(_)
            | Out::Forward(_)
            | Out::Wrong(_)
            | Out::Probe(_)
            | Out::Persist(_)
            | Out::Left => true,
        });
        Said { out, told: Vec::new() }
    }
}

/// Says that sessions are withdrawn before they are, and withdraws them when the role is given.
#[derive(Default)]
pub(super) struct RoleBeforeBfd {
    held: BTreeMap<String, (usize, RowWrite)>,
}

impl Lens for RoleBeforeBfd {
    fn stored(&mut self, _port: usize, update: StoreUpdate) -> Vec<StoreUpdate> {
        let StoreUpdate::Snapshot(mut rows) = update else { return vec![update] };
        rows.retain(|row| row.table != Table::BfdSoftwareSession || !self.held.contains_key(&row.key));
        vec![StoreUpdate::Snapshot(rows)]
    }

    fn said(&mut self, out: Vec<Out>) -> Said {
        let (mut passed, mut told) = (Vec::new(), Vec::new());
        for said in out {
            match said {
                Out::Write(port, write)
                    if write.table == Table::BfdSoftwareSession && write.op == Op::Del =>
                {
                    told.push(Told::Store(port, StoreUpdate::Written { write: write.clone(), done: true }));
                    told.push(Told::Store(port, StoreUpdate::Snapshot(Vec::new())));
                    self.held.insert(write.key.clone(), (port, write));
                }
                Out::Write(port, write) => {
                    if write.table == Table::BfdSoftwareSession {
                        self.held.remove(&write.key);
                    }
                    passed.push(Out::Write(port, write));
                }
                Out::Asic(call) => {
                    let is_dead = matches!(
                        call.op,
                        AsicOp::SetHaScope(_, HaScopeAttribute::DashHaRole(AsicHaRole::Dead))
                            | AsicOp::RemoveHaScope(_)
                    );
                    passed.push(Out::Asic(call));
                    if is_dead {
                        let held = std::mem::take(&mut self.held).into_values();
                        passed.extend(held.map(|(port, write)| Out::Write(port, write)));
                    }
                }
                other => passed.push(other),
            }
        }
        Said { out: passed, told }
    }
}

/// Writes the last state again with every probe.
#[derive(Default)]
pub(super) struct RestlessProbe {
    last: Option<(usize, RowWrite)>,
}

impl Lens for RestlessProbe {
    fn said(&mut self, mut out: Vec<Out>) -> Said {
        let mut states = out.iter().filter_map(|said| match said {
            Out::Write(port, write) if write.table == Table::DpuState => Some((*port, write.clone())),
            _ => None,
        });
        match states.next_back() {
            Some(state) => self.last = Some(state),
            None => out.extend(self.last.clone().map(|(port, write)| Out::Write(port, write))),
        }
        Said { out, told: Vec::new() }
    }
}

/// Sessions are told to be gone as soon as they say farewell.
pub(super) struct BfdFarewellUnheard;

impl Lens for BfdFarewellUnheard {
    fn extra(&mut self, extra: Extra) -> Option<Extra> {
        let Extra::Bfd(mut changes) = extra else { return Some(extra) };
        for (_, state, _) in &mut changes {
            *state = state.filter(|state| *state == bfd::State::Down);
        }
        Some(Extra::Bfd(changes))
    }
}
