//! What is known of one switch.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{Op, OwnedRow, Reconciler, RowId, StoreEvent, StoreUpdate};
use schema::appl_db::{HaScopeConfig, HaScopeConfigKey, HaSetConfig};
use schema::chassis_state_db::{DpuHealth, DpuState};
use schema::state_db::{DpuResetInfo, HaScopeState};
use schema::{Db, HaSetId, Row, Slot, Table, VdpuId};
use serde::{Deserialize, Serialize};

use crate::fleet::SwitchName;
use crate::input::Reported;

/// A row that is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Seen<R> {
    Row(Box<R>),
    Unreadable,
}

/// A configuration row as confirmed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Configured<R> {
    Absent,
    Unreadable,
    Row(R),
}

/// Copies of a switch's rows, and whether they can be relied upon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SwitchView {
    name: SwitchName,
    synced: BTreeSet<Db>,
    dpu_states: BTreeMap<Slot, Seen<DpuState>>,
    resets: BTreeMap<Slot, Seen<DpuResetInfo>>,
    #[serde(with = "reconcile::as_pairs")]
    scope_states: BTreeMap<HaScopeConfigKey, Seen<HaScopeState>>,
    store: Reconciler<SwitchName>,
}

impl SwitchView {
    pub(crate) fn new(name: SwitchName) -> Self {
        Self {
            name,
            synced: BTreeSet::new(),
            dpu_states: BTreeMap::new(),
            resets: BTreeMap::new(),
            scope_states: BTreeMap::new(),
            store: Reconciler::new(),
        }
    }

    pub(crate) fn set_synced(&mut self, db: Db, synced: bool) {
        if synced {
            self.synced.insert(db);
        } else {
            self.synced.remove(&db);
        }
    }

    pub(crate) fn set_dpu_state(&mut self, slot: Slot, row: Reported<DpuState>) {
        put(&mut self.dpu_states, slot, row);
    }

    pub(crate) fn set_reset(&mut self, slot: Slot, row: Reported<DpuResetInfo>) {
        put(&mut self.resets, slot, row);
    }

    pub(crate) fn set_scope_state(&mut self, key: HaScopeConfigKey, row: Reported<HaScopeState>) {
        put(&mut self.scope_states, key, row);
    }

    pub(crate) fn observe(&mut self, event: StoreEvent<SwitchName>) {
        self.store.observe(event);
    }

    /// Makes the store try again what the server refused: what is known is reported as if it were news.
    pub(crate) fn forgive_refusals(&mut self) {
        if !self.store.is_ready(&self.name, Db::ApplDb) {
            return;
        }
        let mut rows = Vec::new();
        for table in [Table::DashHaSetConfig, Table::DashHaScopeConfig] {
            for (row, fields) in self.store.rows_of(&self.name, table) {
                rows.push(OwnedRow { table, key: row.key.clone(), fields: fields.clone(), consumed: true });
            }
        }
        let update = StoreUpdate::Snapshot(rows);
        self.store.observe(StoreEvent { place: self.name.clone(), db: Db::ApplDb, update });
    }

    pub(crate) fn store_mut(&mut self) -> &mut Reconciler<SwitchName> {
        &mut self.store
    }

    /// Whether everything read from the switch is current. Where not, nothing of it may be relied upon.
    pub(crate) fn is_known(&self) -> bool {
        self.synced.contains(&Db::ChassisStateDb)
            && self.synced.contains(&Db::StateDb)
            && self.store.is_ready(&self.name, Db::ApplDb)
    }

    /// Whether `DPU_RESET_INFO` can be written.
    pub(crate) fn can_clear_resets(&self) -> bool {
        self.store.is_ready(&self.name, Db::StateDb)
    }

    /// What the DPU's row says; no row, or one that cannot be understood, is unknown and not down.
    pub(crate) fn health(&self, slot: Slot) -> DpuHealth {
        match self.dpu_states.get(&slot) {
            Some(Seen::Row(row)) => row.health(),
            Some(Seen::Unreadable) | None => DpuHealth::Unknown,
        }
    }

    pub(crate) fn reset(&self, slot: Slot) -> Option<&DpuResetInfo> {
        match self.resets.get(&slot) {
            Some(Seen::Row(row)) => Some(row),
            Some(Seen::Unreadable) | None => None,
        }
    }

