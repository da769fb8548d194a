//! What hamgrd removes that it did not write itself, and what it must never touch.

use schema::appl_db::{NeighResolve, NeighbourKey, VnetRouteKey, VnetRouteTunnel};
use schema::dpu_appl_db::{BfdKey, BfdSession};
use schema::{Db, Fields, Slot, Table};

use super::fields::*;
use super::world::World;
use crate::{Config, Input, Place};

fn other_fields() -> Fields {
    [("endpoint", "1.2.3.4"), ("vni", "100")].into_iter().collect()
}

#[test]
fn a_strangers_row_is_never_removed() {
    let mut world = World::default_running();
    world.put_fields(Place::Npu, Table::VnetRouteTunnel, "Vnet55:9.9.9.9/32", other_fields());
    let custom: Fields = [
        ("endpoint", "1.2.3.4,18.0.0.0"),
        ("endpoint_monitor", "1.2.3.4,18.0.0.0"),
        ("monitoring", "custom_bfd"),
    ]
    .into_iter()
    .collect();
    world.put_fields(Place::Npu, Table::VnetRouteTunnel, "Vnet55:9.9.9.8", custom);
    world.put_fields(Place::Npu, Table::VnetRouteTunnel, "no separator", other_fields());
    let mac = |mac: &str| [("mac", mac)].into_iter().collect::<Fields>();
    world.put_fields(Place::Npu, Table::NeighResolve, "Vlan7:7.7.7.7", mac("00:00:00:00:00:00"));
    world.put_fields(Place::Npu, Table::NeighResolve, "Vlan1000:7.7.7.7", mac("00:11:22:33:44:55"));
    world.put_fields(Place::Npu, Table::DashHaScopeState, "no separator", other_fields());
    let before = (world.dump(Place::Npu, Db::ApplDb), world.dump(Place::Npu, Db::StateDb));
    world.settle();
    world.restart_hamgrd();
    world.settle();
    assert_eq!(world.dump(Place::Npu, Db::ApplDb), before.0);
    assert!(world.keys(Place::Npu, Table::DashHaScopeState).contains(&"no separator".to_owned()));
}

#[test]
fn what_an_earlier_hamgrd_left_is_removed() {
    let mut world = World::empty(Config::default());
    world.tell(topology());
    world.tell_one(up(0, "boot-a"));
    world.settle();
    let route = VnetRouteTunnel {
        endpoint: vec![[18, 0, 0, 0].into(), [10, 1, 1, 32].into()],
        endpoint_monitor: vec![[18, 0, 0, 0].into(), [18, 0, 1, 0].into()],
        monitoring: Some("custom_bfd".into()),
        primary: vec![],
        rx_monitor_timer_ms: None,
        tx_monitor_timer_ms: None,
        check_directly_connected: true,
        pinned_state: vec![],
    };
    world.put(Place::Npu, &VnetRouteKey { vnet: "Vnet1".into(), prefix: "8.8.8.8".into() }, &route);
    let neighbour = NeighResolve { mac: Some("00:00:00:00:00:00".into()) };
    world.put(
        Place::Npu,
        &NeighbourKey { interface: "Vlan1000".into(), address: [18, 9, 9, 9].into() },
        &neighbour,
    );
    let any = || [("a", "b")].into_iter().collect::<Fields>();
    world.put_fields(Place::Npu, Table::DashHaScopeState, "vdpu0_0|gone", any());
    world.put_fields(Place::Npu, Table::DashHaScopeState, "vdpu_nobody_knows|gone", any());
    world.put_fields(Place::Npu, Table::DashHaScopeFence, "vdpu0_0|gone", any());
    world.put_fields(Place::Npu, Table::DpuResetInfo, "DPU7", any());
    for table in [Table::DashHaSet, Table::DashHaScope, Table::BfdSession] {
        world.put_fields(Place::Dpu(Slot(1)), table, "gone", any());
    }
    world.do_not_check_order();
    world.restart_hamgrd();
    world.settle();
    assert!(world.is_empty(Place::Dpu(Slot(1)), Db::DpuApplDb));
    assert!(world.keys(Place::Npu, Table::VnetRouteTunnel).is_empty());
    assert_eq!(world.keys(Place::Npu, Table::NeighResolve), ["Vlan1000:18.0.0.0", "Vlan1000:18.0.0.1"]);
    assert!(world.keys(Place::Npu, Table::DashHaScopeState).is_empty());
    assert!(world.keys(Place::Npu, Table::DashHaScopeFence).is_empty());
    assert_eq!(world.keys(Place::Npu, Table::DpuResetInfo), ["DPU0"]);
}

#[test]
fn a_process_for_one_dpu_leaves_the_others_alone() {
    let mut world = World::default_running();
    world.tell(ha(1, "1"));
    world.settle();
    let session = BfdSession {
        tx_interval_ms: None,
        rx_interval_ms: None,
        multiplier: None,
        multihop: true,
        shutdown: false,
        local_addr: None,
        kind: None,
    };
    world.put(Place::Dpu(Slot(1)), &BfdKey::to_npu([9, 9, 9, 9].into()), &session);
    world.settle();
    let before = (world.dump(Place::Npu, Db::ApplDb), world.dump(Place::Npu, Db::StateDb));
    let of_other = world.dump(Place::Dpu(Slot(1)), Db::DpuApplDb);

    world.manage_only(0);
    world.settle();
    assert_eq!(world.dump(Place::Npu, Db::ApplDb), before.0);
    assert_eq!(world.keys(Place::Npu, Table::DashHaScopeState), ["vdpu0_0|haset0", "vdpu0_1|haset1"]);
    assert_eq!(world.keys(Place::Npu, Table::DpuResetInfo), ["DPU0", "DPU1"]);
    // What happens to the other DPU is the other process's business.
    world.tell_one(down(1, "boot-a"));
    world.tell_one(Input::HaScopeConfig(scope_key("vdpu0_1:haset1"), None));
    world.tell_one(Input::HaSetConfig(set_id("haset1"), None));
    world.settle();
    assert_eq!(world.dump(Place::Dpu(Slot(1)), Db::DpuApplDb), of_other);
    assert_eq!(world.keys(Place::Npu, Table::DashHaScopeState), ["vdpu0_0|haset0", "vdpu0_1|haset1"]);
    assert_eq!(world.keys(Place::Npu, Table::VnetRouteTunnel).len(), 2);
    world.tell_one(Input::HaScopeConfig(scope_key("vdpu0_0:haset0"), None));
    world.tell_one(Input::HaSetConfig(set_id("haset0"), None));
    world.settle();
    assert!(world.is_empty(Place::Dpu(Slot(0)), Db::DpuApplDb));
    assert_eq!(world.keys(Place::Npu, Table::VnetRouteTunnel), ["Vnet55:3.2.1.1"]);
}
