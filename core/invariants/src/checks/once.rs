//! P9, as far as one moment tells: no operation is listed twice, and none is approved for another life.

use std::collections::BTreeMap;

use schema::state_db::HaScopeState;
use schema::{OperationId, Table};

use super::Findings;
use crate::finding::{Finding, Invariant};
use crate::model::Model;

/// Checks P9 over one snapshot: every pending operation's id is listed once in all switches, and the lists
/// of ids and types are of one length.
pub fn once(model: &Model<'_>) -> Vec<Finding> {
    let mut findings = Findings::of(Invariant::P9);
    let mut first_seen: BTreeMap<OperationId, String> = BTreeMap::new();
    for switch in &model.switches {
        for (key, state) in switch.snapshot.rows.typed::<HaScopeState>() {
            let (ids, types) = (state.pending_operation_ids, state.pending_operation_types);
            if ids.len() != types.len() {
                let what = format!("{} pending operations but {} types", ids.len(), types.len());
                findings.row::<HaScopeState>(&switch.snapshot.name, &key, what);
            }
            for id in ids {
                let here = format!("{} {} {key}", switch.snapshot.name, Table::DashHaScopeState);
                if let Some(there) = first_seen.get(&id) {
                    let what = format!("pending operation {id} is also listed at {there}");
                    findings.row::<HaScopeState>(&switch.snapshot.name, &key, what);
                } else {
                    first_seen.insert(id, here);
                }
            }
        }
    }
    findings.list
}
