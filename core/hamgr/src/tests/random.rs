//! Random histories: whatever happens, the invariants hold after every write, and it comes to rest.

use std::collections::BTreeSet;

use proptest::prelude::*;
use schema::appl_db::HaSetConfig;
use schema::chassis_state_db::DpuHealth;
use schema::{AsicHaState, Db, DesiredHaState, LinkState, Slot, Table};

use super::fields::*;
use super::world::World;
use crate::{Config, Input, Place, RestartPolicy, ScopeStage, Source};

#[derive(Clone, Debug)]
enum Act {
    Set(u8, Option<u8>),
    Scope(u8, Option<u8>),
    Topology(usize, bool),
    Health(u8, Option<LinkState>, u8),
    Boot(u8, u8),
    Empty(u8),
    Report(u8, u8, bool),
    Approve(u8),
    RestartHamgrd,
    Die(usize),
    FlushState,
    Lose(u8, u8),
    Find(u8, u8),
    Unsync(u8),
    Sync(u8),
    Vandalize(u8, u8),
    Step,
    Settle,
}

fn acts() -> impl Strategy<Value = Act> {
    let slot = 0..2u8;
    let version = proptest::option::weighted(0.7, 1..4u8);
    let health =
        prop_oneof![3 => Just(Some(LinkState::Up)), 2 => Just(Some(LinkState::Down)), 1 => Just(None)];
    prop_oneof![
        3 => (0..3u8, version.clone()).prop_map(|(n, version)| Act::Set(n, version)),
        3 => (0..3u8, version).prop_map(|(n, version)| Act::Scope(n, version)),
        2 => (0..10usize, any::<bool>()).prop_map(|(n, there)| Act::Topology(n, there)),
        4 => (slot.clone(), health, 0..3u8).prop_map(|(slot, health, boot)| Act::Health(slot, health, boot)),
        2 => (slot.clone(), 0..3u8).prop_map(|(slot, boot)| Act::Boot(slot, boot)),
        1 => slot.clone().prop_map(Act::Empty),
        2 => (slot.clone(), 0..4u8, any::<bool>()).prop_map(|(slot, state, asks)| Act::Report(slot, state, asks)),
        1 => slot.clone().prop_map(Act::Approve),
        1 => Just(Act::RestartHamgrd),
        1 => (0..6usize).prop_map(Act::Die),
        1 => Just(Act::FlushState),
        1 => (0..2u8, slot.clone()).prop_map(|(what, slot)| Act::Lose(what, slot)),
        2 => (0..2u8, slot.clone()).prop_map(|(what, slot)| Act::Find(what, slot)),
        1 => (0..5u8).prop_map(Act::Unsync),
        2 => (0..5u8).prop_map(Act::Sync),
        1 => (slot, 0..3u8).prop_map(|(slot, what)| Act::Vandalize(slot, what)),
        3 => Just(Act::Step),
        3 => Just(Act::Settle),
    ]
}

fn source(n: u8) -> Source {
    match n {
        0 => Source::ConfigDb,
        1 => Source::ApplDb,
        2 => Source::ChassisStateDb,
        n => Source::DpuStateDb(Slot(n - 3)),
    }
}

fn at(what: u8, slot: u8) -> (Place, Db) {
    if what == 0 { (Place::Npu, Db::StateDb) } else { (Place::Dpu(Slot(slot)), Db::DpuApplDb) }
}

/// Set 2 has both DPUs of this switch.
fn set_of(n: u8, version: u8) -> HaSetConfig {
    let mut config = ha_set(n);
    config.version = version.to_string();
    if n == 2 {
        config.vdpu_ids = vec![vdpu_id("vdpu0_0"), vdpu_id("vdpu0_1")];
    }
    config
}

fn key_of(n: u8) -> schema::appl_db::HaScopeConfigKey {
    scope_key(&format!("vdpu0_{}:haset{n}", n % 2))
}

fn without(input: Input) -> Input {
    match input {
        Input::Dpu(key, _) => Input::Dpu(key, None),
        Input::RemoteDpu(key, _) => Input::RemoteDpu(key, None),
        Input::Vdpu(key, _) => Input::Vdpu(key, None),
        Input::GlobalConfig(_) => Input::GlobalConfig(None),
        Input::Loopback(key, _) => Input::Loopback(key, false),
        other => other,
    }
}

