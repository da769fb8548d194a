//! The audit: reads every database anew, by connections of its own, and applies the invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use invariants::{
    Boots, DpuSnapshot, Expected, Finding, Model, Rows, Snapshot, SwitchSnapshot, bfd, converge, fenced,
    fresh, once, one_decider, order,
};
use schema::{Db, Table};
use swss::{Connection, Endpoint, Error, Reply};

use crate::files::Dirs;
use crate::redis::endpoint;
use crate::topology::{DpuId, Topology, switch_name};

/// How long a database may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A database does not answer the audit.
#[derive(Debug, thiserror::Error)]
#[error("the audit cannot read {db} of {place}")]
pub struct AuditError {
    place: String,
    db: Db,
    #[source]
    source: Error,
}

/// Everything that one snapshot tells: P1 to P5, P7 and P9.
pub fn findings(snapshot: &Snapshot, expected: &Expected, boots: &Boots) -> Vec<Finding> {
    let model = Model::of(snapshot);
    let mut all = converge(&model, Some(expected));
    all.extend(fresh(&model, boots));
    all.extend(fenced(&model));
    all.extend(bfd(&model));
    all.extend(order(snapshot));
    all.extend(one_decider(&model));
    all.extend(once(&model));
    all
}

/// Reads every database of the lab. DPUs in `off` are known to have none of their own.
///
/// # Errors
/// A database does not answer.
pub async fn read(dirs: &Dirs, topology: &Topology, off: &BTreeSet<DpuId>) -> Result<Snapshot, AuditError> {
    let mut snapshot = Snapshot::default();
    for switch in topology.switches() {
        let mut rows = Rows::new();
        let name = switch_name(switch);
        for db in [Db::ConfigDb, Db::ApplDb, Db::StateDb] {
            read_into(&mut rows, &name, &endpoint(&dirs.npu(switch), db)).await?;
        }
        read_into(&mut rows, &name, &endpoint(&dirs.chassis(switch), Db::ChassisStateDb)).await?;
        let mut dpus = Vec::new();
        for dpu in topology.dpus_of(switch) {
            dpus.push(read_dpu(dirs, dpu, off).await?);
        }
        snapshot.switches.push(SwitchSnapshot { name, rows, dpus });
    }
    Ok(snapshot)
}

async fn read_dpu(dirs: &Dirs, dpu: DpuId, off: &BTreeSet<DpuId>) -> Result<DpuSnapshot, AuditError> {
    let (place, dir) = (dpu.to_string(), dirs.dpu_on_npu(dpu));
    let mut rows = Rows::new();
    let mut unconsumed = BTreeSet::new();
    for db in [Db::DpuApplDb, Db::DpuApplStateDb, Db::DpuStateDb] {
        let waiting = read_into(&mut rows, &place, &endpoint(&dir, db)).await?;
        unconsumed.extend(waiting);
    }
    let local = if off.contains(&dpu) {
        None
    } else {
        let mut rows = Rows::new();
        read_into(&mut rows, &format!("{place} itself"), &endpoint(&dirs.dpu(dpu), Db::StateDb)).await?;
        Some(rows)
    };
    Ok(DpuSnapshot { slot: dpu.slot, rows, unconsumed, local })
}

/// Reads the rows of all our tables; returns those that wait for a consumer.
async fn read_into(
    rows: &mut Rows,
    place: &str,
    endpoint: &Endpoint,
) -> Result<Vec<(Table, String)>, AuditError> {
    let db = endpoint.db;
    let failed = |source| AuditError { place: place.to_owned(), db, source };
    let connection = Connection::open_within(endpoint, ANSWER_TIMEOUT).await.map_err(failed)?;
    let tables: Vec<Table> = Table::ALL.iter().copied().filter(|table| table.db() == db).collect();
    let mut unconsumed = Vec::new();
    for table in tables {
        for (key, fields) in connection.rows(table).await.map_err(failed)? {
            rows.insert(table, key, fields);
        }
        // `reference/swss-wire.md` 3: the keys that a ConsumerStateTable has not popped yet.
        let waiting = connection.command(&["SMEMBERS", &format!("{table}_KEY_SET")]).await.map_err(failed)?;
        unconsumed.extend(words(waiting).into_iter().map(|key| (table, key)));
    }
    Ok(unconsumed)
}

fn words(reply: Reply) -> Vec<String> {
    let items = match reply {
        Reply::Array(items) | Reply::Set(items) => items,
        _ => Vec::new(),
    };
    let word = |item| match item {
        Reply::BulkString(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Reply::SimpleString(text) => Some(text),
        _ => None,
    };
    items.into_iter().filter_map(word).collect()
}

/// The CPU time that each process has used so far, to the nanosecond where the kernel tells it.
pub fn cpu(running: &[(String, u32)]) -> BTreeMap<String, Duration> {
    let used = |pid: u32| threads(pid).or_else(|| ticks(pid));
    running.iter().filter_map(|(name, pid)| Some((name.clone(), used(*pid)?))).collect()
}

/// Sum over the threads of `schedstat`, in nanoseconds.
fn threads(pid: u32) -> Option<Duration> {
    let mut total = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        total += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(total))
}

/// User and system time of `/proc/<pid>/stat`, in hundredths of a second.
fn ticks(pid: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name may hold blanks; it ends with the last parenthesis.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Duration::from_millis((user + system) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_of_this_process_only_grows() {
        let me = vec![("me".to_owned(), std::process::id())];
        let before = cpu(&me);
        let mut x = 0u64;
        for i in 0..2_000_000u64 {
            x = std::hint::black_box(x ^ i.wrapping_mul(31));
        }
        let after = cpu(&me);
        assert!(after["me"] >= before["me"], "{x} {before:?} {after:?}");
        assert!(ticks(std::process::id()).is_some());
    }
}
