//! The SAI calls for one object: at most one is under way, and a failed one waits before it is repeated.

use reconcile::Time;
use serde::{Deserialize, Serialize};

use crate::asic::{AsicCall, AsicOp, CallId};

/// The first pause before a failed call is repeated, ms. It doubles with each failure.
pub(crate) const RETRY_MS_MIN: u64 = 1_000;

/// The longest pause before a failed call is repeated, ms.
pub(crate) const RETRY_MS_MAX: u64 = 30_000;

/// The calls for one object: at most one is under way, and a failed one waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calls {
    under_way: Option<AsicCall>,
    retry: Option<Retry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Retry {
    op: AsicOp,
    at: Time,
    delay_ms: u64,
    /// It may be tried now; kept so that the next failure doubles the delay.
    is_due: bool,
}

impl Calls {
    pub(crate) fn is_free(&self) -> bool {
        self.under_way.is_none() && self.retry.as_ref().is_none_or(|retry| retry.is_due)
    }

    pub(crate) fn under_way(&self) -> Option<&AsicOp> {
        self.under_way.as_ref().map(|call| &call.op)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.retry.is_some()
    }

    pub(crate) fn start(&mut self, call: AsicCall) {
        self.under_way = Some(call);
    }

    /// Takes the call out that the answer is for.
    pub(crate) fn answered(&mut self, id: CallId) -> Option<AsicOp> {
        self.under_way.take_if(|call| call.id == id).map(|call| call.op)
    }

    /// Returns the pause before the next try.
    pub(crate) fn failed(&mut self, now: Time, op: AsicOp) -> u64 {
        let delay_ms =
            self.retry.as_ref().map_or(RETRY_MS_MIN, |retry| (retry.delay_ms * 2).min(RETRY_MS_MAX));
        self.retry = Some(Retry { op, at: now.after_ms(delay_ms), delay_ms, is_due: false });
        delay_ms
    }

    /// A failure of what is no longer wanted is none.
    pub(crate) fn reconsider(&mut self, wanted: Option<&AsicOp>) {
        if self.under_way.is_none() && self.retry.as_ref().is_some_and(|retry| Some(&retry.op) != wanted) {
            self.retry = None;
        }
    }

    /// Something was achieved, or something else is wanted: whatever is next is tried at once.
    pub(crate) fn forget_failure(&mut self) {
        self.retry = None;
    }

    pub(crate) fn tick(&mut self, now: Time) {
        if let Some(retry) = &mut self.retry {
            retry.is_due = retry.at <= now;
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.retry.as_ref().filter(|retry| !retry.is_due).map(|retry| retry.at)
    }
}
