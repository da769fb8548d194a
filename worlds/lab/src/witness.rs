//! The traffic witness: a client that sends a numbered stream of packets to every VIP through every switch, and writes down which
//! of them are answered.
//!
//! It runs beside the lab's other work ([`crate::hardware`]), so that it is rarely late. Where it is late all the same its packets
//! show it: they carry the time at which they were really sent. It decides nothing; see [`crate::traffic`].

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;
use std::time::Duration;

use asic_model::{Leg, VIP_PACKET_BYTES, VipPacket};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::hardware::Hardware;
use crate::process::Registry;

/// Between two packets of a stream.
pub const INTERVAL: Duration = Duration::from_millis(10);
/// How long answers are waited for after the last packet.
const LAST_ANSWERS: Duration = Duration::from_millis(1500);
/// Between two looks at how long processes waited for a processor.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);
/// The most packets of one episode; after that nothing more is sent.
const PACKETS_MAX: usize = 1 << 20;
/// Longer than any packet of ours, so that a longer one is seen to be none.
const BYTES_READ: usize = VIP_PACKET_BYTES + 1;

/// A stream: a VIP, through a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Where its packets enter.
    pub npu: SocketAddr,
    /// The VIP.
    pub vip: IpAddr,
}

/// A packet that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Of which stream, by its place in the list.
    pub stream: usize,
    /// When it was sent.
    pub sent: Instant,
    /// When its answer came.
    pub answered: Option<Instant>,
}

/// How long each process has waited for a processor since it began, and how long the machine itself was not run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// By process.
    pub processes: BTreeMap<u32, Duration>,
    /// Time that a hypervisor kept for itself.
    pub stolen: Duration,
}

/// What the witness wrote down.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// All packets, in the order in which they were sent.
    pub packets: Vec<Packet>,
    /// Now and then.
    pub waited: Vec<(Instant, Waited)>,
}

/// Why there is no witness.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The system refuses.
    #[error("the witness cannot start")]
    Start(#[source] std::io::Error),
    /// It ended by itself.
    #[error("the witness is gone")]
    Gone,
}

/// A running witness. It ends when it is dropped, or by itself once it was stopped.
#[derive(Debug)]
pub struct Witness {
    stop: watch::Sender<bool>,
    flowing: Option<oneshot::Receiver<()>>,
    record: JoinHandle<std::io::Result<Record>>,
}

impl Witness {
    /// Begins to send from the client's sockets, at most one of each family.
    ///
    /// # Errors
    /// A socket cannot be used.
    pub fn start(
        hardware: &Hardware,
        sockets: Vec<std::net::UdpSocket>,
        streams: Vec<Stream>,
        registry: Registry,
    ) -> Result<Self, WitnessError> {
        for socket in &sockets {
            socket.set_nonblocking(true).map_err(WitnessError::Start)?;
        }
        let (stop, stopped) = watch::channel(false);
        let (flows, flowing) = oneshot::channel();
        let answered = vec![false; streams.len()];
        let client = Client { streams, answered, flows: Some(flows), registry, record: Record::default() };
        let record = hardware.spawn(client.run(sockets, stopped)).ok_or(WitnessError::Gone)?;
        Ok(Self { stop, flowing: Some(flowing), record })
    }

    /// Waits until every stream has been answered once.
    ///
    /// # Errors
    /// The witness is gone.
    pub async fn flowing(&mut self) -> Result<(), WitnessError> {
        match self.flowing.take() {
            Some(flowing) => flowing.await.map_err(|_| WitnessError::Gone),
            None => Ok(()),
        }
    }

    /// Sends nothing more; goes on reading answers for a while.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// What was written down, once the last answers have come or the time for them is over.
    ///
    /// # Errors
    /// The witness is gone.
    pub async fn record(self) -> Result<Record, WitnessError> {
        self.stop();
        self.record.await.map_err(|_| WitnessError::Gone)?.map_err(WitnessError::Start)
    }
}

/// What is known while it runs.
struct Client {
    streams: Vec<Stream>,
    /// By stream.
    answered: Vec<bool>,
    flows: Option<oneshot::Sender<()>>,
    registry: Registry,
    record: Record,
}

impl Client {
    async fn run(
        mut self,
        sockets: Vec<std::net::UdpSocket>,
        mut stopped: watch::Receiver<bool>,
    ) -> std::io::Result<Record> {
        let sockets: Vec<UdpSocket> =
            sockets.into_iter().map(UdpSocket::from_std).collect::<std::io::Result<_>>()?;
        let mut due = interval(INTERVAL);
        // A packet that is late is sent late; those that would have been sent meanwhile never are.
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sample = interval(SAMPLE_INTERVAL);
        sample.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut end: Option<Instant> = None;
        let mut buffer = [0; BYTES_READ];
        loop {
            if end.is_some() && self.record.packets.iter().all(|packet| packet.answered.is_some()) {
                break;
            }
            tokio::select! {
                _ = due.tick(), if end.is_none() => self.send(&sockets).await,
                _ = sample.tick() => self.sample(),
                received = receive(&sockets, &mut buffer) => match received {
                    Ok(length) => self.take(buffer.get(..length).unwrap_or_default()),
                    // Such as an NPU that is not there.
                    Err(error) => tracing::debug!(%error, "the witness cannot receive"),
                },
                changed = stopped.changed(), if end.is_none() => {
                    if changed.is_err() {
                        break;
                    }
                    end = Some(Instant::now() + LAST_ANSWERS);
                }
                () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => break,
            }
        }
        self.sample();
        Ok(self.record)
    }

