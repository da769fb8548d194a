//! Links and sockets of the ZMQ tables as metrics, read when somebody asks.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use swss::{LinkStats, ServerStats};

/// What there is to ask.
#[derive(Debug, Default)]
struct Sources {
    /// By the DPU's container.
    links: Vec<(String, Arc<LinkStats>)>,
    server: Option<Arc<ServerStats>>,
}

/// Shared by the registry and whoever adds to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ZmqMetrics(Arc<Mutex<Sources>>);

/// Name, help, type and value.
type Metric<S> = (&'static str, &'static str, MetricType, fn(&S) -> u64);

const OF_A_LINK: &[Metric<LinkStats>] = &[
    ("zmq_link_up", "Whether the DPU's consumer is connected", MetricType::Gauge, |link| link.is_up().into()),
    ("zmq_waiting_rows", "Rows that wait to be sent", MetricType::Gauge, LinkStats::waiting),
    (
        "zmq_unacknowledged_rows",
        "Rows sent and not acknowledged",
        MetricType::Gauge,
        LinkStats::unacknowledged,
    ),
    ("zmq_connections", "Handshakes done", MetricType::Counter, LinkStats::connections),
    ("zmq_failures", "Connections that did not come about", MetricType::Counter, LinkStats::failures),
    ("zmq_sent_rows", "Rows handed to the link", MetricType::Counter, LinkStats::rows_sent),
    ("zmq_acknowledged_rows", "Rows acknowledged", MetricType::Counter, LinkStats::rows_acknowledged),
    ("zmq_refused_rows", "Rows that could not be sent", MetricType::Counter, LinkStats::rows_refused),
    ("zmq_sent_bytes", "Bytes written to the socket", MetricType::Counter, LinkStats::bytes_sent),
];

const OF_A_SERVER: &[Metric<ServerStats>] = &[
    ("zmq_producers", "Producers connected", MetricType::Gauge, ServerStats::producers),
    ("zmq_accepted_connections", "Connections accepted", MetricType::Counter, ServerStats::connections),
    ("zmq_messages", "Messages taken", MetricType::Counter, ServerStats::messages),
    ("zmq_rows", "Rows in them", MetricType::Counter, ServerStats::rows),
    (
        "zmq_refused_messages",
        "Messages and rows that were refused",
        MetricType::Counter,
        ServerStats::refused,
    ),
    (
        "zmq_unknown_messages",
        "Messages for tables that are not consumed",
        MetricType::Counter,
        ServerStats::unknown,
    ),
];

impl ZmqMetrics {
    pub(crate) fn add_link(&self, dpu: String, link: Arc<LinkStats>) {
        self.lock().links.push((dpu, link));
    }

    pub(crate) fn set_server(&self, server: Arc<ServerStats>) {
        self.lock().server = Some(server);
    }

    fn lock(&self) -> MutexGuard<'_, Sources> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for ZmqMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let sources = self.lock();
        if !sources.links.is_empty() {
            for (name, help, kind, value) in OF_A_LINK {
                let mut family = encoder.encode_descriptor(name, help, None, *kind)?;
                for (dpu, link) in &sources.links {
                    let labels = [("dpu", dpu.as_str())];
                    put(value(link), *kind, family.encode_family(&labels)?)?;
                }
            }
        }
        if let Some(server) = &sources.server {
            for (name, help, kind, value) in OF_A_SERVER {
                put(value(server), *kind, encoder.encode_descriptor(name, help, None, *kind)?)?;
            }
        }
        Ok(())
    }
}

fn put(
    value: u64,
    kind: MetricType,
    encoder: prometheus_client::encoding::MetricEncoder<'_>,
) -> Result<(), fmt::Error> {
    if matches!(kind, MetricType::Counter) {
        ConstCounter::new(value).encode(encoder)
    } else {
        ConstGauge::new(value).encode(encoder)
    }
}
