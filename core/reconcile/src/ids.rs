//! Ids from a seed.

use schema::OperationId;
use serde::{Deserialize, Serialize};

/// Makes UUIDs (version 4 in form). Shells seed it from the operating system, tests with a number.
///
/// It is splitmix64: good enough that ids never repeat in practice, and no secret depends on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdSource {
    state: u64,
}

impl IdSource {
    /// A source whose ids all follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next id of a pending operation.
    pub fn next_operation(&mut self) -> OperationId {
        let (high, low) = (self.next_u64(), self.next_u64());
        let version_4 = (high & !0xf000) | 0x4000;
        let variant_1 = (low & !(0b11 << 62)) | (0b10 << 62);
        OperationId::from_uuid_parts(version_4, variant_1)
    }
}
