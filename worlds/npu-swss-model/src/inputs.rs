//! From rows of `APPL_DB` to inputs of the core.

use npu_model::Input;
use schema::appl_db::{NeighResolve, VnetRouteTunnel};
use schema::{Row, Table};
use shell::RowDecoder;
use swss::{Change, Update};

/// The tables that hamgrd fills for the NPU's orchagent.
pub const TABLES: &[Table] = &[VnetRouteTunnel::TABLE, NeighResolve::TABLE];

/// What an update means to the core. A row that cannot be understood leaves the last good one in force.
pub fn inputs_of(update: Update, decoder: &mut RowDecoder) -> Vec<Input> {
    match update {
        Update::Changes(changes) => changes.iter().filter_map(|change| input_of(change, decoder)).collect(),
        Update::Synced => vec![Input::Synced],
        Update::Lost { .. } => vec![Input::Unsynced],
    }
}

fn input_of(change: &Change, decoder: &mut RowDecoder) -> Option<Input> {
    if change.table == VnetRouteTunnel::TABLE {
        let (key, row) = decoder.decode::<VnetRouteTunnel>(change).or_last_good()?;
        Some(Input::Route(key, row))
    } else if change.table == NeighResolve::TABLE {
        let (key, row) = decoder.decode::<NeighResolve>(change).or_last_good()?;
        Some(Input::Neighbour(key, row))
    } else {
        tracing::error!(table = %change.table, "a table that was not asked for");
        None
    }
}
