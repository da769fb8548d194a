//! Mistakes of hamgrd.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{Op, OwnedRow, RowWrite, StoreUpdate};
use schema::state_db::DpuResetInfo;
use schema::{Db, Fields, Row, Table};

use super::{Lens, Ports, Said, Told};
use crate::client::{Change, Update};
use crate::parts::Out;
use crate::redis::RowKey;

/// Shows the rows that were there before the database was emptied.
pub(super) struct FlushUnnoticed {
    ports: Vec<usize>,
    known: BTreeMap<usize, BTreeMap<RowKey, Fields>>,
}

impl FlushUnnoticed {
    pub(super) fn at(ports: &Ports) -> Self {
        Self { ports: ports.storing(Db::DpuApplDb), known: BTreeMap::new() }
    }
}

impl Lens for FlushUnnoticed {
    fn stored(&mut self, port: usize, update: StoreUpdate) -> Vec<StoreUpdate> {
        if !self.ports.contains(&port) {
            return vec![update];
        }
        let known = self.known.entry(port).or_default();
        match update {
            StoreUpdate::Snapshot(rows) if rows.is_empty() => {
                let kept = known.iter().map(|(row, fields)| OwnedRow {
                    table: row.0,
                    key: row.1.clone(),
                    fields: fields.clone(),
                    consumed: true,
                });
                vec![StoreUpdate::Snapshot(kept.collect())]
            }
            StoreUpdate::Snapshot(rows) => {
                *known = rows.iter().map(|row| ((row.table, row.key.clone()), row.fields.clone())).collect();
                vec![StoreUpdate::Snapshot(rows)]
            }
            StoreUpdate::Written { write, done } => {
                let row = (write.table, write.key.clone());
                match &write.op {
                    Op::Set(fields) => {
                        known.insert(row, fields.clone());
                    }
                    Op::Merge(fields) => known.entry(row).or_default().merge(fields),
                    Op::Del => {
                        known.remove(&row);
                    }
                }
                vec![StoreUpdate::Written { write, done }]
            }
            StoreUpdate::Lost => vec![StoreUpdate::Lost],
        }
    }
}

/// Keeps HA sets back, says that they were taken, and writes them after their scopes.
#[derive(Default)]
pub(super) struct ScopeBeforeSet {
    held: BTreeMap<(usize, String), RowWrite>,
    due: Vec<(usize, RowWrite)>,
}

fn as_taken(write: &RowWrite) -> Option<OwnedRow> {
    match &write.op {
        Op::Set(fields) | Op::Merge(fields) => Some(OwnedRow {
            table: write.table,
            key: write.key.clone(),
            fields: fields.clone(),
            consumed: true,
        }),
        Op::Del => None,
    }
}

impl Lens for ScopeBeforeSet {
    fn stored(&mut self, port: usize, update: StoreUpdate) -> Vec<StoreUpdate> {
        let StoreUpdate::Snapshot(mut rows) = update else { return vec![update] };
        let taken: BTreeSet<String> = rows
            .iter()
            .filter(|row| row.table == Table::DashHaScope && row.consumed)
            .map(|row| row.key.clone())
            .collect();
        for set in taken {
            if let Some(write) = self.held.remove(&(port, set)) {
                rows.extend(as_taken(&write));
                self.due.push((port, write));
            }
        }
        for ((at, set), write) in &self.held {
            if *at == port && !rows.iter().any(|row| row.table == Table::DashHaSet && row.key == *set) {
                rows.extend(as_taken(write));
            }
        }
        vec![StoreUpdate::Snapshot(rows)]
    }

    fn said(&mut self, out: Vec<Out>) -> Said {
        let mut passed: Vec<Out> = self.due.drain(..).map(|(port, write)| Out::Write(port, write)).collect();
        let mut told = Vec::new();
        for said in out {
            match said {
                Out::Write(port, write) if write.table == Table::DashHaSet => {
                    if let Some(row) = as_taken(&write) {
                        told.push(Told::Store(
                            port,
                            StoreUpdate::Written { write: write.clone(), done: true },
                        ));
                        told.push(Told::Store(port, StoreUpdate::Snapshot(vec![row])));
                        self.held.insert((port, write.key.clone()), write);
                    } else {
                        self.held.remove(&(port, write.key.clone()));
                        passed.push(Out::Write(port, write));
                    }
                }
                other => passed.push(other),
            }
        }
        Said { out: passed, told }
    }
}

