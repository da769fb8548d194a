//! P3 and P4: rows that may exist only while something else holds.

use std::collections::BTreeSet;
use std::net::IpAddr;

use schema::appl_db::HaScopeConfigKey;
use schema::chassis_state_db::DpuHealth;
use schema::dpu_appl_db::{BfdKey, BfdSession, HaScope};
use schema::dpu_state_db::HaScopeState;
use schema::state_db::{BfdSoftwareSession, HaScopeFence};
use schema::{AsicHaRole, Fields, Row, Table};

use super::Findings;
use crate::finding::{Finding, Invariant};
use crate::model::{DpuModel, Model, SwitchModel};

/// Checks P3 at rest: every HA scope row of a DPU has a fence record of the present incarnation, and every
/// fence record has a configuration.
pub fn fenced(model: &Model<'_>) -> Vec<Finding> {
    let mut findings = Findings::of(Invariant::P3);
    for (switch, dpu) in model.dpus() {
        for scope in &dpu.scopes {
            fence_of_an_applied_scope(switch, dpu, &scope.key, &mut findings);
        }
    }
    for switch in &model.switches {
        let configured: BTreeSet<&HaScopeConfigKey> = switch.scopes.iter().map(|scope| &scope.key).collect();
        for (key, _) in switch.snapshot.rows.typed::<HaScopeFence>() {
            if !configured.contains(&key) {
                let what = format!("there is no {} row for it", Table::DashHaScopeConfig);
                findings.row::<HaScopeFence>(&switch.snapshot.name, &key, what);
            }
        }
    }
    findings.list
}

fn fence_of_an_applied_scope(
    switch: &SwitchModel<'_>,
    dpu: &DpuModel<'_>,
    key: &HaScopeConfigKey,
    findings: &mut Findings,
) {
    if dpu.snapshot.rows.row::<HaScope>(&key.scope).is_none() {
        return;
    }
    let place = &switch.snapshot.name;
    match switch.snapshot.rows.row::<HaScopeFence>(key) {
        None => findings.row::<HaScopeFence>(place, key, "missing, though the scope is applied"),
        Some(fence) if Some(fence.incarnation) != dpu.incarnation() => {
            let present = dpu.incarnation().map_or("none".to_owned(), |incarnation| incarnation.to_string());
            let what = format!(
                "the configuration is of incarnation {} and applied in incarnation {present}",
                fence.incarnation
            );
            findings.row::<HaScopeFence>(place, key, what);
            findings.since(dpu.lives_since());
        }
        Some(_) => {}
    }
}

/// Checks P4 at rest: `DPU_APPL_DB` holds one BFD row per NPU exactly while the DPU is up and a HA set of it is
/// configured; the DPU holds the same sessions exactly while a scope of such a set serves.
pub fn bfd(model: &Model<'_>) -> Vec<Finding> {
    let mut findings = Findings::of(Invariant::P4);
    for (_, dpu) in model.dpus() {
        match dpu.health {
            DpuHealth::Up => rows_on_the_npu(dpu, &dpu.bfd_peers, &mut findings),
            DpuHealth::Down => rows_on_the_npu(dpu, &BTreeSet::new(), &mut findings),
            // Nothing is created and nothing withdrawn: whatever is there is right.
            DpuHealth::Unknown => {}
        }
        sessions_on_the_dpu(dpu, &mut findings);
    }
    findings.list
}

fn rows_on_the_npu(dpu: &DpuModel<'_>, wanted: &BTreeSet<IpAddr>, findings: &mut Findings) {
    let rows = &dpu.snapshot.rows;
    for peer in wanted {
        let key = BfdKey::to_npu(*peer);
        match rows.row::<BfdSession>(&key) {
            None => {
                findings.row::<BfdSession>(&dpu.place, &key, "missing, though the DPU is up and in a HA set")
            }
            Some(row) => {
                let local = dpu.address_towards(*peer);
                if row.local_addr != local {
                    let what = format!("local_addr is {:?}, the DPU's address is {local:?}", row.local_addr);
                    findings.row::<BfdSession>(&dpu.place, &key, what);
                }
            }
        }
    }
    for (text, _) in rows.of(Table::BfdSession) {
        let known = BfdSession::parse_key(text)
            .is_ok_and(|key| wanted.contains(&key.peer) && key == BfdKey::to_npu(key.peer));
        if !known {
            let why = match dpu.health {
                DpuHealth::Up => "no HA set of the DPU has such an NPU",
                DpuHealth::Down => "the DPU is down",
                DpuHealth::Unknown => "it is not wanted",
            };
            findings.raw(&dpu.place, Table::BfdSession, text, format!("extra: {why}"));
        }
    }
}

/// Whether a scope of the DPU answers traffic, by what the DPU itself reports and was told.
fn serves(dpu: &DpuModel<'_>) -> bool {
    let rows = &dpu.snapshot.rows;
    dpu.scopes.iter().any(|scope| {
        let state = rows.row::<HaScopeState>(&scope.key.scope).and_then(|row| row.ha_state);
        let shutting =
            rows.row::<HaScope>(&scope.key.scope).is_none_or(|row| row.ha_role == AsicHaRole::Dead);
        state.is_some_and(|state| state.serves()) && !shutting
    })
}

fn sessions_on_the_dpu(dpu: &DpuModel<'_>, findings: &mut Findings) {
    let Some(local) = &dpu.snapshot.local else { return };
    let serves = serves(dpu);
    let row_of =
        |table: Table, text: &str, rows: &crate::Rows| -> Option<Fields> { rows.get(table, text).cloned() };
    for (text, _) in dpu.snapshot.rows.of(Table::BfdSession).filter(|_| serves) {
        let Ok(key) = BfdSession::parse_key(text) else { continue };
        let session = BfdSoftwareSession::key_text(&key);
        if row_of(Table::BfdSoftwareSession, &session, local).is_none() {
            let what = "missing, though a scope of the DPU serves";
            findings.raw(&dpu.place, Table::BfdSoftwareSession, &session, what);
        }
    }
    for (text, _) in local.of(Table::BfdSoftwareSession) {
        let asked = BfdSoftwareSession::parse_key(text)
            .is_ok_and(|key| dpu.snapshot.rows.row::<BfdSession>(&key).is_some());
        let why = match (serves, asked) {
            (true, true) => continue,
            (false, _) => "extra: no scope of the DPU serves",
            (true, false) => "extra: DPU_APPL_DB has no such session",
        };
        findings.raw(&dpu.place, Table::BfdSoftwareSession, text, why);
    }
}
