//! From rows of `DPU_APPL_DB` to inputs of the core.

use haorch::Input;
use schema::dpu_appl_db::{BfdSession, HaScope, HaSet};
use schema::{Row, Table};
use shell::{Decoded, RowDecoder};
use swss::{Change, Update};

/// The tables that hamgrd fills for a DPU.
pub const TABLES: &[Table] = &[Table::DashHaSet, Table::DashHaScope, Table::BfdSession];

/// What an update means to the core.
pub fn inputs_of(update: Update, decoder: &mut RowDecoder) -> Vec<Input> {
    match update {
        Update::Changes(changes) => changes.iter().filter_map(|change| input_of(change, decoder)).collect(),
        Update::Synced => vec![Input::Synced],
        Update::Lost { .. } => vec![Input::Unsynced],
    }
}

fn input_of(change: &Change, decoder: &mut RowDecoder) -> Option<Input> {
    if change.table == Table::DashHaSet {
        typed::<HaSet>(change, decoder, Input::HaSet)
    } else if change.table == Table::DashHaScope {
        typed::<HaScope>(change, decoder, Input::HaScope)
    } else if change.table == Table::BfdSession {
        typed::<BfdSession>(change, decoder, Input::BfdSession)
    } else {
        tracing::error!(table = %change.table, "a table that was not asked for");
        None
    }
}

fn typed<R: Row>(
    change: &Change,
    decoder: &mut RowDecoder,
    input: impl Fn(R::Key, Option<R>) -> Input,
) -> Option<Input> {
    match decoder.decode::<R>(change) {
        Decoded::Present(key, row) => Some(input(key, Some(row))),
        Decoded::Gone(key) => Some(input(key, None)),
        Decoded::Bad(_) => Some(Input::Refused { table: change.table, key: change.key.clone() }),
        Decoded::BadKey => None,
    }
}
