//! What was read: typed copies of rows, and which databases they are complete for.

use std::collections::{BTreeMap, BTreeSet};

use schema::appl_db::{HaScopeConfig, HaScopeConfigKey, HaSetConfig};
use schema::chassis_state_db::{DpuHealth, DpuState};
use schema::config_db::HaGlobalConfig;
use schema::dpu_state_db::{BfdProbeState, HaScopeState};
use schema::{HaScopeId, HaSetId, Slot};
use serde::{Deserialize, Serialize};

use crate::ha_set::{self, ResolvedSet};
use crate::input::{Input, Source};
use crate::topology::{NotReady, Topology};

/// Every HA set that is configured, resolved or with the reason why not.
pub(crate) type Resolved = BTreeMap<HaSetId, Result<ResolvedSet, NotReady>>;

/// What is read of one DPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DpuRows {
    pub state: Option<DpuState>,
    pub bfd: Option<BfdProbeState>,
    pub scopes: BTreeMap<HaScopeId, HaScopeState>,
}

/// The rows as they were last read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub topology: Topology,
    pub global: Option<HaGlobalConfig>,
    pub sets: BTreeMap<HaSetId, HaSetConfig>,
    #[serde(with = "reconcile::as_pairs")]
    pub scopes: BTreeMap<HaScopeConfigKey, HaScopeConfig>,
    dpus: BTreeMap<Slot, DpuRows>,
    /// What is complete at present.
    synced: BTreeSet<Source>,
    /// What has been complete at some time.
    read: BTreeSet<Source>,
}

impl Known {
    /// Takes in what was read. What a store reports is not for here.
    pub(crate) fn take_in(&mut self, input: Input) {
        match input {
            Input::Dpu(name, row) => put(&mut self.topology.dpus, name, row),
            Input::RemoteDpu(name, row) => put(&mut self.topology.remote_dpus, name, row),
            Input::Vdpu(id, row) => put(&mut self.topology.vdpus, id, row),
            Input::GlobalConfig(row) => self.global = row,
            Input::Loopback(key, true) => {
                self.topology.loopbacks.insert(key);
            }
            Input::Loopback(key, false) => {
                self.topology.loopbacks.remove(&key);
            }
            Input::HaSetConfig(id, row) => put(&mut self.sets, id, row),
            Input::HaScopeConfig(key, row) => put(&mut self.scopes, key, row),
            Input::DpuState(slot, row) => self.dpus.entry(slot).or_default().state = row,
            Input::BfdProbe(slot, row) => self.dpus.entry(slot).or_default().bfd = row,
            Input::DpuHaScopeState(slot, id, row) => {
                put(&mut self.dpus.entry(slot).or_default().scopes, id, row);
            }
            Input::Synced(source) => {
                self.synced.insert(source);
                self.read.insert(source);
            }
            Input::Unsynced(source) => {
                self.synced.remove(&source);
            }
            Input::Store(_) => {}
        }
    }

    /// Whether configuration is complete and everything of the NPU was read once. While a configuration is
    /// being read again nothing is decided: half of it would look like the other half being deleted.
    pub(crate) fn is_complete(&self) -> bool {
        let configured = [Source::ConfigDb, Source::ApplDb].iter().all(|source| self.synced.contains(source));
        configured && self.has_read(Source::ChassisStateDb)
    }

    pub(crate) fn has_read(&self, source: Source) -> bool {
        self.read.contains(&source)
    }

    /// A DPU that cannot be watched at present is in an unknown state, whatever was last read.
    pub(crate) fn health(&self, slot: Slot) -> DpuHealth {
        if !self.synced.contains(&Source::ChassisStateDb) {
            return DpuHealth::Unknown;
        }
        self.dpu_state(slot).map_or(DpuHealth::Unknown, DpuState::health)
    }

    pub(crate) fn dpu_state(&self, slot: Slot) -> Option<&DpuState> {
        self.dpus.get(&slot)?.state.as_ref()
    }

    pub(crate) fn bfd(&self, slot: Slot) -> Option<&BfdProbeState> {
        self.dpus.get(&slot)?.bfd.as_ref()
    }

    pub(crate) fn dpu_scope_state(&self, slot: Slot, id: &HaScopeId) -> Option<&HaScopeState> {
        self.dpus.get(&slot)?.scopes.get(id)
    }

    /// The HA set of a scope, if it is configured.
    pub(crate) fn set_of(
        &self,
        key: &HaScopeConfigKey,
        config: &HaScopeConfig,
    ) -> Option<(HaSetId, &HaSetConfig)> {
        let id = config.ha_set(key)?;
        let set = self.sets.get(&id)?;
        Some((id, set))
    }

    pub(crate) fn resolve_all(&self) -> Resolved {
        self.sets.iter().map(|(id, config)| (id.clone(), self.resolve(config))).collect()
    }

    pub(crate) fn resolve(&self, config: &HaSetConfig) -> Result<ResolvedSet, NotReady> {
        ha_set::resolve(config, &self.topology, self.global.as_ref())
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, row: Option<V>) {
    match row {
        Some(row) => {
            map.insert(key, row);
        }
        None => {
            map.remove(&key);
        }
    }
}
