//! What a check has to say.

use std::fmt;

use schema::{Table, WallMs};
use serde::{Deserialize, Serialize};

/// An invariant of DESIGN 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Invariant {
    /// Converge: the fixed point of the configuration is reached.
    P1,
    /// Fresh: no row of a previous life.
    P2,
    /// Fenced: no configuration of a previous life is applied.
    P3,
    /// BFD: sessions exist exactly while they should.
    P4,
    /// Order: a scope never without its set.
    P5,
    /// Quiet: at rest nobody writes but the heartbeat.
    P6,
    /// One decider: never both sides active or standalone.
    P7,
    /// Local: a restart touches no other DPU.
    P8,
    /// Once: no operation approved twice, lost, or for another life.
    P9,
}

impl Invariant {
    /// Every invariant, in order.
    pub const ALL: [Invariant; 9] =
        [Self::P1, Self::P2, Self::P3, Self::P4, Self::P5, Self::P6, Self::P7, Self::P8, Self::P9];

    /// The invariant's one-word name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P1 => "converge",
            Self::P2 => "fresh",
            Self::P3 => "fenced",
            Self::P4 => "BFD",
            Self::P5 => "order",
            Self::P6 => "quiet",
            Self::P7 => "one decider",
            Self::P8 => "local",
            Self::P9 => "once",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Who writes a table, and so who should have repaired it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The HA manager.
    Hamgrd,
    /// The DPU's HA agent.
    Haorchd,
    /// The DPU state monitor.
    Pmond,
    /// The SDN controller.
    HaController,
    /// The NPU's swss.
    Orchagent,
    /// Whoever configures the switch.
    Operator,
}

impl Part {
    /// The part that writes a table.
    pub const fn writer_of(table: Table) -> Part {
        match table {
            Table::Dpu
            | Table::RemoteDpu
            | Table::Vdpu
            | Table::DashHaGlobalConfig
            | Table::LoopbackInterface
            | Table::Port
            | Table::PortTable
            | Table::SystemReady => Part::Operator,
            Table::DashHaSetConfig | Table::DashHaScopeConfig => Part::HaController,
            Table::VnetRouteTunnel
            | Table::NeighResolve
            | Table::DashHaScopeState
            | Table::DpuResetInfo
            | Table::DashHaScopeFence
            | Table::DashHaSet
            | Table::DashHaScope
            | Table::BfdSession => Part::Hamgrd,
            Table::NpuBfdSession | Table::VnetRouteTunnelState => Part::Orchagent,
            Table::ChassisMidplane | Table::DpuState => Part::Pmond,
            Table::BfdSoftwareSession
            | Table::DpuBfdProbeState
            | Table::DashHaSetResult
            | Table::DashHaScopeResult
            | Table::DpuDashHaSetState
            | Table::DpuDashHaScopeState
            | Table::DashBfdProbeState => Part::Haorchd,
        }
    }

    /// The binary's name.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Hamgrd => "hamgrd",
            Part::Haorchd => "haorchd",
            Part::Pmond => "pmond",
            Part::HaController => "ha-controller",
            Part::Orchagent => "orchagent",
            Part::Operator => "the operator",
        }
    }
}

/// One thing that is not as promised.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// The promise that is broken.
    pub invariant: Invariant,
    /// The switch, and the DPU where the row is one of a DPU's.
    pub place: String,
    /// The table; `None` for a Redis key of no table of the project.
    pub table: Option<Table>,
    /// The row's key within the table, or the whole Redis key.
    pub key: String,
    /// What is wrong with it, in words.
    pub what: String,
    /// Since when at the latest, where a row tells.
    pub since: Option<WallMs>,
    /// Who should repair it, where that is not the table's writer.
    pub repair: Option<Part>,
}

impl Finding {
    /// Who should repair it, where that is known.
    pub fn repaired_by(&self) -> Option<Part> {
        self.repair.or_else(|| self.table.map(Part::writer_of))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { invariant, place, table, key, what, .. } = self;
        match table {
            Some(table) => write!(f, "{invariant} {place} {} {table} {key:?}: {what}", table.db())?,
            None => write!(f, "{invariant} {place} {key:?}: {what}")?,
        }
        match self.repaired_by() {
            Some(part) => write!(f, " (repair: {})", part.name()),
            None => Ok(()),
        }
    }
}
