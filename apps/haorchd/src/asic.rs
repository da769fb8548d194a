//! The modelled ASIC and its sockets: one task, one UDP socket per local address of a HA set.
//!
//! ```text
//!   core ──AsicCall──► calls ─► AsicModel ─┬─Answer, Event─► inputs of the core
//!   peer ──datagram──► sockets ─►  ▲       └─datagram──────► sockets ─► peer
//!                             deadline
//!   NPU ──packet for a VIP──► DataPath: served, relayed to the peer, or dropped, as the model says
//! ```

mod data_path;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use asic_model::{AsicModel, Effect, Input, ModelConfig};
use haorch::AsicCall;
use reconcile::{Batch, Core, Time};
use schema::WallMs;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use self::data_path::DataPath;

/// How many datagrams are taken in at once from one socket. More wait in the kernel.
const DATAGRAMS_MAX: usize = 256;

/// Longer than any datagram of ours, so that a longer one is seen to be none.
const DATAGRAM_BYTES_READ: usize = asic_model::DATAGRAM_BYTES + 1;

/// How long to wait before an address that could not be bound is tried again.
const BIND_RETRY: Duration = Duration::from_secs(1);

/// Starts the ASIC. It ends when the core's queue does. Cancelling it is the ASIC losing power.
///
/// `seed` grows with each life of this DPU. `vip_listen` are the addresses at which packets for VIPs come in.
///
/// # Errors
/// One of these addresses cannot be had.
pub fn start(
    config: ModelConfig,
    seed: u64,
    vip_listen: &[SocketAddr],
    inputs: mpsc::Sender<haorch::Input>,
) -> std::io::Result<mpsc::UnboundedSender<AsicCall>> {
    // Bounded by the objects: a core has at most one call per object under way.
    let (calls, queue) = mpsc::unbounded_channel();
    let task = Task {
        model: AsicModel::new(seed, config),
        started: Instant::now(),
        sockets: Sockets::default(),
        data_path: DataPath::bind(vip_listen)?,
        calls: queue,
        inputs,
    };
    tokio::spawn(task.run());
    Ok(calls)
}

struct Task {
    model: AsicModel,
    started: Instant,
    sockets: Sockets,
    data_path: DataPath,
    calls: mpsc::UnboundedReceiver<AsicCall>,
    inputs: mpsc::Sender<haorch::Input>,
}

impl Task {
    async fn run(mut self) {
        loop {
            let model = self.model.next_deadline().map(|(at, _)| self.started + Duration::from_millis(at.0));
            let deadline = [model, self.sockets.retry_at].into_iter().flatten().min();
            let mut batch = Vec::new();
            tokio::select! {
                call = self.calls.recv() => match call {
                    Some(call) => batch.push(Input::Call(call)),
                    None => return,
                },
                () = readable(self.sockets.bound.values()) => {}
                () = readable(self.data_path.sockets()) => {}
                () = sleep_until(deadline) => {}
            }
            // A packet was sent for the state in which it finds us; what is told below may be another.
            self.data_path.forward(&self.model);
            // Whatever has come in meanwhile goes first: a process that was late must not find its peer lost.
            while let Ok(call) = self.calls.try_recv() {
                batch.push(Input::Call(call));
            }
            self.sockets.receive(&mut batch);
            let now = Time(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX));
            let mut effects = Vec::new();
            // The model writes no rows, so it needs no wall clock.
            self.model.handle(now, Batch { wall: WallMs(0), inputs: batch }, &mut effects);
            self.sockets.bind(&self.model);
            for effect in effects {
                let input = match effect {
                    Effect::Answer(answer) => haorch::Input::Answer(answer),
                    Effect::Event(event) => haorch::Input::Event(event),
                    Effect::Send { local, to, bytes } => {
                        self.sockets.send(local, to, &bytes);
                        continue;
                    }
                };
                if self.inputs.send(input).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// The sockets, by local address.
#[derive(Default)]
struct Sockets {
    bound: BTreeMap<SocketAddr, UdpSocket>,
    /// Addresses that could not be bound, and have been logged.
    refused: BTreeMap<SocketAddr, ErrorKind>,
    retry_at: Option<Instant>,
}

impl Sockets {
    /// Binds what the model listens at, and nothing else.
    fn bind(&mut self, model: &AsicModel) {
        let wanted = model.listens_at();
        self.bound.retain(|address, _| wanted.contains(address));
        self.refused.retain(|address, _| wanted.contains(address));
        let is_retry_due = self.retry_at.is_none_or(|at| at <= Instant::now());
        for address in wanted {
            if self.bound.contains_key(&address) || (self.refused.contains_key(&address) && !is_retry_due) {
                continue;
            }
            match bind(address) {
                Ok(socket) => {
                    tracing::info!(%address, "listening for the peer DPU");
                    self.refused.remove(&address);
                    self.bound.insert(address, socket);
                }
                Err(error) => {
                    if self.refused.insert(address, error.kind()) != Some(error.kind()) {
                        tracing::warn!(%address, %error, "cannot listen for the peer DPU; trying again");
                    }
                }
            }
        }
        if self.refused.is_empty() {
            self.retry_at = None;
        } else if is_retry_due {
            self.retry_at = Some(Instant::now() + BIND_RETRY);
        }
    }

    fn receive(&self, batch: &mut Vec<Input>) {
        let mut buffer = [0; DATAGRAM_BYTES_READ];
        for (local, socket) in &self.bound {
            for _ in 0..DATAGRAMS_MAX {
                match socket.try_recv_from(&mut buffer) {
                    Ok((length, from)) => {
                        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                        batch.push(Input::Datagram { local: *local, from, bytes });
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // Such as the peer's refusal of an earlier datagram: it is heard, or it is not.
                    Err(error) => tracing::debug!(%local, %error, "cannot receive"),
                }
            }
        }
    }

    /// A datagram that cannot be sent is lost; the next one says it all again.
    fn send(&self, local: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Some(socket) = self.bound.get(&local) else { return };
        if let Err(error) = socket.try_send_to(bytes, to) {
            tracing::debug!(%local, %to, %error, "cannot send");
        }
    }
}

/// Waits until a datagram has come in on one of them.
async fn readable(sockets: impl Iterator<Item = &UdpSocket> + Clone) {
    poll_fn(|context: &mut Context<'_>| {
        let mut ready = Poll::Pending;
        // Each socket must be asked, so that each wakes us.
        for socket in sockets.clone() {
            if socket.poll_recv_ready(context).is_ready() {
                ready = Poll::Ready(());
            }
        }
        ready
    })
    .await;
}

fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}
