//! The defects of SONiC's hamgrd (`reference/hamgrd.md` 5.4), each with the proof that it cannot happen here.
//! One test per defect; what is proven elsewhere in more depth is proven here in its plainest form.

use std::collections::BTreeSet;

use schema::appl_db::{HaSetConfig, VnetRouteTunnel};
use schema::{AsicHaState, Db, DesiredHaState, HaOwner, Row, Slot, Table};

use super::fields::*;
use super::world::World;
use crate::{Config, Input, Place, RestartPolicy, Source};

const SCOPE: &str = "vdpu0_0:haset0";

#[test]
fn g1_everything_is_sent_again_to_a_dpu_that_lost_it() {
    let config = Config { policy: RestartPolicy::Autonomous, ..Config::default() };
    for how in ["down and up", "swss restart", "database server restart"] {
        let mut world = World::running(config.clone());
        let before = world.dump(Place::Dpu(Slot(0)), Db::DpuApplDb);
        match how {
            "down and up" => {
                world.tell_one(down(0, "boot-a"));
                world.settle();
                world.boot(0, "boot-b");
            }
            "swss restart" => world.empty_dpu(0),
            _ => {
                world.lose(Place::Dpu(Slot(0)), Db::DpuApplDb);
                world.settle();
                world.empty_dpu(0);
                world.find(Place::Dpu(Slot(0)), Db::DpuApplDb);
            }
        }
        world.settle();
        assert_eq!(world.dump(Place::Dpu(Slot(0)), Db::DpuApplDb), before, "{how}");
    }
}

#[test]
fn g2_bfd_goes_and_comes_with_the_dpu() {
    let mut world = World::default_running();
    let before = world.bfd_rows(0);
    for _ in 0..3 {
        world.tell_one(down(0, "boot-a"));
        world.settle();
        assert!(world.bfd_rows(0).is_empty());
        world.tell_one(up(0, "boot-a"));
        world.settle();
        assert_eq!(world.bfd_rows(0), before);
    }
}

#[test]
fn g3_a_scope_never_precedes_its_set() {
    // The world checks P5 after every single write; here both configurations arrive in the wrong order.
    let mut world = World::empty(Config::default());
    world.tell(topology());
    world.tell_one(up(0, "boot-a"));
    let mut both = ha(0, "1");
    both.reverse();
    for input in both {
        world.tell_one(input);
        world.settle();
    }
    assert!(world.scope_row(0, "haset0").is_some());
    let order: Vec<Table> = world.writes.iter().map(|write| write.write.table).collect();
    let at = |table| order.iter().position(|of| *of == table).unwrap();
    assert!(at(Table::DashHaSet) < at(Table::DashHaScope));
    // And in the wrong order back.
    world.tell_one(Input::HaSetConfig(set_id("haset0"), None));
    world.settle();
    assert!(world.is_empty(Place::Dpu(Slot(0)), Db::DpuApplDb));
}

#[test]
fn g4_no_configuration_is_swallowed_however_quickly_it_is_written_again() {
    // Deleted in either order and written again, settled or within one batch.
    for order in [[0, 1], [1, 0]] {
        for settle in 0..4 {
            let mut world = World::default_running();
            let deletions =
                [Input::HaSetConfig(set_id("haset0"), None), Input::HaScopeConfig(scope_key(SCOPE), None)];
            for (n, which) in order.into_iter().enumerate() {
                world.tell_one(deletions[which].clone());
                if settle & (1 << n) != 0 {
                    world.settle();
                }
            }
            world.step();
            world.tell(ha(0, "1"));
            world.settle();
            assert!(world.set_row(0, "haset0").is_some(), "{order:?} {settle}");
            assert!(world.scope_row(0, "haset0").is_some(), "{order:?} {settle}");
            assert_eq!(world.bfd_rows(0).len(), 2, "{order:?} {settle}");
            assert!(world.state_row(SCOPE).is_some(), "{order:?} {settle}");
            world.assert_quiet();
        }
    }
}

#[test]
fn g5_the_route_is_there_whatever_comes_last() {
    let all: Vec<Input> = topology().into_iter().chain([up(0, "boot-a")]).chain(ha(0, "1")).collect();
    for last in 0..all.len() {
        let mut world = World::empty(Config::default());
        world.tell(all.iter().enumerate().filter(|(n, _)| *n != last).map(|(_, input)| input.clone()));
        world.settle();
        world.tell_one(all[last].clone());
        world.settle();
        let routes = world.keys(Place::Npu, VnetRouteTunnel::TABLE);
        assert_eq!(routes, ["Vnet55:3.2.1.0"], "last came {:?}", all[last]);
        assert!(world.scope_row(0, "haset0").is_some(), "last came {:?}", all[last]);
    }
}

