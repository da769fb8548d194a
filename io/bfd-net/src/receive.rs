//! The receiving sockets: one per port and local address, shared by all sessions there.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bfd::{Arrival, Hops, Input, Link, Path};
use nix::errno::Errno;
use nix::sys::socket::sockopt;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use reconcile::Time;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::spec::Bind;
use crate::totals::{Totals, add};

/// How many datagrams are taken from one socket before others have their turn. More wait in the kernel.
const DATAGRAMS_MAX: usize = 1024;

/// Longer than any BFD packet (its length field has 8 bits), so that nothing that matters is cut off.
const DATAGRAM_BYTES_MAX: usize = 512;

/// Room in a socket, bytes: about 5,000 datagrams, half a second of 1,000 sessions at 100 ms.
const SOCKET_BYTES: usize = 4 << 20;

/// What a socket is bound to.
pub(crate) type Place = (Hops, IpAddr);

struct Receiver {
    socket: UdpSocket,
    hops: Hops,
    local: IpAddr,
    /// How many datagrams the kernel has dropped here so far.
    kernel_drops: u32,
}

/// All receiving sockets, and one buffer for them.
pub(crate) struct Receivers {
    bound: BTreeMap<Place, Receiver>,
    /// Places that could not be bound, and have been logged.
    refused: BTreeMap<Place, io::ErrorKind>,
    control: Vec<u8>,
}

/// Reads two clocks at once, to turn the kernel's timestamps into [`Time`].
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        Time(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.started + std::time::Duration::from_millis(time.0)
    }

    /// When the kernel took the datagram in, if it was `stamp` by the wall clock. A clock that was set in between makes one
    /// batch look older or newer than it is; the core holds both within bounds.
    fn time_of(&self, stamp: Option<TimeSpec>) -> Time {
        let elapsed = self.started.elapsed();
        let age = stamp.and_then(|stamp| {
            let stamp = std::time::Duration::from(stamp);
            SystemTime::now().duration_since(UNIX_EPOCH).ok()?.checked_sub(stamp)
        });
        let at = elapsed.saturating_sub(age.unwrap_or_default());
        Time(u64::try_from(at.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Receivers {
    pub(crate) fn new() -> Self {
        let control = nix::cmsg_space!(nix::libc::in6_pktinfo, i32, TimeSpec, u32);
        Self { bound: BTreeMap::new(), refused: BTreeMap::new(), control }
    }

    /// Binds what the sessions need, and nothing else. Whether a place is still missing; places that could not be bound are
    /// tried again only if `retry`.
    pub(crate) fn bind<'a>(
        &mut self,
        bind: Bind,
        paths: impl Iterator<Item = &'a Path>,
        retry: bool,
        totals: &Totals,
    ) -> bool {
        let wanted: std::collections::BTreeSet<Place> = paths.map(|path| place_of(path, bind)).collect();
        self.bound.retain(|place, _| wanted.contains(place));
        self.refused.retain(|place, _| wanted.contains(place));
        for place in wanted {
            if self.bound.contains_key(&place) || (self.refused.contains_key(&place) && !retry) {
                continue;
            }
            let (hops, local) = place;
            match open(hops, local) {
                Ok(socket) => {
                    tracing::info!(%local, port = hops.port(), "listening for BFD");
                    self.refused.remove(&place);
                    self.bound.insert(place, Receiver { socket, hops, local, kernel_drops: 0 });
                }
                Err(error) => {
                    add(&totals.bind_failures, 1);
                    if self.refused.insert(place, error.kind()) != Some(error.kind()) {
                        tracing::warn!(%local, port = hops.port(), %error, "cannot listen for BFD; trying again");
                    }
                }
            }
        }
        !self.refused.is_empty()
    }

    /// Waits until a datagram has come in. Cancelling it loses nothing.
    pub(crate) async fn readable(&self) {
        std::future::poll_fn(|context: &mut Context<'_>| {
            let mut ready = Poll::Pending;
            // Each socket must be asked, so that each wakes us.
            for receiver in self.bound.values() {
                if receiver.socket.poll_recv_ready(context).is_ready() {
                    ready = Poll::Ready(());
                }
            }
            ready
        })
        .await;
    }

    /// Takes in what has come.
    pub(crate) fn receive(&mut self, clock: &Clock, totals: &Totals, inputs: &mut Vec<Input>) {
        let control = &mut self.control;
        for receiver in self.bound.values_mut() {
            let (mut received, mut unreadable) = (0, 0);
            for _ in 0..DATAGRAMS_MAX {
                match receiver.read_one(clock, control) {
                    Ok(Some((arrival, dropped))) => {
                        received += 1;
                        inputs.push(Input::Received(arrival));
                        let grown = dropped.wrapping_sub(receiver.kernel_drops);
                        if dropped != 0 && grown != 0 {
                            receiver.kernel_drops = dropped;
                            add(&totals.kernel_drops, u64::from(grown));
                        }
                    }
                    Ok(None) => unreadable += 1,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        tracing::debug!(local = %receiver.local, %error, "cannot receive");
                        break;
                    }
                }
            }
            add(&totals.received, received);
            add(&totals.unreadable, unreadable);
        }
    }
}

