//! One log line per transition: who, from, to, cause.

use controller::{Note, Reason};

/// Logs it.
pub fn log(note: &Note) {
    match note {
        Note::Begun { dpu, vdpu, reason } => {
            let cause = cause(*reason);
            tracing::info!(%dpu, %vdpu, cause, "the restart procedure begins");
        }
        Note::PhaseChanged { dpu, vdpu, from, to } => {
            tracing::info!(%dpu, %vdpu, %from, %to, "the restart procedure goes on");
        }
        Note::Adopted { dpu, vdpu } => {
            tracing::info!(%dpu, %vdpu, "found configured as intended; left as it is");
        }
        Note::Desired { vdpu, ha_set, desired } => {
            tracing::info!(%vdpu, %ha_set, %desired, "the desired state changes");
        }
        Note::Approved { vdpu, ha_set, id, operation } => {
            tracing::info!(%vdpu, %ha_set, %operation, %id, "approved");
        }
        Note::Withheld { vdpu, ha_set, id, operation, why } => {
            tracing::warn!(%vdpu, %ha_set, %operation, %id, ?why, "a pending operation is not approved");
        }
        Note::Slow { dpu, vdpu, phase } => {
            tracing::warn!(%dpu, %vdpu, %phase, "this takes long: does hamgrd run on the switch?");
        }
        Note::NotPersisted { dpu } => {
            tracing::error!(%dpu, "its record could not be stored; nothing is written for it until it can");
        }
        Note::Contested { switch, table, key } => {
            tracing::warn!(%switch, %table, key, "somebody undoes what is written here: is there a second controller?");
        }
        Note::Refused { switch } => tracing::warn!(%switch, "the switch refused a write; it is tried again"),
    }
}

fn cause(reason: Reason) -> &'static str {
    match reason {
        Reason::Down => "midplane or control plane is down",
        Reason::Restarted => "the DPU has restarted unseen",
        Reason::ConfigMissing => "the HA scope configuration is gone",
        Reason::StateMissing => "hamgrd does not report the HA scope",
        Reason::IntentChanged => "the DPU's HA sets have changed",
        Reason::NotProgrammed => "the DPU is not programmed as intended",
    }
}
