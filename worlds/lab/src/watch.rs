//! Watches every database of the lab, and waits for what they should say.
//!
//! ```text
//!   swss::Reader (one per database)  ─┐
//!   keyspace::follow (one per server) ┼─ Seen, with its time ─► Watch ─► World, steps, report
//!   a second's tick                  ─┘
//! ```
//!
//! The lab never sleeps to synchronize: it waits here, with a deadline, and says what never became true.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use invariants::WriteSeen;
use schema::{Db, Table};
use swss::{Endpoint, Reader, Update};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::files::{Dirs, socket};
use crate::keyspace::{self, Heard, KeyWrite};
use crate::redis::endpoint;
use crate::topology::Topology;
use crate::world::{Changed, Place, Seen, What, World};

/// How much may be seen before anybody looks.
const SEEN_MAX: usize = 65_536;
/// How many rows a failed wait shows.
const SHOWN_MAX: usize = 12;

/// Something never became true.
#[derive(Debug, thiserror::Error)]
#[error("never became true within {waited_ms} ms: {what}\n{last}")]
pub struct NeverTrue {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub waited_ms: u128,
    /// The last changes that were seen, as text.
    pub last: String,
}

/// Told of everything that is seen, while it is seen.
pub trait Listener {
    /// Something was seen; the world has it already.
    fn seen(&mut self, world: &World, seen: &Seen);
    /// Time passes while the lab waits for `what`.
    fn waiting(&mut self, world: &World, what: &str, since: Instant);
}

/// The lab's eyes.
#[derive(Debug)]
pub struct Watch {
    seen: mpsc::Receiver<Seen>,
    world: World,
    /// When a row, or a key that is no heartbeat, was last written.
    disturbed: Instant,
    _readers: JoinSet<()>,
}

/// Tables of each place.
fn tables(db: Db) -> Vec<Table> {
    let ours = |table: &Table| table.db() == db && *table != Table::Port && *table != Table::PortTable;
    Table::ALL.iter().copied().filter(ours).collect()
}

impl Watch {
    /// Begins to watch. The servers need not run yet.
    pub fn start(dirs: &Dirs, topology: &Topology) -> Self {
        let (send, seen) = mpsc::channel(SEEN_MAX);
        let mut readers = JoinSet::new();
        for switch in topology.switches() {
            let (npu, chassis) = (dirs.npu(switch), dirs.chassis(switch));
            let place = Place::Npu(switch);
            for db in [Db::ConfigDb, Db::ApplDb, Db::StateDb] {
                readers.spawn(read(endpoint(&npu, db), place, send.clone()));
            }
            readers.spawn(read(endpoint(&chassis, Db::ChassisStateDb), place, send.clone()));
            let host = vec![Db::ConfigDb, Db::ApplDb, Db::StateDb];
            readers.spawn(writes(socket(&npu), place, host, send.clone()));
            readers.spawn(writes(socket(&chassis), place, vec![Db::ChassisStateDb], send.clone()));
        }
        for dpu in topology.dpus() {
            let dir = dirs.dpu_on_npu(dpu);
            let dbs = [Db::DpuApplDb, Db::DpuApplStateDb, Db::DpuStateDb];
            for db in dbs {
                readers.spawn(read(endpoint(&dir, db), Place::OnNpu(dpu), send.clone()));
            }
            readers.spawn(writes(socket(&dir), Place::OnNpu(dpu), dbs.to_vec(), send.clone()));
            let own = dirs.dpu(dpu);
            readers.spawn(read(endpoint(&own, Db::StateDb), Place::OnDpu(dpu), send.clone()));
            readers.spawn(writes(socket(&own), Place::OnDpu(dpu), Vec::new(), send.clone()));
        }
        Self { seen, world: World::default(), disturbed: Instant::now(), _readers: readers }
    }

    /// What is known of the databases.
    pub fn world(&self) -> &World {
        &self.world
    }

    fn take(&mut self, seen: &Seen, listener: &mut dyn Listener) {
        self.world.apply(seen);
        if write_seen(seen).is_some_and(|write| !invariants::quiet(&[write]).is_empty()) {
            self.disturbed = seen.at;
        }
        listener.seen(&self.world, seen);
    }

    /// Waits until nothing but heartbeats was written for that long.
    ///
    /// # Errors
    /// There is no such pause, in time.
    pub async fn still_for(
        &mut self,
        pause: Duration,
        within: Duration,
        listener: &mut dyn Listener,
    ) -> Result<(), NeverTrue> {
        let began = Instant::now();
        while self.disturbed.elapsed() < pause {
            if began.elapsed() > within {
                return Err(self.never("nothing but heartbeats is written any more", began));
            }
            let rest = pause.saturating_sub(self.disturbed.elapsed());
            self.for_a_while(rest, listener).await;
        }
        Ok(())
    }

