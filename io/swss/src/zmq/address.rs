//! Where a ZMQ socket is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// The port of a DPU's orchagent, where none is named (`reference/swss-wire.md` 0).
pub const ORCH_ZMQ_PORT: u16 = 8100;

/// An address as SONiC writes it, and IPv6 in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ZmqAddress {
    /// `tcp://<host>[:<port>]`. To listen, the host may be `*` or the name of an interface.
    Tcp {
        /// An address, a name, an interface or `*`.
        host: String,
        /// The port, [`ORCH_ZMQ_PORT`] where none is given.
        port: u16,
    },
    /// `ipc://<path>`: a Unix socket.
    Ipc(PathBuf),
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ZmqAddressError {
    /// It starts with neither `tcp://` nor `ipc://`.
    #[error("{0:?} is no ZMQ endpoint: expected tcp://<host>[:<port>] or ipc://<path>")]
    Transport(String),
    /// It names nothing.
    #[error("{0:?} names no host or path")]
    Empty(String),
    /// The port is not one.
    #[error("{0:?}: the port is not a number between 1 and 65535")]
    Port(String),
    /// A bracket is missing.
    #[error("{0:?}: write an IPv6 address as [address]")]
    Brackets(String),
}

impl FromStr for ZmqAddress {
    type Err = ZmqAddressError;

    fn from_str(text: &str) -> Result<Self, ZmqAddressError> {
        let error = |kind: fn(String) -> ZmqAddressError| kind(text.to_owned());
        if let Some(path) = text.strip_prefix("ipc://") {
            return match path {
                "" => Err(error(ZmqAddressError::Empty)),
                path => Ok(Self::Ipc(PathBuf::from(path))),
            };
        }
        let Some(rest) = text.strip_prefix("tcp://") else { return Err(error(ZmqAddressError::Transport)) };
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(|| error(ZmqAddressError::Brackets))?;
                match rest.strip_prefix(':') {
                    None if !rest.is_empty() => return Err(error(ZmqAddressError::Port)),
                    port => (host, port),
                }
            }
            None => match rest.split_once(':') {
                Some((_, port)) if port.contains(':') => return Err(error(ZmqAddressError::Brackets)),
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        if host.is_empty() {
            return Err(error(ZmqAddressError::Empty));
        }
        let port = match port {
            None => ORCH_ZMQ_PORT,
            Some(port) => match port.parse() {
                Ok(port) if port != 0 => port,
                Ok(_) | Err(_) => return Err(error(ZmqAddressError::Port)),
            },
        };
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for ZmqAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Ipc(path) => write!(f, "ipc://{}", path.display()),
        }
    }
}
