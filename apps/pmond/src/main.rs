//! `pmond`: the DPU state monitor, both halves (`reference/pmon.md` 1).
//!
//! `--role npu` runs on the switch and probes the midplane of every DPU in `CONFIG_DB`; `--role dpu` runs on a DPU and
//! reports its control and data plane. Decisions are in `core/pmon`; this process only carries inputs and effects.
//!
//! Exit codes: 0 asked to leave, 2 wrong use, 3 could not reach what it needs.

mod args;
mod dpu;
mod npu;
mod probe;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Role};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    shell::init_logging(args.daemon.log_format);
    shell::exit_code(match args.role {
        Role::Npu => npu::run(&args).await,
        Role::Dpu => dpu::run(&args).await,
    })
}
