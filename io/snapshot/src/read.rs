//! Reading them all, side by side.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use invariants::{DpuSnapshot, Rows, Snapshot, SwitchSnapshot, Unread};
use schema::{Db, Slot, Table, WallMs, config_db};
use swss::{Connection, Endpoint};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::source::{Local, Switch, chain};

/// How many databases are read at once.
const AT_ONCE_MAX: usize = 256;
/// How long a DPU's own database may take: it is a few milliseconds away, or behind a filter.
const LOCAL_TIMEOUT: Duration = Duration::from_millis(250);

/// One database, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseRead {
    /// The switch.
    pub switch: String,
    /// The DPU, where the database is one of a DPU's.
    pub slot: Option<Slot>,
    /// The database.
    pub db: Db,
    /// When the reading of it began.
    pub began: WallMs,
    /// How long it took.
    pub took: Duration,
    /// The number of rows, or why there are none.
    pub rows: Result<usize, String>,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The rows. Where a database could not be read, they are missing.
    pub snapshot: Snapshot,
    /// What could not be read.
    pub unread: Unread,
    /// Each database, in the order of the switches and their databases. A DPU's own is not among them.
    pub databases: Vec<DatabaseRead>,
}

impl Reading {
    /// Several readings as one.
    pub fn of_all(readings: &[Reading]) -> Self {
        let mut all = Self::default();
        for reading in readings {
            all.snapshot.switches.extend(reading.snapshot.switches.iter().cloned());
            all.databases.extend(reading.databases.iter().cloned());
        }
        all.note_unread();
        all
    }

    fn note_unread(&mut self) {
        let (databases, unread) = (&self.databases, &mut self.unread);
        for read in databases.iter().filter(|read| read.rows.is_err()) {
            unread.add(&read.switch, read.slot, read.db);
        }
    }

    /// The databases that could not be read, and why.
    pub fn failures(&self) -> impl Iterator<Item = (&DatabaseRead, &str)> {
        self.databases.iter().filter_map(|read| Some((read, read.rows.as_ref().err()?.as_str())))
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.databases.iter().filter_map(|read| read.rows.as_ref().ok()).sum()
    }

    /// When the first database was read, and how long after that the last had been.
    pub fn span(&self) -> Option<(WallMs, Duration)> {
        let began = self.databases.iter().map(|read| read.began).min()?;
        let end =
            |read: &DatabaseRead| read.began.0 + i64::try_from(read.took.as_millis()).unwrap_or(i64::MAX);
        let ended = self.databases.iter().map(end).max()?;
        Some((began, Duration::from_millis(u64::try_from(ended - began.0).unwrap_or_default())))
    }
}

/// What one database gave.
struct Found {
    rows: Vec<(Table, String, schema::Fields)>,
    unconsumed: Vec<(Table, String)>,
}

/// Whose database it is, by position: a switch's, or that of one of its DPUs.
type At = (usize, Option<usize>);

/// Reads every database of these switches, each within `limit`. It takes little more than the slowest of them.
pub async fn read(switches: &[Switch], limit: Duration) -> Reading {
    let seats = Arc::new(Semaphore::new(AT_ONCE_MAX));
    let mut reading = Reading { snapshot: empty(switches), ..Reading::default() };
    let mut under_way = JoinSet::new();
    let mut reads: Vec<(At, DatabaseRead)> = Vec::new();
    for (s, switch) in switches.iter().enumerate() {
        for (slot, database) in switch.all() {
            let (number, at) = (reads.len(), (s, switch.dpus.iter().position(|dpu| Some(dpu.slot) == slot)));
            let (switch, db) = (switch.name.clone(), database.db);
            let (began, took, rows) = (wall(), Duration::ZERO, Err("it was not read".to_owned()));
            reads.push((at, DatabaseRead { switch, slot, db, began, took, rows }));
            let (endpoint, seats) = (database.endpoint.clone(), seats.clone());
            under_way.spawn(async move {
                let seat = seats.acquire_owned().await;
                let (began, clock) = (wall(), Instant::now());
                let found = match (endpoint, seat) {
                    (Ok(endpoint), Ok(_seat)) => within(limit, &endpoint).await,
                    (Err(reason), _) => Err(reason),
                    (_, Err(closed)) => Err(closed.to_string()),
                };
                (number, began, clock.elapsed(), found)
            });
        }
    }
    while let Some(done) = under_way.join_next().await {
        // A task that panicked leaves its database unread.
        let Ok((number, began, took, found)) = done else { continue };
        let Some((at, read)) = reads.get_mut(number) else { continue };
        (read.began, read.took) = (began, took);
        read.rows = found.map(|found| put(&mut reading.snapshot, *at, found));
    }
    reading.databases = reads.into_iter().map(|(_, read)| read).collect();
    reading.note_unread();
    read_locals(switches, &mut reading.snapshot, limit).await;
    reading
}

