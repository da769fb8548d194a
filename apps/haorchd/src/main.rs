//! `haorchd`: the HA agent of a DPU (`reference/dpu-side.md` 1), with the DPU's ASIC.
//!
//! Decisions are in `core/haorch`, the modelled ASIC's in `core/asic-model`; this process only carries inputs and
//! effects. It may be killed at any moment: the ASIC dies with it, and everything is read and derived again.
//!
//! Exit codes: 0 asked to leave, 2 wrong use, 3 could not reach what it needs.

mod args;
mod asic;
mod bfd;
mod inputs;
mod run;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    shell::init_logging(args.daemon.log_format);
    shell::exit_code(run::run(&args).await)
}
