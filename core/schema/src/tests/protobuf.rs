//! The two configuration rows, byte by byte: `reference/controller.md` 2.1-2.3.

use super::golden::{ERROR_CHARS_MAX, ha_set, operation, scope, v4, v6, vdpu};
use crate::appl_db::{HaScopeConfig, HaScopeConfigKey, HaSetConfig};
use crate::{DesiredHaState, Fields, HaOwner, HaScopeKind, PinnedState, Row, RowError, Value};

fn full_set() -> HaSetConfig {
    HaSetConfig {
        version: "1".to_owned(),
        vip_v4: Some(v4("10.3.0.1")),
        vip_v6: Some(v6("fd00::1")),
        vdpu_ids: vec![vdpu("a"), vdpu("b")],
        scope: HaScopeKind::Dpu,
        pinned_vdpu_bfd_probe_states: vec![PinnedState::None, PinnedState::Up],
        preferred_vdpu_ids: vec![vdpu("a")],
        preferred_standalone_vdpu_index: 1,
    }
}

fn full_set_bytes() -> Vec<u8> {
    let parts: [&[u8]; 10] = [
        b"\x0a\x01\x31",                 // 1 version "1"
        b"\x12\x05\x0d\x0a\x03\x00\x01", // 2 vip_v4 { 1 fixed32: the octets of 10.3.0.1 in order }
        b"\x1a\x12\x12\x10\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", // 3 vip_v6 { 2 bytes }
        b"\x22\x01a",                                                                        // 4 vdpu_ids
        b"\x22\x01b",
        b"\x28\x01",     // 5 scope DPU
        b"\x32\x04none", // 6 pinned_vdpu_bfd_probe_states
        b"\x32\x02up",
        b"\x3a\x01a", // 7 preferred_vdpu_id
        b"\x40\x01",  // 8 preferred_standalone_vdpu_index
    ];
    parts.concat()
}

fn full_scope() -> HaScopeConfig {
    HaScopeConfig {
        version: "12".to_owned(),
        disabled: true,
        owner: HaOwner::Switch,
        ha_set_id: Some(ha_set("h0")),
        desired_ha_state: DesiredHaState::Standalone,
        approved_pending_operation_ids: vec![operation("x"), operation("y")],
    }
}

fn full_scope_bytes() -> Vec<u8> {
    let parts: [&[u8]; 7] = [
        b"\x0a\x0212", // 1 version
        b"\x10\x01",   // 2 disabled
        b"\x18\x02",   // 3 owner SWITCH
        b"\x22\x02h0", // 4 ha_set_id
        b"\x28\x03",   // 5 desired_ha_state STANDALONE
        b"\x32\x01x",  // 6 approved_pending_operation_ids
        b"\x32\x01y",
    ];
    parts.concat()
}

fn pb(bytes: impl Into<Value>) -> Fields {
    [("pb", bytes.into())].into_iter().collect()
}

fn read_set(bytes: &[u8]) -> Result<HaSetConfig, RowError> {
    HaSetConfig::from_fields("haset0", &pb(bytes.to_vec()))
}

fn read_scope(bytes: &[u8]) -> Result<HaScopeConfig, RowError> {
    HaScopeConfig::from_fields("vdpu0:haset0", &pb(bytes.to_vec()))
}

#[test]
fn a_ha_set_config_lies_on_the_wire_as_sonic_writes_it() {
    assert_eq!(full_set().to_fields(), pb(full_set_bytes()));
    assert_eq!(read_set(&full_set_bytes()), Ok(full_set()));
    assert_eq!(
        HaSetConfig::TABLE.redis_key(&HaSetConfig::key_text(&ha_set("h0"))),
        "DASH_HA_SET_CONFIG_TABLE:h0"
    );
}

#[test]
fn a_ha_scope_config_lies_on_the_wire_as_sonic_writes_it() {
    assert_eq!(full_scope().to_fields(), pb(full_scope_bytes()));
    assert_eq!(read_scope(&full_scope_bytes()), Ok(full_scope()));
    let key = HaScopeConfigKey { vdpu: vdpu("v0"), scope: scope("h0") };
    assert_eq!(
        HaScopeConfig::TABLE.redis_key(&HaScopeConfig::key_text(&key)),
        "DASH_HA_SCOPE_CONFIG_TABLE:v0:h0"
    );
}

/// hamgrd reads the number with `u32::from_be`.
#[test]
fn the_octets_of_an_ipv4_address_are_in_network_order() {
    for address in ["10.3.0.1", "0.0.0.0", "255.254.253.252", "1.0.0.0"] {
        let config = HaSetConfig { vip_v4: Some(v4(address)), ..full_set() };
        let fields = config.to_fields();
        let bytes = fields.get("pb").unwrap().as_bytes();
        let wire = [&[0x12, 0x05, 0x0d][..], &v4(address).octets()].concat();
        assert!(bytes.windows(7).any(|window| window == wire), "{address} in {bytes:02x?}");
        assert_eq!(read_set(bytes).unwrap().vip_v4, Some(v4(address)));
    }
}

