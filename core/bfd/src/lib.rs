//! BFD (RFC 5880) over one hop (RFC 5881) and many (RFC 5883), IPv4 and IPv6: the "lite BFD server" of a DPU, and
//! the active side of the NPU that watches it. Decisions only.
//!
//! ```text
//!  datagrams ── decode ─┐                     ┌─ Send: one packet, from where to where
//!  Configure, Remove ───┼─► Sessions::handle ─┼─ StateChanged: who, from, to, diagnostic, cause
//!  AdminDown, AdminUp ──┘   select · step     └─ Note: what the log should say
//! ```
//!
//! Where to look: [`step`] (the state machine), `session` (the variables of 6.8.1, timers, polls), `sessions` (which
//! packet is whose, one queue of deadlines), [`decode`] (every check of a header), `path` (ports and TTLs),
//! `timing` (rounding and jitter). The sentences of the RFC stand beside the code that follows them.
//!
//! What it owns: everything that RFC 5880 6.8 says about asynchronous mode, in both roles. What it refuses:
//!
//! - **Demand mode**: it is never asked for ([`Role`] refuses the words). A peer that asks *us* to be silent is obeyed, as
//!   6.8.7 demands, and goes on being watched, because it must still send.
//! - **Authentication**: no session uses it; an authenticated packet is read and dropped, with its reason counted.
//! - **Echo**: never offered.
//! - **Sessions nobody configured**: a packet makes none.
//!
//! A packet that arrives is answered with at most one, so nobody can use a session to multiply traffic (a second is
//! possible only where the packet follows a silence that ended the session). It must never know sockets, clocks, SONiC's
//! tables, or what a session is good for.

mod auth;
mod counters;
mod io;
mod machine;
mod packet;
mod path;
mod poll;
mod registry;
mod session;
mod sessions;
mod timing;
mod values;

pub use auth::{AuthError, AuthSection};
pub use counters::{Counters, DropReason, Drops};
pub use io::{Arrival, Cause, Config, Effect, Input, Note, Refusal, SessionId, Timing};
pub use machine::{Step, step};
pub use packet::{DecodeError, Decoded, Handshake, PACKET_BYTES, Packet, VERSION, decode};
pub use path::{Hops, Link, Path, SOURCE_PORTS, TTL, is_source_port, source_port};
pub use registry::{Registry, Spec, Wanted};
pub use session::{FAREWELL_MS_MAX, Remote, Session};
pub use sessions::{SESSIONS_MAX, Sessions};
pub use timing::SLOW_TX_US;
pub use values::{
    Diagnostic, DiagnosticTooLarge, Discriminator, INTERVAL_MS_MAX, INTERVAL_MS_MIN, Interval,
    IntervalOutOfRange, Role, RoleError, State,
};

#[cfg(test)]
mod tests;
