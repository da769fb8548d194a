//! What the simulator found, as schedules by name (`docs/found-by-simulation.md`). Each is given to several seeds: what
//! comes first within a millisecond differs between them.

use invariants::Snapshot;
use schema::Db;
use schema::state_db::DpuResetInfo;
use sim::faults::{Fault, Kind, MOST, Mischief};
use sim::rng::{MS, Micros, S};
use sim::run::{Setup, run, snapshot};
use sim::topology::{DpuRef, Proc, Server, Topology, switch_text};
use sim::trace::Trace;
use sim::variant::Variant;
use sim::world::World;

const PAIR: Topology = Topology::PAIR;
const DPU0: DpuRef = DpuRef { switch: 0, slot: 0 };
const DPU1: DpuRef = DpuRef { switch: 1, slot: 0 };

/// These faults, over ZMQ and over Redis, in an otherwise usual installation.
fn setups(seed: u64, faults: impl IntoIterator<Item = (Micros, Kind)>) -> [Setup; 2] {
    let faults: Vec<Fault> = faults.into_iter().map(|(at, kind)| Fault { at, kind }).collect();
    [Vec::new(), PAIR.switches().collect()].map(|redis| {
        let variant = Variant { redis: redis.into_iter().collect(), ..Variant::default() };
        Setup { faults: faults.clone(), variant, ..Setup::of(seed, PAIR, MOST) }
    })
}

fn assert_all_pass(setups: [Setup; 2]) {
    setups.iter().for_each(assert_passes);
}

fn assert_passes(setup: &Setup) {
    if let Some(failure) = run(setup, Trace::off()).failure {
        let faults: Vec<String> = setup.faults.iter().map(ToString::to_string).collect();
        panic!("seed {} with\n{}\nfailed: {failure}", setup.seed, faults.join("\n"));
    }
}

fn incarnation(snapshot: &Snapshot, dpu: DpuRef) -> Option<u64> {
    let switch = snapshot.switch(&switch_text(dpu.switch));
    switch?.rows.row::<DpuResetInfo>(&dpu.slot())?.incarnation
}

/// Seed 14542 of the third and the fourth draw: the clear of the latch is lost with the data of Redis.
#[test]
fn a_latch_whose_clear_was_lost_is_lowered_all_the_same() {
    for seed in (14_540..14_545).chain(0..10) {
        assert_all_pass(setups(
            seed,
            [
                (10_486 * MS, Kind::Restart(DPU0, 991 * MS)),
                (11_099 * MS, Kind::Flush(Server::OfDpu(DPU0), Db::DpuApplDb, false)),
                (11_144 * MS, Kind::Midplane(DPU1, 902 * MS, true)),
                (12_380 * MS + seed % 10 * 3 * MS, Kind::RedisRestart(Server::Host(0), 2_814 * MS, false)),
            ],
        ));
    }
}

/// Seed 221 of the second draw: the DPU's swss restarts, and its configuration changes, while hamgrd is dead.
#[test]
fn a_restart_is_reported_though_the_configuration_changed_while_hamgrd_was_dead() {
    for seed in 0..10 {
        let setups = setups(
            seed,
            [
                (8_000 * MS, Kind::Crash(Proc::Hamgrd(1), 1_030 * MS)),
                (8_100 * MS + seed * 20 * MS, Kind::AdminFlap(DPU1, 5 * S)),
                (8_200 * MS, Kind::Crash(Proc::Haorchd(DPU1), 300 * MS)),
            ],
        );
        for setup in &setups {
            let mut world = World::new(setup, Trace::off());
            world.run_until(7_900 * MS);
            let before = incarnation(&snapshot(&world), DPU1);
            assert!(before.is_some(), "seed {seed}");
            world.run_until(12 * S);
            let what = format!("seed {seed}, {}: the restart was not noticed", setup.variant);
            assert!(incarnation(&snapshot(&world), DPU1) > before, "{what}");
            assert_passes(setup);
        }
    }
}

/// Seed 18000 of the fourth draw: the check took a stranger's row for a BFD session that outlives its role.
#[test]
fn a_strangers_row_among_the_bfd_sessions_is_no_session() {
    let meddle =
        Kind::Meddle(Server::Local(DPU0), schema::Table::BfdSoftwareSession, Mischief::Add, 0, 643 * MS);
    assert_all_pass(setups(
        18_000,
        [(15_256 * MS, Kind::Midplane(DPU0, 1_295 * MS, false)), (16_313 * MS, meddle)],
    ));
}

/// Seed 13179 of the seventh draw: hamgrd dies while the midplane is cut, and what it had sent comes out of the network when the
/// next one has sent everything.
#[test]
fn what_a_dead_hamgrd_had_sent_does_not_undo_what_the_next_one_says() {
    for seed in 0..10 {
        assert_all_pass(setups(
            seed,
            [
                (15_000 * MS, Kind::Midplane(DPU1, 456 * MS + seed * 10 * MS, true)),
                (15_300 * MS, Kind::CrashAfter(Proc::Hamgrd(1), 2 + seed % 3, 180 * MS)),
            ],
        ));
    }
}

/// Seed 8541 with 30 faults of the eighth draw: the HA set changes while hamgrd stands still and the DPU's swss restarts.
#[test]
fn a_set_that_changes_with_a_restart_does_not_hide_it() {
    for seed in (8_541..8_545).chain(0..10) {
        assert_all_pass(setups(
            seed,
            [
                (16_497 * MS, Kind::Pause(Proc::Hamgrd(0), 1_163 * MS)),
                (16_780 * MS, Kind::Crash(Proc::Haorchd(DPU0), 21 * MS)),
                (17_202 * MS, Kind::Swap(DPU0)),
            ],
        ));
    }
}

/// Seed 12348 with 30 faults of the eighth draw: a DPU without boot id restarts while its state cannot be read, and the
/// configuration is lost before it can be again.
#[test]
fn a_restart_while_the_state_is_unknown_is_reported_though_the_configuration_is_lost() {
    for seed in (12_348..12_352).chain(0..10) {
        let setups = setups(
            seed,
            [
                (10_337 * MS, Kind::Restart(DPU0, 244 * MS)),
                (10_383 * MS, Kind::RedisRestart(Server::Chassis(0), 1_824 * MS, true)),
                (12_132 * MS, Kind::RedisRestart(Server::Host(0), 782 * MS, false)),
            ],
        );
        for setup in setups {
            let without_boot_id = [DPU0].into_iter().collect();
            assert_passes(&Setup { variant: Variant { without_boot_id, ..setup.variant }, ..setup });
        }
    }
}
