//! From what readers see to the core's inputs.

use hamgr::{Input, Source};
use schema::appl_db::{HaScopeConfig, HaSetConfig};
use schema::chassis_state_db::DpuState;
use schema::config_db::{Dpu, HaGlobalConfig, LoopbackInterface, RemoteDpu, Vdpu};
use schema::dpu_state_db::{BfdProbeState, HaScopeState};
use schema::{Slot, Table};
use shell::RowDecoder;
use swss::{Change, Update};

/// The tables read in each source.
pub fn tables_of(source: Source) -> &'static [Table] {
    match source {
        Source::ConfigDb => {
            &[Table::Dpu, Table::RemoteDpu, Table::Vdpu, Table::DashHaGlobalConfig, Table::LoopbackInterface]
        }
        Source::ApplDb => &[Table::DashHaSetConfig, Table::DashHaScopeConfig],
        Source::ChassisStateDb => &[Table::DpuState],
        Source::DpuStateDb(_) => &[Table::DashBfdProbeState, Table::DpuDashHaScopeState],
    }
}

/// The inputs that an update of `source` amounts to.
pub fn inputs_of(source: Source, update: Update, decoder: &mut RowDecoder) -> Vec<Input> {
    match update {
        Update::Changes(changes) => {
            changes.iter().filter_map(|change| input_of(source, change, decoder)).collect()
        }
        Update::Synced => vec![Input::Synced(source)],
        Update::Lost { .. } => vec![Input::Unsynced(source)],
    }
}

/// A bad row of configuration leaves the last good one in force; a bad row of state says nothing.
fn input_of(source: Source, change: &Change, decoder: &mut RowDecoder) -> Option<Input> {
    match change.table {
        Table::Dpu => decoder.decode::<Dpu>(change).or_last_good().map(|(name, row)| Input::Dpu(name, row)),
        Table::RemoteDpu => {
            let row = decoder.decode::<RemoteDpu>(change).or_last_good();
            row.map(|(name, row)| Input::RemoteDpu(name, row))
        }
        Table::Vdpu => decoder.decode::<Vdpu>(change).or_last_good().map(|(id, row)| Input::Vdpu(id, row)),
        Table::DashHaGlobalConfig => {
            let row = decoder.decode::<HaGlobalConfig>(change).or_last_good();
            row.map(|(_, row)| Input::GlobalConfig(row))
        }
        Table::LoopbackInterface => {
            let row = decoder.decode::<LoopbackInterface>(change).or_last_good();
            row.map(|(key, row)| Input::Loopback(key, row.is_some()))
        }
        Table::DashHaSetConfig => {
            let row = decoder.decode::<HaSetConfig>(change).or_last_good();
            row.map(|(id, row)| Input::HaSetConfig(id, row))
        }
        Table::DashHaScopeConfig => {
            let row = decoder.decode::<HaScopeConfig>(change).or_last_good();
            row.map(|(key, row)| Input::HaScopeConfig(key, row))
        }
        Table::DpuState => {
            let row = decoder.decode::<DpuState>(change).or_nothing();
            row.map(|(slot, row)| Input::DpuState(slot, row))
        }
        Table::DashBfdProbeState => {
            let (slot, row) = (dpu_of(source)?, decoder.decode::<BfdProbeState>(change).or_nothing());
            row.map(|(_, row)| Input::BfdProbe(slot, row))
        }
        Table::DpuDashHaScopeState => {
            let (slot, row) = (dpu_of(source)?, decoder.decode::<HaScopeState>(change).or_nothing());
            row.map(|(id, row)| Input::DpuHaScopeState(slot, id, row))
        }
        // A reader reports only the tables it was asked for.
        Table::Port
        | Table::VnetRouteTunnel
        | Table::NeighResolve
        | Table::PortTable
        | Table::DashHaScopeState
        | Table::DpuResetInfo
        | Table::DashHaScopeFence
        | Table::ChassisMidplane
        | Table::SystemReady
        | Table::BfdSoftwareSession
        | Table::DpuBfdProbeState
        | Table::NpuBfdSession
        | Table::VnetRouteTunnelState
        | Table::DashHaSet
        | Table::DashHaScope
        | Table::BfdSession
        | Table::DashHaSetResult
        | Table::DashHaScopeResult
        | Table::DpuDashHaSetState => {
            tracing::error!(table = %change.table, "a change of a table that is not read; it is ignored");
            None
        }
    }
}

fn dpu_of(source: Source) -> Option<Slot> {
    match source {
        Source::DpuStateDb(slot) => Some(slot),
        Source::ConfigDb | Source::ApplDb | Source::ChassisStateDb => None,
    }
}
