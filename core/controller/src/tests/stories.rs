//! The restart procedure in the field's words, hazard by hazard (`reference/controller.md` 4.3).

use schema::{AsicHaState, DesiredHaState, LinkState};

use super::field::{self, Field, fleet_of};
use crate::*;

const ACTIVE: Option<AsicHaState> = Some(AsicHaState::Active);
const STANDBY: Option<AsicHaState> = Some(AsicHaState::Standby);
const STANDALONE: Option<AsicHaState> = Some(AsicHaState::Standalone);

#[test]
fn a_new_fleet_is_programmed_set_before_scope_and_becomes_active_and_standby() {
    let mut field = Field::new(fleet_of(1));
    field.run_ms(10_000);
    assert_eq!(field.roles(), [ACTIVE, STANDBY]);
    assert_eq!(field.desired("vdpu0_0"), Some(DesiredHaState::Active));
    assert_eq!(field.desired("vdpu1_0"), Some(DesiredHaState::Unspecified));
    let writes = field.writes();
    for switch in ["switch0", "switch1"] {
        let at =
            |table: &str| writes.iter().position(|w| w.starts_with(switch) && w.contains(table)).unwrap();
        assert!(at("DASH_HA_SET_CONFIG_TABLE") < at("DASH_HA_SCOPE_CONFIG_TABLE"), "{writes:?}");
    }
    field.assert_quiet();
}

#[test]
fn the_intended_active_side_is_told_so_while_its_peer_is_still_being_told_to_stand_by() {
    let mut field = Field::new(fleet_of(1));
    field.dpu("vdpu0_0").planes = Some([LinkState::Down; 3]);
    field.holds_scopes_of = Some(field::switch_name("switch1"));
    field.run_ms(10);
    field.dpu("vdpu0_0").planes = Some([LinkState::Up; 3]);
    field.run_ms(1000);
    assert_eq!(field.desired("vdpu1_0"), None, "still under way");
    assert_eq!(field.desired("vdpu0_0"), Some(DesiredHaState::Active));
    field.release();
    field.run_ms(10_000);
    assert_eq!(field.roles(), [ACTIVE, STANDBY]);
}

#[test]
fn an_active_dpu_that_restarts_comes_back_as_standby_while_the_survivor_keeps_the_traffic() {
    let mut field = Field::settled();
    field.dpu("vdpu0_0").die();
    field.run_ms(5000);
    assert_eq!(field.phase("vdpu0_0"), Some(Phase::WaitingUp));
    assert_eq!(field.roles(), [None, STANDALONE]);
    assert_eq!(
        field.writes(),
        [
            "switch0 DASH_HA_SCOPE_CONFIG_TABLE vdpu0_0:haset0 del",
            "switch0 DASH_HA_SET_CONFIG_TABLE haset0 del"
        ]
    );
    field.log.clear();
    field.dpu("vdpu0_0").boot();
    field.run_ms(5000);
    assert_eq!(field.roles(), [STANDBY, ACTIVE]);
    assert_eq!(field.desired("vdpu0_0"), Some(DesiredHaState::Unspecified));
    assert_eq!(
        field.writes(),
        [
            "switch0 DASH_HA_SET_CONFIG_TABLE haset0 set",
            "switch0 DASH_HA_SCOPE_CONFIG_TABLE vdpu0_0:haset0 set",
            "switch0 DASH_HA_SCOPE_CONFIG_TABLE vdpu0_0:haset0 set", // the approval
            "switch0 DPU_RESET_INFO DPU0 merge",
        ]
    );
    assert!(!field.switch("switch0").resets[&schema::Slot(0)].reset_status);
    field.assert_quiet();
}

