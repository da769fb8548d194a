//! `swss-cli`: what an engineer reaches for instead of raw `redis-cli`.
//!
//! Reads, writes and follows any table of any of SONiC's databases, whether our schema knows it or not, and shows `pb`
//! rows as what they mean. It finds databases as the daemons do and speaks SONiC's protocols (`reference/swss-wire.md`
//! 2, 3); it takes no decision and keeps nothing.
//!
//! Exit codes: 0 well, 1 the row is not there or not what was expected, 2 wrong use, 3 could not reach the database.

mod args;
mod failure;
mod pb;
mod place;
mod run;
mod show;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    shell::init_logging(shell::LogFormat::Text);
    match run::run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has seen enough.
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("swss-cli: {}", failure.chain());
            ExitCode::from(failure.exit_code())
        }
    }
}
