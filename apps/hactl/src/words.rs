//! A change of a row in the words of the restart procedure (DESIGN 3).

use schema::appl_db::{HaScopeConfig, HaSetConfig};
use schema::chassis_state_db::{DpuHealth, DpuState};
use schema::dpu_appl_state_db::HaScopeResult;
use schema::dpu_state_db::{self, BfdProbeState};
use schema::state_db::{DpuResetInfo, HaScopeState};
use schema::{AsicHaState, Fields, LinkState, Row, Table};
use serde::Serialize;

/// Fields whose change alone is no news: signs of life and times that follow something else.
const NO_NEWS: [&str; 2] = ["last_heartbeat_time_in_ms", "last_updated_time"];

/// What a change means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// The step of the procedure, if it is one.
    pub step: Option<u8>,
    /// Who did it.
    pub who: &'static str,
    /// What.
    pub what: String,
}

/// A row before and after.
#[derive(Clone, Copy, Debug)]
pub struct Edit<'a> {
    /// The table.
    pub table: Table,
    /// The key.
    pub key: &'a str,
    /// The row before; `None` if it was not there.
    pub old: Option<&'a Fields>,
    /// The row now; `None` if it is gone.
    pub new: Option<&'a Fields>,
}

impl Edit<'_> {
    fn rows<R: Row>(&self) -> (Option<R>, Option<R>) {
        let row = |fields: Option<&Fields>| R::from_fields(self.key, fields?).ok();
        (row(self.old), row(self.new))
    }

    /// The fields that differ, as `name old -> new`.
    fn differing(&self) -> Vec<String> {
        let empty = Fields::new();
        let (old, new) = (self.old.unwrap_or(&empty), self.new.unwrap_or(&empty));
        let mut names: Vec<&str> = old.iter().chain(new.iter()).map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        let changed =
            names.into_iter().filter(|name| old.get(name) != new.get(name) && !NO_NEWS.contains(name));
        let shown = |fields: &Fields, name| fields.text(name).map_or("nothing".to_owned(), str::to_owned);
        changed.map(|name| format!("{name} {} -> {}", shown(old, name), shown(new, name))).collect()
    }
}

/// What a change means; `None` if it is no news.
pub fn said(edit: Edit<'_>) -> Option<Said> {
    let Edit { table, key, old, new } = edit;
    if old.is_some() && new.is_some() && edit.differing().is_empty() {
        return None;
    }
    let who = who(table);
    let (step, what) = match table {
        Table::DpuState => dpu_state(&edit),
        Table::DashHaSetConfig => configuration(&edit, "HA set", wanted_set),
        Table::DashHaScopeConfig => configuration(&edit, "HA scope", wanted_scope),
        Table::DashHaSet => programmed(&edit, "HA set"),
        Table::DashHaScope => programmed(&edit, "HA scope"),
        Table::BfdSession => programmed(&edit, "BFD session"),
        Table::DashHaSetResult => taken(&edit, "HA set"),
        Table::DashHaScopeResult => taken(&edit, "HA scope"),
        Table::DpuDashHaScopeState => on_the_dpu(&edit),
        Table::DashBfdProbeState => up_sessions(&edit),
        Table::DashHaScopeState => reported(&edit),
        Table::DpuResetInfo => reset(&edit),
        Table::Dpu
        | Table::RemoteDpu
        | Table::Vdpu
        | Table::DashHaGlobalConfig
        | Table::LoopbackInterface
        | Table::Port
        | Table::PortTable
        | Table::SystemReady
        | Table::VnetRouteTunnel
        | Table::NeighResolve
        | Table::DashHaScopeFence
        | Table::NpuBfdSession
        | Table::VnetRouteTunnelState
        | Table::ChassisMidplane
        | Table::BfdSoftwareSession
        | Table::DpuBfdProbeState
        | Table::DpuDashHaSetState => (None, plain(&edit, &table.redis_key(key))),
    };
    Some(Said { step, who, what })
}

fn who(table: Table) -> &'static str {
    invariants::Part::writer_of(table).name()
}

