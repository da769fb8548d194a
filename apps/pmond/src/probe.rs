//! Probing the midplane: one datagram to every DPU at once, one round per interval.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use pmon::{NpuInput, Target};
use schema::Slot;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// How a platform finds out whether a DPU answers on the midplane.
pub trait MidplaneProbe: Send + 'static {
    /// Asks all targets at the same time, and calls `answered` as soon as one answers. Returns when all have, or at the
    /// deadline. What cannot even be sent counts as not answered. May be cancelled.
    fn round(
        &mut self,
        targets: &[Target],
        deadline: Instant,
        answered: impl FnMut(Target) + Send,
    ) -> impl Future<Output = ()> + Send;
}

/// The kinds of probes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// ICMP echo, on a socket that needs no privilege.
    Icmp,
    /// A datagram to this UDP port, which has to come back as it is.
    Udp(u16),
}

impl FromStr for ProbeKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = text.strip_prefix("udp:").and_then(|port| port.parse().ok()).filter(|port| *port != 0);
        match (text, port) {
            ("icmp", _) => Ok(Self::Icmp),
            (_, Some(port)) => Ok(Self::Udp(port)),
            (_, None) => Err("expected icmp, or udp:PORT with a port from 1 to 65535".to_owned()),
        }
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Icmp => f.write_str("icmp"),
            Self::Udp(port) => write!(f, "udp:{port}"),
        }
    }
}

/// The socket for probes could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The kernel lets nobody of this process's group send ICMP echo.
    #[error(
        "ICMP echo without privilege is not allowed here: set the sysctl net.ipv4.ping_group_range to include the group of \
         this process, or use --midplane-probe udp:PORT"
    )]
    IcmpForbidden(#[source] io::Error),
    /// Anything else.
    #[error("cannot open a socket for {kind} probes")]
    Socket {
        /// The kind of probe.
        kind: ProbeKind,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// Sends a datagram to each target and waits for it to come back. ICMP echo and UDP echo differ only in eight bytes
/// in front: the kernel fills in and checks the identifier of an unprivileged ICMP socket.
#[derive(Debug)]
pub struct DatagramProbe {
    socket: UdpSocket,
    kind: ProbeKind,
    round: u64,
}

/// The header of an ICMP echo: type, code, checksum, identifier, sequence number.
const ICMP_HEADER_BYTES: usize = 8;
const ICMP_ECHO_REQUEST: u8 = 8;
const ICMP_ECHO_REPLY: u8 = 0;

/// Longer than any answer that counts; what is cut off is not one.
const ANSWER_BYTES_MAX: usize = 128;

impl DatagramProbe {
    /// Opens the one socket for all probes. Needs a tokio runtime.
    ///
    /// # Errors
    /// ICMP without privilege is forbidden, or no socket can be had.
    pub fn open(kind: ProbeKind) -> Result<Self, ProbeError> {
        let protocol = match kind {
            ProbeKind::Icmp => Protocol::ICMPV4,
            ProbeKind::Udp(_) => Protocol::UDP,
        };
        let open = || {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(protocol))?;
            socket.set_nonblocking(true)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
            UdpSocket::from_std(socket.into())
        };
        let socket = open().map_err(|cause| match (kind, cause.kind()) {
            (ProbeKind::Icmp, io::ErrorKind::PermissionDenied) => ProbeError::IcmpForbidden(cause),
            (ProbeKind::Icmp | ProbeKind::Udp(_), _) => ProbeError::Socket { kind, cause },
        })?;
        Ok(Self { socket, kind, round: 0 })
    }

    fn packet(&self, slot: Slot) -> Vec<u8> {
        let mut packet = match self.kind {
            ProbeKind::Icmp => {
                let [.., high, low] = self.round.to_be_bytes();
                vec![ICMP_ECHO_REQUEST, 0, 0, 0, 0, 0, high, low]
            }
            ProbeKind::Udp(_) => Vec::new(),
        };
        packet.extend_from_slice(&payload(self.round, slot));
        packet
    }

    fn is_answer(&self, packet: &[u8], slot: Slot) -> bool {
        let echoed = match self.kind {
            ProbeKind::Icmp if packet.first() == Some(&ICMP_ECHO_REPLY) => packet.get(ICMP_HEADER_BYTES..),
            ProbeKind::Icmp => None,
            ProbeKind::Udp(_) => Some(packet),
        };
        echoed == Some(payload(self.round, slot).as_slice())
    }

    async fn send(&self, target: Target) -> io::Result<()> {
        let port = match self.kind {
            ProbeKind::Icmp => 0,
            ProbeKind::Udp(port) => port,
        };
        self.socket.send_to(&self.packet(target.slot), (target.address, port)).await.map(|_| ())
    }
}

/// What comes back proves which round and which DPU it is of: an answer that is late is none.
fn payload(round: u64, slot: Slot) -> Vec<u8> {
    let mut payload = b"midplane".to_vec();
    payload.extend_from_slice(&round.to_be_bytes());
    payload.push(slot.0);
    payload
}

impl MidplaneProbe for DatagramProbe {
    async fn round(
        &mut self,
        targets: &[Target],
        deadline: Instant,
        mut answered: impl FnMut(Target) + Send,
    ) {
        self.round += 1;
        let mut waiting: BTreeMap<Slot, Target> = BTreeMap::new();
        for target in targets {
            match self.send(*target).await {
                Ok(()) => {
                    waiting.insert(target.slot, *target);
                }
                Err(error) => tracing::debug!(dpu = %target.slot, %error, "cannot send a probe"),
            }
        }
        let mut buffer = [0; ANSWER_BYTES_MAX];
        while !waiting.is_empty() {
            let (length, from) = match timeout_at(deadline, self.socket.recv_from(&mut buffer)).await {
                Ok(Ok(received)) => received,
                // An ICMP error that an earlier probe provoked.
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a probe came back as an error");
                    continue;
                }
                Err(_) => return,
            };
            let answer = buffer.get(..length).unwrap_or_default();
            let is_of = |target: &&Target| {
                IpAddr::V4(target.address) == from.ip() && self.is_answer(answer, target.slot)
            };
            if let Some(target) = waiting.values().find(is_of).copied() {
                waiting.remove(&target.slot);
                answered(target);
            }
        }
    }
}

