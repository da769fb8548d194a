//! Keys, tables and ids.

use std::collections::BTreeSet;

use super::golden::{ERROR_CHARS_MAX, ha_set, ip, scope, vdpu};
use crate::appl_db::{HaScopeConfig, HaScopeConfigKey, NeighResolve, VnetRouteTunnel};
use crate::chassis_state_db::DpuState;
use crate::config_db::{HaGlobalConfig, LoopbackInterface, LoopbackKey};
use crate::dpu_appl_db::{BfdKey, BfdSession};
use crate::dpu_state_db::BfdProbeState;
use crate::state_db::{BfdSoftwareSession, HaScopeState, SystemReady};
use crate::{Db, DpuName, HaScopeId, HaSetId, OperationId, Row, Slot, Table, VdpuId};

fn scope_key(vdpu_id: &str, scope_id: &str) -> HaScopeConfigKey {
    HaScopeConfigKey { vdpu: vdpu(vdpu_id), scope: scope(scope_id) }
}

#[test]
fn the_first_separator_parts_vdpu_and_scope() {
    assert_eq!(HaScopeConfig::parse_key("vdpu0_0:haset0_0"), Ok(scope_key("vdpu0_0", "haset0_0")));
    let eni = scope_key("vdpu0_0", "F4:93:9F:EF:C4:7E");
    assert_eq!(HaScopeConfig::parse_key("vdpu0_0:F4:93:9F:EF:C4:7E"), Ok(eni.clone()));
    assert_eq!(HaScopeConfig::key_text(&eni), "vdpu0_0:F4:93:9F:EF:C4:7E");
    assert_eq!(HaScopeState::parse_key("vdpu0_0|F4:93:9F:EF:C4:7E"), Ok(eni.clone()));
    assert_eq!(HaScopeState::key_text(&eni), "vdpu0_0|F4:93:9F:EF:C4:7E");
    assert_eq!(eni.to_string(), "vdpu0_0:F4:93:9F:EF:C4:7E");
}

#[test]
fn the_first_two_separators_part_a_bfd_key() {
    let v6 = BfdKey::to_npu(ip("fd00::1"));
    assert_eq!(BfdSession::parse_key("default:default:fd00::1"), Ok(v6.clone()));
    assert_eq!(BfdSession::key_text(&v6), "default:default:fd00::1");
    assert_eq!(BfdSoftwareSession::parse_key("default|default|fd00::1"), Ok(v6.clone()));
    assert_eq!(BfdSoftwareSession::key_text(&v6), "default|default|fd00::1");
    let named = BfdKey { vrf: "Vrf1".to_owned(), interface: "Ethernet0".to_owned(), peer: ip("10.0.0.1") };
    assert_eq!(BfdSession::parse_key("Vrf1:Ethernet0:10.0.0.1"), Ok(named));
}

#[test]
fn a_loopback_has_a_row_of_its_own_and_one_per_address() {
    let key = |address| LoopbackKey { interface: "Loopback0".to_owned(), address };
    for (text, expected) in [
        ("Loopback0", key(None)),
        ("Loopback0|10.1.0.32/32", key(Some((ip("10.1.0.32"), 32)))),
        ("Loopback0|fc00:1::32/128", key(Some((ip("fc00:1::32"), 128)))),
    ] {
        assert_eq!(LoopbackInterface::parse_key(text), Ok(expected.clone()));
        assert_eq!(LoopbackInterface::key_text(&expected), text);
    }
}

#[test]
fn a_slot_has_one_spelling_as_a_key() {
    for (text, slot) in [("DPU0", 0), ("DPU7", 7), ("DPU10", 10), ("DPU255", 255)] {
        assert_eq!(DpuState::parse_key(text), Ok(Slot(slot)));
        assert_eq!(DpuState::key_text(&Slot(slot)), text);
    }
    assert_eq!(Slot(10).container(), "dpu10");
    assert_eq!(Slot::from_container("dpu10"), Some(Slot(10)));
    for text in ["", "dpu", "DPU10", "dpu256", "dpu+1", "dpu01", "dpu1 "] {
        assert_eq!(Slot::from_container(text), None, "{text:?}");
    }
}

