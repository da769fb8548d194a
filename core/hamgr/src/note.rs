//! Transitions an operator wants to read of, one line each: who, from, to, cause.

use schema::appl_db::HaScopeConfigKey;
use schema::{HaSetId, OperationId, OperationType, Slot};
use serde::{Deserialize, Serialize};

use crate::incarnation::Cause;
use crate::topology::NotReady;

/// Where a HA set stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetStage {
    /// Every member resolves.
    Ready,
    /// It cannot be derived at present; rows that exist are left as they are.
    Held(NotReady),
}

/// Where a HA scope of a managed DPU stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScopeStage {
    /// Its owner is the switch (NPU-driven HA), which is not supported: nothing is programmed.
    UnsupportedOwner,
    /// Its DPU is not known to be up, or its present life is not on record yet: nothing is created.
    DpuNotUp,
    /// Its configuration is from an earlier life of the DPU and waits to be written again.
    Fenced {
        /// The life that the configuration was accepted in.
        recorded: u64,
        /// The life that the DPU is in.
        present: u64,
    },
    /// Its HA set is not configured, not ready, or not yet taken by the DPU.
    WaitsForHaSet,
    /// Its row is on the way.
    Programming,
    /// Its row is in DPU_APPL_DB as configured.
    Applied,
}

/// A transition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Note {
    /// All that must be read before anything is written has been read, for the first time.
    Ready,
    /// A DPU has a new life.
    Incarnation {
        /// The DPU.
        slot: Slot,
        /// Its life before, if any.
        from: Option<u64>,
        /// Its life now.
        to: u64,
        /// How it was noticed.
        cause: Cause,
    },
    /// A DPU became ready (midplane and control plane up) or stopped being so.
    DpuReady {
        /// The DPU.
        slot: Slot,
        /// Whether it is ready.
        ready: bool,
    },
    /// Somebody else declared a DPU's reset dealt with.
    ResetCleared {
        /// The DPU.
        slot: Slot,
    },
    /// A HA set changed its stage; `None` is a set without configuration.
    HaSet {
        /// The HA set.
        ha_set: HaSetId,
        /// The stage before.
        from: Option<SetStage>,
        /// The stage now.
        to: Option<SetStage>,
    },
    /// A HA scope changed its stage; `None` is a scope that is not configured for a DPU managed here.
    HaScope {
        /// The vDPU and the HA scope.
        key: HaScopeConfigKey,
        /// The stage before.
        from: Option<ScopeStage>,
        /// The stage now.
        to: Option<ScopeStage>,
    },
    /// A DPU asks for approval.
    OperationPending {
        /// The vDPU and the HA scope.
        key: HaScopeConfigKey,
        /// What it would do.
        kind: OperationType,
        /// The id to approve.
        id: OperationId,
    },
    /// A DPU asks no longer: it was approved, or it is moot.
    OperationGone {
        /// The vDPU and the HA scope.
        key: HaScopeConfigKey,
        /// What it would have done, or did.
        kind: OperationType,
        /// Its id.
        id: OperationId,
    },
}
