//! A consumer's tasks: one that listens and asks the database, one per producer.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::{Difference, Report};
use reconcile::Time;
use schema::Table;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use zmq::message::Message;
use zmq::{ConsumerSession, Holdings, NotTaken, RowId, SessionEffect, SessionEvent};

use crate::reader::Outbox;
use crate::zmq::ZmqAddress;
use crate::zmq::producer::sleep_until;
use crate::zmq::socket::{Listener, Stream};
use crate::zmq::stats::{ServerStats, add};
use crate::zmq::wire::{Moved, Wire, moved};
use crate::{Connection, Endpoint, Reader};

/// How many producers may be connected. SONiC's hamgrd has a connection per table.
const PRODUCERS_MAX: usize = 64;
/// How many bytes of answers a producer may leave unread.
const UNREAD_ANSWERS_BYTES_MAX: usize = 64 * 1024;
/// How long to wait before listening, or accepting, is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// What the tasks of a consumer share. Never locked across an await.
struct Shared {
    started: Instant,
    holdings: Mutex<Holdings>,
    /// There may be something new to ask the database.
    asking: Notify,
    outbox: Arc<Outbox>,
    stats: Arc<ServerStats>,
}

impl Shared {
    fn now(&self) -> Time {
        Time(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn holdings(&self) -> MutexGuard<'_, Holdings> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, differences: Vec<Difference>) {
        self.outbox.put(Report { differences, synced: false });
    }
}

pub(crate) struct Consumer {
    address: ZmqAddress,
    endpoint: Endpoint,
    tables: Vec<Table>,
    shared: Arc<Shared>,
    /// Ends with the consumer.
    sessions: JoinSet<()>,
    accepted: u64,
}

impl Consumer {
    /// Runs for ever. Cancelling it closes all connections.
    async fn run(mut self) {
        let listener = self.listen().await;
        let shared = self.shared.clone();
        self.shared.outbox.put(Report { differences: Vec::new(), synced: true });
        loop {
            let ask_at = shared.holdings().ask_at().map(|at| shared.started + Duration::from_millis(at.0));
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => self.accept(stream, from),
                    Err(error) => {
                        tracing::warn!(address = %self.address, %error, "cannot accept a producer");
                        tokio::time::sleep(RETRY).await;
                    }
                },
                Some(_) = self.sessions.join_next() => {}
                () = shared.asking.notified() => {}
                () = sleep_until(ask_at) => self.ask().await,
            }
        }
    }

    /// Listens, as soon as that is possible: the midplane's address may come late.
    async fn listen(&self) -> Listener {
        let mut was_told = false;
        loop {
            match Listener::bind(&self.address) {
                Ok(listener) => {
                    let address = listener.address().unwrap_or_else(|| self.address.clone());
                    tracing::info!(%address, "listening for producers");
                    self.shared.stats.set_address(address);
                    return listener;
                }
                Err(error) if was_told => {
                    tracing::debug!(address = %self.address, %error, "still cannot listen")
                }
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, "cannot listen for producers; will keep trying");
                    was_told = true;
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn accept(&mut self, stream: Box<dyn Stream>, from: String) {
        add(&self.shared.stats.connections, 1);
        if self.sessions.len() >= PRODUCERS_MAX {
            tracing::warn!(from, "too many producers: this one is refused");
            return;
        }
        self.accepted += 1;
        let session =
            Session { number: self.accepted, from, shared: self.shared.clone(), is_up: false, warnings: 0 };
        self.sessions.spawn(session.run(stream));
    }

    /// Asks the database which of the rows whose producer is gone it holds.
    async fn ask(&self) {
        let present = self.present().await;
        let now = self.shared.now();
        let gone = match &present {
            Ok(present) => self.shared.holdings().asked(now, Some(present)),
            Err(error) => {
                tracing::debug!(endpoint = %self.endpoint, %error, "cannot ask which rows are still there");
                self.shared.holdings().asked(now, None)
            }
        };
        for Difference { row: (table, key), .. } in &gone {
            tracing::info!(%table, key, "its deletion was lost with its producer: dropped");
        }
        self.shared.report(gone);
    }

    async fn present(&self) -> Result<BTreeSet<RowId>, crate::Error> {
        if self.shared.holdings().orphans().next().is_none() {
            return Ok(BTreeSet::new());
        }
        let connection = Connection::open(&self.endpoint).await?;
        Ok(connection.rows_of(&self.tables).await?.into_keys().collect())
    }
}

/// One producer.
struct Session {
    number: u64,
    from: String,
    shared: Arc<Shared>,
    is_up: bool,
    /// How many messages were refused, of which only the first is worth a warning.
    warnings: u64,
}

impl Session {
    async fn run(mut self, stream: Box<dyn Stream>) {
        let shared = self.shared.clone();
        let mut effects = Vec::new();
        let mut session = ConsumerSession::new(shared.now(), &mut effects);
        let mut wire = Some(Wire::new(stream));
        let reason = loop {
            if let Some(reason) = self.apply(&mut effects, &mut wire) {
                flush(&mut wire).await;
                break reason;
            }
            let deadline =
                session.next_deadline().map(|(at, _)| shared.started + Duration::from_millis(at.0));
            let moved = tokio::select! {
                moved = moved(&mut wire) => Some(moved),
                () = sleep_until(deadline) => None,
            };
            let event = match moved {
                None => SessionEvent::Tick,
                Some(Ok(Moved::In(bytes))) => SessionEvent::Received(bytes),
                Some(Ok(Moved::Out(_))) => continue,
                Some(Err(error)) if session.is_within() => break format!("{error}, within a message"),
                Some(Err(error)) => break error.to_string(),
            };
            session.handle(shared.now(), event, &mut effects);
        };
        self.closed(&reason);
    }

    /// Carries effects out; returns why the connection is to end, if it is.
    fn apply(&mut self, effects: &mut Vec<SessionEffect>, wire: &mut Option<Wire>) -> Option<String> {
        for effect in effects.drain(..) {
            match effect {
                SessionEffect::Transmit(bytes) => {
                    let wire = wire.as_mut()?;
                    wire.put(&bytes);
                    if wire.waiting() > UNREAD_ANSWERS_BYTES_MAX {
                        return Some("it asks and does not read the answers".to_owned());
                    }
                }
                SessionEffect::Up => self.up(),
                SessionEffect::Message(message) => {
                    if let Some(reason) = self.take(message) {
                        return Some(reason);
                    }
                }
                SessionEffect::Dropped { reason } => self.refuse(&reason, 1),
                SessionEffect::Close { reason } => return Some(reason),
            }
        }
        None
    }

    fn up(&mut self) {
        tracing::info!(from = self.from, session = self.number, "producer connected");
        self.is_up = true;
        add(&self.shared.stats.producers, 1);
        self.shared.holdings().opened(self.shared.now(), self.number);
        self.shared.asking.notify_one();
    }

    /// Takes a message; returns why the connection is to end, if it is.
    fn take(&mut self, message: Message) -> Option<String> {
        let stats = &self.shared.stats;
        add(&stats.messages, 1);
        add(&stats.rows, message.rows.len());
        let (db, table, unreadable) = (message.db.clone(), message.table.clone(), message.unreadable_rows);
        let taken = {
            let mut holdings = self.shared.holdings();
            // Reported while it is locked, so that two producers' changes of a row are reported in order.
            holdings.take(self.number, message).map(|changes| self.shared.report(changes))
        };
        match taken {
            Ok(()) => {}
            Err(NotTaken::Unknown) => {
                add(&stats.unknown, 1);
                self.warn(&format!("{db} {table} is no table that is consumed here"));
            }
            Err(NotTaken::Superseded) => {
                add(&stats.refused, 1);
                return Some(format!("a producer that connected later has spoken of {db} {table}"));
            }
        }
        if unreadable > 0 {
            self.refuse(&format!("{db} {table}: rows whose key or fields are not UTF-8"), unreadable);
        }
        None
    }

    fn refuse(&mut self, reason: &str, count: usize) {
        add(&self.shared.stats.refused, count);
        self.warn(reason);
    }

    fn warn(&mut self, reason: &str) {
        self.warnings += 1;
        match self.warnings {
            1 => tracing::warn!(
                from = self.from,
                session = self.number,
                reason,
                "refused a message; it is dropped"
            ),
            _ => tracing::debug!(
                from = self.from,
                session = self.number,
                reason,
                "refused a message; it is dropped"
            ),
        }
    }

    fn closed(&self, reason: &str) {
        if self.is_up {
            self.shared.stats.producers.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            self.shared.holdings().closed(self.shared.now(), self.number);
            self.shared.asking.notify_one();
            tracing::info!(from = self.from, session = self.number, reason, "producer gone; its rows stay");
        } else {
            tracing::warn!(from = self.from, reason, "this was no producer");
        }
    }
}

/// Gives the peer a moment to be told why it is left.
async fn flush(wire: &mut Option<Wire>) {
    const MOMENT: Duration = Duration::from_millis(100);
    let written = async {
        while wire.as_ref().is_some_and(|wire| wire.waiting() > 0) {
            moved(wire).await?;
        }
        io::Result::Ok(())
    };
    match tokio::time::timeout(MOMENT, written).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "could not say why"),
        Err(_) => tracing::debug!("could not say why in time"),
    }
}

