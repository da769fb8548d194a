//! Each derived row, field by field.

use std::net::IpAddr;

use schema::appl_db::{HaSetConfig, NeighResolve, NeighbourKey, VnetRouteKey, VnetRouteTunnel};
use schema::dpu_appl_db::{BfdKey, BfdSession, HaScope, HaSet};
use schema::dpu_state_db::BfdProbeState;
use schema::{
    AsicHaRole, AsicHaState, DesiredHaState, Fields, HaOwner, HaScopeKind, LinkState, PinnedState, Row, Slot,
    Table, WallMs,
};

use super::fields::*;
use super::world::World;
use crate::{Config, Input, NotReady, Note, Place, SetStage};

const SCOPE: &str = "vdpu0_0:haset0";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| ip(text)).collect()
}

fn route(world: &World, vnet: &str, vip: &str) -> Option<VnetRouteTunnel> {
    world.get(Place::Npu, &VnetRouteKey { vnet: vnet.into(), prefix: vip.into() })
}

fn configure(world: &mut World, config: HaSetConfig) {
    world.tell_one(Input::HaSetConfig(set_id("haset0"), Some(config)));
    world.settle();
}

/// Gives every DPU and NPU IPv6 addresses beside, or instead of, the IPv4 ones.
fn ipv6(only: bool) -> Vec<Input> {
    let mut inputs = vec![Input::Loopback(loopback("fc00:1::32"), true)];
    if only {
        inputs.push(Input::Loopback(loopback("10.1.0.32"), false));
    }
    for slot in 0..2u8 {
        let mut dpu = local_dpu(slot);
        dpu.pa_ipv6 = Some(format!("fd18::{slot}").parse().unwrap());
        let mut remote = remote_dpu(1, slot);
        remote.pa_ipv6 = Some(format!("fd18:1::{slot}").parse().unwrap());
        remote.npu_ipv6 = Some("fc00:1:1::32".parse().unwrap());
        if only {
            dpu.pa_ipv4 = None;
            remote.pa_ipv4 = None;
            remote.npu_ipv4 = None;
        }
        inputs.push(Input::Dpu(dpu_name(&format!("switch0_dpu{slot}")), Some(dpu)));
        inputs.push(Input::RemoteDpu(dpu_name(&format!("switch1_dpu{slot}")), Some(remote)));
    }
    inputs
}

#[test]
fn the_ha_set_row_has_exactly_the_fields_of_sonic() {
    let world = World::default_running();
    let row = world.set_row(0, "haset0").unwrap();
    let expected: Fields = [
        ("version", "1"),
        ("vip_v4", "3.2.1.0"),
        ("owner", "dpu"),
        ("scope", "dpu"),
        ("local_npu_ip", "10.1.0.32"),
        ("local_ip", "18.0.0.0"),
        ("peer_ip", "18.0.1.0"),
        ("cp_data_channel_port", "11362"),
        ("dp_channel_dst_port", "11368"),
        ("dp_channel_src_port_min", "49152"),
        ("dp_channel_src_port_max", "53247"),
        ("dp_channel_probe_interval_ms", "500"),
        ("dp_channel_probe_fail_threshold", "3"),
    ]
    .into_iter()
    .collect();
    assert_eq!(row.to_fields(), expected);
}

#[test]
fn a_scope_kind_that_the_dpu_would_reject_is_written_as_dpu() {
    let mut world = World::default_running();
    for (configured, written) in [
        (HaScopeKind::Unspecified, HaScopeKind::Dpu),
        (HaScopeKind::Dpu, HaScopeKind::Dpu),
        (HaScopeKind::Eni, HaScopeKind::Eni),
    ] {
        configure(&mut world, HaSetConfig { scope: configured, ..ha_set(0) });
        assert_eq!(world.set_row(0, "haset0").unwrap().scope, Some(written));
    }
}

