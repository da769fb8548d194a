//! A pair of SmartSwitches in virtual time: the unchanged cores, wired through modelled databases, with every
//! fault, in every order that one seed draws.
//!
//! ```text
//!   seed ─► faults ─► world: clients ─► parts (cores) ─► clients ─► redis
//!                       │                                             │
//!                       └──────────────── checks ◄────────────────────┘
//! ```
//!
//! - [`redis`] has Redis' semantics, [`client`] those of `io/swss`, [`parts`] those of the daemons' shells; ZMQ links and BFD
//!   packets travel within [`world`].
//! - [`topology`] and [`variant`] say what there is, [`configuration`] how it is configured.
//! - [`world`] is time and machines, [`faults`] what goes wrong, [`checks`] what must never be, [`run`] what must
//!   be in the end.
//!
//! It knows no clock, no socket and no chance but the seed's.

pub mod checks;
pub mod client;
pub mod configuration;
mod damage;
pub mod faults;
pub mod mutants;
pub mod parts;
pub mod redis;
pub mod replay;
pub mod rng;
pub mod run;
pub mod shrink;
pub mod sweep;
pub mod topology;
pub mod trace;
pub mod variant;
pub mod world;
