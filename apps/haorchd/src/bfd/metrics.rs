//! The counters of the built-in backend at the admin endpoint.

use std::sync::Arc;

use bfd_net::Totals;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

#[derive(Debug)]
struct BfdCollector(Arc<Totals>);

impl Collector for BfdCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Self(totals) = self;
        for (name, help, count) in totals.counters() {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let gauges = [
            ("bfd_sessions", "BFD sessions, those that only say farewell included", totals.sessions()),
            ("bfd_sessions_up", "BFD sessions that are up", totals.sessions_up()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let help = "BFD packets dropped";
        let mut family = encoder.encode_descriptor("bfd_drops", help, None, MetricType::Counter)?;
        for (reason, count) in totals.drops() {
            let labels = [("reason", reason.name())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

pub fn register(metrics: &shell::Metrics, totals: Arc<Totals>) {
    metrics.register(|registry| registry.register_collector(Box::new(BfdCollector(totals))));
}
