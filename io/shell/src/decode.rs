//! From raw rows to typed ones, with the care that bad rows need: log once, count, go on.

use std::collections::BTreeMap;

use schema::{Fields, Row, RowError, Table};
use swss::Change;

use crate::metrics::Metrics;

/// How many bad rows are remembered in order not to log them again.
const BAD_ROWS_REMEMBERED_MAX: usize = 1024;

/// What a change of a row says.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded<R: Row> {
    /// The row is now this.
    Present(R::Key, R),
    /// The row is gone.
    Gone(R::Key),
    /// The row is there, but it cannot be understood.
    Bad(R::Key),
    /// Not even the key can be understood; there is nothing to say of it.
    BadKey,
}

impl<R: Row> Decoded<R> {
    /// For state: a row that cannot be understood says nothing, as if it were not there.
    pub fn or_nothing(self) -> Option<(R::Key, Option<R>)> {
        match self {
            Self::Present(key, row) => Some((key, Some(row))),
            Self::Gone(key) | Self::Bad(key) => Some((key, None)),
            Self::BadKey => None,
        }
    }

    /// For configuration: a row that cannot be understood leaves the last good one in force.
    pub fn or_last_good(self) -> Option<(R::Key, Option<R>)> {
        match self {
            Self::Present(key, row) => Some((key, Some(row))),
            Self::Gone(key) => Some((key, None)),
            Self::Bad(_) | Self::BadKey => None,
        }
    }
}

/// Decodes rows. One per reader.
#[derive(Debug)]
pub struct RowDecoder {
    metrics: Metrics,
    bad: BTreeMap<(Table, String), Vec<RowError>>,
}

impl RowDecoder {
    /// Counts into `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, bad: BTreeMap::new() }
    }

    /// Decodes a change of a row of type `R`. A bad row is counted each time, and logged unless it was logged
    /// with the very same errors before.
    pub fn decode<R: Row>(&mut self, change: &Change) -> Decoded<R> {
        let Ok(key) = R::parse_key(&change.key) else {
            return self.bad_key::<R>(change);
        };
        let Some(fields) = &change.fields else {
            self.bad.remove(&(R::TABLE, change.key.clone()));
            return Decoded::Gone(key);
        };
        let (row, errors) = R::parse_reporting(&change.key, fields);
        self.report(R::TABLE, &change.key, errors);
        match row {
            Some((key, row)) => Decoded::Present(key, row),
            None => Decoded::Bad(key),
        }
    }

    fn bad_key<R: Row>(&mut self, change: &Change) -> Decoded<R> {
        let fields = Fields::new();
        let errors = if change.fields.is_some() {
            R::parse(&change.key, change.fields.as_ref().unwrap_or(&fields)).err().into_iter().collect()
        } else {
            Vec::new()
        };
        self.report(R::TABLE, &change.key, errors);
        Decoded::BadKey
    }

    fn report(&mut self, table: Table, key: &str, errors: Vec<RowError>) {
        let row = (table, key.to_owned());
        if errors.is_empty() {
            self.bad.remove(&row);
            return;
        }
        self.metrics.bad_row(table);
        if self.bad.get(&row) == Some(&errors) {
            return;
        }
        for error in &errors {
            tracing::warn!(table = %table, key, field = error.field, "bad row: {error}");
        }
        if self.bad.len() < BAD_ROWS_REMEMBERED_MAX {
            self.bad.insert(row, errors);
        }
    }
}
