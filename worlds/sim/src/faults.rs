//! What goes wrong, drawn from the seed before anything happens, so that each fault can be left out.

mod draw;

use std::fmt;

use schema::{Db, Table};

use crate::rng::Micros;
use crate::topology::{DpuRef, Machine, Proc, Server};

pub use draw::{MOST, PHASE, RATES, draw};

/// A thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SIGKILL; the supervisor starts it again after the time.
    Crash(Proc, Micros),
    /// SIGKILL right after its so-manieth write from now.
    CrashAfter(Proc, u64, Micros),
    /// The process stands still.
    Pause(Proc, Micros),
    /// Everything the process sends or receives takes that much longer, for some time.
    Slow(Proc, Micros, Micros),
    /// One of the process' connections breaks.
    Cut(Proc, u64),
    /// The so-manieth operation from now that changes a database is carried out, but the connection breaks before
    /// the answer: a write that is not known to be done, a pop whose rows are lost.
    LoseAnswer(Proc, u64),
    /// A DPU loses power and boots again.
    Restart(DpuRef, Micros),
    /// And again: time off, time on, time off.
    RestartTwice(DpuRef, Micros, Micros, Micros),
    /// A DPU is shut down through the fleet, turned off, turned on, and taken back: lead time, time off.
    Planned(DpuRef, Micros, Micros),
    /// `FLUSHDB` by a stranger; politely is with a `DEL` of every key first.
    Flush(Server, Db, bool),
    /// The server dies and comes back after the time; with `true` it has kept its data.
    RedisRestart(Server, Micros, bool),
    /// `CONFIG_DB` of a switch is emptied, and loaded again after the time.
    ConfigLoss(u8, Micros),
    /// The databases of the DPU itself lose their rows; its services state them again after the time.
    LocalLoss(DpuRef, Micros),
    /// The midplane does not answer probes; with `true` nothing goes over it at all.
    Midplane(DpuRef, Micros, bool),
    /// So many probes of a DPU get no answer, though it is well.
    ProbesLost(DpuRef, u32),
    /// `SYSTEM_READY` is down.
    ControlPlane(DpuRef, Micros),
    /// The DPU's port is down.
    DataPlane(DpuRef, Micros),
    /// The ZMQ link to a DPU breaks once so many more pieces have arrived; what is under way then is lost.
    LinkBreaks(DpuRef, u64),
    /// The ZMQ link to a DPU lets nothing through, and nobody is told.
    BlackHole(DpuRef, Micros),
    /// No packet passes between the front panel of a switch and a DPU.
    PanelCut(u8, DpuRef, Micros),
    /// The front-panel paths to a DPU lose some packets.
    PanelLoss(DpuRef, Micros),
    /// A DPU and its peer do not hear each other.
    Partition(DpuRef, Micros),
    /// A DPU restarts while it and its peer do not hear each other: for how long, after which time, time off.
    RestartApart(DpuRef, Micros, Micros, Micros),
    /// The channel between a DPU and its peer loses some datagrams.
    Loss(DpuRef, Micros),
    /// The channel between a DPU and its peer doubles datagrams and mixes up their order.
    Jumble(DpuRef, Micros),
    /// The fleet turns a DPU administratively down and up again.
    AdminFlap(DpuRef, Micros),
    /// The fleet lets the other DPU of the pair be the active one, from now on.
    Swap(DpuRef),
    /// The fleet does without a HA set for some time.
    Retire(DpuRef, Micros),
    /// `DASH_HA_GLOBAL_CONFIG` of a switch changes, for good.
    Retime(u8),
    /// The controller does not reach a switch.
    ControllerCut(u8, Micros),
    /// A second controller runs for some time; with `true` it knows what the first has recorded.
    Rival(Micros, bool),
    /// The wall clock of a machine jumps by so many ms, for good.
    Clock(Machine, i64),
    /// The next so many SAI calls of a DPU fail.
    SaiFails(DpuRef, u64),
    /// A stranger meddles with a row of a table: which one, how, and when he takes it back where nobody else would.
    Meddle(Server, Table, Mischief, u64, Micros),
}

/// What a stranger does to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mischief {
    /// Writes what nobody understands into a field of it.
    Garble,
    /// Deletes it.
    Delete,
    /// Adds one with a key that means nothing.
    Add,
}

/// When what goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When.
    pub at: Micros,
    /// What.
    pub kind: Kind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.6} {:?}", self.at as f64 / 1e6, self.kind)
    }
}
