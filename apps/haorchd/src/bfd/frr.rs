//! FRR's `bfdd` as a backend, spoken to by `vtysh` as SONiC's BfdMgr and bfdmon do.
//!
//! Each round asks `bfdd` what it has, says what is different from what is wanted, and asks again. A round follows whenever other
//! sessions are wanted, `bfdd` tells of a change on its control socket, something failed, and every 2 s in any case. So a
//! command that failed is repeated and a `bfdd` that was restarted is filled again. Nothing is listed as up that `bfdd` does
//! not show as up now.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bfdmgr::frr::{self, FrrPeer};
use bfdmgr::{Peer, Sessions};
use schema::dpu_appl_db::BfdKey;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{BfdBackend, CLOSE_MAX};

/// How often `bfdd` is asked although nothing seems to have happened, as bfdmon does.
const POLL: Duration = Duration::from_secs(2);

/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How long `vtysh` may take.
const VTYSH_MAX: Duration = Duration::from_secs(5);

/// How many rounds follow each other before others have their turn.
const ROUNDS_MAX: usize = 8;

/// `BMT_NOTIFY` of version 1 for peer states: FRR `bfdd/bfdctl.h`. Version, type, id (2), length (4), flags (8).
const SUBSCRIBE: [u8; 16] = [1, 4, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1];

