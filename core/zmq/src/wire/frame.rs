//! The head of a frame.

use crate::wire::ProtocolError;

const MORE: u8 = 0b001;
const LONG: u8 = 0b010;
const COMMAND: u8 = 0b100;

/// What stands before a frame's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) is_command: bool,
    /// Length of the body, bytes.
    pub(super) length: u64,
    /// Length of the head itself, bytes.
    pub(super) bytes: usize,
}

/// Reads a head; `None` while there is too little of it.
pub(super) fn head(bytes: &[u8]) -> Result<Option<Head>, ProtocolError> {
    let Some(&flags) = bytes.first() else { return Ok(None) };
    let is_command = flags & COMMAND != 0;
    if flags & !(MORE | LONG | COMMAND) != 0 || (is_command && flags & MORE != 0) {
        return Err(ProtocolError::Flags { flags });
    }
    let rest = bytes.get(1..).unwrap_or_default();
    let (length, bytes) = if flags & LONG != 0 {
        match rest.first_chunk::<8>() {
            Some(length) => (u64::from_be_bytes(*length), 9),
            None => return Ok(None),
        }
    } else {
        match rest.first() {
            Some(length) => (u64::from(*length), 2),
            None => return Ok(None),
        }
    };
    Ok(Some(Head { is_command, length, bytes }))
}

/// A message as a frame of its own.
pub fn message_frame(body: &[u8]) -> Vec<u8> {
    frame(0, body)
}

pub(super) fn command_frame(body: &[u8]) -> Vec<u8> {
    frame(COMMAND, body)
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 9);
    match u8::try_from(body.len()) {
        Ok(length) => bytes.extend([flags, length]),
        Err(_) => {
            bytes.push(flags | LONG);
            bytes.extend((body.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(body);
    bytes
}
