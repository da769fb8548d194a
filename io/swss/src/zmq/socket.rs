//! Sockets with the options that SONiC sets, and those that it should (`reference/swss-wire.md` 5.1, 9.11).

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};

use crate::zmq::ZmqAddress;

/// After how long a silence the kernel asks whether the peer is there, how often, and how many times.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_COUNT: u32 = 5;
/// How long what was sent may stay unconfirmed by the peer's kernel. Keep-alive does nothing in that time.
const USER_TIMEOUT: Duration = Duration::from_secs(5);
/// How many connections may wait to be accepted.
const BACKLOG: i32 = 64;

/// Either kind of connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects, from `device` (an interface or VRF) if one is named.
pub(super) async fn connect(address: &ZmqAddress, device: Option<&str>) -> io::Result<Box<dyn Stream>> {
    let (host, port) = match address {
        ZmqAddress::Ipc(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
        ZmqAddress::Tcp { host, port } => (host.as_str(), *port),
    };
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(device) = device {
            SockRef::from(&socket).bind_device(Some(device.as_bytes()))?;
        }
        match socket.connect(address).await {
            Ok(stream) => {
                set_options(&SockRef::from(&stream))?;
                return Ok(Box::new(stream));
            }
            Err(refused) => error = refused,
        }
    }
    Err(error)
}

fn set_options(socket: &SockRef<'_>) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_COUNT);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

/// A socket that listens.
pub(super) enum Listener {
    Tcp(TcpListener),
    Ipc(UnixListener),
}

impl Listener {
    /// Listens. An `ipc` path that nobody listens at any more is taken over.
    pub(super) fn bind(address: &ZmqAddress) -> io::Result<Self> {
        match address {
            ZmqAddress::Ipc(path) => bind_path(path).map(Self::Ipc),
            ZmqAddress::Tcp { host, port } => {
                bind_tcp(SocketAddr::new(local_address(host)?, *port)).map(Self::Tcp)
            }
        }
    }

    /// Where it listens, by number.
    pub(super) fn address(&self) -> Option<ZmqAddress> {
        match self {
            Self::Tcp(listener) => {
                let address = listener.local_addr().ok()?;
                Some(ZmqAddress::Tcp { host: address.ip().to_string(), port: address.port() })
            }
            Self::Ipc(_) => None,
        }
    }

    /// The next connection, and who it is from. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Stream>, String)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                set_options(&SockRef::from(&stream))?;
                Ok((Box::new(stream), from.to_string()))
            }
            Self::Ipc(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), "a local process".to_owned()))
            }
        }
    }
}

fn bind_path(path: &Path) -> io::Result<UnixListener> {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
        // Nothing is there, or what is there will say so itself.
        Err(_) => {}
    }
    UnixListener::bind(path)
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `*` is for both.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The address to listen at: `*`, an address, or the first one of an interface, IPv4 if there is any.
fn local_address(host: &str) -> io::Result<IpAddr> {
    if host == "*" {
        return Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    }
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let of_interface = getifaddrs()?.filter(|found| found.interface_name == host);
    let addresses = of_interface.filter_map(|found| {
        let address = found.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    addresses.min().ok_or_else(|| {
        let what = format!("{host} is no address, and no interface with an address");
        io::Error::new(io::ErrorKind::AddrNotAvailable, what)
    })
}
