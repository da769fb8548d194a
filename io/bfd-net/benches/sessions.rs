//! What a session costs: ours and FRR's `bfdd` under the same load, and whether any falls without a reason.
//!
//! ```text
//!   this process: N active sessions  ── veth ──  the subject: N passive sessions, ours (this program again) or bfdd
//! ```
//!
//! `cargo bench -p bfd-net --bench sessions -- [--seconds 30] [--sessions 64,256,1000] [--subjects ours,frr] [--loaded]`.
//! All sessions are multihop at 100 ms, 3 times. With `--loaded` everything runs on the first core while a thread keeps the second
//! busy. Takes root. CPU time is the kernel's count for the subject's process, so other load on the machine disturbs it little.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bfd::{Hops, Interval, Link, Path, Role};
use bfd_net::testing::{Bfdd, Net, wait_until};
use bfd_net::{Bind, Server, ServerConfig, Spec, Wanted};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

const SUBJECT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 2));
const INTERVAL_MS: u32 = 100;

struct Options {
    seconds: u64,
    sessions: Vec<u16>,
    subjects: Vec<String>,
    loaded: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [serve, sessions] = arguments.as_slice()
        && serve == "--serve"
    {
        return serve_subject(sessions.parse().unwrap());
    }
    let mut options = Options {
        seconds: 30,
        sessions: vec![64, 256, 1000],
        subjects: vec!["ours".to_owned(), "frr".to_owned()],
        loaded: false,
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("the option has a value");
        match argument.as_str() {
            "--seconds" => options.seconds = value().parse().unwrap(),
            "--sessions" => options.sessions = value().split(',').map(|n| n.parse().unwrap()).collect(),
            "--subjects" => options.subjects = value().split(',').map(str::to_owned).collect(),
            "--loaded" => options.loaded = true,
            other => panic!("unknown option {other}"),
        }
    }
    let busy = Arc::new(AtomicBool::new(options.loaded));
    let load = options.loaded.then(|| {
        let busy = Arc::clone(&busy);
        std::thread::spawn(move || {
            pin(1);
            while busy.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        })
    });
    println!(
        "| subject | sessions | seconds | CPU us per session and second | CPU % of a core | resident KiB | packets/s sent by the driver | falls |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for sessions in &options.sessions {
        for subject in &options.subjects {
            measure(subject, *sessions, &options);
        }
    }
    busy.store(false, Ordering::Relaxed);
    if let Some(load) = load {
        load.join().unwrap();
    }
}

fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core).unwrap();
    sched_setaffinity(Pid::from_raw(0), &cores).unwrap();
}

fn driver_address(n: u16) -> IpAddr {
    let [high, low] = n.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, 8, high, low))
}

fn spec(role: Role) -> Spec {
    let interval = Interval::from_ms(INTERVAL_MS).unwrap();
    Spec {
        role,
        desired_min_tx: interval,
        required_min_rx: interval,
        detect_multiplier: NonZeroU8::new(3).unwrap(),
        min_ttl: 1,
        held_down: None,
    }
}

fn wanted(sessions: u16, is_subject: bool) -> Wanted {
    let one = |n| {
        let (local, peer) =
            if is_subject { (SUBJECT, driver_address(n)) } else { (driver_address(n), SUBJECT) };
        let role = if is_subject { Role::Passive } else { Role::Active };
        (Path { peer, local, link: Link::ANY, hops: Hops::Multi }, spec(role))
    };
    (1..=sessions).map(one).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The subject when it is ours: serves until its input ends, then says how many sessions fell.
fn serve_subject(sessions: u16) {
    runtime().block_on(async {
        let (server, _events) = Server::start(ServerConfig { bind: Bind::Wildcard, seed: 11 }).unwrap();
        let generation = server.want(wanted(sessions, true));
        server.applied(generation).await;
        println!("ready");
        std::io::stdout().flush().unwrap();
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()).unwrap());
        ended.await.unwrap();
        println!("{}", server.totals().downs());
    });
}

enum Subject {
    Ours(Child),
    Frr(Bfdd),
}

