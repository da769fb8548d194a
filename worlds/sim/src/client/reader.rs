//! Subscribers and consumers: `bus` over a modelled database.

use std::collections::BTreeSet;

use bus::{Outbox, ReaderAnswer, ReaderLimits, ReaderSession, ReaderStep, Update};
use schema::Table;

use super::Stepped;
use crate::redis::Database;

/// Less than `io/swss` asks for, so that there is more in between.
const LIMITS: ReaderLimits = ReaderLimits { rows_per_read: 4, keys_per_pop: 2 };

/// As `swss::Reader`.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) session: ReaderSession,
    outbox: Outbox,
    /// On its way.
    answer: Option<ReaderAnswer>,
}

impl Reader {
    /// A subscriber.
    pub fn subscribe(tables: &[Table]) -> Self {
        Self::new(ReaderSession::subscribe(tables.iter().copied(), LIMITS))
    }

    /// A consumer.
    pub fn consume(tables: &[Table]) -> Self {
        Self::new(ReaderSession::consume(tables.iter().copied(), LIMITS))
    }

    fn new(session: ReaderSession) -> Self {
        Self { session, outbox: Outbox::default(), answer: None }
    }

    /// Takes in the answer that arrived, and asks for what comes next; whether there is more to do.
    pub(super) fn step(&mut self, database: &mut Database, out: &mut Stepped) -> bool {
        if let Some(report) = self.answer.take().and_then(|answer| self.session.answer(answer)) {
            out.fed |= self.outbox.put(report);
        }
        self.answer = match self.session.step() {
            ReaderStep::Rest => None,
            ReaderStep::Pop { table, limit } => {
                let (rows, notices) = database.pop(table, limit);
                out.notices.extend(notices);
                out.popped.extend(rows.keys().cloned());
                let is_last = rows.len() < limit;
                Some(ReaderAnswer::Popped { rows, is_last })
            }
            ReaderStep::Find => Some(ReaderAnswer::Found(database.find(self.session.tables(), false))),
            ReaderStep::Read(rows) => {
                let read = rows.into_iter().map(|row| {
                    let fields = database.rows.get(&row).cloned();
                    (row, fields)
                });
                Some(ReaderAnswer::Rows(read.collect()))
            }
            ReaderStep::Check => Some(ReaderAnswer::Checked { waiting: BTreeSet::new(), missed: false }),
        };
        self.answer.is_some()
    }

    pub(super) fn lose(&mut self) {
        self.answer = None;
        if self.session.lost() {
            self.outbox.lose("the connection broke".to_owned());
        }
    }

    /// The next update, if there is one.
    pub fn take(&mut self) -> Option<Update> {
        self.outbox.take()
    }
}
