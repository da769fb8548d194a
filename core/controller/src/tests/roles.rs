//! Lives and pending operations, case by case.

use schema::state_db::DpuResetInfo;
use schema::{Fields, OperationId, Row, WallMs};

use crate::*;

fn reset(incarnation: Option<u64>, reset_status: bool, timestamp: Option<i64>) -> DpuResetInfo {
    let mut row = DpuResetInfo::from_fields("DPU0", &Fields::new()).unwrap();
    row.incarnation = incarnation;
    row.reset_status = reset_status;
    row.timestamp_ms = timestamp.map(WallMs);
    row
}

#[test]
fn a_life_is_over_when_the_incarnation_differs_or_a_newer_reset_is_latched() {
    // (programmed incarnation, programmed timestamp), row, over?
    let cases = [
        ((Some(5), Some(1)), reset(Some(5), false, Some(1)), false),
        ((Some(5), Some(1)), reset(Some(5), true, Some(9)), false), // a flap in the same life
        ((Some(5), Some(1)), reset(Some(6), false, Some(1)), true),
        ((Some(5), Some(1)), reset(Some(4), false, Some(1)), true), // the clock was set back
        ((Some(5), Some(1)), reset(None, false, None), false),
        ((Some(5), Some(1)), reset(None, true, Some(2)), true),
        ((None, Some(1)), reset(None, true, Some(1)), false),
        ((None, Some(1)), reset(None, true, Some(2)), true),
        ((None, Some(1)), reset(None, false, Some(2)), false), // somebody has dealt with it
        ((None, None), reset(None, true, Some(2)), true),
        ((None, None), reset(Some(1), false, None), false), // hamgrd sees it for the first time
        ((None, None), reset(Some(1), true, Some(2)), true),
    ];
    for ((incarnation, timestamp), row, over) in cases {
        let life = Life { incarnation, timestamp_ms: timestamp.map(WallMs) };
        assert_eq!(life.is_over(&row), over, "{life:?} {row:?}");
    }
}

#[test]
fn what_is_remembered_of_handled_operations_is_bounded() {
    let mut scope = ScopeRecord::new(1, schema::DesiredHaState::Unspecified);
    for n in 0..1000 {
        scope.handle(OperationId::new(format!("op{n}")).unwrap(), Verdict::Approved);
    }
    assert_eq!(scope.handled.len(), 64);
    assert!(scope.has_handled(&OperationId::new("op999").unwrap()));
}
