//! Who should repair it, since when it is so, and what cannot be judged.

use schema::{Db, Slot, Table, WallMs};

use super::pair::{INCARNATION, expected, healthy};
use crate::{Boots, Finding, Part, Snapshot, Unread, audit};

const SCOPE: &str = "vdpu0_0|haset0";

fn edit(snapshot: &mut Snapshot, table: Table, key: &str, fields: &[(&str, &str)]) {
    let switch = &mut snapshot.switches[0];
    let on_the_npu = switch.rows.get(table, key).is_some();
    let rows = if on_the_npu { &mut switch.rows } else { &mut switch.dpus[0].rows };
    let mut row = rows.get(table, key).unwrap().clone();
    for (name, value) in fields {
        row.set(*name, *value);
    }
    rows.insert(table, key, row);
}

fn found(snapshot: &Snapshot) -> Vec<Finding> {
    audit(snapshot, Some(&expected()), &Boots::new())
}

fn only(snapshot: &Snapshot, table: Table) -> Finding {
    let all = found(snapshot);
    let of_table: Vec<&Finding> = all.iter().filter(|finding| finding.table == Some(table)).collect();
    let [finding] = of_table.as_slice() else { panic!("{table}: {all:#?}") };
    (*finding).clone()
}

#[test]
fn a_scope_that_is_fenced_is_the_controllers_to_write_again() {
    let mut snapshot = healthy();
    let now = INCARNATION + 9_000;
    edit(&mut snapshot, Table::DpuResetInfo, "DPU0", &[("incarnation", &now.to_string())]);
    snapshot.switches[0].dpus[0].rows.clear(Table::DashHaScope);
    let finding = only(&snapshot, Table::DashHaScopeConfig);
    assert!(finding.what.contains("not written again since the DPU's restart"), "{finding}");
    assert_eq!(finding.repaired_by(), Some(Part::HaController));
    assert_eq!(finding.since, Some(WallMs(i64::try_from(now).unwrap())));
    assert!(found(&snapshot).iter().all(|finding| finding.table != Some(Table::DashHaScope)));
}

#[test]
fn pending_operations_wait_for_the_controller_since_the_list_changed() {
    let mut snapshot = healthy();
    let pending = [
        ("pending_operation_ids", "11111111-2222-3333-4444-555555555555"),
        ("pending_operation_types", "activate_role"),
        ("pending_operation_list_last_updated_time_in_ms", "1700000005000"),
    ];
    edit(&mut snapshot, Table::DashHaScopeState, SCOPE, &pending);
    let finding = only(&snapshot, Table::DashHaScopeState);
    assert_eq!(finding.repaired_by(), Some(Part::HaController));
    assert_eq!(finding.since, Some(WallMs(1_700_000_005_000)));
}

#[test]
fn a_state_that_is_not_one_to_rest_in_is_so_since_it_began() {
    let mut snapshot = healthy();
    let state = [("ha_state", "pending_active_activation"), ("ha_state_start_time", "1700000007")];
    edit(&mut snapshot, Table::DpuDashHaScopeState, "haset0", &state);
    let finding = only(&snapshot, Table::DpuDashHaScopeState);
    assert_eq!(finding.repaired_by(), Some(Part::HaController), "it asks for approval");
    assert_eq!(finding.since, Some(WallMs(1_700_000_007_000)));
    edit(&mut snapshot, Table::DpuDashHaScopeState, "haset0", &[("ha_state", "connecting")]);
    assert_eq!(only(&snapshot, Table::DpuDashHaScopeState).repaired_by(), Some(Part::Haorchd));
}

#[test]
fn what_a_lost_row_entails_is_not_reported_beside_it() {
    let mut snapshot = healthy();
    let dpu = &mut snapshot.switches[0].dpus[0];
    for table in Table::ALL.iter().filter(|table| Db::OF_A_DPU.contains(&table.db())) {
        dpu.rows.clear(*table);
    }
    dpu.local = None;
    let tables: Vec<(Table, Option<Part>)> =
        found(&snapshot).iter().filter_map(|finding| Some((finding.table?, finding.repaired_by()))).collect();
    let hamgrd = Some(Part::Hamgrd);
    assert_eq!(
        tables,
        [
            (Table::DashHaSet, hamgrd),
            (Table::DashHaScope, hamgrd),
            (Table::DashHaScopeState, hamgrd),
            (Table::BfdSession, hamgrd),
            (Table::BfdSession, hamgrd),
        ]
    );
}

#[test]
fn a_row_that_nobody_took_is_the_consumers() {
    let mut snapshot = healthy();
    snapshot.switches[0].dpus[0].unconsumed.insert((Table::DashHaSet, "haset0".to_owned()));
    assert_eq!(only(&snapshot, Table::DashHaSet).repaired_by(), Some(Part::Haorchd));
}

/// Empties one database, as a reader finds it that cannot read it.
fn without(db: Db) -> Snapshot {
    let mut snapshot = healthy();
    let switch = &mut snapshot.switches[0];
    for table in Table::ALL.iter().filter(|table| table.db() == db) {
        switch.rows.clear(*table);
        switch.dpus[0].rows.clear(*table);
    }
    snapshot
}

#[test]
fn nothing_is_said_of_what_could_not_be_read() {
    let host = [Db::ConfigDb, Db::ApplDb, Db::StateDb, Db::ChassisStateDb];
    let dpu = [Db::DpuApplDb, Db::DpuApplStateDb, Db::DpuStateDb];
    let places = host.map(|db| (db, None)).into_iter().chain(dpu.map(|db| (db, Some(Slot(0)))));
    for (db, slot) in places {
        let snapshot = without(db);
        let findings = found(&snapshot);
        assert!(!findings.is_empty(), "{db}");
        let mut unread = Unread::default();
        assert_eq!(unread.judgeable(&snapshot, findings.clone()), findings);
        unread.add("switch0", slot, db);
        assert_eq!(unread.judgeable(&snapshot, findings), [], "{db}");
    }
}

#[test]
fn what_was_read_is_judged_though_something_else_was_not() {
    let mut snapshot = without(Db::DpuStateDb);
    snapshot.switches[1].dpus[0].rows.clear(Table::DashHaScope);
    snapshot.switches[1].dpus[0].local = None;
    edit(&mut snapshot, Table::DpuResetInfo, "DPU0", &[("dpu_ready", "false")]);
    let mut unread = Unread::default();
    unread.add("switch0", Some(Slot(0)), Db::DpuStateDb);
    let left = unread.judgeable(&snapshot, found(&snapshot));
    let left: Vec<(&str, Option<Table>)> =
        left.iter().map(|finding| (finding.place.as_str(), finding.table)).collect();
    assert_eq!(left, [("switch0", Some(Table::DpuResetInfo)), ("switch1 DPU0", Some(Table::DashHaScope))]);
}
