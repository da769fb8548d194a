//! The loop.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use reconcile::{Batch, Core, Time};
use schema::WallMs;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::admin::{self, StateRequest};
use crate::args::DaemonArgs;
use crate::metrics::Metrics;
use crate::record::Recorder;

/// How many inputs may wait for the core. A feeder waits when the queue is full.
pub const INPUT_QUEUE_MAX: usize = 4096;

/// How many inputs the core takes at once.
const BATCH_INPUTS_MAX: usize = 1024;

/// What a daemon does before it leaves: a last input, and when it may go.
pub struct Farewell<C: Core> {
    /// Given to the core on SIGTERM or SIGINT.
    pub input: C::Input,
    /// Whether everything that follows from it has been carried out.
    pub is_over: fn(&C) -> bool,
    /// It leaves after this time in any case.
    pub timeout: Duration,
}

/// The farewell was said.
struct Leaving<C> {
    at_last: Instant,
    is_over: fn(&C) -> bool,
}

/// The frame of a daemon: time, signals, recording, admin endpoint.
pub struct Shell {
    started: Instant,
    metrics: Metrics,
    recorder: Recorder,
    admin_address: Option<SocketAddr>,
    state_requests: mpsc::Receiver<StateRequest>,
    // Kept so that the channel never ends, also without an admin endpoint.
    _state_requests_sender: mpsc::Sender<StateRequest>,
}

impl Shell {
    /// Starts what the command line asks for.
    ///
    /// # Errors
    /// The record file cannot be created, or the admin address cannot be bound.
    pub async fn start(args: &DaemonArgs) -> anyhow::Result<Self> {
        let metrics = Metrics::new();
        let recorder = match &args.record {
            Some(path) => Recorder::create(path)?,
            None => Recorder::off(),
        };
        let (sender, state_requests) = mpsc::channel(16);
        let mut admin_address = None;
        if let Some(listen) = args.admin_listen {
            let served = admin::serve(listen, metrics.clone(), sender.clone()).await;
            admin_address =
                Some(served.with_context(|| format!("cannot serve the admin endpoint on {listen}"))?);
        }
        let started = Instant::now();
        Ok(Self { started, metrics, recorder, admin_address, state_requests, _state_requests_sender: sender })
    }

    /// Where the admin endpoint listens, if it does.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// The daemon's counters.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Gives the core its inputs, in batches, and calls it at its deadlines, until SIGTERM or SIGINT; then says
    /// the farewell, if there is one. `apply` gets all effects of a batch at once.
    ///
    /// # Errors
    /// Signals cannot be handled.
    pub async fn run<C>(
        mut self,
        core: &mut C,
        inputs: mpsc::Receiver<C::Input>,
        apply: impl FnMut(Vec<C::Effect>),
        farewell: Option<Farewell<C>>,
    ) -> anyhow::Result<()>
    where
        C: Core + Serialize,
        C::Input: Serialize,
    {
        self.recorder.begin(core);
        let ran = self.serve(core, inputs, apply, farewell).await;
        self.recorder.end(core);
        ran
    }

    async fn serve<C>(
        &mut self,
        core: &mut C,
        mut inputs: mpsc::Receiver<C::Input>,
        mut apply: impl FnMut(Vec<C::Effect>),
        farewell: Option<Farewell<C>>,
    ) -> anyhow::Result<()>
    where
        C: Core + Serialize,
        C::Input: Serialize,
    {
        let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
        let mut queued = Vec::with_capacity(BATCH_INPUTS_MAX);
        let mut leaving: Option<Leaving<C>> = None;
        let mut farewell = farewell;
        loop {
            let core_deadline =
                core.next_deadline().map(|(time, _)| self.started + Duration::from_millis(time.0));
            let deadline =
                [core_deadline, leaving.as_ref().map(|leaving| leaving.at_last)].into_iter().flatten().min();
            tokio::select! {
                count = inputs.recv_many(&mut queued, BATCH_INPUTS_MAX) => if count == 0 {
                    return Ok(());
                },
                () = sleep_until(deadline) => {}
                Some(request) = self.state_requests.recv() => {
                    let state = serde_json::to_value(&*core).unwrap_or_else(|error| error.to_string().into());
                    if request.send(state).is_err() {
                        tracing::debug!("whoever asked for the state is gone");
                    }
                    continue;
                }
                signal = first_of(&mut terminate, &mut interrupt) => {
                    tracing::info!(signal, "leaving");
                    let Some(last) = farewell.take() else { return Ok(()) };
                    leaving = Some(Leaving { at_last: Instant::now() + last.timeout, is_over: last.is_over });
                    queued.push(last.input);
                }
            }
            let batch = Batch { wall: wall_now(), inputs: std::mem::take(&mut queued) };
            let now = self.now();
            self.metrics.batch(batch.inputs.len());
            self.recorder.record(now, &batch);
            let mut effects = Vec::new();
            core.handle(now, batch, &mut effects);
            if !effects.is_empty() {
                apply(effects);
            }
            if let Some(Leaving { at_last, is_over }) = &leaving
                && (is_over(core) || *at_last <= Instant::now())
            {
                return Ok(());
            }
        }
    }
}

async fn first_of(
    terminate: &mut tokio::signal::unix::Signal,
    interrupt: &mut tokio::signal::unix::Signal,
) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn wall_now() -> WallMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// The exit code of a daemon (DESIGN 8): 0 asked to leave, 3 could not reach what it needs, which is logged. Wrong
/// use, 2, is for the command line's parser to say.
pub fn exit_code(ran: anyhow::Result<()>) -> ExitCode {
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(3)
        }
    }
}

/// A seed for ids, from the operating system.
///
/// # Errors
/// `/dev/urandom` cannot be read.
pub fn random_seed() -> std::io::Result<u64> {
    use std::io::Read;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
