use std::collections::BTreeSet;

use schema::{Db, Fields, Slot, Table, WallMs};

use super::pair::{BOOT_MS, expected, healthy};
use crate::{Boots, Finding, Invariant, Model, Rows, Snapshot, WriteSeen, bfd, converge, local, quiet};

fn boots() -> Boots {
    [(("switch0".to_owned(), Slot(0)), WallMs(BOOT_MS))].into_iter().collect()
}

fn audit(snapshot: &Snapshot) -> Vec<Finding> {
    crate::audit(snapshot, Some(&expected()), &boots())
}

fn npu(snapshot: &mut Snapshot) -> &mut Rows {
    &mut snapshot.switches[0].rows
}

fn dpu(snapshot: &mut Snapshot) -> &mut Rows {
    &mut snapshot.switches[0].dpus[0].rows
}

fn own(snapshot: &mut Snapshot) -> &mut Rows {
    snapshot.switches[0].dpus[0].local.as_mut().unwrap()
}

fn edit(rows: &mut Rows, table: Table, key: &str, field: &str, value: &str) {
    let mut fields = rows.get(table, key).unwrap_or_else(|| panic!("{table} has no {key}")).clone();
    fields.set(field, value);
    rows.insert(table, key, fields);
}

fn take(rows: &mut Rows, table: Table, key: &str) {
    assert!(rows.remove(table, key).is_some(), "{table} has no {key}");
}

fn copy(rows: &mut Rows, table: Table, from: &str, to: &str) {
    let fields = rows.get(table, from).unwrap().clone();
    rows.insert(table, to, fields);
}

const SCOPE: &str = "vdpu0_0|haset0";
const SCOPE_CONFIG: &str = "vdpu0_0:haset0";
const BFD: &str = "default:default:10.1.1.32";
const SESSION: &str = "default|default|10.1.1.32";

#[test]
fn a_healthy_pair_has_no_findings() {
    assert_eq!(audit(&healthy()), []);
}

type Corruption = fn(&mut Snapshot);