    async fn send(&mut self, sockets: &[UdpSocket]) {
        for (index, stream) in self.streams.iter().enumerate() {
            let number = self.record.packets.len();
            if number >= PACKETS_MAX {
                return;
            }
            let bytes = VipPacket::new(stream.vip, u64::try_from(number).unwrap_or(u64::MAX)).encode();
            self.record.packets.push(Packet { stream: index, sent: Instant::now(), answered: None });
            // A packet that the client's own host does not send is lost as any other.
            let socket = sockets
                .iter()
                .find(|socket| socket.local_addr().is_ok_and(|own| own.is_ipv4() == stream.npu.is_ipv4()));
            let Some(socket) = socket else { continue };
            if let Err(error) = socket.send_to(&bytes, stream.npu).await {
                tracing::debug!(npu = %stream.npu, %error, "the witness cannot send");
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let answer = VipPacket::decode(bytes).filter(|packet| packet.leg == Leg::Answer);
        let index = answer.and_then(|packet| usize::try_from(packet.number).ok());
        let Some(packet) = index.and_then(|index| self.record.packets.get_mut(index)) else { return };
        packet.answered.get_or_insert_with(Instant::now);
        if let Some(answered) = self.answered.get_mut(packet.stream) {
            *answered = true;
        }
        if self.answered.iter().all(|answered| *answered)
            && let Some(flows) = self.flows.take()
            && flows.send(()).is_err()
        {
            tracing::debug!("nobody waits for the streams");
        }
    }

    fn sample(&mut self) {
        let forwards = |name: &str| name.ends_with("-swss") || name.ends_with("-haorchd");
        let running = self.registry.running();
        let processes = running.iter().filter(|(name, _)| forwards(name));
        let mut processes: BTreeMap<u32, Duration> =
            processes.filter_map(|(_, pid)| Some((*pid, waited(&pid.to_string())?))).collect();
        // The thread that we are is the DPUs' network as well.
        processes.extend(waited("thread-self").map(|waited| (std::process::id(), waited)));
        self.record.waited.push((Instant::now(), Waited { processes, stolen: stolen() }));
    }
}

/// The next packet of any socket.
async fn receive(sockets: &[UdpSocket], buffer: &mut [u8]) -> std::io::Result<usize> {
    poll_fn(|context| {
        for socket in sockets {
            let mut read = ReadBuf::new(buffer);
            if let Poll::Ready(received) = socket.poll_recv_from(context, &mut read) {
                return Poll::Ready(received.map(|_| read.filled().len()));
            }
        }
        Poll::Pending
    })
    .await
}

/// How long a process's first thread, which does its work, was ready to run and did not.
fn waited(process: &str) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/schedstat")).ok()?;
    Some(Duration::from_nanos(text.split_whitespace().nth(1)?.parse().ok()?))
}

/// The eighth number of the first line of `/proc/stat`, in hundredths of a second over all processors.
fn stolen() -> Duration {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = text.split_whitespace().nth(8).and_then(|ticks| ticks.parse::<u64>().ok());
    Duration::from_millis(ticks.unwrap_or_default() * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_answered_and_what_is_lost_is_written_down() {
        let npu = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = npu.local_addr().unwrap();
        let vips: [IpAddr; 2] = ["10.3.0.1".parse().unwrap(), "10.3.0.2".parse().unwrap()];
        let streams = vips.map(|vip| Stream { npu: at, vip }).to_vec();
        let (hardware, registry) = (Hardware::start().unwrap(), Registry::default());
        let sockets = vec![std::net::UdpSocket::bind("127.0.0.1:0").unwrap()];
        let mut witness = Witness::start(&hardware, sockets, streams, registry).unwrap();
        // Answers every packet but the fifth of the second VIP.
        let answer = async {
            let (mut buffer, mut of_second) = ([0; BYTES_READ], 0);
            for _ in 0..40 {
                let (length, from) = npu.recv_from(&mut buffer).await.unwrap();
                let packet = VipPacket::decode(&buffer[..length]).unwrap();
                of_second += usize::from(packet.vip == vips[1]);
                if (packet.vip, of_second) != (vips[1], 5) {
                    let answer = VipPacket { leg: Leg::Answer, ..packet };
                    npu.send_to(&answer.encode(), from).await.unwrap();
                }
            }
        };
        tokio::join!(answer, async { witness.flowing().await.unwrap() });
        let record = witness.record().await.unwrap();
        let first_40 = &record.packets[..40];
        let lost: Vec<usize> = (0..40).filter(|i| first_40[*i].answered.is_none()).collect();
        assert_eq!(lost, [9]);
        assert_eq!(first_40[9].stream, 1);
        assert!(first_40.iter().all(|packet| packet.answered.is_none_or(|at| at >= packet.sent)));
        assert!(!record.waited.is_empty());
    }

    #[test]
    fn the_kernel_tells_how_long_a_process_waited() {
        assert!(waited("self").is_some() && waited("thread-self").is_some());
        assert_eq!(waited("no-process"), None);
    }
}
