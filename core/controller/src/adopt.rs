//! A DPU of which nothing is recorded: it was never seen before, or the store was lost.

use std::collections::BTreeMap;

use schema::appl_db::HaScopeConfig;
use schema::chassis_state_db::DpuHealth;
use schema::{DesiredHaState, HaOwner, HaSetId, Row};

use crate::dpu::Dpu;
use crate::effect::{Note, Reason};
use crate::fleet::Admin;
use crate::procedure::{Look, Step};
use crate::record::{DpuRecord, Handled, Life, Phase, ScopeRecord, Verdict};
use crate::switch::{Configured, Seen};
use crate::world::{scope_config, scope_key, version_of};

impl Look<'_> {
    /// Nothing is recorded of the DPU: is it as it should be, or must it be programmed?
    pub(crate) fn learn(&mut self, dpu: &mut Dpu) -> Step {
        match self.view.health(self.vdpu.dpu.slot) {
            DpuHealth::Unknown => {
                dpu.down_since = None;
                Step::Wait
            }
            DpuHealth::Down => self.debounce_down(dpu),
            DpuHealth::Up => {
                dpu.down_since = None;
                if self.is_state_unreadable() {
                    return Step::Wait;
                }
                let Some(record) = self.adoptable() else { return self.begin(dpu, Reason::NotProgrammed) };
                dpu.record = Some(record);
                self.notes.push(Note::Adopted { dpu: self.vdpu.dpu.clone(), vdpu: self.vdpu.id.clone() });
                Step::Again
            }
        }
    }

    /// Whether hamgrd reports a HA scope in words that nobody here understands. It may well serve.
    fn is_state_unreadable(&self) -> bool {
        self.world.fleet.sets_of(&self.vdpu.id).any(|set| {
            matches!(self.view.scope_state(&scope_key(&self.vdpu.id, &set.id)), Some(Seen::Unreadable))
        })
    }

    /// The record of a DPU that is configured as intended and has not been reset since.
    fn adoptable(&self) -> Option<DpuRecord> {
        let reset = self.view.reset(self.vdpu.dpu.slot);
        if reset.is_some_and(|reset| reset.reset_status) {
            return None;
        }
        let mut scopes = BTreeMap::new();
        for set in self.world.fleet.sets_of(&self.vdpu.id) {
            let key = scope_key(&self.vdpu.id, &set.id);
            let Configured::Row(config) = self.view.scope_config(&key) else { return None };
            let Some(Seen::Row(state)) = self.view.scope_state(&key) else { return None };
            let of_another_life = state.incarnation.zip(reset.and_then(|reset| reset.incarnation));
            if of_another_life.is_some_and(|(state, present)| state != present) {
                return None;
            }
            scopes.insert(set.id.clone(), self.adopted_scope(&set.id, config)?);
        }
        Some(DpuRecord {
            dpu: self.vdpu.dpu.clone(),
            vdpu: self.vdpu.id.clone(),
            phase: Phase::Steady,
            epoch: 0,
            life: Life::of(reset),
            scopes,
        })
    }

    /// The record behind a row, if it is one that this controller could have written.
    fn adopted_scope(&self, set: &HaSetId, config: HaScopeConfig) -> Option<ScopeRecord> {
        let mut scope = ScopeRecord::new(version_of(&config.version)?, config.desired_ha_state);
        scope.approvals = config.approved_pending_operation_ids.clone();
        // Nobody knows any more what was approved: the safe assumption is that it may decide.
        let decided = |id| Handled { id, verdict: Verdict::ApprovedToDecide };
        scope.handled = scope.approvals.iter().cloned().map(decided).collect();
        let intended_active = self.world.fleet.ha_set(set).is_some_and(|set| set.active == self.vdpu.id);
        let acceptable = match (self.vdpu.admin, config.desired_ha_state) {
            (_, DesiredHaState::Dead) => true,
            (Admin::Down, DesiredHaState::Active | DesiredHaState::Unspecified) => true,
            (Admin::Up, DesiredHaState::Unspecified) => true,
            (Admin::Up, DesiredHaState::Active) => intended_active,
            (_, DesiredHaState::Standalone) => false,
        };
        let same =
            config.owner == HaOwner::Dpu && scope_config(set, &scope).to_fields() == config.to_fields();
        (acceptable && same).then_some(scope)
    }
}