#[test]
fn a_standby_dpu_that_restarts_comes_back_as_standby_and_the_peers_rows_stay() {
    let mut field = Field::settled();
    field.dpu("vdpu1_0").die();
    field.run_ms(3000);
    field.dpu("vdpu1_0").boot();
    field.run_ms(3000);
    assert_eq!(field.roles(), [ACTIVE, STANDBY]);
    assert!(field.writes().iter().all(|write| write.starts_with("switch1")), "{:?}", field.writes());
    assert_eq!(field.desired("vdpu0_0"), Some(DesiredHaState::Active));
    field.assert_quiet();
}

#[test]
fn both_dpus_of_a_set_restart_and_the_intended_one_is_active_again() {
    let mut field = Field::settled();
    for vdpu in ["vdpu0_0", "vdpu1_0"] {
        field.dpu(vdpu).die();
    }
    field.run_ms(3000);
    for vdpu in ["vdpu0_0", "vdpu1_0"] {
        field.dpu(vdpu).boot();
    }
    field.run_ms(5000);
    assert_eq!(field.roles(), [ACTIVE, STANDBY]);
    field.assert_quiet();
}

#[test]
fn every_dpu_of_a_switch_restarts_and_no_row_of_the_other_switch_changes() {
    let mut field = Field::new(fleet_of(4));
    field.run_ms(10_000);
    field.log.clear();
    for slot in 0..4 {
        field.dpu(&format!("vdpu0_{slot}")).die();
    }
    field.run_ms(3000);
    for slot in 0..4 {
        field.dpu(&format!("vdpu0_{slot}")).boot();
    }
    field.run_ms(5000);
    assert!(field.writes().iter().all(|write| write.starts_with("switch0")), "{:?}", field.writes());
    for slot in 0..4 {
        assert_eq!(field.dpu(&format!("vdpu0_{slot}")).asic, STANDBY);
        assert_eq!(field.dpu(&format!("vdpu1_{slot}")).asic, ACTIVE);
    }
    field.assert_quiet();
}

#[test]
fn either_midplane_or_control_plane_down_is_down_and_data_plane_alone_is_not() {
    use LinkState::{Down, Up};
    for (planes, triggers) in [
        ([Down, Up, Up], true),
        ([Up, Down, Up], true),
        ([Up, Up, Down], false),
        ([Down, Down, Down], true),
        ([Up, Down, Down], true),
    ] {
        let mut field = Field::settled();
        field.dpu("vdpu0_0").planes = Some(planes);
        field.run_ms(1500);
        assert_eq!(!field.begun().is_empty(), triggers, "{planes:?}");
        field.dpu("vdpu0_0").planes = Some([Up; 3]);
        field.run_ms(10_000);
        let roles = field.roles();
        assert!(roles == [ACTIVE, STANDBY] || roles == [STANDBY, ACTIVE], "{planes:?} {roles:?}");
        field.assert_quiet();
    }
}

#[test]
fn a_flap_shorter_than_the_debounce_in_the_same_life_is_nothing() {
    let mut field = Field::settled();
    for _ in 0..5 {
        field.dpu("vdpu0_0").planes = Some([LinkState::Down; 3]);
        field.run_ms(900);
        field.dpu("vdpu0_0").planes = Some([LinkState::Up; 3]);
        field.run_ms(300);
    }
    assert_eq!(field.begun(), []);
    assert!(
        field.writes().iter().all(|write| write == "switch0 DPU_RESET_INFO DPU0 merge"),
        "{:?}",
        field.writes()
    );
    field.assert_quiet();
}

#[test]
fn a_restart_that_nobody_saw_go_down_is_still_a_restart() {
    for seen_for_ms in [0, 500] {
        let mut field = Field::settled();
        if seen_for_ms > 0 {
            field.dpu("vdpu0_0").die();
            field.run_ms(seen_for_ms);
        }
        field.dpu("vdpu0_0").boot();
        field.run_ms(5000);
        assert_eq!(field.begun(), [("vdpu0_0".to_owned(), Reason::Restarted)]);
        assert_eq!(field.roles(), [STANDBY, ACTIVE]);
        field.assert_quiet();
    }
}

