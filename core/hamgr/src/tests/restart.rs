//! Restarts of DPUs and of hamgrd, as an operator tells them.

use reconcile::{Core, Time};
use schema::appl_db::{HaSetConfig, VnetRouteTunnel};
use schema::{AsicHaState, Db, DesiredHaState, HaOwner, LinkState, Row, Slot, Table};

use super::fields::*;
use super::world::World;
use crate::{Cause, Config, Input, Note, Place, RestartPolicy, ScopeStage, Source};

const SCOPE: &str = "vdpu0_0:haset0";

fn autonomous() -> Config {
    Config { policy: RestartPolicy::Autonomous, ..Config::default() }
}

fn delete_scope(world: &mut World) {
    world.tell_one(Input::HaScopeConfig(scope_key(SCOPE), None));
}

fn delete_set(world: &mut World) {
    world.tell_one(Input::HaSetConfig(set_id("haset0"), None));
}

fn stage(world: &World) -> Option<ScopeStage> {
    world.hamgr.scope_stages().get(&scope_key(SCOPE)).copied()
}

fn next_deadline(world: &World) -> Option<Time> {
    world.hamgr.next_deadline().map(|(time, _)| time)
}

/// Steps 12 to 16 are done.
fn assert_programmed(world: &World, version: &str) {
    assert!(world.set_row(0, "haset0").is_some());
    assert_eq!(world.scope_row(0, "haset0").unwrap().version.as_deref(), Some(version));
    assert_eq!(world.bfd_rows(0), ["default:default:10.1.0.32", "default:default:10.1.1.32"]);
    assert_eq!(world.state_row(SCOPE).unwrap().version.as_deref(), Some(version));
    assert_eq!(stage(world), Some(ScopeStage::Applied));
}

#[test]
fn a_restart_step_by_step() {
    let mut world = World::default_running();
    let running = AsicHaState::Active;
    world.tell_one(Input::DpuHaScopeState(
        Slot(0),
        scope_id("haset0"),
        Some(dpu_scope(running, 1_700_000_000, false)),
    ));
    world.settle();
    assert_programmed(&world, "1");
    assert_eq!(world.state_row(SCOPE).unwrap().local_ha_state, Some(running));
    let first_life = world.incarnation(0);

    // 1-3: the DPU goes down. BFD is withdrawn, the reset is reported, nothing else moves.
    world.tell_one(down(0, "boot-a"));
    world.settle();
    assert!(world.bfd_rows(0).is_empty());
    let info = world.reset_info(0).unwrap();
    assert!(info.reset_status && info.dpu_ready == Some(false));
    assert_eq!(info.timestamp_ms, info.last_reset_status_update_ms);
    assert!(world.scope_row(0, "haset0").is_some());
    assert_eq!(world.state_row(SCOPE).unwrap().local_vdpu_midplane_state, Some(LinkState::Down));

    // 4-6: the controller deletes scope, then set.
    delete_scope(&mut world);
    world.settle();
    assert!(world.scope_row(0, "haset0").is_none());
    assert!(world.state_row(SCOPE).is_none());
    assert!(world.fence_row(SCOPE).is_none());
    assert!(world.set_row(0, "haset0").is_some());
    delete_set(&mut world);
    world.settle();
    assert!(world.is_empty(Place::Dpu(Slot(0)), Db::DpuApplDb));
    assert!(world.keys(Place::Npu, VnetRouteTunnel::TABLE).is_empty());

    // 7-11: it boots.
    world.boot(0, "boot-b");
    world.settle();
    assert!(world.incarnation(0) > first_life);
    assert!(world.reset_info(0).unwrap().reset_status, "nobody has dealt with it yet");
    assert!(world.is_empty(Place::Dpu(Slot(0)), Db::DpuApplDb));

    // 12-16: the controller writes both again.
    world.tell(ha(0, "2"));
    world.settle();
    assert_programmed(&world, "2");
    let fresh = world.state_row(SCOPE).unwrap();
    assert_eq!((fresh.local_ha_state, fresh.incarnation), (None, Some(world.incarnation(0))));
    world.tell_one(Input::DpuHaScopeState(
        Slot(0),
        scope_id("haset0"),
        Some(dpu_scope(AsicHaState::Standby, 1_700_000_100, false)),
    ));
    world.settle();
    assert_eq!(world.state_row(SCOPE).unwrap().local_ha_state, Some(AsicHaState::Standby));
    world.assert_quiet();
}

