//! Mistakes of the controller.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{Op, RowWrite};
use schema::appl_db::HaScopeConfig;
use schema::state_db::HaScopeState;
use schema::{Db, DesiredHaState, OperationId, Row, Table};

use super::{Lens, Ports, Said};
use crate::client::Update;
use crate::parts::Out;

/// Changes every HA scope configuration that is written.
fn rewrite(out: &mut [Out], mut change: impl FnMut(usize, &str, &mut HaScopeConfig)) {
    for said in out {
        let Out::Write(port, RowWrite { table: Table::DashHaScopeConfig, key, op: Op::Set(fields) }) = said
        else {
            continue;
        };
        if let Ok(mut config) = HaScopeConfig::from_fields(key, fields) {
            change(*port, key, &mut config);
            *fields = config.to_fields();
        }
    }
}

/// Every configuration has version 1.
pub(super) struct EpochForgotten;

impl Lens for EpochForgotten {
    fn said(&mut self, mut out: Vec<Out>) -> Said {
        rewrite(&mut out, |_, _, config| config.version = "1".to_owned());
        Said { out, told: Vec::new() }
    }
}

/// Whoever is not told anything is told to be active.
pub(super) struct BothActive;

impl Lens for BothActive {
    fn said(&mut self, mut out: Vec<Out>) -> Said {
        rewrite(&mut out, |_, _, config| match config.desired_ha_state {
            DesiredHaState::Unspecified => config.desired_ha_state = DesiredHaState::Active,
            DesiredHaState::Active | DesiredHaState::Standalone | DesiredHaState::Dead => {}
        });
        Said { out, told: Vec::new() }
    }
}

/// Writes a configuration again, with all pending operations approved, as soon as it hears of them.
pub(super) struct ApprovedBlindly {
    /// Where a switch's states are read, and where its configuration is written.
    ways: BTreeMap<usize, usize>,
    configs: BTreeMap<(usize, String), HaScopeConfig>,
    pending: BTreeMap<(usize, String), Vec<OperationId>>,
}

impl ApprovedBlindly {
    pub(super) fn at(ports: &Ports) -> Self {
        let ways = ports.reading(Db::StateDb).into_iter().zip(ports.storing(Db::ApplDb)).collect();
        Self { ways, configs: BTreeMap::new(), pending: BTreeMap::new() }
    }
}

impl Lens for ApprovedBlindly {
    fn update(&mut self, port: usize, update: Update) -> Vec<Update> {
        if let (Some(to), Update::Changes(changes)) = (self.ways.get(&port), &update) {
            for change in changes.iter().filter(|change| change.table == Table::DashHaScopeState) {
                let state = change.fields.as_ref().map(|fields| HaScopeState::parse(&change.key, fields));
                let Some(Ok((key, state))) = state else { continue };
                let row = (*to, HaScopeConfig::key_text(&key));
                if !state.pending_operation_ids.is_empty() {
                    self.pending.insert(row, state.pending_operation_ids);
                }
            }
        }
        vec![update]
    }

    fn said(&mut self, mut out: Vec<Out>) -> Said {
        rewrite(&mut out, |port, key, config| {
            self.configs.insert((port, key.to_owned()), config.clone());
        });
        for ((port, key), ids) in std::mem::take(&mut self.pending) {
            let Some(config) = self.configs.get(&(port, key.clone())) else { continue };
            let approving = HaScopeConfig { approved_pending_operation_ids: ids, ..config.clone() };
            let op = Op::Set(approving.to_fields());
            out.push(Out::Write(port, RowWrite { table: Table::DashHaScopeConfig, key, op }));
        }
        Said { out, told: Vec::new() }
    }
}

/// What is deleted of a DPU is deleted of its peer as well.
pub(super) struct PeerTornDown {
    ports: Vec<usize>,
    written: BTreeSet<(usize, String)>,
}

impl PeerTornDown {
    pub(super) fn at(ports: &Ports) -> Self {
        Self { ports: ports.storing(Db::ApplDb), written: BTreeSet::new() }
    }
}

impl Lens for PeerTornDown {
    fn said(&mut self, mut out: Vec<Out>) -> Said {
        let mut more = Vec::new();
        for said in &out {
            let Out::Write(port, write) = said else { continue };
            if write.table != Table::DashHaSetConfig {
                continue;
            }
            if write.op != Op::Del {
                self.written.insert((*port, write.key.clone()));
                continue;
            }
            let others = self.ports.iter().filter(|other| *other != port);
            let there = others.filter(|other| self.written.contains(&(**other, write.key.clone())));
            more.extend(there.map(|other| Out::Write(*other, write.clone())));
        }
        out.extend(more);
        Said { out, told: Vec::new() }
    }
}
