//! A store's connection, step by step: read everything, then write and read back, and again.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{Op, RowWrite, StoreUpdate};
use schema::Table;

use crate::store::mirror::{Mirror, Stored, Unread, Waiting};
use crate::store::{Mode, Queue};
use crate::{Pending, RowId};

/// After how many reads that were overtaken by changes everything is read at one instant instead.
const READS_MAX: usize = 16;

/// What a store asks its database for.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreStep {
    /// Nothing, until something comes in, there are writes, or a check is due.
    Rest,
    /// Carry out writes in order, each at one instant: [`StoreAnswer::Written`].
    Write(Vec<RowWrite>),
    /// Find the keys of all rows, those of what is pending included, and those of tables without keys:
    /// [`StoreAnswer::Found`].
    Find,
    /// Read: [`StoreAnswer::Read`].
    Read {
        /// What.
        unread: Unread,
        /// All of it at one instant; else in parts, each at its own, the first of them after this was asked for.
        at_once: bool,
    },
    /// Make sure that the connection serves and that notifications come: [`StoreAnswer::Checked`].
    Check,
}

/// What the database answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAnswer {
    /// Per write nothing, or why the database refused it for good.
    Written(Vec<Option<String>>),
    /// The keys that were found. A row that was there all the while is among them.
    Found(BTreeSet<RowId>),
    /// What was asked for, all of it.
    Read {
        /// The rows; also those that are absent.
        rows: BTreeMap<RowId, Stored>,
        /// The sets.
        sets: BTreeMap<Table, Waiting>,
    },
    /// The connection serves.
    Checked {
        /// Notifications may have been lost.
        missed: bool,
    },
}

/// How much a store asks for at once.
#[derive(Clone, Copy, Debug)]
pub struct StoreLimits {
    /// Writes per [`StoreStep::Write`].
    pub writes_per_call: usize,
    /// How many calls are made before what was written is read back.
    pub calls_max: usize,
}

#[derive(Clone, Debug)]
enum Phase {
    Off,
    Resting,
    /// Writes are carried out, `calls` of them since the last reading.
    Writing {
        /// In order; the refused ones are not sent.
        writes: Vec<(RowWrite, Option<&'static str>)>,
        calls: usize,
    },
    Finding {
        reads: usize,
    },
    /// Under way, for the so-manieth time without a rest.
    Reading {
        unread: Unread,
        reads: usize,
    },
    Checking,
}

/// A writer that reads back.
#[derive(Clone, Debug)]
pub struct StoreSession {
    limits: StoreLimits,
    mirror: Mirror,
    pending: Pending,
    /// To be read, once the writing is done.
    unread: Unread,
    is_check_due: bool,
    phase: Phase,
    refusals: Vec<(RowWrite, String)>,
}

impl StoreSession {
    /// A store that writes these tables.
    pub fn new(tables: impl IntoIterator<Item = (Table, Mode)>, limits: StoreLimits) -> Self {
        Self {
            limits: StoreLimits {
                writes_per_call: limits.writes_per_call.max(1),
                calls_max: limits.calls_max.max(1),
            },
            mirror: Mirror::new(tables),
            pending: Pending::default(),
            unread: Unread::default(),
            is_check_due: false,
            phase: Phase::Off,
            refusals: Vec::new(),
        }
    }

    /// How a table is written; `None` if it is not one of this store's.
    pub fn mode(&self, table: Table) -> Option<Mode> {
        self.mirror.mode(table)
    }

    /// The tables, in order.
    pub fn tables(&self) -> Vec<Table> {
        self.mirror.tables().collect()
    }

    /// Connected and listening: from here on no change goes unnoticed.
    pub fn connected(&mut self) {
        self.pending = Pending::default();
        self.unread = Unread::default();
        self.is_check_due = false;
        self.phase = Phase::Finding { reads: 0 };
    }

