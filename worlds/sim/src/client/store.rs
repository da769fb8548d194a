//! Stores: `bus` over a modelled database.

use std::collections::VecDeque;

use bus::{Queue, StoreAnswer, StoreLimits, StoreSession, StoreStep};
use reconcile::{RowWrite, StoreUpdate};
use schema::{Db, Table};

use super::{Listening, Stepped, TaggedWrite};
use crate::redis::{Database, Mode};

/// Less than `io/swss` asks for, so that there is more in between.
const LIMITS: StoreLimits = StoreLimits { writes_per_call: 4, calls_max: 2 };

/// As `swss::Store`.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) session: StoreSession,
    queue: Queue,
    /// On its way.
    answer: Option<StoreAnswer>,
    /// Handed over by the process, not yet to the store.
    pub port: VecDeque<Vec<TaggedWrite>>,
    /// The queue's writes, with what their writer knew.
    tagged: VecDeque<TaggedWrite>,
    read_emptied: u64,
    /// After how many more updates the process knows how often the database had been emptied.
    knows_after: VecDeque<(usize, u64)>,
    /// How often the database had been emptied when the last snapshot that the process has was read.
    pub known_emptied: u64,
    /// So many writes the server will refuse for good.
    pub refused: u64,
}

impl Store {
    /// A store that writes these tables.
    pub fn open(tables: &[(Table, Mode)]) -> Self {
        Self {
            session: StoreSession::new(tables.iter().copied(), LIMITS),
            queue: Queue::default(),
            answer: None,
            port: VecDeque::new(),
            tagged: VecDeque::new(),
            read_emptied: 0,
            knows_after: VecDeque::new(),
            known_emptied: 0,
            refused: 0,
        }
    }

    pub(super) fn listening(&self, db: Db) -> Listening {
        let is_produced = |table| self.session.mode(table) == Some(Mode::ProducerState);
        Listening::to(db, self.session.tables(), false, is_produced)
    }

    /// As `swss::Store::write`; whether the client has to be woken.
    pub fn write(&mut self, writes: Vec<TaggedWrite>) -> bool {
        let counts = self.queue.write(writes.iter().map(|(write, _)| write.clone()));
        if counts {
            self.tagged.extend(writes);
        }
        counts
    }

    /// Takes in the answer that arrived, and asks for what comes next; whether there is more to do.
    pub(super) fn step(&mut self, database: &mut Database, out: &mut Stepped) -> bool {
        let answered =
            self.answer.take().map(|answer| self.session.answer(answer, &mut self.queue)).is_some();
        let step = self.session.step(&mut self.queue);
        if answered && step == StoreStep::Rest {
            self.knows_after.push_back((self.queue.updates(), self.read_emptied));
            self.learn();
        }
        out.fed |= self.has_update();
        self.answer = match step {
            StoreStep::Rest => None,
            StoreStep::Write(writes) => Some(self.carry_out(&writes, database, out)),
            StoreStep::Find => {
                let tables = self.session.tables();
                Some(StoreAnswer::Found(database.find(&tables, true)))
            }
            StoreStep::Read { unread, at_once: _ } => {
                self.read_emptied = database.emptied;
                let (rows, sets) = database.stored(unread);
                Some(StoreAnswer::Read { rows, sets })
            }
            StoreStep::Check => Some(StoreAnswer::Checked { missed: false }),
        };
        self.answer.is_some()
    }

    fn carry_out(&mut self, writes: &[RowWrite], database: &mut Database, out: &mut Stepped) -> StoreAnswer {
        let mut answers = Vec::new();
        for write in writes {
            let is_refused = self.refused > 0;
            if is_refused {
                self.refused -= 1;
                answers.push(Some("WRONGTYPE".to_owned()));
            } else {
                if let Some(mode) = self.session.mode(write.table) {
                    out.notices.extend(database.write(mode, write));
                }
                answers.push(None);
            }
            // Those that were refused come before.
            while let Some(tagged) = self.tagged.pop_front() {
                if tagged.0 == *write {
                    out.written.extend((!is_refused).then_some(tagged));
                    break;
                }
            }
        }
        StoreAnswer::Written(answers)
    }

    fn learn(&mut self) {
        while let Some((0, emptied)) = self.knows_after.front() {
            self.known_emptied = *emptied;
            self.knows_after.pop_front();
        }
    }

    pub(super) fn lose(&mut self) {
        self.answer = None;
        self.tagged.clear();
        if self.session.lost(&mut self.queue) {
            // A snapshot that was the last update is gone from the queue, and with it what it tells.
            let last = self.queue.updates();
            self.knows_after.retain(|(after, _)| *after < last);
        }
    }

    /// The next update, if there is one.
    pub fn take(&mut self) -> Option<StoreUpdate> {
        let update = self.queue.take_update()?;
        for (after, _) in &mut self.knows_after {
            *after = after.saturating_sub(1);
        }
        self.learn();
        Some(update)
    }

    /// Whether there is an update to take.
    pub fn has_update(&self) -> bool {
        self.queue.updates() > 0
    }
}
