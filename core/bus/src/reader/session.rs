//! A reader's connection, step by step: read everything, then follow.
//!
//! | Phase | Asks for | Then |
//! | --- | --- | --- |
//! | `Taking` | what producers left pending, table by table (a consumer only) | `Finding` |
//! | `Finding` | the keys of all rows | `Reading` |
//! | `Reading` | the rows | `Completing`; after a flush `Taking` or `Finding` again |
//! | `Completing` | the rows that changed meanwhile | report, `Resting` |
//! | `Resting` | nothing | what came in decides |
//! | `Following` | rows that changed | report, `Resting` |
//! | `Popping` | what producers left pending, until nothing is left | report, `Resting` |
//! | `Checking` | whether the connection serves, and whether anything was missed | `Resting` |

use std::collections::{BTreeMap, BTreeSet};

use schema::{Fields, Table};

use crate::reader::view::{Report, View};
use crate::{Pending, RowId};

/// What a reader asks its database for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReaderStep {
    /// Nothing, until something comes in or a check is due.
    Rest,
    /// Take up to `limit` pending keys of a table, as a `ConsumerStateTable` does: [`ReaderAnswer::Popped`].
    Pop {
        /// The table.
        table: Table,
        /// How many keys at most.
        limit: usize,
    },
    /// Find the keys of all rows, and those of a table without keys: [`ReaderAnswer::Found`].
    Find,
    /// Read these, each at its own instant: [`ReaderAnswer::Rows`].
    Read(Vec<RowId>),
    /// Make sure that the connection serves and that notifications come: [`ReaderAnswer::Checked`].
    Check,
}

/// What the database answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReaderAnswer {
    /// The rows as they are after what was pending has been applied; fewer keys than asked for means that none is
    /// left.
    Popped {
        /// The rows.
        rows: BTreeMap<RowId, Option<Fields>>,
        /// Whether no key is left.
        is_last: bool,
    },
    /// The keys that were found. A row that was there all the while is among them.
    Found(BTreeSet<RowId>),
    /// Rows; `None` for those that are absent.
    Rows(BTreeMap<RowId, Option<Fields>>),
    /// The connection serves.
    Checked {
        /// Tables that have something pending.
        waiting: BTreeSet<Table>,
        /// Notifications may have been lost.
        missed: bool,
    },
}

/// How often a full read starts over because everything may have changed meanwhile, before it counts as it is.
const RESTARTS_MAX: usize = 8;
/// How many times in a row a table's pending keys are taken before what was taken is reported.
const POPS_MAX: usize = 16;

/// How much a reader asks for at once.
#[derive(Clone, Copy, Debug)]
pub struct ReaderLimits {
    /// Rows per [`ReaderStep::Read`].
    pub rows_per_read: usize,
    /// Keys per [`ReaderStep::Pop`].
    pub keys_per_pop: usize,
}

#[derive(Clone, Debug)]
enum Phase {
    Off,
    Taking(Popping),
    Finding,
    Reading(Reading),
    /// Those that changed during `Reading`.
    Completing(Reading),
    Resting,
    Following {
        reading: Reading,
        gone: BTreeSet<RowId>,
    },
    Popping(Popping),
    Checking,
}

/// Tables whose pending keys are being taken, the next one last.
#[derive(Clone, Debug)]
struct Popping {
    tables: Vec<Table>,
    pops: usize,
    rows: BTreeMap<RowId, Option<Fields>>,
}

/// Rows that are being read.
#[derive(Clone, Debug, Default)]
struct Reading {
    to_read: BTreeSet<RowId>,
    under_way: Vec<RowId>,
    rows: BTreeMap<RowId, Option<Fields>>,
}

/// A subscriber or consumer.
#[derive(Clone, Debug)]
pub struct ReaderSession {
    tables: Vec<Table>,
    consumes: bool,
    limits: ReaderLimits,
    view: View,
    pending: Pending,
    /// Rows that are known to have been gone since the last report.
    gone: BTreeSet<RowId>,
    /// How often the present full read started over.
    restarts: usize,
    is_check_due: bool,
    phase: Phase,
    has_synced: bool,
}

impl Popping {
    fn of(tables: impl DoubleEndedIterator<Item = Table>) -> Self {
        Self { tables: tables.rev().collect(), pops: 0, rows: BTreeMap::new() }
    }

    /// Takes in what was popped; returns the table that has to be left although more is pending.
    fn take_in(&mut self, rows: BTreeMap<RowId, Option<Fields>>, is_last: bool) -> Option<Table> {
        self.rows.extend(rows);
        self.pops += 1;
        // A producer wakes its consumer only for the first key that is pending: go on until none is left.
        if !is_last && self.pops < POPS_MAX {
            return None;
        }
        self.pops = 0;
        let table = self.tables.pop();
        if is_last { None } else { table }
    }
}

