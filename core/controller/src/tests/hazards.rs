//! Hazards of the field: what is unknown, lost, refused or late (`reference/controller.md` 4.3).

use schema::appl_db::{HaScopeConfig, HaScopeConfigKey};
use schema::{AsicHaState, HaScopeId, Row, Table};

use super::field::{Field, fleet_of, switch_name, vdpu_id};
use crate::*;

const ACTIVE: Option<AsicHaState> = Some(AsicHaState::Active);
const STANDBY: Option<AsicHaState> = Some(AsicHaState::Standby);

#[test]
fn a_scope_that_a_draining_actor_dropped_is_deleted_and_created_again() {
    let mut field = Field::settled();
    field.dpu("vdpu0_0").die();
    field.run_ms(3000);
    field.switch("switch0").drops_next_scope = true;
    field.dpu("vdpu0_0").boot();
    field.run_ms(60_000);
    assert_eq!(field.phase("vdpu0_0"), Some(Phase::Activating));
    field.run_ms(20_000);
    assert!(field.begun().contains(&("vdpu0_0".to_owned(), Reason::StateMissing)));
    assert_eq!(field.roles(), [STANDBY, ACTIVE]);
    field.assert_quiet();
}

#[test]
fn the_set_is_kept_until_hamgrd_has_removed_the_scopes_state() {
    let mut field = Field::settled();
    field.switch("switch0").hamgrd_runs = false;
    field.dpu("vdpu0_0").die();
    field.run_ms(200_000);
    assert_eq!(field.phase("vdpu0_0"), Some(Phase::DeletingScopes));
    assert!(field.switch("switch0").has_set("haset0"));
    assert!(field.notes().any(|note| matches!(note, Note::Slow { phase: Phase::DeletingScopes, .. })));
    field.switch("switch0").hamgrd_runs = true;
    field.run_ms(1000);
    assert_eq!(field.phase("vdpu0_0"), Some(Phase::WaitingUp));
    assert!(!field.switch("switch0").has_set("haset0"));
}

#[test]
fn an_unreachable_switch_is_unknown_not_down() {
    let mut field = Field::settled();
    field.dpu("vdpu0_0").die();
    field.run_ms(900);
    field.switch("switch0").reachable = false;
    field.run_ms(60_000);
    assert_eq!(field.begun(), []);
    assert_eq!(field.writes(), [] as [&str; 0]);
    // What was down before it was unknown has to be down for the whole debounce again.
    field.switch("switch0").reachable = true;
    field.run_ms(900);
    assert_eq!(field.begun(), []);
    field.run_ms(200);
    assert_eq!(field.begun(), [("vdpu0_0".to_owned(), Reason::Down)]);
}

#[test]
fn a_switch_that_goes_away_midway_does_not_block_the_others_and_is_finished_later() {
    let mut field = Field::new(fleet_of(2));
    field.run_ms(10_000);
    field.log.clear();
    field.dpu("vdpu0_0").die();
    field.run_ms(1050);
    field.switch("switch0").reachable = false;
    field.dpu("vdpu1_1").die();
    field.run_ms(3000);
    field.dpu("vdpu0_0").boot();
    field.dpu("vdpu1_1").boot();
    field.run_ms(5000);
    assert_eq!(field.dpu("vdpu1_1").asic, STANDBY);
    field.switch("switch0").reachable = true;
    field.run_ms(5000);
    assert_eq!(field.roles(), [STANDBY, ACTIVE]);
    field.assert_quiet();
}

#[test]
fn a_missing_dpu_state_row_is_unknown_not_down() {
    let mut field = Field::settled();
    field.dpu("vdpu0_0").planes = None;
    field.run_ms(60_000);
    assert_eq!(field.begun(), []);
    assert_eq!(field.writes(), [] as [&str; 0]);
}

#[test]
fn a_redis_that_restarts_empty_is_programmed_again() {
    let mut field = Field::settled();
    let switch = field.switch("switch0");
    switch.reachable = false;
    field.run_ms(1000);
    let switch = field.switch("switch0");
    switch.appl.clear();
    switch.states.clear();
    switch.reachable = true;
    field.run_ms(10_000);
    assert_eq!(field.begun(), [("vdpu0_0".to_owned(), Reason::ConfigMissing)]);
    let roles = field.roles();
    assert!(roles == [ACTIVE, STANDBY] || roles == [STANDBY, ACTIVE], "{roles:?}");
    field.assert_quiet();
}

