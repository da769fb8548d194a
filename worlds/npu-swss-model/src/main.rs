//! `npu-swss-model`: a **model** of an NPU's `swss` (orchagent and the ASIC below it), for the lab only. On a switch there is
//! SONiC's own.
//!
//! Decisions are in `core/npu-model`; this process carries them out with real BFD packets (`io/bfd-net`) and with packets for
//! VIPs as `core/asic-model` defines them. It must never know HA roles: it sees routes, and who answers BFD.
//!
//! Exit codes: 0 asked to leave, 2 wrong use, 3 could not reach what it needs.

mod args;
mod forward;
mod inputs;
mod run;
mod sessions;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    shell::init_logging(args.daemon.log_format);
    shell::exit_code(run::run(&args).await)
}
