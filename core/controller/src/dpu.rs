//! What the controller remembers of one DPU while it runs.

use std::collections::BTreeSet;

use reconcile::{IdSource, Time};
use schema::OperationId;
use serde::{Deserialize, Serialize};

use crate::effect::Withheld;
use crate::fleet::Timing;
use crate::record::{DpuRecord, Life};

/// Doublings after which the longest wait is surely reached.
const DOUBLINGS_MAX: u32 = 32;

/// One DPU: its record, and timers that a restart of the controller may lose.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dpu {
    /// What is decided; `None` until the DPU was looked at for the first time.
    pub record: Option<DpuRecord>,
    /// What is durable.
    pub stored: Option<DpuRecord>,
    /// What is on its way to the store.
    pub persisting: Option<DpuRecord>,
    /// How often the store has failed in a row, and when to try again.
    pub persist_failures: u32,
    pub persist_at: Option<Time>,
    /// Since when the DPU is down.
    pub down_since: Option<Time>,
    /// Since when it is ready, in which life.
    pub ready_since: Option<(Time, Life)>,
    /// Since when a row that should appear or go has not.
    pub verify_since: Option<Time>,
    /// Since when its HA set has no decider although all is programmed.
    pub idle_since: Option<Time>,
    /// How often the procedure was begun because the last one had no result.
    pub attempts: u32,
    /// Not to be programmed before.
    pub not_before: Option<Time>,
    /// The reset that was cleared last.
    pub cleared: Option<Cleared>,
    /// The reset that is being cleared.
    pub clearing: Option<Life>,
    /// Pending operations that were reported as withheld.
    pub withheld: BTreeSet<(OperationId, Withheld)>,
    /// When to look again, and why.
    pub deadline: Option<(Time, Wait)>,
}

/// What came of clearing a reset.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cleared {
    /// Whose reset.
    pub life: Life,
    /// Whether the switch took the write.
    pub is_done: bool,
    /// How often it was written.
    pub tries: u32,
    /// Not to be written again before.
    pub again_at: Time,
}

/// What a DPU waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wait {
    /// The end of the down debounce.
    DownDebounce,
    /// The end of the up debounce.
    UpDebounce,
    /// A HA scope to be reported.
    StateToAppear,
    /// Rows to go.
    RowsToGo,
    /// The HA set to find a decider by itself.
    Placement,
    /// The reset latch to be lowered again, if it still is raised.
    LatchToLower,
    /// Its turn, after many steps at once.
    Turn,
}

impl Wait {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::DownDebounce => "a DPU is down",
            Self::UpDebounce => "a DPU is up",
            Self::StateToAppear => "a HA scope is not reported",
            Self::RowsToGo => "rows are still there",
            Self::Placement => "a HA set has no decider",
            Self::LatchToLower => "a reset latch is raised",
            Self::Turn => "many steps at once",
        }
    }
}

impl Dpu {
    /// Whether all that was decided is durable, so that it may be acted upon.
    pub(crate) fn is_settled(&self) -> bool {
        self.record.is_some() && self.record == self.stored && self.persisting.is_none()
    }

    /// Asks to be looked at again. The earliest wish counts.
    pub(crate) fn wake_at(&mut self, at: Time, why: Wait) {
        if self.deadline.as_ref().is_none_or(|(earliest, _)| at < *earliest) {
            self.deadline = Some((at, why));
        }
    }

    /// Forgets since when anything was seen: what is unknown has not lasted.
    pub(crate) fn forget_timers(&mut self) {
        self.down_since = None;
        self.ready_since = None;
        self.verify_since = None;
        self.idle_since = None;
    }
}

/// The wait before the n-th try: doubles from the shortest to the longest, plus up to half of it at random so
/// that DPUs which fail together do not try together.
pub(crate) fn backoff_ms(timing: &Timing, tries_before: u32, ids: &mut IdSource) -> u64 {
    let doubled = timing.retry_ms_min.saturating_mul(1 << tries_before.min(DOUBLINGS_MAX));
    let wait = doubled.min(timing.retry_ms_max);
    wait + ids.next_u64() % (wait / 2 + 1)
}
