//! One module per invariant.

use schema::{Row, Table, WallMs};

use crate::finding::{Finding, Invariant, Part};

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
            since: None,
            repair: None,
        });
    }

    /// Says of the finding that was added last since when it is so, as far as a row tells.
    fn since(&mut self, since: Option<WallMs>) {
        if let Some(last) = self.list.last_mut() {
            last.since = since;
        }
    }

    /// Says of the finding that was added last who should repair it.
    fn repair(&mut self, part: Part) {
        if let Some(last) = self.list.last_mut() {
            last.repair = Some(part);
        }
    }

    fn row<R: Row>(&mut self, place: &str, key: &R::Key, what: impl Into<String>) {
        self.raw(place, R::TABLE, &R::key_text(key), what);
    }
}
