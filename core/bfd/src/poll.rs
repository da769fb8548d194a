//! The Poll Sequence (RFC 5880 6.5): asking until the peer has answered.

use serde::{Deserialize, Serialize};

/// How far a Poll Sequence is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Poll {
    /// There is nothing to ask.
    #[default]
    Idle,
    /// The next packet will ask.
    Wanted,
    /// The peer was asked.
    Asked,
    /// The peer was asked, and then the parameters changed again: its answer may be to the older ones, so another
    /// sequence follows.
    AskedOutdated,
}

impl Poll {
    /// Whether packets carry the P bit.
    pub(crate) fn asks(self) -> bool {
        self != Poll::Idle
    }

    /// "If either bfd.DesiredMinTxInterval is changed or bfd.RequiredMinRxInterval is changed, a Poll Sequence MUST be
    /// initiated" (RFC 5880 6.8.3).
    pub(crate) fn start(&mut self) {
        *self = match *self {
            Poll::Idle | Poll::Wanted => Poll::Wanted,
            Poll::Asked | Poll::AskedOutdated => Poll::AskedOutdated,
        }
    }

    /// A packet with the P bit went out.
    pub(crate) fn asked(&mut self) {
        *self = match *self {
            Poll::Idle => Poll::Idle,
            Poll::Wanted | Poll::Asked => Poll::Asked,
            Poll::AskedOutdated => Poll::AskedOutdated,
        }
    }

    /// "If a Poll Sequence is being transmitted by the local system and the Final (F) bit in the received packet is
    /// set, the Poll Sequence MUST be terminated" (RFC 5880 6.8.6). Says whether that ended it; an answer that nobody
    /// asked for does nothing.
    pub(crate) fn answered(&mut self) -> bool {
        let before = *self;
        *self = match before {
            Poll::Idle | Poll::Asked => Poll::Idle,
            Poll::Wanted | Poll::AskedOutdated => Poll::Wanted,
        };
        before == Poll::Asked
    }
}
