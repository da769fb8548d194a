//! Each half alone, and the two on one row.

mod dpu;
mod npu;
mod together;

use reconcile::{OwnedRow, RowWrite, StoreEvent, StoreUpdate};
use schema::{Db, Fields, Slot, Table, WallMs};

use crate::Here;

const SLOT: Slot = Slot(1);

/// 2026-01-01 00:00:00 UTC, and the same as pmon writes it.
const WALL: WallMs = WallMs(1_767_225_600_000);
const WALL_TEXT: &str = "Thu Jan 01 12:00:00 AM UTC 2026";
const EARLIER_TEXT: &str = "Sat Jan 01 12:00:00 AM UTC 2000";

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().copied().collect()
}

/// `base` with `changes` laid over it.
fn with(base: &Fields, changes: &[(&str, &str)]) -> Fields {
    let mut row = base.clone();
    row.merge(&fields(changes));
    row
}

fn snapshot_of(db: Db, rows: &[(Table, &str, Fields)]) -> StoreEvent<Here> {
    let row = |(table, key, fields): &(Table, &str, Fields)| OwnedRow {
        table: *table,
        key: (*key).to_owned(),
        fields: fields.clone(),
        consumed: true,
    };
    StoreEvent { place: Here, db, update: StoreUpdate::Snapshot(rows.iter().map(row).collect()) }
}

/// `DPU_STATE` as it was read: the row of [`SLOT`], or none.
fn state_read(row: Option<&Fields>) -> StoreEvent<Here> {
    let rows: Vec<_> = row.map(|row| (Table::DpuState, "DPU1", row.clone())).into_iter().collect();
    snapshot_of(Db::ChassisStateDb, &rows)
}

fn written(write: RowWrite, done: bool) -> StoreEvent<Here> {
    StoreEvent { place: Here, db: write.table.db(), update: StoreUpdate::Written { write, done } }
}

fn lost(db: Db) -> StoreEvent<Here> {
    StoreEvent { place: Here, db, update: StoreUpdate::Lost }
}