#[test]
fn every_single_corruption_is_found_and_named() {
    use Invariant::{P1, P2, P3, P4, P5, P7, P9};
    let cases: &[(&str, Invariant, Table, Corruption)] = &[
        ("a HA set config is lost", P1, Table::DashHaSetConfig, |s| {
            take(npu(s), Table::DashHaSetConfig, "haset0");
        }),
        ("a HA set config too many", P1, Table::DashHaSetConfig, |s| {
            copy(npu(s), Table::DashHaSetConfig, "haset0", "haset9");
        }),
        ("a HA scope config is lost", P1, Table::DashHaScopeConfig, |s| {
            take(npu(s), Table::DashHaScopeConfig, SCOPE_CONFIG);
        }),
        ("a HA scope config too many", P1, Table::DashHaScopeConfig, |s| {
            copy(npu(s), Table::DashHaScopeConfig, SCOPE_CONFIG, "vdpu7_0:haset0");
        }),
        ("a config is no protobuf", P1, Table::DashHaSetConfig, |s| {
            edit(npu(s), Table::DashHaSetConfig, "haset0", "pb", "\u{7}\u{7}");
        }),
        ("a number is none", P1, Table::DpuResetInfo, |s| {
            edit(npu(s), Table::DpuResetInfo, "DPU0", "incarnation", "soon");
        }),
        ("the DPU lost its HA set", P1, Table::DashHaSet, |s| take(dpu(s), Table::DashHaSet, "haset0")),
        ("the DPU has an old HA set", P1, Table::DashHaSet, |s| {
            edit(dpu(s), Table::DashHaSet, "haset0", "version", "0");
        }),
        ("the DPU has another VIP", P1, Table::DashHaSet, |s| {
            edit(dpu(s), Table::DashHaSet, "haset0", "vip_v4", "3.2.1.9");
        }),
        ("the DPU has another address", P1, Table::DashHaSet, |s| {
            edit(dpu(s), Table::DashHaSet, "haset0", "local_ip", "18.0.0.9");
        }),
        ("the DPU is its own peer", P1, Table::DashHaSet, |s| {
            edit(dpu(s), Table::DashHaSet, "haset0", "peer_ip", "18.0.200.1");
        }),
        ("the DPU refused the HA set", P1, Table::DashHaSetResult, |s| {
            edit(dpu(s), Table::DashHaSetResult, "haset0", "result", "1");
        }),
        ("the DPU never answered for the HA set", P1, Table::DashHaSetResult, |s| {
            take(dpu(s), Table::DashHaSetResult, "haset0");
        }),
        ("the DPU lost its HA scope", P1, Table::DashHaScope, |s| {
            take(dpu(s), Table::DashHaScope, "haset0");
        }),
        ("the DPU has another role", P1, Table::DashHaScope, |s| {
            edit(dpu(s), Table::DashHaScope, "haset0", "ha_role", "standby");
        }),
        ("the DPU's scope is disabled", P1, Table::DashHaScope, |s| {
            edit(dpu(s), Table::DashHaScope, "haset0", "disabled", "true");
        }),
        ("an approval still stands", P1, Table::DashHaScope, |s| {
            edit(dpu(s), Table::DashHaScope, "haset0", "activate_role_requested", "true");
        }),
        ("the DPU refused the HA scope", P1, Table::DashHaScopeResult, |s| {
            edit(dpu(s), Table::DashHaScopeResult, "haset0", "result", "1");
        }),
        ("the DPU reports no state", P1, Table::DpuDashHaScopeState, |s| {
            take(dpu(s), Table::DpuDashHaScopeState, "haset0");
        }),
        ("the DPU is stuck on its way", P1, Table::DpuDashHaScopeState, |s| {
            edit(dpu(s), Table::DpuDashHaScopeState, "haset0", "ha_state", "connecting");
        }),
        ("a row waits for its consumer", P1, Table::DashHaScope, |s| {
            s.switches[0].dpus[0].unconsumed.insert((Table::DashHaScope, "haset0".into()));
        }),
        ("the NPU reports no state", P1, Table::DashHaScopeState, |s| {
            take(npu(s), Table::DashHaScopeState, SCOPE);
        }),
        ("the NPU reports another state", P1, Table::DashHaScopeState, |s| {
            edit(npu(s), Table::DashHaScopeState, SCOPE, "local_acked_asic_ha_state", "standalone");
        }),
        ("the NPU reports a state of nothing", P1, Table::DashHaScopeState, |s| {
            copy(npu(s), Table::DashHaScopeState, SCOPE, "vdpu7_0|haset0");
        }),
        ("an operation waits for ever", P1, Table::DashHaScopeState, |s| {
            edit(npu(s), Table::DashHaScopeState, SCOPE, "pending_operation_ids", "a1");
            edit(npu(s), Table::DashHaScopeState, SCOPE, "pending_operation_types", "activate_role");
        }),
        ("a VIP has no route", P1, Table::VnetRouteTunnel, |s| {
            take(npu(s), Table::VnetRouteTunnel, "Vnet_55:3.2.1.0");
        }),
        ("a route has no VIP", P1, Table::VnetRouteTunnel, |s| {
            copy(npu(s), Table::VnetRouteTunnel, "Vnet_55:3.2.1.0", "Vnet_55:3.2.1.9");
        }),
        ("nobody reports the DPU's health", P1, Table::DpuState, |s| take(npu(s), Table::DpuState, "DPU0")),
        ("the reset info is lost", P1, Table::DpuResetInfo, |s| take(npu(s), Table::DpuResetInfo, "DPU0")),
        ("the reset info says not ready", P1, Table::DpuResetInfo, |s| {
            edit(npu(s), Table::DpuResetInfo, "DPU0", "dpu_ready", "false");
        }),
        ("nobody dealt with a reset", P1, Table::DashHaScopeConfig, |s| {
            edit(npu(s), Table::DpuResetInfo, "DPU0", "reset_status", "true");
        }),
        ("the DPU has a HA set of nobody", P2, Table::DashHaSet, |s| {
            copy(dpu(s), Table::DashHaSet, "haset0", "haset9");
        }),
        ("the DPU reports a scope of nobody", P2, Table::DpuDashHaScopeState, |s| {
            copy(dpu(s), Table::DpuDashHaScopeState, "haset0", "haset9");
        }),
        ("a result is of a scope of nobody", P2, Table::DashHaScopeResult, |s| {
            copy(dpu(s), Table::DashHaScopeResult, "haset0", "haset9");
        }),
        ("the state is of an earlier life", P2, Table::DashHaScopeState, |s| {
            edit(npu(s), Table::DashHaScopeState, SCOPE, "incarnation", "1700000000000");
        }),
        ("the boot id is of an earlier life", P2, Table::DpuResetInfo, |s| {
            edit(npu(s), Table::DpuResetInfo, "DPU0", "boot_id", "earlier");
        }),
        ("the DPU's state is older than its boot", P2, Table::DpuDashHaScopeState, |s| {
            let before = (BOOT_MS / 1000 - 1).to_string();
            edit(dpu(s), Table::DpuDashHaScopeState, "haset0", "last_updated_time", &before);
        }),
        ("the restart was not noticed", P2, Table::DpuResetInfo, |s| {
            let before = (BOOT_MS - 1).to_string();
            edit(npu(s), Table::DpuResetInfo, "DPU0", "incarnation", &before);
        }),
        ("a scope is applied without a fence", P3, Table::DashHaScopeFence, |s| {
            take(npu(s), Table::DashHaScopeFence, SCOPE);
        }),
        ("a scope of an earlier life is applied", P3, Table::DashHaScopeFence, |s| {
            edit(npu(s), Table::DashHaScopeFence, SCOPE, "incarnation", "1700000000000");
        }),
        ("a fence is of no configuration", P3, Table::DashHaScopeFence, |s| {
            copy(npu(s), Table::DashHaScopeFence, SCOPE, "vdpu7_0|haset0");
        }),
        ("a BFD row is missing", P4, Table::BfdSession, |s| take(dpu(s), Table::BfdSession, BFD)),
        ("a BFD row too many", P4, Table::BfdSession, |s| {
            copy(dpu(s), Table::BfdSession, BFD, "default:default:10.1.7.32");
        }),
        ("a BFD row of another VRF", P4, Table::BfdSession, |s| {
            copy(dpu(s), Table::BfdSession, BFD, "Vrf1:default:10.1.1.32");
        }),
        ("a BFD row with another local address", P4, Table::BfdSession, |s| {
            edit(dpu(s), Table::BfdSession, BFD, "local_addr", "18.0.0.9");
        }),
        ("BFD rows of a DPU that is down", P4, Table::BfdSession, |s| {
            edit(npu(s), Table::DpuState, "DPU0", "dpu_control_plane_state", "down");
        }),
        ("the DPU lacks a session", P4, Table::BfdSoftwareSession, |s| {
            take(own(s), Table::BfdSoftwareSession, SESSION);
        }),
        ("the DPU has a session too many", P4, Table::BfdSoftwareSession, |s| {
            copy(own(s), Table::BfdSoftwareSession, SESSION, "default|default|10.1.7.32");
        }),
        ("sessions though the scope is dead", P4, Table::BfdSoftwareSession, |s| {
            edit(dpu(s), Table::DpuDashHaScopeState, "haset0", "ha_state", "dead");
        }),
        ("sessions though the scope is being shut down", P4, Table::BfdSoftwareSession, |s| {
            edit(dpu(s), Table::DashHaScope, "haset0", "ha_role", "dead");
        }),
        ("a scope without its set", P5, Table::DashHaScope, |s| take(dpu(s), Table::DashHaSet, "haset0")),
        ("both sides are configured to decide", P7, Table::DashHaScopeConfig, |s| {
            let config = npu(s).get(Table::DashHaScopeConfig, SCOPE_CONFIG).unwrap().clone();
            s.switches[1].rows.insert(Table::DashHaScopeConfig, "vdpu1_0:haset0", config);
        }),
        ("both sides decide", P7, Table::DpuDashHaScopeState, |s| {
            let rows = &mut s.switches[1].dpus[0].rows;
            edit(rows, Table::DpuDashHaScopeState, "haset0", "ha_state", "standalone");
        }),
        ("one operation at both sides", P9, Table::DashHaScopeState, |s| {
            for (i, key) in [(0, SCOPE), (1, "vdpu1_0|haset0")] {
                let rows = &mut s.switches[i].rows;
                edit(rows, Table::DashHaScopeState, key, "pending_operation_ids", "a1");
                edit(rows, Table::DashHaScopeState, key, "pending_operation_types", "activate_role");
            }
        }),
        ("an operation without a type", P9, Table::DashHaScopeState, |s| {
            edit(npu(s), Table::DashHaScopeState, SCOPE, "pending_operation_ids", "a1");
        }),
    ];
    for (name, invariant, table, corrupt) in cases {
        let mut snapshot = healthy();
        corrupt(&mut snapshot);
        let findings = audit(&snapshot);
        let found = findings.iter().any(|f| f.invariant == *invariant && f.table == Some(*table));
        assert!(found, "{name}: {invariant} {table} not among {findings:#?}");
        assert!(findings.iter().all(|f| !f.to_string().is_empty()), "{name}");
    }
}