impl Reading {
    fn of(to_read: BTreeSet<RowId>) -> Self {
        Self { to_read, ..Self::default() }
    }

    fn next(&mut self, limit: usize) -> Vec<RowId> {
        while self.under_way.len() < limit {
            let Some(row) = self.to_read.pop_first() else { break };
            self.under_way.push(row);
        }
        self.under_way.clone()
    }

    fn take_in(&mut self, rows: BTreeMap<RowId, Option<Fields>>) {
        self.under_way.clear();
        self.rows.extend(rows);
    }
}

impl ReaderSession {
    /// Follows tables: any number of readers may.
    pub fn subscribe(tables: impl IntoIterator<Item = Table>, limits: ReaderLimits) -> Self {
        Self::new(tables, limits, false)
    }

    /// Consumes tables: a table has exactly one consumer.
    pub fn consume(tables: impl IntoIterator<Item = Table>, limits: ReaderLimits) -> Self {
        Self::new(tables, limits, true)
    }

    fn new(tables: impl IntoIterator<Item = Table>, limits: ReaderLimits, consumes: bool) -> Self {
        let limits = ReaderLimits {
            rows_per_read: limits.rows_per_read.max(1),
            keys_per_pop: limits.keys_per_pop.max(1),
        };
        Self {
            tables: tables.into_iter().collect(),
            consumes,
            limits,
            view: View::default(),
            pending: Pending::default(),
            gone: BTreeSet::new(),
            restarts: 0,
            is_check_due: false,
            phase: Phase::Off,
            has_synced: false,
        }
    }

    /// Whether it takes what producers leave.
    pub fn consumes(&self) -> bool {
        self.consumes
    }

    /// The tables.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// How many rows there are, as far as reported.
    pub fn len(&self) -> usize {
        self.view.len()
    }

    /// Whether there are no rows, as far as reported.
    pub fn is_empty(&self) -> bool {
        self.view.len() == 0
    }

    /// Connected and listening: from here on no change goes unnoticed.
    pub fn connected(&mut self) {
        self.pending = Pending::default();
        self.gone.clear();
        self.restarts = 0;
        self.is_check_due = false;
        self.read_everything();
    }

