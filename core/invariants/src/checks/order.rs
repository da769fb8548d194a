//! P5: a HA scope row never exists on a DPU without its HA set row.

use schema::dpu_appl_db::{HaScope, HaSet};
use schema::{HaSetId, Table};

use super::Findings;
use crate::finding::{Finding, Invariant};
use crate::snapshot::Snapshot;

/// Checks P5. It holds at every moment, not only at rest.
pub fn order(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = Findings::of(Invariant::P5);
    for switch in &snapshot.switches {
        for dpu in &switch.dpus {
            for (key, scope) in dpu.rows.typed::<HaScope>() {
                let Some(set) = scope.ha_set_id.or_else(|| HaSetId::new(key.as_str())) else {
                    continue;
                };
                if dpu.rows.row::<HaSet>(&set).is_none() {
                    let what = format!("its HA set {set} has no {} row", Table::DashHaSet);
                    findings.row::<HaScope>(&switch.dpu_place(dpu.slot), &key, what);
                }
            }
        }
    }
    findings.list
}
