//! One log line per transition: who, from, to, cause.

use hamgr::{Note, ScopeStage, SetStage};

/// Logs it.
pub fn log(note: &Note) {
    match note {
        Note::Ready => tracing::info!("every database of the switch is read"),
        Note::Incarnation { slot, from, to, cause } => {
            tracing::info!(dpu = %slot, from, to, ?cause, "the DPU is in a new life");
        }
        Note::DpuReady { slot, ready: true } => tracing::info!(dpu = %slot, "the DPU is up"),
        Note::DpuReady { slot, ready: false } => {
            tracing::info!(dpu = %slot, "the DPU is down; its BFD sessions are withdrawn");
        }
        Note::ResetCleared { slot } => {
            tracing::info!(dpu = %slot, "the DPU's reset was declared dealt with");
        }
        Note::HaSet { ha_set, from, to } => {
            let (from, to) = (set_stage(from.as_ref()), set_stage(to.as_ref()));
            tracing::info!(%ha_set, from, to, "HA set");
        }
        Note::HaScope { key, from, to: Some(ScopeStage::UnsupportedOwner) } => {
            let from = scope_stage(from.as_ref());
            tracing::warn!(ha_scope = %key, from, "HA scope is owned by the switch: NPU-driven HA is not supported");
        }
        Note::HaScope { key, from, to } => {
            let (from, to) = (scope_stage(from.as_ref()), scope_stage(to.as_ref()));
            tracing::info!(ha_scope = %key, from, to, "HA scope");
        }
        Note::OperationPending { key, kind, id } => {
            tracing::info!(ha_scope = %key, %kind, %id, "the DPU waits for approval");
        }
        Note::OperationGone { key, kind, id } => {
            tracing::info!(ha_scope = %key, %kind, %id, "the DPU waits no longer");
        }
    }
}

fn set_stage(stage: Option<&SetStage>) -> String {
    match stage {
        None => "not configured".to_owned(),
        Some(SetStage::Ready) => "ready".to_owned(),
        Some(SetStage::Held(reason)) => format!("held: {reason}"),
    }
}

fn scope_stage(stage: Option<&ScopeStage>) -> String {
    match stage {
        None => "not configured".to_owned(),
        Some(ScopeStage::UnsupportedOwner) => "not supported".to_owned(),
        Some(ScopeStage::DpuNotUp) => "waits for the DPU".to_owned(),
        Some(ScopeStage::Fenced { recorded, present }) => {
            format!("fenced: accepted in life {recorded}, present life {present}")
        }
        Some(ScopeStage::WaitsForHaSet) => "waits for its HA set".to_owned(),
        Some(ScopeStage::Programming) => "being programmed".to_owned(),
        Some(ScopeStage::Applied) => "applied".to_owned(),
    }
}
