//! All that one snapshot tells, and what of it can be said where a database could not be read.

use std::collections::BTreeSet;

use schema::state_db::HaScopeState;
use schema::{Db, Row, Slot, Table};
use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::model::Model;
use crate::snapshot::Snapshot;
use crate::{Boots, Expected, bfd, converge, fenced, fresh, once, one_decider, order};

/// Everything that one snapshot tells: P1 to P5, P7 and P9, at rest.
pub fn audit(snapshot: &Snapshot, expected: Option<&Expected>, boots: &Boots) -> Vec<Finding> {
    let model = Model::of(snapshot);
    let mut all = converge(&model, expected);
    all.extend(fresh(&model, boots));
    all.extend(fenced(&model));
    all.extend(bfd(&model));
    all.extend(order(snapshot));
    all.extend(one_decider(&model));
    all.extend(once(&model));
    all
}

/// The databases that could not be read: their rows are unknown, not absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread(BTreeSet<(String, Option<Slot>, Db)>);

impl Unread {
    /// Adds a database of a switch, or of one of its DPUs.
    pub fn add(&mut self, switch: &str, slot: Option<Slot>, db: Db) {
        self.0.insert((switch.to_owned(), slot, db));
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of_the_switch(&self, switch: &str) -> bool {
        self.0.iter().any(|(name, slot, _)| name == switch && slot.is_none())
    }

    fn of_the_dpu(&self, switch: &str, dpu: Slot) -> bool {
        self.0.iter().any(|(name, slot, _)| name == switch && *slot == Some(dpu))
    }

    /// The findings that do not rest on a row that could not be read. What is unknown is not bad.
    pub fn judgeable(&self, snapshot: &Snapshot, findings: Vec<Finding>) -> Vec<Finding> {
        if self.is_empty() {
            return findings;
        }
        let model = Model::of(snapshot);
        let unknown = |finding: &Finding| {
            model.switches.iter().any(|switch| {
                let name = &switch.snapshot.name;
                let of_a_dpu = switch.snapshot.dpus.iter().any(|dpu| {
                    finding.place == switch.snapshot.dpu_place(dpu.slot)
                        && (self.of_the_switch(name) || self.of_the_dpu(name, dpu.slot))
                });
                // The state that the NPU reports is compared with what the DPU reports.
                let of_a_scope = || {
                    let key = HaScopeState::parse_key(&finding.key).ok();
                    let dpu = key.and_then(|key| switch.dpu_of(&key.vdpu));
                    dpu.is_some_and(|dpu| self.of_the_dpu(name, dpu.config.dpu_id))
                };
                let of_the_switch = finding.place == *name
                    && (self.of_the_switch(name)
                        || finding.table == Some(Table::DashHaScopeState) && of_a_scope());
                of_a_dpu || of_the_switch
            })
        };
        findings.into_iter().filter(|finding| !unknown(finding)).collect()
    }
}
