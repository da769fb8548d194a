//! The plan: which rows ought to exist, as one function of what was read, what is remembered and what the
//! stores confirm. This module holds the view and the NPU's tables; [`crate::derive_dpu`] the DPUs' tables.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{Plan, Reconciler, RowId};
use schema::appl_db::{HaScopeConfig, HaScopeConfigKey, VnetRouteTunnel};
use schema::chassis_state_db::DpuHealth;
use schema::config_db::HaGlobalConfig;
use schema::dpu_appl_db::{HaScope, HaSet};
use schema::state_db::{DpuResetInfo, HaScopeFence, HaScopeState};
use schema::{Db, Fields, HaSetId, Row, Slot, Table};

use crate::ha_scope;
use crate::incarnation::Life;
use crate::input::{Config, Place, Source};
use crate::known::{Known, Resolved};
use crate::neigh;
use crate::scope_state::{self, Report, ScopeMemory};
use crate::topology::Location;
use crate::vnet;

/// What this process remembers, all of it found again in STATE_DB.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Memory {
    pub lives: BTreeMap<Slot, Life>,
    #[serde(with = "reconcile::as_pairs")]
    pub fences: BTreeMap<HaScopeConfigKey, HaScopeFence>,
    #[serde(with = "reconcile::as_pairs")]
    pub scopes: BTreeMap<HaScopeConfigKey, ScopeMemory>,
}

/// All that a plan is derived from.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub config: &'a Config,
    pub known: &'a Known,
    pub memory: &'a Memory,
    pub store: &'a Reconciler<Place>,
    pub resolved: &'a Resolved,
    /// The HA sets of HA scope rows that are being written.
    pub scopes_under_way: &'a BTreeMap<RowId<Place>, HaSetId>,
    /// The stores that were read since this process started.
    pub stores_read: &'a BTreeSet<(Place, Db)>,
}

impl<'a> View<'a> {
    /// The DPUs to manage that are configured.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + 'a {
        let config = self.config;
        self.known.topology.slots().into_iter().filter(move |&slot| config.manages(slot))
    }

    /// The DPUs to manage whose databases may hold rows, configured or not.
    pub(crate) fn slots_with_rows(&self) -> BTreeSet<Slot> {
        let read = self.stores_read.iter().filter_map(|(place, _)| match place {
            Place::Dpu(slot) => Some(*slot),
            Place::Npu => None,
        });
        read.filter(|&slot| self.config.manages(slot)).chain(self.slots()).collect()
    }

    /// Where a vDPU is; DPUs of this chassis that another process manages count as elsewhere.
    pub(crate) fn locate(&self, key: &HaScopeConfigKey) -> Location {
        match self.known.topology.locate(&key.vdpu) {
            Location::Here(slot) if self.config.manages(slot) => Location::Here(slot),
            Location::Here(_) | Location::Elsewhere => Location::Elsewhere,
            Location::Unknown => Location::Unknown,
        }
    }

    pub(crate) fn incarnation(&self, slot: Slot) -> Option<u64> {
        self.memory.lives.get(&slot)?.incarnation()
    }

    /// Whether rows may be created for a DPU: it is up, and STATE_DB has its present life on record.
    pub(crate) fn may_create(&self, slot: Slot) -> bool {
        let recorded = || self.store.row::<DpuResetInfo>(Place::Npu, &slot)?.incarnation;
        self.known.health(slot) == DpuHealth::Up
            && self.store.is_ready(&Place::Npu, Db::StateDb)
            && self.incarnation(slot).is_some_and(|present| recorded() == Some(present))
    }

    /// What the DPU reports of a scope, if that can be of its present life: the scope's row was accepted in
    /// this life and is in DPU_APPL_DB.
    pub(crate) fn believed_state(
        &self,
        key: &HaScopeConfigKey,
        config: &HaScopeConfig,
        slot: Slot,
    ) -> Option<&'a schema::dpu_state_db::HaScopeState> {
        let accepted = self.memory.fences.get(key)?.incarnation;
        let programmed = self.store.fields(&RowId::of::<HaScope>(Place::Dpu(slot), &key.scope)).is_some();
        let believed =
            ha_scope::is_dpu_driven(config.owner) && self.incarnation(slot) == Some(accepted) && programmed;
        if believed { self.known.dpu_scope_state(slot, &key.scope) } else { None }
    }

    /// Whether a DPU's databases were read, so that its scopes can be reported.
    pub(crate) fn can_report(&self, slot: Slot) -> bool {
        self.known.has_read(Source::DpuStateDb(slot))
            && self.stores_read.contains(&(Place::Dpu(slot), Db::DpuApplDb))
    }

    /// Leaves a row as it is.
    pub(crate) fn hold(&self, row: RowId<Place>, plan: &mut Plan<Place>) {
        if let Some(fields) = self.store.fields(&row) {
            plan.want_fields(row, fields.clone());
        }
    }

    /// Wants a row unless something else wants the same key already.
    fn want_first<R: Row>(&self, place: Place, key: &R::Key, row: &R, plan: &mut Plan<Place>) {
        if plan.get(&RowId::of::<R>(place, key)).is_none() {
            plan.want(place, key, row);
        }
    }
}

