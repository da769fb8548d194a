//! `sim`: runs seeds, shrinks what fails, and shows what happened.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use sim::mutants::Mutant;
use sim::replay::replay;
use sim::run::{Outcome, Setup, run};
use sim::shrink::shrink;
use sim::sweep::{cores, sweep};
use sim::topology::Topology;
use sim::trace::Trace;

/// A run is made of small rows: a sixth less time than with the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Simulates a pair of SmartSwitches with all that can go wrong
#[derive(Parser, Debug)]
#[command(name = "sim", version)]
struct Args {
    /// Run this seed
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,

    /// Run these seeds, the last left out
    #[arg(long, value_name = "A..B", value_parser = range, default_value = "0..1000")]
    seeds: (u64, u64),

    /// Who there is: `pair` (a DPU per switch), `rack` (2 switches of 8 DPUs) or `cluster` (8 switches of 8 DPUs)
    #[arg(long, value_name = "NAME", value_parser = topology, default_value = "pair")]
    topology: Topology,

    /// So many DPUs per switch, instead of the topology's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    dpus: Option<u8>,

    /// The most faults of one seed
    #[arg(long, value_name = "N", default_value_t = sim::faults::MOST, value_parser = clap::value_parser!(u64).range(1..))]
    faults: u64,

    /// Show who read, decided and wrote what
    #[arg(long)]
    trace: bool,

    /// Leave out these faults, by number
    #[arg(long, value_name = "I", value_delimiter = ',')]
    without: Vec<usize>,

    /// Simulate so many seeds at once [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// Let somebody make this mistake: passes if a seed catches it
    #[arg(long, value_name = "NAME", value_parser = mutant)]
    mutant: Option<Mutant>,

    /// List the mistakes, and which promise each breaks
    #[arg(long)]
    mutants: bool,

    /// Run seeds for this time, from a random one on, until one fails
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["seed", "seeds", "mutant"])]
    soak: Option<u64>,

    /// Give a daemon's core again what it was given: a file that the daemon wrote with --record
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "seeds", "mutant", "soak"])]
    replay: Option<PathBuf>,

    /// Leave out what a failure does not need
    #[arg(long)]
    shrink: bool,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let (from, to) = text.split_once("..").ok_or("expected A..B")?;
    let number = |text: &str| text.parse().map_err(|error| format!("{error}"));
    Ok((number(from)?, number(to)?))
}

fn mutant(name: &str) -> Result<Mutant, &'static str> {
    Mutant::named(name).ok_or("no such mutant; --mutants lists them")
}

fn topology(name: &str) -> Result<Topology, &'static str> {
    Topology::named(name).ok_or("expected pair, rack or cluster")
}

fn main() -> ExitCode {
    let args = Args::parse();
    match execute(&args, &mut io::stdout()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(_) => ExitCode::from(3),
    }
}

fn execute(args: &Args, out: &mut (impl Write + Send)) -> io::Result<bool> {
    if args.mutants {
        for mutant in Mutant::ALL {
            writeln!(out, "{:<34} {} {}", mutant.name(), mutant.breaks(), mutant.breaks().name())?;
        }
        return Ok(true);
    }
    if let Some(path) = &args.replay {
        return match replay(path, out) {
            Ok(replayed) => {
                writeln!(out, "{replayed}")?;
                Ok(replayed.is_faithful())
            }
            Err(error) => {
                writeln!(out, "{error}")?;
                Ok(false)
            }
        };
    }
    if let Some(seconds) = args.soak {
        // The one thing here that is not the same twice: where to begin.
        let start = RandomState::new().hash_one(std::process::id()) >> 16;
        writeln!(out, "from seed {start} on, for {seconds} s")?;
        out.flush()?;
        return many(args, start..u64::MAX, Some(Duration::from_secs(seconds)), out);
    }
    match (args.seed, args.mutant) {
        (Some(seed), _) => one(args, seed, out),
        (None, Some(mutant)) => hunt(args, mutant, out),
        (None, None) => many(args, args.seeds.0..args.seeds.1, None, out),
    }
}

fn setup(args: &Args, seed: u64) -> Setup {
    let topology = Topology { dpus: args.dpus.unwrap_or(args.topology.dpus), ..args.topology };
    let mut setup = Setup::of(seed, topology, args.faults);
    setup.mutant = args.mutant;
    let mut at = 0;
    setup.faults.retain(|_| {
        at += 1;
        !args.without.contains(&(at - 1))
    });
    setup
}