#[test]
fn a_stale_configuration_is_fenced_until_it_is_written_again() {
    let mut world = World::default_running();
    world.tell_one(Input::DpuHaScopeState(
        Slot(0),
        scope_id("haset0"),
        Some(dpu_scope(AsicHaState::Active, 1_700_000_000, true)),
    ));
    world.tell_one(down(0, "boot-a"));
    world.settle();
    world.boot(0, "boot-b");
    world.settle();
    assert!(matches!(stage(&world), Some(ScopeStage::Fenced { .. })));
    assert!(world.scope_row(0, "haset0").is_none());
    assert!(world.set_row(0, "haset0").is_some(), "HA sets are not fenced");
    assert_eq!(world.bfd_rows(0).len(), 2, "BFD is not fenced");
    let state = world.state_row(SCOPE).expect("the row exists while the configuration does");
    assert_eq!((state.local_ha_state, state.local_acked_asic_ha_state), (None, None));
    assert!(state.pending_operation_ids.is_empty());
    world.assert_quiet();

    world.tell(ha(0, "2"));
    world.settle();
    assert_programmed(&world, "2");
}

#[test]
fn the_same_configuration_deleted_and_written_again_is_new() {
    for (name, settle_between) in [("one after the other", true), ("within one batch", false)] {
        let mut world = World::default_running();
        world.tell_one(down(0, "boot-a"));
        world.settle();
        world.boot(0, "boot-b");
        world.settle();
        assert!(world.scope_row(0, "haset0").is_none());
        delete_scope(&mut world);
        if settle_between {
            world.settle();
        }
        world.tell(ha(0, "1"));
        world.settle();
        assert!(world.scope_row(0, "haset0").is_some(), "{name}");
        assert_programmed(&world, "1");
    }
}

#[test]
fn an_approval_alone_does_not_lift_the_fence() {
    let mut world = World::default_running();
    world.tell_one(up(0, "boot-b"));
    world.settle();
    let mut config = ha_scope("1", "haset0", schema::DesiredHaState::Active);
    config.approved_pending_operation_ids = vec![op_id("0bad0bad-0000-4000-8000-000000000000")];
    world.tell_one(Input::HaScopeConfig(scope_key(SCOPE), Some(config)));
    world.settle();
    assert!(matches!(stage(&world), Some(ScopeStage::Fenced { .. })));
    assert!(world.scope_row(0, "haset0").is_none());
}

#[test]
fn a_restart_nobody_saw_go_down_is_known_by_its_boot_id() {
    let mut world = World::default_running();
    let before = world.incarnation(0);
    world.tell_one(up(0, "boot-b"));
    world.settle();
    let info = world.reset_info(0).unwrap();
    assert!(info.incarnation.unwrap() > before && info.reset_status && info.dpu_ready == Some(true));
    assert_eq!(info.boot_id.as_deref(), Some("boot-b"));
    assert!(world.scope_row(0, "haset0").is_none());
    let told = |note: &Note| matches!(note, Note::Incarnation { slot: Slot(0), cause: Cause::BootId, .. });
    assert_eq!(world.notes.iter().filter(|note| told(note)).count(), 1);
}

#[test]
fn a_flap_with_a_boot_id_is_not_a_restart() {
    let mut world = World::default_running();
    let before = world.incarnation(0);
    world.tell([down(0, "boot-a"), up(0, "boot-a")]);
    world.settle();
    assert_eq!(world.incarnation(0), before);
    assert_programmed(&world, "1");
    assert!(world.reset_info(0).unwrap().reset_status);
    world.tell_one(down(0, "boot-a"));
    world.settle();
    assert!(world.bfd_rows(0).is_empty());
    world.tell_one(up(0, "boot-a"));
    world.settle();
    assert_eq!(world.incarnation(0), before);
    assert_programmed(&world, "1");
}

#[test]
fn a_flap_within_one_batch_without_a_boot_id_is_a_restart() {
    let state = |state| Input::DpuState(Slot(0), Some(dpu_state(Some(state), None)));
    let mut world = World::empty(Config::default());
    world.tell(topology());
    world.tell_one(state(LinkState::Up));
    world.settle();
    world.tell(ha(0, "1"));
    world.settle();
    let before = world.incarnation(0);
    world.tell([state(LinkState::Down), state(LinkState::Up)]);
    world.settle();
    assert!(world.incarnation(0) > before);
    assert!(world.scope_row(0, "haset0").is_none());
}

