//! What can happen to the agent, and what it can ask for.

use std::collections::BTreeSet;
use std::fmt;

use reconcile::{StoreEvent, Write};
use schema::dpu_appl_db::{BfdKey, BfdSession, HaScope, HaSet};
use schema::{AsicHaRole, AsicHaState, HaScopeId, HaSetId, LinkState, OperationType, Table};
use serde::{Deserialize, Serialize};

use crate::asic::{AsicAnswer, AsicCall, AsicEvent, AsicOp, SaiStatus};

/// Where a database is, as seen from the DPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Place {
    /// On the DPU itself: its own `STATE_DB`, which dies with it.
    Local,
    /// On the NPU: `DPU_STATE_DB` and `DPU_APPL_STATE_DB`.
    Remote,
}

/// What can happen. Rows are given whole; `None` is a row that is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A row of `DASH_HA_SET_TABLE`.
    HaSet(HaSetId, Option<HaSet>),
    /// A row of `DASH_HA_SCOPE_TABLE`.
    HaScope(HaScopeId, Option<HaScope>),
    /// A row of `BFD_SESSION_TABLE`.
    BfdSession(BfdKey, Option<BfdSession>),
    /// A row of `DPU_APPL_DB` that is there and cannot be understood. The last good one stays in force.
    Refused {
        /// The table.
        table: Table,
        /// The key within the table.
        key: String,
    },
    /// All rows of `DPU_APPL_DB` have been given.
    Synced,
    /// The connection to `DPU_APPL_DB` is lost. Rows stay in force.
    Unsynced,
    /// The sessions of `BFD_SOFTWARE_SESSION_TABLE` that the BFD backend has and that may still draw traffic: all of them, as of
    /// now. A session that is not among them is either unknown to it or its peer was told that it is down. Who runs no
    /// backend that speaks never gives this, and then nothing waits for it.
    BfdOpen(BTreeSet<BfdKey>),
    /// The answer to [`Effect::Asic`].
    Answer(AsicAnswer),
    /// A notification of the ASIC.
    Event(AsicEvent),
    /// A report of a store.
    Store(StoreEvent<Place>),
}

/// What the agent asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Write a row. Doing it twice is doing it once.
    Write(Write<Place>),
    /// Call the ASIC and give the answer back. Not to be done twice.
    Asic(AsicCall),
    /// Tell the operator. Nothing depends on it.
    Note(Note),
}

/// Something that an operator may want to read in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Note {
    /// Everything has been read once, and what follows from it asked for. Said once.
    Ready,
    /// A HA scope's published state or role changed.
    ScopeState {
        /// The HA scope.
        scope: HaScopeId,
        /// Role and state before.
        from: (AsicHaRole, AsicHaState),
        /// Role and state now.
        to: (AsicHaRole, AsicHaState),
        /// The flow version.
        term: Option<u32>,
    },
    /// A HA set's channel to the peer DPU changed.
    Channel {
        /// The HA set.
        set: HaSetId,
        /// What it is now.
        state: LinkState,
    },
    /// The ASIC waits for an approval.
    Pending {
        /// The HA scope.
        scope: HaScopeId,
        /// What is to be approved.
        what: OperationType,
    },
    /// An approval was carried out.
    Approved {
        /// The HA scope.
        scope: HaScopeId,
        /// What was approved.
        what: OperationType,
    },
    /// A SAI call failed and will be repeated.
    SaiFailed {
        /// The call.
        op: AsicOp,
        /// Why.
        status: SaiStatus,
        /// When it is repeated, ms.
        retry_ms: u64,
    },
    /// The BFD backend did not say in time that the peers of these sessions were told; what waited for that goes on.
    BfdNotClosed {
        /// Keys of `BFD_SOFTWARE_SESSION_TABLE`.
        sessions: Vec<String>,
    },
    /// An event for an object that we do not have (any more).
    UnknownObject(AsicEvent),
    /// A HA set's row lacks an address that the ASIC needs, or names no scope that exists.
    Unusable {
        /// The HA set.
        set: HaSetId,
        /// What is wrong with it.
        why: String,
    },
}

impl Note {
    /// Whether an operator should look.
    pub const fn is_warning(&self) -> bool {
        match self {
            Self::SaiFailed { .. } | Self::Unusable { .. } | Self::BfdNotClosed { .. } => true,
            Self::Ready
            | Self::ScopeState { .. }
            | Self::Channel { .. }
            | Self::Pending { .. }
            | Self::Approved { .. }
            | Self::UnknownObject(_) => false,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => write!(f, "every database of the DPU is read"),
            Self::ScopeState { scope, from, to, term } => {
                write!(f, "HA scope {scope}: {} (role {}) -> {} (role {})", from.1, from.0, to.1, to.0)?;
                term.map_or(Ok(()), |term| write!(f, ", term {term}"))
            }
            Self::Channel { set, state } => write!(f, "HA set {set}: channel to the peer DPU is {state}"),
            Self::Pending { scope, what } => write!(f, "HA scope {scope}: {what} waits for approval"),
            Self::Approved { scope, what } => write!(f, "HA scope {scope}: {what} approved and carried out"),
            Self::SaiFailed { op, status, retry_ms } => {
                write!(f, "the ASIC refuses {op:?}: {status}; again in {retry_ms} ms")
            }
            Self::BfdNotClosed { sessions } => {
                write!(f, "BFD sessions not closed in time, going down without: {}", sessions.join(", "))
            }
            Self::UnknownObject(event) => write!(f, "event for an object that is not ours: {event:?}"),
            Self::Unusable { set, why } => write!(f, "HA set {set} cannot be programmed: {why}"),
        }
    }
}
