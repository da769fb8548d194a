//! The simulator as a test: a modest number of seeds, and what it found before, by name.

use schema::Db;
use sim::faults::{Blunder, Fault, Kind, MOST, Speech};
use sim::rng::{MS, S};
use sim::run::{Setup, run};
use sim::sweep::{cores, sweep};
use sim::topology::{DpuRef, Proc, Server, Topology};
use sim::trace::Trace;
use sim::variant::Variant;

const PAIR: Topology = Topology::PAIR;
const DPU0: DpuRef = DpuRef { switch: 0, slot: 0 };

fn assert_passes(setup: &Setup) {
    let outcome = run(setup, Trace::off());
    let faults: Vec<String> = setup.faults.iter().map(ToString::to_string).collect();
    if let Some(failure) = outcome.failure {
        panic!("seed {} with\n{}\nfailed: {failure}", setup.seed, faults.join("\n"));
    }
}

/// Runs all of them, on every core.
fn assert_all_pass(seeds: std::ops::Range<u64>, topology: Topology) {
    let all = seeds.end - seeds.start;
    let (mut passed, mut failed) = (0, Vec::new());
    let each = |seed| run(&Setup::of(seed, topology, MOST), Trace::off()).failure;
    sweep(seeds, cores(), each, |seed, failure| {
        match failure {
            None => passed += 1,
            Some(failure) => failed.push(format!("seed {seed}: {failure}")),
        }
        failed.is_empty()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(passed, all);
}

#[test]
fn a_pair_survives_whatever_a_seed_draws() {
    assert_all_pass(0..2_000, PAIR);
}

#[test]
fn a_cluster_survives_whatever_a_seed_draws() {
    assert_all_pass(0..20, Topology::CLUSTER);
}

#[test]
fn two_dpus_per_switch_survive_it_too() {
    for seed in 0..10 {
        assert_passes(&Setup::of(seed, Topology { dpus: 2, ..PAIR }, MOST));
    }
}

#[test]
fn many_faults_at_once_are_survived() {
    for seed in 0..10 {
        assert_passes(&Setup::of(seed, PAIR, 30));
    }
}

#[test]
fn one_seed_has_one_history() {
    for seed in [3, 17] {
        let [first, second] = [(); 2].map(|()| run(&Setup::of(seed, PAIR, MOST), Trace::on()));
        assert!(first.trace.lines().len() > 500);
        assert!(first.trace.lines() == second.trace.lines(), "seed {seed}");
    }
}

#[test]
fn a_broken_promise_is_noticed() {
    // The controller is gone for good: after the restart nobody programs the DPU.
    let crash = Fault { at: 20 * S, kind: Kind::Crash(Proc::Controller, 1000 * S) };
    let restart = Fault { at: 21 * S, kind: Kind::Restart(DPU0, 2 * S) };
    let mut setup = Setup::of(1, PAIR, MOST);
    setup.faults = vec![crash, restart];
    // The controller comes back when the calm begins; hold the world right before that.
    let mut world = sim::world::World::new(&setup, Trace::off());
    world.run_until(60 * S);
    let snapshot = sim::run::snapshot(&world);
    let model = invariants::Model::of(&snapshot);
    assert!(!invariants::converge(&model, Some(&PAIR.expected())).is_empty());
}

/// Seed 17286 of the first draw: the clean-up of an unseen boot, and a write of hamgrd right after it.
#[test]
fn a_write_that_overtakes_the_clean_up_does_not_hide_a_restart() {
    for seed in 0..15 {
        for off in [60 * MS, 150 * MS, 200 * MS] {
            let flush = Kind::Flush(Server::OfDpu(DPU0), Db::DpuApplDb, true);
            let mut setup = Setup::of(seed, PAIR, MOST);
            setup.faults = vec![
                Fault { at: 8 * S, kind: flush },
                Fault { at: 8 * S + 560 * MS + (seed * 7 % 60) * MS, kind: Kind::Restart(DPU0, off) },
            ];
            assert_passes(&setup);
        }
    }
}

/// What each stranger says is said by somebody: who visits, and who listens while haorchd is away.
#[test]
fn no_stranger_on_a_dpus_port_concerns_anybody_else() {
    for (seed, speech) in (0..).zip(Speech::ALL) {
        let mut setup = Setup { variant: Variant::default(), ..Setup::of(seed, PAIR, MOST) };
        setup.faults = vec![
            Fault { at: 9 * S, kind: Kind::Stranger(DPU0, speech, 7 * S) },
            Fault { at: 10 * S, kind: Kind::Impostor(DPU0, speech, 6 * S) },
            Fault { at: 18 * S, kind: Kind::Stranger(DPU0, speech, 20 * MS) },
        ];
        assert_passes(&setup);
    }
}

#[test]
fn a_fleet_file_that_cannot_be_changes_nothing() {
    let blunders = Blunder::ALL.into_iter().map(|blunder| Fault { at: 9 * S, kind: Kind::Misread(blunder) });
    let mut setup = Setup::of(0, PAIR, MOST);
    setup.faults = blunders.collect();
    assert_passes(&setup);
}

#[test]
fn a_fleet_that_does_without_a_dpu_or_a_switch_for_a_while_is_whole_again() {
    for seed in 0..10 {
        for kind in [Kind::Unnamed(DPU0, 2 * S), Kind::Without(0, 2 * S)] {
            let mut setup = Setup::of(seed, PAIR, MOST);
            setup.faults = vec![Fault { at: 9 * S, kind }];
            assert_passes(&setup);
        }
    }
}