#[test]
fn a_lost_data_plane_is_not_a_restart() {
    let mut world = World::default_running();
    world.writes.clear();
    let mut state = dpu_state(Some(LinkState::Up), Some("boot-a"));
    state.data_plane_state = Some(LinkState::Down);
    world.tell_one(Input::DpuState(Slot(0), Some(state)));
    world.settle();
    let tables: Vec<Table> = world.writes.iter().map(|write| write.write.table).collect();
    assert_eq!(tables, [Table::DashHaScopeState]);
    assert_programmed(&world, "1");
}

#[test]
fn one_plane_down_is_down() {
    for midplane in [true, false] {
        let mut world = World::default_running();
        let mut state = dpu_state(Some(LinkState::Up), Some("boot-a"));
        if midplane {
            state.midplane_link_state = Some(LinkState::Down);
        } else {
            state.control_plane_state = Some(LinkState::Down);
        }
        world.tell_one(Input::DpuState(Slot(0), Some(state)));
        world.settle();
        assert!(world.bfd_rows(0).is_empty());
        assert_eq!(world.reset_info(0).unwrap().dpu_ready, Some(false));
    }
}

#[test]
fn while_the_state_is_unknown_nothing_is_created_and_nothing_withdrawn() {
    for unknown in ["row gone", "planes unknown", "database lost"] {
        let mut world = World::default_running();
        match unknown {
            "row gone" => world.tell_one(Input::DpuState(Slot(0), None)),
            "planes unknown" => world.tell_one(Input::DpuState(Slot(0), Some(dpu_state(None, None)))),
            _ => world.tell_one(Input::Unsynced(Source::ChassisStateDb)),
        }
        world.settle();
        assert_programmed_rows(&world, unknown);
        let info = world.reset_info(0).unwrap();
        assert!(!info.reset_status && info.dpu_ready == Some(true), "{unknown}");
        // A new HA set is not created ...
        world.tell(ha(1, "1"));
        let mut second = ha_set(0);
        second.vip_v4 = Some([3, 3, 3, 3].into());
        world.tell_one(Input::HaSetConfig(set_id("haset9"), Some(second)));
        world.settle();
        assert!(world.set_row(0, "haset9").is_none(), "{unknown}");
        // ... and an old one goes only with its configuration.
        delete_scope(&mut world);
        delete_set(&mut world);
        world.tell_one(Input::HaSetConfig(set_id("haset9"), None));
        world.settle();
        assert!(world.is_empty(Place::Dpu(Slot(0)), Db::DpuApplDb), "{unknown}");
    }
}

fn assert_programmed_rows(world: &World, context: &str) {
    assert!(world.set_row(0, "haset0").is_some(), "{context}");
    assert!(world.scope_row(0, "haset0").is_some(), "{context}");
    assert_eq!(world.bfd_rows(0).len(), 2, "{context}");
}

#[test]
fn swss_restart_empties_the_database_and_that_is_a_restart() {
    let mut world = World::default_running();
    let before = world.incarnation(0);
    world.empty_dpu(0);
    world.settle();
    let info = world.reset_info(0).unwrap();
    assert!(info.incarnation.unwrap() > before && info.reset_status);
    assert!(world.scope_row(0, "haset0").is_none());
    assert_eq!(world.bfd_rows(0).len(), 2);
    assert!(world.notes.iter().any(|note| matches!(note, Note::Incarnation { cause: Cause::Emptied, .. })));
    world.assert_quiet();

    let life = world.incarnation(0);
    delete_scope(&mut world);
    delete_set(&mut world);
    world.settle();
    world.tell(ha(0, "2"));
    world.settle();
    assert_programmed(&world, "2");
    assert_eq!(world.incarnation(0), life, "writing it again is no further restart");
}

#[test]
fn an_autonomous_switch_applies_the_configuration_again_by_itself() {
    let mut world = World::running(autonomous());
    let first = world.incarnation(0);
    world.tell_one(down(0, "boot-a"));
    world.settle();
    world.boot(0, "boot-b");
    world.settle();
    assert!(world.incarnation(0) > first);
    assert_programmed(&world, "1");
    assert_eq!(world.fence_row(SCOPE).unwrap().incarnation, world.incarnation(0));

    world.empty_dpu(0);
    world.settle();
    assert_programmed(&world, "1");
    world.assert_quiet();
}

