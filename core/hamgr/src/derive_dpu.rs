//! The plan for one DPU: `DASH_HA_SET_TABLE`, `BFD_SESSION_TABLE`, `DASH_HA_SCOPE_TABLE`.
//!
//! - The gate: rows are created and changed only while the DPU is up and its life is on record. While it is
//!   down or unknown, rows stay as they are and go only with their configuration. BFD goes with an up that
//!   is known to be over (P4).
//! - The order: a scope is wanted once the DPU has taken its HA set, and a HA set stays as long as a scope
//!   refers to it (P5).
//! - The fence: a scope is wanted once STATE_DB has it on record for this life (P3).

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{Plan, RowId};
use schema::appl_db::{HaScopeConfig, HaScopeConfigKey};
use schema::chassis_state_db::DpuHealth;
use schema::dpu_appl_db::{BfdSession, HaScope, HaSet};
use schema::state_db::HaScopeFence;
use schema::{HaOwner, HaScopeId, HaSetId, Row, Slot, Table};

use crate::bfd;
use crate::derive::{View, global, is_settled};
use crate::ha_scope;
use crate::ha_set::{self, ResolvedSet};
use crate::input::Place;
use crate::note::ScopeStage;
use crate::topology::{Location, NotReady};

/// Stages of the scopes of managed DPUs.
pub(crate) type Stages = BTreeMap<HaScopeConfigKey, ScopeStage>;

/// Wants the rows of one DPU, and says where its scopes stand.
pub(crate) fn dpu(view: &View<'_>, slot: Slot, plan: &mut Plan<Place>, stages: &mut Stages) {
    sets(view, slot, plan);
    let mut decided = BTreeSet::new();
    for (key, config) in &view.known.scopes {
        if view.locate(key) == Location::Here(slot) && decided.insert(key.scope.clone()) {
            let stage = scope(view, slot, key, config, plan);
            stages.insert(key.clone(), stage);
        }
    }
    hold_scopes_of_lost_vdpus(view, slot, &decided, plan);
    hold_sets_in_use(view, slot, plan);
    bfd_sessions(view, slot, plan);
}

fn sets(view: &View<'_>, slot: Slot, plan: &mut Plan<Place>) {
    let may_create = view.may_create(slot);
    for (id, resolution) in view.resolved {
        let row = RowId::of::<HaSet>(Place::Dpu(slot), id);
        match resolution {
            Ok(set) if set.on(slot).is_none() => {}
            Ok(_) if may_create => {
                if let Some(wanted) = ha_set(view, slot, id) {
                    plan.want_fields(row, wanted.to_fields());
                }
            }
            Ok(_) | Err(_) => view.hold(row, plan),
        }
    }
}

/// The row of a HA set for the DPU in `slot`, if it can be derived.
pub(crate) fn ha_set(view: &View<'_>, slot: Slot, id: &HaSetId) -> Option<HaSet> {
    let set = view.resolved.get(id)?.as_ref().ok()?;
    let pair = set.pair(slot)?;
    Some(ha_set::row(view.known.sets.get(id)?, &pair, global(view)?, owner(view, slot, id)))
}

/// Who drives the set's scopes: what the scope of this DPU says, else any other; the DPU while nobody does.
fn owner(view: &View<'_>, slot: Slot, id: &HaSetId) -> HaOwner {
    let of_set = view.known.scopes.iter().filter(|(key, config)| config.ha_set(key).as_ref() == Some(id));
    let said = of_set.filter(|(_, config)| config.owner != HaOwner::Unspecified);
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        said.partition(|(key, _)| view.locate(key) == Location::Here(slot));
    here.first().or(elsewhere.first()).map_or(HaOwner::Dpu, |(_, config)| config.owner)
}

fn scope(
    view: &View<'_>,
    slot: Slot,
    key: &HaScopeConfigKey,
    config: &HaScopeConfig,
    plan: &mut Plan<Place>,
) -> ScopeStage {
    if !ha_scope::is_dpu_driven(config.owner) {
        return ScopeStage::UnsupportedOwner;
    }
    let record = view.memory.fences.get(key);
    if let (Some(record), Some(present)) = (record, view.incarnation(slot))
        && record.incarnation != present
    {
        return ScopeStage::Fenced { recorded: record.incarnation, present };
    }
    let Some((ha_set_id, ha_set)) = view.known.set_of(key, config) else { return ScopeStage::WaitsForHaSet };
    let set_row = RowId::of::<HaSet>(Place::Dpu(slot), &ha_set_id);
    let Some(set_fields) = plan.get(&set_row) else {
        return if view.may_create(slot) { ScopeStage::WaitsForHaSet } else { ScopeStage::DpuNotUp };
    };

    let row = RowId::of::<HaScope>(Place::Dpu(slot), &key.scope);
    if confirmed_set(view, &row).is_some_and(|confirmed| confirmed != ha_set_id) {
        // A DPU ignores another HA set for a scope that exists: the scope goes first, then comes anew.
        return ScopeStage::WaitsForHaSet;
    }
    if !view.may_create(slot) {
        view.hold(row, plan);
        return ScopeStage::DpuNotUp;
    }
    if !is_settled(view, &set_row, set_fields) {
        view.hold(row, plan);
        return ScopeStage::WaitsForHaSet;
    }
    if !is_on_record(view, key, record) {
        view.hold(row, plan);
        return ScopeStage::Programming;
    }
    let pending = view.memory.scopes.get(key).map_or(&[][..], |memory| &memory.pending);
    let wanted = ha_scope::row(config, (&ha_set_id, ha_set), pending).to_fields();
    let settled = is_settled(view, &row, &wanted);
    plan.want_fields(row, wanted);
    if settled { ScopeStage::Applied } else { ScopeStage::Programming }
}