/// The task that probes.
#[derive(Debug)]
pub struct Prober<P> {
    /// How.
    pub probe: P,
    /// Time between two rounds.
    pub interval: Duration,
    /// How long an answer may take; less than the interval.
    pub timeout: Duration,
    /// Whom.
    pub targets: watch::Receiver<Vec<Target>>,
}

impl<P: MidplaneProbe> Prober<P> {
    /// Probes, and reports an answer when it comes and a loss at the end of the round. Sleeps while there is nobody to
    /// probe. Ends with the queue or the targets.
    pub async fn run(mut self, results: mpsc::Sender<NpuInput>) {
        let mut ticks = interval(self.interval);
        // After a pause of the whole process one round is enough: several would look like several losses.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let targets = self.targets.borrow_and_update().clone();
            if targets.is_empty() {
                if self.targets.changed().await.is_err() {
                    return;
                }
                ticks.reset_immediately();
                continue;
            }
            ticks.tick().await;
            if self.round(&targets, &results).await.is_err() {
                return;
            }
        }
    }

    async fn round(
        &mut self,
        targets: &[Target],
        results: &mpsc::Sender<NpuInput>,
    ) -> Result<(), mpsc::error::SendError<NpuInput>> {
        let deadline = Instant::now() + self.timeout;
        let (answers, mut answered) = mpsc::unbounded_channel();
        let mut lost: BTreeSet<Target> = targets.iter().copied().collect();
        let probing = async {
            // Bounded by the number of targets. The channel is read until the round drops its end.
            let answers = answers;
            let report = |target| {
                if answers.send(target).is_err() {
                    tracing::debug!("an answer came after its round");
                }
            };
            self.probe.round(targets, deadline, report).await;
        };
        let reporting = async {
            while let Some(target) = answered.recv().await {
                lost.remove(&target);
                results.send(NpuInput::Probe { target, reachable: true }).await?;
            }
            Ok(())
        };
        let ((), reported) = tokio::join!(probing, reporting);
        reported?;
        for target in lost {
            results.send(NpuInput::Probe { target, reachable: false }).await?;
        }
        Ok(())
    }
}