/// The DPUs' own databases, as far as they answer.
async fn read_locals(switches: &[Switch], snapshot: &mut Snapshot, limit: Duration) {
    let mut under_way = JoinSet::new();
    for (s, switch) in switches.iter().enumerate() {
        for (d, dpu) in switch.dpus.iter().enumerate() {
            let (endpoint, limit) = match &dpu.local {
                Local::Unasked => continue,
                Local::At(endpoint) => (Some(endpoint.clone()), limit),
                Local::OnMidplane => {
                    let rows = snapshot.switches.get(s).map(|switch| &switch.rows);
                    let address = rows.and_then(|rows| midplane(rows, dpu.slot));
                    (address.and_then(|address| switch.on_midplane(address)), limit.min(LOCAL_TIMEOUT))
                }
            };
            let Some(endpoint) = endpoint else { continue };
            under_way.spawn(async move { (s, d, within(limit, &endpoint).await) });
        }
    }
    while let Some(done) = under_way.join_next().await {
        let Ok((s, d, Ok(found))) = done else { continue };
        let dpu = snapshot.switches.get_mut(s).and_then(|switch| switch.dpus.get_mut(d));
        let Some(dpu) = dpu else { continue };
        let mut rows = Rows::new();
        found.rows.into_iter().for_each(|(table, key, fields)| rows.insert(table, key, fields));
        dpu.local = Some(rows);
    }
}

fn midplane(rows: &Rows, slot: Slot) -> Option<std::net::Ipv4Addr> {
    let dpus = rows.typed::<config_db::Dpu>();
    dpus.into_iter().find(|(_, dpu)| dpu.dpu_id == slot).and_then(|(_, dpu)| dpu.midplane_ipv4)
}

fn empty(switches: &[Switch]) -> Snapshot {
    let dpu = |dpu: &crate::Dpu| DpuSnapshot {
        slot: dpu.slot,
        rows: Rows::new(),
        unconsumed: BTreeSet::new(),
        local: None,
    };
    let switch = |switch: &Switch| SwitchSnapshot {
        name: switch.name.clone(),
        rows: Rows::new(),
        dpus: switch.dpus.iter().map(dpu).collect(),
    };
    Snapshot { switches: switches.iter().map(switch).collect() }
}

/// Adds what was found; returns how many rows that is.
fn put(snapshot: &mut Snapshot, (switch, dpu): At, found: Found) -> usize {
    let count = found.rows.len();
    let Some(switch) = snapshot.switches.get_mut(switch) else { return 0 };
    let rows = match dpu.and_then(|dpu| switch.dpus.get_mut(dpu)) {
        Some(dpu) => {
            dpu.unconsumed.extend(found.unconsumed);
            &mut dpu.rows
        }
        None => &mut switch.rows,
    };
    found.rows.into_iter().for_each(|(table, key, fields)| rows.insert(table, key, fields));
    count
}

async fn within(limit: Duration, endpoint: &Endpoint) -> Result<Found, String> {
    match tokio::time::timeout(limit, find(endpoint)).await {
        Ok(found) => found.map_err(|error| chain(&error)),
        Err(_) => Err(format!("{endpoint} did not answer within {} ms", limit.as_millis())),
    }
}

/// Two round trips where the database is small: all keys, then all rows. What waits for a consumer is asked for
/// first, so that a row that is consumed meanwhile counts as waiting, and a second look corrects it.
async fn find(endpoint: &Endpoint) -> Result<Found, swss::Error> {
    let connection = Connection::open(endpoint).await?;
    let tables: Vec<Table> =
        Table::ALL.iter().copied().filter(|table| table.db() == endpoint.db && is_of_ha(*table)).collect();
    let mut unconsumed = Vec::new();
    if endpoint.db == Db::DpuApplDb {
        for table in &tables {
            let keys = connection.unconsumed(*table).await?;
            unconsumed.extend(keys.into_iter().map(|key| (*table, key)));
        }
    }
    let rows = connection.rows_of(&tables).await?;
    let rows = rows.into_iter().map(|((table, key), fields)| (table, key, fields)).collect();
    Ok(Found { rows, unconsumed })
}

/// All but the ports: a switch has hundreds, and no invariant is about them.
fn is_of_ha(table: Table) -> bool {
    table != Table::Port && table != Table::PortTable
}

fn wall() -> WallMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
