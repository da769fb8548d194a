//! The audit: reads every database anew, by connections of its own (`io/snapshot`), and applies the invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use invariants::{Expected, Finding, Snapshot};
use schema::Db;
use snapshot::{Database, Dpu, Local, Switch};

use crate::files::Dirs;
use crate::redis::endpoint;
use crate::topology::{DpuId, Topology, switch_name};

/// How long a database may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Databases do not answer the audit.
#[derive(Debug, thiserror::Error)]
#[error("the audit cannot read everything: {0}")]
pub struct AuditError(String);

/// Everything that one snapshot tells: P1 to P5, P7 and P9.
pub fn findings(snapshot: &Snapshot, expected: &Expected, boots: &invariants::Boots) -> Vec<Finding> {
    invariants::audit(snapshot, Some(expected), boots)
}

/// Reads every database of the lab. DPUs in `off` are known to have none of their own.
///
/// # Errors
/// A database does not answer.
pub async fn read(dirs: &Dirs, topology: &Topology, off: &BTreeSet<DpuId>) -> Result<Snapshot, AuditError> {
    let at = |dir: &Path, dbs: &[Db]| -> Vec<Database> {
        dbs.iter().map(|db| endpoint(dir, *db).into()).collect()
    };
    let dpu = |dpu: DpuId| Dpu {
        slot: dpu.slot,
        databases: at(&dirs.dpu_on_npu(dpu), &[Db::DpuApplDb, Db::DpuApplStateDb, Db::DpuStateDb]),
        local: match off.contains(&dpu) {
            true => Local::Unasked,
            false => Local::At(endpoint(&dirs.dpu(dpu), Db::StateDb)),
        },
    };
    let switch = |switch| {
        let mut databases = at(&dirs.npu(switch), &[Db::ConfigDb, Db::ApplDb, Db::StateDb]);
        databases.extend(at(&dirs.chassis(switch), &[Db::ChassisStateDb]));
        Switch { name: switch_name(switch), databases, dpus: topology.dpus_of(switch).map(dpu).collect() }
    };
    let switches: Vec<Switch> = topology.switches().map(switch).collect();
    let reading = snapshot::read(&switches, ANSWER_TIMEOUT).await;
    let failures: Vec<&str> = reading.failures().map(|(_, reason)| reason).collect();
    if failures.is_empty() { Ok(reading.snapshot) } else { Err(AuditError(failures.join("; "))) }
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
