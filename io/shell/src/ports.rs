//! Between tasks: readers feed inputs, stores take writes and report back.

use std::collections::BTreeMap;
use std::future::ready;

use reconcile::{RowWrite, StoreEvent, StoreUpdate, Write};
use schema::Db;
use swss::{Reader, Store, Update};
use tokio::sync::mpsc;

use crate::metrics::Metrics;

/// Feeds what a reader sees into the core's queue. The task ends with the queue.
pub fn feed<I: Send + 'static>(
    db: Db,
    reader: Reader,
    inputs: mpsc::Sender<I>,
    metrics: Metrics,
    into_inputs: impl FnMut(Update) -> Vec<I> + Send + 'static,
) {
    feed_late(db, ready(reader), inputs, metrics, into_inputs);
}

/// As [`feed`], for a reader of a database whose configuration file may still be missing.
pub fn feed_late<I: Send + 'static>(
    db: Db,
    reader: impl Future<Output = Reader> + Send + 'static,
    inputs: mpsc::Sender<I>,
    metrics: Metrics,
    mut into_inputs: impl FnMut(Update) -> Vec<I> + Send + 'static,
) {
    tokio::spawn(async move {
        let mut reader = reader.await;
        loop {
            let update = reader.next().await;
            if let Update::Lost { reason } = &update {
                metrics.connection_lost(db);
                tracing::warn!(%db, %reason, "connection lost; rows may be stale until it is back");
            }
            for input in into_inputs(update) {
                if inputs.send(input).await.is_err() {
                    return;
                }
            }
        }
    });
}

/// The stores that a daemon writes to, by place and database.
#[derive(Debug)]
pub struct StorePorts<P> {
    ports: BTreeMap<(P, Db), mpsc::UnboundedSender<Vec<RowWrite>>>,
}

impl<P: Ord> Default for StorePorts<P> {
    fn default() -> Self {
        Self { ports: BTreeMap::new() }
    }
}

impl<P: Ord + Clone + std::fmt::Debug + Send + 'static> StorePorts<P> {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a store; what it reports goes to `inputs` as `into_input` says. The store's task ends when the
    /// port or the queue is dropped.
    pub fn add<I: Send + 'static>(
        &mut self,
        place: P,
        db: Db,
        store: Store,
        inputs: mpsc::Sender<I>,
        metrics: Metrics,
        into_input: impl Fn(StoreEvent<P>) -> I + Send + 'static,
    ) {
        self.add_late(place, db, ready(store), inputs, metrics, into_input);
    }

    /// As [`StorePorts::add`], for a database whose configuration file may still be missing.
    pub fn add_late<I: Send + 'static>(
        &mut self,
        place: P,
        db: Db,
        store: impl Future<Output = Store> + Send + 'static,
        inputs: mpsc::Sender<I>,
        metrics: Metrics,
        into_input: impl Fn(StoreEvent<P>) -> I + Send + 'static,
    ) {
        // Bounded by the rows of the plan: a reconciler has at most one write per row under way.
        let (port, mut writes) = mpsc::unbounded_channel::<Vec<RowWrite>>();
        self.ports.insert((place.clone(), db), port);
        tokio::spawn(async move {
            let mut store = store.await;
            loop {
                let update = tokio::select! {
                    batch = writes.recv() => match batch {
                        Some(batch) => {
                            store.write(batch);
                            continue;
                        }
                        None => return,
                    },
                    update = store.next() => update,
                };
                match &update {
                    StoreUpdate::Written { write, done } => metrics.write(write.table, *done),
                    StoreUpdate::Lost => {
                        metrics.connection_lost(db);
                        tracing::warn!(%db, ?place, "connection lost; nothing is written until it is back");
                    }
                    StoreUpdate::Snapshot(_) => {}
                }
                let event = StoreEvent { place: place.clone(), db, update };
                if inputs.send(into_input(event)).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Stops writing to a place: its stores' tasks end.
    pub fn remove(&mut self, place: &P) {
        self.ports.retain(|(at, _), _| at != place);
    }

    /// Sends writes on their way, each store's in order. Never blocks.
    pub fn write(&self, writes: impl IntoIterator<Item = Write<P>>) {
        let mut batches: BTreeMap<(P, Db), Vec<RowWrite>> = BTreeMap::new();
        for Write { place, write } in writes {
            batches.entry((place, write.table.db())).or_default().push(write);
        }
        for (at, batch) in batches {
            for RowWrite { table, key, op } in &batch {
                tracing::debug!(place = ?at.0, %table, key, ?op, "write");
            }
            let sent = self.ports.get(&at).is_some_and(|port| port.send(batch).is_ok());
            if !sent {
                tracing::error!(place = ?at.0, db = %at.1, "no such store; the writes are dropped");
            }
        }
    }
}
