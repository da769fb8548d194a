//! Commands: what the two ends say to each other beside messages.

use serde::{Deserialize, Serialize};

use crate::limits::PING_CONTEXT_BYTES_MAX;
use crate::wire::ProtocolError;
use crate::wire::frame::command_frame;

const SOCKET_TYPE: &str = "Socket-Type";

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The handshake's only word under the mechanism `NULL`.
    Ready {
        /// `PUSH`, `PULL`, and so on.
        socket_type: String,
    },
    /// The peer refuses us and will close.
    Error {
        /// Why.
        reason: String,
    },
    /// To be answered with [`Command::Pong`], after everything that came before it was taken.
    Ping {
        /// After how long a silence the sender may be taken for dead, in 0.1 s; 0 says nothing.
        ttl_ds: u16,
        /// To be sent back.
        context: Vec<u8>,
    },
    /// The answer to [`Command::Ping`].
    Pong {
        /// As in the PING.
        context: Vec<u8>,
    },
    /// A command that means nothing between `PUSH` and `PULL`.
    Other {
        /// Its name.
        name: String,
    },
}

impl Command {
    /// The command as a frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match self {
            Self::Ready { socket_type } => {
                put_name(&mut body, "READY");
                put_name(&mut body, SOCKET_TYPE);
                body.extend((socket_type.len() as u32).to_be_bytes());
                body.extend_from_slice(socket_type.as_bytes());
            }
            Self::Error { reason } => {
                put_name(&mut body, "ERROR");
                put_name(&mut body, reason);
            }
            Self::Ping { ttl_ds, context } => {
                put_name(&mut body, "PING");
                body.extend(ttl_ds.to_be_bytes());
                body.extend_from_slice(context);
            }
            Self::Pong { context } => {
                put_name(&mut body, "PONG");
                body.extend_from_slice(context);
            }
            Self::Other { name } => put_name(&mut body, name),
        }
        command_frame(&body)
    }

    /// Reads the body of a command.
    ///
    /// # Errors
    /// It does not have the form of a command, or of the command that it names.
    pub(super) fn decode(body: &[u8]) -> Result<Self, ProtocolError> {
        let Some((name, rest)) = take_name(body) else {
            return Err(ProtocolError::Command {
                name: body.escape_ascii().take(32).map(char::from).collect(),
            });
        };
        let name = name.escape_ascii().to_string();
        let malformed = || ProtocolError::Command { name: name.clone() };
        match name.as_str() {
            "READY" => {
                let socket_type = socket_type(rest).ok_or_else(malformed)?;
                Ok(Self::Ready { socket_type })
            }
            "ERROR" => {
                let (reason, _) = take_name(rest).ok_or_else(malformed)?;
                Ok(Self::Error { reason: reason.escape_ascii().to_string() })
            }
            "PING" => {
                let (ttl_ds, context) = rest.split_first_chunk::<2>().ok_or_else(malformed)?;
                if context.len() > PING_CONTEXT_BYTES_MAX {
                    return Err(malformed());
                }
                Ok(Self::Ping { ttl_ds: u16::from_be_bytes(*ttl_ds), context: context.to_vec() })
            }
            "PONG" => Ok(Self::Pong { context: rest.to_vec() }),
            _ => Ok(Self::Other { name }),
        }
    }
}

/// A name or reason: its length in one byte, and as much of it as that can count.
fn put_name(body: &mut Vec<u8>, name: &str) {
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    body.push(length);
    body.extend(name.bytes().take(length.into()));
}

fn take_name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// The property `Socket-Type` of a READY; the other properties only have to hold together. Names of properties are
/// case-insensitive (RFC 23).
fn socket_type(mut rest: &[u8]) -> Option<String> {
    let mut found = String::new();
    while !rest.is_empty() {
        let (name, after) = take_name(rest)?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (value, after) = after.split_at_checked(length)?;
        if name.eq_ignore_ascii_case(SOCKET_TYPE.as_bytes()) {
            found = value.escape_ascii().to_string();
        }
        rest = after;
    }
    Some(found)
}
