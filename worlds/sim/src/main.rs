//! `sim`: runs seeds, shrinks what fails, and shows what happened.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use sim::mutants::Mutant;
use sim::run::{Outcome, Setup, run, shrink};
use sim::sweep::{cores, sweep};
use sim::topology::Topology;
use sim::trace::Trace;

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
    match (args.seed, args.mutant) {
        (Some(seed), _) => one(args, seed, out),
        (None, Some(mutant)) => hunt(args, mutant, out),
        (None, None) => many(args, out),
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
    report(&setup, &outcome, out)?;
    Ok(outcome.failure.is_none())
}

fn report(setup: &Setup, outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
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
        Some(failure) => writeln!(out, "  FAILED at {:.6} s: {failure}", outcome.simulated as f64 / 1e6),
    }
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

fn many(args: &Args, out: &mut (impl Write + Send)) -> io::Result<bool> {
    let (from, to) = args.seeds;
    let started = Instant::now();
    let (mut failed, mut events, mut simulated, mut slowest) = (Vec::new(), 0, 0, (0, 0));
    let mut written = Ok(());
    let each = |seed| {
        let setup = setup(args, seed);
        let outcome = run(&setup, Trace::off());
        let small = match &outcome.failure {
            Some(failure) if args.shrink => shrink(&setup, failure),
            Some(_) | None => setup,
        };
        (small, outcome)
    };
    sweep(from..to, args.threads.unwrap_or_else(cores), each, |seed, (setup, outcome)| {
        events += outcome.events;
        simulated += outcome.simulated / 1_000_000;
        slowest = slowest.max((outcome.recovery, seed));
        if outcome.failure.is_some() {
            failed.push(seed);
            written = report(&setup, &run(&setup, Trace::off()), out).and_then(|()| out.flush());
        }
        written.is_ok()
    });
    written?;
    failed.sort_unstable();
    let elapsed = started.elapsed().as_secs_f64();
    writeln!(
        out,
        "{} seeds, {} failed {failed:?}; {events} events, {simulated} s simulated in {elapsed:.1} s; slowest recovery {} ms (seed {})",
        to.saturating_sub(from),
        failed.len(),
        slowest.0 / 1000,
        slowest.1
    )?;
    Ok(failed.is_empty())
}