/// DPU_APPL_DB is emptied, and one write of hamgrd lands in it before that is read. What the store had read before.
fn land_a_write_in_an_emptied_database(world: &mut World) -> Input {
    world.do_not_check_order();
    let place = Place::Dpu(Slot(0));
    let asking = dpu_scope(AsicHaState::PendingActiveActivation, 1_700_000_000, true);
    world.tell_one(Input::DpuHaScopeState(Slot(0), scope_id("haset0"), Some(asking)));
    world.settle();
    let id = world.state_row(SCOPE).unwrap().pending_operation_ids[0].clone();
    let mut config = ha_scope("1", "haset0", DesiredHaState::Active);
    config.approved_pending_operation_ids = vec![id];
    world.tell_one(Input::HaScopeConfig(scope_key(SCOPE), Some(config)));
    world.settle();
    assert_eq!(world.scope_row(0, "haset0").unwrap().activate_role_requested, Some(true));

    // What makes it write is the clean-up itself: the DPU's question is gone with DPU_STATE_DB.
    let read = world.snapshot_of(place, Db::DpuApplDb);
    world.flush_unnoticed(place, Db::DpuApplDb);
    world.tell_one(Input::DpuHaScopeState(Slot(0), scope_id("haset0"), None));
    world.step();
    assert_eq!(world.keys(place, Table::DashHaScope), ["haset0"], "the write that was on its way");
    assert!(world.set_row(0, "haset0").is_none());
    read
}

/// Found by the simulator: the DPU boots unseen, its clean-up empties the database, and one write of hamgrd lands in it
/// before the emptied database is read (seed 17286). So it may when the connection is lost, and when old rows are told again
/// first, as a ZMQ store does when its link falls (seed 300161 of the fifth draw).
#[test]
fn a_write_that_lands_in_an_emptied_database_does_not_hide_that_it_was_emptied() {
    let place = Place::Dpu(Slot(0));
    for what in ["read", "connection lost", "old rows told again"] {
        let mut world = World::default_running();
        let before = world.incarnation(0);
        let read = land_a_write_in_an_emptied_database(&mut world);
        match what {
            "connection lost" => {
                world.forget_reports_of(place, Db::DpuApplDb);
                world.lose(place, Db::DpuApplDb);
                world.find(place, Db::DpuApplDb);
            }
            "old rows told again" => world.tell_before_what_was_read(place, Db::DpuApplDb, read),
            _ => {}
        }
        world.settle();
        assert!(world.incarnation(0) > before, "{what}");
        assert!(world.scope_row(0, "haset0").is_none(), "{what}: fenced");
        assert!(world.set_row(0, "haset0").is_some(), "{what}");
        world.assert_quiet();
        world.tell(ha(0, "2"));
        world.settle();
        assert_programmed(&world, "2");
    }
}

/// Found by the simulator (seed 8541 with 30 faults): the HA set changes with the emptying, and the emptied database is read
/// while the changed row is on its way.
#[test]
fn a_set_that_changes_with_the_emptying_does_not_hide_it() {
    let place = Place::Dpu(Slot(0));
    let mut world = World::default_running();
    let before = world.incarnation(0);
    world.now = world.now.after_ms(10_000);
    world.flush_unnoticed(place, Db::DpuApplDb);
    let emptied = world.snapshot_of(place, Db::DpuApplDb);
    let changed = HaSetConfig { version: "2".to_owned(), ..ha_set(0) };
    world.tell_one(Input::HaSetConfig(set_id("haset0"), Some(changed)));
    world.step();
    assert!(world.set_row(0, "haset0").is_some(), "the write that is on its way");
    world.tell_first(emptied);
    world.settle();
    assert!(world.incarnation(0) > before);
    assert!(world.scope_row(0, "haset0").is_none(), "fenced");
    world.assert_quiet();
}

#[test]
fn a_scope_without_its_set_tells_the_next_hamgrd_that_the_database_was_emptied() {
    let mut world = World::default_running();
    world.do_not_check_order();
    let before = world.incarnation(0);
    world.while_hamgrd_is_dead(|world| world.remove(Place::Dpu(Slot(0)), Table::DashHaSet, "haset0"));
    world.settle();
    assert!(world.incarnation(0) > before);
    assert!(world.scope_row(0, "haset0").is_none(), "fenced");
    world.tell(ha(0, "2"));
    world.settle();
    assert_programmed(&world, "2");
}

