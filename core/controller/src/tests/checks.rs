//! What must hold at every moment, and in the end.

use std::collections::BTreeMap;

use reconcile::{Core, Op};
use schema::appl_db::HaScopeConfig;
use schema::{AsicHaState, DesiredHaState, OperationId, Row, Table, VdpuId};

use super::field::Field;
use super::model::ModelSwitch;

impl Field {
    /// What must hold at every moment.
    pub(super) fn check(&self) {
        for set in self.fleet.ha_sets() {
            let told_to_decide = |vdpu: &&VdpuId| {
                let scope = self.switches.values().find_map(|switch| switch.scope(vdpu));
                scope.is_some_and(|(_, config)| {
                    matches!(config.desired_ha_state, DesiredHaState::Active | DesiredHaState::Standalone)
                })
            };
            let told = set.vdpus.iter().filter(told_to_decide).count();
            assert!(told <= 1, "P7: both members of {} are told to decide", set.id);
            let approved = set.vdpus.iter().filter(|vdpu| self.is_approved_to_decide(vdpu)).count();
            assert!(approved <= 1, "P7: both members of {} are approved to decide", set.id);
            let deciding = |vdpu: &&VdpuId| {
                let mut dpus = self.switches.values().flat_map(|switch| &switch.dpus);
                dpus.any(|dpu| dpu.vdpu == **vdpu && dpu.decides())
            };
            let deciders = set.vdpus.iter().filter(deciding).count();
            assert!(self.ever_cut || deciders <= 1, "P7: both members of {} decide", set.id);
        }
        for (id, times) in &self.approvals {
            assert!(*times <= 1, "P9: {id} was approved {times} times");
        }
    }

    fn is_approved_to_decide(&self, vdpu: &VdpuId) -> bool {
        self.switches.values().any(|switch| {
            let Some((key, config)) = switch.scope(vdpu) else { return false };
            switch.states.get(&key).is_some_and(|state| {
                let pending = matches!(
                    state.local_ha_state,
                    Some(AsicHaState::PendingActiveActivation | AsicHaState::PendingStandaloneActivation)
                );
                let listed = &state.pending_operation_ids;
                pending && config.approved_pending_operation_ids.iter().any(|id| listed.contains(id))
            })
        })
    }

    /// P6: at the fixed point nobody is woken and nothing is written.
    pub fn assert_quiet(&mut self) {
        self.settle();
        let before = self.log.len();
        self.run_ms(600_000);
        assert_eq!(self.log[before..], [], "not quiet");
        assert_eq!(self.controller.next_deadline(), None, "still waits for something");
    }

    /// Rows, without what may differ between two ways to the same end: versions and ids.
    pub fn outcome(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for (name, switch) in &self.switches {
            for (table, key) in switch.appl.keys() {
                let scope = HaScopeConfig::from_fields(key, &switch.appl[&(*table, key.clone())]).ok();
                let scope = scope.filter(|_| *table == Table::DashHaScopeConfig);
                rows.push(format!("{name} {table} {key} {:?}", scope.map(|scope| scope.desired_ha_state)));
            }
            for (key, state) in &switch.states {
                rows.push(format!("{name} state {key} {:?}", state.local_ha_state));
            }
            for (slot, reset) in &switch.resets {
                rows.push(format!("{name} reset {slot} {}", reset.reset_status));
            }
        }
        for (id, record) in &self.store {
            rows.push(format!("{id} {}", record.phase));
        }
        rows
    }
}

/// Counts ids that a write adds, and checks that it is one kind of change.
pub(super) fn count_approvals(
    switch: &ModelSwitch,
    write: &reconcile::RowWrite,
    approvals: &mut BTreeMap<OperationId, usize>,
) {
    let Op::Set(fields) = &write.op else { return };
    if write.table != Table::DashHaScopeConfig {
        return;
    }
    let (key, after) = HaScopeConfig::parse(&write.key, fields).unwrap();
    let before = switch.scope(&key.vdpu).map(|(_, config)| config);
    let had =
        before.as_ref().map(|config| config.approved_pending_operation_ids.as_slice()).unwrap_or_default();
    let added: Vec<_> = after.approved_pending_operation_ids.iter().filter(|id| !had.contains(id)).collect();
    if let Some(before) = &before {
        let desired = before.desired_ha_state != after.desired_ha_state;
        assert!(!desired || added.is_empty(), "one kind of change per write");
        assert!(added.len() <= 1, "one approval per write");
    }
    for id in added {
        *approvals.entry(id.clone()).or_default() += 1;
    }
}
