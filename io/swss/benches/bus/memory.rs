//! Memory per watched row: `cargo bench -p swss --bench bus -- --memory`, a process of its own.

use schema::{Db, Table};
use swss::testing::RedisServer;
use swss::{Reader, Update};

use crate::rows;

const COUNT: usize = 100_000;
const PAGE_BYTES: usize = 4096;

/// Resident memory of this process, bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * PAGE_BYTES
}

/// Prints what a reader of 100,000 rows costs while it holds them, and at its peak.
pub async fn measure(server: &RedisServer) {
    let mut writer = rows::connect(server, redis::AsyncConnectionConfig::new()).await;
    rows::hset(&mut writer, Table::DpuDashHaScopeState.name(), COUNT, 0).await;
    let bytes: usize = rows::fields(0).iter().map(|(name, value)| name.len() + value.as_bytes().len()).sum();
    let before = resident();
    let mut reader = Reader::subscribe(&server.endpoint(Db::DpuStateDb), &[Table::DpuDashHaScopeState]);
    let mut seen = 0;
    let mut peak = 0;
    loop {
        match reader.next().await {
            Update::Changes(changes) => {
                peak = resident();
                seen += changes.len();
            }
            Update::Synced => break,
            Update::Lost { reason } => panic!("{reason}"),
        }
    }
    assert_eq!(seen, COUNT);
    let after = resident();
    println!(
        "{COUNT} rows of {} fields, {bytes} bytes of names and values each: {} bytes per row held, {} at the peak of the \
         initial read",
        rows::fields(0).len(),
        (after - before) / COUNT,
        (peak - before) / COUNT
    );
}