fn perform(world: &mut World, act: Act) {
    match act {
        Act::Set(n, version) => {
            let config = version.map(|version| set_of(n, version));
            world.tell_one(Input::HaSetConfig(set_id(&format!("haset{n}")), config));
        }
        Act::Scope(n, version) => {
            let set = format!("haset{n}");
            let config = version.map(|version| ha_scope(&version.to_string(), &set, DesiredHaState::Active));
            world.tell_one(Input::HaScopeConfig(key_of(n), config));
        }
        Act::Topology(n, there) => {
            let input = topology().swap_remove(n);
            world.tell_one(if there { input } else { without(input) });
        }
        Act::Health(slot, health, boot) => {
            let boot_id = (boot > 0).then(|| format!("boot-{boot}"));
            world.tell_one(Input::DpuState(Slot(slot), Some(dpu_state(health, boot_id.as_deref()))));
        }
        Act::Boot(slot, boot) => world.boot(slot, &format!("boot-{boot}")),
        Act::Empty(slot) => world.empty_dpu(slot),
        Act::Report(slot, state, asks) => {
            let state = AsicHaState::ALL[usize::from(state) + 5];
            let reported = dpu_scope(state, 1_700_000_000 + i64::from(slot), asks);
            let id = scope_id(&format!("haset{slot}"));
            world.tell_one(Input::DpuHaScopeState(Slot(slot), id, Some(reported)));
        }
        Act::Approve(n) => {
            let key = key_of(n);
            let pending =
                world.state_row(&key.to_string()).map(|row| row.pending_operation_ids).unwrap_or_default();
            let mut config = ha_scope("1", &format!("haset{n}"), DesiredHaState::Active);
            config.approved_pending_operation_ids = pending;
            world.tell_one(Input::HaScopeConfig(key, Some(config)));
        }
        Act::RestartHamgrd => world.restart_hamgrd(),
        Act::Die(writes) => world.dies_after_writes = Some(writes),
        Act::FlushState => world.flush(Place::Npu, Db::StateDb),
        Act::Lose(what, slot) => world.lose(at(what, slot).0, at(what, slot).1),
        Act::Find(what, slot) => world.find(at(what, slot).0, at(what, slot).1),
        Act::Unsync(n) => world.tell_one(Input::Unsynced(source(n))),
        Act::Sync(n) => world.tell_one(Input::Synced(source(n))),
        Act::Vandalize(slot, what) => {
            // Somebody removes a row of ours; a HA set only if no scope is left without it.
            let table = [Table::DashHaScope, Table::BfdSession, Table::DashHaSet][usize::from(what)];
            let place = Place::Dpu(Slot(slot));
            let scopes = world.keys(place, Table::DashHaScope);
            if let Some(key) = world.keys(place, table).first()
                && (table != Table::DashHaSet || scopes.is_empty())
            {
                world.remove(place, table, key);
            }
        }
        Act::Step => {
            world.step();
        }
        Act::Settle => {
            world.settle();
        }
    }
}

/// Faults end; the topology is whole.
fn heal(world: &mut World) {
    world.dies_after_writes = None;
    world.tell(topology());
    world.tell((0..5).map(source).map(Input::Synced));
    for (what, slot) in [(0, 0), (1, 0), (1, 1)] {
        let (place, db) = at(what, slot);
        world.find(place, db);
    }
    world.settle();
    world.assert_quiet();
}

/// P3, P4 and what a fixed point looks like.
fn check(world: &World, sets: &BTreeSet<(u8, u8)>) {
    for slot in 0..2u8 {
        let configured = sets.iter().any(|(_, of)| *of == slot);
        let health = world.health(slot);
        match health {
            DpuHealth::Up => assert_eq!(!world.bfd_rows(slot).is_empty(), configured, "P4 up, DPU{slot}"),
            DpuHealth::Down => assert!(world.bfd_rows(slot).is_empty(), "P4 down, DPU{slot}"),
            DpuHealth::Unknown => {
                assert!(configured || world.bfd_rows(slot).is_empty(), "P4 unknown, DPU{slot}")
            }
        }
        if health == DpuHealth::Up {
            for (n, _) in sets.iter().filter(|(_, of)| *of == slot) {
                assert!(world.set_row(slot, &format!("haset{n}")).is_some(), "P1: haset{n} on DPU{slot}");
            }
        }
        // A scope of a DPU that is not up is only held; P3 is about applying.
        let applied = if health == DpuHealth::Up {
            world.keys(Place::Dpu(Slot(slot)), Table::DashHaScope)
        } else {
            vec![]
        };
        for key in applied {
            let fence = world.fence_row(&format!("vdpu0_{slot}:{key}")).expect("P3: applied, so on record");
            assert_eq!(fence.incarnation, world.incarnation(slot), "P3: applied in this life");
        }
    }
    for (key, stage) in world.hamgr.scope_stages() {
        let slot = u8::from(key.vdpu.as_str() == "vdpu0_1");
        let row = world.scope_row(slot, key.scope.as_str());
        match stage {
            ScopeStage::Applied => assert!(row.is_some(), "{key}"),
            ScopeStage::Fenced { .. } | ScopeStage::UnsupportedOwner => assert!(row.is_none(), "{key}"),
            ScopeStage::DpuNotUp => assert_ne!(world.health(slot), DpuHealth::Up, "{key}"),
            ScopeStage::WaitsForHaSet => assert!(row.is_none(), "{key}"),
            ScopeStage::Programming => panic!("{key} is being programmed at the fixed point"),
        }
        assert!(world.state_row(&key.to_string()).is_some(), "{key} has no DASH_HA_SCOPE_STATE");
    }
}

fn run(policy: RestartPolicy, acts: &[Act]) -> World {
    let mut world = World::running(Config { policy, ..Config::default() });
    let mut sets = BTreeSet::from([(0, 0)]);
    for act in acts {
        if let Act::Set(n, version) = act {
            let slots = if *n == 2 { vec![0, 1] } else { vec![*n] };
            sets.retain(|(of, _)| of != n);
            if version.is_some() {
                sets.extend(slots.into_iter().map(|slot| (*n, slot)));
            }
        }
        perform(&mut world, act.clone());
    }
    heal(&mut world);
    check(&world, &sets);
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_history_ends_at_the_fixed_point(
        autonomous in any::<bool>(),
        acts in proptest::collection::vec(acts(), 0..60),
    ) {
        let policy = if autonomous { RestartPolicy::Autonomous } else { RestartPolicy::Controller };
        let world = run(policy, &acts);
        let again = run(policy, &acts);
        prop_assert_eq!(&world.writes, &again.writes, "same inputs, same writes");
        prop_assert_eq!(&world.notes, &again.notes);
        prop_assert_eq!(&world.hamgr, &again.hamgr);
    }
}
