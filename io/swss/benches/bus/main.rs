//! The bus beside the bare cost of the same work: `make bench`, results in `docs/benchmarks.md`.
//!
//! Every scenario runs two ways in one process on one private `redis-server`: with this crate, and hand-written on the
//! bare redis client with the same commands in pipelines. The two alternate round by round, so that a busy machine
//! slows both alike; what counts is the ratio. `BENCH_ROUNDS=N` is how many percent of the usual
//! rounds are made, `BENCH_ONLY=writer` carries out the scenarios with that in their name, and criterion's none.

// A benchmark that cannot be carried out shall stop, loudly.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod bare;
mod memory;
mod ours;
mod pace;
mod rows;

use std::time::Duration;

use criterion::Criterion;
use swss::testing::RedisServer;

use crate::pace::Pair;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = runtime.block_on(RedisServer::start()).expect("a redis-server");
    if std::env::args().any(|word| word == "--memory") {
        runtime.block_on(memory::measure(&server));
        return;
    }
    println!("{}", pace::HEAD);
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    let sizes = |name: &str, sizes: &[(usize, usize)]| {
        let sizes = if name.contains(&only) { sizes } else { &[] };
        sizes.iter().map(|(count, times)| (*count, pace::rounds(*times))).collect::<Vec<_>>()
    };
    runtime.block_on(async {
        let name = "table -> typed reader";
        for (count, rounds) in sizes(name, &[(1, 3000), (100, 300), (10_000, 15)]) {
            let mut pair = (ours::Follow::new(&server).await, bare::Follow::new(&server).await);
            pace::compare(name, count, rounds, &mut pair).await;
        }
        let name = "writer -> table";
        for (count, rounds) in sizes(name, &[(1, 3000), (100, 300), (10_000, 15)]) {
            let mut pair = (ours::Write::new(&server).await, bare::Write::new(&server).await);
            pace::compare(name, count, rounds, &mut pair).await;
        }
        let name = "writer -> table, read back";
        for (count, rounds) in sizes(name, &[(1, 3000), (100, 300), (10_000, 15)]) {
            let mut pair = (ours::WriteBack::new(&server).await, bare::WriteBack::new(&server).await);
            pace::compare(name, count, rounds, &mut pair).await;
        }
        let name = "producer -> consumer, Redis";
        for (count, rounds) in sizes(name, &[(1, 2000), (100, 200), (10_000, 10)]) {
            let mut pair = (ours::Produce::new(&server).await, bare::Produce::new(&server).await);
            pace::compare(name, count, rounds, &mut pair).await;
        }
        let name = "producer -> consumer, ZMQ";
        for (count, rounds) in sizes(name, &[(1, 2000), (100, 200), (10_000, 10)]) {
            let mut pair = (ours::Zmq::new(&server).await, bare::Zmq::new(&server).await);
            pace::compare(name, count, rounds, &mut pair).await;
        }
        let name = "producer -> consumer, ZMQ, to bytes over TCP";
        for (count, rounds) in sizes(name, &[(1, 500), (100, 100), (10_000, 5)]) {
            let mut pair = (ours::Zmq::new(&server).await, bare::Wire::new().await);
            pace::compare(name, count, rounds, &mut pair).await;
        }
        let name = "initial read";
        for (count, rounds) in sizes(name, &[(10_000, 15), (100_000, 5)]) {
            let mut pair = (ours::Initial::new(&server, count).await, bare::Initial::new(&server).await);
            pace::compare(name, count, rounds, &mut pair).await;
        }
    });
    if !only.is_empty() {
        return;
    }

    // The same by criterion, which keeps a history in target/criterion and says what changed since.
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("100 rows");
    let mut follow =
        runtime.block_on(async { (ours::Follow::new(&server).await, bare::Follow::new(&server).await) });
    let mut write =
        runtime.block_on(async { (ours::Write::new(&server).await, bare::Write::new(&server).await) });
    pace::criterion(&mut group, &runtime, "table to reader", &mut follow);
    pace::criterion(&mut group, &runtime, "writer to table", &mut write);
    group.finish();
}

impl<O: pace::Side, B: pace::Side> Pair for (O, B) {
    type Ours = O;
    type Bare = B;
    fn ours(&mut self) -> &mut O {
        &mut self.0
    }
    fn bare(&mut self) -> &mut B {
        &mut self.1
    }
}
