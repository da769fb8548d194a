//! P9 over the stream of writes and calls: no pending operation is approved twice, lost, or approved for another life of
//! the DPU. Followed from the id that hamgrd gives it to the ASIC's call: the activation of a role, and the reconcile of flows.

use std::collections::BTreeMap;

use reconcile::{Op, RowWrite};
use schema::appl_db::HaScopeConfig;
use schema::state_db::HaScopeState;
use schema::{OperationId, OperationType, Row, Table, dpu_state_db};

use crate::rng::{MS, Micros};
use crate::topology::{DpuRef, Proc, Server};
use crate::world::World;

/// How long an approval may take to be carried out, with nothing standing in the way.
const CARRIED_OUT: Micros = 12_000 * MS;
/// When haorchd makes a refused call again, at the latest.
const CALLED_AGAIN: Micros = 30_000 * MS;

/// One that waits for approval, or was approved.
#[derive(Clone, Debug)]
struct Operation {
    dpu: DpuRef,
    kind: OperationType,
    /// Of haorchd and its ASIC.
    life: u64,
    approved: Option<Micros>,
    is_used: bool,
    /// hamgrd lists it.
    is_listed: bool,
}

/// Operations by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Operations {
    /// The haorchd that last asked, by DPU and what for.
    asking: BTreeMap<(DpuRef, OperationType), u64>,
    all: BTreeMap<OperationId, Operation>,
    /// When the ASIC of a DPU refused a call last.
    refused: BTreeMap<DpuRef, Micros>,
}

impl Operations {
    /// A process' write was carried out.
    pub(super) fn written(world: &mut World, proc: Proc, server: Server, write: &RowWrite) {
        match (proc, server, write.table, &write.op) {
            (Proc::Haorchd(dpu), _, Table::DpuDashHaScopeState, Op::Set(fields)) => {
                let row = dpu_state_db::HaScopeState::parse_reporting(&write.key, fields).0;
                let life = world.procs.get(&proc).map(|process| process.life);
                let Some(((_, row), life)) = row.zip(life) else { return };
                let asks = [
                    (OperationType::ActivateRole, row.activate_role_pending),
                    (OperationType::FlowReconcile, row.flow_reconcile_pending),
                ];
                for (kind, _) in asks.into_iter().filter(|(_, asks)| *asks) {
                    world.checks.operations.asking.insert((dpu, kind), life);
                }
            }
            (Proc::Hamgrd(_), Server::Host(_), Table::DashHaScopeState, Op::Set(fields)) => {
                if let Some((key, state)) = HaScopeState::parse_reporting(&write.key, fields).0
                    && let Some(dpu) = world
                        .topology
                        .dpus()
                        .find(|dpu| world.topology.scope_key(*dpu).as_ref() == Some(&key))
                {
                    Self::listed(world, dpu, &state);
                }
            }
            (Proc::Controller | Proc::Rival, _, Table::DashHaScopeConfig, Op::Set(fields)) => {
                let Ok(config) = HaScopeConfig::from_fields(&write.key, fields) else { return };
                let now = world.now;
                for id in config.approved_pending_operation_ids {
                    if let Some(operation) = world.checks.operations.all.get_mut(&id) {
                        operation.approved.get_or_insert(now);
                    }
                }
            }
            _ => {}
        }
    }

    fn listed(world: &mut World, dpu: DpuRef, state: &HaScopeState) {
        let operations = &mut world.checks.operations;
        for operation in operations.all.values_mut().filter(|operation| operation.dpu == dpu) {
            operation.is_listed = false;
        }
        for (id, kind) in state.pending_operation_ids.iter().zip(&state.pending_operation_types) {
            // Whether another was carried out, no call of the ASIC tells.
            if !matches!(kind, OperationType::ActivateRole | OperationType::FlowReconcile) {
                continue;
            }
            let life = operations.asking.get(&(dpu, *kind)).copied().unwrap_or_default();
            let new = Operation { dpu, kind: *kind, life, approved: None, is_used: false, is_listed: true };
            operations.all.entry(id.clone()).or_insert(new).is_listed = true;
        }
    }

    /// The ASIC of a DPU was called to carry out what needs approval, and did.
    pub(super) fn carried_out(world: &mut World, dpu: DpuRef, kind: OperationType) {
        let life = world.procs.get(&Proc::Haorchd(dpu)).map(|process| process.life);
        let mut was_approved = false;
        let operations = world.checks.operations.all.values_mut();
        for operation in operations.filter(|operation| (operation.dpu, operation.kind) == (dpu, kind)) {
            if operation.approved.is_some() && !operation.is_used {
                was_approved |= Some(operation.life) == life;
                operation.is_used = true;
            }
        }
        if !was_approved {
            let what = format!("P9 {dpu} carries out {kind}, which was not approved for this time");
            world.checks.fail(what);
        }
    }

    /// The ASIC of a DPU refused a call.
    pub(super) fn refused(world: &mut World, dpu: DpuRef) {
        world.checks.operations.refused.insert(dpu, world.now);
    }

    pub(super) fn tick(world: &mut World) {
        let lost = world.checks.operations.all.iter().find(|(_, operation)| {
            let Operation { dpu, approved, is_used, is_listed, .. } = operation;
            let Some(approved) = approved.filter(|_| *is_listed && !is_used) else { return false };
            let refused = world.checks.operations.refused.get(dpu).map_or(0, |at| at + CALLED_AGAIN);
            let since = approved.max(world.checks.calm_since(world, *dpu)).max(refused);
            world.now > since + CARRIED_OUT && !world.checks.is_held_up(world, *dpu)
        });
        if let Some((id, operation)) = lost {
            let Operation { dpu, kind, .. } = operation;
            let what = format!("P9 the approval of {id} is lost: {dpu} still waits for {kind}");
            world.checks.fail(what);
        }
    }
}