#[test]
fn one_vanished_row_among_others_is_repaired() {
    for (table, key) in [
        (Table::DashHaScope, "haset0"),
        (Table::BfdSession, "default:default:10.1.0.32"),
        (Table::DashHaSet, "haset0"),
    ] {
        let mut world = World::default_running();
        world.do_not_check_order();
        // Nothing was written for a while: what is left was there before.
        world.now = world.now.after_ms(10_000);
        let before = world.incarnation(0);
        world.remove(Place::Dpu(Slot(0)), table, key);
        world.settle();
        assert_programmed(&world, "1");
        assert_eq!(world.incarnation(0), before, "{table}");
    }
}

#[test]
fn a_changed_row_is_repaired() {
    let mut world = World::default_running();
    let mut scope = world.scope_row(0, "haset0").unwrap();
    scope.disabled = true;
    world.put(Place::Dpu(Slot(0)), &scope_id("haset0"), &scope);
    world.settle();
    assert!(!world.scope_row(0, "haset0").unwrap().disabled);
}

#[test]
fn the_fence_holds_over_a_restart_of_hamgrd() {
    // The DPU restarts while hamgrd is dead, with and without a new boot id.
    for boot_id in ["boot-b", "boot-a"] {
        let mut world = World::default_running();
        let before = world.incarnation(0);
        world.while_hamgrd_is_dead(|world| world.boot(0, boot_id));
        world.settle();
        assert!(world.incarnation(0) > before, "{boot_id}");
        assert!(world.reset_info(0).unwrap().reset_status, "{boot_id}");
        assert!(world.scope_row(0, "haset0").is_none(), "{boot_id}");
        assert!(world.set_row(0, "haset0").is_some(), "{boot_id}");
        world.restart_hamgrd();
        world.settle();
        assert!(world.scope_row(0, "haset0").is_none(), "{boot_id}: fenced again");
        world.tell(ha(0, "2"));
        world.settle();
        assert_programmed(&world, "2");
    }
}

/// Found by simulation: what had changed looked like newly written, and the empty database like one that was never
/// written.
#[test]
fn a_configuration_changed_while_hamgrd_was_dead_does_not_hide_a_restart_in_the_same_gap() {
    for boot_id in ["boot-b", "boot-a"] {
        for is_changed_first in [true, false] {
            let what = format!("{boot_id}, changed first: {is_changed_first}");
            let mut world = World::default_running();
            let before = world.incarnation(0);
            world.while_hamgrd_is_dead(|world| {
                if is_changed_first {
                    world.tell(ha(0, "2"));
                }
                world.boot(0, boot_id);
                if !is_changed_first {
                    world.tell(ha(0, "2"));
                }
            });
            world.settle();
            assert!(world.incarnation(0) > before, "{what}");
            assert!(world.reset_info(0).unwrap().reset_status, "{what}");
            assert!(world.scope_row(0, "haset0").is_none(), "{what}: fenced");
            assert!(world.set_row(0, "haset0").is_some(), "{what}");
            world.restart_hamgrd();
            world.settle();
            assert!(world.scope_row(0, "haset0").is_none(), "{what}: fenced again");
            world.tell(ha(0, "3"));
            world.settle();
            assert_programmed(&world, "3");
            world.assert_quiet();
        }
    }
}

#[test]
fn a_configuration_changed_while_hamgrd_was_dead_is_applied_when_nothing_restarted() {
    let mut world = World::default_running();
    let before = world.incarnation(0);
    world.while_hamgrd_is_dead(|world| world.tell(ha(0, "2")));
    world.settle();
    assert_programmed(&world, "2");
    assert_eq!(world.incarnation(0), before);
    world.assert_quiet();
}

/// The same as a crash of hamgrd, in one that lives: the change and the emptying come in one batch.
#[test]
fn a_configuration_that_changes_with_the_emptying_does_not_hide_it() {
    let mut world = World::default_running();
    let before = world.incarnation(0);
    world.tell(ha(0, "2"));
    world.empty_dpu(0);
    world.settle();
    assert!(world.incarnation(0) > before);
    assert!(world.reset_info(0).unwrap().reset_status);
}

