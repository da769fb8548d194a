//! Which confirmed rows that nobody wants are to be left alone: a stranger's row is never removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use reconcile::RowId;
use schema::appl_db::{HaScopeConfigKey, NeighResolve, VnetRouteTunnel};
use schema::{Db, Fields, Row, RowKey, Slot, Table};

use crate::input::{Config, Place};
use crate::known::Known;
use crate::neigh;
use crate::topology::Location;
use crate::vnet;

/// Tells our rows from strangers'.
pub(crate) struct Keeper<'a> {
    config: &'a Config,
    known: &'a Known,
    /// The rows of APPL_DB that this process wrote.
    written: &'a BTreeSet<RowId<Place>>,
    /// The data-path addresses of all DPUs, with the slot of those in this chassis.
    dpus: BTreeMap<IpAddr, Option<Slot>>,
}

impl<'a> Keeper<'a> {
    pub(crate) fn new(config: &'a Config, known: &'a Known, written: &'a BTreeSet<RowId<Place>>) -> Self {
        Self { config, known, written, dpus: known.topology.data_path_addresses() }
    }

    /// Whether the row is somebody else's.
    pub(crate) fn is_strangers(&self, row: &RowId<Place>, fields: &Fields) -> bool {
        let Self { config, known, written, dpus } = self;
        is_strangers(config, known, written, dpus, row, fields)
    }
}

fn is_strangers(
    config: &Config,
    known: &Known,
    written: &BTreeSet<RowId<Place>>,
    dpus: &BTreeMap<IpAddr, Option<Slot>>,
    row: &RowId<Place>,
    fields: &Fields,
) -> bool {
    const DPU_APPL_DB: [Table; 3] = [Table::DashHaSet, Table::DashHaScope, Table::BfdSession];
    const SCOPES: [Table; 2] = [Table::DashHaScopeState, Table::DashHaScopeFence];
    let table = row.table;
    let ours = if DPU_APPL_DB.contains(&table) {
        // The whole database is hamgrd's own.
        matches!(row.place, Place::Dpu(slot) if config.manages(slot))
    } else if SCOPES.contains(&table) {
        is_our_scope(config, known, &row.key)
    } else if table == Table::DpuResetInfo {
        Slot::from_text(&row.key, Db::StateDb.separator()).is_some_and(|slot| config.manages(slot))
    } else if table == Table::VnetRouteTunnel {
        written.contains(row) || is_our_route(config, dpus, &row.key, fields)
    } else {
        table == Table::NeighResolve
            && (written.contains(row) || is_our_neighbour(config, known, dpus, &row.key, fields))
    };
    !ours
}

/// The scope of a DPU managed here. A vDPU that is not ours may be another process's, unless there is none.
fn is_our_scope(config: &Config, known: &Known, key: &str) -> bool {
    let Some(key) = HaScopeConfigKey::from_text(key, Db::StateDb.separator()) else { return false };
    match known.topology.locate(&key.vdpu) {
        Location::Here(slot) => config.manages(slot),
        Location::Elsewhere | Location::Unknown => config.manages_all(),
    }
}

/// A route that a hamgrd wrote for a DPU managed here: watched by BFD towards DPUs that are all known.
fn is_our_route(config: &Config, dpus: &BTreeMap<IpAddr, Option<Slot>>, key: &str, fields: &Fields) -> bool {
    // The table may hold very many rows of others: most are told by this one field.
    if fields.text("monitoring") != Some(vnet::MONITORING) {
        return false;
    }
    let Ok((_, route)) = VnetRouteTunnel::parse(key, fields) else { return false };
    let monitors = route.endpoint_monitor.iter().map(|address| dpus.get(address).copied());
    let slots: Option<Vec<Option<Slot>>> = monitors.collect();
    slots.is_some_and(|slots| slots.into_iter().flatten().any(|slot| config.manages(slot)))
}

/// A neighbour that a hamgrd asked for in our VLAN, and not the one of another process.
fn is_our_neighbour(
    config: &Config,
    known: &Known,
    dpus: &BTreeMap<IpAddr, Option<Slot>>,
    key: &str,
    fields: &Fields,
) -> bool {
    let Ok((key, neighbour)) = NeighResolve::parse(key, fields) else { return false };
    let vlan = known.global.as_ref().and_then(|global| global.dpu_vlan.as_deref());
    let owner = dpus.get(&key.address).copied().flatten();
    neighbour.mac.as_deref() == Some(neigh::MAC_UNKNOWN)
        && vlan == Some(key.interface.as_str())
        && match owner {
            Some(slot) => config.manages(slot),
            None => config.manages_all(),
        }
}
