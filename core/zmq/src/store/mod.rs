//! A producer's rows: a store over the database and the link together.
//!
//! ```text
//!   user ──Write──> ProducerStore ──Db──> the database's store      Up, Down, Acknowledged
//!   user <─Report──      │ │   <──Db──                                     │
//!                        │ └────────────Send──────> ProducerLink ──────────┘
//! ```
//!
//! - A row that is set is stored first and sent then; one that is deleted is sent first, and leaves the database once
//!   the peer has acknowledged that, or is gone: a producer that dies in between does not forget the deletion.
//! - A connection that comes up makes the database be read anew ([`StoreOutput::Reopen`]) before anything is sent on
//!   it: what was emptied meanwhile is reported, and not sent again.
//! - SONiC's consumer stores what it was told as well, later, and by deleting the row first (`reference/swss-wire.md`
//!   5.7). So while a connection is up, what somebody else does to a row counts once it has stood for a moment
//!   ([`SETTLE_MS`]); and if nobody puts it right in as long again, the peer is told.
//!
//! It never gives up, and takes no decision about what the rows should be.

mod io;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use reconcile::{Op, OwnedRow, RowWrite, StoreUpdate, Time, as_pairs};
use schema::{Fields, Table};
use serde::{Deserialize, Serialize};

use crate::RowId;
use crate::backlog::Outgoing;
use crate::deliveries::{Deliveries, Delivery};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::message::length_alone;
use crate::producer::Receipt;
pub use crate::store::io::{StoreInput, StoreOutput};

/// For how long a row that somebody else changed has to stay so before it counts, while a connection is up, ms.
pub const SETTLE_MS: u64 = 500;

/// Up to so many rows a snapshot costs little in any case.
const SNAPSHOT_ROWS_CHEAP: usize = 1024;

/// Whose turn it is with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Turn {
    Db,
    /// To acknowledge a deletion.
    Peer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct UnderWay {
    number: u64,
    write: RowWrite,
    turn: Turn,
}

/// A store of ZMQ tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProducerStore {
    tables: BTreeSet<Table>,
    deliveries: Deliveries,
    /// The database was read, and not lost since.
    is_open: bool,
    /// A connection that is up and waits for the database to be read.
    coming: Option<u64>,
    /// The rows as they count, without one-shot fields.
    #[serde(with = "as_pairs")]
    rows: BTreeMap<RowId, Fields>,
    /// The rows as last read, likewise.
    #[serde(with = "as_pairs")]
    stored: BTreeMap<RowId, Fields>,
    /// Rows of which these differ, and since when.
    #[serde(with = "as_pairs")]
    strange: BTreeMap<RowId, Time>,
    /// Rows that the peer was told otherwise, and since when.
    #[serde(with = "as_pairs")]
    untold: BTreeMap<RowId, Time>,
    #[serde(with = "as_pairs")]
    under_way: BTreeMap<RowId, UnderWay>,
    /// Writes to rows that have one under way, per row in order.
    #[serde(with = "as_pairs")]
    queue: BTreeMap<RowId, VecDeque<RowWrite>>,
    next_number: u64,
    /// What the user was told since the last loss.
    #[serde(with = "reported")]
    reported: Option<BTreeMap<RowId, Delivery>>,
    /// Rows of which the user may have to be told otherwise.
    touched: BTreeSet<RowId>,
    /// How many rows have changed since the user was told last.
    news: usize,
    /// To be sent once everything that happened is dealt with.
    outgoing: Vec<Outgoing>,
}

/// [`as_pairs`] for a map that may not be there.
mod reported {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::{Delivery, RowId};

    type Map = Option<BTreeMap<RowId, Delivery>>;

    pub(super) fn serialize<S: Serializer>(map: &Map, serializer: S) -> Result<S::Ok, S::Error> {
        map.as_ref().map(|map| map.iter().collect::<Vec<_>>()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
        let pairs = Option::<Vec<(RowId, Delivery)>>::deserialize(deserializer)?;
        Ok(pairs.map(|pairs| pairs.into_iter().collect()))
    }
}

impl ProducerStore {
    /// Nothing was read, nobody is there.
    pub fn new(tables: impl IntoIterator<Item = Table>) -> Self {
        Self {
            tables: tables.into_iter().collect(),
            deliveries: Deliveries::new(),
            is_open: false,
            coming: None,
            rows: BTreeMap::new(),
            stored: BTreeMap::new(),
            strange: BTreeMap::new(),
            untold: BTreeMap::new(),
            under_way: BTreeMap::new(),
            queue: BTreeMap::new(),
            next_number: 0,
            reported: None,
            touched: BTreeSet::new(),
            news: 0,
            outgoing: Vec::new(),
        }
    }

