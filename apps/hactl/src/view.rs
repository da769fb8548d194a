//! What there is, as data: the same for text and JSON. Nothing here is derived from a wish; it is what the rows say.

use std::time::Duration;

use invariants::{DpuModel, Model, SwitchModel};
use schema::appl_db::{VnetRouteKey, VnetRouteTunnel};
use schema::chassis_state_db::DpuHealth;
use schema::dpu_appl_db::HaScope;
use schema::dpu_state_db::{BfdProbeState, DashHa, HaScopeState as DpuScopeState};
use schema::state_db::{HaScopeFence, HaScopeState};
use schema::{Db, LinkState, Table, WallMs};
use serde::Serialize;
use snapshot::Reading;

use crate::times;

/// A database that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreachable {
    /// The switch, and the DPU where the database is one of a DPU's.
    pub place: String,
    /// The database.
    pub db: Db,
    /// Why.
    pub reason: String,
}

/// Everything that an operator needs on one screen.
#[derive(Debug, Serialize)]
pub struct View {
    /// When it was read, in ms since the epoch.
    pub read_ms: i64,
    /// How long that took, in ms.
    pub took_ms: u128,
    /// The switches.
    pub switches: Vec<SwitchView>,
    /// What could not be read.
    pub unreachable: Vec<Unreachable>,
}

/// A switch.
#[derive(Debug, Serialize)]
pub struct SwitchView {
    /// Its name.
    pub name: String,
    /// Its DPUs.
    pub dpus: Vec<DpuView>,
    /// The HA sets that are configured on it.
    pub ha_sets: Vec<SetView>,
    /// The HA scopes that are configured on it.
    pub ha_scopes: Vec<ScopeView>,
}

/// A DPU.
#[derive(Debug, Serialize)]
pub struct DpuView {
    /// Its slot, `DPU0`.
    pub slot: String,
    /// The name of its `DPU` row.
    pub name: String,
    /// Midplane and control plane together.
    pub health: DpuHealth,
    /// Midplane, control plane, data plane; `null` is unknown.
    pub planes: [Option<LinkState>; 3],
    /// When midplane or control plane last changed.
    pub health_since_ms: Option<i64>,
    /// Why a plane is down, as pmon says it.
    pub reasons: Vec<String>,
    /// The present life: the time in ms at which it was noticed.
    pub incarnation: Option<u64>,
    /// The kernel's boot id.
    pub boot_id: Option<String>,
    /// `dpu_ready` of `DPU_RESET_INFO`.
    pub ready: Option<bool>,
    /// A reset that nobody has dealt with yet.
    pub reset_pending: Option<bool>,
    /// When the last reset was noticed.
    pub reset_ms: Option<i64>,
    /// NPUs to which the DPU's BFD sessions are up.
    pub bfd_up: Vec<String>,
    /// NPUs for which `DPU_APPL_DB` has a BFD row.
    pub bfd_rows: usize,
    /// Rows that hamgrd produced and the DPU has not taken.
    pub unconsumed: Vec<String>,
}

/// A HA set, as one switch has it.
#[derive(Debug, Serialize)]
pub struct SetView {
    /// Its id.
    pub id: String,
    /// Its VIPs.
    pub vips: Vec<String>,
    /// Its members; the preferred first.
    pub members: Vec<String>,
    /// The version of the configuration.
    pub version: String,
    /// Where this switch sends the VIPs' traffic: next hops, the primary first.
    pub next_hops: Vec<String>,
}

/// A HA scope, as the switch that carries its vDPU has it.
#[derive(Debug, Serialize)]
pub struct ScopeView {
    /// Its key, `vdpu0_0:haset0`.
    pub key: String,
    /// The DPU that carries the vDPU; `null` if none of this switch does.
    pub slot: Option<String>,
    /// What the controller asks for.
    pub desired: String,
    /// What hamgrd told the DPU; `null` if there is no row.
    pub told: Option<String>,
    /// What the DPU says that it is.
    pub state: Option<String>,
    /// Since when.
    pub state_since_ms: Option<i64>,
    /// The term.
    pub term: Option<u32>,
    /// What hamgrd reports to the controller; differs from `state` only while something is on its way.
    pub reported: Option<String>,
    /// Operations that wait for approval, type and id.
    pub pending: Vec<(String, String)>,
    /// When that list last changed.
    pub pending_since_ms: Option<i64>,
    /// The configuration is of a life before the DPU's present one, and so not applied.
    pub fenced: bool,
}

impl View {
    /// What the rows say.
    pub fn of(reading: &Reading) -> Self {
        let model = Model::of(&reading.snapshot);
        let (began, took) = reading.span().unwrap_or((times::now(), Duration::ZERO));
        Self {
            read_ms: began.0,
            took_ms: took.as_millis(),
            switches: model.switches.iter().map(SwitchView::of).collect(),
            unreachable: unreachable(reading),
        }
    }
}

/// What could not be read.
pub fn unreachable(reading: &Reading) -> Vec<Unreachable> {
    let one = |(read, reason): (&snapshot::DatabaseRead, &str)| {
        let place = match read.slot {
            Some(slot) => format!("{} {slot}", read.switch),
            None => read.switch.clone(),
        };
        Unreachable { place, db: read.db, reason: reason.to_owned() }
    };
    reading.failures().map(one).collect()
}

impl SwitchView {
    fn of(switch: &SwitchModel<'_>) -> Self {
        Self {
            name: switch.snapshot.name.clone(),
            dpus: switch.dpus.iter().map(DpuView::of).collect(),
            ha_sets: SetView::all(switch),
            ha_scopes: ScopeView::all(switch),
        }
    }
}

