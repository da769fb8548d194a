//! What a peer can get wrong below the messages.

use thiserror::Error;

/// The peer does not speak the protocol: there is no going on with this connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// The first bytes are not those of ZMTP.
    #[error("not ZMTP: byte {at} of the greeting is 0x{byte:02x}")]
    Signature {
        /// Offset of the byte.
        at: usize,
        /// The byte.
        byte: u8,
    },
    /// A version that knows no commands.
    #[error("ZMTP version {major} is too old: 3 is needed")]
    Version {
        /// The peer's major version.
        major: u8,
    },
    /// Another mechanism than `NULL`.
    #[error("security mechanism {name} is not supported: NULL is needed")]
    Mechanism {
        /// The peer's mechanism.
        name: String,
    },
    /// Reserved bits of a frame's flags are set, or a command has parts.
    #[error("frame with flags 0x{flags:02x}, which mean nothing")]
    Flags {
        /// The flags.
        flags: u8,
    },
    /// A command that is longer than any that is known.
    #[error("command of {length} bytes: at most {max} are allowed", max = crate::limits::COMMAND_BYTES_MAX)]
    CommandTooLong {
        /// Its length, bytes.
        length: u64,
    },
    /// A frame too long even to skip.
    #[error("frame of {length} bytes: at most {max} are skipped", max = crate::limits::SKIPPED_BYTES_MAX)]
    FrameTooLong {
        /// Its length, bytes.
        length: u64,
    },
    /// A command whose inside does not hold together.
    #[error("command {name} is malformed")]
    Command {
        /// The command's name as far as it can be read.
        name: String,
    },
}