impl Receiver {
    /// The next datagram and the kernel's count of those it dropped (0: not told); `None` if it came without what the kernel
    /// was asked to tell of it.
    fn read_one(&self, clock: &Clock, control: &mut [u8]) -> io::Result<Option<(Arrival, u32)>> {
        let mut payload = [0; DATAGRAM_BYTES_MAX];
        let fd = self.socket.as_raw_fd();
        let (bytes, meta) = self.socket.try_io(Interest::READABLE, || {
            let mut buffers = [IoSliceMut::new(&mut payload)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let message = recvmsg::<SockaddrStorage>(fd, &mut buffers, Some(control), flags)?;
            Ok((message.bytes, Meta::of(&message)))
        })?;
        let Some(Meta { from, to, link, ttl, stamp, kernel_drops }) = meta else { return Ok(None) };
        let at = clock.time_of(stamp);
        let payload = payload.get(..bytes).unwrap_or_default();
        Ok(Some((Arrival::read(at, from, to, link, self.hops, ttl, payload), kernel_drops)))
    }
}

/// What the kernel tells of a datagram.
struct Meta {
    from: IpAddr,
    to: IpAddr,
    link: Link,
    ttl: u8,
    stamp: Option<TimeSpec>,
    kernel_drops: u32,
}

impl Meta {
    fn of(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Self> {
        let from = message.address.as_ref()?;
        let from = match (from.as_sockaddr_in(), from.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (None, Some(v6)) => IpAddr::V6(v6.ip()),
            (None, None) => return None,
        };
        let (mut to, mut ttl, mut stamp, mut kernel_drops) = (None, None, None, 0);
        for control in message.cmsgs().ok()? {
            // Not our enum: the kernel may tell more than it was asked for.
            match control {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    let address = Ipv4Addr::from_bits(u32::from_be(info.ipi_addr.s_addr));
                    to = Some((IpAddr::V4(address), u32::try_from(info.ipi_ifindex).unwrap_or(0)));
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    to = Some((IpAddr::V6(address), info.ipi6_ifindex));
                }
                ControlMessageOwned::Ipv4Ttl(value) | ControlMessageOwned::Ipv6HopLimit(value) => {
                    ttl = u8::try_from(value).ok();
                }
                ControlMessageOwned::ScmTimestampns(value) => stamp = Some(value),
                ControlMessageOwned::RxqOvfl(count) => kernel_drops = count,
                _ => {}
            }
        }
        let (to, link) = to?;
        Some(Self { from, to, link: Link(link), ttl: ttl?, stamp, kernel_drops })
    }
}

fn place_of(path: &Path, bind: Bind) -> Place {
    let any = match path.local {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    match bind {
        Bind::Wildcard => (path.hops, any),
        // A link-local address would need its interface; its packets are told apart by the link they came on.
        Bind::PerAddress if is_link_local(path.local) => (path.hops, any),
        Bind::PerAddress => (path.hops, path.local),
    }
}

pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// A socket with every option set before it is bound, so that no datagram comes without its TTL.
fn open(hops: Hops, local: IpAddr) -> io::Result<UdpSocket> {
    let socket =
        Socket::new(Domain::for_address(SocketAddr::new(local, 0)), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    match local {
        IpAddr::V4(_) => {
            setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
            // The address may come later than the session.
            socket.set_freebind_v4(true)?;
        }
        IpAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_recv_hoplimit_v6(true)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    set_room(&socket)?;
    socket.bind(&SocketAddr::new(local, hops.port()).into())?;
    UdpSocket::from_std(socket.into())
}

/// More room than the system's limit where we may, else as much as the limit allows.
fn set_room(socket: &Socket) -> io::Result<()> {
    match setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &SOCKET_BYTES) {
        Err(Errno::EPERM) => socket.set_recv_buffer_size(SOCKET_BYTES),
        other => other.map_err(io::Error::from),
    }
}