#[test]
fn a_store_that_fails_holds_every_write_back_until_it_works_again() {
    let mut field = Field::settled();
    field.store_fails = true;
    field.dpu("vdpu0_0").die();
    field.run_ms(300_000);
    assert_eq!(field.writes(), [] as [&str; 0]);
    let tries = field.log.iter().filter(|effect| matches!(effect, Effect::Persist(_))).count();
    assert!((5..30).contains(&tries), "{tries} tries in five minutes");
    field.store_fails = false;
    field.run_ms(120_000);
    assert_eq!(field.phase("vdpu0_0"), Some(Phase::WaitingUp));
}

/// Found by simulation (seed 8682 with 30 faults): the controller woke itself without end.
#[test]
fn what_could_not_be_stored_and_is_no_longer_decided_is_not_waited_for() {
    let mut field = Field::settled();
    let (key, config) = field.switch("switch0").scope(&vdpu_id("vdpu0_0")).unwrap();
    let row = (Table::DashHaScopeConfig, HaScopeConfig::key_text(&key));
    field.dpu("vdpu0_0").die();
    field.run_ms(3000);
    field.log.clear();
    field.store_fails = true;
    // Somebody writes a row that has to go, and takes it back before the controller may act.
    field.switch("switch0").appl.insert(row.clone(), config.to_fields());
    field.run_ms(10);
    assert_eq!(field.phase("vdpu0_0"), Some(Phase::DeletingScopes));
    assert!(field.notes().any(|note| matches!(note, Note::NotPersisted { .. })));
    field.switch("switch0").appl.remove(&row);
    field.run_ms(10_000);
    assert_eq!(field.phase("vdpu0_0"), Some(Phase::WaitingUp));
    field.assert_quiet();
}

#[test]
fn a_refused_write_is_tried_again_with_growing_waits() {
    let mut field = Field::settled();
    field.refuses_writes = true;
    field.dpu("vdpu0_0").die();
    field.run_ms(300_000);
    let tries = field.writes().len();
    assert!((5..30).contains(&tries), "{tries} tries in five minutes");
    field.refuses_writes = false;
    field.run_ms(120_000);
    assert_eq!(field.phase("vdpu0_0"), Some(Phase::WaitingUp));
    field.dpu("vdpu0_0").boot();
    field.run_ms(5000);
    assert_eq!(field.roles(), [STANDBY, ACTIVE]);
    field.assert_quiet();
}

#[test]
fn a_latch_that_sonics_hamgrd_raises_again_for_the_same_reset_is_not_fought_over() {
    let mut field = Field::new(fleet_of(1));
    field.switches.values_mut().for_each(|switch| switch.has_incarnations = false);
    field.run_ms(10_000);
    field.log.clear();
    field.dpu("vdpu0_0").die();
    field.run_ms(3000);
    field.dpu("vdpu0_0").boot();
    field.run_ms(5000);
    for _ in 0..5 {
        field.switch("switch0").resets.values_mut().for_each(|reset| reset.reset_status = true);
        field.run_ms(100_000);
    }
    let merges = field.writes().iter().filter(|write| write.ends_with("merge")).count();
    assert_eq!(merges, 1);
}

/// Found by simulation: Redis lost its data before hamgrd had read that the latch was lowered, and hamgrd wrote
/// the row of before again.
#[test]
fn a_latch_that_was_lowered_and_is_lost_is_lowered_again() {
    let mut field = Field::settled();
    field.dpu("vdpu0_0").die();
    field.run_ms(3000);
    field.dpu("vdpu0_0").boot();
    field.run_ms(5000);
    let raised = |field: &mut Field| field.switch("switch0").resets.values().any(|reset| reset.reset_status);
    assert!(!raised(&mut field));
    field.switch("switch0").resets.values_mut().for_each(|reset| reset.reset_status = true);
    field.run_ms(2000);
    let lowered = |field: &Field| field.writes().iter().filter(|write| write.ends_with("merge")).count();
    assert!(!raised(&mut field));
    assert_eq!(lowered(&field), 2);
    field.assert_quiet();
}