#[test]
fn g6_removing_one_set_leaves_the_bfd_rows_that_another_needs() {
    let mut world = World::default_running();
    world.tell_one(Input::HaSetConfig(set_id("haset9"), Some(HaSetConfig { vip_v4: None, ..ha_set(0) })));
    world.settle();
    let before = world.bfd_rows(0);
    world.writes.clear();
    world.tell_one(Input::HaSetConfig(set_id("haset9"), None));
    world.settle();
    assert_eq!(world.bfd_rows(0), before);
    assert!(world.writes.iter().all(|write| write.write.table != Table::BfdSession));
}

#[test]
fn g7_two_sets_and_two_scopes_both_see_everything() {
    let mut world = World::default_running();
    world.tell(ha(1, "1"));
    world.settle();
    let mut changed = global();
    changed.dp_channel_dst_port = Some(4711);
    world.tell_one(Input::GlobalConfig(Some(changed)));
    for slot in 0..2 {
        let state = [AsicHaState::Active, AsicHaState::Standby][usize::from(slot)];
        let id = scope_id(&format!("haset{slot}"));
        world.tell_one(Input::DpuHaScopeState(Slot(slot), id, Some(dpu_scope(state, 1_700_000_000, false))));
    }
    world.settle();
    for slot in 0..2 {
        let set = world.set_row(slot, &format!("haset{slot}")).unwrap();
        assert_eq!(set.dp_channel_dst_port, Some(4711));
    }
    // Each scope has its own DPU's state, not the other's.
    assert_eq!(world.state_row(SCOPE).unwrap().local_ha_state, Some(AsicHaState::Active));
    assert_eq!(world.state_row("vdpu0_1:haset1").unwrap().local_ha_state, Some(AsicHaState::Standby));
    // A state row of a scope that is not ours to report is nobody's.
    world.tell_one(Input::DpuHaScopeState(
        Slot(0),
        scope_id("another"),
        Some(dpu_scope(AsicHaState::Dead, 1_700_000_009, false)),
    ));
    world.assert_quiet();
}

#[test]
fn g8_a_reset_that_was_dealt_with_stays_so_and_a_dpu_that_never_was_up_was_not_reset() {
    let mut world = World::empty(Config::default());
    world.tell(topology());
    world.tell_one(down(0, "boot-a"));
    world.settle();
    let info = world.reset_info(0).unwrap();
    assert!(!info.reset_status && info.incarnation.is_none(), "first seen while booting: {info:?}");
    assert!(world.reset_info(1).is_none(), "no row, no statement");
    world.tell_one(up(0, "boot-a"));
    world.settle();
    world.tell_one(down(0, "boot-a"));
    world.settle();
    world.tell_one(up(0, "boot-b"));
    world.settle();
    let mut info = world.reset_info(0).unwrap();
    assert!(info.reset_status);

    info.reset_status = false;
    world.put(Place::Npu, &Slot(0), &info);
    world.tell(ha(0, "1"));
    world.settle();
    assert!(!world.reset_info(0).unwrap().reset_status, "respected");
    world.restart_hamgrd();
    world.settle();
    assert!(!world.reset_info(0).unwrap().reset_status, "respected by the next hamgrd too");
    world.tell_one(down(0, "boot-b"));
    world.settle();
    assert!(world.reset_info(0).unwrap().reset_status, "until the next reset");

    world.tell_one(Input::Dpu(dpu_name("switch0_dpu0"), None));
    world.settle();
    assert!(world.reset_info(0).is_none(), "the row goes with the DPU");
}

#[test]
fn g9_nothing_of_an_old_row_is_mixed_into_a_new_one() {
    let mut world = World::default_running();
    let tell = |world: &mut World, state| {
        world.tell_one(Input::DpuHaScopeState(Slot(0), scope_id("haset0"), state));
        world.settle();
    };
    tell(&mut world, Some(dpu_scope(AsicHaState::PendingActiveActivation, 1_700_000_000, true)));
    assert_eq!(world.state_row(SCOPE).unwrap().local_acked_term, Some(7));
    let mut sparse = dpu_scope(AsicHaState::Active, 1_700_000_001, false);
    sparse.ha_term = None;
    tell(&mut world, Some(sparse));
    let row = world.state_row(SCOPE).unwrap();
    assert_eq!((row.local_acked_term, row.pending_operation_ids.len()), (None, 0));
    assert_eq!(row.local_ha_state_time_ms.unwrap().0, 1_700_000_001_000, "seconds become ms");
    tell(&mut world, None);
    let row = world.state_row(SCOPE).unwrap();
    assert_eq!(
        (row.local_ha_state, row.local_ha_state_time_ms, row.local_ha_state_reason),
        (None, None, None)
    );
}

