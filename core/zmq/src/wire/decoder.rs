//! From bytes as they come to greeting, commands and messages.

use serde::{Deserialize, Serialize};

use crate::limits::{COMMAND_BYTES_MAX, MESSAGE_BYTES_MAX, SKIPPED_BYTES_MAX};
use crate::wire::frame::{self, Head};
use crate::wire::{Command, GREETING_BYTES, ProtocolError, greeting};

/// How many bytes that were dealt with are kept before the rest is moved to the front.
const DONE_BYTES_MAX: usize = 256 * 1024;

/// Something whole that a peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Its greeting, which is one that we can talk to.
    Greeting,
    /// A command.
    Command(Command),
    /// The body of a frame that is no command. A part of a multipart message is one of its own
    /// (`reference/swss-wire.md` 5.2).
    Message(Vec<u8>),
    /// A message longer than is allowed; its bytes are skipped as they come.
    TooLong {
        /// Its length, bytes.
        length: u64,
    },
}

/// Takes bytes in pieces of any size. Holds at most one incomplete frame, never more than what has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// How many of the bytes are dealt with.
    done: usize,
    has_greeting: bool,
    /// How many of the bytes to come belong to a message that is too long.
    skip: u64,
}

impl Decoder {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what has come. Call [`Decoder::next`] until it has no more.
    pub fn push(&mut self, bytes: &[u8]) {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= skipped as u64;
        self.bytes.extend_from_slice(bytes.get(skipped..).unwrap_or_default());
    }

    /// Whether an incomplete greeting or frame is held.
    pub fn is_within(&self) -> bool {
        self.skip > 0 || self.done < self.bytes.len()
    }

    /// The next thing that is there as a whole.
    ///
    /// # Errors
    /// The peer does not speak the protocol. Nothing good comes of asking again.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Item>, ProtocolError> {
        let item = self.decode()?;
        if self.done == self.bytes.len() {
            self.bytes.clear();
            self.done = 0;
        } else if self.done > DONE_BYTES_MAX {
            self.bytes.drain(..self.done);
            self.done = 0;
        }
        Ok(item)
    }

    fn decode(&mut self) -> Result<Option<Item>, ProtocolError> {
        let rest = self.bytes.get(self.done..).unwrap_or_default();
        if !self.has_greeting {
            greeting::check(rest)?;
            if rest.len() < GREETING_BYTES {
                return Ok(None);
            }
            self.has_greeting = true;
            self.done += GREETING_BYTES;
            return Ok(Some(Item::Greeting));
        }
        let Some(Head { is_command, length, bytes: head }) = frame::head(rest)? else { return Ok(None) };
        let max = if is_command { COMMAND_BYTES_MAX } else { MESSAGE_BYTES_MAX };
        if length > max as u64 {
            return self.too_long(is_command, length, head);
        }
        // Not above the maximum, so it fits.
        let length = usize::try_from(length).unwrap_or(max);
        let Some(body) = rest.get(head..head + length) else { return Ok(None) };
        let item =
            if is_command { Item::Command(Command::decode(body)?) } else { Item::Message(body.to_vec()) };
        self.done += head + length;
        Ok(Some(item))
    }

    fn too_long(
        &mut self,
        is_command: bool,
        length: u64,
        head: usize,
    ) -> Result<Option<Item>, ProtocolError> {
        if is_command {
            return Err(ProtocolError::CommandTooLong { length });
        }
        if length > SKIPPED_BYTES_MAX {
            return Err(ProtocolError::FrameTooLong { length });
        }
        self.done += head;
        let here = (self.bytes.len() - self.done).min(usize::try_from(length).unwrap_or(usize::MAX));
        self.done += here;
        self.skip = length - here as u64;
        Ok(Some(Item::TooLong { length }))
    }
}
