//! A row's fields.

use bfd::Role;

use super::*;

#[test]
fn an_empty_row_has_the_defaults_of_bfdmgr() {
    let empty = BfdSoftwareSession {
        tx_interval_ms: None,
        rx_interval_ms: None,
        multiplier: None,
        multihop: false,
        shutdown: false,
        local_addr: None,
        kind: None,
    };
    let session = session(&key("10.1.0.32"), &empty);
    assert_eq!((session.transmit.ms(), session.receive.ms(), session.detect_multiplier.get()), (200, 200, 3));
    assert_eq!((session.role, session.multihop, session.shutdown), (Role::Passive, false, false));
}

#[test]
fn only_async_active_speaks_first_and_demand_mode_is_refused() {
    for (kind, role) in [
        (Some("async_active"), Some(Role::Active)),
        (Some("async_passive"), Some(Role::Passive)),
        (Some("passive"), Some(Role::Passive)),
        (Some("whatever"), Some(Role::Passive)),
        (None, Some(Role::Passive)),
        (Some("demand_active"), None),
        (Some("demand_passive"), None),
    ] {
        let row = BfdSoftwareSession { kind: kind.map(str::to_owned), ..row() };
        let session = Session::of(Backend::Lite, &key("10.1.0.32"), &row);
        assert_eq!(session.as_ref().ok().map(|session| session.role), role, "{kind:?}");
        if let Err(why) = session {
            assert!(why.to_string().contains("demand mode is not supported"), "{why}");
        }
    }
}

#[test]
fn an_interface_makes_it_one_hop_and_only_many_hops_have_a_minimum_ttl() {
    let on_port = BfdKey { interface: "Ethernet0".to_owned(), ..key("10.0.0.1") };
    let session_on_port = session(&on_port, &row());
    assert_eq!((session_on_port.multihop, session_on_port.min_ttl), (false, 255));
    let multihop = session(&key("10.0.0.1"), &row());
    assert_eq!((multihop.multihop, multihop.min_ttl), (true, 1));
}

#[test]
fn a_row_that_makes_no_session_says_which_field_is_wrong() {
    let lite = |key: &BfdKey, row: BfdSoftwareSession| {
        Session::of(Backend::Lite, key, &row).unwrap_err().to_string()
    };
    let peer = key("10.1.0.32");
    let rows = [
        (BfdSoftwareSession { tx_interval_ms: Some(9), ..row() }, "tx_interval: interval of 9 ms"),
        (BfdSoftwareSession { rx_interval_ms: Some(0), ..row() }, "rx_interval: interval of 0 ms"),
        (BfdSoftwareSession { multiplier: Some(256), ..row() }, "multiplier: 256"),
        (BfdSoftwareSession { multiplier: Some(0), ..row() }, "multiplier: 0"),
        (BfdSoftwareSession { local_addr: Some(ip("fd00::1")), ..row() }, "different families"),
    ];
    for (row, expected) in rows {
        let said = lite(&peer, row);
        assert!(said.contains(expected), "{said}");
    }
    let in_vrf = BfdKey { vrf: "Vrf1".to_owned(), ..peer };
    assert!(lite(&in_vrf, row()).contains("Vrf1"));
    assert!(Session::of(Backend::Frr, &in_vrf, &row()).is_ok(), "bfdd knows VRFs");
}
