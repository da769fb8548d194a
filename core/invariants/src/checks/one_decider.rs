//! P7: never both DPUs of a HA set instructed to be active or standalone.

use std::collections::BTreeMap;

use schema::appl_db::HaScopeConfig;
use schema::dpu_appl_db::HaScope;
use schema::dpu_state_db::HaScopeState;
use schema::{AsicHaRole, DesiredHaState, HaScopeId, HaSetId, Table};

use super::Findings;
use crate::finding::{Finding, Invariant};
use crate::model::Model;

/// A row that makes its side decide.
struct Decider {
    place: String,
    key: String,
    word: String,
}

/// Checks P7: of each HA set at most one scope is configured to decide, at most one DPU is told to, and at
/// most one does.
pub fn one_decider(model: &Model<'_>) -> Vec<Finding> {
    let mut findings = Findings::of(Invariant::P7);
    let mut deciders: BTreeMap<(Table, HaSetId), Vec<Decider>> = BTreeMap::new();
    for (switch, dpu) in model.dpus() {
        for scope in &dpu.scopes {
            let Some(set) = &scope.set else { continue };
            let mut note = |table, place: &str, key: String, word: &str| {
                let seen = deciders.entry((table, set.clone())).or_default();
                seen.push(Decider { place: place.to_owned(), key, word: word.to_owned() });
            };
            if decides(scope.config.desired_ha_state) && !scope.config.disabled {
                let key = <HaScopeConfig as schema::Row>::key_text(&scope.key);
                note(
                    Table::DashHaScopeConfig,
                    &switch.snapshot.name,
                    key,
                    scope.config.desired_ha_state.as_str(),
                );
            }
            let id: &HaScopeId = &scope.key.scope;
            if let Some(row) = dpu.snapshot.rows.row::<HaScope>(id)
                && role_decides(row.ha_role)
                && !row.disabled
            {
                note(Table::DashHaScope, &dpu.place, id.to_string(), row.ha_role.as_str());
            }
            if let Some(state) = dpu.snapshot.rows.row::<HaScopeState>(id).and_then(|row| row.ha_state)
                && state.decides()
            {
                note(Table::DpuDashHaScopeState, &dpu.place, id.to_string(), state.as_str());
            }
        }
    }
    for ((table, set), seen) in deciders {
        let Some((_, others)) = seen.split_first().filter(|(_, others)| !others.is_empty()) else {
            continue;
        };
        let all: Vec<String> = seen.iter().map(|seen| format!("{} {}", seen.place, seen.word)).collect();
        for Decider { place, key, .. } in others {
            let what = format!("HA set {set} has {} deciders: {}", seen.len(), all.join(", "));
            findings.raw(place, table, key, what);
        }
    }
    findings.list
}

fn decides(desired: DesiredHaState) -> bool {
    match desired {
        DesiredHaState::Active | DesiredHaState::Standalone => true,
        DesiredHaState::Unspecified | DesiredHaState::Dead => false,
    }
}

fn role_decides(role: AsicHaRole) -> bool {
    match role {
        AsicHaRole::Active | AsicHaRole::Standalone | AsicHaRole::SwitchingToActive => true,
        AsicHaRole::Dead | AsicHaRole::Standby => false,
    }
}
