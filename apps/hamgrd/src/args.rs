//! The command line (DESIGN 8).

use clap::{Parser, ValueEnum};
use hamgr::{HEARTBEAT_INTERVAL_MS_DEFAULT, RestartPolicy};
use shell::{DaemonArgs, DatabaseArgs};

/// HA manager of a SmartSwitch: one process for all its DPUs
#[derive(Parser, Debug)]
#[command(name = "hamgrd", version)]
pub struct Args {
    /// Manage this DPU; may be repeated [default: every DPU that the database configuration knows]
    #[arg(short = 's', long = "slot-id", value_name = "N")]
    pub slots: Vec<u8>,

    /// What to do with a HA scope configuration from before a restart of its DPU
    #[arg(long, value_name = "POLICY", value_enum, default_value = "controller")]
    pub restart_policy: Policy,

    /// How rows travel to the DPUs
    #[arg(long, value_name = "WAY", value_enum, default_value = "auto")]
    pub transport: Transport,

    /// How often the heartbeat in DASH_HA_SCOPE_STATE is renewed, in ms
    #[arg(long, value_name = "MS", default_value_t = HEARTBEAT_INTERVAL_MS_DEFAULT,
        value_parser = clap::value_parser!(u64).range(10..))]
    pub heartbeat_ms: u64,

    #[command(flatten)]
    pub databases: DatabaseArgs,

    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// [`RestartPolicy`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// Wait until the SDN controller has written it again
    Controller,
    /// Apply it again at once; role activation still needs approval
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

/// How rows travel to the DPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// Over ZMQ, unless CONFIG_DB DEVICE_METADATA says otherwise, as SONiC decides it
    Auto,
    /// Over ZMQ, and kept in DPU_APPL_DB
    Zmq,
    /// Through DPU_APPL_DB, as of a ProducerStateTable
    Redis,
}
