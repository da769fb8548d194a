//! What can happen to the controller.

use reconcile::StoreEvent;
use schema::appl_db::HaScopeConfigKey;
use schema::chassis_state_db::DpuState;
use schema::state_db::{DpuResetInfo, HaScopeState};
use schema::{Db, Slot};
use serde::{Deserialize, Serialize};

use crate::fleet::{Fleet, SwitchName};
use crate::record::DpuRecord;

/// A row of a table that the controller reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reported<R> {
    /// It is there.
    Present(Box<R>),
    /// It is there and cannot be understood, so what it would say is unknown.
    Unreadable,
    /// It is not there.
    Absent,
}

/// What can happen. Given twice, each is as given once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// The intent, at start and whenever it changes. Replaces the one before.
    Fleet(Fleet),
    /// All records of the durable store, once at start. Nothing is decided before.
    Records(Vec<DpuRecord>),
    /// A [`crate::Effect::Persist`] was carried out, or failed.
    Persisted {
        /// The record as given.
        record: DpuRecord,
        /// Whether it is durable now.
        ok: bool,
    },
    /// All rows of the tables read in this database have been reported.
    Synced {
        /// The switch.
        switch: SwitchName,
        /// `CHASSIS_STATE_DB` or `STATE_DB`.
        db: Db,
    },
    /// The database cannot be read: what its rows say is unknown until it is synced again.
    Unsynced {
        /// The switch.
        switch: SwitchName,
        /// `CHASSIS_STATE_DB` or `STATE_DB`.
        db: Db,
    },
    /// A `DPU_STATE` row.
    DpuState {
        /// The switch.
        switch: SwitchName,
        /// The DPU.
        slot: Slot,
        /// The row.
        row: Reported<DpuState>,
    },
    /// A `DPU_RESET_INFO` row.
    ResetInfo {
        /// The switch.
        switch: SwitchName,
        /// The DPU.
        slot: Slot,
        /// The row.
        row: Reported<DpuResetInfo>,
    },
    /// A `DASH_HA_SCOPE_STATE` row.
    ScopeState {
        /// The switch.
        switch: SwitchName,
        /// vDPU and scope.
        key: HaScopeConfigKey,
        /// The row.
        row: Reported<HaScopeState>,
    },
    /// A store that the controller writes reports: `APPL_DB` with the two configuration tables, and `STATE_DB`
    /// with `DPU_RESET_INFO`.
    Store(StoreEvent<SwitchName>),
}
