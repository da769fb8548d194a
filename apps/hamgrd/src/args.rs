//! The command line.

use std::collections::BTreeSet;

use clap::{Parser, ValueEnum};
use hamgr::{HEARTBEAT_INTERVAL_MS_DEFAULT, RestartPolicy};
use schema::Slot;
use shell::CommonArgs;

/// What to do with HA scope configuration that was written before a restart of the DPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// Leave it unapplied until the SDN controller writes it again.
    Controller,
    /// Apply it again at once; taking a role still asks for approval.
    Autonomous,
}

impl From<Policy> for RestartPolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Controller => Self::Controller,
            Policy::Autonomous => Self::Autonomous,
        }
    }
}

/// How rows reach the DPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// Through DPU_APPL_DB, as a ProducerStateTable.
    Redis,
}

/// Turns HA configuration into rows for the DPUs of a SmartSwitch, and their state into rows for the SDN controller.
#[derive(Clone, Debug, Parser)]
#[command(name = "hamgrd", version)]
pub struct Args {
    #[command(flatten)]
    pub common: CommonArgs,

    /// Manage only the DPU in this slot; may be given several times [default: every DPU of the switch]
    #[arg(short, long = "slot-id", value_name = "N")]
    pub slot_id: Vec<u8>,

    /// What to do with HA scope configuration that was written before a restart of the DPU
    #[arg(long, value_name = "POLICY", value_enum, default_value = "controller")]
    pub restart_policy: Policy,

    /// How rows reach the DPU
    #[arg(long, value_name = "TRANSPORT", value_enum, default_value = "redis")]
    pub transport: Transport,

    /// How often the heartbeat in DASH_HA_SCOPE_STATE is renewed, ms
    #[arg(long, value_name = "MS", default_value_t = HEARTBEAT_INTERVAL_MS_DEFAULT, value_parser = clap::value_parser!(u64).range(100..))]
    pub heartbeat_ms: u64,
}

impl Args {
    /// The slots that were named; `None` means every slot.
    pub fn slots(&self) -> Option<BTreeSet<Slot>> {
        (!self.slot_id.is_empty()).then(|| self.slot_id.iter().copied().map(Slot).collect())
    }
}
