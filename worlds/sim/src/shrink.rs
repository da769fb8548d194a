//! From a schedule that fails to a short one that fails in the same way.

use crate::run::{Failure, Setup, run};
use crate::trace::Trace;

/// How many runs a shrink may take.
pub const RUNS_MAX: u32 = 200;

/// Leaves out every fault, and everything unusual, that the failure does not need: ever smaller parts of the schedule,
/// again and again until nothing more can go. The same setup always shrinks to the same.
pub fn shrink(setup: &Setup, failure: &Failure) -> Setup {
    let mut runs_left = RUNS_MAX;
    let mut still_fails = |fewer: &Setup| {
        let may_run = runs_left > 0;
        runs_left = runs_left.saturating_sub(1);
        let again = || run(fewer, Trace::off()).failure;
        may_run && again().is_some_and(|other| other.invariants == failure.invariants)
    };
    let mut small = setup.clone();
    let mut part = small.faults.len().div_ceil(2);
    while part > 0 && !small.faults.is_empty() {
        let before = small.faults.len();
        let mut from = before;
        while from > 0 {
            from = from.saturating_sub(part);
            let mut fewer = small.clone();
            fewer.faults.drain(from..(from + part).min(fewer.faults.len()));
            if still_fails(&fewer) {
                small = fewer;
            }
        }
        if small.faults.len() == before {
            part /= 2;
        } else {
            part = part.min(small.faults.len().div_ceil(2));
        }
    }
    while let Some(simpler) = small
        .variant
        .simpler()
        .into_iter()
        .map(|variant| Setup { variant, ..small.clone() })
        .find(|simpler| still_fails(simpler))
    {
        small = simpler;
    }
    small
}
