//! Bad rows in a running pair: each is logged once with table, key and field, and nothing else stops.
//!
//! The daemons must be built first (`cargo build --workspace --bins`; `make test` does). Rows that somebody else of the pair
//! would put right at once are covered by process tests: what only haorchd reads by its own, what haorchd writes by hamgrd's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod running;

use std::path::{Path, PathBuf};
use std::time::Duration;

use schema::{Db, Fields, Table, Value};
use swss::Connection;
use swss::testing::wait_until;

use crate::running::Lab;

const PATIENCE: Duration = Duration::from_secs(30);

/// A bad row, and who says so.
struct Bad {
    daemon: &'static str,
    device: &'static str,
    table: Table,
    key: &'static str,
    /// A field that is bad; empty where the key is.
    field: &'static str,
    value: Vec<u8>,
}

fn bad(daemon: &'static str, table: Table, key: &'static str, field: &'static str, value: &str) -> Bad {
    Bad { daemon, device: "switch0", table, key, field, value: value.as_bytes().to_vec() }
}

fn bad_rows() -> Vec<Bad> {
    let huge = "x".repeat(1024 * 1024);
    vec![
        bad("switch0-hamgrd", Table::Dpu, "dpu9", "dpu_id", "seven"),
        bad("switch0-hamgrd", Table::RemoteDpu, "dpu8", "pa_ipv4", "10.0.0"),
        bad("switch0-hamgrd", Table::Vdpu, "vdpu9_9", "main_dpu_ids", &huge),
        bad("switch0-hamgrd", Table::DashHaGlobalConfig, "GLOBAL", "dpu_bfd_probe_interval_in_ms", "fast"),
        bad("switch0-hamgrd", Table::LoopbackInterface, "Loopback0|300.0.0.1/32", "(key)", "NULL"),
        bad("switch0-hamgrd", Table::DashHaSetConfig, "other", "pb", "\u{1}this is no protobuf"),
        bad("switch0-hamgrd", Table::DashHaSetConfig, "another", "pb", &huge),
        // Owner 7: no such enum value.
        bad("switch0-hamgrd", Table::DashHaScopeConfig, "vdpu9_9:other", "pb.owner", "\u{18}\u{7}"),
        bad("switch0-hamgrd", Table::DpuState, "DPU9", "dpu_midplane_link_state", "sideways"),
        bad("ha-controller", Table::DpuState, "DPU8", "dpu_control_plane_state", "maybe"),
        bad("switch0-pmond", Table::Dpu, "dpu7", "dpu_id", "300"),
        Bad {
            device: "switch0/dpu0",
            ..bad("switch0-dpu0-pmond", Table::PortTable, "Ethernet9", "oper_status", "odd")
        },
    ]
}

impl Bad {
    /// The field as Redis has it: what is inside a protobuf message is in `pb`, and a bad key has some field.
    fn fields(&self) -> Fields {
        let field = match self.field {
            "(key)" => "NULL",
            inside if inside.starts_with("pb.") => "pb",
            plain => plain,
        };
        [(field, Value::from(self.value.clone()))].into_iter().collect()
    }

    async fn write(&self, lab: &Lab) {
        let connection = lab.database(self.device, "", self.table.db()).await;
        connection.hset(&self.table.redis_key(self.key), &self.fields()).await.unwrap();
    }

    /// How often the daemon has said so.
    fn said(&self, log: &Path) -> usize {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let Self { table, key, field, .. } = self;
        let names = format!("table={table} key={key:?} field={field:?}");
        text.lines().filter(|line| line.contains("bad row") && line.contains(&names)).count()
    }
}

fn log(lab: &Lab, daemon: &str) -> PathBuf {
    lab.file("log").join(format!("{daemon}.log"))
}

/// `incarnation` and acknowledged state of the HA scope of DPU 0 of the switch.
async fn scope_state(state_db: &Connection, vdpu: &str) -> Option<(String, String)> {
    let row = state_db.row(Table::DashHaScopeState, &format!("{vdpu}|haset0")).await.ok()??;
    Some((row.text("incarnation")?.to_owned(), row.text("local_acked_asic_ha_state")?.to_owned()))
}

#[tokio::test]
async fn a_bad_row_is_logged_once_and_nothing_else_stops() {
    let lab = Lab::up();
    for bad in &bad_rows() {
        let log = log(&lab, bad.daemon);
        // The same row again changes nothing, and is not logged again.
        bad.write(&lab).await;
        bad.write(&lab).await;
        let what = format!("{} says that {} {} is bad", bad.daemon, bad.table, bad.key);
        wait_until(&what, PATIENCE, async || (bad.said(&log) > 0).then_some(())).await.unwrap();
    }

    // With all of that in the databases, a DPU loses its databases and the whole procedure runs.
    let state_db = lab.database("switch0", "", Db::StateDb).await;
    let (before, state) = scope_state(&state_db, "vdpu0_0").await.expect("the pair is up");
    assert_eq!(state, "active");
    lab.database("switch0", "dpu0", Db::DpuApplDb).await.flushdb().await.unwrap();
    let back = wait_until("the DPU is programmed again in a new life", PATIENCE, async || {
        let (incarnation, state) = scope_state(&state_db, "vdpu0_0").await?;
        (incarnation != before && ["active", "standby"].contains(&state.as_str())).then_some(state)
    });
    back.await.unwrap();

    for bad in &bad_rows() {
        assert_eq!(bad.said(&log(&lab, bad.daemon)), 1, "{} {}", bad.table, bad.key);
    }
}