    /// What the peer has.
    pub fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    /// Takes in everything that happened, in order, and appends what to do about it, in order.
    pub fn handle(
        &mut self,
        now: Time,
        inputs: impl IntoIterator<Item = StoreInput>,
        out: &mut Vec<StoreOutput>,
    ) {
        for input in inputs {
            self.take(now, input, out);
        }
        if let Some(connection) = self.deliveries.connection()
            && !self.outgoing.is_empty()
        {
            out.push(StoreOutput::Send { connection, rows: std::mem::take(&mut self.outgoing) });
        }
        self.report(out);
    }

    fn take(&mut self, now: Time, input: StoreInput, out: &mut Vec<StoreOutput>) {
        match input {
            StoreInput::Write(writes) => {
                for write in writes {
                    self.write(write, out);
                }
            }
            StoreInput::Db(StoreUpdate::Snapshot(rows)) => self.read(now, rows),
            StoreInput::Db(StoreUpdate::Written { write, done }) => self.written(now, &write, done, out),
            StoreInput::Db(StoreUpdate::Lost) => self.lost(out),
            StoreInput::Up { connection } => self.up(connection, out),
            StoreInput::Down => self.down(now, out),
            StoreInput::Acknowledged { connection, receipts } => {
                self.acknowledged(connection, receipts, out);
            }
            StoreInput::Tick => self.tick(now),
        }
    }

    /// When to give [`StoreInput::Tick`] even if nothing happens, and why.
    pub fn next_deadline(&self) -> Option<(Time, &'static str)> {
        let strange = self.strange.values().min().map(|since| (*since, "a row that somebody else changed"));
        let untold =
            self.untold.values().min().map(|since| (*since, "a row that the peer was told otherwise"));
        let (since, why) = strange.into_iter().chain(untold).min()?;
        Some((since.after_ms(SETTLE_MS), why))
    }

    fn is_linked(&self) -> bool {
        self.deliveries.connection().is_some()
    }

    /// The peer is told of a row, if it is there to be told.
    fn send(&mut self, row: &RowId, told: Option<Outgoing>) {
        self.touched.insert(row.clone());
        self.outgoing.extend(told);
    }

    fn refusal(&self, write: &RowWrite) -> Option<String> {
        let RowWrite { table, key, op } = write;
        if !self.tables.contains(table) {
            return Some("the table is not one that this store writes".to_owned());
        }
        match op {
            Op::Merge(_) => Some("a row of a ZMQ table is written whole".to_owned()),
            Op::Set(fields) if Deliveries::persistent(*table, fields).is_empty() => {
                Some("nothing of this row would be stored: write the placeholder NULL:NULL".to_owned())
            }
            Op::Set(fields) => {
                let length = length_alone(*table, key, Some(fields));
                (length > MESSAGE_BYTES_MAX)
                    .then(|| format!("a message of {length} bytes: at most {MESSAGE_BYTES_MAX} are allowed"))
            }
            Op::Del => None,
        }
    }

    fn write(&mut self, write: RowWrite, out: &mut Vec<StoreOutput>) {
        if let Some(reason) = self.refusal(&write) {
            out.push(StoreOutput::Refused { write: write.clone(), reason });
            out.push(StoreOutput::Report(StoreUpdate::Written { write, done: false }));
            return;
        }
        let row = (write.table, write.key.clone());
        if self.under_way.contains_key(&row) {
            self.queue.entry(row).or_default().push_back(write);
            return;
        }
        self.untold.remove(&row);
        let mut turn = Turn::Db;
        // A row that is set changes nothing yet: neither what the database holds nor what the peer was told.
        if write.op == Op::Del {
            let sent = self.deliveries.del(&row);
            if sent.is_some() {
                turn = Turn::Peer;
            }
            self.send(&row, sent);
        }
        self.next_number += 1;
        let under_way = UnderWay { number: self.next_number, write, turn };
        if turn == Turn::Db {
            // Those that follow each other go together.
            match out.last_mut() {
                Some(StoreOutput::Db(writes)) => writes.push(under_way.for_db()),
                Some(_) | None => out.push(StoreOutput::Db(vec![under_way.for_db()])),
            }
        }
        self.under_way.insert(row, under_way);
    }

    /// The next write to a row that has none under way any more.
    fn write_next(&mut self, row: &RowId, out: &mut Vec<StoreOutput>) {
        let Some(queue) = self.queue.get_mut(row) else { return };
        let next = queue.pop_front();
        if queue.is_empty() {
            self.queue.remove(row);
        }
        if let Some(write) = next {
            self.write(write, out);
        }
    }

