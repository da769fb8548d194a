//! `DPU_APPL_STATE_DB`: what the DPU made of its intent (`reference/dpu-side.md` 1.1).

use crate::{HaScopeId, HaSetId};

/// `result` of a row that was programmed.
pub const RESULT_OK: u32 = 0;
/// `result` of a row that was not.
pub const RESULT_FAILED: u32 = 1;

row! {
    /// Result of programming a HA set.
    HaSetResult = DashHaSetResult, key HaSetId;
    /// [`RESULT_OK`] or [`RESULT_FAILED`].
    result: u32 = required "result";
    /// Version of the row that the result is for.
    version: Option<String> = optional "version";
}

row! {
    /// Result of programming a HA scope.
    HaScopeResult = DashHaScopeResult, key HaScopeId;
    /// [`RESULT_OK`] or [`RESULT_FAILED`].
    result: u32 = required "result";
    /// Version of the row that the result is for.
    version: Option<String> = optional "version";
}