impl Reader {
    /// Listens for producers, as a `ZmqConsumerStateTable` does (`reference/swss-wire.md` 5). Must be called within a
    /// tokio runtime.
    ///
    /// [`crate::Update::Synced`] is reported once it listens: nothing is read from the database at the start, since
    /// whoever produces sends everything anew. Rows stay when their producer goes. Rows that came on a connection that
    /// is over, and that neither the next producer sends nor the database at `endpoint` holds, are reported gone: their
    /// deletion died with the producer.
    ///
    /// Never [`crate::Update::Lost`]. A message that is none is counted, logged and dropped.
    pub fn serve_zmq(address: &ZmqAddress, endpoint: &Endpoint, tables: &[Table]) -> Reader {
        let tables: Vec<Table> = tables.to_vec();
        let outbox = Arc::new(Outbox::default());
        let stats = Arc::new(ServerStats::default());
        let shared = Arc::new(Shared {
            started: Instant::now(),
            holdings: Mutex::new(Holdings::new(tables.iter().copied())),
            asking: Notify::new(),
            outbox: outbox.clone(),
            stats: stats.clone(),
        });
        let consumer = Consumer {
            address: address.clone(),
            endpoint: endpoint.clone(),
            tables,
            shared,
            sessions: JoinSet::new(),
            accepted: 0,
        };
        Self::started(outbox, tokio::spawn(consumer.run()).abort_handle(), Some(stats))
    }
}
