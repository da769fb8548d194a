//! `ha-controller`: the SDN controller's restart procedure for a fleet of SmartSwitches
//! (`reference/controller.md` 4).
//!
//! Decisions are in `core/controller`; this process only carries inputs and effects. It may be killed at any
//! moment: what it must remember stands in its store, everything else is read and derived again.
//!
//! Exit codes: 0 asked to leave, 2 wrong use (a bad fleet file included), 3 could not reach what it needs.

mod args;
mod notes;
mod run;
mod southbound;
mod store;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Parser;
use fleet::FleetFileError;

use crate::args::Args;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    shell::init_logging(args.daemon.log_format);
    match run::run(&args).await {
        Err(error) if error.is::<FleetFileError>() => {
            tracing::error!("{error:#}");
            ExitCode::from(2)
        }
        ran => shell::exit_code(ran),
    }
}
