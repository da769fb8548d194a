//! One seed, one history: on any thread, in any process, whatever its environment; and a failure comes down to what it
//! needs.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;

use schema::Db;
use sim::faults::{Fault, Kind, MOST};
use sim::mutants::Mutant;
use sim::rng::S;
use sim::run::{Setup, run};
use sim::shrink::shrink;
use sim::topology::{DpuRef, Proc, Server, Topology};
use sim::trace::Trace;

const DPU0: DpuRef = DpuRef { switch: 0, slot: 0 };

fn history(seed: u64) -> (Vec<String>, u64) {
    let outcome = run(&Setup::of(seed, Topology::PAIR, MOST), Trace::on());
    (outcome.trace.lines().to_vec(), outcome.trace.fingerprint())
}

#[test]
fn one_seed_has_one_history_on_every_thread() {
    for seed in [3, 17] {
        let here = history(seed);
        assert!(here.0.len() > 500);
        // Another thread has other addresses, and meanwhile this one does something else.
        let there = std::thread::spawn(move || history(seed));
        assert_ne!(history(seed + 1).1, here.1);
        assert!(there.join().unwrap() == here, "seed {seed}");
    }
}

#[test]
fn one_seed_has_one_history_in_every_process() {
    let text = |environment: &[(&str, &str)], directory: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
        command.args(["--seed", "5", "--trace"]).env_clear().current_dir(directory);
        let output = command.envs(environment.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        output.stdout
    };
    let first = text(&[], "/");
    assert!(first.len() > 50_000);
    let long = "x".repeat(3000);
    let second = text(
        &[("TZ", "Asia/Tokyo"), ("LC_ALL", "tr_TR.UTF-8"), ("RUST_LOG", "trace"), ("PAD", &long)],
        "/tmp",
    );
    assert!(first == second);
    let here = history(5).0.join("\n");
    assert!(String::from_utf8(first).unwrap().starts_with(&here));
}

#[test]
fn a_failure_shrinks_to_what_it_needs() {
    let noise = |at: u64| Fault { at, kind: Kind::Crash(Proc::PmonNpu(1), S) };
    let flush = Fault { at: 14 * S, kind: Kind::Flush(Server::OfDpu(DPU0), Db::DpuApplDb, true) };
    let faults = vec![noise(10 * S), noise(12 * S), flush, noise(15 * S), noise(16 * S), noise(17 * S)];
    let setup = Setup { mutant: Some(Mutant::FlushUnnoticed), faults, ..Setup::of(2, Topology::PAIR, MOST) };
    let failure = run(&setup, Trace::off()).failure.unwrap();
    let small = shrink(&setup, &failure);
    assert_eq!(small.faults, [flush]);
    assert_eq!(small.variant, sim::variant::Variant::default());
    assert_eq!(run(&small, Trace::off()).failure.unwrap().invariants, failure.invariants);
}

#[test]
fn a_failure_says_how_to_repeat_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(["--seed", "0", "--mutant", "both-active", "--without", "0", "--shrink"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let command = "cargo run --release -p sim -- --seed 0 --mutant both-active --without 0 --shrink --trace";
    assert!(text.contains(&format!("repeat: {command}\n")), "{text}");
}
