//! Golden rows of a DPU's databases: `reference/hamgrd.md` 2.2, `reference/dpu-side.md` 1.1, 1.5 and 2.4.

use super::golden::{Golden, ha_set, ip, scope, text, v4, v6};
use crate::dpu_appl_db::{BfdKey, BfdSession, HaScope, HaSet};
use crate::dpu_appl_state_db::{HaScopeResult, HaSetResult, RESULT_FAILED, RESULT_OK};
use crate::dpu_state_db::{BfdProbeState, DashHa, HaScopeState, HaSetState};
use crate::state_db::{DpuBfdProbeState, NoKey};
use crate::{AsicHaRole, AsicHaState, HaOwner, HaScopeKind, LinkState, PmonTime, WallMs};

#[test]
fn a_ha_set_for_the_dpu() {
    Golden::new(
        HaSet {
            version: text("1"),
            vip_v4: Some(v4("10.3.0.1")),
            vip_v6: Some(v6("fd00::1")),
            owner: Some(HaOwner::Dpu),
            scope: Some(HaScopeKind::Dpu),
            local_npu_ip: Some(ip("10.1.0.32")),
            local_ip: Some(ip("18.0.202.1")),
            peer_ip: Some(ip("18.1.202.1")),
            cp_data_channel_port: Some(11234),
            dp_channel_dst_port: Some(11235),
            dp_channel_src_port_min: Some(11236),
            dp_channel_src_port_max: Some(65535),
            dp_channel_probe_interval_ms: Some(500),
            dp_channel_probe_fail_threshold: Some(5),
        },
        ha_set("haset0_0"),
        "DASH_HA_SET_TABLE:haset0_0",
        &[
            ("version", "1"),
            ("vip_v4", "10.3.0.1"),
            ("vip_v6", "fd00::1"),
            ("owner", "dpu"),
            ("scope", "dpu"),
            ("local_npu_ip", "10.1.0.32"),
            ("local_ip", "18.0.202.1"),
            ("peer_ip", "18.1.202.1"),
            ("cp_data_channel_port", "11234"),
            ("dp_channel_dst_port", "11235"),
            ("dp_channel_src_port_min", "11236"),
            ("dp_channel_src_port_max", "65535"),
            ("dp_channel_probe_interval_ms", "500"),
            ("dp_channel_probe_fail_threshold", "5"),
        ],
    )
    .free_text(&["version"])
    .check();
}

#[test]
fn a_ha_scope_for_the_dpu() {
    Golden::new(
        HaScope {
            version: text("1"),
            disabled: false,
            ha_role: AsicHaRole::SwitchingToActive,
            ha_term: Some(0),
            ha_set_id: Some(ha_set("haset0_0")),
            vip_v4: Some(v4("10.3.0.1")),
            vip_v6: Some(v6("fd00::1")),
            flow_reconcile_requested: Some(false),
            activate_role_requested: Some(true),
            brainsplit_recovered: Some(false),
        },
        scope("haset0_0"),
        "DASH_HA_SCOPE_TABLE:haset0_0",
        &[
            ("version", "1"),
            ("disabled", "false"),
            ("ha_role", "switching_to_active"),
            ("ha_term", "0"),
            ("ha_set_id", "haset0_0"),
            ("vip_v4", "10.3.0.1"),
            ("vip_v6", "fd00::1"),
            ("flow_reconcile_requested", "false"),
            ("activate_role_requested", "true"),
            ("brainsplit_recovered", "false"),
        ],
    )
    .required(&["ha_role"])
    .free_text(&["version"])
    .ids(&["ha_set_id"])
    .check();
}

#[test]
fn a_bfd_session_for_the_dpu() {
    Golden::new(
        BfdSession {
            tx_interval_ms: Some(1000),
            rx_interval_ms: Some(1000),
            multiplier: Some(3),
            multihop: true,
            shutdown: false,
            local_addr: Some(ip("18.0.202.1")),
            kind: text("passive"),
        },
        BfdKey::to_npu(ip("10.1.0.32")),
        "BFD_SESSION_TABLE:default:default:10.1.0.32",
        &[
            ("tx_interval", "1000"),
            ("rx_interval", "1000"),
            ("multiplier", "3"),
            ("multihop", "true"),
            ("shutdown", "false"),
            ("local_addr", "18.0.202.1"),
            ("type", "passive"),
        ],
    )
    .free_text(&["type"])
    .check();
}