#[test]
fn g10_what_cannot_be_used_undoes_nothing() {
    // A row that makes no sense in the middle of others: all others take effect.
    let mut world = World::default_running();
    world.tell_one(down(0, "boot-a"));
    world.settle();
    let before = world.reset_info(0).unwrap();
    let mut broken = local_dpu(0);
    broken.pa_ipv4 = None;
    world.tell_one(Input::Dpu(dpu_name("switch0_dpu0"), Some(broken)));
    world.tell(ha(1, "1"));
    world.settle();
    assert_eq!(world.reset_info(0).unwrap(), before);
    assert!(world.scope_row(1, "haset1").is_some());
}

#[test]
fn g11_no_input_waits_for_a_timer() {
    // From a cold start everything is written without time passing: the only deadline is the heartbeat.
    let world = World::default_running();
    assert!(world.scope_row(0, "haset0").is_some());
    assert!(world.now.0 < 1_100, "{:?}", world.now);
}

#[test]
fn g12_a_lost_database_of_a_dpu_stops_nothing_else() {
    let mut world = World::default_running();
    world.lose(Place::Dpu(Slot(0)), Db::DpuApplDb);
    world.tell_one(Input::Unsynced(Source::DpuStateDb(Slot(0))));
    world.tell_one(down(0, "boot-a"));
    world.tell(ha(1, "1"));
    world.settle();
    assert!(world.reset_info(0).unwrap().reset_status);
    assert!(world.scope_row(1, "haset1").is_some());
    assert!(world.state_row("vdpu0_1:haset1").is_some());
    world.find(Place::Dpu(Slot(0)), Db::DpuApplDb);
    world.settle();
    assert!(world.bfd_rows(0).is_empty(), "withdrawn as soon as it can be");
}

#[test]
fn g13_nothing_leaks() {
    // A change of VIP or VNET removes the old route.
    let mut world = World::default_running();
    let other = HaSetConfig { vip_v4: Some([4, 4, 4, 4].into()), ..ha_set(0) };
    world.tell_one(Input::HaSetConfig(set_id("haset0"), Some(other)));
    world.settle();
    assert_eq!(world.keys(Place::Npu, Table::VnetRouteTunnel), ["Vnet55:4.4.4.4"]);
    let mut vnet = global();
    vnet.dpu_vnet = Some("Vnet66".into());
    world.tell_one(Input::GlobalConfig(Some(vnet)));
    world.settle();
    assert_eq!(world.keys(Place::Npu, Table::VnetRouteTunnel), ["Vnet66:4.4.4.4"]);
    // Neighbours go with their DPU.
    world.tell_one(Input::Dpu(dpu_name("switch0_dpu1"), None));
    world.settle();
    assert_eq!(world.keys(Place::Npu, Table::NeighResolve), ["Vlan1000:18.0.0.0"]);
    // A set that is deleted while it does not resolve takes its rows along.
    world.tell_one(Input::Vdpu(vdpu_id("vdpu1_0"), None));
    world.settle();
    world.tell([Input::HaScopeConfig(scope_key(SCOPE), None), Input::HaSetConfig(set_id("haset0"), None)]);
    world.settle();
    assert!(world.is_empty(Place::Dpu(Slot(0)), Db::DpuApplDb));
    assert!(world.keys(Place::Npu, Table::VnetRouteTunnel).is_empty());
    assert!(world.keys(Place::Npu, Table::DashHaScopeState).is_empty());
    let left: BTreeSet<Table> =
        world.dump(Place::Npu, Db::StateDb).into_iter().map(|(table, ..)| table).collect();
    assert_eq!(left, BTreeSet::from([Table::DpuResetInfo]));
}

/// Section 8 of the reference: actors panicked on these.
#[test]
fn odd_configurations_do_no_harm() {
    let mut world = World::default_running();
    let odd = [
        HaSetConfig { vdpu_ids: vec![vdpu_id("vdpu0_0")], ..ha_set(0) },
        HaSetConfig { vdpu_ids: vec![], ..ha_set(0) },
        HaSetConfig { vip_v4: None, ..ha_set(0) },
    ];
    for config in odd {
        world.tell_one(Input::HaSetConfig(set_id("haset0"), Some(config)));
        world.settle();
    }
    let mut scope = ha_scope("not a number", "haset0", DesiredHaState::Standalone);
    scope.owner = HaOwner::Unspecified;
    world.tell_one(Input::HaScopeConfig(scope_key(SCOPE), Some(scope)));
    world.tell_one(Input::HaSetConfig(set_id("haset0"), Some(ha_set(0))));
    world.settle();
    assert_eq!(world.scope_row(0, "haset0").unwrap().version.as_deref(), Some("not a number"));
    world.assert_quiet();
}