#[test]
fn the_key_of_an_only_row_is_read_in_any_case_and_another_key_is_a_strangers() {
    assert!(HaGlobalConfig::parse_key("global").is_ok());
    assert!(HaGlobalConfig::parse_key("GLOBAL").is_ok());
    assert!(HaGlobalConfig::parse_key("what?is:this").is_err());
    assert!(BfdProbeState::parse_key("dash_ha").is_ok());
    assert!(BfdProbeState::parse_key("").is_err());
    assert!(SystemReady::parse_key("SYSTEM_STATE").is_ok());
    assert!(SystemReady::parse_key("other").is_err());
}

#[test]
fn a_bad_key_is_named() {
    let bad: [(Table, &[&str]); 6] = [
        (Table::DashHaScopeConfig, &["", "vdpu0", ":haset0", "vdpu0:", "vdpu0:a b", "v|x:h", "vdpu0:a|b"]),
        (
            Table::BfdSession,
            &["", "default", "default:10.0.0.1", "default:default:", "default:default:10.0.0"],
        ),
        (
            Table::LoopbackInterface,
            &[
                "Loopback0|",
                "Loopback0|10.1.0.32",
                "Loopback0|10.1.0.32/33",
                "Loopback0|a/1",
                "Loopback0|::1/129",
                "Loopback0|::1/x",
            ],
        ),
        (Table::DpuState, &["", "DPU", "dpu0", "DPU256", "DPU-1", "DPU+1", "DPU01", "DPU0 ", "DPU0|x"]),
        (Table::VnetRouteTunnel, &["", "Vnet_55"]),
        (Table::NeighResolve, &["", "Vlan1000", "Vlan1000:", "Vlan1000:host"]),
    ];
    for (table, keys) in bad {
        for key in keys {
            let error = match table {
                Table::DashHaScopeConfig => HaScopeConfig::parse_key(key).err(),
                Table::BfdSession => BfdSession::parse_key(key).err(),
                Table::LoopbackInterface => LoopbackInterface::parse_key(key).err(),
                Table::DpuState => DpuState::parse_key(key).err(),
                Table::VnetRouteTunnel => VnetRouteTunnel::parse_key(key).err(),
                Table::NeighResolve => NeighResolve::parse_key(key).err(),
                other => panic!("{other} is not tested here"),
            };
            let error = error.unwrap_or_else(|| panic!("{table} took {key:?}"));
            assert_eq!((error.table, error.key.as_str(), error.field.as_str()), (table, *key, "(key)"));
            assert!(error.to_string().chars().count() < ERROR_CHARS_MAX, "{error}");
        }
    }
}

#[test]
fn a_bad_key_reads_well_in_the_error() {
    assert_eq!(
        DpuState::parse_key("DPU\"x").unwrap_err().to_string(),
        r#"CHASSIS_STATE_DB DPU_STATE key "DPU\"x" field "(key)": expected DPU and a number, like DPU0, got "DPU\"x""#
    );
}

#[test]
fn the_whole_of_a_huge_key_is_not_repeated() {
    for unit in ["x", "\u{1}", "\u{10ffff}", "\"", "ä"] {
        let error = DpuState::parse_key(&unit.repeat(1 << 20)).unwrap_err();
        let text = error.to_string();
        assert!(text.chars().count() < ERROR_CHARS_MAX, "{text}");
        assert!(error.key.ends_with('…'), "{text}");
    }
}

