//! The sending sockets: one per session, because a session has a source port of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::net::{SocketAddr, SocketAddrV6, UdpSocket};

use bfd::{Hops, Link, PACKET_BYTES, Path, SessionId, TTL, source_port};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

use crate::receive::is_link_local;
use crate::totals::{Totals, add};

/// IP precedence Internetwork Control (DSCP CS6), as SONiC and FRR send BFD (`reference/dpu-side.md` 2.1: `tos` 192).
const TOS: u32 = 192;

/// How many source ports are tried for one session at a time.
const PORTS_TRIED_MAX: u16 = 64;

struct Sender {
    socket: UdpSocket,
    port: u16,
    /// Of which path: another local address or link needs another socket.
    path: Path,
}

/// All sending sockets.
#[derive(Default)]
pub(crate) struct Senders {
    by_session: BTreeMap<SessionId, Sender>,
    ports: BTreeSet<u16>,
    next_port: u16,
}

impl Senders {
    /// Source ports from `seed` on.
    pub(crate) fn new(seed: u64) -> Self {
        raise_descriptor_limit();
        Self { by_session: BTreeMap::new(), ports: BTreeSet::new(), next_port: (seed & 0x3fff) as u16 }
    }

    /// Sends a packet. One that cannot be sent is lost, as the network itself may lose it.
    pub(crate) fn send(
        &mut self,
        session: SessionId,
        path: Path,
        packet: &[u8; PACKET_BYTES],
        totals: &Totals,
    ) {
        let sent = self.sender(session, path).and_then(|sender| {
            sender.socket.send_to(packet, peer_of(path))?;
            Ok(())
        });
        match sent {
            Ok(()) => add(&totals.sent, 1),
            Err(error) => {
                add(&totals.send_failures, 1);
                tracing::debug!(peer = %path.peer, local = %path.local, %error, "cannot send");
            }
        }
    }

    /// The session is gone.
    pub(crate) fn forget(&mut self, session: SessionId) {
        if let Some(sender) = self.by_session.remove(&session) {
            self.ports.remove(&sender.port);
        }
    }

    fn sender(&mut self, session: SessionId, path: Path) -> io::Result<&Sender> {
        if self.by_session.get(&session).is_some_and(|sender| sender.path != path) {
            self.forget(session);
        }
        if !self.by_session.contains_key(&session) {
            let (socket, port) = self.open(path)?;
            self.ports.insert(port);
            self.by_session.insert(session, Sender { socket, port, path });
        }
        self.by_session.get(&session).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// RFC 5881 4: the port "SHOULD be unique among all BFD sessions on the system"; others may hold some of the range.
    fn open(&mut self, path: Path) -> io::Result<(UdpSocket, u16)> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        let mut tried = 0;
        while tried < PORTS_TRIED_MAX {
            let port = source_port(self.next_port);
            self.next_port = self.next_port.wrapping_add(1);
            if self.ports.contains(&port) && self.ports.len() < bfd::SOURCE_PORTS.len() {
                continue;
            }
            tried += 1;
            match open(path, port) {
                Ok(socket) => return Ok((socket, port)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

fn open(path: Path, port: u16) -> io::Result<UdpSocket> {
    let local = with_scope(path.local, port, path.link);
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Nobody talks to this socket.
    socket.set_recv_buffer_size(0)?;
    match local {
        SocketAddr::V4(_) => {
            socket.set_ttl_v4(u32::from(TTL))?;
            socket.set_tos_v4(TOS)?;
            socket.set_freebind_v4(true)?;
        }
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_unicast_hops_v6(u32::from(TTL))?;
            socket.set_tclass_v6(TOS)?;
            socket.set_freebind_v6(true)?;
        }
    }
    if path.hops == Hops::Single && path.link != Link::ANY {
        let name = nix::net::if_::if_indextoname(path.link.0)?;
        socket.bind_device(Some(name.as_bytes()))?;
    }
    socket.bind(&local.into())?;
    Ok(socket.into())
}

fn peer_of(path: Path) -> SocketAddr {
    with_scope(path.peer, path.hops.port(), path.link)
}

fn with_scope(address: IpAddr, port: u16, link: Link) -> SocketAddr {
    match address {
        IpAddr::V6(v6) if is_link_local(address) => SocketAddr::V6(SocketAddrV6::new(v6, port, 0, link.0)),
        IpAddr::V4(_) | IpAddr::V6(_) => SocketAddr::new(address, port),
    }
}

/// A descriptor per session: the usual 1,024 are too few, and the hard limit is ours to use.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files; it bounds the number of BFD sessions");
    }
}