const REQUESTED: &str = "activate_role_requested";

/// Remembers for which scopes the activation of the role was approved.
#[derive(Default)]
pub(super) struct ApprovalReplayed {
    approved: BTreeSet<(usize, String)>,
}

impl Lens for ApprovalReplayed {
    fn said(&mut self, mut out: Vec<Out>) -> Said {
        for said in &mut out {
            let Out::Write(port, RowWrite { table: Table::DashHaScope, key, op: Op::Set(fields) }) = said
            else {
                continue;
            };
            let scope = (*port, key.clone());
            if fields.text(REQUESTED) == Some("true") {
                self.approved.insert(scope);
            } else if self.approved.contains(&scope) {
                fields.set(REQUESTED, "true");
            }
        }
        Said { out, told: Vec::new() }
    }
}

/// Remembers which BFD sessions were created.
#[derive(Default)]
pub(super) struct BfdCreatedOnce {
    created: BTreeSet<(usize, String)>,
}

impl Lens for BfdCreatedOnce {
    fn said(&mut self, mut out: Vec<Out>) -> Said {
        let mut told = Vec::new();
        out.retain(|said| match said {
            Out::Write(port, write)
                if write.table == Table::BfdSession
                    && write.op != Op::Del
                    && !self.created.insert((*port, write.key.clone())) =>
            {
                told.push(Told::Store(*port, StoreUpdate::Written { write: write.clone(), done: true }));
                false
            }
            _ => true,
        });
        Said { out, told }
    }
}

/// With each new life of a DPU every HA scope configuration is told as if it had just been written.
#[derive(Default)]
pub(super) struct FenceIgnored {
    configs: BTreeMap<(usize, String), Fields>,
    lives: BTreeMap<(usize, String), Option<u64>>,
}

impl Lens for FenceIgnored {
    fn update(&mut self, port: usize, update: Update) -> Vec<Update> {
        if let Update::Changes(changes) = &update {
            for change in changes.iter().filter(|change| change.table == Table::DashHaScopeConfig) {
                let at = (port, change.key.clone());
                match &change.fields {
                    Some(fields) => self.configs.insert(at, fields.clone()),
                    None => self.configs.remove(&at),
                };
            }
        }
        vec![update]
    }

    fn said(&mut self, out: Vec<Out>) -> Said {
        let mut told = Vec::new();
        for said in &out {
            let Out::Write(port, RowWrite { table: Table::DpuResetInfo, key, op: Op::Set(fields) }) = said
            else {
                continue;
            };
            let life = DpuResetInfo::from_fields(key, fields).ok().and_then(|reset| reset.incarnation);
            let former = self.lives.insert((*port, key.clone()), life);
            if former.flatten().is_some_and(|former| Some(former) != life) {
                for ((port, key), fields) in &self.configs {
                    let change =
                        |fields| Change { table: Table::DashHaScopeConfig, key: key.clone(), fields };
                    for fields in [None, Some(fields.clone())] {
                        told.push(Told::Read(*port, Update::Changes(vec![change(fields)])));
                    }
                }
            }
        }
        Said { out, told }
    }
}

/// What changed before a reader was connected again is not told.
pub(super) struct GapUnread {
    ports: Vec<usize>,
    has_synced: bool,
    in_gap: bool,
}

impl GapUnread {
    pub(super) fn at(ports: &Ports) -> Self {
        Self { ports: ports.reading(Db::ApplDb), has_synced: false, in_gap: false }
    }
}

impl Lens for GapUnread {
    fn update(&mut self, port: usize, update: Update) -> Vec<Update> {
        if !self.ports.contains(&port) {
            return vec![update];
        }
        match update {
            Update::Lost { .. } => self.in_gap = self.has_synced,
            Update::Synced => {
                self.has_synced = true;
                self.in_gap = false;
            }
            Update::Changes(_) if self.in_gap => return Vec::new(),
            Update::Changes(_) => {}
        }
        vec![update]
    }
}

/// Approvals are not passed on.
pub(super) struct ApprovalLost;

impl Lens for ApprovalLost {
    fn said(&mut self, mut out: Vec<Out>) -> Said {
        for said in &mut out {
            if let Out::Write(_, RowWrite { table: Table::DashHaScope, op: Op::Set(fields), .. }) = said {
                fields.set(REQUESTED, "false");
            }
        }
        Said { out, told: Vec::new() }
    }
}