#[test]
fn the_ha_scope_row_follows_the_desired_state() {
    let cases = [
        (DesiredHaState::Unspecified, AsicHaRole::Standby),
        (DesiredHaState::Dead, AsicHaRole::Dead),
        (DesiredHaState::Active, AsicHaRole::Active),
        (DesiredHaState::Standalone, AsicHaRole::Standalone),
    ];
    let mut world = World::default_running();
    for (desired, role) in cases {
        world.tell_one(Input::HaScopeConfig(scope_key(SCOPE), Some(ha_scope("2", "haset0", desired))));
        world.settle();
        let expected = HaScope {
            version: Some("2".into()),
            disabled: false,
            ha_role: role,
            ha_term: Some(0),
            ha_set_id: Some(set_id("haset0")),
            vip_v4: Some([3, 2, 1, 0].into()),
            vip_v6: None,
            flow_reconcile_requested: Some(false),
            activate_role_requested: Some(false),
            brainsplit_recovered: Some(false),
        };
        assert_eq!(world.scope_row(0, "haset0"), Some(expected));
        assert_eq!(world.state_row(SCOPE).unwrap().local_target_asic_ha_state, Some(desired));
    }
}

#[test]
fn a_scope_without_a_set_id_belongs_to_the_set_of_its_name() {
    let mut world = World::default_running();
    let mut config = ha_scope("2", "haset0", DesiredHaState::Active);
    config.ha_set_id = None;
    world.tell_one(Input::HaScopeConfig(scope_key(SCOPE), Some(config)));
    world.settle();
    assert_eq!(world.scope_row(0, "haset0").unwrap().ha_set_id, Some(set_id("haset0")));
}

#[test]
fn a_scope_that_moves_to_another_set_is_removed_and_created_again() {
    let mut world = World::default_running();
    world.tell_one(Input::HaSetConfig(set_id("haset9"), Some(ha_set(0))));
    world.settle();
    world.writes.clear();
    world.tell_one(Input::HaScopeConfig(
        scope_key(SCOPE),
        Some(ha_scope("2", "haset9", DesiredHaState::Active)),
    ));
    world.settle();
    let ops: Vec<bool> = world
        .writes
        .iter()
        .filter(|write| write.write.table == Table::DashHaScope)
        .map(|write| write.write.op == reconcile::Op::Del)
        .collect();
    assert_eq!(ops, [true, false]);
    assert_eq!(world.scope_row(0, "haset0").unwrap().ha_set_id, Some(set_id("haset9")));
}

#[test]
fn one_bfd_row_per_distinct_npu_address_over_all_sets() {
    let mut world = World::default_running();
    let expected = BfdSession {
        tx_interval_ms: Some(100),
        rx_interval_ms: Some(100),
        multiplier: Some(3),
        multihop: true,
        shutdown: false,
        local_addr: Some(ip("18.0.0.0")),
        kind: Some("passive".into()),
    };
    let key = BfdKey::to_npu(ip("10.1.1.32"));
    assert_eq!(world.get(Place::Dpu(Slot(0)), &key), Some(expected.clone()));

    // A second HA set of the same DPU, with a peer on a third switch.
    world.tell([
        Input::RemoteDpu(dpu_name("switch2_dpu0"), Some(remote_dpu(2, 0))),
        Input::Vdpu(vdpu_id("vdpu2_0"), Some(vdpu("switch2_dpu0"))),
        Input::HaSetConfig(
            set_id("haset9"),
            Some(HaSetConfig { vdpu_ids: vec![vdpu_id("vdpu2_0"), vdpu_id("vdpu0_0")], ..ha_set(9) }),
        ),
    ]);
    world.settle();
    let both = ["default:default:10.1.0.32", "default:default:10.1.1.32", "default:default:10.1.2.32"];
    assert_eq!(world.bfd_rows(0), both);
    let mut slower = global();
    slower.dpu_bfd_probe_interval_ms = Some(300);
    world.tell_one(Input::GlobalConfig(Some(slower)));
    world.settle();
    let changed = BfdSession { tx_interval_ms: Some(300), rx_interval_ms: Some(300), ..expected };
    assert_eq!(world.get(Place::Dpu(Slot(0)), &key), Some(changed));
}

