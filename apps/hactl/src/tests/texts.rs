//! `show` and `audit`.

use std::path::Path;

use schema::{Db, Table};
use snapshot::Reading;

use super::fixture::{edit, expected, flush, healthy, unread};
use crate::audit::{self, Report, judge};
use crate::show;
use crate::source::Sources;
use crate::view::View;

fn is_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "{name}: BLESS=1 cargo test -p hactl writes it anew");
}

fn report(reading: &Reading) -> Report {
    let sources = Sources { switches: Vec::new(), expected: Some(expected()) };
    Report::of(reading, judge(reading, &sources))
}

fn audited(reading: &Reading) -> (String, u8) {
    let report = report(reading);
    (audit::text(&report), report.exit_code())
}

#[test]
fn a_healthy_pair_is_one_line_and_exit_code_0() {
    let (text, code) = audited(&healthy());
    assert_eq!(code, 0);
    assert_eq!(
        text,
        "well: 2 switches, 2 DPUs up, 1 HA set, 2 HA scopes; 42 rows of 14 databases read in 9 ms\n"
    );
    is_golden("show-healthy.txt", &show::text(&View::of(&healthy())));
}

#[test]
fn an_emptied_dpu_names_the_missing_rows_and_hamgrd() {
    let mut reading = healthy();
    flush(&mut reading);
    let (text, code) = audited(&reading);
    assert_eq!(code, 1);
    is_golden("audit-flushed.txt", &text);
}

#[test]
fn a_scope_of_a_former_life_is_the_controllers_and_shown_as_fenced() {
    let mut reading = healthy();
    flush(&mut reading);
    let reset = [("incarnation", "1700000900000"), ("reset_status", "true"), ("timestamp", "1700000900000")];
    edit(&mut reading, Table::DpuResetInfo, "DPU0", &reset);
    let (text, code) = audited(&reading);
    assert_eq!(code, 1);
    is_golden("audit-fenced.txt", &text);
    is_golden("show-fenced.txt", &show::text(&View::of(&reading)));
}

#[test]
fn what_waits_for_approval_is_shown_with_its_id() {
    let mut reading = healthy();
    let state = [("ha_state", "pending_active_activation"), ("ha_state_start_time", "1700000900")];
    edit(&mut reading, Table::DpuDashHaScopeState, "haset0", &state);
    let pending = [
        ("local_ha_state", "pending_active_activation"),
        ("local_acked_asic_ha_state", "pending_active_activation"),
        ("pending_operation_ids", "11111111-2222-3333-4444-555555555555"),
        ("pending_operation_types", "activate_role"),
        ("pending_operation_list_last_updated_time_in_ms", "1700000900500"),
    ];
    edit(&mut reading, Table::DashHaScopeState, "vdpu0_0|haset0", &pending);
    is_golden("audit-pending.txt", &audited(&reading).0);
    is_golden("show-pending.txt", &show::text(&View::of(&reading)));
}

#[test]
fn a_dpu_that_is_down_is_well_once_its_configuration_is_gone() {
    let mut reading = healthy();
    let down = [
        ("dpu_midplane_link_state", "down"),
        ("dpu_midplane_link_reason", "no answer to 3 probes"),
        ("dpu_midplane_link_time", "Tue Nov 14 10:28:20 PM UTC 2023"),
        ("dpu_control_plane_state", "down"),
    ];
    edit(&mut reading, Table::DpuState, "DPU0", &down);
    edit(&mut reading, Table::DpuResetInfo, "DPU0", &[("dpu_ready", "false"), ("reset_status", "true")]);
    reading.snapshot.switches[0].dpus[0].rows.clear(Table::BfdSession);
    let (text, code) = audited(&reading);
    assert_eq!(code, 1, "{text}");
    is_golden("audit-down.txt", &text);
    is_golden("show-down.txt", &show::text(&View::of(&reading)));

    let rows = &mut reading.snapshot.switches[0].rows;
    for table in [
        Table::DashHaSetConfig,
        Table::DashHaScopeConfig,
        Table::DashHaScopeState,
        Table::DashHaScopeFence,
        Table::VnetRouteTunnel,
    ] {
        rows.clear(table);
    }
    flush(&mut reading);
    let (text, code) = audited(&reading);
    assert_eq!((text.contains("1 DPU up, 1 down"), code), (true, 0), "{text}");
}

#[test]
fn what_is_out_of_reach_is_exit_code_3_and_nothing_is_said_of_it() {
    let mut reading = healthy();
    unread(&mut reading, Db::DpuStateDb);
    let (text, code) = audited(&reading);
    assert_eq!(code, 3);
    is_golden("audit-out-of-reach.txt", &text);
    // What can be told is told.
    reading.snapshot.switches[1].dpus[0].rows.clear(Table::DashHaScope);
    assert_eq!(report(&reading).exit_code(), 1);
}

#[test]
fn one_switch_says_nothing_of_its_peer() {
    let mut reading = healthy();
    reading.snapshot.switches.pop();
    reading.databases.truncate(7);
    let sources = Sources { switches: Vec::new(), expected: None };
    assert_eq!(judge(&reading, &sources), []);
}

#[test]
fn json_holds_what_the_text_says() {
    let mut reading = healthy();
    flush(&mut reading);
    let json = serde_json::to_value(report(&reading)).unwrap();
    assert_eq!(json["well"], false);
    let first = &json["findings"][0];
    assert_eq!((first["invariant"].as_str(), first["repair"].as_str()), (Some("P1"), Some("hamgrd")));
    assert_eq!((first["table"].as_str(), first["key"].as_str()), (Some("DASH_HA_SET_TABLE"), Some("haset0")));
    assert_eq!(json["databases"].as_array().unwrap().len(), 14);
    let json = serde_json::to_value(View::of(&healthy())).unwrap();
    let scope = &json["switches"][0]["ha_scopes"][0];
    assert_eq!((scope["key"].as_str(), scope["state"].as_str()), (Some("vdpu0_0:haset0"), Some("active")));
    assert_eq!(json["switches"][0]["dpus"][0]["bfd_up"][1], "10.1.1.32");
}
