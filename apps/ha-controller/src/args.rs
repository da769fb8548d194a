//! The command line (DESIGN 8).

use std::path::PathBuf;

use clap::Parser;
use shell::DaemonArgs;

/// SDN controller of a fleet of SmartSwitches: DPU restarts, roles, approvals
///
/// The databases are those that the fleet file names.
/// SIGHUP reads the fleet file again.
#[derive(Parser, Debug)]
#[command(name = "ha-controller", version)]
pub struct Args {
    /// The fleet: switches, vDPUs, HA sets (TOML)
    #[arg(long, value_name = "FILE")]
    pub fleet: PathBuf,

    /// The durable store; created if it does not exist
    #[arg(long, value_name = "PATH")]
    pub store: PathBuf,

    #[command(flatten)]
    pub daemon: DaemonArgs,
}
