//! The command line (DESIGN 8).

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// SmartSwitch HA as an operator sees it: what there is, what is out of sync and who should repair it, what happens
///
/// Reads the databases of this switch, or of every switch of a fleet file. Writes nothing.
/// Exit codes: 0 well, 1 not well, 2 wrong use, 3 could not reach a database.
#[derive(Debug, Parser)]
#[command(name = "hactl", version)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,

    /// SONiC's database configuration of this switch
    #[arg(
        long,
        value_name = "PATH",
        global = true,
        default_value = "/var/run/redis/sonic-db/database_config.json"
    )]
    pub database_config: PathBuf,

    /// SONiC's list of the DPUs' database containers [default: database_global.json beside the configuration]
    #[arg(long, value_name = "PATH", global = true)]
    pub database_global: Option<PathBuf>,

    /// All switches of this fleet file of ha-controller instead, and what it wants of them
    #[arg(long, value_name = "FILE", global = true)]
    pub fleet: Option<PathBuf>,

    /// Say it as JSON; what goes on says it as one object a line
    #[arg(long, global = true)]
    pub json: bool,

    /// How long a database may take to answer
    #[arg(long, value_name = "MS", global = true, default_value_t = 2000)]
    pub timeout_ms: u64,
}

/// What is asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// HA sets, HA scopes, DPUs: health, roles, lives, pending operations, BFD
    Show,
    /// What is out of sync, since when, and who should repair it
    Audit {
        /// Go on: tell when something is out of sync, how long it was, and when it is not any more
        #[arg(long)]
        watch: bool,
        /// With --watch: what is repaired within this time is no alarm
        #[arg(long, value_name = "MS", default_value_t = 5000)]
        grace_ms: u64,
    },
    /// What changes, as it changes, in the words of the restart procedure
    Watch,
}

impl Args {
    /// How long a database may take to answer.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.max(1))
    }
}
