//! The fleet file and the store.

use std::path::Path;

use controller::{Admin, DpuId, DpuRecord, Life, Phase, SwitchName};
use schema::{Slot, VdpuId};

use crate::fleet_file::{FleetFile, FleetFileError};
use crate::store::{Store, StoreError};

const GOOD: &str = r#"
[timing]
down_debounce_ms = 300

[[switch]]
name = "switch0"
database_config = "/s0/database_config.json"

[[switch]]
name = "switch1"
database_config = "/s1/database_config.json"
database_global = "/elsewhere/global.json"

[[vdpu]]
id = "vdpu0_0"
switch = "switch0"
slot = 0

[[vdpu]]
id = "vdpu1_0"
switch = "switch1"
slot = 0
admin = "down"

[[ha_set]]
id = "haset0"
vip_v4 = "10.3.0.1"
vdpus = ["vdpu0_0", "vdpu1_0"]
active = "vdpu0_0"
"#;

fn parse(text: &str) -> Result<FleetFile, FleetFileError> {
    FleetFile::parse(Path::new("fleet.toml"), text)
}

#[test]
fn a_good_fleet_file_is_the_intent() {
    let file = parse(GOOD).unwrap();
    assert_eq!(file.fleet.timing().down_debounce_ms, 300);
    assert_eq!(file.fleet.timing().up_debounce_ms, controller::Timing::default().up_debounce_ms);
    let vdpu = file.fleet.vdpu(&VdpuId::new("vdpu1_0").unwrap()).unwrap();
    assert_eq!((vdpu.admin, vdpu.dpu.slot), (Admin::Down, Slot(0)));
    let global = |name: &str| file.targets[&SwitchName::new(name).unwrap()].database_global.clone();
    assert_eq!(global("switch0"), Path::new("/s0/database_global.json"));
    assert_eq!(global("switch1"), Path::new("/elsewhere/global.json"));
}

#[test]
fn a_problem_names_file_line_and_field() {
    let cases = [
        ("slot = 0", "slot = \"first\"", "fleet.toml:17: slot = \"first\": "),
        ("switch = \"switch1\"", "switch = \"switch7\"", "fleet.toml:19: switch: there is no switch switch7"),
        ("active = \"vdpu0_0\"", "active = \"vdpu9\"", "fleet.toml:25: active: vdpu9 is not a member"),
        ("vip_v4 = \"10.3.0.1\"", "vip_v4 = \"10.3.0\"", "fleet.toml:27: vip_v4 = \"10.3.0\": "),
        ("admin = \"down\"", "admin = \"sideways\"", "fleet.toml:23: admin = \"sideways\": "),
        (
            "id = \"haset0\"",
            "id = \"haset0\"\ncolour = 1",
            "fleet.toml:27: colour = 1: unknown field `colour`",
        ),
        ("[timing]", "[timing", "fleet.toml:2: [timing: "),
    ];
    for (from, to, expected) in cases {
        let error = parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{to}: {error}");
    }
}

#[test]
fn every_problem_is_listed() {
    let text = GOOD
        .replace("switch = \"switch1\"", "switch = \"x\"")
        .replace("active = \"vdpu0_0\"", "active = \"y\"");
    assert_eq!(parse(&text).unwrap_err().to_string().lines().count(), 2);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = FleetFile::read(Path::new("/nowhere/fleet.toml")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/fleet.toml"), "{error}");
}

fn record(epoch: u64) -> DpuRecord {
    DpuRecord {
        dpu: DpuId { switch: SwitchName::new("switch0").unwrap(), slot: Slot(0) },
        vdpu: VdpuId::new("vdpu0_0").unwrap(),
        phase: Phase::WaitingUp,
        epoch,
        life: Life::default(),
        scopes: Default::default(),
    }
}

#[test]
fn a_record_outlives_the_process_and_the_last_one_counts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = Store::open(&path).unwrap();
    assert_eq!(store.records().unwrap(), []);
    store.put(&[record(1)]).unwrap();
    store.put(&[record(2)]).unwrap();
    drop(store);
    assert_eq!(Store::open(&path).unwrap().records().unwrap(), [record(2)]);
}

#[test]
fn a_damaged_store_and_a_store_in_use_are_errors_that_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let damaged = directory.path().join("damaged");
    std::fs::write(&damaged, "this is no database").unwrap();
    let in_use = directory.path().join("in-use");
    let _holder = Store::open(&in_use).unwrap();
    for path in [damaged, in_use] {
        let error = Store::open(&path).err().unwrap();
        assert!(matches!(error, StoreError::Open { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}