#[test]
fn a_restart_of_hamgrd_alone_changes_nothing_but_the_heartbeat() {
    let mut world = World::default_running();
    world.tell_one(Input::DpuHaScopeState(
        Slot(0),
        scope_id("haset0"),
        Some(dpu_scope(AsicHaState::PendingActiveActivation, 1_700_000_000, true)),
    ));
    world.settle();
    let (state, info) = (world.state_row(SCOPE).unwrap(), world.reset_info(0));
    world.writes.clear();
    world.restart_hamgrd();
    world.settle();
    let tables: Vec<Table> = world.writes.iter().map(|write| write.write.table).collect();
    assert_eq!(tables, [Table::DashHaScopeState]);
    let mut after = world.state_row(SCOPE).unwrap();
    assert!(after.last_heartbeat_time_ms > state.last_heartbeat_time_ms);
    after.last_heartbeat_time_ms = state.last_heartbeat_time_ms;
    assert_eq!((after, world.reset_info(0)), (state, info));
    assert_programmed(&world, "1");
}

#[test]
fn configuration_deleted_while_hamgrd_was_dead_takes_its_rows_along() {
    let mut world = World::default_running();
    world.while_hamgrd_is_dead(|world| {
        delete_scope(world);
        delete_set(world);
    });
    world.settle();
    assert!(world.is_empty(Place::Dpu(Slot(0)), Db::DpuApplDb));
    assert!(world.keys(Place::Npu, Table::VnetRouteTunnel).is_empty());
    assert!(world.state_row(SCOPE).is_none() && world.fence_row(SCOPE).is_none());
}

/// A controller that knows only what it programmed last: it programs again whenever the DPU's life is newer.
fn control(world: &mut World, programmed: &mut u64, version: &mut u32) {
    for _ in 0..4 {
        world.settle();
        let present = world.incarnation(0);
        if present <= *programmed {
            return;
        }
        delete_scope(world);
        world.settle();
        delete_set(world);
        world.settle();
        *version += 1;
        world.tell(ha(0, &version.to_string()));
        world.settle();
        *programmed = present;
    }
    panic!("the controller never comes to rest");
}

#[test]
fn hamgrd_may_die_after_any_write_of_a_restart() {
    let mut deaths = 0;
    for write in 0..60 {
        let mut world = World::default_running();
        let (mut programmed, mut version) = (world.incarnation(0), 1);
        world.dies_after_writes = Some(write);
        world.tell_one(down(0, "boot-a"));
        world.settle();
        delete_scope(&mut world);
        world.settle();
        delete_set(&mut world);
        world.settle();
        world.boot(0, "boot-b");
        control(&mut world, &mut programmed, &mut version);
        deaths += usize::from(world.died);
        assert_programmed(&world, &version.to_string());
        world.dies_after_writes = None;
        world.assert_quiet();
    }
    assert!(deaths > 10, "{deaths}");
}

#[test]
fn nothing_is_written_before_everything_was_read() {
    let sources = [Source::ConfigDb, Source::ApplDb, Source::ChassisStateDb];
    for missing in sources {
        let mut world = World::default_running();
        world.restart_hamgrd_without(missing);
        world.writes.clear();
        world.settle();
        assert!(world.writes.is_empty(), "{missing:?}: {:?}", world.writes);
        assert_eq!(next_deadline(&world), None);
    }
}

#[test]
fn an_unreachable_dpu_database_does_not_block_the_other_dpus() {
    let mut world = World::default_running();
    world.lose(Place::Dpu(Slot(0)), Db::DpuApplDb);
    world.tell_one(Input::Unsynced(Source::DpuStateDb(Slot(0))));
    world.settle();
    world.tell(ha(1, "1"));
    world.settle();
    assert!(world.scope_row(1, "haset1").is_some());
    world.find(Place::Dpu(Slot(0)), Db::DpuApplDb);
    world.settle();
    assert_programmed(&world, "1");
    world.assert_quiet();
}

#[test]
fn a_dpu_whose_state_was_never_read_holds_only_its_own_state_rows() {
    let mut world = World::default_running();
    let before = world.state_row(SCOPE).unwrap();
    world.restart_hamgrd_without(Source::DpuStateDb(Slot(0)));
    world.tell(ha(1, "1"));
    world.settle();
    assert_eq!(world.state_row(SCOPE).unwrap(), before);
    assert!(world.state_row("vdpu0_1:haset1").is_some());
    world.tell_one(Input::Synced(Source::DpuStateDb(Slot(0))));
    world.settle();
    assert!(world.state_row(SCOPE).unwrap().last_heartbeat_time_ms > before.last_heartbeat_time_ms);
}

