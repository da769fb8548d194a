//! The rows that ought to exist, derived from what the ASIC is confirmed to have and has said.

use reconcile::Plan;
use schema::dpu_appl_state_db::{HaScopeResult, HaSetResult};
use schema::dpu_state_db::{HaScopeState, HaSetState};
use schema::{AsicHaRole, AsicHaState, HaScopeId, WallMs};

use crate::io::{Effect, Note, Place};
use crate::orch::HaOrch;

impl HaOrch {
    /// Brings what is published up to date with what the ASIC said or, for a switch-driven HA set, with the role
    /// that it was given (`reference/dpu-side.md` 1.4; evaluated anew whenever the owner changes, 6.2 item 7).
    pub(crate) fn refresh_reports(&mut self, wall: WallMs, out: &mut Vec<Effect>) {
        let ids: Vec<HaScopeId> = self.scopes.keys().cloned().collect();
        for id in ids {
            let is_switch_driven = self.set_of(&id).map(|set| set.is_switch_driven());
            let Some(object) = self.scopes.get_mut(&id).and_then(|scope| scope.object.as_mut()) else {
                continue;
            };
            let (role, state) = match is_switch_driven {
                Some(true) => {
                    (object.attributes.dash_ha_role, switch_driven_state(object.attributes.dash_ha_role))
                }
                Some(false) => (object.said.role, object.said.state),
                // The set's row went first: what was published stands until the scope is removed.
                None => continue,
            };
            let report = &mut object.report;
            let before = (report.role, report.state);
            if before == (role, state) {
                continue;
            }
            let now_s = wall.seconds();
            if report.role != role {
                (report.role, report.role_since_s) = (role, now_s);
            }
            if report.state != state {
                (report.state, report.state_since_s) = (state, now_s);
            }
            report.updated_s = now_s;
            let term = object.said.flow_version;
            out.push(Effect::Note(Note::ScopeState { scope: id, from: before, to: (role, state), term }));
        }
    }

    /// All rows.
    pub(crate) fn plan(&self) -> Plan<Place> {
        let mut plan = Plan::new();
        for (id, set) in &self.sets {
            if let Some(outcome) = &set.outcome {
                let row = HaSetResult { result: outcome.result, version: outcome.version.clone() };
                plan.want(Place::Remote, id, &row);
            }
            if let Some((state, at_s)) = set.object.as_ref().and_then(|object| object.channel) {
                let row = HaSetState { last_updated_time_s: Some(at_s), dp_channel_is_alive: Some(state) };
                plan.want(Place::Remote, id, &row);
            }
        }
        for (id, scope) in &self.scopes {
            if let Some(outcome) = &scope.outcome {
                let row = HaScopeResult { result: outcome.result, version: outcome.version.clone() };
                plan.want(Place::Remote, id, &row);
            }
            if let Some(object) = &scope.object {
                let report = &object.report;
                let row = HaScopeState {
                    last_updated_time_s: Some(report.updated_s),
                    ha_role: Some(report.role),
                    ha_role_start_time_s: Some(report.role_since_s),
                    ha_state: Some(report.state),
                    ha_state_start_time_s: Some(report.state_since_s),
                    ha_term: object.said.flow_version,
                    activate_role_pending: scope.activate.is_published(),
                    flow_reconcile_pending: scope.reconcile.is_published(),
                    brainsplit_recover_pending: scope.brainsplit.is_published(),
                };
                plan.want(Place::Remote, id, &row);
            }
        }
        self.bfd.plan(&self.serving(), &mut plan);
        plan
    }
}

/// The state that a role amounts to while the NPU drives. `switching_to_active` as in sonic-swss PR 4820.
const fn switch_driven_state(role: AsicHaRole) -> AsicHaState {
    match role {
        AsicHaRole::Active => AsicHaState::Active,
        AsicHaRole::Standby => AsicHaState::Standby,
        AsicHaRole::Standalone => AsicHaState::Standalone,
        AsicHaRole::SwitchingToActive => AsicHaState::InitializingToActive,
        AsicHaRole::Dead => AsicHaState::Dead,
    }
}
