//! Changes in words.

use schema::{Fields, Table};

use super::fixture::healthy;
use crate::words::{Edit, said};

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().copied().collect()
}

/// Step and words of a change of that row of switch 0.
fn words(
    table: Table,
    key: &str,
    old: Option<&[(&str, &str)]>,
    new: Option<&[(&str, &str)]>,
) -> Option<String> {
    let (old, new) = (old.map(fields), new.map(fields));
    let said = said(Edit { table, key, old: old.as_ref(), new: new.as_ref() })?;
    let step = said.step.map(|step| format!("{step} ")).unwrap_or_default();
    Some(format!("{step}{}: {}", said.who, said.what))
}

#[test]
fn each_step_of_the_procedure_has_its_words() {
    let up: &[(&str, &str)] =
        &[("dpu_midplane_link_state", "up"), ("dpu_control_plane_state", "up"), ("boot_id", "b")];
    let down: &[(&str, &str)] =
        &[("dpu_midplane_link_state", "down"), ("dpu_midplane_link_reason", "no answer")];
    let active: &[(&str, &str)] = &[("ha_state", "active"), ("ha_role", "active")];
    let standby: &[(&str, &str)] = &[("ha_state", "standby"), ("activate_role_pending", "true")];
    let cases = [
        (Table::DpuState, "DPU0", Some(up), Some(down), "2 pmond: DPU0 is DOWN: midplane (no answer)"),
        (Table::DpuState, "DPU0", Some(down), Some(up), "10 pmond: DPU0 is up, boot id b"),
        (Table::DashHaScope, "haset0", Some(active), None, "5 hamgrd: HA scope haset0 goes from DPU_APPL_DB"),
        (
            Table::DashHaScope,
            "haset0",
            None,
            Some(active),
            "13 hamgrd: tells the DPU of HA scope haset0 with role active",
        ),
        (
            Table::DashHaScopeState,
            "v|haset0",
            Some(active),
            None,
            "6 hamgrd: deletes the state of HA scope v|haset0",
        ),
        (
            Table::DashHaScopeState,
            "v|haset0",
            None,
            Some(&[
                ("local_ha_state", "active"),
                ("pending_operation_types", "flow_reconcile"),
                ("pending_operation_ids", "11111111-2222-3333-4444-555555555555"),
            ]),
            "16 hamgrd: reports HA scope v|haset0: active, waits for approval of flow_reconcile 11111111-2222-3333-4444-555555555555",
        ),
        (
            Table::DashHaSetResult,
            "haset0",
            None,
            Some(&[("result", "0")]),
            "14 haorchd: has taken HA set haset0: result 0",
        ),
        (
            Table::DpuDashHaScopeState,
            "haset0",
            Some(active),
            Some(standby),
            "15 haorchd: HA scope haset0 is standby, was active, asks to activate its role",
        ),
        (
            Table::DashHaSetConfig,
            "haset0",
            Some(&[("pb", "")]),
            None,
            "4 ha-controller: deletes HA set configuration haset0",
        ),
        (
            Table::DashBfdProbeState,
            "dash_ha",
            None,
            Some(&[("v4_bfd_up_sessions", "10.1.0.32")]),
            "haorchd: BFD is up to 10.1.0.32",
        ),
        (
            Table::DpuResetInfo,
            "DPU0",
            Some(&[("reset_status", "false"), ("dpu_ready", "true"), ("incarnation", "1")]),
            Some(&[("reset_status", "true"), ("dpu_ready", "true"), ("incarnation", "2")]),
            "hamgrd: DPU0: begins a new life (2), was reset",
        ),
        (
            Table::Dpu,
            "dpu0",
            Some(&[("dpu_id", "0")]),
            Some(&[("dpu_id", "1")]),
            "the operator: DPU|dpu0: dpu_id 0 -> 1",
        ),
    ];
    for (table, key, old, new, expected) in cases {
        assert_eq!(words(table, key, old, new).as_deref(), Some(expected));
    }
}

#[test]
fn a_sign_of_life_is_no_news() {
    let beat = |ms| [("local_ha_state", "active"), ("last_heartbeat_time_in_ms", ms)];
    assert_eq!(words(Table::DashHaScopeState, "v|s", Some(&beat("1")), Some(&beat("2"))), None);
}

#[test]
fn every_row_that_comes_or_goes_has_words() {
    let reading = healthy();
    let switch = &reading.snapshot.switches[0];
    for (table, key, row) in switch.rows.iter().chain(switch.dpus[0].rows.iter()) {
        for (old, new) in [(None, Some(row)), (Some(row), None)] {
            let said = said(Edit { table, key, old, new }).unwrap();
            assert!(!said.what.is_empty(), "{table} {key}");
        }
    }
    let config = switch.rows.of(Table::DashHaScopeConfig).next().unwrap();
    let said = said(Edit { table: Table::DashHaScopeConfig, key: config.0, old: None, new: Some(config.1) });
    let said = said.unwrap();
    assert_eq!(said.step, Some(12));
    assert_eq!(said.what, "creates HA scope configuration vdpu0_0:haset0: desired active, version 1");
}
