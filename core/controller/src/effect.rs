//! What the controller can ask for.

use reconcile::Write;
use schema::{DesiredHaState, HaSetId, OperationId, OperationType, Table, VdpuId};
use serde::{Deserialize, Serialize};

use crate::fleet::{DpuId, SwitchName};
use crate::record::{DpuRecord, Phase};

/// What to do. In order; each is idempotent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Make the record durable and report [`crate::Input::Persisted`]. Twice is once.
    Persist(DpuRecord),
    /// Write a row. Twice is once.
    Write(Write<SwitchName>),
    /// Tell people. Twice is a repeated log line.
    Note(Note),
}

/// Why the restart procedure begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Midplane or control plane are down for longer than the debounce.
    Down,
    /// A restart that nobody saw: the DPU has another incarnation than the one programmed.
    Restarted,
    /// A HA scope configuration is gone although it should be there.
    ConfigMissing,
    /// hamgrd does not report a HA scope although it is configured.
    StateMissing,
    /// The DPU's HA sets have changed.
    IntentChanged,
    /// It was never programmed, or not as intended.
    NotProgrammed,
}

/// Why a pending operation is not approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// The other member decides, or is instructed or approved to.
    PeerDecides,
    /// Whether the other member decides is not known.
    PeerUnknown,
    /// The HA scope shall be dead.
    ShallBeDead,
    /// The HA scope's state is none that the operation belongs to.
    OtherState,
    /// The policy leaves operations of this type to people.
    Policy,
}

/// Something that people should hear of, once each time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// The restart procedure begins, or begins anew.
    Begun {
        /// The DPU.
        dpu: DpuId,
        /// Its vDPU.
        vdpu: VdpuId,
        /// Why.
        reason: Reason,
    },
    /// The procedure goes on.
    PhaseChanged {
        /// The DPU.
        dpu: DpuId,
        /// Its vDPU.
        vdpu: VdpuId,
        /// From.
        from: Phase,
        /// To.
        to: Phase,
    },
    /// The DPU was found configured as intended and is left alone.
    Adopted {
        /// The DPU.
        dpu: DpuId,
        /// Its vDPU.
        vdpu: VdpuId,
    },
    /// The state wanted of a HA scope changes while it is configured.
    Desired {
        /// The vDPU.
        vdpu: VdpuId,
        /// The HA set.
        ha_set: HaSetId,
        /// The state wanted from now on.
        desired: DesiredHaState,
    },
    /// An operation is approved.
    Approved {
        /// The vDPU.
        vdpu: VdpuId,
        /// The HA set.
        ha_set: HaSetId,
        /// The operation.
        id: OperationId,
        /// Its type.
        operation: OperationType,
    },
    /// An operation waits, and an operator may want to look.
    Withheld {
        /// The vDPU.
        vdpu: VdpuId,
        /// The HA set.
        ha_set: HaSetId,
        /// The operation.
        id: OperationId,
        /// Its type.
        operation: OperationType,
        /// Why it waits.
        why: Withheld,
    },
    /// A phase takes longer than it should.
    Slow {
        /// The DPU.
        dpu: DpuId,
        /// Its vDPU.
        vdpu: VdpuId,
        /// The phase.
        phase: Phase,
    },
    /// The store could not make a record durable; it is tried again.
    NotPersisted {
        /// The DPU.
        dpu: DpuId,
    },
    /// A switch refused a write; it is tried again.
    Refused {
        /// The switch.
        switch: SwitchName,
    },
    /// Somebody undoes what is written to a row, again and again: it is written less and less often. There may be a
    /// second controller.
    Contested {
        /// Whose row.
        switch: SwitchName,
        /// The row's table.
        table: Table,
        /// The row's key.
        key: String,
    },
}
