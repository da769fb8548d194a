//! One module per invariant.

use schema::{Row, Table};

use crate::finding::{Finding, Invariant};

pub(crate) mod converge;
pub(crate) mod fresh;
pub(crate) mod local;
pub(crate) mod once;
pub(crate) mod one_decider;
pub(crate) mod order;
pub(crate) mod presence;
pub(crate) mod quiet;

/// Collects the findings of one invariant.
struct Findings {
    invariant: Invariant,
    list: Vec<Finding>,
}

impl Findings {
    fn of(invariant: Invariant) -> Self {
        Self { invariant, list: Vec::new() }
    }

    fn raw(&mut self, place: &str, table: Table, key: &str, what: impl Into<String>) {
        self.list.push(Finding {
            invariant: self.invariant,
            place: place.to_owned(),
            table: Some(table),
            key: key.to_owned(),
            what: what.into(),
        });
    }

    fn row<R: Row>(&mut self, place: &str, key: &R::Key, what: impl Into<String>) {
        self.raw(place, R::TABLE, &R::key_text(key), what);
    }
}
