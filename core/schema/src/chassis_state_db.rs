//! `CHASSIS_STATE_DB`: the health of the DPUs (`reference/pmon.md` 1).

use crate::{LinkState, PmonTime, RecoveryStatus, Slot};

row! {
    /// Health of a DPU. Two writers share the row: pmon on the NPU and pmon on the DPU, each with its own
    /// fields, so both merge and neither replaces. An absent plane is unknown.
    DpuState = DpuState, key Slot, forgives &[
        "id",
        "dpu_midplane_link_reason",
        "dpu_midplane_link_time",
        "dpu_control_plane_reason",
        "dpu_control_plane_time",
        "dpu_data_plane_state",
        "dpu_data_plane_reason",
        "dpu_data_plane_time",
        "ready_status",
        "recovery_status",
        "reset_count",
        "last_down_time",
        "last_ready_time",
        "boot_id",
    ];
    /// The DPU's number, where written.
    id: Option<Slot> = optional "id";
    /// Reachability over the midplane; the NPU's.
    midplane_link_state: Option<LinkState> = plane "dpu_midplane_link_state";
    /// Why the midplane is down.
    midplane_link_reason: Option<String> = optional "dpu_midplane_link_reason";
    /// When the midplane state was written.
    midplane_link_time: Option<PmonTime> = optional "dpu_midplane_link_time";
    /// Readiness of the DPU's services; the DPU's, forced down by the NPU with the midplane.
    control_plane_state: Option<LinkState> = plane "dpu_control_plane_state";
    /// Why the control plane is down.
    control_plane_reason: Option<String> = optional "dpu_control_plane_reason";
    /// When the DPU wrote its control-plane state. A forced down leaves it.
    control_plane_time: Option<PmonTime> = optional "dpu_control_plane_time";
    /// State of the DPU's ports; the DPU's, forced down by the NPU with the midplane.
    data_plane_state: Option<LinkState> = plane "dpu_data_plane_state";
    /// Why the data plane is down.
    data_plane_reason: Option<String> = optional "dpu_data_plane_reason";
    /// When the DPU wrote its data-plane state. A forced down leaves it.
    data_plane_time: Option<PmonTime> = optional "dpu_data_plane_time";
    /// Whether all three planes are up, as the NPU tracks it.
    ready_status: Option<bool> = optional "ready_status";
    /// Whether auto-recovery has given up.
    recovery_status: Option<RecoveryStatus> = optional "recovery_status";
    /// Power cycles since pmon started on the NPU.
    reset_count: Option<u32> = optional "reset_count";
    /// When the DPU last stopped being ready.
    last_down_time: Option<PmonTime> = optional "last_down_time";
    /// When the DPU last became ready.
    last_ready_time: Option<PmonTime> = optional "last_ready_time";
    /// The kernel's boot id of the DPU's present life (`reference/pmon.md` 1.8).
    boot_id: Option<String> = optional "boot_id";
}

/// What midplane and control plane together say of a DPU. The data plane does not count (DESIGN 3, step 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DpuHealth {
    /// Both are up.
    Up,
    /// At least one is down.
    Down,
    /// Neither of the above: nobody may act on it.
    Unknown,
}

impl DpuState {
    /// The health that the row tells.
    pub fn health(&self) -> DpuHealth {
        match (self.midplane_link_state, self.control_plane_state) {
            (Some(LinkState::Down), _) | (_, Some(LinkState::Down)) => DpuHealth::Down,
            (Some(LinkState::Up), Some(LinkState::Up)) => DpuHealth::Up,
            (None, _) | (_, None) => DpuHealth::Unknown,
        }
    }
}
