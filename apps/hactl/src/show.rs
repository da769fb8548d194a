//! `hactl show`: a [`View`] on one screen.

use schema::chassis_state_db::DpuHealth;
use schema::{LinkState, WallMs};

use crate::table::TextTable;
use crate::times::{ago, date};
use crate::view::{DpuView, ScopeView, Unreachable, View};

/// The view as text.
pub fn text(view: &View) -> String {
    let now = WallMs(view.read_ms);
    let mut out = format!("{}, read in {} ms\n", date(now), view.took_ms);
    dpus(view, now, &mut out);
    ha_sets(view, &mut out);
    ha_scopes(view, now, &mut out);
    notes(view, &mut out);
    unreachable(&view.unreachable, &mut out);
    out
}

fn plane(state: Option<LinkState>) -> String {
    state.map_or("unknown", LinkState::as_str).to_owned()
}

fn health(health: DpuHealth) -> String {
    match health {
        DpuHealth::Up => "up",
        DpuHealth::Down => "DOWN",
        DpuHealth::Unknown => "unknown",
    }
    .to_owned()
}

/// Time and how long ago that is.
fn when(at: Option<i64>, now: WallMs) -> String {
    at.map(|at| format!("{} ({})", date(WallMs(at)), ago(WallMs(at), now))).unwrap_or_default()
}

fn reset(dpu: &DpuView, now: WallMs) -> String {
    match dpu.reset_pending {
        Some(true) => format!("PENDING since {}", when(dpu.reset_ms, now)),
        Some(false) => when(dpu.reset_ms, now),
        None => "no row".to_owned(),
    }
}

fn dpus(view: &View, now: WallMs, out: &mut String) {
    let mut table = TextTable::new(&[
        "DPU",
        "health",
        "midplane",
        "control",
        "data",
        "since",
        "lives since",
        "last reset",
        "BFD up",
    ]);
    for switch in &view.switches {
        for dpu in &switch.dpus {
            let [midplane, control, data] = dpu.planes.map(plane);
            let lives = dpu.incarnation.and_then(|incarnation| i64::try_from(incarnation).ok());
            table.row(vec![
                format!("{} {}", switch.name, dpu.slot),
                health(dpu.health),
                midplane,
                control,
                data,
                dpu.health_since_ms.map(|at| date(WallMs(at))).unwrap_or_default(),
                when(lives, now),
                reset(dpu, now),
                format!("{} of {}", dpu.bfd_up.len(), dpu.bfd_rows),
            ]);
        }
    }
    table.print(out);
}

fn ha_sets(view: &View, out: &mut String) {
    let mut table =
        TextTable::new(&["HA set", "on", "VIP", "members, preferred first", "version", "next hops"]);
    for switch in &view.switches {
        for set in &switch.ha_sets {
            table.row(vec![
                set.id.clone(),
                switch.name.clone(),
                set.vips.join(", "),
                set.members.join(", "),
                set.version.clone(),
                set.next_hops.join(", "),
            ]);
        }
    }
    table.print(out);
}

fn ha_scopes(view: &View, now: WallMs, out: &mut String) {
    let mut table = TextTable::new(&[
        "HA scope",
        "DPU",
        "desired",
        "told",
        "state",
        "since",
        "term",
        "pending operations",
    ]);
    for switch in &view.switches {
        for scope in &switch.ha_scopes {
            let slot = scope.slot.as_deref().unwrap_or("no DPU");
            table.row(vec![
                scope.key.clone(),
                format!("{} {slot}", switch.name),
                scope.desired.clone(),
                told(scope),
                scope.state.clone().unwrap_or_default(),
                when(scope.state_since_ms, now),
                scope.term.map(|term| term.to_string()).unwrap_or_default(),
                pending(scope, now),
            ]);
        }
    }
    table.print(out);
}

fn told(scope: &ScopeView) -> String {
    match (&scope.told, scope.fenced) {
        (Some(role), _) => role.clone(),
        (None, true) => "nothing: FENCED".to_owned(),
        (None, false) => "nothing".to_owned(),
    }
}

fn pending(scope: &ScopeView, now: WallMs) -> String {
    let all: Vec<String> = scope.pending.iter().map(|(kind, id)| format!("{kind} {id}")).collect();
    match scope.pending_since_ms {
        Some(since) => format!("{}, for {}", all.join(", "), ago(WallMs(since), now)),
        None => all.join(", "),
    }
}

/// What is not in a column because it is rarely there.
fn notes(view: &View, out: &mut String) {
    let mut notes = Vec::new();
    for switch in &view.switches {
        for dpu in &switch.dpus {
            let place = format!("{} {}", switch.name, dpu.slot);
            notes.extend(dpu.reasons.iter().map(|reason| format!("{place} {reason}")));
            if !dpu.unconsumed.is_empty() {
                notes.push(format!("{place} has not taken {}", dpu.unconsumed.join(", ")));
            }
        }
        for scope in switch.ha_scopes.iter().filter(|scope| scope.state != scope.reported) {
            let shown = |state: &Option<String>| state.clone().unwrap_or_else(|| "nothing".to_owned());
            let (reported, state) = (shown(&scope.reported), shown(&scope.state));
            notes.push(format!("{}: hamgrd reports {reported}, the DPU {state}", scope.key));
        }
    }
    if !notes.is_empty() {
        out.push_str(&format!("\n{}\n", notes.join("\n")));
    }
}

/// Names what could not be read.
pub fn unreachable(databases: &[Unreachable], out: &mut String) {
    if databases.is_empty() {
        return;
    }
    out.push_str("\nOUT OF REACH, so nothing is known of it:\n");
    for Unreachable { place, db, reason } in databases {
        out.push_str(&format!("  {place} {db}: {reason}\n"));
    }
}
