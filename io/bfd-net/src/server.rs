//! The handle of a running server.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bfd::{Counters, Diagnostic, Discriminator, Drops, Path, Remote, State, Timing, Wanted};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::events::{self, Events};
use crate::spec::ServerConfig;
use crate::task::{Request, Task};
use crate::totals::Totals;

/// Requests for a snapshot that may wait.
const REQUESTS_MAX: usize = 16;

/// Why a server cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// There is no runtime to run in, or it has no IO.
    #[error("no runtime to run BFD in")]
    Runtime(#[source] io::Error),
}

/// A session as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The state.
    pub state: State,
    /// Why it last changed, as our packets say.
    pub diagnostic: Diagnostic,
    /// Our discriminator.
    pub discriminator: Discriminator,
    /// What is known of the peer.
    pub remote: Option<Remote>,
    /// The timers in force.
    pub timing: Timing,
    /// Whether a Poll Sequence is under way.
    pub is_polling: bool,
    /// Whether it is no longer wanted and only tells its peer so.
    pub is_leaving: bool,
    /// What it has counted.
    pub counters: Counters,
}

/// All sessions at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The sessions.
    pub sessions: BTreeMap<Path, View>,
    /// All packets dropped, those of sessions that are gone included.
    pub drops: Drops,
}

/// What was wanted is in force: of sessions no longer wanted, AdminDown is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Applied(pub(crate) u64);

/// A running server. Dropping it ends the sessions without a word; see [`Server::close`].
#[derive(Debug)]
pub struct Server {
    wanted: watch::Sender<(Applied, Arc<Wanted>)>,
    applied: watch::Receiver<Applied>,
    requests: mpsc::Sender<Request>,
    totals: Arc<Totals>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts a server without sessions, as a task of the present runtime. Sockets are opened as sessions need them; one that
    /// cannot be bound is tried again every second, logged and counted.
    ///
    /// # Errors
    /// There is no runtime.
    pub fn start(config: ServerConfig) -> Result<(Self, Events), StartError> {
        let runtime = tokio::runtime::Handle::try_current();
        let runtime = runtime.map_err(|error| StartError::Runtime(io::Error::other(error)))?;
        let (sender, events) = events::channel();
        let (wanted, wanted_receiver) = watch::channel((Applied(0), Arc::default()));
        let (applied_sender, applied) = watch::channel(Applied(0));
        let (requests, requests_receiver) = mpsc::channel(REQUESTS_MAX);
        let totals = Arc::new(Totals::default());
        let task = Task::new(
            config,
            wanted_receiver,
            applied_sender,
            requests_receiver,
            Arc::clone(&totals),
            sender,
        );
        let task = runtime.spawn(task.run());
        Ok((Self { wanted, applied, requests, totals, task }, events))
    }

    /// Says which sessions ought to be: all of them, each time. Returns at once; [`Server::applied`] waits.
    pub fn want(&self, wanted: Wanted) -> Applied {
        let mut generation = Applied(0);
        self.wanted.send_modify(|(last, present)| {
            *last = Applied(last.0 + 1);
            *present = Arc::new(wanted);
            generation = *last;
        });
        generation
    }

    /// Waits until that is in force. Cancelling it changes nothing.
    pub async fn applied(&self, generation: Applied) {
        let mut applied = self.applied.clone();
        // An error means that the task is gone, and with it every session.
        if applied.wait_for(|present| *present >= generation).await.is_err() {
            tracing::error!("the BFD task is gone");
        }
    }

    /// All sessions as they are; empty if the task is gone.
    pub async fn snapshot(&self) -> Snapshot {
        let (reply, snapshot) = oneshot::channel();
        if self.requests.send(reply).await.is_err() {
            return Snapshot::default();
        }
        snapshot.await.unwrap_or_default()
    }

    /// What is counted over all sessions.
    pub fn totals(&self) -> Arc<Totals> {
        Arc::clone(&self.totals)
    }

    /// Takes all sessions down: AdminDown is on the wire within a few milliseconds. Then waits until every peer has answered, for
    /// `farewell_max` at most. Returns how many sessions were left without an answer.
    pub async fn close(self, farewell_max: Duration) -> usize {
        let generation = self.want(Wanted::new());
        self.applied(generation).await;
        let totals = Arc::clone(&self.totals);
        let gone = async {
            let mut applied = self.applied.clone();
            // Each turn of the task that may have ended a session tells.
            while totals.sessions() > 0 && applied.changed().await.is_ok() {}
        };
        if tokio::time::timeout(farewell_max, gone).await.is_err() {
            tracing::debug!(left = totals.sessions(), "not every BFD peer has answered the farewell");
        }
        self.task.abort();
        usize::try_from(totals.sessions()).unwrap_or(usize::MAX)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