impl Subject {
    fn start(kind: &str, net: &Net, sessions: u16, loaded: bool) -> Self {
        if kind == "frr" {
            let bfdd = Bfdd::start(&net.there).unwrap();
            if loaded {
                let pid = bfdd.pid().to_string();
                assert!(
                    Command::new("taskset")
                        .args(["-a", "-p", "-c", "0", &pid])
                        .stdout(Stdio::null())
                        .status()
                        .unwrap()
                        .success()
                );
            }
            for first in (1..=sessions).step_by(100) {
                let mut words = vec!["conf t".to_owned(), "bfd".to_owned()];
                for n in first..=sessions.min(first + 99) {
                    words.push(format!(
                        "peer {} multihop local-address {SUBJECT} vrf default",
                        driver_address(n)
                    ));
                    words.extend(
                        [
                            "detect-multiplier 3",
                            "receive-interval 100",
                            "transmit-interval 100",
                            "minimum-ttl 1",
                            "passive-mode",
                            "exit",
                        ]
                        .map(str::to_owned),
                    );
                }
                bfdd.vtysh(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
            }
            return Subject::Frr(bfdd);
        }
        let program = std::env::current_exe().unwrap();
        let program = program.to_str().unwrap();
        let mut command = if loaded {
            let mut command = net.there.command("taskset");
            command.args(["-c", "0", program]);
            command
        } else {
            net.there.command(program)
        };
        command.args(["--serve", &sessions.to_string()]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut word = String::new();
        let mut output = BufReader::new(process.stdout.as_mut().unwrap());
        output.read_line(&mut word).unwrap();
        assert_eq!(word, "ready\n");
        Subject::Ours(process)
    }

    fn pid(&self) -> u32 {
        match self {
            Subject::Ours(process) => process.id(),
            Subject::Frr(bfdd) => bfdd.pid(),
        }
    }

    /// Ends it; how many of its sessions fell, where it can say.
    fn end(self) -> u64 {
        match self {
            Subject::Ours(mut process) => {
                drop(process.stdin.take());
                let mut said = String::new();
                process.stdout.take().unwrap().read_to_string(&mut said).unwrap();
                process.wait().unwrap();
                said.trim().parse().unwrap()
            }
            Subject::Frr(bfdd) => {
                drop(bfdd);
                0
            }
        }
    }
}

fn measure(kind: &str, sessions: u16, options: &Options) {
    let net = Net::create(1).unwrap();
    net.here.ip("route add local 10.8.0.0/16 dev lo").unwrap();
    net.there.ip("route add 10.8.0.0/16 via 10.1.0.1").unwrap();
    let subject = Subject::start(kind, &net, sessions, options.loaded);
    let pid = subject.pid();
    let (sent, falls) = net
        .here
        .enter(|| {
            if options.loaded {
                pin(0);
            }
            drive(sessions, options.seconds, pid, kind)
        })
        .unwrap();
    let falls = falls + subject.end();
    println!(" {} | {falls} |", sent / options.seconds);
}

/// Runs the active side, and prints the row but for what only the end tells.
fn drive(sessions: u16, seconds: u64, subject: u32, kind: &str) -> (u64, u64) {
    let runtime = runtime();
    // Its own thread, so that this one may look.
    let (server, events) =
        runtime.block_on(async { Server::start(ServerConfig { bind: Bind::Wildcard, seed: 12 }) }).unwrap();
    let totals = server.totals();
    server.want(wanted(sessions, false));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let here = std::thread::spawn(move || {
        runtime.block_on(async {
            stopped.await.unwrap();
            drop((server, events));
        });
    });
    wait_until("every session is up", || totals.sessions_up() == u64::from(sessions)).unwrap();
    // The polls of coming up are over, too.
    std::thread::sleep(Duration::from_secs(3));
    let (cpu_before, sent_before, falls_before) = (cpu_us(subject), totals.sent(), totals.downs());
    let start = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    let elapsed = start.elapsed();
    let (cpu_us, sent, falls) =
        (cpu_us(subject) - cpu_before, totals.sent() - sent_before, totals.downs() - falls_before);
    let per_second = cpu_us as f64 / elapsed.as_secs_f64();
    print!(
        "| {kind} | {sessions} | {seconds} | {:.1} | {:.2} | {} |",
        per_second / f64::from(sessions),
        per_second / 10_000.0,
        resident_kib(subject)
    );
    std::io::stdout().flush().unwrap();
    stop.send(()).unwrap();
    here.join().unwrap();
    (sent, falls)
}

/// CPU time of a process so far. The kernel counts in ticks of 10 ms.
fn cpu_us(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks * 10_000
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
