//! `DASH_HA_SCOPE_STATE`: a HA scope as the SDN controller reads it (`reference/hamgrd.md` 2.4, DPU-driven).

use schema::appl_db::{HaScopeConfig, HaSetConfig};
use schema::chassis_state_db::{DpuHealth, DpuState};
use schema::dpu_appl_db::HaSet;
use schema::dpu_state_db::{BfdProbeState, HaScopeState as DpuHaScopeState};
use schema::state_db::HaScopeState;
use schema::{PmonTime, WallMs};
use serde::{Deserialize, Serialize};

use crate::pending::{self, PendingOperation};

/// Why a state changed, in DPU-driven HA.
const REASON: &str = "dpu initiated";

/// What the row holds that follows from nothing else. Read back from the row after a restart of hamgrd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScopeMemory {
    /// When the row was first written.
    pub created: WallMs,
    /// When hamgrd last said that it is alive.
    pub heartbeat: WallMs,
    pub pending: Vec<PendingOperation>,
    /// When that list last changed.
    pub pending_changed: Option<WallMs>,
    /// `pending` is what an earlier hamgrd listed, and the DPU was not looked at since.
    pub is_found: bool,
}

impl ScopeMemory {
    /// Of a row that is about to be written for the first time.
    pub(crate) fn new(wall: WallMs) -> Self {
        Self { created: wall, heartbeat: wall, pending: Vec::new(), pending_changed: None, is_found: false }
    }

    /// Of a row that an earlier hamgrd wrote. SONiC's writes a creation time of 0.
    pub(crate) fn read_back(row: &HaScopeState, wall: WallMs) -> Self {
        let created = row.creation_time_ms.filter(|time| time.0 > 0);
        Self {
            created: created.unwrap_or(wall),
            heartbeat: wall,
            pending: pending::read_back(row),
            pending_changed: row.pending_operation_list_time_ms,
            is_found: true,
        }
    }

    /// Replaces the list of pending operations; whether that is a change.
    pub(crate) fn set_pending(&mut self, pending: Vec<PendingOperation>, wall: WallMs) -> bool {
        if self.pending == pending {
            return false;
        }
        self.pending = pending;
        self.pending_changed = Some(wall);
        true
    }
}

/// All that the row is derived from.
pub(crate) struct Report<'a> {
    pub config: &'a HaScopeConfig,
    pub ha_set_config: Option<&'a HaSetConfig>,
    /// The HA set's row as the DPU has it, or will have it.
    pub ha_set: Option<HaSet>,
    pub health: DpuHealth,
    pub dpu_state: Option<&'a DpuState>,
    pub bfd: Option<&'a BfdProbeState>,
    /// The DPU's own report, where it is known to be of this life.
    pub state: Option<&'a DpuHaScopeState>,
    pub incarnation: Option<u64>,
    pub memory: &'a ScopeMemory,
}

/// The row.
pub(crate) fn row(report: &Report<'_>) -> HaScopeState {
    let Report { config, ha_set_config, ha_set, health, dpu_state, bfd, state, incarnation, memory } = report;
    // A DPU that is down has no sessions: they were withdrawn with it.
    let bfd = match health {
        DpuHealth::Down => None,
        DpuHealth::Up | DpuHealth::Unknown => *bfd,
    };
    let ha_state = state.and_then(|state| state.ha_state);
    let term = state.and_then(|state| state.ha_term);
    let wall = |time: Option<PmonTime>| time.map(PmonTime::wall);
    HaScopeState {
        version: Some(config.version.clone()),
        creation_time_ms: Some(memory.created),
        last_heartbeat_time_ms: Some(memory.heartbeat),
        vip_v4: ha_set_config.and_then(|set| set.vip_v4),
        vip_v6: ha_set_config.and_then(|set| set.vip_v6),
        local_ip: ha_set.as_ref().and_then(|set| set.local_ip),
        peer_ip: ha_set.as_ref().and_then(|set| set.peer_ip),
        local_vdpu_midplane_state: dpu_state.and_then(|dpu| dpu.midplane_link_state),
        local_vdpu_midplane_state_time_ms: wall(dpu_state.and_then(|dpu| dpu.midplane_link_time)),
        local_vdpu_control_plane_state: dpu_state.and_then(|dpu| dpu.control_plane_state),
        local_vdpu_control_plane_state_time_ms: wall(dpu_state.and_then(|dpu| dpu.control_plane_time)),
        local_vdpu_data_plane_state: dpu_state.and_then(|dpu| dpu.data_plane_state),
        local_vdpu_data_plane_state_time_ms: wall(dpu_state.and_then(|dpu| dpu.data_plane_time)),
        local_vdpu_up_bfd_sessions_v4: bfd.map(|bfd| bfd.v4_bfd_up_sessions.clone()).unwrap_or_default(),
        local_vdpu_up_bfd_sessions_v4_time_ms: wall(bfd.and_then(|bfd| bfd.v4_bfd_up_sessions_timestamp)),
        local_vdpu_up_bfd_sessions_v6: bfd.map(|bfd| bfd.v6_bfd_up_sessions.clone()).unwrap_or_default(),
        local_vdpu_up_bfd_sessions_v6_time_ms: wall(bfd.and_then(|bfd| bfd.v6_bfd_up_sessions_timestamp)),
        local_ha_state: ha_state,
        local_ha_state_time_ms: state
            .and_then(|state| state.ha_state_start_time_s)
            .map(WallMs::from_seconds_or_ms),
        local_ha_state_reason: ha_state.map(|_| REASON.to_owned()),
        local_target_asic_ha_state: Some(config.desired_ha_state),
        local_acked_asic_ha_state: ha_state,
        local_target_term: term,
        local_acked_term: term,
        pending_operation_ids: memory.pending.iter().map(|operation| operation.id.clone()).collect(),
        pending_operation_types: memory.pending.iter().map(|operation| operation.kind).collect(),
        pending_operation_list_time_ms: memory.pending_changed,
        incarnation: *incarnation,
    }
}
