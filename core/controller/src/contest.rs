//! Rows that somebody else writes, too: a second controller that ought not to be there, or a stranger. Whoever undoes
//! what we write provokes us to write it again, and we him: without waits, two controllers write as fast as the switch
//! reads. What is undone now and then is written again at once; what is undone again and again, less and less often.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{IdSource, Op, RowId, Time, Write, as_pairs};
use serde::{Deserialize, Serialize};

use crate::dpu::backoff_ms;
use crate::fleet::{SwitchName, Timing};
use crate::plan::SwitchPlan;

/// How often in a row a write is repeated at once.
const FREE: u32 = 3;

/// What was written last to each row, and which rows have to wait.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Contest {
    #[serde(with = "as_pairs")]
    written: BTreeMap<RowId<SwitchName>, Written>,
    /// Not to be written again before.
    #[serde(with = "as_pairs")]
    waiting: BTreeMap<RowId<SwitchName>, Time>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Written {
    op: Op,
    /// How often it was undone.
    undone: u32,
    /// Written again later than this, it counts as written for the first time.
    forgotten_at: Time,
}

impl Contest {
    /// Notes a write. Returns whether it is the one with which a contest begins.
    pub(crate) fn note(
        &mut self,
        now: Time,
        write: &Write<SwitchName>,
        timing: &Timing,
        ids: &mut IdSource,
    ) -> bool {
        let Write { place, write } = write;
        let row = RowId { place: place.clone(), table: write.table, key: write.key.clone() };
        let before = self.written.get(&row).filter(|last| last.op == write.op && now < last.forgotten_at);
        let undone = before.map_or(0, |last| last.undone.saturating_add(1));
        let again_at = undone.checked_sub(FREE).map(|tries| now.after_ms(backoff_ms(timing, tries, ids)));
        let forgotten_at = again_at.unwrap_or(now).after_ms(timing.retry_ms_max);
        match again_at {
            Some(at) => self.waiting.insert(row.clone(), at),
            None => self.waiting.remove(&row),
        };
        self.written.insert(row, Written { op: write.op.clone(), undone, forgotten_at });
        undone == FREE
    }

    /// Takes out of a plan what has to wait: what was undone. Anything else for that row is new, and does not wait.
    pub(crate) fn hold_back(&self, switch: &SwitchName, plan: &mut SwitchPlan) {
        for row in self.waiting.keys().filter(|row| row.place == *switch) {
            match self.written.get(row).map(|last| &last.op) {
                Some(Op::Set(fields)) if plan.wanted.get(row) == Some(fields) => plan.wanted.leave(row),
                Some(Op::Del) if plan.wanted.get(row).is_none() => {
                    plan.removable.remove(row);
                }
                Some(Op::Set(_) | Op::Merge(_) | Op::Del) | None => {}
            }
        }
    }

    /// The switches of rows that have waited long enough.
    pub(crate) fn due(&mut self, now: Time) -> BTreeSet<SwitchName> {
        let is_due = |at: &Time| *at <= now;
        let due =
            self.waiting.iter().filter(|(_, at)| is_due(at)).map(|(row, _)| row.place.clone()).collect();
        self.waiting.retain(|_, at| !is_due(at));
        due
    }

    /// When the next row has waited long enough.
    pub(crate) fn next_at(&self) -> Option<Time> {
        self.waiting.values().min().copied()
    }

    /// What a switch refused, or may have lost with its connection, was not undone by anybody.
    pub(crate) fn forget(&mut self, is_it: impl Fn(&RowId<SwitchName>) -> bool) {
        self.written.retain(|row, _| !is_it(row));
        self.waiting.retain(|row, _| !is_it(row));
    }
}