#[test]
fn ipv6_beside_ipv4() {
    let mut world = World::default_running();
    world.tell(ipv6(false));
    configure(&mut world, HaSetConfig { vip_v6: Some("fd00::1".parse().unwrap()), ..ha_set(0) });
    assert_eq!(
        world.bfd_rows(0),
        [
            "default:default:10.1.0.32",
            "default:default:10.1.1.32",
            "default:default:fc00:1:1::32",
            "default:default:fc00:1::32",
        ]
    );
    let session: BfdSession = world.get(Place::Dpu(Slot(0)), &BfdKey::to_npu(ip("fc00:1:1::32"))).unwrap();
    assert_eq!(session.local_addr, Some(ip("fd18::")));
    let set = world.set_row(0, "haset0").unwrap();
    assert_eq!((set.local_ip, set.peer_ip), (Some(ip("18.0.0.0")), Some(ip("18.0.1.0"))));
    let v6 = route(&world, "Vnet55", "fd00::1").unwrap();
    assert_eq!(v6.endpoint, ips(&["fd18::", "fc00:1:1::32"]));
    assert_eq!(v6.endpoint_monitor, ips(&["fd18::", "fd18:1::"]));
    assert!(route(&world, "Vnet55", "3.2.1.0").is_some());
    assert_eq!(world.scope_row(0, "haset0").unwrap().vip_v6, Some("fd00::1".parse().unwrap()));
    let neighbours = world.keys(Place::Npu, NeighResolve::TABLE);
    assert_eq!(neighbours, ["Vlan1000:18.0.0.0", "Vlan1000:18.0.0.1", "Vlan1000:fd18::", "Vlan1000:fd18::1"]);
    world.assert_quiet();
}

#[test]
fn ipv6_alone() {
    let mut world = World::empty(Config::default());
    world.tell(topology());
    world.tell(ipv6(true));
    world.tell_one(up(0, "boot-a"));
    world.tell(ha(0, "1"));
    configure(
        &mut world,
        HaSetConfig { vip_v4: None, vip_v6: Some("fd00::1".parse().unwrap()), ..ha_set(0) },
    );
    let set = world.set_row(0, "haset0").unwrap();
    let addresses = (set.local_npu_ip, set.local_ip, set.peer_ip);
    assert_eq!(addresses, (Some(ip("fc00:1::32")), Some(ip("fd18::")), Some(ip("fd18:1::"))));
    assert_eq!(world.bfd_rows(0), ["default:default:fc00:1:1::32", "default:default:fc00:1::32"]);
    assert!(world.scope_row(0, "haset0").is_some());
    let state = world.state_row(SCOPE).unwrap();
    assert_eq!((state.local_ip, state.peer_ip), (Some(ip("fd18::")), Some(ip("fd18:1::"))));
}