    /// The connection is lost; whether the user had been told anything, so that it has to be told this.
    pub fn lost(&mut self, queue: &mut Queue) -> bool {
        self.phase = Phase::Off;
        self.pending = Pending::default();
        self.unread = Unread::default();
        let had_reported = self.mirror.lose();
        if had_reported {
            queue.report(StoreUpdate::Lost);
        }
        had_reported
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

    /// What to do next. Writes are taken out of the queue, and what is known is reported there. Each step but a
    /// rest wants its answer before the next.
    pub fn step(&mut self, queue: &mut Queue) -> StoreStep {
        if matches!(self.phase, Phase::Resting) {
            if std::mem::take(&mut self.is_check_due) {
                self.phase = Phase::Checking;
            } else if queue.has_writes() || !self.pending.is_empty() {
                self.go_on_writing(queue, 0);
            }
        }
        match &self.phase {
            Phase::Off | Phase::Resting => StoreStep::Rest,
            Phase::Writing { writes, .. } => {
                let sent = writes.iter().filter(|(_, refusal)| refusal.is_none());
                StoreStep::Write(sent.map(|(write, _)| write.clone()).collect())
            }
            Phase::Finding { .. } => StoreStep::Find,
            Phase::Reading { unread, reads } => {
                StoreStep::Read { unread: unread.clone(), at_once: *reads > READS_MAX }
            }
            Phase::Checking => StoreStep::Check,
        }
    }

    /// The answer to the last step.
    pub fn answer(&mut self, answer: StoreAnswer, queue: &mut Queue) {
        match (std::mem::replace(&mut self.phase, Phase::Resting), answer) {
            (Phase::Writing { writes, calls }, StoreAnswer::Written(outcomes)) => {
                let mut outcomes = outcomes.into_iter();
                for (write, refusal) in writes {
                    let refusal = match refusal {
                        Some(reason) => Some(reason.to_owned()),
                        None => outcomes.next().unwrap_or_else(|| Some("no answer".to_owned())),
                    };
                    self.report_written(write, refusal, queue);
                }
                self.go_on_writing(queue, calls);
            }
            (Phase::Finding { reads }, StoreAnswer::Found(found)) => {
                // Older than what was found is only what the flush took away.
                self.unread = self.mirror.found(found);
                self.read_back(queue, reads);
            }
            (Phase::Reading { reads, .. }, StoreAnswer::Read { rows, sets }) => {
                self.mirror.take_in(rows, sets);
                self.read_back(queue, reads);
            }
            (Phase::Checking, StoreAnswer::Checked { missed }) => self.pending.everything |= missed,
            // Not connected any more.
            (Phase::Off, _) => self.phase = Phase::Off,
            // Not what was asked for: whoever drives this is confused, and everything is read again.
            (
                Phase::Resting
                | Phase::Writing { .. }
                | Phase::Finding { .. }
                | Phase::Reading { .. }
                | Phase::Checking,
                _,
            ) => self.phase = Phase::Finding { reads: 0 },
        }
    }

    /// The writes that were refused since this was last asked, and why.
    pub fn take_refusals(&mut self) -> Vec<(RowWrite, String)> {
        std::mem::take(&mut self.refusals)
    }

    /// The next writes, or what was written is read back.
    fn go_on_writing(&mut self, queue: &mut Queue, calls: usize) {
        if calls < self.limits.calls_max && queue.has_writes() {
            let judged = |write: RowWrite| {
                let refusal = self.refusal(&write);
                (write, refusal)
            };
            let taken = queue.take_writes(self.limits.writes_per_call);
            let writes: Vec<_> = taken.into_iter().map(judged).collect();
            let mut sends_any = false;
            for (write, _) in writes.iter().filter(|(_, refusal)| refusal.is_none()) {
                self.mirror.mark_written(write, &mut self.unread);
                sends_any = true;
            }
            if sends_any {
                self.phase = Phase::Writing { writes, calls: calls + 1 };
                return;
            }
            for (write, refusal) in writes {
                self.report_written(write, refusal.map(str::to_owned), queue);
            }
        }
        self.read_back(queue, 0);
    }

    /// Why a write is not even sent.
    fn refusal(&self, write: &RowWrite) -> Option<&'static str> {
        if self.mode(write.table).is_none() {
            return Some("the table is not one that this store writes");
        }
        match &write.op {
            Op::Set(fields) | Op::Merge(fields) if fields.is_empty() => {
                Some("Redis cannot hold a row without fields: write the placeholder NULL:NULL")
            }
            Op::Set(_) | Op::Merge(_) | Op::Del => None,
        }
    }

    fn report_written(&mut self, write: RowWrite, refusal: Option<String>, queue: &mut Queue) {
        let done = refusal.is_none();
        match refusal {
            None => self.mirror.report_written(&write),
            Some(reason) => self.refusals.push((write.clone(), reason)),
        }
        queue.report(StoreUpdate::Written { write, done });
    }

    /// Reads what changed until nothing changed during the read, and reports a snapshot if it tells anything new.
    ///
    /// What other clients changed before a read's answer was made was noticed before that answer: if nothing
    /// was, all rows are as they were at that one instant, though they were read in parts.
    fn read_back(&mut self, queue: &mut Queue, reads: usize) {
        if self.unread.is_empty() && reads > READS_MAX {
            // Too busy: what follows is left for the next time.
            self.report_snapshot(queue);
            return;
        }
        if self.pending.everything && reads <= READS_MAX {
            self.pending.everything = false;
            self.phase = Phase::Finding { reads: reads + 1 };
            return;
        }
        if reads >= READS_MAX {
            let all = self.mirror.all();
            self.unread.rows.extend(all.rows);
            self.unread.sets.extend(all.sets);
        }
        let rows = std::mem::take(&mut self.pending.rows);
        let sets = std::mem::take(&mut self.pending.sets);
        self.mirror.mark(rows, sets, &mut self.unread);
        if self.unread.is_empty() {
            self.report_snapshot(queue);
            return;
        }
        self.phase = Phase::Reading { unread: std::mem::take(&mut self.unread), reads: reads + 1 };
    }

    /// Unless there is more to write first, and many rows would have to be told for few: so the cost of a long series of
    /// writes grows with their number, and not with the number of rows as well.
    fn report_snapshot(&mut self, queue: &mut Queue) {
        self.phase = Phase::Resting;
        if queue.has_writes() && !self.mirror.is_snapshot_cheap() {
            return;
        }
        if let Some(rows) = self.mirror.snapshot() {
            queue.report(StoreUpdate::Snapshot(rows));
        }
    }
}
