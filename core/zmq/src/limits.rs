//! Every limit, in one place.

/// The longest message that SONiC accepts, and that is sent or taken here, bytes (`reference/swss-wire.md` 5.2).
pub const MESSAGE_BYTES_MAX: usize = 16_777_215;

/// The longest command that is understood, bytes.
pub const COMMAND_BYTES_MAX: usize = 8192;

/// The longest frame that is skipped rather than being the end of its connection, bytes.
pub const SKIPPED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The longest context of a PING (ZMTP 3.1), bytes.
pub const PING_CONTEXT_BYTES_MAX: usize = 16;

/// How many rows go into one message at most.
pub const BATCH_ROWS_MAX: usize = 1024;

/// How long a message of several rows may become, bytes. A row that is longer goes alone.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How many bytes may be under way to a peer that has not acknowledged them; one message always may.
pub const UNACKNOWLEDGED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Of how many deleted rows it is remembered that the peer may still have them.
pub const UNTOLD_DELETIONS_MAX: usize = 65_536;
