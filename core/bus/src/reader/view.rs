//! The rows as last reported, and what differs from them.

use std::collections::{BTreeMap, BTreeSet};

use schema::Fields;

use crate::RowId;

/// A row that differs from its last report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The row.
    pub row: RowId,
    /// Whether it was there at the last report.
    pub was_known: bool,
    /// The whole present row; `None` if it is gone.
    pub fields: Option<Fields>,
}

/// What a reader's user is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What differs. A row that went and came back is there twice.
    pub differences: Vec<Difference>,
    /// They complete a full read.
    pub synced: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct View {
    known: BTreeMap<RowId, Fields>,
}

impl View {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Takes in what was read: rows that differ from the last report, and those that were `gone` in between.
    pub(super) fn differences(
        &mut self,
        rows: BTreeMap<RowId, Option<Fields>>,
        gone: &BTreeSet<RowId>,
    ) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (row, fields) in rows {
            let known = self.known.get(&row);
            if known.is_some() && fields.is_some() && gone.contains(&row) {
                differences.push(self.report(row.clone(), None));
            } else if known == fields.as_ref() {
                continue;
            }
            differences.push(self.report(row, fields));
        }
        differences
    }

    /// As [`View::differences`], where `rows` are all there are.
    pub(super) fn replace(
        &mut self,
        mut rows: BTreeMap<RowId, Option<Fields>>,
        gone: &BTreeSet<RowId>,
    ) -> Vec<Difference> {
        let vanished: Vec<RowId> = self.known.keys().filter(|row| !rows.contains_key(row)).cloned().collect();
        rows.extend(vanished.into_iter().map(|row| (row, None)));
        self.differences(rows, gone)
    }

    /// Reports a row, whether it differs from the last report or not.
    pub(super) fn report(&mut self, row: RowId, fields: Option<Fields>) -> Difference {
        let before = match &fields {
            Some(fields) => self.known.insert(row.clone(), fields.clone()),
            None => self.known.remove(&row),
        };
        Difference { row, was_known: before.is_some(), fields }
    }
}