#[test]
fn the_route_lists_preferred_members_first_and_permutes_the_pins() {
    let mut world = World::default_running();
    let expected = VnetRouteTunnel {
        endpoint: ips(&["18.0.0.0", "10.1.1.32"]),
        endpoint_monitor: ips(&["18.0.0.0", "18.0.1.0"]),
        monitoring: Some("custom_bfd".into()),
        primary: ips(&["18.0.0.0"]),
        rx_monitor_timer_ms: Some(100),
        tx_monitor_timer_ms: Some(100),
        check_directly_connected: true,
        pinned_state: vec![],
    };
    assert_eq!(route(&world, "Vnet55", "3.2.1.0"), Some(expected.clone()));

    let pins = vec![PinnedState::Up, PinnedState::Down];
    configure(
        &mut world,
        HaSetConfig {
            pinned_vdpu_bfd_probe_states: pins,
            preferred_vdpu_ids: vec![vdpu_id("vdpu1_0")],
            ..ha_set(0)
        },
    );
    let swapped = VnetRouteTunnel {
        endpoint: ips(&["10.1.1.32", "18.0.0.0"]),
        endpoint_monitor: ips(&["18.0.1.0", "18.0.0.0"]),
        primary: ips(&["10.1.1.32"]),
        pinned_state: vec![PinnedState::Down, PinnedState::Up],
        ..expected
    };
    assert_eq!(route(&world, "Vnet55", "3.2.1.0"), Some(swapped));

    // As many pins as endpoints, however many are configured: the NPU takes nothing else.
    for pins in [vec![PinnedState::Up], vec![PinnedState::Up; 5]] {
        configure(&mut world, HaSetConfig { pinned_vdpu_bfd_probe_states: pins, ..ha_set(0) });
        assert_eq!(route(&world, "Vnet55", "3.2.1.0").unwrap().pinned_state.len(), 2);
    }
}

#[test]
fn both_dpus_of_a_set_on_one_switch() {
    let mut world = World::default_running();
    let config = HaSetConfig { vdpu_ids: vec![vdpu_id("vdpu0_0"), vdpu_id("vdpu0_1")], ..ha_set(0) };
    world.tell_one(Input::HaScopeConfig(
        scope_key("vdpu0_1:haset0"),
        Some(ha_scope("1", "haset0", DesiredHaState::Unspecified)),
    ));
    configure(&mut world, config);
    for (slot, local, peer) in [(0, "18.0.0.0", "18.0.0.1"), (1, "18.0.0.1", "18.0.0.0")] {
        let set = world.set_row(slot, "haset0").unwrap();
        assert_eq!((set.local_ip, set.peer_ip), (Some(ip(local)), Some(ip(peer))));
        assert!(world.scope_row(slot, "haset0").is_some());
        assert_eq!(world.bfd_rows(slot), ["default:default:10.1.0.32"]);
    }
    let route = route(&world, "Vnet55", "3.2.1.0").unwrap();
    assert_eq!(route.endpoint, ips(&["18.0.0.0", "18.0.0.1"]));
    // One goes, the other stays.
    world.tell_one(Input::HaScopeConfig(scope_key(SCOPE), None));
    world.tell_one(down(0, "boot-a"));
    world.settle();
    assert!(world.scope_row(0, "haset0").is_none() && world.scope_row(1, "haset0").is_some());
    assert!(world.bfd_rows(0).is_empty() && !world.bfd_rows(1).is_empty());
    world.assert_quiet();
}

#[test]
fn neighbours_follow_vlan_and_dpus() {
    let mut world = World::default_running();
    assert_eq!(world.keys(Place::Npu, Table::NeighResolve), ["Vlan1000:18.0.0.0", "Vlan1000:18.0.0.1"]);
    let key = NeighbourKey { interface: "Vlan1000".into(), address: ip("18.0.0.0") };
    let row: NeighResolve = world.get(Place::Npu, &key).unwrap();
    assert_eq!(row.mac.as_deref(), Some("00:00:00:00:00:00"));
    let mut other = global();
    other.dpu_vlan = Some("Vlan2000".into());
    world.tell_one(Input::GlobalConfig(Some(other)));
    world.settle();
    assert_eq!(world.keys(Place::Npu, Table::NeighResolve), ["Vlan2000:18.0.0.0", "Vlan2000:18.0.0.1"]);
    world.tell_one(Input::Dpu(dpu_name("switch0_dpu1"), None));
    world.settle();
    assert_eq!(world.keys(Place::Npu, Table::NeighResolve), ["Vlan2000:18.0.0.0"]);
}

