//! Rows as read, before anybody says what they should be.

use std::collections::{BTreeMap, BTreeSet};

use schema::{Fields, Row, RowError, Slot, Table};
use serde::{Deserialize, Serialize};

/// The rows of some tables in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rows(BTreeMap<Table, BTreeMap<String, Fields>>);

impl Rows {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row in its raw form, or replaces it.
    pub fn insert(&mut self, table: Table, key: impl Into<String>, fields: Fields) {
        self.0.entry(table).or_default().insert(key.into(), fields);
    }

    /// Adds a typed row, or replaces it.
    pub fn put<R: Row>(&mut self, key: &R::Key, row: &R) {
        self.insert(R::TABLE, R::key_text(key), row.to_fields());
    }

    /// Drops a row; nothing happens where it is absent.
    pub fn remove(&mut self, table: Table, key: &str) -> Option<Fields> {
        self.0.get_mut(&table)?.remove(key)
    }

    /// Drops every row of a table.
    pub fn clear(&mut self, table: Table) {
        self.0.remove(&table);
    }

    /// The raw row.
    pub fn get(&self, table: Table, key: &str) -> Option<&Fields> {
        self.0.get(&table)?.get(key)
    }

    /// The raw rows of a table, in key order.
    pub fn of(&self, table: Table) -> impl Iterator<Item = (&str, &Fields)> {
        self.0.get(&table).into_iter().flatten().map(|(key, fields)| (key.as_str(), fields))
    }

    /// Every row, in table and key order.
    pub fn iter(&self) -> impl Iterator<Item = (Table, &str, &Fields)> {
        self.0
            .iter()
            .flat_map(|(table, rows)| rows.iter().map(|(key, fields)| (*table, key.as_str(), fields)))
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The typed row, if it is there and can be understood.
    pub fn row<R: Row>(&self, key: &R::Key) -> Option<R> {
        let key = R::key_text(key);
        R::from_fields(&key, self.get(R::TABLE, &key)?).ok()
    }

    /// The typed rows of a table that can be understood, in key order.
    pub fn typed<R: Row>(&self) -> Vec<(R::Key, R)> {
        self.of(R::TABLE).filter_map(|(key, fields)| R::parse(key, fields).ok()).collect()
    }

    /// What cannot be understood in a table.
    pub fn errors<R: Row>(&self) -> Vec<RowError> {
        self.of(R::TABLE).filter_map(|(key, fields)| R::parse(key, fields).err()).collect()
    }
}

/// The databases of a DPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DpuSnapshot {
    /// The DPU's slot.
    pub slot: Slot,
    /// Rows of `DPU_APPL_DB`, `DPU_APPL_STATE_DB` and `DPU_STATE_DB`, hosted on the NPU.
    pub rows: Rows,
    /// Rows that were produced and still wait for their consumer.
    pub unconsumed: BTreeSet<(Table, String)>,
    /// Rows of the DPU's own databases; `None` while the DPU is off.
    pub local: Option<Rows>,
}

/// The databases of a switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchSnapshot {
    /// The switch's name.
    pub name: String,
    /// Rows of the NPU's `CONFIG_DB`, `APPL_DB`, `STATE_DB` and `CHASSIS_STATE_DB`.
    pub rows: Rows,
    /// The DPUs, in slot order.
    pub dpus: Vec<DpuSnapshot>,
}

impl SwitchSnapshot {
    /// How findings name a DPU of this switch.
    pub fn dpu_place(&self, slot: Slot) -> String {
        format!("{} {slot}", self.name)
    }
}

/// All databases of a set of SmartSwitches, as read at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The switches.
    pub switches: Vec<SwitchSnapshot>,
}

impl Snapshot {
    /// The switch of that name.
    pub fn switch(&self, name: &str) -> Option<&SwitchSnapshot> {
        self.switches.iter().find(|switch| switch.name == name)
    }

    /// The DPU in that slot of that switch.
    pub fn dpu(&self, switch: &str, slot: Slot) -> Option<&DpuSnapshot> {
        self.switch(switch)?.dpus.iter().find(|dpu| dpu.slot == slot)
    }
}
