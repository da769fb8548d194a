//! The contract that all cores share.

use std::fmt::Debug;

use schema::WallMs;
use serde::{Deserialize, Serialize};

/// Monotonic time in milliseconds since an arbitrary start. Deadlines use it; rows never do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Time(pub u64);

impl Time {
    /// The time `ms` milliseconds later.
    pub fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`; 0 if it is not earlier.
    pub fn since_ms(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What a core is given at once: everything that happened since it last looked, possibly nothing but time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch<I> {
    /// The wall clock, for rows that hold times.
    pub wall: WallMs,
    /// What happened, in order.
    pub inputs: Vec<I>,
}

/// A part's decisions: no IO, no clock, no randomness but through the inputs.
///
/// Same inputs, same effects. A core may be given the same input twice, and must then want nothing new.
pub trait Core {
    /// What can happen to it.
    type Input: Clone + Debug;
    /// What it can ask for. Effects are carried out in order, and each is idempotent.
    type Effect: Clone + Debug;

    /// Takes in what happened and appends what to do about it.
    fn handle(&mut self, now: Time, batch: Batch<Self::Input>, out: &mut Vec<Self::Effect>);

    /// When to call [`Core::handle`] again even if nothing happens, and why.
    fn next_deadline(&self) -> Option<(Time, &'static str)>;
}
