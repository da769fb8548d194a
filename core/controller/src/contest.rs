//! Rows that somebody else writes, too: a second controller that ought not to be there, or a stranger. Whoever undoes
//! what we write provokes us to write it again, and we him: without waits, two controllers write as fast as the switch
//! reads. What is undone now and then is written again at once; what is undone again and again, less and less often.

use std::collections::BTreeMap;

use reconcile::{IdSource, Op, RowId, Time, Write, as_pairs};
use serde::{Deserialize, Serialize};

use crate::dpu::backoff_ms;
use crate::fleet::{SwitchName, Timing};
use crate::plan::SwitchPlan;

/// How often in a row a write is repeated at once.
const FREE: u32 = 3;

/// What was written last to each row, and whether that was undone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Contest {
    #[serde(with = "as_pairs")]
    rows: BTreeMap<RowId<SwitchName>, Written>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Written {
    op: Op,
    /// How often it was undone.
    undone: u32,
    /// Written again later than this, it counts as written for the first time.
    forgotten_at: Time,
    /// Not to be written again before.
    again_at: Option<Time>,
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
        let before = self.rows.get(&row).filter(|row| row.op == write.op && now < row.forgotten_at);
        let undone = before.map_or(0, |row| row.undone.saturating_add(1));
        let again_at = undone.checked_sub(FREE).map(|tries| now.after_ms(backoff_ms(timing, tries, ids)));
        let forgotten_at = again_at.unwrap_or(now).after_ms(timing.retry_ms_max);
        self.rows.insert(row, Written { op: write.op.clone(), undone, forgotten_at, again_at });
        undone == FREE
    }

    /// Takes out of a plan what has to wait.
    pub(crate) fn hold_back(&self, now: Time, switch: &SwitchName, plan: &mut SwitchPlan) {
        for (row, written) in self.rows.iter().filter(|(row, _)| row.place == *switch) {
            if written.again_at.is_some_and(|at| now < at) {
                plan.wanted.leave(row);
                plan.removable.remove(row);
            }
        }
    }

    /// The switches of rows that have waited long enough.
    pub(crate) fn due(&mut self, now: Time) -> impl Iterator<Item = SwitchName> {
        let due = self.rows.iter_mut().filter_map(move |(row, written)| {
            written.again_at.take_if(|at| *at <= now).map(|_| row.place.clone())
        });
        due.collect::<Vec<_>>().into_iter()
    }

    /// When the next row has waited long enough.
    pub(crate) fn next_at(&self) -> Option<Time> {
        self.rows.values().filter_map(|written| written.again_at).min()
    }

    /// What a switch refused, or may have lost with its connection, was not undone by anybody.
    pub(crate) fn forget(&mut self, is_it: impl Fn(&RowId<SwitchName>) -> bool) {
        self.rows.retain(|row, _| !is_it(row));
    }
}
