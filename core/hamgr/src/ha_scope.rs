//! `DASH_HA_SCOPE_TABLE`: a HA scope as its DPU is told (`reference/hamgrd.md` 2.2, DPU-driven).

use schema::appl_db::{HaScopeConfig, HaSetConfig};
use schema::dpu_appl_db::HaScope;
use schema::{AsicHaRole, DesiredHaState, HaOwner, HaSetId, OperationType};

use crate::pending::PendingOperation;

/// Whether the DPU drives the HA state machine of the scope. That is also what a DPU takes an unspecified
/// owner for (`reference/dpu-side.md` 1.1.1).
pub(crate) fn is_dpu_driven(owner: HaOwner) -> bool {
    match owner {
        HaOwner::Dpu | HaOwner::Unspecified => true,
        HaOwner::Switch => false,
    }
}

/// The row. `pending` are the operations that the DPU waits for; an approved one is requested for exactly as
/// long as the DPU does.
pub(crate) fn row(
    config: &HaScopeConfig,
    ha_set: (&HaSetId, &HaSetConfig),
    pending: &[PendingOperation],
) -> HaScope {
    let (ha_set_id, ha_set) = ha_set;
    let requested = |kind| {
        let approved = &config.approved_pending_operation_ids;
        pending.iter().any(|operation| operation.kind == kind && approved.contains(&operation.id))
    };
    HaScope {
        version: Some(config.version.clone()),
        disabled: config.disabled,
        ha_role: role(config.desired_ha_state),
        ha_term: Some(0),
        ha_set_id: Some(ha_set_id.clone()),
        vip_v4: ha_set.vip_v4,
        vip_v6: ha_set.vip_v6,
        flow_reconcile_requested: Some(requested(OperationType::FlowReconcile)),
        activate_role_requested: Some(requested(OperationType::ActivateRole)),
        brainsplit_recovered: Some(requested(OperationType::BrainsplitRecover)),
    }
}

/// No preference is the standby side.
fn role(desired: DesiredHaState) -> AsicHaRole {
    match desired {
        DesiredHaState::Unspecified => AsicHaRole::Standby,
        DesiredHaState::Dead => AsicHaRole::Dead,
        DesiredHaState::Active => AsicHaRole::Active,
        DesiredHaState::Standalone => AsicHaRole::Standalone,
    }
}