#[test]
fn a_clear_that_the_server_refuses_is_tried_again_later() {
    for has_incarnations in [true, false] {
        let mut field = Field::new(fleet_of(1));
        field.switches.values_mut().for_each(|switch| switch.has_incarnations = has_incarnations);
        field.run_ms(10_000);
        field.log.clear();
        field.start_controller();
        field.switch("switch0").resets.values_mut().for_each(|reset| reset.reset_status = true);
        field.refuses_writes = true;
        field.run_ms(100_000);
        let tries = field.writes().len();
        assert!((4..10).contains(&tries), "{tries} tries in 100 s");
        field.refuses_writes = false;
        field.run_ms(100_000);
        assert!(field.switch("switch0").resets.values().all(|reset| !reset.reset_status));
        field.assert_quiet();
    }
}

#[test]
fn one_database_of_a_switch_that_cannot_be_read_makes_the_switch_unknown() {
    for db in [schema::Db::ChassisStateDb, schema::Db::StateDb] {
        let mut field = Field::settled();
        field.happen(Input::Unsynced { switch: switch_name("switch0"), db });
        field.dpu("vdpu0_0").die();
        field.run_ms(60_000);
        assert_eq!(field.begun(), []);
        field.happen(Input::Synced { switch: switch_name("switch0"), db });
        field.run_ms(2000);
        assert_eq!(field.begun(), [("vdpu0_0".to_owned(), Reason::Down)]);
    }
}

#[test]
fn a_row_that_cannot_be_read_is_unknown_not_gone() {
    let mut field = Field::settled();
    let (switch, slot) = (switch_name("switch0"), schema::Slot(0));
    let key = HaScopeConfigKey { vdpu: vdpu_id("vdpu0_0"), scope: HaScopeId::new("haset0").unwrap() };
    field.store.clear();
    field.start_controller();
    field.happen(Input::DpuState { switch: switch.clone(), slot, row: Reported::Unreadable });
    field.happen(Input::ScopeState { switch: switch.clone(), key: key.clone(), row: Reported::Unreadable });
    field.run_ms(60_000);
    let row = Reported::Present(Box::new(field.dpu("vdpu0_0").row().unwrap()));
    field.happen(Input::ScopeState { switch: switch.clone(), key: key.clone(), row: Reported::Unreadable });
    field.happen(Input::DpuState { switch: switch.clone(), slot, row });
    field.run_ms(60_000);
    let row = Reported::Present(Box::new(field.switch("switch0").states[&key].clone()));
    field.happen(Input::ScopeState { switch, key, row });
    field.run_ms(60_000);
    assert_eq!((field.begun(), field.writes()), (vec![], vec![]));
    assert_eq!(field.phase("vdpu0_0"), Some(Phase::Steady));
    field.assert_quiet();
}

/// Found by simulation: two controllers that differ wrote as fast as the switch told them of each other.
#[test]
fn who_undoes_what_is_written_again_and_again_is_answered_less_and_less_often() {
    let mut field = Field::settled();
    let key = HaScopeConfigKey { vdpu: vdpu_id("vdpu0_0"), scope: HaScopeId::new("haset0").unwrap() };
    let row = (Table::DashHaScopeConfig, HaScopeConfig::key_text(&key));
    let ours = field.switch("switch0").appl[&row].clone();
    let theirs =
        HaScopeConfig { version: "9".to_owned(), ..HaScopeConfig::from_fields(&row.1, &ours).unwrap() };
    let undo = |field: &mut Field| {
        field.switch("switch0").appl.insert(row.clone(), theirs.to_fields());
        field.run_ms(10);
    };
    for _ in 0..2 {
        undo(&mut field);
        assert_eq!(field.switch("switch0").appl[&row], ours, "once or twice: written again at once");
    }
    for _ in 0..6_000 {
        undo(&mut field);
    }
    let tries = field.writes().len();
    assert!((8..20).contains(&tries), "{tries} writes in a minute");
    let is_contested = |note: &&Note| matches!(note, Note::Contested { .. });
    assert_eq!(field.notes().filter(is_contested).count(), 1);
    field.run_ms(120_000);
    assert_eq!(field.switch("switch0").appl[&row], ours, "once nobody undoes it any more");
    field.assert_quiet();
}