    /// Waits until `check` gives something.
    ///
    /// # Errors
    /// It does not, in time.
    pub async fn until<T>(
        &mut self,
        what: &str,
        within: Duration,
        listener: &mut dyn Listener,
        mut check: impl FnMut(&World) -> Option<T>,
    ) -> Result<T, NeverTrue> {
        let began = Instant::now();
        let mut tick = began + Duration::from_secs(1);
        loop {
            if let Some(found) = check(&self.world) {
                return Ok(found);
            }
            tokio::select! {
                seen = self.seen.recv() => {
                    let Some(seen) = seen else { return Err(self.never(what, began)) };
                    self.take(&seen, listener);
                    // Whatever else is there already belongs to the same moment.
                    while let Ok(seen) = self.seen.try_recv() {
                        self.take(&seen, listener);
                    }
                }
                () = sleep_until(tick) => {
                    tick += Duration::from_secs(1);
                    listener.waiting(&self.world, what, began);
                }
                () = sleep_until(began + within) => return Err(self.never(what, began)),
            }
        }
    }

    /// Takes in whatever is seen next, and what came with it; returns whether there was anything, in time.
    pub async fn once(&mut self, within: Duration, listener: &mut dyn Listener) -> bool {
        let Ok(Some(seen)) = tokio::time::timeout(within, self.seen.recv()).await else { return false };
        self.take(&seen, listener);
        while let Ok(seen) = self.seen.try_recv() {
            self.take(&seen, listener);
        }
        true
    }

    /// Does `work` with open eyes.
    pub async fn during<T>(&mut self, listener: &mut dyn Listener, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                seen = self.seen.recv() => match seen {
                    Some(seen) => self.take(&seen, listener),
                    None => return work.await,
                },
            }
        }
    }

    /// Watches for so long, come what may: a measurement, not a wait.
    pub async fn for_a_while(&mut self, time: Duration, listener: &mut dyn Listener) {
        self.during(listener, tokio::time::sleep(time)).await;
    }

    /// The error for something that never became true.
    pub fn never(&self, what: &str, began: Instant) -> NeverTrue {
        let last: Vec<String> = self.world.last(SHOWN_MAX).map(|changed| shown(changed, began)).collect();
        NeverTrue {
            what: what.to_owned(),
            waited_ms: began.elapsed().as_millis(),
            last: format!("last seen:\n  {}", last.join("\n  ")),
        }
    }
}

/// A change in one line; times are relative to `zero`.
pub fn shown(changed: &Changed, zero: Instant) -> String {
    let Changed { at, place, table, key, fields } = changed;
    let ms = match at.checked_duration_since(zero) {
        Some(after) => format!("+{}", after.as_millis()),
        None => format!("-{}", zero.duration_since(*at).as_millis()),
    };
    let fields = fields.as_ref().map_or_else(|| "gone".to_owned(), |fields| format!("{fields:?}"));
    format!("{ms} ms {place} {} {table} {key} {fields}", table.db())
}

async fn read(endpoint: Endpoint, place: Place, out: mpsc::Sender<Seen>) {
    let db = endpoint.db;
    let mut reader = Reader::subscribe(&endpoint, &tables(db));
    loop {
        let update = reader.next().await;
        let at = Instant::now();
        let seen = |what| Seen { at, place, db, what };
        let sent = match update {
            Update::Changes(changes) => {
                let mut sent = Ok(());
                for change in changes {
                    sent = out.send(seen(What::Change(change))).await;
                }
                sent
            }
            Update::Synced => out.send(seen(What::Synced)).await,
            Update::Lost { .. } => out.send(seen(What::Lost)).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn writes(socket: PathBuf, place: Place, dbs: Vec<Db>, out: mpsc::Sender<Seen>) {
    let (send, mut writes) = mpsc::channel(1024);
    let first = dbs.first().copied().unwrap_or(Db::StateDb);
    let pass_on = async {
        while let Some(heard) = writes.recv().await {
            let at = Instant::now();
            let (db, what) = match heard {
                Heard::Answers => (first, What::Answers),
                Heard::Silent => (first, What::Silent),
                Heard::Write(KeyWrite { db, redis_key, op }) => (db, What::Write { redis_key, op }),
            };
            let seen = Seen { at, place, db, what };
            if out.send(seen).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = keyspace::follow(socket, dbs, send) => {}
        () = pass_on => {}
    }
}

/// The write that was seen, in the terms of P6.
pub fn write_seen(seen: &Seen) -> Option<WriteSeen> {
    match &seen.what {
        What::Write { redis_key, op } => Some(WriteSeen {
            place: seen.place.to_string(),
            db: seen.db,
            redis_key: redis_key.clone(),
            op: op.clone(),
        }),
        What::Change(_) | What::Synced | What::Lost | What::Answers | What::Silent => None,
    }
}