#[test]
fn a_hamgrd_without_incarnations_tells_of_a_missed_restart_by_its_timestamp() {
    let mut field = Field::new(fleet_of(1));
    for switch in ["switch0", "switch1"] {
        field.switch(switch).has_incarnations = false;
    }
    field.run_ms(10_000);
    assert_eq!(field.roles(), [ACTIVE, STANDBY]);
    field.log.clear();
    field.dpu("vdpu1_0").boot();
    // SONiC's hamgrd does not fence; what the old configuration does to the new life is over with the procedure.
    field.run_ms(5000);
    assert_eq!(field.begun(), [("vdpu1_0".to_owned(), Reason::Restarted)]);
    assert_eq!(field.roles(), [ACTIVE, STANDBY]);
    field.assert_quiet();
}

#[test]
fn a_restart_during_the_procedure_begins_it_anew() {
    for (phase, wait_ms) in [(Phase::WaitingUp, 300), (Phase::ProgrammingSets, 0)] {
        let mut field = Field::settled();
        field.dpu("vdpu0_0").die();
        field.run_ms(3000);
        field.dpu("vdpu0_0").boot();
        field.run_ms(wait_ms);
        assert!(field.phase("vdpu0_0") <= Some(phase));
        field.dpu("vdpu0_0").die();
        field.run_ms(2000);
        assert_eq!(field.phase("vdpu0_0"), Some(Phase::WaitingUp));
        field.dpu("vdpu0_0").boot();
        field.run_ms(5000);
        assert_eq!(field.roles(), [STANDBY, ACTIVE]);
        field.assert_quiet();
    }
}

#[test]
fn a_dpu_that_restarts_again_right_after_it_was_programmed_is_programmed_again() {
    let mut field = Field::settled();
    field.dpu("vdpu0_0").die();
    field.run_ms(3000);
    field.dpu("vdpu0_0").boot();
    field.switch("switch0").hamgrd_runs = false;
    field.run_ms(3000);
    // hamgrd has not noticed that the DPU is up: nothing is programmed into a life it does not know.
    assert_eq!(field.phase("vdpu0_0"), Some(Phase::WaitingUp));
    field.switch("switch0").hamgrd_runs = true;
    field.run_ms(3000);
    assert_eq!(field.roles(), [STANDBY, ACTIVE]);
    let version = field.version("vdpu0_0").unwrap();
    field.dpu("vdpu0_0").boot();
    field.run_ms(3000);
    assert!(field.version("vdpu0_0").unwrap() > version, "identical rewrites reach nobody");
    field.assert_quiet();
}

#[test]
fn a_controller_that_was_away_during_a_restart_runs_the_procedure() {
    let mut field = Field::settled();
    field.dpu("vdpu0_0").die();
    field.dies_after = Some(0);
    field.run_ms(1200);
    field.dpu("vdpu0_0").boot();
    field.start_controller();
    field.run_ms(10_000);
    assert_eq!(field.roles(), [STANDBY, ACTIVE]);
    field.assert_quiet();
}

#[test]
fn a_dpu_that_goes_down_while_it_is_programmed_begins_again_at_once() {
    let mut field = Field::settled();
    field.dpu("vdpu0_0").die();
    field.run_ms(3000);
    field.refuses_writes = true;
    field.dpu("vdpu0_0").boot();
    field.run_ms(600);
    assert_eq!(field.phase("vdpu0_0"), Some(Phase::ProgrammingSets));
    field.dpu("vdpu0_0").die();
    field.run_ms(0);
    assert_eq!(field.phase("vdpu0_0"), Some(Phase::WaitingUp));
    field.refuses_writes = false;
    field.dpu("vdpu0_0").boot();
    field.run_ms(60_000);
    assert_eq!(field.roles(), [STANDBY, ACTIVE]);
    field.assert_quiet();
}