    fn written(&mut self, now: Time, write: &RowWrite, done: bool, out: &mut Vec<StoreOutput>) {
        let row = (write.table, write.key.clone());
        let Some(UnderWay { write, .. }) = self.under_way.remove(&row) else { return };
        if !done {
            // The peer may have been told of a deletion that does not come.
            self.compare(now, &row);
        } else if let Op::Set(fields) = &write.op {
            let kept = Deliveries::persistent(row.0, fields);
            self.counts(&row, Some(kept));
            self.outgoing.extend(self.deliveries.set(&row, fields));
            // As it is told by this very report: there is no need to look at it again.
            if let Some(reported) = &mut self.reported {
                let delivery = Delivery { fields: fields.clone(), consumed: false };
                reported.insert(row.clone(), delivery);
            }
        } else {
            self.counts(&row, None);
            // Told long ago, unless the connection came up in between.
            let sent = self.deliveries.vanished(&row);
            self.send(&row, sent);
            if let Some(reported) = &mut self.reported {
                reported.remove(&row);
            }
        }
        out.push(StoreOutput::Report(StoreUpdate::Written { write, done }));
        self.write_next(&row, out);
    }

    /// A row is known to be so.
    fn counts(&mut self, row: &RowId, fields: Option<Fields>) {
        self.strange.remove(row);
        for rows in [&mut self.rows, &mut self.stored] {
            match &fields {
                Some(fields) => rows.insert(row.clone(), fields.clone()),
                None => rows.remove(row),
            };
        }
    }

    fn read(&mut self, now: Time, rows: Vec<OwnedRow>) {
        self.stored = rows
            .into_iter()
            .map(|row| {
                let fields = Deliveries::persistent(row.table, &row.fields);
                ((row.table, row.key), fields)
            })
            .collect();
        if !self.is_open {
            self.is_open = true;
            self.strange.clear();
            self.touched.extend(self.rows.keys().chain(self.stored.keys()).cloned());
            self.rows.clone_from(&self.stored);
            if let Some(connection) = self.coming.take() {
                self.untold.clear();
                self.outgoing = self.deliveries.up(connection, self.rows.iter());
            } else {
                let all: BTreeSet<RowId> = self.rows.keys().chain(self.deliveries.rows()).cloned().collect();
                all.iter().for_each(|row| self.compare(now, row));
            }
        } else {
            let strange = differing(&self.rows, &self.stored);
            let since = |row: RowId| (row.clone(), self.strange.get(&row).copied().unwrap_or(now));
            self.strange = strange.into_iter().map(since).collect();
            if !self.is_linked() {
                self.accept(now, |_| true);
            }
        }
    }

    /// What somebody else did to rows counts.
    fn accept(&mut self, now: Time, which: impl Fn(Time) -> bool) {
        let strange: Vec<RowId> =
            self.strange.iter().filter(|(_, since)| which(**since)).map(|(row, _)| row.clone()).collect();
        for row in strange {
            let fields = self.stored.get(&row).cloned();
            self.counts(&row, fields);
            self.touched.insert(row.clone());
            self.compare(now, &row);
        }
    }

    /// Remembers a row that the peer was told otherwise.
    fn compare(&mut self, now: Time, row: &RowId) {
        let is_under_way = self.under_way.contains_key(row);
        if self.is_linked() && !is_under_way && !self.deliveries.is_told(row, self.rows.get(row)) {
            self.untold.entry(row.clone()).or_insert(now);
        } else {
            self.untold.remove(row);
        }
    }

    fn lost(&mut self, out: &mut Vec<StoreOutput>) {
        self.is_open = false;
        self.strange.clear();
        self.untold.clear();
        self.under_way.clear();
        self.queue.clear();
        self.reported = None;
        self.news = 0;
        out.push(StoreOutput::Report(StoreUpdate::Lost));
    }

    fn up(&mut self, connection: u64, out: &mut Vec<StoreOutput>) {
        self.coming = Some(connection);
        self.is_open = false;
        out.push(StoreOutput::Reopen);
        let mut writes: Vec<&UnderWay> = self.under_way.values().collect();
        writes.sort_unstable_by_key(|under_way| under_way.number);
        let writes: Vec<RowWrite> = writes.into_iter().map(UnderWay::for_db).collect();
        if !writes.is_empty() {
            out.push(StoreOutput::Db(writes));
        }
    }

