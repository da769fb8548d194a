//! One log line per transition.

use controller::Note;

/// Logs a transition: WARN where an operator should look, INFO otherwise.
pub fn log(note: &Note) {
    match note {
        Note::Begun { dpu, vdpu, reason } => {
            tracing::info!(%dpu, %vdpu, ?reason, "the restart procedure begins")
        }
        Note::PhaseChanged { dpu, vdpu, from, to } => tracing::info!(%dpu, %vdpu, %from, %to, "phase"),
        Note::Adopted { dpu, vdpu } => tracing::info!(%dpu, %vdpu, "found as intended; adopted"),
        Note::Desired { vdpu, ha_set, desired } => {
            tracing::info!(%vdpu, %ha_set, %desired, "desired HA state")
        }
        Note::Approved { vdpu, ha_set, id, operation } => {
            tracing::info!(%vdpu, %ha_set, %operation, %id, "approved");
        }
        Note::Withheld { vdpu, ha_set, id, operation, why } => {
            tracing::warn!(%vdpu, %ha_set, %operation, %id, ?why, "not approved for now");
        }
        Note::Slow { dpu, vdpu, phase } => {
            tracing::warn!(%dpu, %vdpu, %phase, "this takes longer than it should")
        }
        Note::NotPersisted { dpu } => tracing::error!(%dpu, "the record is not durable; trying again"),
        Note::Refused { switch } => tracing::error!(%switch, "the switch refused a write; trying again"),
    }
}
