//! Two ways of one work, in turns.

use std::time::{Duration, Instant};

use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;
use tokio::runtime::Runtime;

/// One way of doing a scenario's work.
pub trait Side {
    /// Makes ready, outside of the time that counts.
    async fn prepare(&mut self, count: usize, round: usize);

    /// Does it with `count` rows.
    async fn run(&mut self, count: usize, round: usize);
}

/// Ours and the bare one.
pub trait Pair {
    type Ours: Side;
    type Bare: Side;
    fn ours(&mut self) -> &mut Self::Ours;
    fn bare(&mut self) -> &mut Self::Bare;
}

pub const HEAD: &str = "\
| scenario | rows | ours p50 | ours p99 | bare p50 | bare p99 | ours rows/s | ratio p50 | ratio of minima |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |";

/// `BENCH_ROUNDS` percent of `count`.
pub fn rounds(count: usize) -> usize {
    let percent = std::env::var("BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    (count * percent / 100).max(3)
}

async fn timed(side: &mut impl Side, count: usize, round: usize) -> Duration {
    side.prepare(count, round).await;
    let start = Instant::now();
    side.run(count, round).await;
    start.elapsed()
}

/// Both in turns, one going first and then the other; prints a line of the table.
pub async fn compare(name: &str, count: usize, rounds: usize, pair: &mut impl Pair) {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..rounds + 2 {
        let (one, other) = if round % 2 == 0 {
            let one = timed(pair.ours(), count, round).await;
            (one, timed(pair.bare(), count, round).await)
        } else {
            let other = timed(pair.bare(), count, round).await;
            (timed(pair.ours(), count, round).await, other)
        };
        // The first rounds warm up.
        if round >= 2 {
            ours.push(one);
            bare.push(other);
        }
    }
    ours.sort();
    bare.sort();
    let at = |sorted: &[Duration], percent: usize| sorted[(sorted.len() - 1) * percent / 100];
    let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
    println!(
        "| {name} | {count} | {} | {} | {} | {} | {:.0} | {:.2} | {:.2} |",
        shown(at(&ours, 50)),
        shown(at(&ours, 99)),
        shown(at(&bare, 50)),
        shown(at(&bare, 99)),
        count as f64 / at(&ours, 50).as_secs_f64(),
        ratio(at(&ours, 50), at(&bare, 50)),
        ratio(ours[0], bare[0]),
    );
}

fn shown(time: Duration) -> String {
    let us = time.as_micros();
    if us < 10_000 { format!("{us} us") } else { format!("{:.1} ms", time.as_secs_f64() * 1000.0) }
}

/// Both by criterion.
pub fn criterion(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    name: &str,
    pair: &mut impl Pair,
) {
    const COUNT: usize = 100;
    let mut round = 0;
    let mut total = |side: &mut dyn FnMut(usize) -> Duration, times: u64| {
        (0..times)
            .map(|_| {
                round += 1;
                side(round)
            })
            .sum()
    };
    group.bench_function(format!("{name}, ours"), |bencher| {
        bencher.iter_custom(|times| {
            total(&mut |round| runtime.block_on(timed(pair.ours(), COUNT, round)), times)
        });
    });
    group.bench_function(format!("{name}, bare"), |bencher| {
        bencher.iter_custom(|times| {
            total(&mut |round| runtime.block_on(timed(pair.bare(), COUNT, round)), times)
        });
    });
}