fn is_on_record(view: &View<'_>, key: &HaScopeConfigKey, record: Option<&HaScopeFence>) -> bool {
    let row = RowId::of::<HaScopeFence>(Place::Npu, key);
    record.is_some_and(|record| view.store.fields(&row) == Some(&record.to_fields()))
}

/// The HA set that a scope row in DPU_APPL_DB refers to.
fn confirmed_set(view: &View<'_>, row: &RowId<Place>) -> Option<HaSetId> {
    let fields = view.store.fields(row)?;
    let named = HaScope::from_fields(&row.key, fields).ok().and_then(|scope| scope.ha_set_id);
    named.or_else(|| HaSetId::new(row.key.as_str()))
}

/// A scope whose vDPU cannot be located just now keeps its row, if its HA set keeps its own.
fn hold_scopes_of_lost_vdpus(
    view: &View<'_>,
    slot: Slot,
    decided: &BTreeSet<HaScopeId>,
    plan: &mut Plan<Place>,
) {
    for (key, config) in &view.known.scopes {
        if view.locate(key) != Location::Unknown || decided.contains(&key.scope) {
            continue;
        }
        let row = RowId::of::<HaScope>(Place::Dpu(slot), &key.scope);
        let ha_set = config.ha_set(key).map(|id| RowId::of::<HaSet>(Place::Dpu(slot), &id));
        if ha_scope::is_dpu_driven(config.owner) && ha_set.is_some_and(|set_row| plan.get(&set_row).is_some())
        {
            view.hold(row, plan);
        }
    }
}

/// A HA set goes after the last scope that refers to it.
fn hold_sets_in_use(view: &View<'_>, slot: Slot, plan: &mut Plan<Place>) {
    let place = Place::Dpu(slot);
    let scopes = view.store.rows_of(&place, Table::DashHaScope);
    let confirmed = scopes.filter_map(|(row, _)| confirmed_set(view, row));
    let under_way =
        view.scopes_under_way.iter().filter(|(row, _)| row.place == place).map(|(_, id)| id.clone());
    for id in confirmed.chain(under_way).collect::<BTreeSet<_>>() {
        let row = RowId::of::<HaSet>(place, &id);
        if plan.get(&row).is_none() {
            view.hold(row, plan);
        }
    }
}

fn bfd_sessions(view: &View<'_>, slot: Slot, plan: &mut Plan<Place>) {
    let place = Place::Dpu(slot);
    let may_change = match view.known.health(slot) {
        DpuHealth::Down => return,
        DpuHealth::Up => view.may_create(slot),
        DpuHealth::Unknown => false,
    };
    let ready = view.resolved.values().filter_map(|resolution| resolution.as_ref().ok());
    let rows = global(view).map(|global| bfd::rows(ready, slot, global)).unwrap_or_default();
    let some_set_is_held =
        view.resolved.iter().any(|(id, resolution)| is_held_on(view, slot, id, resolution));
    if some_set_is_held {
        // Nobody can tell which of the rows belong to a set that does not resolve: all stay.
        for (row, _) in view.store.rows_of(&place, Table::BfdSession) {
            view.hold(row.clone(), plan);
        }
    }
    for (key, session) in &rows {
        if may_change {
            plan.want(place, key, session);
        } else {
            view.hold(RowId::of::<BfdSession>(place, key), plan);
        }
    }
}

/// Whether a set does not resolve and yet is, or may be, a set of the DPU in `slot`.
fn is_held_on(view: &View<'_>, slot: Slot, id: &HaSetId, resolution: &Result<ResolvedSet, NotReady>) -> bool {
    let members = || view.known.sets.get(id).into_iter().flat_map(|config| &config.vdpu_ids);
    resolution.is_err()
        && (view.store.fields(&RowId::of::<HaSet>(Place::Dpu(slot), id)).is_some()
            || members().any(|vdpu| view.known.topology.locate(vdpu) == Location::Here(slot)))
}
