//! What the thin shells of all daemons have in common: command line, logs, metrics, the admin endpoint, the
//! recorder, and the one loop that turns inputs into effects.
//!
//! ```text
//!   swss::Reader ──decode──► input ─┐                          ┌─► StorePorts ──► swss::Store
//!   swss::Reader ──decode──► input ─┼─► run: core.handle(…) ───┤
//!   StorePorts  ──StoreEvent─► input┘        ▲                 └─► whatever else the daemon can do
//!                                        deadline
//! ```
//!
//! Each arrow into `run` is one bounded channel; one task owns the core. A shell holds no decision.

mod admin;
mod args;
mod decode;
mod logging;
mod metrics;
mod ports;
mod ready;
mod record;
mod run;
mod zmq_metrics;

pub use args::{DaemonArgs, DatabaseArgs, LogFormat};
pub use decode::{Decoded, RowDecoder};
pub use logging::init_logging;
pub use metrics::Metrics;
pub use ports::{StorePorts, feed, feed_late};
pub use ready::notify_ready;
pub use record::{RecordError, Recorder};
pub use run::{Farewell, INPUT_QUEUE_MAX, Shell, exit_code, random_seed};

#[cfg(test)]
mod tests;