/// Comes, goes or changes, without more to say of it.
fn plain(edit: &Edit<'_>, name: &str) -> String {
    match (edit.old, edit.new) {
        (None, _) => format!("{name} comes"),
        (_, None) => format!("{name} goes"),
        (Some(_), Some(_)) => format!("{name}: {}", edit.differing().join(", ")),
    }
}

fn dpu_state(edit: &Edit<'_>) -> (Option<u8>, String) {
    let (old, new) = edit.rows::<DpuState>();
    let before = old.map_or(DpuHealth::Unknown, |row| row.health());
    let Some(now) = new else { return (None, plain(edit, edit.key)) };
    match now.health() {
        health if health == before => (None, plain(edit, edit.key)),
        DpuHealth::Down => {
            let is_down = |plane: Option<LinkState>| plane == Some(LinkState::Down);
            let planes = [
                ("midplane", is_down(now.midplane_link_state), now.midplane_link_reason),
                ("control plane", is_down(now.control_plane_state), now.control_plane_reason),
            ];
            let down: Vec<String> = planes
                .into_iter()
                .filter(|(_, down, _)| *down)
                .map(|(plane, _, why)| match why.filter(|why| !why.is_empty()) {
                    Some(why) => format!("{plane} ({why})"),
                    None => plane.to_owned(),
                })
                .collect();
            (Some(2), format!("{} is DOWN: {}", edit.key, down.join(", ")))
        }
        DpuHealth::Up => {
            let boot = now.boot_id.map(|boot| format!(", boot id {boot}")).unwrap_or_default();
            (Some(10), format!("{} is up{boot}", edit.key))
        }
        DpuHealth::Unknown => (None, format!("{} is neither up nor down", edit.key)),
    }
}

fn configuration<R: Row>(edit: &Edit<'_>, kind: &str, wanted: fn(&R) -> String) -> (Option<u8>, String) {
    let (old, new) = edit.rows::<R>();
    let name = format!("{kind} configuration {}", edit.key);
    let now = new.as_ref().map_or_else(|| "which cannot be understood".to_owned(), wanted);
    match (edit.old, edit.new) {
        (None, _) => (Some(12), format!("creates {name}: {now}")),
        (_, None) => (Some(4), format!("deletes {name}")),
        (Some(_), Some(_)) => {
            let before = old.as_ref().map_or_else(|| "what could not be understood".to_owned(), wanted);
            (None, format!("changes {name} from {before} to {now}"))
        }
    }
}

fn wanted_set(set: &HaSetConfig) -> String {
    let vips = set.vip_v4.map(|vip| vip.to_string()).into_iter().chain(set.vip_v6.map(|vip| vip.to_string()));
    let (vips, members): (Vec<String>, Vec<String>) =
        (vips.collect(), set.vdpu_ids.iter().map(ToString::to_string).collect());
    format!("VIP {}, members {}, version {}", vips.join(" "), members.join(" "), set.version)
}

fn wanted_scope(scope: &HaScopeConfig) -> String {
    let approved = match scope.approved_pending_operation_ids.len() {
        0 => String::new(),
        count => format!(", {count} operations approved"),
    };
    let off = if scope.disabled { ", disabled" } else { "" };
    format!("desired {}{off}, version {}{approved}", scope.desired_ha_state, scope.version)
}

fn programmed(edit: &Edit<'_>, kind: &str) -> (Option<u8>, String) {
    let name = format!("{kind} {}", edit.key);
    match (edit.old, edit.new) {
        (None, Some(new)) => {
            let role = new.text("ha_role").map(|role| format!(" with role {role}")).unwrap_or_default();
            (Some(13), format!("tells the DPU of {name}{role}"))
        }
        (_, None) => (Some(5), format!("{name} goes from DPU_APPL_DB")),
        (_, Some(_)) => (None, plain(edit, &name)),
    }
}

fn taken(edit: &Edit<'_>, kind: &str) -> (Option<u8>, String) {
    match edit.rows::<HaScopeResult>() {
        (_, Some(now)) => (Some(14), format!("has taken {kind} {}: result {}", edit.key, now.result)),
        (_, None) => (None, plain(edit, &format!("result of {kind} {}", edit.key))),
    }
}