#[test]
fn a_table_is_found_by_database_and_name() {
    for table in Table::ALL {
        assert_eq!(
            Table::find(table.db(), table.name()),
            Some(*table),
            "no two tables share a name in a database"
        );
        assert_eq!(table.to_string(), table.name());
    }
    assert_eq!(Table::find(Db::DpuApplDb, "DASH_HA_SET_TABLE"), Some(Table::DashHaSet));
    assert_eq!(Table::find(Db::DpuApplStateDb, "DASH_HA_SET_TABLE"), Some(Table::DashHaSetResult));
    assert_eq!(Table::find(Db::DpuStateDb, "DASH_HA_SET_TABLE"), None);
    assert_eq!(Table::find(Db::StateDb, "dpu_reset_info"), None);
}

#[test]
fn the_separator_is_that_of_the_database() {
    assert_eq!(Table::DashHaScope.redis_key("h0"), "DASH_HA_SCOPE_TABLE:h0");
    assert_eq!(Table::DashHaScopeResult.redis_key("h0"), "DASH_HA_SCOPE_TABLE|h0");
    assert_eq!(Table::Dpu.redis_key("d|0"), "DPU|d|0");
    assert_eq!(Table::DashBfdProbeState.redis_key(""), "DASH_BFD_PROBE_STATE", "no key, no separator");
    let colons: BTreeSet<&str> = Table::ALL
        .iter()
        .filter(|table| table.db().separator() == ':')
        .map(|table| table.db().name())
        .collect();
    assert_eq!(colons, BTreeSet::from(["APPL_DB", "DPU_APPL_DB"]));
    assert_eq!(Db::DpuCountersDb.separator(), ':');
}

#[test]
fn an_id_is_one_word_that_a_list_can_hold() {
    for good in ["a", "vdpu0_0", "5b6a1c0e-7f8d-4f43-9c39-6a2a3f7f0d52", "DPU.x/y", "ünï", &"x".repeat(255)]
    {
        assert!(VdpuId::new(good).is_some(), "{good}");
        assert_eq!(HaSetId::new(good).map(String::from).as_deref(), Some(good));
    }
    let bad =
        ["", " ", "a b", "a,b", "a|b", "a\n", "\u{0}", "a\u{a0}", "none", "\"a\"", "'a'", &"x".repeat(256)];
    for bad in bad {
        assert!(VdpuId::new(bad).is_none(), "{bad:?}");
        assert!(HaSetId::new(bad).is_none(), "{bad:?}");
        assert!(HaScopeId::new(bad).is_none(), "{bad:?}");
        assert!(DpuName::new(bad).is_none(), "{bad:?}");
        assert!(OperationId::new(bad).is_none(), "{bad:?}");
    }
    assert!(VdpuId::new("a:b").is_none(), "the separator of APPL_DB ends a vDPU's id");
    assert!(HaScopeId::new("a:b").is_some(), "but not a scope's: an ENI's id may be a MAC");
}

#[test]
fn an_id_is_checked_when_read_from_json() {
    assert_eq!(serde_json::from_str::<VdpuId>(r#""vdpu0""#).unwrap(), vdpu("vdpu0"));
    assert_eq!(serde_json::to_string(&ha_set("h0")).unwrap(), r#""h0""#);
    let error = serde_json::from_str::<VdpuId>(r#""a b""#).unwrap_err();
    assert!(error.to_string().contains("expected the id of a vDPU"), "{error}");
    assert_eq!(HaScopeId::from(ha_set("h0")), scope("h0"));
}

#[test]
fn an_operation_id_shows_all_bits_of_a_uuid() {
    let id = OperationId::from_uuid_parts(0x0123_4567_89ab_4cde, 0x8f01_2345_6789_abcd);
    assert_eq!(id.as_str(), "01234567-89ab-4cde-8f01-23456789abcd");
    assert_eq!(OperationId::from_uuid_parts(0, 0).as_str(), "00000000-0000-0000-0000-000000000000");
    let all = OperationId::from_uuid_parts(u64::MAX, u64::MAX);
    assert_eq!(all.as_str(), "ffffffff-ffff-ffff-ffff-ffffffffffff");
    assert_eq!(OperationId::new(all.as_str()), Some(all), "it passes its own check");
}
