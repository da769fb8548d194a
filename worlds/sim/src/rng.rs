//! The one source of chance: everything that is drawn follows from the seed.

use reconcile::IdSource;

/// Microseconds of virtual time.
pub type Micros = u64;

/// One millisecond.
pub const MS: Micros = 1000;
/// One second.
pub const S: Micros = 1_000_000;

/// Numbers from a seed.
#[derive(Clone, Debug)]
pub struct Rng(IdSource);

impl Rng {
    /// All numbers follow from `seed`.
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must not share their numbers.
        let mut mixed = IdSource::new(seed ^ 0x5eed_0f5e_ed0f_5eed);
        Self(IdSource::new(mixed.next_u64()))
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; 0 where the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.any() % bound }
    }

    /// A number from `low` to `high`, `high` left out.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low))
    }

    /// True in `per_mille` of 1000 cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.below(list.len() as u64)).unwrap_or_default();
        list.get(at)
    }

    /// How long a message or a task switch takes: mostly short, at times long.
    pub fn latency(&mut self) -> Micros {
        match self.below(100) {
            0..70 => self.between(50, 500),
            70..95 => self.between(500, 3000),
            95..99 => self.between(3000, 20_000),
            _ => self.between(20_000, 120_000),
        }
    }
}