#[test]
fn the_state_row_tells_planes_sessions_states_and_times_in_ms() {
    let mut world = World::default_running();
    let mut state = dpu_state(Some(LinkState::Up), Some("boot-a"));
    state.midplane_link_time = Some(WallMs(1_700_000_001_000).into());
    world.tell_one(Input::DpuState(Slot(0), Some(state)));
    let probe = BfdProbeState {
        v4_bfd_up_sessions: vec![[10, 1, 1, 32].into()],
        v4_bfd_up_sessions_timestamp: Some(WallMs(1_700_000_002_000).into()),
        v6_bfd_up_sessions: vec![],
        v6_bfd_up_sessions_timestamp: None,
    };
    world.tell_one(Input::BfdProbe(Slot(0), Some(probe)));
    let reported = dpu_scope(AsicHaState::Active, 1_700_000_003, false);
    world.tell_one(Input::DpuHaScopeState(Slot(0), scope_id("haset0"), Some(reported.clone())));
    world.settle();
    let row = world.state_row(SCOPE).unwrap();
    assert_eq!(row.local_vdpu_midplane_state_time_ms, Some(WallMs(1_700_000_001_000)));
    assert_eq!(row.local_vdpu_up_bfd_sessions_v4, [std::net::Ipv4Addr::from([10, 1, 1, 32])]);
    assert_eq!(row.local_vdpu_up_bfd_sessions_v4_time_ms, Some(WallMs(1_700_000_002_000)));
    assert_eq!(row.local_ha_state, Some(AsicHaState::Active));
    assert_eq!(row.local_acked_asic_ha_state, Some(AsicHaState::Active));
    assert_eq!(row.local_ha_state_time_ms, Some(WallMs(1_700_000_003_000)));
    assert_eq!(row.local_ha_state_reason.as_deref(), Some("dpu initiated"));
    assert_eq!((row.local_acked_term, row.local_target_term), (Some(7), Some(7)));
    assert_eq!((row.vip_v4, row.local_ip), (Some([3, 2, 1, 0].into()), Some(ip("18.0.0.0"))));
    assert_eq!(row.creation_time_ms.unwrap().0 / 1_000_000, 1_700_000);

    // A DPU that writes ms is understood as well.
    let in_ms =
        schema::dpu_state_db::HaScopeState { ha_state_start_time_s: Some(1_700_000_003_456), ..reported };
    world.tell_one(Input::DpuHaScopeState(Slot(0), scope_id("haset0"), Some(in_ms)));
    world.settle();
    assert_eq!(world.state_row(SCOPE).unwrap().local_ha_state_time_ms, Some(WallMs(1_700_000_003_456)));

    // A DPU that is down has no sessions.
    world.tell_one(down(0, "boot-a"));
    world.settle();
    assert!(world.state_row(SCOPE).unwrap().local_vdpu_up_bfd_sessions_v4.is_empty());
}

