//! What the controller must not forget: the durable record of a DPU.

use std::collections::BTreeMap;

use schema::state_db::DpuResetInfo;
use schema::{DesiredHaState, HaSetId, OperationId, VdpuId, WallMs};
use serde::{Deserialize, Serialize};

use crate::fleet::DpuId;

/// The most operations of one HA scope that are remembered as handled; the oldest go first.
const HANDLED_MAX: usize = 64;

/// Where a DPU stands in the restart procedure (`reference/controller.md` 4.2).
///
/// ```text
///            down for down_debounce_ms, new incarnation, configuration missing
///   Steady ------------------------------------------------------------------> DeletingScopes
///     ^                                                                              | rows and states gone
///     | every scope serves                                                     DeletingSets
///     |                                                                              | rows gone
///   Activating <- ProgrammingScopes <- ProgrammingSets <--------------------- WaitingUp
///                 rows confirmed       rows confirmed     up for up_debounce_ms
/// ```
///
/// From the three on the lower left a DPU that goes down, or has a new incarnation, goes to `DeletingScopes` again.
/// The down debounce is no phase: until it ends nothing has been done that would need to be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Programmed for its present life. Configuration is kept as intended, operations are approved.
    Steady,
    /// Its HA scope configurations are deleted, until hamgrd has removed their states.
    DeletingScopes,
    /// Its HA set configurations are deleted on its switch, unless another HA scope there needs them.
    DeletingSets,
    /// Nothing is configured; waits for midplane and control plane.
    WaitingUp,
    /// Its HA set configurations are written.
    ProgrammingSets,
    /// Its HA scope configurations are written, roles chosen.
    ProgrammingScopes,
    /// Waits for the HA scopes to report and serve; operations are approved.
    Activating,
}

impl Phase {
    /// Whether HA scope configurations are wanted in this phase.
    pub const fn wants_scopes(self) -> bool {
        match self {
            Self::Steady | Self::ProgrammingScopes | Self::Activating => true,
            Self::DeletingScopes | Self::DeletingSets | Self::WaitingUp | Self::ProgrammingSets => false,
        }
    }

    /// The name in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::DeletingScopes => "deleting scopes",
            Self::DeletingSets => "deleting sets",
            Self::WaitingUp => "waiting for up",
            Self::ProgrammingSets => "programming sets",
            Self::ProgrammingScopes => "programming scopes",
            Self::Activating => "activating",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which life of a DPU something belongs to, as `DPU_RESET_INFO` tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// The incarnation, where hamgrd publishes one.
    pub incarnation: Option<u64>,
    /// When the last reset was noticed: all that SONiC's hamgrd has.
    pub timestamp_ms: Option<WallMs>,
}

impl Life {
    /// The present life.
    pub fn of(reset: Option<&DpuResetInfo>) -> Self {
        reset.map_or_else(Self::default, |reset| Self {
            incarnation: reset.incarnation,
            timestamp_ms: reset.timestamp_ms,
        })
    }

    /// Whether the DPU has restarted since this life.
    ///
    /// Incarnations are compared for difference, not for order: a switch whose clock was set back while it lost
    /// its database may well hand out a smaller one. The first incarnation ever seen is a restart only if the
    /// reset latch says so.
    pub fn is_over(&self, reset: &DpuResetInfo) -> bool {
        match (self.incarnation, reset.incarnation) {
            (Some(programmed), Some(present)) => programmed != present,
            (None, Some(_)) => reset.reset_status && reset.timestamp_ms > self.timestamp_ms,
            (_, None) => reset.reset_status && reset.timestamp_ms > self.timestamp_ms,
        }
    }
}

/// What was decided on a pending operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Approved; it does not make the DPU decide flows.
    Approved,
    /// Approved; it makes the DPU active or standalone.
    ApprovedToDecide,
    /// Not approved, and done with: the split brain it spoke of was left by yielding.
    Settled,
}

/// A pending operation that was decided on. No id is decided on twice (P9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handled {
    /// The operation.
    pub id: OperationId,
    /// The decision.
    pub verdict: Verdict,
}

/// What the controller has instructed for one HA scope. Its configuration row is a function of this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeRecord {
    /// Version of the row.
    pub version: u32,
    /// The state wanted.
    pub desired: DesiredHaState,
    /// The approvals in the row, oldest first.
    pub approvals: Vec<OperationId>,
    /// Operations of this life that were decided on, oldest first.
    pub handled: Vec<Handled>,
    /// Whether it is dead for a moment so that a split brain ends.
    pub yielding: bool,
}

impl ScopeRecord {
    /// A HA scope without a history.
    pub fn new(version: u32, desired: DesiredHaState) -> Self {
        Self { version, desired, approvals: Vec::new(), handled: Vec::new(), yielding: false }
    }

    /// Whether the operation was decided on before.
    pub fn has_handled(&self, id: &OperationId) -> bool {
        self.handled.iter().any(|handled| handled.id == *id)
    }

    /// Whether it was approved to be active or standalone in this life.
    pub fn may_decide_by_approval(&self) -> bool {
        self.handled.iter().any(|handled| handled.verdict == Verdict::ApprovedToDecide)
    }

    pub(crate) fn handle(&mut self, id: OperationId, verdict: Verdict) {
        self.handled.push(Handled { id, verdict });
        let surplus = self.handled.len().saturating_sub(HANDLED_MAX);
        self.handled.drain(..surplus);
    }
}

/// What must outlive the controller about one DPU. Stored before anything it covers is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DpuRecord {
    /// The DPU.
    pub dpu: DpuId,
    /// The vDPU that it is. A record of another vDPU says nothing.
    pub vdpu: VdpuId,
    /// Where the procedure stands.
    pub phase: Phase,
    /// How many times the procedure was begun.
    pub epoch: u64,
    /// The life that is, or is being, programmed. Without meaning before [`Phase::ProgrammingSets`].
    pub life: Life,
    /// Its HA scopes, by HA set.
    pub scopes: BTreeMap<HaSetId, ScopeRecord>,
}