#[test]
fn a_down_dpu_needs_no_rows_and_an_unknown_one_proves_nothing_about_bfd() {
    let mut snapshot = healthy();
    edit(npu(&mut snapshot), Table::DpuState, "DPU0", "dpu_midplane_link_state", "down");
    edit(npu(&mut snapshot), Table::DpuResetInfo, "DPU0", "dpu_ready", "false");
    for table in [Table::DashHaSet, Table::DashHaScope, Table::BfdSession, Table::DpuDashHaScopeState] {
        dpu(&mut snapshot).clear(table);
    }
    snapshot.switches[0].dpus[0].local = None;
    let model = Model::of(&snapshot);
    assert_eq!(converge(&model, None), []);
    assert_eq!(bfd(&model), []);
    let left = converge(&model, Some(&expected()));
    let [left] = left.as_slice() else { panic!("{left:#?}") };
    assert_eq!(
        (left.key.as_str(), left.what.as_str()),
        (SCOPE_CONFIG, "still there, though the DPU is down")
    );
    for (table, key) in [
        (Table::DashHaSetConfig, "haset0"),
        (Table::DashHaScopeConfig, SCOPE_CONFIG),
        (Table::DashHaScopeState, SCOPE),
        (Table::VnetRouteTunnel, "Vnet_55:3.2.1.0"),
    ] {
        take(npu(&mut snapshot), table, key);
    }
    assert_eq!(converge(&Model::of(&snapshot), Some(&expected())), [], "step 4 is done");

    let mut unknown = healthy();
    take(npu(&mut unknown), Table::DpuState, "DPU0");
    assert_eq!(bfd(&Model::of(&unknown)), []);
}

