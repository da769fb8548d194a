//! A pending operation and its approval, as levels.
//!
//! The ASIC raises an operation; the agent publishes it as a `*_pending` flag; hamgrd answers with a `*_requested`
//! level in the scope's row and lowers it once the flag is lowered (`contract: pending operations are levels`).
//! One approval serves one episode: a level that stood before the episode began approves nothing (P9).

use reconcile::Time;
use serde::{Deserialize, Serialize};

/// How long a new episode is kept back while the request of an earlier one still stands, so that hamgrd sees the
/// flag lowered in between, ms. Our hamgrd lowers its request within milliseconds; SONiC's only with its next
/// write, which may never come, so the wait is bounded.
pub(crate) const HOLD_MS: u64 = 2_000;

/// The request in the scope's row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Request {
    /// Not raised.
    #[default]
    Lowered,
    /// Raised, and not answered.
    Fresh,
    /// Raised for an episode that is over.
    Used,
}

/// One kind of operation of one HA scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Approval {
    pending: bool,
    hold_until: Option<Time>,
    request: Request,
}

impl Approval {
    /// A new episode begins, unless one is going on. Returns whether it does.
    pub(crate) fn raise(&mut self, now: Time) -> bool {
        if self.pending {
            return false;
        }
        self.pending = true;
        if self.request != Request::Lowered {
            self.request = Request::Used;
            self.hold_until = Some(now.after_ms(HOLD_MS));
        }
        true
    }

    /// The episode is over, approved or not.
    pub(crate) fn clear(&mut self) {
        self.pending = false;
        self.hold_until = None;
        if self.request == Request::Fresh {
            self.request = Request::Used;
        }
    }

    /// The row's request, and whether the row differs from the one before.
    pub(crate) fn request(&mut self, requested: bool, row_changed: bool) {
        if !requested {
            self.request = Request::Lowered;
            self.hold_until = None;
            return;
        }
        self.request = match self.request {
            Request::Lowered => Request::Fresh,
            // A row written again while the flag was to be seen is a new answer, as SONiC's hamgrd gives it.
            Request::Used if row_changed && self.pending && self.hold_until.is_none() => Request::Fresh,
            Request::Used => Request::Used,
            Request::Fresh => Request::Fresh,
        };
    }

    /// Time passes.
    pub(crate) fn tick(&mut self, now: Time) {
        if self.hold_until.is_some_and(|until| until <= now) {
            self.hold_until = None;
        }
    }

    /// When [`Approval::tick`] changes something.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.hold_until
    }

    /// The flag to publish.
    pub(crate) fn is_published(&self) -> bool {
        self.pending && self.hold_until.is_none()
    }

    /// Whether it is approved and to be carried out now.
    pub(crate) fn is_due(&self) -> bool {
        self.pending && self.request == Request::Fresh
    }
}
