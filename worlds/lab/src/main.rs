//! `halab`: a pair of SmartSwitches on one machine. Real Redis servers, every daemon a real process, modelled
//! ASICs; loopback addresses without root, or network namespaces with real links ([`net`]).
//!
//! Start reading at [`lab`] and [`scenarios`]. The lab makes no decision of the HA system: it starts, breaks and
//! watches, and judges by what the databases hold (`invariants`).

mod audit;
mod device;
mod files;
mod hardware;
mod keyspace;
mod lab;
mod net;
mod process;
mod redis;
mod report;
mod scenarios;
mod session;
mod sessions;
mod steps;
mod topology;
mod traffic;
mod watch;
mod witness;
mod world;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use npu_model::NextHopRule;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::device::Transport;
use crate::files::Timing;
use crate::lab::{Lab, LabError, Options};
use crate::net::Kind;
use crate::report::Report;
use crate::scenarios::Scenario;
use crate::session::Chaos;

/// How long `down` waits for the lab to go.
const DOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// Short, so that scenarios are short.
const TIMING: Timing = Timing { down_debounce_ms: 300, up_debounce_ms: 200 };

/// A pair of SmartSwitches on one machine.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// DPUs per switch [default: 1; `switch`: 2]
    #[arg(long, global = true, value_parser = clap::value_parser!(u8).range(1..=8))]
    dpus: Option<u8>,
    /// What the devices are connected by [default: loopback; scenarios about links: netns]
    #[arg(long, global = true, value_enum, value_name = "NETWORK")]
    net: Option<Kind>,
    /// How hamgrd's rows travel to the DPUs
    #[arg(long, global = true, value_name = "WAY", value_enum, default_value_t = Transport::Zmq)]
    transport: Transport,
    /// Which next hops the NPUs give a VIP: as the HA `design` says, or as SONiC's `orchagent` does
    #[arg(long, global = true, value_name = "design|orchagent", default_value_t)]
    next_hop_rule: NextHopRule,
    /// No IPv6: neither addresses of NPUs and DPUs, nor VIPs, nor BFD sessions
    #[arg(long, global = true)]
    ipv4_only: bool,
    /// Keep the directory with all logs, even if all is well
    #[arg(long, global = true)]
    keep: bool,
    /// Varies the times of the scenario
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    /// Where everything lies [default: a temporary directory; `up` and `down`: /tmp/halab]
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    /// Where the daemons are [default: beside halab]
    #[arg(long, global = true)]
    bin_dir: Option<PathBuf>,
    /// Daemons log decisions too
    #[arg(long, short, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the scenarios
    List,
    /// Perform a scenario
    Run {
        /// Its name, as `list` shows it
        scenario: String,
        /// Write the result as JSON
        #[arg(long)]
        json: Option<PathBuf>,
        /// Kill a daemon once, at a step or so many ms after the beginning: hamgrd@5, pmond-dpu@250ms
        #[arg(long, value_name = "DAEMON@STEP|MSms")]
        chaos_kill: Option<Chaos>,
        /// Perform it so often, each time on a new pair; stops where it is not well
        #[arg(long, default_value_t = 1)]
        times: u32,
    },
    /// Start a pair and keep it running until Ctrl-C
    Up,
    /// Stop the pair that `up` started
    Down,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,swss=error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // One thread: children die with the thread that started them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(until_told_to_stop(perform(cli))),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("halab: {error:#}");
            ExitCode::from(error.downcast_ref::<LabError>().map_or(3, LabError::exit_code))
        }
    }
}

/// Whatever runs is dropped, and with it every process, on Ctrl-C and on SIGTERM.
async fn until_told_to_stop(work: impl Future<Output = anyhow::Result<u8>>) -> anyhow::Result<u8> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        done = work => done,
        interrupted = tokio::signal::ctrl_c() => { interrupted?; stopped() }
        _ = terminate.recv() => stopped(),
        _ = hangup.recv() => stopped(),
    }
}

fn stopped() -> anyhow::Result<u8> {
    eprintln!("halab: told to stop; everything is taken down");
    Ok(1)
}

async fn perform(cli: Cli) -> anyhow::Result<u8> {
    match &cli.command {
        Command::List => {
            for scenario in Scenario::ALL {
                let takes = match scenario.network() {
                    Kind::Loopback => "",
                    Kind::Netns => " (--net netns, root)",
                };
                println!("{:<17} {}{takes}", scenario.name(), scenario.summary());
            }
            Ok(0)
        }
        Command::Run { scenario: name, json, chaos_kill, times } => {
            let Some(scenario) = Scenario::find(name) else {
                eprintln!("halab: there is no scenario {name:?}; see halab list");
                return Ok(2);
            };
            if (scenario.network(), cli.net) == (Kind::Netns, Some(Kind::Loopback)) {
                eprintln!("halab: {name} is about links, and loopback has none: it takes --net netns");
                return Ok(2);
            }
            for time in 1..=*times {
                if *times > 1 {
                    println!("— {name}, {time} of {times} —");
                }
                let seed = cli.seed.wrapping_add(u64::from(time) - 1);
                let report = run(&cli, scenario, chaos_kill.as_ref(), seed).await?;
                if let Some(path) = json {
                    let text = serde_json::to_string_pretty(&report)?;
                    files::write(path, &text).with_context(|| format!("cannot write {}", path.display()))?;
                }
                if !report.ok {
                    return Ok(1);
                }
            }
            Ok(0)
        }
        Command::Up => up(&cli).await,
        Command::Down => down(&cli).await,
    }
}

