//! The simulator can fail: every known mistake is caught, by the promise that it breaks.

use sim::faults::MOST;
use sim::mutants::Mutant;
use sim::run::{Setup, run};
use sim::topology::Topology;
use sim::trace::Trace;

/// The seeds that a mutant is given. The catching ones are in `docs/found-by-simulation.md`.
const SEEDS: std::ops::Range<u64> = 0..150;

fn assert_is_caught(mutant: Mutant) {
    for seed in SEEDS {
        let setup = Setup { mutant: Some(mutant), ..Setup::of(seed, Topology::PAIR, MOST) };
        if run(&setup, Trace::off())
            .failure
            .is_some_and(|failure| failure.invariants.contains(&mutant.breaks()))
        {
            return;
        }
    }
    panic!("no seed of {SEEDS:?} catches {mutant}");
}

macro_rules! is_caught {
    ($($name:ident: $mutant:ident,)*) => {
        $(
            #[test]
            fn $name() {
                assert_is_caught(Mutant::$mutant);
            }
        )*
    };
}

is_caught! {
    a_hamgrd_that_does_not_notice_a_flush_is_caught: FlushUnnoticed,
    a_hamgrd_that_writes_a_scope_before_its_set_is_caught: ScopeBeforeSet,
    a_hamgrd_that_creates_bfd_sessions_once_is_caught: BfdCreatedOnce,
    a_hamgrd_that_ignores_the_fence_is_caught: FenceIgnored,
    a_hamgrd_that_does_not_read_after_a_gap_is_caught: GapUnread,
    a_controller_that_forgets_its_epoch_is_caught: EpochForgotten,
    a_controller_that_tells_both_to_be_active_is_caught: BothActive,
    a_pmond_that_writes_at_rest_is_caught: RestlessProbe,
}
