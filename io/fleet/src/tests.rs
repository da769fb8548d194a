//! What is accepted, and what is said of the rest.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use controller::{Admin, SwitchName};
use schema::VdpuId;

use crate::{FleetFile, FleetFileError};

const GOOD: &str = r#"
[timing]
down_debounce_ms = 200

[approve]
brainsplit_recover = false

[[switch]]
name = "switch0"
database_config = "/run/s0/database_config.json"

[[switch]]
name = "switch1"
database_config = "s1/database_config.json"
database_global = "s1/database_global.json"

[[vdpu]]
id = "vdpu0_0"
switch = "switch0"
slot = 0

[[vdpu]]
id = "vdpu1_0"
switch = "switch1"
slot = 3
admin = "down"

[[ha_set]]
id = "haset0"
vip_v4 = "10.3.0.1"
vip_v6 = "fd00::1"
vdpus = ["vdpu0_0", "vdpu1_0"]
active = "vdpu0_0"
"#;

fn parse(text: &str) -> Result<FleetFile, FleetFileError> {
    FleetFile::parse(Path::new("/etc/fleet.toml"), text)
}

#[test]
fn a_fleet_file_says_what_there_is_and_how_to_reach_it() {
    let file = parse(GOOD).unwrap();
    assert_eq!(file.fleet.timing().down_debounce_ms, 200);
    assert_eq!(file.fleet.timing().verify_timeout_ms, 70_000);
    assert!(!file.fleet.approve().brainsplit_recover);
    let vdpu = file.fleet.vdpu(&VdpuId::new("vdpu1_0").unwrap()).unwrap();
    assert_eq!((vdpu.dpu.to_string().as_str(), vdpu.admin), ("switch1/DPU3", Admin::Down));
    let access = |name: &str| file.switches[&SwitchName::new(name).unwrap()].clone();
    assert_eq!(access("switch0").database_config, Path::new("/run/s0/database_config.json"));
    assert_eq!(access("switch1").database_config, Path::new("/etc/s1/database_config.json"));
    assert_eq!(access("switch1").database_global.unwrap(), Path::new("/etc/s1/database_global.json"));
}

#[test]
fn an_error_names_file_line_and_field() {
    let cases = [
        ("slot = 3", "slot = 300", 25, "slot", "u8"),
        ("slot = 3", "slto = 3", 25, "slto", "unknown field"),
        ("switch = \"switch1\"", "switch = \"switch7\"", 24, "vdpu.switch", "no switch switch7"),
        ("slot = 3\nadmin", "admin", 22, "[[vdpu]]", "missing field `slot`"),
        ("admin = \"down\"", "admin = \"off\"", 26, "admin", "unknown variant"),
        ("vip_v4 = \"10.3.0.1\"", "vip_v4 = \"10.3.0.256\"", 30, "vip_v4", "IPv4"),
        ("\"vdpu1_0\"]", "\"vdpu9_9\"]", 32, "ha_set.vdpus", "no vDPU vdpu9_9"),
        ("active = \"vdpu0_0\"", "active = \"vdpu5\"", 33, "ha_set.active", "not a member"),
        ("id = \"vdpu1_0\"", "id = \"a|b\"", 23, "id", "the id of a vDPU"),
        ("down_debounce_ms = 200", "retry_ms_max = 1", 3, "timing.retry_ms_max", "less than"),
        ("name = \"switch1\"", "name = \"switch0\"", 13, "switch.name", "another switch switch0"),
        ("[timing]", "[timing", 2, "[timing", ""),
    ];
    for (good, bad, line, field, message) in cases {
        assert!(GOOD.contains(good));
        let Err(FleetFileError::Wrong { problems }) = parse(&GOOD.replace(good, bad)) else {
            panic!("{bad} was accepted");
        };
        let problem = &problems[0];
        assert_eq!((problem.line, problem.field.as_str()), (line, field), "{bad}: {problem}");
        assert!(problem.message.contains(message), "{bad}: {problem}");
        assert!(problem.to_string().starts_with("/etc/fleet.toml:"), "{problem}");
    }
}

#[test]
fn every_problem_of_a_fleet_is_reported_at_once() {
    let bad = GOOD
        .replace("switch = \"switch1\"", "switch = \"x\"")
        .replace("active = \"vdpu0_0\"", "active = \"y\"");
    let Err(FleetFileError::Wrong { problems }) = parse(&bad) else { panic!("was accepted") };
    assert_eq!(problems.len(), 2, "{problems:?}");
}
