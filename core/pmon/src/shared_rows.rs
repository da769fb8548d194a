//! Rows of `DPU_STATE` as read back, and the merges under way to them.

use std::collections::BTreeMap;

use reconcile::{Op, RowWrite, StoreUpdate, Time, Write};
use schema::{Fields, Slot, Table, Value};
use serde::{Deserialize, Serialize};

use crate::Here;
use crate::patch::is_time;

/// How often the same fields may be written again without a pause.
///
/// Two writers that want different things of one field would otherwise write as fast as Redis answers: SONiC's
/// own DPU half re-asserts against a forced down, and one left over from a previous life has another boot id.
pub(crate) const REPEATS_MAX: u32 = 4;

/// The pause between further repetitions. After twice that without one, the quarrel counts as over.
pub(crate) const REPEAT_PAUSE_MS: u64 = 1000;

/// What this half wrote to a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Written {
    /// The last value of each field, times left out.
    fields: Fields,
    at: Time,
    /// How many of the latest writes said nothing new.
    repeats: u32,
    progress: Progress,
    /// Whether the row needs a write that has to wait for the pause.
    held: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Progress {
    UnderWay,
    Done,
    /// The server would not have it; the same is not tried again before the rows change.
    Refused,
}

/// All `DPU_STATE` rows and what this half last wrote to each.
///
/// Like [`reconcile::Reconciler`], but for merges: nothing is written before the first snapshot or while the store is
/// lost, and a row has one write under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SharedRows {
    ready: bool,
    rows: BTreeMap<String, Fields>,
    written: BTreeMap<String, Written>,
}

impl SharedRows {
    pub(crate) fn observe(&mut self, update: &StoreUpdate) {
        match update {
            StoreUpdate::Snapshot(rows) => {
                self.ready = true;
                let rows = rows.iter().filter(|row| row.table == Table::DpuState);
                self.rows = rows.map(|row| (row.key.clone(), row.fields.clone())).collect();
                self.written.retain(|_, written| written.progress != Progress::Refused);
            }
            StoreUpdate::Written { write, done } => {
                if let Some(written) = self.written.get_mut(&write.key) {
                    written.progress = if *done { Progress::Done } else { Progress::Refused };
                }
                if let (true, Op::Merge(fields)) = (*done, &write.op) {
                    self.rows.entry(write.key.clone()).or_default().merge(fields);
                }
            }
            StoreUpdate::Lost => {
                self.ready = false;
                self.written.clear();
            }
        }
    }

    /// Whether the rows have been read, and the store not been lost since.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Fields> {
        self.rows.get(&slot.to_string())
    }

    /// Forgets what has to wait: every row is looked at anew. Call before a round of [`SharedRows::merge`].
    pub(crate) fn start_round(&mut self) {
        for written in self.written.values_mut() {
            written.held = false;
        }
    }

    /// The write that merges `patch` into the row, unless there is nothing to write or it is not its time.
    pub(crate) fn merge(&mut self, now: Time, slot: Slot, patch: Fields) -> Option<Write<Here>> {
        if !self.ready {
            return None;
        }
        let key = slot.to_string();
        let new =
            Written { fields: Fields::new(), at: now, repeats: 0, progress: Progress::Done, held: false };
        let written = self.written.entry(key).or_insert(new);
        if patch.is_empty() {
            return None;
        }
        let said: Fields = patch.iter().filter(|(name, _)| !is_time(name)).map(owned).collect();
        let repeats = said.iter().all(|(name, value)| written.fields.get(name) == Some(value));
        let elapsed_ms = now.since_ms(written.at);
        match written.progress {
            Progress::UnderWay => return None,
            Progress::Refused if repeats => return None,
            Progress::Refused | Progress::Done if !repeats || elapsed_ms >= 2 * REPEAT_PAUSE_MS => {
                written.repeats = 0
            }
            Progress::Refused | Progress::Done if written.repeats < REPEATS_MAX => written.repeats += 1,
            Progress::Refused | Progress::Done if elapsed_ms < REPEAT_PAUSE_MS => {
                written.held = true;
                return None;
            }
            Progress::Refused | Progress::Done => {}
        }
        written.fields.merge(&said);
        written.at = now;
        written.progress = Progress::UnderWay;
        Some(write_now(slot, patch))
    }

    /// When a row that had to wait may be written, if any has to.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let held = self.written.values().filter(|written| written.held);
        held.map(|written| written.at.after_ms(REPEAT_PAUSE_MS)).min()
    }
}

/// The write that merges `patch` into the row whatever is under way: for the last word of a process.
pub(crate) fn write_now(slot: Slot, patch: Fields) -> Write<Here> {
    let write = RowWrite { table: Table::DpuState, key: slot.to_string(), op: Op::Merge(patch) };
    Write { place: Here, write }
}

fn owned<'a>((name, value): (&'a str, &Value)) -> (&'a str, Value) {
    (name, value.clone())
}