#[test]
fn a_set_that_does_not_resolve_keeps_its_rows() {
    let set =
        |vdpus: &[&str]| HaSetConfig { vdpu_ids: vdpus.iter().map(|id| vdpu_id(id)).collect(), ..ha_set(0) };
    let mut no_pa = remote_dpu(1, 0);
    no_pa.pa_ipv4 = None;
    let cases: Vec<(Input, NotReady)> = vec![
        (Input::GlobalConfig(None), NotReady::NoGlobalConfig),
        (Input::Vdpu(vdpu_id("vdpu1_0"), None), NotReady::UnknownVdpu(vdpu_id("vdpu1_0"))),
        (Input::Vdpu(vdpu_id("vdpu0_0"), None), NotReady::UnknownVdpu(vdpu_id("vdpu0_0"))),
        (Input::RemoteDpu(dpu_name("switch1_dpu0"), None), NotReady::UnknownDpu(dpu_name("switch1_dpu0"))),
        (Input::Dpu(dpu_name("switch0_dpu0"), None), NotReady::UnknownDpu(dpu_name("switch0_dpu0"))),
        (
            Input::RemoteDpu(dpu_name("switch1_dpu0"), Some(no_pa)),
            NotReady::NoAddress(dpu_name("switch1_dpu0")),
        ),
        (Input::Loopback(loopback("10.1.0.32"), false), NotReady::NoAddress(dpu_name("switch0_dpu0"))),
        (Input::HaSetConfig(set_id("haset0"), Some(set(&[]))), NotReady::NoPeer),
        (Input::HaSetConfig(set_id("haset0"), Some(set(&["vdpu0_0"]))), NotReady::NoPeer),
        (Input::HaSetConfig(set_id("haset0"), Some(set(&["vdpu0_0", "vdpu0_0"]))), NotReady::NoPeer),
    ];
    for (input, reason) in cases {
        let mut world = World::default_running();
        let before = world.dump(Place::Dpu(Slot(0)), schema::Db::DpuApplDb);
        let route_before = route(&world, "Vnet55", "3.2.1.0");
        world.tell_one(input);
        world.settle();
        assert_eq!(world.dump(Place::Dpu(Slot(0)), schema::Db::DpuApplDb), before, "{reason}");
        assert_eq!(route(&world, "Vnet55", "3.2.1.0"), route_before, "{reason}");
        let held = Some(SetStage::Held(reason.clone()));
        assert!(
            world.notes.iter().any(|note| matches!(note, Note::HaSet { to, .. } if *to == held)),
            "{reason}"
        );
        // And goes with its configuration all the same (G13).
        world.tell_one(Input::HaScopeConfig(scope_key(SCOPE), None));
        world.tell_one(Input::HaSetConfig(set_id("haset0"), None));
        world.settle();
        assert!(world.is_empty(Place::Dpu(Slot(0)), schema::Db::DpuApplDb), "{reason}");
        assert!(world.state_row(SCOPE).is_none() && world.fence_row(SCOPE).is_none(), "{reason}");
        world.assert_quiet();
    }
}

#[test]
fn of_three_members_the_first_other_one_is_the_peer() {
    let mut world = World::default_running();
    let vdpus = ["vdpu0_0", "vdpu1_0", "vdpu1_1"].map(vdpu_id).to_vec();
    configure(&mut world, HaSetConfig { vdpu_ids: vdpus, ..ha_set(0) });
    assert_eq!(world.set_row(0, "haset0").unwrap().peer_ip, Some(ip("18.0.1.0")));
    assert_eq!(route(&world, "Vnet55", "3.2.1.0").unwrap().endpoint.len(), 3);
    world.assert_quiet();
}

#[test]
fn the_owner_is_the_scopes_and_dpu_while_nobody_says() {
    let mut world = World::empty(Config::default());
    world.tell(topology());
    world.tell_one(up(0, "boot-a"));
    configure(&mut world, ha_set(0));
    let row: HaSet = world.set_row(0, "haset0").unwrap();
    assert_eq!(row.owner, Some(HaOwner::Dpu));
}

#[test]
fn a_version_that_is_no_number_is_used_as_it_is() {
    let mut world = World::default_running();
    world.tell(ha(0, "1.0-beta"));
    world.settle();
    assert_eq!(world.scope_row(0, "haset0").unwrap().version.as_deref(), Some("1.0-beta"));
    assert_eq!(world.state_row(SCOPE).unwrap().version.as_deref(), Some("1.0-beta"));
}

#[test]
fn state_and_inputs_survive_json() {
    let mut world = World::default_running();
    world.tell_one(Input::DpuHaScopeState(
        Slot(0),
        scope_id("haset0"),
        Some(dpu_scope(AsicHaState::Active, 1, true)),
    ));
    world.settle();
    let json = serde_json::to_string(&world.hamgr).unwrap();
    let back: crate::Hamgr = serde_json::from_str(&json).unwrap();
    assert_eq!(back, world.hamgr);
    let inputs = topology();
    let json = serde_json::to_string(&inputs).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Input>>(&json).unwrap(), inputs);
}