/// Wants the NPU's rows.
pub(crate) fn npu(view: &View<'_>, plan: &mut Plan<Place>) {
    lives(view, plan);
    for (key, config) in &view.known.scopes {
        fence(view, key, config, plan);
        state(view, key, config, plan);
    }
    routes(view, plan);
    neighbours(view, plan);
}

fn lives(view: &View<'_>, plan: &mut Plan<Place>) {
    for slot in view.slots() {
        let life = view.memory.lives.get(&slot).and_then(|life| life.info.as_ref());
        if let (Some(info), Some((name, dpu))) = (life, view.known.topology.local(slot)) {
            let names =
                DpuResetInfo { dpu_id: Some(name.clone()), vdpu_id: dpu.vdpu_id.clone(), ..info.clone() };
            plan.want(Place::Npu, &slot, &names);
        }
    }
}

fn fence(view: &View<'_>, key: &HaScopeConfigKey, config: &HaScopeConfig, plan: &mut Plan<Place>) {
    let ours = match view.locate(key) {
        Location::Here(_) | Location::Unknown => ha_scope::is_dpu_driven(config.owner),
        Location::Elsewhere => false,
    };
    if let (true, Some(record)) = (ours, view.memory.fences.get(key)) {
        plan.want(Place::Npu, key, record);
    }
}

fn state(view: &View<'_>, key: &HaScopeConfigKey, config: &HaScopeConfig, plan: &mut Plan<Place>) {
    let row = RowId::of::<HaScopeState>(Place::Npu, key);
    match view.locate(key) {
        Location::Elsewhere => {}
        Location::Unknown => view.hold(row, plan),
        Location::Here(slot) if !view.can_report(slot) => view.hold(row, plan),
        Location::Here(slot) => {
            let Some(memory) = view.memory.scopes.get(key) else { return };
            let ha_set = view.known.set_of(key, config);
            let ha_set_row = config.ha_set(key).and_then(|id| planned_set(view, plan, slot, &id));
            let report = Report {
                config,
                ha_set_config: ha_set.map(|(_, set)| set),
                ha_set: ha_set_row,
                health: view.known.health(slot),
                dpu_state: view.known.dpu_state(slot),
                bfd: view.known.bfd(slot),
                state: view.believed_state(key, config, slot),
                incarnation: view.incarnation(slot),
                memory,
            };
            plan.want(Place::Npu, key, &scope_state::row(&report));
        }
    }
}

/// The HA set's row as planned; where the DPU is not to have it yet, as it would be planned.
fn planned_set(view: &View<'_>, plan: &Plan<Place>, slot: Slot, id: &HaSetId) -> Option<HaSet> {
    let row = RowId::of::<HaSet>(Place::Dpu(slot), id);
    match plan.get(&row) {
        Some(fields) => HaSet::from_fields(&row.key, fields).ok(),
        None => crate::derive_dpu::ha_set(view, slot, id),
    }
}

fn routes(view: &View<'_>, plan: &mut Plan<Place>) {
    for (id, resolution) in view.resolved {
        let Some(config) = view.known.sets.get(id) else { continue };
        match (resolution, view.known.global.as_ref()) {
            (Ok(set), Some(global)) if manages_any(view, set) => {
                for (key, row) in vnet::rows(config, set, global) {
                    view.want_first(Place::Npu, &key, &row, plan);
                }
            }
            (Ok(_), Some(_)) => {}
            (Err(_), _) | (Ok(_), None) => hold_routes(view, config, plan),
        }
    }
}

fn manages_any(view: &View<'_>, set: &crate::ha_set::ResolvedSet) -> bool {
    set.members.iter().any(|placed| placed.member.slot.is_some_and(|slot| view.config.manages(slot)))
}

/// A HA set that does not resolve keeps its routes, in whichever VNET they are.
fn hold_routes(view: &View<'_>, config: &schema::appl_db::HaSetConfig, plan: &mut Plan<Place>) {
    let vips: BTreeSet<String> = vnet::vips(config).map(|(_, vip)| vip.to_string()).collect();
    for (row, _) in view.store.rows_of(&Place::Npu, Table::VnetRouteTunnel) {
        let is_ours = VnetRouteTunnel::parse_key(&row.key).is_ok_and(|key| vips.contains(&key.prefix));
        if is_ours && plan.get(row).is_none() {
            view.hold(row.clone(), plan);
        }
    }
}

fn neighbours(view: &View<'_>, plan: &mut Plan<Place>) {
    let Some(global) = view.known.global.as_ref() else {
        for (row, _) in view.store.rows_of(&Place::Npu, Table::NeighResolve) {
            view.hold(row.clone(), plan);
        }
        return;
    };
    let managed = view.known.topology.dpus.values().filter(|dpu| view.config.manages(dpu.dpu_id));
    for (key, row) in neigh::rows(managed, global) {
        plan.want(Place::Npu, &key, &row);
    }
}

/// Confirmed fields of a row and what the plan wants agree, and nothing is on its way.
pub(crate) fn is_settled(view: &View<'_>, row: &RowId<Place>, wanted: &Fields) -> bool {
    view.store.fields(row) == Some(wanted) && view.store.is_consumed(row) && !view.store.is_under_way(row)
}

/// The global configuration, where HA sets can be derived at all.
pub(crate) fn global<'a>(view: &View<'a>) -> Option<&'a HaGlobalConfig> {
    view.known.global.as_ref()
}