#[test]
fn an_empty_message_is_all_defaults() {
    let set = read_set(b"").unwrap();
    assert_eq!((set.version.as_str(), set.vip_v4, set.vip_v6), ("", None, None));
    assert_eq!((set.vdpu_ids.len(), set.scope), (0, HaScopeKind::Unspecified));
    assert_eq!(set.to_fields(), pb(Vec::new()));
    let scope = read_scope(b"").unwrap();
    assert_eq!((scope.owner, scope.ha_set_id.clone()), (HaOwner::Unspecified, None));
    assert_eq!(scope.desired_ha_state, DesiredHaState::Unspecified);
    assert_eq!(scope.to_fields(), pb(Vec::new()));
}

#[test]
fn a_scope_without_a_ha_set_belongs_to_the_set_of_its_name() {
    let key = HaScopeConfigKey { vdpu: vdpu("v0"), scope: scope("h1") };
    let config = full_scope();
    assert_eq!(config.ha_set(&key), Some(ha_set("h0")));
    assert_eq!(HaScopeConfig { ha_set_id: None, ..config }.ha_set(&key), Some(ha_set("h1")));
}

#[test]
fn unknown_fields_of_a_message_are_ignored() {
    let future = b"\xf2\x06\x03new\x78\x2a"; // field 110 "new", field 15 = 42
    assert_eq!(read_set(&[&full_set_bytes()[..], future].concat()), Ok(full_set()));
    assert_eq!(read_scope(&[&full_scope_bytes()[..], future].concat()), Ok(full_scope()));
    let mut fields = pb(full_set_bytes());
    fields.set("NULL", "NULL");
    fields.set("version", vec![0xff]);
    assert_eq!(HaSetConfig::from_fields("h", &fields), Ok(full_set()), "only pb counts");
}

#[test]
fn an_address_without_an_address_is_none() {
    assert_eq!(read_set(b"\x12\x00").unwrap().vip_v4, None);
}

#[test]
fn an_empty_pin_is_no_pin_and_preferred_ids_may_be_a_list() {
    let config = read_set(b"\x32\x00\x32\x02UP\x3a\x07a, b,,c").unwrap();
    assert_eq!(config.pinned_vdpu_bfd_probe_states, [PinnedState::None, PinnedState::Up]);
    assert_eq!(config.preferred_vdpu_ids, [vdpu("a"), vdpu("b"), vdpu("c")]);
}

#[test]
fn what_is_wrong_with_a_ha_set_config_is_named() {
    let oversized: Vec<u8> = [&b"\x0a\x80\x80\x40"[..], &vec![b'1'; 1 << 20]].concat();
    let many_ids = b"\x22\x01a".repeat(1025);
    let cases: [(&[u8], &str, &str); 12] = [
        (b"\x0a", "pb", "\\n"),
        (b"\x0a\x05ab", "pb", "\\n\\u{5}ab"),
        (b"\x0a\x01\xff", "pb", "0x0a01ff"),
        (b"not protobuf", "pb", "not protobuf"),
        (
            b"\x12\x12\x12\x10\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01",
            "pb.vip_v4",
            "0xfd00",
        ),
        (b"\x1a\x05\x0d\x0a\x03\x00\x01", "pb.vip_v6", "10.3.0.1"),
        (b"\x1a\x06\x12\x04\x0a\x03\x00\x01", "pb.vip_v6", "\\n\\u{3}\\0\\u{1}"),
        (b"\x22\x03a b", "pb.vdpu_ids", "a b"),
        (b"\x28\x03", "pb.scope", "3"),
        (b"\x32\x03sad", "pb.pinned_vdpu_bfd_probe_states", "sad"),
        (&many_ids, "pb.vdpu_ids", "1025 items"),
        (&oversized, "pb", "(1048580 bytes)"),
    ];
    for (bytes, field, value) in cases {
        let error = read_set(bytes).expect_err(field);
        assert_eq!((error.table, error.key.as_str()), (HaSetConfig::TABLE, "haset0"));
        assert_eq!(error.field, field, "{error}");
        assert!(error.value.contains(value), "{value} in {error}");
        assert!(error.to_string().chars().count() < ERROR_CHARS_MAX, "{error}");
    }
}

#[test]
fn what_is_wrong_with_a_ha_scope_config_is_named() {
    let cases: [(&[u8], &str, &str); 6] = [
        (b"\x12", "pb", "\\u{12}"),
        (b"\x18\x03", "pb.owner", "3"),
        (b"\x28\x04", "pb.desired_ha_state", "4"),
        (b"\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "pb.desired_ha_state", "-1"),
        (b"\x22\x02a|", "pb.ha_set_id", "a|"),
        (b"\x32\x00", "pb.approved_pending_operation_ids", "\"\""),
    ];
    for (bytes, field, value) in cases {
        let error = read_scope(bytes).expect_err(field);
        assert_eq!((error.table, error.key.as_str()), (HaScopeConfig::TABLE, "vdpu0:haset0"));
        assert_eq!(error.field, field, "{error}");
        assert!(error.value.contains(value), "{value} in {error}");
        assert!(error.to_string().chars().count() < ERROR_CHARS_MAX, "{error}");
    }
}

#[test]
fn a_configuration_without_a_message_is_an_error() {
    for fields in [Fields::new(), Fields::placeholder(), [("version", "1")].into_iter().collect()] {
        let error = HaSetConfig::from_fields("h0", &fields).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"APPL_DB DASH_HA_SET_CONFIG_TABLE key "h0" field "pb": expected a protobuf message, got nothing"#
        );
        assert_eq!(HaScopeConfig::from_fields("v0:h0", &fields).unwrap_err().value, "nothing");
    }
}