/// The directory of a lab; removed at the end unless it shall stay.
struct Home {
    path: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

impl Home {
    fn make(dir: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(dir) = dir {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
            let path = dir.canonicalize()?;
            return Ok(Self { path, temporary: None });
        }
        // Short: a unix socket's path has 107 bytes.
        let temporary = tempfile::Builder::new().prefix("halab-").tempdir()?;
        Ok(Self { path: temporary.path().to_owned(), temporary: Some(temporary) })
    }

    fn stay(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            self.path = temporary.keep();
        }
        println!("  logs are in {}", self.path.join("log").display());
    }
}

fn options(cli: &Cli, dir: &Path, needs: (Kind, u8), timing: Timing, seed: u64) -> anyhow::Result<Options> {
    let bin_dir = match &cli.bin_dir {
        Some(dir) => dir.clone(),
        None => std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default(),
    };
    let log_filter = if cli.verbose { "debug" } else { "info" }.to_owned();
    let (network, dpus) = (cli.net.unwrap_or(needs.0), cli.dpus.unwrap_or(needs.1));
    let ipv6 = !cli.ipv4_only;
    let (dir, transport, next_hop_rule) = (dir.to_owned(), cli.transport, cli.next_hop_rule);
    Ok(Options { network, dpus, ipv6, dir, bin_dir, log_filter, transport, next_hop_rule, seed, timing })
}

async fn run(cli: &Cli, scenario: Scenario, chaos: Option<&Chaos>, seed: u64) -> anyhow::Result<Report> {
    let mut home = Home::make(cli.dir.as_deref())?;
    println!("halab {}: {}", scenario.name(), scenario.summary());
    let down_debounce_ms = scenario.down_debounce_ms().unwrap_or(TIMING.down_debounce_ms);
    let timing = Timing { down_debounce_ms, ..TIMING };
    let options = options(cli, &home.path, (scenario.network(), scenario.dpus()), timing, seed)?;
    let mut report = Report::new(scenario.name());
    let performed = match Lab::up(options).await {
        Err(error) => Err(error),
        Ok(mut lab) => {
            let performed = scenario.run(&mut lab, &mut report, chaos).await;
            lab.down().await;
            performed
        }
    };
    if let Err(error) = performed {
        if home.path.join("log").exists() {
            home.stay();
        }
        if error.exit_code() != 1 {
            return Err(error.into());
        }
        // What never became true is the scenario's result.
        println!("  ✗ {:#}", anyhow::Error::new(error));
        report.ok = false;
        report.problem("the scenario could not be completed; see the log".to_owned());
    } else if cli.keep || !report.ok {
        home.stay();
    }
    println!("{}", if report.ok { "all is well" } else { "NOT well" });
    Ok(report)
}

fn common_dir(cli: &Cli) -> PathBuf {
    cli.dir.clone().unwrap_or_else(|| PathBuf::from("/tmp/halab"))
}

async fn up(cli: &Cli) -> anyhow::Result<u8> {
    let home = Home::make(Some(&common_dir(cli)))?;
    let lock = File::create(home.path.join("lock"))?;
    if lock.try_lock().is_err() {
        eprintln!("halab: a pair runs in {} already", home.path.display());
        return Ok(1);
    }
    std::fs::write(home.path.join("pid"), std::process::id().to_string())?;
    let mut lab = Lab::up(options(cli, &home.path, (Kind::Loopback, 1), TIMING, cli.seed)?).await?;
    println!("  up; configuration files are below {}", home.path.display());
    println!("  hactl show --fleet {}", home.path.join("fleet.toml").display());
    println!("  Ctrl-C stops it");
    loop {
        lab.pass(Duration::from_secs(3600)).await;
    }
}

async fn down(cli: &Cli) -> anyhow::Result<u8> {
    let code = stop(cli).await?;
    let removed = net::sweep().context("namespaces of a lab that was killed cannot be removed")?;
    if removed > 0 {
        println!("removed {removed} network namespaces of labs that were killed");
    }
    Ok(code)
}

async fn stop(cli: &Cli) -> anyhow::Result<u8> {
    let dir = common_dir(cli);
    let text = match std::fs::read_to_string(dir.join("pid")) {
        Ok(text) => text,
        Err(_) => {
            println!("no pair runs in {}", dir.display());
            return Ok(0);
        }
    };
    let lock = File::open(dir.join("lock"))?;
    if lock.try_lock().is_err() {
        let pid = nix::unistd::Pid::from_raw(text.trim().parse()?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        // The lock is free when the other halab is gone, and with it all that it started.
        let gone = tokio::task::spawn_blocking(move || lock.lock());
        match tokio::time::timeout(DOWN_TIMEOUT, gone).await {
            Ok(locked) => locked??,
            Err(_) => {
                eprintln!("halab: the pair in {} does not stop", dir.display());
                return Ok(1);
            }
        }
    }
    if !cli.keep {
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    println!("down");
    Ok(0)
}