fn on_the_dpu(edit: &Edit<'_>) -> (Option<u8>, String) {
    let (old, new) = edit.rows::<dpu_state_db::HaScopeState>();
    let name = format!("HA scope {}", edit.key);
    let Some(now) = new else { return (None, format!("{name}: its state goes from DPU_STATE_DB")) };
    let before = old.as_ref().and_then(|row| row.ha_state);
    let pending = [
        (now.activate_role_pending, "asks to activate its role"),
        (now.flow_reconcile_pending, "asks to reconcile flows"),
        (now.brainsplit_recover_pending, "asks to leave split brain"),
    ];
    let asks: Vec<&str> = pending.into_iter().filter(|(asks, _)| *asks).map(|(_, what)| what).collect();
    let asks = if asks.is_empty() { String::new() } else { format!(", {}", asks.join(", ")) };
    match now.ha_state {
        Some(state) if before != Some(state) => {
            let before = before.map(|before| format!(", was {before}")).unwrap_or_default();
            (Some(15), format!("{name} is {state}{before}{asks}"))
        }
        Some(_) | None => (None, format!("{}{asks}", plain(edit, &name))),
    }
}

fn up_sessions(edit: &Edit<'_>) -> (Option<u8>, String) {
    let (_, new) = edit.rows::<BfdProbeState>();
    let up = new.map(|row| {
        let v4 = row.v4_bfd_up_sessions.iter().map(ToString::to_string);
        v4.chain(row.v6_bfd_up_sessions.iter().map(ToString::to_string)).collect::<Vec<_>>()
    });
    let up = up.unwrap_or_default();
    let what = if up.is_empty() {
        "no BFD session is up".to_owned()
    } else {
        format!("BFD is up to {}", up.join(", "))
    };
    (None, what)
}

fn reported(edit: &Edit<'_>) -> (Option<u8>, String) {
    let (old, new) = edit.rows::<HaScopeState>();
    let Some(now) = new else { return (Some(6), format!("deletes the state of HA scope {}", edit.key)) };
    let state = now.local_ha_state.map_or("no state", AsicHaState::as_str);
    let pending: Vec<String> = now
        .pending_operation_types
        .iter()
        .zip(&now.pending_operation_ids)
        .map(|(kind, id)| format!("{kind} {id}"))
        .collect();
    let pending = if pending.is_empty() {
        String::new()
    } else {
        format!(", waits for approval of {}", pending.join(", "))
    };
    let same = |old: &HaScopeState| {
        old.local_ha_state == now.local_ha_state && old.pending_operation_ids == now.pending_operation_ids
    };
    if old.as_ref().is_some_and(same) {
        return (None, plain(edit, &format!("reports of HA scope {}", edit.key)));
    }
    (Some(16), format!("reports HA scope {}: {state}{pending}", edit.key))
}

fn reset(edit: &Edit<'_>) -> (Option<u8>, String) {
    let (old, new) = edit.rows::<DpuResetInfo>();
    let Some(now) = new else { return (None, plain(edit, edit.key)) };
    let before = old.as_ref();
    let mut said = Vec::new();
    if now.incarnation != before.and_then(|row| row.incarnation)
        && let Some(incarnation) = now.incarnation
    {
        said.push(format!("begins a new life ({incarnation})"));
    }
    match (before.map(|row| row.reset_status), now.reset_status) {
        (Some(false) | None, true) => said.push("was reset".to_owned()),
        (Some(true), false) => said.push("reset is dealt with".to_owned()),
        (Some(true), true) | (Some(false) | None, false) => {}
    }
    if now.dpu_ready != before.and_then(|row| row.dpu_ready) {
        let ready = if now.dpu_ready == Some(true) { "is ready" } else { "is not ready" };
        said.push(ready.to_owned());
    }
    match said.is_empty() {
        true => (None, plain(edit, edit.key)),
        false => (None, format!("{}: {}", edit.key, said.join(", "))),
    }
}
