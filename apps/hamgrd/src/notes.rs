//! One log line per transition.

use hamgr::{Note, ScopeStage};

/// Logs a transition: WARN where an operator should look, INFO otherwise.
pub fn log(note: &Note) {
    match note {
        Note::Incarnation { slot, from, to, cause } => {
            tracing::info!(dpu = %slot, ?from, to, ?cause, "the DPU has a new life");
        }
        Note::DpuReady { slot, ready: true } => tracing::info!(dpu = %slot, "the DPU is up"),
        Note::DpuReady { slot, ready: false } => tracing::info!(dpu = %slot, "the DPU is down"),
        Note::ResetCleared { slot } => tracing::info!(dpu = %slot, "the reset was declared dealt with"),
        Note::HaSet { ha_set, from, to } => tracing::info!(%ha_set, ?from, ?to, "HA set"),
        Note::HaScope { key, from, to: to @ Some(ScopeStage::UnsupportedOwner) } => {
            tracing::warn!(scope = %key, ?from, ?to, "NPU-driven HA is not supported: the HA scope is not programmed");
        }
        Note::HaScope { key, from, to } => tracing::info!(scope = %key, ?from, ?to, "HA scope"),
        Note::OperationPending { key, kind, id } => {
            tracing::info!(scope = %key, %kind, %id, "the DPU asks for approval");
        }
        Note::OperationGone { key, kind, id } => {
            tracing::info!(scope = %key, %kind, %id, "the DPU asks no longer for approval");
        }
    }
}
