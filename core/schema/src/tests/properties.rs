//! What holds for every row of every table, over random rows and random bytes.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::generator::{FromTape, any_from_tape};
use super::golden::ERROR_CHARS_MAX;
use crate::{Fields, Row, Table, Value};

fn a_row_survives_the_wire<R: Row + Serialize + DeserializeOwned>(key: &R::Key, row: &R) {
    let (text, fields) = (R::key_text(key), row.to_fields());
    assert!(!fields.is_empty(), "Redis cannot hold an empty row");
    assert_eq!(R::parse(&text, &fields), Ok((key.clone(), row.clone())), "{fields:?}");
    assert_eq!(R::parse_reporting(&text, &fields), (Some((key.clone(), row.clone())), vec![]));
    assert_eq!(serde_json::from_str::<R>(&serde_json::to_string(row).unwrap()).unwrap(), *row);
    let json = serde_json::to_string(&fields).unwrap();
    assert_eq!(serde_json::from_str::<Fields>(&json).unwrap(), fields, "{json}");
}

/// Reads a row whose known fields are replaced, one by one and then all, by garbage.
fn garbage_is_an_error_or_a_row<R: Row>(key: &str, template: &R, names: &[String], garbage: &[Value]) {
    let mut fields = template.to_fields();
    for (name, value) in names.iter().zip(garbage) {
        fields.set(name.as_str(), value.clone());
    }
    check(R::parse(key, &fields));
    let known: Vec<String> = template.to_fields().iter().map(|(name, _)| name.to_owned()).collect();
    for (at, name) in known.iter().enumerate() {
        let Some(value) = garbage.get(at % garbage.len().max(1)) else { continue };
        let mut one = template.to_fields();
        one.set(name.as_str(), value.clone());
        check(R::from_fields(key, &one));
        fields.set(name.as_str(), value.clone());
    }
    check(R::from_fields(key, &fields));
    let (_, errors) = R::parse_reporting(key, &fields);
    assert!(errors.len() <= R::FORGIVEN.len() + 1);

    fn check<T>(read: Result<T, crate::RowError>) {
        if let Err(error) = read {
            let text = error.to_string();
            assert!(text.chars().count() < ERROR_CHARS_MAX, "{text}");
        }
    }
}

fn values() -> impl Strategy<Value = Vec<Value>> {
    let value = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(Value::from),
        ".{0,80}".prop_map(Value::from),
        "[0-9,:. \"'a-f]{0,80}".prop_map(Value::from),
        "[\\p{Cc}\\u{10ffff}]{0,200}".prop_map(Value::from),
        (any::<u8>(), 0usize..70_000).prop_map(|(byte, length)| Value::from(vec![byte; length])),
    ];
    proptest::collection::vec(value, 1..6)
}

fn of_row<R: Row + FromTape>() -> impl Strategy<Value = R>
where
    R::Key: FromTape,
{
    any_from_tape::<R>()
}

macro_rules! every_row {
    ($($module:ident: $row:path;)*) => {
        $(mod $module {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(128))]

                #[test]
                fn any_row_survives_the_wire(
                    key in any_from_tape::<<$row as Row>::Key>(),
                    row in of_row::<$row>(),
                ) {
                    a_row_survives_the_wire(&key, &row);
                }

                #[test]
                fn garbage_never_panics_and_its_error_is_short(
                    key in ".{0,40}",
                    row in of_row::<$row>(),
                    names in proptest::collection::vec(".{0,20}", 0..6),
                    garbage in values(),
                ) {
                    garbage_is_an_error_or_a_row(&key, &row, &names, &garbage);
                }
            }
        })*

        #[test]
        fn every_table_has_a_row_that_is_tested_here() {
            let tested = BTreeSet::from([$(<$row as Row>::TABLE),*]);
            let all: BTreeSet<Table> = Table::ALL.iter().copied().collect();
            assert_eq!(tested, all);
        }
    };
}

every_row! {
    dpu: crate::config_db::Dpu;
    remote_dpu: crate::config_db::RemoteDpu;
    vdpu: crate::config_db::Vdpu;
    ha_global_config: crate::config_db::HaGlobalConfig;
    loopback_interface: crate::config_db::LoopbackInterface;
    port: crate::config_db::Port;
    ha_set_config: crate::appl_db::HaSetConfig;
    ha_scope_config: crate::appl_db::HaScopeConfig;
    vnet_route_tunnel: crate::appl_db::VnetRouteTunnel;
    neigh_resolve: crate::appl_db::NeighResolve;
    port_state: crate::appl_db::PortState;
    ha_scope_state: crate::state_db::HaScopeState;
    dpu_reset_info: crate::state_db::DpuResetInfo;
    ha_scope_fence: crate::state_db::HaScopeFence;
    chassis_midplane: crate::state_db::ChassisMidplane;
    system_ready: crate::state_db::SystemReady;
    bfd_software_session: crate::state_db::BfdSoftwareSession;
    dpu_bfd_probe_state: crate::state_db::DpuBfdProbeState;
    npu_bfd_session: crate::state_db::NpuBfdSession;
    vnet_route_tunnel_state: crate::state_db::VnetRouteTunnelState;
    dpu_state: crate::chassis_state_db::DpuState;
    ha_set: crate::dpu_appl_db::HaSet;
    ha_scope: crate::dpu_appl_db::HaScope;
    bfd_session: crate::dpu_appl_db::BfdSession;
    ha_set_result: crate::dpu_appl_state_db::HaSetResult;
    ha_scope_result: crate::dpu_appl_state_db::HaScopeResult;
    dpu_ha_set_state: crate::dpu_state_db::HaSetState;
    dpu_ha_scope_state: crate::dpu_state_db::HaScopeState;
    bfd_probe_state: crate::dpu_state_db::BfdProbeState;
}

proptest! {
    #[test]
    fn any_id_that_is_taken_survives_json_and_lists(text in ".{0,300}") {
        if let Some(id) = crate::DpuName::new(text.clone()) {
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<crate::DpuName>(&json).unwrap(), id.clone());
            let row = crate::config_db::Vdpu { main_dpu_ids: vec![id.clone(), id] };
            prop_assert_eq!(crate::config_db::Vdpu::from_fields("v", &row.to_fields()).unwrap(), row);
        }
    }

    #[test]
    fn any_value_survives_json(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let value = Value::from(bytes);
        let json = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
    }

    #[test]
    fn any_number_is_a_time_in_milliseconds(number in any::<i64>()) {
        let wall = crate::WallMs::from_seconds_or_ms(number);
        prop_assert_eq!(crate::WallMs::from_seconds_or_ms(wall.0.max(100_000_000_000)).0, wall.0.max(100_000_000_000));
    }
}
