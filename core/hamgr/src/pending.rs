//! Pending operations: what a DPU waits for the SDN controller to approve (P9; `reference/hamgrd.md` 3.4.3).
//!
//! They are levels: an operation is listed while the DPU says that it waits. Its id names one such wait in
//! one life of the DPU, and survives hamgrd's own restart because it is read back from the row.

use reconcile::IdSource;
use schema::dpu_state_db::HaScopeState;
use schema::state_db::HaScopeState as ReportedState;
use schema::{AsicHaState, OperationId, OperationType, WallMs};
use serde::{Deserialize, Serialize};

/// An operation that waits for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingOperation {
    pub kind: OperationType,
    pub id: OperationId,
    /// The life of the DPU that waits.
    incarnation: Option<u64>,
    /// The state that the DPU was in when it asked, and since when.
    asked_in: Option<(AsicHaState, Option<WallMs>)>,
}

/// The operations that the DPU waits for, with the ids of those that were listed before.
///
/// Activating a role means activating the role that the state announces: if the DPU has meanwhile gone to
/// another state and asks there, that is another operation, which nobody approved.
pub(crate) fn list(
    before: &[PendingOperation],
    state: &HaScopeState,
    incarnation: Option<u64>,
    ids: &mut IdSource,
) -> Vec<PendingOperation> {
    let asked_in = asked_in(state);
    let flags = [
        (OperationType::ActivateRole, state.activate_role_pending),
        (OperationType::BrainsplitRecover, state.brainsplit_recover_pending),
        (OperationType::FlowReconcile, state.flow_reconcile_pending),
    ];
    let waiting = flags.into_iter().filter(|(_, pending)| *pending).map(|(kind, _)| kind);
    waiting
        .map(|kind| {
            let same = |operation: &&PendingOperation| {
                operation.kind == kind
                    && operation.incarnation == incarnation
                    && (kind != OperationType::ActivateRole || operation.asked_in == asked_in)
            };
            match before.iter().find(same) {
                Some(operation) => operation.clone(),
                None => PendingOperation { kind, id: ids.next_operation(), incarnation, asked_in },
            }
        })
        .collect()
}

/// The operations that an earlier hamgrd listed.
pub(crate) fn read_back(row: &ReportedState) -> Vec<PendingOperation> {
    let asked_in = row.local_ha_state.map(|state| (state, row.local_ha_state_time_ms));
    let pairs = row.pending_operation_types.iter().zip(&row.pending_operation_ids);
    pairs
        .map(|(&kind, id)| PendingOperation { kind, id: id.clone(), incarnation: row.incarnation, asked_in })
        .collect()
}

/// What an earlier hamgrd listed, without what it may have requested of the DPU already.
///
/// DPU and hamgrd tell one episode from the next by the flag lowered in between, which nobody saw while hamgrd was dead. Only
/// the activation of a role tells by itself which one it is; any other flag that is still raised is asked for anew.
pub(crate) fn certain(found: &[PendingOperation], approved: &[OperationId]) -> Vec<PendingOperation> {
    let is_certain = |operation: &&PendingOperation| {
        operation.kind == OperationType::ActivateRole || !approved.contains(&operation.id)
    };
    found.iter().filter(is_certain).cloned().collect()
}

fn asked_in(state: &HaScopeState) -> Option<(AsicHaState, Option<WallMs>)> {
    Some((state.ha_state?, state.ha_state_start_time_s.map(WallMs::from_seconds_or_ms)))
}
