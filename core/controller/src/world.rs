//! What one decision may look at: the intent, all switches, and what was decided for the other DPUs.

use std::collections::BTreeMap;

use schema::appl_db::{HaScopeConfig, HaScopeConfigKey};
use schema::{HaOwner, HaSetId, VdpuId};

use crate::dpu::Dpu;
use crate::fleet::{DpuId, Fleet, SwitchName, VdpuIntent};
use crate::record::{DpuRecord, ScopeRecord};
use crate::switch::SwitchView;

/// Everything known, for one decision.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    pub fleet: &'a Fleet,
    pub switches: &'a BTreeMap<SwitchName, SwitchView>,
    pub dpus: &'a BTreeMap<DpuId, Dpu>,
}

impl<'a> World<'a> {
    /// The switch, if everything read from it is current.
    pub(crate) fn known(&self, switch: &SwitchName) -> Option<&'a SwitchView> {
        self.switches.get(switch).filter(|view| view.is_known())
    }

    /// The DPU's record as decided, stored or not.
    pub(crate) fn record(&self, dpu: &DpuId) -> Option<&'a DpuRecord> {
        self.dpus.get(dpu)?.record.as_ref()
    }

    /// The other members of a HA set.
    pub(crate) fn others(&self, vdpu: &VdpuId, set: &HaSetId) -> impl Iterator<Item = &'a VdpuIntent> {
        let fleet = self.fleet;
        let members = fleet.ha_set(set).into_iter().flat_map(|set| &set.vdpus);
        let vdpu = vdpu.clone();
        members.filter(move |member| **member != vdpu).filter_map(move |member| fleet.vdpu(member))
    }
}

/// The key of the HA scope of a member: in DPU scope it is named like the HA set.
pub(crate) fn scope_key(vdpu: &VdpuId, set: &HaSetId) -> HaScopeConfigKey {
    HaScopeConfigKey { vdpu: vdpu.clone(), scope: set.clone().into() }
}

/// The configuration row that a record stands for.
pub(crate) fn scope_config(set: &HaSetId, scope: &ScopeRecord) -> HaScopeConfig {
    HaScopeConfig {
        version: scope.version.to_string(),
        disabled: false,
        owner: HaOwner::Dpu,
        ha_set_id: Some(set.clone()),
        desired_ha_state: scope.desired,
        approved_pending_operation_ids: scope.approvals.clone(),
    }
}

/// The version after `version`, which is never 0.
pub(crate) fn next_version(version: u32) -> u32 {
    version.checked_add(1).unwrap_or(1)
}

/// The version in a row, if it is one of ours.
pub(crate) fn version_of(text: &str) -> Option<u32> {
    text.parse().ok()
}