    /// The connection is lost; whether the user has to be told.
    pub fn lost(&mut self) -> bool {
        self.phase = Phase::Off;
        self.pending = Pending::default();
        self.gone.clear();
        std::mem::take(&mut self.has_synced)
    }

    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        !matches!(self.phase, Phase::Off)
    }

    /// Something came in. It has to be told before an answer that was made after it.
    pub fn notice(&mut self, pending: Pending) {
        if self.is_connected() {
            self.pending.extend(pending);
        }
    }

    /// It is time to make sure of the connection.
    pub fn check(&mut self) {
        self.is_check_due = self.is_connected();
    }

    /// What to do next. Asked again without an answer in between, it says the same.
    pub fn step(&mut self) -> ReaderStep {
        if matches!(self.phase, Phase::Resting) {
            self.wake();
        }
        let ReaderLimits { rows_per_read, keys_per_pop } = self.limits;
        match &mut self.phase {
            Phase::Off | Phase::Resting => ReaderStep::Rest,
            Phase::Taking(popping) | Phase::Popping(popping) => match popping.tables.last() {
                Some(table) => ReaderStep::Pop { table: *table, limit: keys_per_pop },
                None => ReaderStep::Find,
            },
            Phase::Finding => ReaderStep::Find,
            Phase::Reading(reading) | Phase::Completing(reading) | Phase::Following { reading, .. } => {
                ReaderStep::Read(reading.next(rows_per_read))
            }
            Phase::Checking => ReaderStep::Check,
        }
    }

    /// The answer to the last step; what the user is to be told, if anything.
    pub fn answer(&mut self, answer: ReaderAnswer) -> Option<Report> {
        match (std::mem::replace(&mut self.phase, Phase::Resting), answer) {
            (Phase::Taking(mut popping), ReaderAnswer::Popped { rows, is_last }) => {
                self.pending.wakes.extend(popping.take_in(rows, is_last));
                self.phase = if popping.tables.is_empty() { Phase::Finding } else { Phase::Taking(popping) };
                None
            }
            (Phase::Finding, ReaderAnswer::Found(found)) => self.go_on_reading(Reading::of(found)),
            (Phase::Reading(mut reading), ReaderAnswer::Rows(rows)) => {
                reading.take_in(rows);
                self.go_on_reading(reading)
            }
            (Phase::Completing(mut reading), ReaderAnswer::Rows(rows)) => {
                reading.take_in(rows);
                if reading.to_read.is_empty() {
                    return Some(self.complete(reading));
                }
                self.phase = Phase::Completing(reading);
                None
            }
            (Phase::Following { mut reading, gone }, ReaderAnswer::Rows(rows)) => {
                reading.take_in(rows);
                if !reading.to_read.is_empty() {
                    self.phase = Phase::Following { reading, gone };
                    return None;
                }
                let differences = self.view.differences(reading.rows, &gone);
                (!differences.is_empty()).then_some(Report { differences, synced: false })
            }
            (Phase::Popping(mut popping), ReaderAnswer::Popped { rows, is_last }) => {
                self.pending.wakes.extend(popping.take_in(rows, is_last));
                if !popping.tables.is_empty() {
                    self.phase = Phase::Popping(popping);
                    return None;
                }
                // Unlike a subscriber, a consumer reports what it took even if that changes nothing: the
                // producer asked for it.
                let report = |(row, fields)| self.view.report(row, fields);
                let differences: Vec<_> = popping.rows.into_iter().map(report).collect();
                (!differences.is_empty()).then_some(Report { differences, synced: false })
            }
            (Phase::Checking, ReaderAnswer::Checked { waiting, missed }) => {
                self.pending.wakes.extend(waiting);
                self.pending.everything |= missed;
                None
            }
            // Not connected any more.
            (Phase::Off, _) => {
                self.phase = Phase::Off;
                None
            }
            // Not what was asked for: whoever drives this is confused, and everything is read again.
            (
                Phase::Taking(_)
                | Phase::Finding
                | Phase::Reading(_)
                | Phase::Completing(_)
                | Phase::Resting
                | Phase::Following { .. }
                | Phase::Popping(_)
                | Phase::Checking,
                _,
            ) => {
                self.read_everything();
                None
            }
        }
    }

    /// What came in decides what to do.
    fn wake(&mut self) {
        if std::mem::take(&mut self.is_check_due) {
            self.phase = Phase::Checking;
            return;
        }
        if self.pending.is_empty() {
            return;
        }
        if self.pending.everything {
            self.pending.everything = false;
            self.take_rows();
            self.read_everything();
            return;
        }
        let Pending { mut rows, sets: _, wakes, everything: _ } = std::mem::take(&mut self.pending);
        if self.consumes {
            // Rows are this consumer's to write, and to delete: what it has taken tells of them. But a stranger may delete
            // one, and its producer then sees no need to.
            rows.retain(|_, gone| *gone);
            if !wakes.is_empty() {
                self.pending.rows = rows;
                self.phase = Phase::Popping(Popping::of(wakes.into_iter()));
                return;
            }
        }
        if !rows.is_empty() {
            let gone = self.gone_among(&rows);
            let reading = Reading::of(rows.into_keys().collect());
            self.phase = Phase::Following { reading, gone };
        }
    }

    /// The rows that have to be reported gone even if they are there again. A consumer deletes rows on the way to what it
    /// reports of them.
    fn gone_among(&self, rows: &BTreeMap<RowId, bool>) -> BTreeSet<RowId> {
        let gone = rows.iter().filter(|(_, gone)| **gone && !self.consumes);
        gone.map(|(row, _)| row.clone()).collect()
    }

    fn read_everything(&mut self) {
        self.phase = if self.consumes && !self.tables.is_empty() {
            Phase::Taking(Popping::of(self.tables.iter().copied()))
        } else {
            Phase::Finding
        };
    }

    /// What came in belongs to the full read that begins or ends; returns the rows that it names. Wake-ups
    /// stay: what they announce may not have been taken.
    fn take_rows(&mut self) -> BTreeSet<RowId> {
        let rows = std::mem::take(&mut self.pending.rows);
        let gone = self.gone_among(&rows);
        self.gone.extend(gone);
        rows.into_keys().collect()
    }

    /// A full read has come this far.
    fn go_on_reading(&mut self, mut reading: Reading) -> Option<Report> {
        if self.pending.everything && self.restarts < RESTARTS_MAX {
            self.restarts += 1;
            self.pending.everything = false;
            self.take_rows();
            self.read_everything();
            return None;
        }
        if !reading.to_read.is_empty() {
            self.phase = Phase::Reading(reading);
            return None;
        }
        // What changed during the read belongs to it: so nothing is reported before `Synced` that is known to
        // be outdated.
        reading.to_read = self.take_rows();
        if reading.to_read.is_empty() {
            return Some(self.complete(reading));
        }
        self.phase = Phase::Completing(reading);
        None
    }

    fn complete(&mut self, reading: Reading) -> Report {
        self.restarts = 0;
        self.has_synced = true;
        let gone = std::mem::take(&mut self.gone);
        Report { differences: self.view.replace(reading.rows, &gone), synced: true }
    }
}
