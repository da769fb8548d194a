//! What is counted in every daemon.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::zmq_metrics::ZmqMetrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableLabel {
    db: &'static str,
    table: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DbLabel {
    db: &'static str,
}

/// The counters, shared by all tasks of a daemon. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    bad_rows: Family<TableLabel, Counter>,
    writes: Family<TableLabel, Counter>,
    refused_writes: Family<TableLabel, Counter>,
    connections_lost: Family<DbLabel, Counter>,
    batches: Counter,
    inputs: Counter,
    zmq: ZmqMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("smartswitch_ha");
        let bad_rows = Family::default();
        let writes = Family::default();
        let refused_writes = Family::default();
        let connections_lost = Family::default();
        let batches = Counter::default();
        let inputs = Counter::default();
        registry.register("bad_rows", "Rows that could not be understood, per change", bad_rows.clone());
        registry.register("writes", "Row writes carried out", writes.clone());
        registry.register("refused_writes", "Row writes that the server refused", refused_writes.clone());
        registry.register("connections_lost", "Database connections lost", connections_lost.clone());
        registry.register("batches", "Times that the core was given something", batches.clone());
        registry.register("inputs", "Inputs given to the core", inputs.clone());
        let zmq = ZmqMetrics::default();
        registry.register_collector(Box::new(zmq.clone()));
        Self {
            registry: Arc::new(Mutex::new(registry)),
            bad_rows,
            writes,
            refused_writes,
            connections_lost,
            batches,
            inputs,
            zmq,
        }
    }

    /// A row could not be understood.
    pub fn bad_row(&self, table: schema::Table) {
        self.bad_rows.get_or_create(&label(table)).inc();
    }

    /// A write was carried out, or refused.
    pub fn write(&self, table: schema::Table, done: bool) {
        let family = if done { &self.writes } else { &self.refused_writes };
        family.get_or_create(&label(table)).inc();
    }

    /// A database connection was lost.
    pub fn connection_lost(&self, db: schema::Db) {
        self.connections_lost.get_or_create(&DbLabel { db: db.name() }).inc();
    }

    /// The core was given a batch.
    pub fn batch(&self, inputs: usize) {
        self.batches.inc();
        self.inputs.inc_by(inputs as u64);
    }

    /// How many bad rows of the table were counted.
    pub fn bad_rows(&self, table: schema::Table) -> u64 {
        self.bad_rows.get_or_create(&label(table)).get()
    }

    /// Adds the link to the consumer of a DPU, named by its container.
    pub fn zmq_link(&self, dpu: String, link: Arc<swss::LinkStats>) {
        self.zmq.add_link(dpu, link);
    }

    /// Adds the socket that producers connect to.
    pub fn zmq_server(&self, server: Arc<swss::ServerStats>) {
        self.zmq.set_server(server);
    }

    /// Adds a daemon's own metrics.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Everything in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        match prometheus_client::encoding::text::encode(&mut text, &registry) {
            Ok(()) => text,
            Err(std::fmt::Error) => "# the metrics could not be encoded\n# EOF\n".to_owned(),
        }
    }
}

fn label(table: schema::Table) -> TableLabel {
    TableLabel { db: table.db().name(), table: table.name() }
}
