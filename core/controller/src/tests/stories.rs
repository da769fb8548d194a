//! The restart procedure in the field's words, hazard by hazard (`reference/controller.md` 4.3).

use schema::appl_db::{HaScopeConfig, HaScopeConfigKey, HaSetConfig};
use schema::{
    AsicHaState, DesiredHaState, HaOwner, HaScopeId, HaScopeKind, HaSetId, LinkState, OperationType, Row,
    Table,
};

use super::field::{Field, fleet_of, fleet_with, switch_name, vdpu_id};
use crate::*;

const ACTIVE: Option<AsicHaState> = Some(AsicHaState::Active);
const STANDBY: Option<AsicHaState> = Some(AsicHaState::Standby);
const STANDALONE: Option<AsicHaState> = Some(AsicHaState::Standalone);
const DEAD: Option<AsicHaState> = Some(AsicHaState::Dead);

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
fn a_standby_whose_peers_switch_is_unreachable_is_not_approved_to_decide() {
    let mut field = Field::settled();
    for vdpu in ["vdpu0_0", "vdpu1_0"] {
        field.dpu(vdpu).die();
    }
    field.run_ms(3000);
    field.switch("switch0").reachable = false;
    field.dpu("vdpu1_0").boot();
    field.run_ms(10_000);
    assert_eq!(field.roles(), [None, Some(AsicHaState::PendingStandaloneActivation)]);
    assert_eq!(
        field.withheld(),
        [("vdpu1_0".to_owned(), OperationType::ActivateRole, Withheld::PeerUnknown)]
    );
    field.switch("switch0").reachable = true;
    field.run_ms(3000);
    assert_eq!(field.roles(), [None, STANDALONE]);
    field.dpu("vdpu0_0").boot();
    field.run_ms(5000);
    assert_eq!(field.roles(), [STANDBY, ACTIVE]);
    field.assert_quiet();
}

