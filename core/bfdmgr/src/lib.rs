//! What SONiC's BfdMgr and bfdmon decide (`reference/dpu-side.md` 2.3, 2.4), as one core: from the rows of
//! `BFD_SOFTWARE_SESSION_TABLE` to the sessions that a backend is to run, and from the sessions that are up to
//! `DASH_BFD_PROBE_STATE` and `DPU_BFD_PROBE_STATE`.
//!
//! ```text
//!  BFD_SOFTWARE_SESSION_TABLE ─┐                      ┌─ Want: all sessions that ought to run
//!  what the backend runs now ──┼─► BfdMgr::handle ────┼─ Open: all that still may carry traffic, for core/haorch
//!  stores, read back ──────────┘                      └─ rows: the peers that are up
//! ```
//!
//! Everything is a level: the backend is told all sessions, and tells all it has. So a backend that lost its sessions
//! (a `bfdd` that was restarted) needs no code of its own, no add is ever forgotten (BfdMgr never repeats one that failed), and
//! no peer is listed as up that the backend does not have (bfdmon keeps the last list when `bfdd` is dead).
//!
//! Where to look: [`Session`] (a row's fields and their defaults), `manager` (the core), `probe` (the two rows), [`frr`] (what to
//! say to FRR's `bfdd`), [`Lite`] (what to say to `core/bfd`). It must never know sockets, processes, or why a session is wanted.

pub mod frr;
mod io;
mod lite;
mod manager;
mod probe;
mod session;

pub use io::{Effect, Input, Note, Peer, Place};
pub use lite::Lite;
pub use manager::BfdMgr;
pub use session::{Backend, Session, Sessions, Unusable};

#[cfg(test)]
mod tests;
