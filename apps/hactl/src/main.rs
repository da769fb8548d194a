//! `hactl`: what an operator asks of SmartSwitch HA. It writes nothing.
//!
//! ```text
//!   Sources (configuration files, fleet file) ─► snapshot::read ─► Reading ─┬─► view ─► text or JSON     show
//!                                                   ▲                       └─► invariants::audit ─► …   audit
//!   swss::Reader (keyspace events) ──"look again"───┘                                 alarms ─► news     audit --watch
//!   swss::Reader ─► words ─► text or JSON                                                                watch
//! ```
//!
//! What is decided here is only how to say things; what is well is `core/invariants`' business.
//!
//! Exit codes: 0 well, 1 not well, 2 wrong use (a bad fleet file included), 3 could not reach what it needs.

mod alarms;
mod args;
mod audit;
mod audit_watch;
mod show;
mod source;
mod table;
mod times;
mod view;
mod watch;
mod words;

#[cfg(test)]
mod tests;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, Command};
use crate::source::{SourceError, Sources};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(&args).await {
        Ok(code) => ExitCode::from(code),
        Err(error) if error.is::<SourceError>() => {
            eprintln!("hactl: {error:#}");
            ExitCode::from(2)
        }
        // Whoever reads the output has gone: `hactl watch | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hactl: {error:#}");
            ExitCode::from(3)
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<u8> {
    let sources = Sources::load(args)?;
    let mut out = std::io::stdout();
    match &args.command {
        Command::Show => {
            let reading = snapshot::read(&sources.switches, args.timeout()).await;
            let view = view::View::of(&reading);
            let text = if args.json { json(&view)? } else { show::text(&view) };
            out.write_all(text.as_bytes())?;
            Ok(if view.unreachable.is_empty() { 0 } else { 3 })
        }
        Command::Audit { watch: false, .. } => {
            let report = audit::report(&sources, args.timeout()).await;
            let text = if args.json { json(&report)? } else { audit::text(&report) };
            out.write_all(text.as_bytes())?;
            Ok(report.exit_code())
        }
        Command::Audit { watch: true, grace_ms } => {
            audit_watch::run(&sources, args, *grace_ms, &mut out).await
        }
        Command::Watch => watch::run(&sources, args.json, &mut out).await,
    }
}

fn json<T: serde::Serialize>(value: &T) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