#[test]
fn an_emptied_state_db_is_restored_from_memory() {
    let mut world = World::default_running();
    let (info, fence, state) = (world.reset_info(0), world.fence_row(SCOPE), world.state_row(SCOPE));
    world.flush(Place::Npu, Db::StateDb);
    world.settle();
    assert_eq!((world.reset_info(0), world.fence_row(SCOPE), world.state_row(SCOPE)), (info, fence, state));
    assert_programmed(&world, "1");
}

#[test]
fn the_life_is_on_record_before_rows_are_created_in_it() {
    let mut world = World::default_running();
    world.lose(Place::Npu, Db::StateDb);
    world.tell_one(down(0, "boot-a"));
    world.settle();
    world.boot(0, "boot-b");
    world.settle();
    assert!(world.is_empty(Place::Dpu(Slot(0)), Db::DpuApplDb), "STATE_DB does not know of this life");
    world.find(Place::Npu, Db::StateDb);
    world.settle();
    assert!(world.set_row(0, "haset0").is_some());
}

#[test]
fn a_restart_changes_no_row_of_another_dpu() {
    let mut world = World::default_running();
    world.tell(ha(1, "1"));
    world.settle();
    let before = (
        world.dump(Place::Dpu(Slot(1)), Db::DpuApplDb),
        world.state_row("vdpu0_1:haset1"),
        world.reset_info(1),
    );
    world.tell_one(down(0, "boot-a"));
    world.settle();
    world.boot(0, "boot-b");
    world.settle();
    let after = (
        world.dump(Place::Dpu(Slot(1)), Db::DpuApplDb),
        world.state_row("vdpu0_1:haset1"),
        world.reset_info(1),
    );
    assert_eq!(before, after);
}

#[test]
fn a_scope_owned_by_the_switch_is_not_programmed_and_says_so() {
    let mut world = World::default_running();
    let mut config = ha_scope("2", "haset0", schema::DesiredHaState::Active);
    config.owner = HaOwner::Switch;
    world.tell_one(Input::HaScopeConfig(scope_key(SCOPE), Some(config)));
    world.settle();
    assert!(world.scope_row(0, "haset0").is_none());
    assert_eq!(world.set_row(0, "haset0").unwrap().owner, Some(HaOwner::Switch));
    assert_eq!(stage(&world), Some(ScopeStage::UnsupportedOwner));
    assert!(world.state_row(SCOPE).is_some());
}

#[test]
fn a_scope_waits_until_its_dpu_has_taken_the_ha_set() {
    let mut world = World::empty(Config::default());
    world.idle.insert(Slot(0));
    world.tell(topology());
    world.tell_one(up(0, "boot-a"));
    world.tell(ha(0, "1"));
    world.settle();
    assert!(world.set_row(0, "haset0").is_some() && world.scope_row(0, "haset0").is_none());
    assert_eq!(stage(&world), Some(ScopeStage::WaitsForHaSet));
    world.idle.clear();
    world.consume_all();
    world.settle();
    assert_programmed(&world, "1");
}

#[test]
fn the_heartbeat_is_the_only_deadline() {
    let mut world = World::default_running();
    let due = next_deadline(&world).unwrap();
    world.assert_quiet();
    let before = world.state_row(SCOPE).unwrap();
    world.now = due;
    world.wall += 30_000;
    assert_eq!(world.settle(), 1);
    let after = world.state_row(SCOPE).unwrap();
    assert!(after.last_heartbeat_time_ms > before.last_heartbeat_time_ms);
    assert_eq!(after.creation_time_ms, before.creation_time_ms);
    assert!(next_deadline(&world).unwrap() > due);
}

/// Found by simulation: while the HA set could not be resolved, nothing was missed.
#[test]
fn a_database_that_is_emptied_while_the_configuration_has_a_gap_was_emptied_all_the_same() {
    let mut world = World::default_running();
    world.do_not_check_order();
    let place = Place::Dpu(Slot(0));
    let before = world.incarnation(0);
    world.tell_one(Input::GlobalConfig(None));
    world.settle();
    world.flush(place, Db::DpuApplDb);
    world.settle();
    world.tell_one(Input::GlobalConfig(Some(global())));
    world.settle();
    assert!(world.incarnation(0) > before);
    assert!(world.scope_row(0, "haset0").is_none(), "fenced");
    world.tell(ha(0, "2"));
    world.settle();
    assert_programmed(&world, "2");
}
