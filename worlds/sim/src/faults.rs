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
    /// Somebody connects to a DPU's haorchd over ZMQ, says what he should not, and leaves after the time.
    Stranger(DpuRef, Speech, Micros),
    /// haorchd is killed, and until it is started again, after the time, somebody else listens in its place.
    Impostor(DpuRef, Speech, Micros),
    /// No packet passes between the front panel of a switch and a DPU.
    PanelCut(u8, DpuRef, Micros),
    /// The front-panel paths to a DPU lose some packets.
    PanelLoss(DpuRef, Micros),
    /// Strangers send BFD packets to a DPU and the NPUs that watch it, each of which has to be dropped.
    Noise(DpuRef, Micros),
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
    /// The fleet does not name a DPU for some time, nor its HA set.
    Unnamed(DpuRef, Micros),
    /// The fleet does not name a switch for some time, nor its DPUs and their HA sets.
    Without(u8, Micros),
    /// The controllers are to read a fleet file that cannot be.
    Misread(Blunder),
    /// A switch refuses the next so many writes of the controller.
    Refused(u8, u64),
    /// The next so many records of the controller do not get into its store.
    StoreFails(u64),
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

impl Kind {
    /// Whether it may make others than a DPU that restarts do something.
    pub const fn is_trouble(self) -> bool {
        !matches!(self, Self::Restart(..) | Self::RestartTwice(..) | Self::Stranger(..) | Self::Misread(..))
    }
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
    /// Writes and deletes Redis keys that are near those of the table, and of none of its rows.
    Near,
}

/// What is wrong with a fleet file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blunder {
    /// A switch is there twice.
    SwitchTwice,
    /// A vDPU is on a switch that is not there.
    SwitchMissing,
    /// Two vDPUs are one DPU.
    SlotTwice,
    /// A vDPU is there twice.
    VdpuTwice,
    /// A HA set is there twice.
    SetTwice,
    /// A HA set has no VIP.
    NoVip,
    /// A HA set has one member.
    OneMember,
    /// A HA set has one member twice.
    SameMember,
    /// A HA set has a member that is not there.
    MemberMissing,
    /// The active one is no member.
    ActiveMissing,
    /// A wait is longer than a day.
    LongWait,
    /// A wait that must not be none is none.
    NoWait,
    /// The longest wait is shorter than the shortest.
    WaitsReversed,
}

impl Blunder {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::SwitchTwice,
        Self::SwitchMissing,
        Self::SlotTwice,
        Self::VdpuTwice,
        Self::SetTwice,
        Self::NoVip,
        Self::OneMember,
        Self::SameMember,
        Self::MemberMissing,
        Self::ActiveMissing,
        Self::LongWait,
        Self::NoWait,
        Self::WaitsReversed,
    ];
}

/// What somebody says on a ZMQ connection who has no business there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// What is no ZMTP.
    Noise,
    /// The beginning of a greeting.
    HalfGreeting,
    /// The greeting of a version that knows no commands.
    OldVersion,
    /// The greeting of another security mechanism.
    Mechanism,
    /// The handshake of another type of socket.
    SocketType,
    /// A message without a handshake.
    Unshaken,
    /// That he refuses.
    Refusal,
    /// A handshake, and one more; from here on each begins with a good handshake.
    Twice,
    /// A frame whose flags mean nothing.
    Flags,
    /// The beginning of a command that is longer than any.
    LongCommand,
    /// The beginning of a message that has no end.
    EndlessMessage,
    /// The beginning of a message that is longer than any that is taken.
    LongMessage,
    /// The beginning of a message.
    HalfMessage,
    /// A command that does not hold together.
    BrokenCommand,
    /// Commands that nobody asked for.
    StrangeCommands,
    /// Messages that are none.
    NoMessages,
    /// Rows of tables that nobody takes, and rows that nobody can read.
    OtherTables,
    /// Many long messages at once.
    Flood,
    /// That he may be taken for dead after half a second, and nothing after that.
    Silence,
}

impl Speech {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Noise,
        Self::HalfGreeting,
        Self::OldVersion,
        Self::Mechanism,
        Self::SocketType,
        Self::Unshaken,
        Self::Refusal,
        Self::Twice,
        Self::Flags,
        Self::LongCommand,
        Self::EndlessMessage,
        Self::LongMessage,
        Self::HalfMessage,
        Self::BrokenCommand,
        Self::StrangeCommands,
        Self::NoMessages,
        Self::OtherTables,
        Self::Flood,
        Self::Silence,
    ];
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
