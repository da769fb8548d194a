//! `hamgrd`: the HA manager of a SmartSwitch, for all its DPUs (`reference/hamgrd.md`).
//!
//! Decisions are in `core/hamgr`; this process only carries inputs and effects. It may be killed at any
//! moment: what it must remember stands in STATE_DB, everything else is read and derived again.
//!
//! Exit codes: 0 asked to leave, 2 wrong use, 3 could not reach what it needs.

mod args;
mod inputs;
mod notes;
mod run;
mod transport;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    shell::init_logging(args.daemon.log_format);
    shell::exit_code(run::run(&args).await)
}