#[derive(Debug, Error)]
enum VtyshError {
    #[error("cannot run vtysh")]
    Run(#[source] io::Error),
    #[error("vtysh did not answer within 5 s")]
    Timeout,
    #[error("vtysh failed ({status}): {output}")]
    Failed { status: std::process::ExitStatus, output: String },
    #[error("vtysh answered what cannot be understood")]
    Answer(#[from] frr::BadAnswer),
}

/// Sessions of a `bfdd`.
pub struct Frr {
    wanted: watch::Sender<Sessions>,
    /// What `bfdd` has; `None` until it was asked once.
    peers: watch::Receiver<Option<Vec<Peer>>>,
    task: JoinHandle<()>,
}

impl Frr {
    /// The `bfdd` whose sockets are in `directory`.
    pub fn start(directory: &Path) -> Self {
        let (wanted, wanted_receiver) = watch::channel(Sessions::new());
        let (sender, peers) = watch::channel(None);
        let task = Task {
            directory: directory.to_owned(),
            wanted: wanted_receiver,
            peers: sender,
            ours: BTreeSet::new(),
            last_error: None,
        };
        Self { wanted, peers, task: tokio::spawn(task.run()) }
    }
}

impl BfdBackend for Frr {
    fn want(&mut self, sessions: Sessions) {
        self.wanted.send_replace(sessions);
    }

    async fn next(&mut self) -> Vec<Peer> {
        loop {
            if self.peers.changed().await.is_err() {
                tracing::error!("the task that speaks to bfdd is gone");
                return std::future::pending().await;
            }
            if let Some(peers) = self.peers.borrow_and_update().clone() {
                return peers;
            }
        }
    }

    async fn close(mut self) {
        self.wanted.send_replace(Sessions::new());
        let is_closed = |peers: &Option<Vec<Peer>>| peers.iter().flatten().all(|peer| !peer.is_open);
        match tokio::time::timeout(CLOSE_MAX * 4, self.peers.wait_for(is_closed)).await {
            Ok(Ok(_)) => tracing::info!("BFD sessions closed"),
            Ok(Err(_)) | Err(_) => tracing::warn!("bfdd still has open sessions"),
        }
        self.task.abort();
    }
}

struct Task {
    directory: PathBuf,
    wanted: watch::Receiver<Sessions>,
    peers: watch::Sender<Option<Vec<Peer>>>,
    /// What we have added, and what is not yet gone of it.
    ours: BTreeSet<BfdKey>,
    /// So that one and the same failure is logged once.
    last_error: Option<String>,
}

impl Task {
    async fn run(mut self) {
        let mut control = None;
        loop {
            if control.is_none() {
                control = subscribe(&self.directory).await;
            }
            let is_settled = match self.rounds().await {
                Ok(is_settled) => {
                    if self.last_error.take().is_some() {
                        tracing::info!("bfdd answers again");
                    }
                    is_settled
                }
                Err(error) => {
                    self.complain(&error);
                    false
                }
            };
            let pause = if is_settled { POLL } else { RETRY };
            tokio::select! {
                changed = self.wanted.changed() => if changed.is_err() {
                    return;
                },
                is_alive = told(&mut control) => if !is_alive {
                    // It was restarted, or is gone.
                    control = None;
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Asks and says until there is nothing left to say; whether that was reached.
    async fn rounds(&mut self) -> Result<bool, VtyshError> {
        for _ in 0..ROUNDS_MAX {
            let shown = self.show().await?;
            let wanted = self.wanted.borrow_and_update().clone();
            self.ours.retain(|key| wanted.contains_key(key) || shown.iter().any(|peer| peer.key == *key));
            self.report(&shown);
            let calls = frr::commands(&wanted, &shown, &self.ours);
            if calls.is_empty() {
                return Ok(true);
            }
            self.ours.extend(wanted.into_keys());
            let mut failure = None;
            for frr::Command(arguments) in &calls {
                tracing::debug!(?arguments, "vtysh");
                // One bad session must not keep the others from coming up.
                if let Err(error) = self.vtysh(arguments).await {
                    failure = Some(error);
                }
            }
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(false)
    }

    /// What `bfdd` has. Asked twice before nothing of it is believed any more: a list of peers that are up must not outlive
    /// the sessions.
    async fn show(&mut self) -> Result<Vec<FrrPeer>, VtyshError> {
        let ask = async || -> Result<Vec<FrrPeer>, VtyshError> {
            Ok(frr::parse(&self.vtysh(&frr::SHOW.map(str::to_owned)).await?)?)
        };
        match ask().await {
            Ok(shown) => return Ok(shown),
            Err(error) => tracing::debug!(%error, "asking bfdd again"),
        }
        let second = ask().await;
        if second.is_err() {
            self.report(&[]);
        }
        second
    }

    async fn vtysh(&self, arguments: &[String]) -> Result<String, VtyshError> {
        let mut command = Command::new("vtysh");
        command.arg("--vty_socket").arg(&self.directory).args(arguments);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(VTYSH_MAX, command.output()).await;
        let output = output.map_err(|_| VtyshError::Timeout)?.map_err(VtyshError::Run)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !output.status.success() {
            let output_text = format!("{} {}", text(&output.stdout), text(&output.stderr));
            return Err(VtyshError::Failed { status: output.status, output: output_text });
        }
        Ok(text(&output.stdout))
    }

    fn report(&self, shown: &[FrrPeer]) {
        let mut peers: Vec<Peer> = shown.iter().map(|peer| peer.report(&self.ours)).collect();
        peers.sort();
        self.peers.send_if_modified(|present| {
            let is_new = present.as_ref() != Some(&peers);
            if is_new {
                *present = Some(peers);
            }
            is_new
        });
    }

    fn complain(&mut self, error: &VtyshError) {
        let text = error.to_string();
        if self.last_error.as_ref() != Some(&text) {
            let source = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(error = text, source, "bfdd cannot be spoken to; trying again");
            self.last_error = Some(text);
        }
    }
}

/// Asks `bfdd` to tell of every change of a session. Without that it is polled.
async fn subscribe(directory: &Path) -> Option<UnixStream> {
    let attempt = async {
        let mut stream = UnixStream::connect(directory.join("bfdd.sock")).await?;
        stream.write_all(&SUBSCRIBE).await?;
        Ok::<_, io::Error>(stream)
    };
    match attempt.await {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::debug!(%error, "no control socket of bfdd; it is polled");
            None
        }
    }
}

/// Waits until `bfdd` says something, whatever it is; false if it is gone. Cancel-safe: what is said is not kept.
async fn told(control: &mut Option<UnixStream>) -> bool {
    let Some(stream) = control else { return std::future::pending().await };
    let mut said = [0; 4096];
    match stream.read(&mut said).await {
        Ok(0) | Err(_) => false,
        Ok(_) => true,
    }
}