#[test]
fn only_the_heartbeat_may_be_written_at_rest() {
    let write = |db, key: &str, op: &str| WriteSeen {
        place: "switch0".into(),
        db,
        redis_key: key.into(),
        op: op.into(),
    };
    let heartbeat = write(Db::StateDb, "DASH_HA_SCOPE_STATE|vdpu0_0|haset0", "hset");
    assert_eq!(quiet(&[heartbeat.clone(), heartbeat.clone()]), []);
    let cases = [
        write(Db::StateDb, "DASH_HA_SCOPE_STATE|vdpu0_0|haset0", "del"),
        write(Db::StateDb, "DPU_RESET_INFO|DPU0", "hset"),
        write(Db::ChassisStateDb, "DPU_STATE|DPU0", "hset"),
        write(Db::DpuApplDb, "_DASH_HA_SET_TABLE:haset0", "hset"),
    ];
    for case in cases {
        let findings = quiet(&[heartbeat.clone(), case.clone(), case.clone()]);
        assert_eq!(findings.len(), 1, "{case:?}");
        assert!(findings[0].what.contains("2 times"), "{findings:?}");
    }
}

fn restarted() -> BTreeSet<(String, Slot)> {
    [("switch0".to_owned(), Slot(0))].into_iter().collect()
}

#[test]
fn a_restart_may_change_its_own_rows_and_reports_of_the_peer_only() {
    let before = healthy();
    let mut after = healthy();
    npu(&mut after).clear(Table::DashHaScopeConfig);
    npu(&mut after).clear(Table::DpuState);
    dpu(&mut after).clear(Table::DashHaSet);
    let peer = &mut after.switches[1];
    edit(&mut peer.rows, Table::DashHaScopeState, "vdpu1_0|haset0", "local_ha_state", "standalone");
    let peer = &mut peer.dpus[0].rows;
    edit(peer, Table::DpuDashHaScopeState, "haset0", "ha_state", "standalone");
    edit(peer, Table::DashHaScope, "haset0", "activate_role_requested", "true");
    assert_eq!(local(&before, &after, &restarted()), []);
}

#[test]
fn a_restart_that_touches_another_dpu_is_found() {
    let cases: &[(&str, Table, Corruption)] = &[
        ("the peer's BFD", Table::BfdSession, |s| s.switches[1].dpus[0].rows.clear(Table::BfdSession)),
        ("the peer's role", Table::DashHaScope, |s| {
            edit(&mut s.switches[1].dpus[0].rows, Table::DashHaScope, "haset0", "ha_role", "active");
        }),
        ("the peer's HA set config", Table::DashHaSetConfig, |s| {
            s.switches[1].rows.clear(Table::DashHaSetConfig);
        }),
        ("the peer's HA scope config", Table::DashHaScopeConfig, |s| {
            s.switches[1].rows.clear(Table::DashHaScopeConfig);
        }),
        ("the peer's health", Table::DpuState, |s| {
            edit(&mut s.switches[1].rows, Table::DpuState, "DPU0", "dpu_data_plane_state", "down");
        }),
        ("the peer's sessions", Table::BfdSoftwareSession, |s| {
            s.switches[1].dpus[0].local.as_mut().unwrap().clear(Table::BfdSoftwareSession);
        }),
        ("a row out of nowhere", Table::DashHaSet, |s| {
            s.switches[1].dpus[0].rows.insert(Table::DashHaSet, "haset9", Fields::placeholder());
        }),
    ];
    for (name, table, corrupt) in cases {
        let mut after = healthy();
        corrupt(&mut after);
        let findings = local(&healthy(), &after, &restarted());
        assert!(findings.iter().any(|f| f.table == Some(*table)), "{name}: {findings:?}");
    }
}