fn ms(at: Option<WallMs>) -> Option<i64> {
    at.map(|at| at.0)
}

impl DpuView {
    fn of(dpu: &DpuModel<'_>) -> Self {
        let (state, reset) = (dpu.state.as_ref(), dpu.reset.as_ref());
        let rows = &dpu.snapshot.rows;
        let up = rows.row::<BfdProbeState>(&DashHa);
        let up = up.map(|up| {
            let v4 = up.v4_bfd_up_sessions.iter().map(ToString::to_string);
            v4.chain(up.v6_bfd_up_sessions.iter().map(ToString::to_string)).collect()
        });
        let reasons = state.map(|state| {
            let of = |plane: Option<LinkState>, name: &str, why: &Option<String>| {
                let why = why.as_ref().filter(|why| plane == Some(LinkState::Down) && !why.is_empty())?;
                Some(format!("{name}: {why}"))
            };
            [
                of(state.midplane_link_state, "midplane", &state.midplane_link_reason),
                of(state.control_plane_state, "control plane", &state.control_plane_reason),
                of(state.data_plane_state, "data plane", &state.data_plane_reason),
            ]
        });
        let plane = |of: fn(&schema::chassis_state_db::DpuState) -> Option<LinkState>| state.and_then(of);
        Self {
            slot: dpu.config.dpu_id.to_string(),
            name: dpu.name.to_string(),
            health: dpu.health,
            planes: [
                plane(|state| state.midplane_link_state),
                plane(|state| state.control_plane_state),
                plane(|state| state.data_plane_state),
            ],
            health_since_ms: ms(dpu.health_since()),
            reasons: reasons.into_iter().flatten().flatten().collect(),
            incarnation: dpu.incarnation(),
            boot_id: state.and_then(|state| state.boot_id.clone()),
            ready: reset.and_then(|reset| reset.dpu_ready),
            reset_pending: reset.map(|reset| reset.reset_status),
            reset_ms: ms(reset.and_then(|reset| reset.timestamp_ms)),
            bfd_up: up.unwrap_or_default(),
            bfd_rows: rows.of(Table::BfdSession).count(),
            unconsumed: dpu.snapshot.unconsumed.iter().map(|(table, key)| table.redis_key(key)).collect(),
        }
    }
}

impl SetView {
    fn all(switch: &SwitchModel<'_>) -> Vec<Self> {
        let routes = switch.snapshot.rows.typed::<VnetRouteTunnel>();
        let vnet = switch.global.as_ref().and_then(|global| global.dpu_vnet.clone());
        let next_hops = |vips: &[String]| -> Vec<String> {
            let of_a_vip =
                |key: &VnetRouteKey| vnet.as_ref() == Some(&key.vnet) && vips.contains(&key.prefix);
            let routes = routes.iter().filter(|(key, _)| of_a_vip(key));
            routes.flat_map(|(_, route)| route.endpoint.iter().map(ToString::to_string)).collect()
        };
        let sets = switch.sets.iter().map(|(id, set)| {
            let v4 = set.vip_v4.map(|vip| vip.to_string());
            let vips: Vec<String> = v4.into_iter().chain(set.vip_v6.map(|vip| vip.to_string())).collect();
            let (first, rest): (Vec<_>, Vec<_>) =
                set.vdpu_ids.iter().partition(|vdpu| set.preferred_vdpu_ids.first() == Some(*vdpu));
            Self {
                id: id.to_string(),
                members: first.into_iter().chain(rest).map(ToString::to_string).collect(),
                version: set.version.clone(),
                next_hops: next_hops(&vips),
                vips,
            }
        });
        sets.collect()
    }
}

impl ScopeView {
    fn all(switch: &SwitchModel<'_>) -> Vec<Self> {
        let host = &switch.snapshot.rows;
        let scopes = switch.scopes.iter().map(|scope| {
            let dpu = switch.dpu_of(&scope.key.vdpu);
            let rows = dpu.map(|dpu| &dpu.snapshot.rows);
            let told = rows.and_then(|rows| rows.row::<HaScope>(&scope.key.scope));
            let state = rows.and_then(|rows| rows.row::<DpuScopeState>(&scope.key.scope));
            let reported = host.row::<HaScopeState>(&scope.key);
            let fence = host.row::<HaScopeFence>(&scope.key);
            let pending = reported.as_ref().map(|row| {
                let types = row.pending_operation_types.iter().map(ToString::to_string);
                types.zip(row.pending_operation_ids.iter().map(ToString::to_string)).collect()
            });
            let pending: Vec<(String, String)> = pending.unwrap_or_default();
            let since = reported.as_ref().and_then(|row| row.pending_operation_list_time_ms);
            Self {
                key: <schema::appl_db::HaScopeConfig as schema::Row>::key_text(&scope.key),
                slot: dpu.map(|dpu| dpu.config.dpu_id.to_string()),
                desired: scope.config.desired_ha_state.to_string(),
                told: told.map(|row| row.ha_role.to_string()),
                state: state.as_ref().and_then(|row| row.ha_state).map(|state| state.to_string()),
                state_since_ms: state
                    .as_ref()
                    .and_then(|row| row.ha_state_start_time_s)
                    .map(|s| WallMs::from_seconds_or_ms(s).0),
                term: state.and_then(|row| row.ha_term),
                reported: reported.and_then(|row| row.local_ha_state).map(|state| state.to_string()),
                pending_since_ms: ms(since.filter(|_| !pending.is_empty())),
                pending,
                fenced: dpu.is_some_and(|dpu| dpu.is_fenced(fence.as_ref())),
            }
        });
        scopes.collect()
    }
}