    fn down(&mut self, now: Time, out: &mut Vec<StoreOutput>) {
        self.coming = None;
        self.deliveries.down();
        self.outgoing.clear();
        self.untold.clear();
        self.touched.extend(self.rows.keys().cloned());
        let waiting = self.under_way.values_mut().filter(|under_way| under_way.turn == Turn::Peer);
        let mut deletions: Vec<(u64, RowWrite)> = waiting
            .map(|under_way| {
                under_way.turn = Turn::Db;
                (under_way.number, under_way.for_db())
            })
            .collect();
        deletions.sort_unstable_by_key(|(number, _)| *number);
        if !deletions.is_empty() {
            out.push(StoreOutput::Db(deletions.into_iter().map(|(_, write)| write).collect()));
        }
        self.accept(now, |_| true);
    }

    fn acknowledged(&mut self, connection: u64, receipts: Vec<Receipt>, out: &mut Vec<StoreOutput>) {
        let mut deletions = Vec::new();
        self.touched.extend(receipts.iter().map(|(row, _)| row.clone()));
        for row in self.deliveries.acknowledged(connection, receipts) {
            if let Some(under_way) = self.under_way.get_mut(&row)
                && under_way.turn == Turn::Peer
            {
                under_way.turn = Turn::Db;
                deletions.push(under_way.for_db());
            }
        }
        if !deletions.is_empty() {
            out.push(StoreOutput::Db(deletions));
        }
    }

    fn tick(&mut self, now: Time) {
        let has_settled = |since: Time| now >= since.after_ms(SETTLE_MS);
        self.accept(now, has_settled);
        let untold: Vec<RowId> = self
            .untold
            .iter()
            .filter(|(_, since)| has_settled(**since))
            .map(|(row, _)| row.clone())
            .collect();
        for row in untold {
            self.untold.remove(&row);
            let sent = match self.rows.get(&row) {
                Some(fields) => self.deliveries.set(&row, fields),
                None => self.deliveries.vanished(&row),
            };
            self.send(&row, sent);
        }
    }

    /// Reports a snapshot if it tells anything new.
    ///
    /// It tells all rows, however few have changed: where they are many, and more is to come, it waits until enough have.
    fn report(&mut self, out: &mut Vec<StoreOutput>) {
        if !self.is_open {
            return;
        }
        let is_first = self.reported.is_none();
        let touched = std::mem::take(&mut self.touched);
        let touched = if is_first { self.rows.keys().cloned().collect() } else { touched };
        let reported = self.reported.get_or_insert_default();
        for row in touched {
            let present = self.rows.get(&row).map(|fields| self.deliveries.delivery(&row, fields));
            if reported.get(&row) != present.as_ref() {
                self.news += 1;
                match present {
                    Some(present) => reported.insert(row, present),
                    None => reported.remove(&row),
                };
            }
        }
        let is_more_to_come = !self.under_way.is_empty() || self.deliveries.is_any_unacknowledged();
        let is_cheap = reported.len() <= SNAPSHOT_ROWS_CHEAP || self.news >= reported.len() / 2;
        if !is_first && (self.news == 0 || (is_more_to_come && !is_cheap)) {
            return;
        }
        self.news = 0;
        let owned = |((table, key), delivery): (&RowId, &Delivery)| OwnedRow {
            table: *table,
            key: key.clone(),
            fields: delivery.fields.clone(),
            consumed: delivery.consumed,
        };
        out.push(StoreOutput::Report(StoreUpdate::Snapshot(reported.iter().map(owned).collect())));
    }
}

/// The rows that are not the same in both. One pass over both, since they are mostly the same.
fn differing(one: &BTreeMap<RowId, Fields>, other: &BTreeMap<RowId, Fields>) -> Vec<RowId> {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    let mut differing = Vec::new();
    loop {
        let first = match (one.peek(), other.peek()) {
            (Some((left, _)), Some((right, _))) => left.cmp(right),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return differing,
        };
        let left = if first.is_le() { one.next() } else { None };
        let right = if first.is_ge() { other.next() } else { None };
        if left.map(|(_, fields)| fields) != right.map(|(_, fields)| fields) {
            differing.extend(left.or(right).map(|(row, _)| row.clone()));
        }
    }
}

impl UnderWay {
    /// As the database is to have it.
    fn for_db(&self) -> RowWrite {
        let RowWrite { table, key, op } = &self.write;
        let op = match op {
            Op::Set(fields) => Op::Set(Deliveries::persistent(*table, fields)),
            Op::Merge(fields) => Op::Merge(fields.clone()),
            Op::Del => Op::Del,
        };
        RowWrite { table: *table, key: key.clone(), op }
    }
}