#[test]
fn an_active_one_programmed_while_its_peer_was_unknown_is_told_to_be_active_once_nobody_decides() {
    let mut field = Field::settled();
    for vdpu in ["vdpu0_0", "vdpu1_0"] {
        field.dpu(vdpu).die();
    }
    field.run_ms(3000);
    field.switch("switch1").reachable = false;
    field.dpu("vdpu0_0").boot();
    field.run_ms(3000);
    assert_eq!(field.desired("vdpu0_0"), Some(DesiredHaState::Unspecified));
    // The peer's scope is there before anything was approved: both stand by and nobody serves.
    field.dpu("vdpu1_0").boot();
    field.switch("switch1").reachable = true;
    field.run_ms(20_000);
    let roles = field.roles();
    assert!(roles == [ACTIVE, STANDBY] || roles == [STANDBY, ACTIVE], "{roles:?}");
    field.assert_quiet();
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
fn a_controller_that_lost_its_store_adopts_what_is_as_intended() {
    let mut field = Field::settled();
    field.store.clear();
    field.start_controller();
    field.run_ms(10_000);
    assert_eq!(field.writes(), [] as [&str; 0]);
    assert_eq!(field.begun(), []);
    assert_eq!(field.store.len(), 2);
    field.assert_quiet();
}

#[test]
fn a_controller_without_a_store_does_not_adopt_what_was_reset_or_is_not_as_intended() {
    type Spoil = fn(&mut Field);
    let spoils: [(&str, Spoil); 3] = [
        ("reset", |field| {
            let resets = &mut field.switch("switch1").resets;
            resets.values_mut().for_each(|reset| reset.reset_status = true);
        }),
        ("another owner", |field| {
            let (key, mut config) = field.switch("switch1").scope(&vdpu_id("vdpu1_0")).unwrap();
            config.owner = HaOwner::Switch;
            let key = (Table::DashHaScopeConfig, HaScopeConfig::key_text(&key));
            field.switch("switch1").appl.insert(key, config.to_fields());
        }),
        ("a version that is no number", |field| {
            let (key, mut config) = field.switch("switch1").scope(&vdpu_id("vdpu1_0")).unwrap();
            config.version = "1.0".to_owned();
            let key = (Table::DashHaScopeConfig, HaScopeConfig::key_text(&key));
            field.switch("switch1").appl.insert(key, config.to_fields());
        }),
    ];
    for (what, spoil) in spoils {
        let mut field = Field::settled();
        field.store.clear();
        spoil(&mut field);
        field.start_controller();
        field.run_ms(10_000);
        assert_eq!(field.begun(), [("vdpu1_0".to_owned(), Reason::NotProgrammed)], "{what}");
        assert_eq!(field.roles(), [ACTIVE, STANDBY], "{what}");
        field.assert_quiet();
    }
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
fn a_planned_shutdown_and_its_end_change_the_desired_state_in_place() {
    let mut field = Field::settled();
    field.reload(fleet_with(1, |vdpu| set_admin_down(vdpu, "vdpu0_0"), |_| {}));
    field.run_ms(5000);
    assert_eq!(field.roles(), [DEAD, STANDALONE]);
    assert_eq!(field.desired("vdpu0_0"), Some(DesiredHaState::Dead));
    assert_eq!(field.begun(), []);
    field.assert_quiet();
    // The DPU restarts while it shall be down: the ordinary procedure, and dead again.
    field.dpu("vdpu0_0").die();
    field.run_ms(3000);
    assert_eq!(field.desired("vdpu0_0"), None);
    field.dpu("vdpu0_0").boot();
    field.run_ms(3000);
    assert_eq!(field.desired("vdpu0_0"), Some(DesiredHaState::Dead));
    assert_eq!(field.phase("vdpu0_0"), Some(Phase::Steady));
    assert_eq!(field.roles(), [DEAD, STANDALONE]);
    field.assert_quiet();
    field.reload(fleet_of(1));
    field.run_ms(5000);
    assert_eq!(field.roles(), [STANDBY, ACTIVE]);
    field.assert_quiet();
}

fn set_admin_down(vdpu: &mut VdpuIntent, which: &str) {
    if vdpu.id.as_str() == which {
        vdpu.admin = Admin::Down;
    }
}

#[test]
fn a_set_that_another_scope_of_the_switch_refers_to_is_kept() {
    let mut field = Field::settled();
    let stranger = HaScopeConfigKey { vdpu: vdpu_id("stranger"), scope: HaScopeId::new("eni7").unwrap() };
    let row = HaScopeConfig {
        version: "1".to_owned(),
        disabled: false,
        owner: HaOwner::Dpu,
        ha_set_id: HaSetId::new("haset0"),
        desired_ha_state: DesiredHaState::Unspecified,
        approved_pending_operation_ids: vec![],
    };
    let key = (Table::DashHaScopeConfig, HaScopeConfig::key_text(&stranger));
    field.switch("switch0").appl.insert(key.clone(), row.to_fields());
    field.dpu("vdpu0_0").die();
    field.run_ms(3000);
    assert_eq!(field.writes(), ["switch0 DASH_HA_SCOPE_CONFIG_TABLE vdpu0_0:haset0 del"]);
    field.dpu("vdpu0_0").boot();
    field.run_ms(5000);
    assert_eq!(field.roles(), [STANDBY, ACTIVE]);
    assert!(field.switch("switch0").appl.contains_key(&key), "a stranger's row is left alone");
    field.assert_quiet();
}

#[test]
fn a_set_with_both_members_on_one_switch_stays_as_it_is_when_one_restarts() {
    let on_one = |vdpu: &mut VdpuIntent| {
        if vdpu.id.as_str() == "vdpu1_0" {
            vdpu.dpu = DpuId { switch: switch_name("switch0"), slot: schema::Slot(1) };
        }
    };
    let mut field = Field::new(fleet_with(1, on_one, |_| {}));
    field.run_ms(10_000);
    assert_eq!(field.roles(), [ACTIVE, STANDBY]);
    field.log.clear();
    field.dpu("vdpu0_0").die();
    field.run_ms(3000);
    field.dpu("vdpu0_0").boot();
    field.run_ms(5000);
    assert_eq!(field.roles(), [STANDBY, ACTIVE]);
    assert!(field.writes().iter().all(|write| !write.contains("SET_CONFIG_TABLE")), "{:?}", field.writes());
    field.assert_quiet();
}

#[test]
fn rows_of_the_fleets_vdpus_that_are_not_intended_go_and_strangers_rows_stay() {
    let mut field = Field::settled();
    let scope = HaScopeConfig {
        version: "1".to_owned(),
        disabled: false,
        owner: HaOwner::Dpu,
        ha_set_id: None,
        desired_ha_state: DesiredHaState::Unspecified,
        approved_pending_operation_ids: vec![],
    };
    let set = |vdpus: [&str; 2]| HaSetConfig {
        version: "1".to_owned(),
        vip_v4: None,
        vip_v6: None,
        vdpu_ids: vdpus.iter().map(|vdpu| vdpu_id(vdpu)).collect(),
        scope: HaScopeKind::Dpu,
        pinned_vdpu_bfd_probe_states: vec![],
        preferred_vdpu_ids: vec![],
        preferred_standalone_vdpu_index: 0,
    };
    let appl = &mut field.switch("switch1").appl;
    for key in ["vdpu1_0:old", "vdpu0_0:haset0", "stranger:theirs"] {
        appl.insert((Table::DashHaScopeConfig, key.to_owned()), scope.to_fields());
    }
    appl.insert((Table::DashHaSetConfig, "old".to_owned()), set(["vdpu0_0", "vdpu1_0"]).to_fields());
    appl.insert((Table::DashHaSetConfig, "theirs".to_owned()), set(["stranger", "vdpu1_0"]).to_fields());
    appl.insert((Table::DashHaSetConfig, "odd".to_owned()), [("pb", "\u{1}")].into_iter().collect());
    field.run_ms(1000);
    let left: Vec<String> = field.switch("switch1").appl.keys().map(|(_, key)| key.clone()).collect();
    assert_eq!(left, ["haset0", "odd", "theirs", "stranger:theirs", "vdpu1_0:haset0"]);
}

#[test]
fn a_changed_vip_is_written_in_place_with_the_next_version() {
    let mut field = Field::settled();
    let version = |field: &mut Field, switch: &str| field.switch(switch).set("haset0").unwrap().version;
    let before: u32 = version(&mut field, "switch0").parse().unwrap();
    field.reload(fleet_with(1, |_| {}, |set| set.vip_v4 = Some("10.9.9.9".parse().unwrap())));
    field.run_ms(5000);
    assert_eq!(version(&mut field, "switch0"), (before + 1).to_string());
    assert_eq!(field.begun(), []);
    assert_eq!(field.roles(), [ACTIVE, STANDBY]);
    field.assert_quiet();
}

#[test]
fn a_split_brain_ends_with_the_intended_standby_yielding() {
    let mut field = Field::settled();
    field.channel_cut = true;
    field.run_ms(5000);
    assert_eq!(field.roles(), [STANDALONE, STANDALONE]);
    field.channel_cut = false;
    field.run_ms(10_000);
    assert_eq!(field.roles(), [ACTIVE, STANDBY]);
    let recovered = field
        .notes()
        .filter(|note| matches!(note, Note::Approved { operation: OperationType::BrainsplitRecover, .. }));
    assert!(recovered.count() <= 1, "one side only");
    assert!(field.writes().iter().any(|write| write.starts_with("switch1")));
    assert_eq!(field.begun(), []);
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
fn a_latch_that_is_raised_again_for_the_same_reset_is_not_fought_over() {
    let mut field = Field::settled();
    field.dpu("vdpu0_0").die();
    field.run_ms(3000);
    field.dpu("vdpu0_0").boot();
    field.run_ms(5000);
    for _ in 0..5 {
        field.switch("switch0").resets.values_mut().for_each(|reset| reset.reset_status = true);
        field.run_ms(1000);
    }
    let merges = field.writes().iter().filter(|write| write.ends_with("merge")).count();
    assert_eq!(merges, 1);
}

#[test]
fn of_two_that_cannot_see_each_other_only_the_one_told_to_be_active_is_approved_to_stand_alone() {
    let mut field = Field::new(fleet_of(1));
    field.channel_cut = true;
    field.run_ms(20_000);
    assert_eq!(field.roles(), [STANDALONE, Some(AsicHaState::PendingStandaloneActivation)]);
    assert_eq!(
        field.withheld(),
        [("vdpu1_0".to_owned(), OperationType::ActivateRole, Withheld::PeerDecides)]
    );
    field.channel_cut = false;
    field.run_ms(20_000);
    assert_eq!(field.roles(), [ACTIVE, STANDBY]);
    field.assert_quiet();
}

#[test]
fn where_both_stand_by_and_nobody_decides_the_intended_one_is_told_to_after_a_while() {
    let mut field = Field::settled();
    field.store.clear();
    for (switch, vdpu) in [("switch0", "vdpu0_0"), ("switch1", "vdpu1_0")] {
        let (key, mut config) = field.switch(switch).scope(&vdpu_id(vdpu)).unwrap();
        config.desired_ha_state = DesiredHaState::Unspecified;
        config.version = "9".to_owned();
        let row = (Table::DashHaScopeConfig, HaScopeConfig::key_text(&key));
        field.switch(switch).appl.insert(row, config.to_fields());
        field.dpu(vdpu).applied = None;
    }
    field.start_controller();
    field.run_ms(4000);
    assert_eq!(field.roles(), [Some(AsicHaState::Connecting), Some(AsicHaState::Connecting)]);
    field.run_ms(5000);
    assert_eq!(field.roles(), [ACTIVE, STANDBY]);
    assert_eq!(field.begun(), []);
    assert_eq!(field.version("vdpu0_0"), Some(10));
    field.assert_quiet();
}

#[test]
fn an_operation_in_a_row_of_another_version_or_another_life_is_not_approved() {
    type Spoil = fn(&mut schema::state_db::HaScopeState);
    let spoils: [(&str, Spoil, bool); 3] = [
        ("another version", |row| row.version = Some("999".to_owned()), false),
        ("another life", |row| row.incarnation = Some(1), false),
        ("this version and life", |_| {}, true),
    ];
    for (what, spoil, approved) in spoils {
        let mut field = Field::settled();
        field.switch("switch1").hamgrd_runs = false;
        let row = field.switch("switch1").states.values_mut().next().unwrap();
        row.local_ha_state = Some(AsicHaState::PendingStandbyActivation);
        row.pending_operation_ids = vec![schema::OperationId::new("from-elsewhere").unwrap()];
        row.pending_operation_types = vec![OperationType::ActivateRole];
        spoil(row);
        field.run_ms(10_000);
        assert_eq!(!field.writes().is_empty(), approved, "{what}");
    }
}

#[test]
fn ids_and_types_that_do_not_go_together_and_operations_nobody_asked_for_are_not_approved() {
    let mut field = Field::settled();
    field.switch("switch1").hamgrd_runs = false;
    let ids = ["a", "b"].map(|id| schema::OperationId::new(id).unwrap());
    let row = field.switch("switch1").states.values_mut().next().unwrap();
    row.local_ha_state = Some(AsicHaState::PendingStandbyActivation);
    row.pending_operation_ids = ids.to_vec();
    row.pending_operation_types = vec![OperationType::ActivateRole];
    field.run_ms(10_000);
    assert_eq!(field.writes(), [] as [&str; 0]);
    let row = field.switch("switch1").states.values_mut().next().unwrap();
    row.pending_operation_types = vec![OperationType::Switchover, OperationType::FlowReconcile];
    field.run_ms(10_000);
    assert_eq!(field.withheld(), [("vdpu1_0".to_owned(), OperationType::Switchover, Withheld::Policy)]);
    let (_, config) = field.switch("switch1").scope(&vdpu_id("vdpu1_0")).unwrap();
    assert!(config.approved_pending_operation_ids.contains(&ids[1]));
    assert!(!config.approved_pending_operation_ids.contains(&ids[0]));
}

#[test]
fn between_an_approval_and_the_role_it_brings_the_peer_is_not_approved() {
    let mut field = Field::settled();
    field.dpu("vdpu0_0").die();
    field.run_ms(3000);
    field.dpu("vdpu0_0").boot();
    field.run_ms(5000);
    // Neither is told to be active now.
    let report = |field: &mut Field, switch: &str, state, id: Option<&str>| {
        let switch = field.switch(switch);
        switch.hamgrd_runs = false;
        let row = switch.states.values_mut().next().unwrap();
        row.local_ha_state = Some(state);
        row.pending_operation_ids = id.iter().map(|id| schema::OperationId::new(*id).unwrap()).collect();
        row.pending_operation_types = id.iter().map(|_| OperationType::ActivateRole).collect();
    };
    report(&mut field, "switch0", AsicHaState::Connecting, None);
    report(&mut field, "switch1", AsicHaState::PendingStandaloneActivation, Some("b1"));
    field.run_ms(1000);
    assert!(field.notes().any(|note| matches!(note, Note::Approved { id, .. } if id.as_str() == "b1")));
    report(&mut field, "switch1", AsicHaState::PendingStandaloneActivation, None);
    report(&mut field, "switch0", AsicHaState::PendingStandaloneActivation, Some("a1"));
    field.run_ms(1000);
    assert_eq!(
        field.withheld(),
        [("vdpu0_0".to_owned(), OperationType::ActivateRole, Withheld::PeerDecides)]
    );
    // It did not follow: it asks anew, and only one of the two is approved.
    report(&mut field, "switch1", AsicHaState::PendingStandaloneActivation, Some("b2"));
    field.run_ms(1000);
    let approved = |field: &Field, wanted: &str| {
        field.notes().any(|note| matches!(note, Note::Approved { id, .. } if id.as_str() == wanted))
    };
    assert!(approved(&field, "a1") != approved(&field, "b2"));
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