    /// Whether the DPU may be programmed: it is up, and hamgrd has taken notice of that. Before it has, it does
    /// not know yet which life of the DPU it would program.
    pub(crate) fn is_ready(&self, slot: Slot) -> bool {
        let noticed = self.reset(slot).and_then(|reset| reset.dpu_ready) != Some(false);
        self.health(slot) == DpuHealth::Up && noticed
    }

    pub(crate) fn scope_state(&self, key: &HaScopeConfigKey) -> Option<&Seen<HaScopeState>> {
        self.scope_states.get(key)
    }

    /// Whether hamgrd reports any HA scope of the vDPU.
    pub(crate) fn reports_scopes_of(&self, vdpu: &VdpuId) -> bool {
        self.scope_states.keys().any(|key| key.vdpu == *vdpu)
    }

    pub(crate) fn scope_row(&self, key: &HaScopeConfigKey) -> RowId<SwitchName> {
        RowId::of::<HaScopeConfig>(self.name.clone(), key)
    }

    pub(crate) fn set_row(&self, set: &HaSetId) -> RowId<SwitchName> {
        RowId::of::<HaSetConfig>(self.name.clone(), set)
    }

    pub(crate) fn scope_config(&self, key: &HaScopeConfigKey) -> Configured<HaScopeConfig> {
        self.configured(&self.scope_row(key))
    }

    pub(crate) fn set_config(&self, set: &HaSetId) -> Configured<HaSetConfig> {
        self.configured(&self.set_row(set))
    }

    fn configured<R: Row>(&self, row: &RowId<SwitchName>) -> Configured<R> {
        match self.store.fields(row).map(|fields| R::from_fields(&row.key, fields)) {
            None => Configured::Absent,
            Some(Ok(row)) => Configured::Row(row),
            Some(Err(_)) => Configured::Unreadable,
        }
    }

    /// Whether the row is confirmed to be exactly `wanted`, with no write under way.
    pub(crate) fn is_confirmed<R: Row>(&self, row: &RowId<SwitchName>, wanted: &R) -> bool {
        !self.store.is_under_way(row) && self.store.fields(row) == Some(&wanted.to_fields())
    }

    /// Whether the row is confirmed not to be there, with no write under way.
    pub(crate) fn is_gone(&self, row: &RowId<SwitchName>) -> bool {
        !self.store.is_under_way(row) && self.store.fields(row).is_none()
    }

    /// The HA scope configuration that is being written: what the switch has is this one or the one before.
    pub(crate) fn scope_config_under_way(&self, key: &HaScopeConfigKey) -> Option<HaScopeConfig> {
        let row = self.scope_row(key);
        match self.store.under_way(&row)? {
            Op::Set(fields) | Op::Merge(fields) => HaScopeConfig::from_fields(&row.key, fields).ok(),
            Op::Del => None,
        }
    }

    /// The HA scope configurations of the switch whose key can be read; `None` where the row cannot.
    pub(crate) fn scope_configs(&self) -> impl Iterator<Item = (HaScopeConfigKey, Option<HaScopeConfig>)> {
        self.store.rows_of(&self.name, Table::DashHaScopeConfig).filter_map(|(row, fields)| {
            let key = HaScopeConfig::parse_key(&row.key).ok()?;
            Some((key, HaScopeConfig::from_fields(&row.key, fields).ok()))
        })
    }

    /// The HA set configurations of the switch that can be read.
    pub(crate) fn set_configs(&self) -> impl Iterator<Item = (HaSetId, HaSetConfig)> {
        self.store
            .rows_of(&self.name, Table::DashHaSetConfig)
            .filter_map(|(row, fields)| HaSetConfig::parse(&row.key, fields).ok())
    }

    /// Whether any HA scope configuration on the switch, whoever wrote it, belongs to the HA set. A row that
    /// cannot be read counts if it is named like the set.
    pub(crate) fn refers_to(&self, set: &HaSetId) -> bool {
        self.scope_configs().any(|(key, config)| match config {
            Some(config) => config.ha_set(&key).as_ref() == Some(set),
            None => key.scope.as_str() == set.as_str(),
        })
    }
}

fn put<K: Ord, R>(rows: &mut BTreeMap<K, Seen<R>>, key: K, row: Reported<R>) {
    match row {
        Reported::Present(row) => {
            rows.insert(key, Seen::Row(row));
        }
        Reported::Unreadable => {
            rows.insert(key, Seen::Unreadable);
        }
        Reported::Absent => {
            rows.remove(&key);
        }
    }
}
