//! BFD on the network: the sockets and the clock of `core/bfd`, for thousands of sessions.
//!
//! ```text
//!  Server::want(path -> Spec) ──► Registry: derive, diff ──► Configure, AdminDown, Remove ─┐
//!  sockets, one per port and address (3784, 4784; IPv4, IPv6) ──► Received ───────────────┼─► bfd::Sessions
//!  one timer, set to the earliest deadline of all sessions ───────────────────────────────┘        │
//!  one sending socket per session (source port 49152-65535, TTL 255) ◄── Send ─────────────────────┤
//!  Events: what a session's state is now ◄── StateChanged, Removed ────────────────────────────────┘
//! ```
//!
//! One task runs it all: no task, no timer and no wake-up belongs to a session, and a packet allocates nothing. The
//! wanted sessions are a level: [`Server::want`] is given all of them, as often as its caller likes.
//!
//! **Memory of a session**: 300 to 736 bytes in `core/bfd` (asserted there by a test), under 500 here (the registry's
//! entry, the table of senders, the coalesced event), and one UDP socket of the kernel without a receive queue, about
//! 2 KiB. RFC 5881 4 asks for a source port of its own per session, and the kernel gives a port only to a socket.
//!
//! **Time**: a packet counts from the kernel's timestamp, not from when it was read, so that a process that was starved
//! does not take the queue in its socket for a silence of the peer.
//!
//! It must never know SONiC's tables, or what a session is good for.

mod events;
mod receive;
mod send;
mod server;
mod spec;
mod task;
pub mod testing;
mod totals;

pub use bfd::{Spec, Wanted};
pub use events::{Change, Events};
pub use server::{Applied, Server, Snapshot, StartError, View};
pub use spec::{Bind, ServerConfig};
pub use totals::Totals;

#[cfg(test)]
mod tests;
