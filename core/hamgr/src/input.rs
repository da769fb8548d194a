//! What can happen to the HA manager, and what it can ask for.

use std::collections::BTreeSet;

use reconcile::{StoreEvent, Write};
use schema::appl_db::{HaScopeConfig, HaScopeConfigKey, HaSetConfig};
use schema::chassis_state_db::DpuState;
use schema::config_db::{Dpu, HaGlobalConfig, LoopbackKey, RemoteDpu, Vdpu};
use schema::dpu_state_db::{BfdProbeState, HaScopeState};
use schema::{DpuName, HaScopeId, HaSetId, Slot, VdpuId};
use serde::{Deserialize, Serialize};

use crate::note::Note;

/// How often the heartbeat of `DASH_HA_SCOPE_STATE` is renewed unless told otherwise, in ms.
pub const HEARTBEAT_INTERVAL_MS_DEFAULT: u64 = 30_000;

/// Where a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Place {
    /// The switch itself.
    Npu,
    /// The databases of one DPU, which the switch hosts.
    Dpu(Slot),
}

/// A database that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// CONFIG_DB of the switch.
    ConfigDb,
    /// APPL_DB of the switch.
    ApplDb,
    /// CHASSIS_STATE_DB of the switch.
    ChassisStateDb,
    /// DPU_STATE_DB of one DPU.
    DpuStateDb(Slot),
}

/// What to do with a HA scope configuration that was written before the DPU's restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// Leave it unapplied until the SDN controller has written it again (P3).
    #[default]
    Controller,
    /// Apply it again at once; role activation still asks for approval.
    Autonomous,
}

/// How the HA manager is set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// What to do after a restart of a DPU.
    pub policy: RestartPolicy,
    /// The DPUs to manage; `None` is every DPU of the switch.
    pub slots: Option<BTreeSet<Slot>>,
    /// How often the heartbeat is renewed, in ms.
    pub heartbeat_interval_ms: u64,
    /// From what ids of pending operations follow. Different for every process.
    pub id_seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::default(),
            slots: None,
            heartbeat_interval_ms: HEARTBEAT_INTERVAL_MS_DEFAULT,
            id_seed: 0,
        }
    }
}

impl Config {
    /// Whether the DPU in `slot` is this process's to manage.
    pub fn manages(&self, slot: Slot) -> bool {
        self.slots.as_ref().is_none_or(|slots| slots.contains(&slot))
    }

    /// Whether no other process manages DPUs of this switch.
    pub fn manages_all(&self) -> bool {
        self.slots.is_none()
    }
}

/// Something that happened. A row is given whole as it is now; `None` is a row that is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// `CONFIG_DB DPU`.
    Dpu(DpuName, Option<Dpu>),
    /// `CONFIG_DB REMOTE_DPU`.
    RemoteDpu(DpuName, Option<RemoteDpu>),
    /// `CONFIG_DB VDPU`.
    Vdpu(VdpuId, Option<Vdpu>),
    /// `CONFIG_DB DASH_HA_GLOBAL_CONFIG`.
    GlobalConfig(Option<HaGlobalConfig>),
    /// `CONFIG_DB LOOPBACK_INTERFACE`: whether the row is there.
    Loopback(LoopbackKey, bool),
    /// `APPL_DB DASH_HA_SET_CONFIG_TABLE`.
    HaSetConfig(HaSetId, Option<HaSetConfig>),
    /// `APPL_DB DASH_HA_SCOPE_CONFIG_TABLE`.
    HaScopeConfig(HaScopeConfigKey, Option<HaScopeConfig>),
    /// `CHASSIS_STATE_DB DPU_STATE`.
    DpuState(Slot, Option<DpuState>),
    /// `DPU_STATE_DB DASH_BFD_PROBE_STATE` of the DPU.
    BfdProbe(Slot, Option<BfdProbeState>),
    /// `DPU_STATE_DB DASH_HA_SCOPE_STATE_TABLE` of the DPU.
    DpuHaScopeState(Slot, HaScopeId, Option<HaScopeState>),
    /// Every row of the database that is read has been given.
    Synced(Source),
    /// The database cannot be read at present; [`Input::Synced`] follows once it was read whole again.
    Unsynced(Source),
    /// A database that is written reports.
    Store(StoreEvent<Place>),
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Write a row. Doing it twice is doing it once.
    Write(Write<Place>),
    /// Tell the operator of a transition. Doing it twice is a line too many.
    Note(Note),
}