#[test]
fn the_result_of_a_ha_set() {
    Golden::new(
        HaSetResult { result: RESULT_OK, version: text("1") },
        ha_set("haset0_0"),
        "DASH_HA_SET_TABLE|haset0_0",
        &[("result", "0"), ("version", "1")],
    )
    .required(&["result"])
    .free_text(&["version"])
    .check();
}

#[test]
fn the_result_of_a_ha_scope() {
    Golden::new(
        HaScopeResult { result: RESULT_FAILED, version: text("1") },
        scope("haset0_0"),
        "DASH_HA_SCOPE_TABLE|haset0_0",
        &[("result", "1"), ("version", "1")],
    )
    .required(&["result"])
    .free_text(&["version"])
    .check();
}

#[test]
fn the_state_of_a_ha_set_on_the_dpu() {
    Golden::new(
        HaSetState { last_updated_time_s: Some(1_717_534_800), dp_channel_is_alive: Some(LinkState::Down) },
        ha_set("haset0_0"),
        "DASH_HA_SET_STATE_TABLE|haset0_0",
        &[("last_updated_time", "1717534800"), ("dp_channel_is_alive", "down")],
    )
    .check();
}

#[test]
fn the_state_of_a_ha_scope_on_the_dpu() {
    Golden::new(
        HaScopeState {
            last_updated_time_s: Some(1_717_534_803),
            ha_role: Some(AsicHaRole::Active),
            ha_role_start_time_s: Some(1_717_534_801),
            ha_state: Some(AsicHaState::SwitchingToStandalone),
            ha_state_start_time_s: Some(1_717_534_802),
            ha_term: Some(4_294_967_295),
            activate_role_pending: true,
            flow_reconcile_pending: false,
            brainsplit_recover_pending: true,
        },
        scope("haset0_0"),
        "DASH_HA_SCOPE_STATE_TABLE|haset0_0",
        &[
            ("last_updated_time", "1717534803"),
            ("ha_role", "active"),
            ("ha_role_start_time", "1717534801"),
            ("ha_state", "switching_to_standalone"),
            ("ha_state_start_time", "1717534802"),
            ("ha_term", "4294967295"),
            ("activate_role_pending", "true"),
            ("flow_reconcile_pending", "false"),
            ("brainsplit_recover_pending", "true"),
        ],
    )
    .check();
}

#[test]
fn the_bfd_sessions_that_are_up() {
    let at = |second: i64| Some(PmonTime::from(WallMs((1_717_534_800 + second) * 1000)));
    Golden::new(
        BfdProbeState {
            v4_bfd_up_sessions: vec![v4("10.1.0.32"), v4("10.1.0.33")],
            v4_bfd_up_sessions_timestamp: at(0),
            v6_bfd_up_sessions: vec![v6("fd00::32")],
            v6_bfd_up_sessions_timestamp: at(1),
        },
        DashHa,
        "DASH_BFD_PROBE_STATE|dash_ha",
        &[
            ("v4_bfd_up_sessions", r#""10.1.0.32", "10.1.0.33""#),
            ("v4_bfd_up_sessions_timestamp", r#""Tue Jun 04 09:00:00 PM UTC 2024""#),
            ("v6_bfd_up_sessions", r#""fd00::32""#),
            ("v6_bfd_up_sessions_timestamp", r#""Tue Jun 04 09:00:01 PM UTC 2024""#),
        ],
    )
    .lists(&["v4_bfd_up_sessions", "v6_bfd_up_sessions"])
    .check();
}

#[test]
fn the_bfd_sessions_that_are_up_in_the_dpus_own_database() {
    Golden::new(
        DpuBfdProbeState {
            v4_bfd_up_sessions: vec![v4("10.1.0.32")],
            v4_bfd_up_sessions_timestamp: Some(PmonTime::from(WallMs(1_717_534_800_000))),
            v6_bfd_up_sessions: vec![],
            v6_bfd_up_sessions_timestamp: Some(PmonTime::from(WallMs(1_717_534_801_000))),
        },
        NoKey,
        "DPU_BFD_PROBE_STATE",
        &[
            ("v4_bfd_up_sessions", r#""10.1.0.32""#),
            ("v4_bfd_up_sessions_timestamp", r#""Tue Jun 04 09:00:00 PM UTC 2024""#),
            ("v6_bfd_up_sessions", ""),
            ("v6_bfd_up_sessions_timestamp", r#""Tue Jun 04 09:00:01 PM UTC 2024""#),
        ],
    )
    .lists(&["v4_bfd_up_sessions", "v6_bfd_up_sessions"])
    .check();
}