fn one(args: &Args, seed: u64, out: &mut impl Write) -> io::Result<bool> {
    let mut setup = setup(args, seed);
    if args.shrink
        && let Some(failure) = run(&setup, Trace::off()).failure
    {
        setup = shrink(&setup, &failure);
    }
    let trace = if args.trace { Trace::on() } else { Trace::off() };
    let outcome = run(&setup, trace);
    for line in outcome.trace.lines() {
        writeln!(out, "{line}")?;
    }
    report(args, &setup, &outcome, out)?;
    Ok(outcome.failure.is_none())
}

fn report(args: &Args, setup: &Setup, outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "seed {} ({}):", setup.seed, setup.variant)?;
    for fault in &setup.faults {
        writeln!(out, "  {fault}")?;
    }
    match &outcome.failure {
        None => writeln!(
            out,
            "  passed: {} events, {} s simulated, recovered after {} ms",
            outcome.events,
            outcome.simulated / 1_000_000,
            outcome.recovery / 1000
        ),
        Some(failure) => {
            writeln!(out, "  FAILED at {:.6} s: {failure}", outcome.simulated as f64 / 1e6)?;
            writeln!(out, "  repeat: {}", command(args, setup.seed))
        }
    }
}

/// What shows the same run again; shrinking, too, always ends the same.
fn command(args: &Args, seed: u64) -> String {
    let mut words = vec![format!("cargo run --release -p sim -- --seed {seed}")];
    words.extend((args.topology != Topology::PAIR).then(|| format!("--topology {}", args.topology.name())));
    words.extend(args.dpus.map(|dpus| format!("--dpus {dpus}")));
    words.extend((args.faults != sim::faults::MOST).then(|| format!("--faults {}", args.faults)));
    words.extend(args.mutant.map(|mutant| format!("--mutant {mutant}")));
    if !args.without.is_empty() {
        let without: Vec<String> = args.without.iter().map(ToString::to_string).collect();
        words.push(format!("--without {}", without.join(",")));
    }
    words.extend(args.shrink.then(|| "--shrink".to_owned()));
    words.push("--trace".to_owned());
    words.join(" ")
}

/// Until the mutant is caught.
fn hunt(args: &Args, mutant: Mutant, out: &mut impl Write) -> io::Result<bool> {
    let (from, to) = args.seeds;
    for seed in from..to {
        let setup = setup(args, seed);
        let Some(failure) = run(&setup, Trace::off()).failure else { continue };
        if failure.invariants.contains(&mutant.breaks()) {
            writeln!(out, "{mutant}: caught by seed {seed}: {failure}")?;
            return Ok(true);
        }
        writeln!(out, "{mutant}: seed {seed} fails, but not for {}: {failure}", mutant.breaks())?;
    }
    writeln!(out, "{mutant}: NOT CAUGHT by the seeds {from}..{to}")?;
    Ok(false)
}

/// Runs seeds; with a time, until that is over or one fails.
fn many(
    args: &Args,
    seeds: Range<u64>,
    time: Option<Duration>,
    out: &mut (impl Write + Send),
) -> io::Result<bool> {
    let started = Instant::now();
    let shrinks = args.shrink || time.is_some();
    let (mut count, mut failed) = (0_u64, Vec::new());
    let (mut events, mut simulated, mut slowest) = (0, 0, (0, 0));
    let mut written = Ok(());
    let each = |seed| {
        let setup = setup(args, seed);
        let outcome = run(&setup, Trace::off());
        let small = match &outcome.failure {
            Some(failure) if shrinks => shrink(&setup, failure),
            Some(_) | None => setup,
        };
        (small, outcome)
    };
    sweep(seeds, args.threads.unwrap_or_else(cores), each, |seed, (setup, outcome)| {
        count += 1;
        events += outcome.events;
        simulated += outcome.simulated;
        slowest = slowest.max((outcome.recovery, seed));
        if outcome.failure.is_some() {
            failed.push(seed);
            written = report(args, &setup, &run(&setup, Trace::off()), out).and_then(|()| out.flush());
        }
        let is_over = time.is_some_and(|time| started.elapsed() >= time || !failed.is_empty());
        written.is_ok() && !is_over
    });
    written?;
    failed.sort_unstable();
    let elapsed = started.elapsed().as_secs_f64();
    let simulated = simulated as f64 / 1e6;
    writeln!(
        out,
        "{count} seeds, {} failed {failed:?}; {events} events and {simulated:.0} s simulated in {elapsed:.1} s ({:.0} events/s, {:.0} s/s); slowest recovery {} ms (seed {})",
        failed.len(),
        events as f64 / elapsed,
        simulated / elapsed,
        slowest.0 / 1000,
        slowest.1
    )?;
    Ok(failed.is_empty())
}
