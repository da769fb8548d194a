//! What is read, and how its rows become inputs.

use hamgr::{Input, Source};
use schema::appl_db::{HaScopeConfig, HaSetConfig};
use schema::chassis_state_db::DpuState;
use schema::config_db::{Dpu, HaGlobalConfig, LoopbackInterface, RemoteDpu, Vdpu};
use schema::dpu_state_db::{BfdProbeState, HaScopeState};
use schema::{Db, Slot, Table};
use shell::{Metrics, RowDecoder};
use swss::{Change, Update};

/// The database of a source.
pub fn db(source: Source) -> Db {
    match source {
        Source::ConfigDb => Db::ConfigDb,
        Source::ApplDb => Db::ApplDb,
        Source::ChassisStateDb => Db::ChassisStateDb,
        Source::DpuStateDb(_) => Db::DpuStateDb,
    }
}

/// The tables of a source.
pub fn tables(source: Source) -> &'static [Table] {
    match source {
        Source::ConfigDb => {
            &[Table::Dpu, Table::RemoteDpu, Table::Vdpu, Table::DashHaGlobalConfig, Table::LoopbackInterface]
        }
        Source::ApplDb => &[Table::DashHaSetConfig, Table::DashHaScopeConfig],
        Source::ChassisStateDb => &[Table::DpuState],
        Source::DpuStateDb(_) => &[Table::DpuDashHaScopeState, Table::DashBfdProbeState],
    }
}

/// Makes inputs of what a source's reader sees.
pub struct Decoder {
    source: Source,
    rows: RowDecoder,
}

impl Decoder {
    /// Counts bad rows into `metrics`.
    pub fn new(source: Source, metrics: Metrics) -> Self {
        Self { source, rows: RowDecoder::new(metrics) }
    }

    /// The inputs that an update amounts to.
    pub fn inputs(&mut self, update: Update) -> Vec<Input> {
        match update {
            Update::Changes(changes) => changes.iter().filter_map(|change| self.input(change)).collect(),
            Update::Synced => vec![Input::Synced(self.source)],
            Update::Lost { .. } => vec![Input::Unsynced(self.source)],
        }
    }

    fn input(&mut self, change: &Change) -> Option<Input> {
        match self.source {
            Source::ConfigDb | Source::ApplDb => self.configuration(change),
            Source::ChassisStateDb => {
                let (slot, row) = self.rows.decode::<DpuState>(change).or_nothing()?;
                Some(Input::DpuState(slot, row))
            }
            Source::DpuStateDb(slot) => self.dpu_state(slot, change),
        }
    }

    fn configuration(&mut self, change: &Change) -> Option<Input> {
        let rows = &mut self.rows;
        if change.table == Table::Dpu {
            rows.decode::<Dpu>(change).or_last_good().map(|(key, row)| Input::Dpu(key, row))
        } else if change.table == Table::RemoteDpu {
            rows.decode::<RemoteDpu>(change).or_last_good().map(|(key, row)| Input::RemoteDpu(key, row))
        } else if change.table == Table::Vdpu {
            rows.decode::<Vdpu>(change).or_last_good().map(|(key, row)| Input::Vdpu(key, row))
        } else if change.table == Table::DashHaGlobalConfig {
            rows.decode::<HaGlobalConfig>(change).or_last_good().map(|(_, row)| Input::GlobalConfig(row))
        } else if change.table == Table::LoopbackInterface {
            let row = rows.decode::<LoopbackInterface>(change).or_last_good();
            row.map(|(key, row)| Input::Loopback(key, row.is_some()))
        } else if change.table == Table::DashHaSetConfig {
            rows.decode::<HaSetConfig>(change).or_last_good().map(|(key, row)| Input::HaSetConfig(key, row))
        } else if change.table == Table::DashHaScopeConfig {
            rows.decode::<HaScopeConfig>(change)
                .or_last_good()
                .map(|(key, row)| Input::HaScopeConfig(key, row))
        } else {
            None
        }
    }

    fn dpu_state(&mut self, slot: Slot, change: &Change) -> Option<Input> {
        if change.table == Table::DpuDashHaScopeState {
            let (scope, row) = self.rows.decode::<HaScopeState>(change).or_nothing()?;
            Some(Input::DpuHaScopeState(slot, scope, row))
        } else {
            let (_, row) = self.rows.decode::<BfdProbeState>(change).or_nothing()?;
            Some(Input::BfdProbe(slot, row))
        }
    }
}
