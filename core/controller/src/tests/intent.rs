//! What is intended, what is found, and what is a stranger's.

use schema::appl_db::{HaScopeConfig, HaScopeConfigKey, HaSetConfig};
use schema::{AsicHaState, DesiredHaState, HaOwner, HaScopeId, HaScopeKind, HaSetId, Row, Table};

use super::field::{Field, fleet_of, fleet_with, switch_name, vdpu_id};
use crate::*;

const ACTIVE: Option<AsicHaState> = Some(AsicHaState::Active);
const STANDBY: Option<AsicHaState> = Some(AsicHaState::Standby);
const STANDALONE: Option<AsicHaState> = Some(AsicHaState::Standalone);
const DEAD: Option<AsicHaState> = Some(AsicHaState::Dead);

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
