//! Golden rows of STATE_DB and CHASSIS_STATE_DB: `reference/hamgrd.md` 2.3-2.4, `reference/pmon.md` 1,
//! `reference/controller.md` 2.5.

use super::golden::{Golden, ip, operation, scope, text, v4, v6, vdpu};
use crate::appl_db::{HaScopeConfigKey, VnetRouteKey};
use crate::chassis_state_db::DpuState;
use crate::dpu_appl_db::BfdKey;
use crate::state_db::{
    BfdSoftwareSession, ChassisMidplane, DpuResetInfo, HaScopeFence, HaScopeState, NpuBfdSession, PythonBool,
    SystemReady, SystemState, VnetRouteTunnelState,
};
use crate::{
    AsicHaState, BfdState, DesiredHaState, DpuName, LinkState, OperationType, PmonTime, RecoveryStatus,
    RouteState, Slot, WallMs,
};

fn scope_key() -> HaScopeConfigKey {
    HaScopeConfigKey { vdpu: vdpu("vdpu0_0"), scope: scope("haset0_0") }
}

fn ms(ms: i64) -> Option<WallMs> {
    Some(WallMs(ms))
}

/// `second` seconds after `Tue Jun 04 09:00:00 PM UTC 2024`.
fn pmon_time(second: i64) -> Option<PmonTime> {
    Some(PmonTime::from(WallMs((1_717_534_800 + second) * 1000)))
}

#[test]
fn the_state_of_a_scope_for_the_controller() {
    Golden::new(
        HaScopeState {
            version: text("7"),
            creation_time_ms: ms(1_717_534_800_001),
            last_heartbeat_time_ms: ms(1_717_534_800_002),
            vip_v4: Some(v4("3.2.1.0")),
            vip_v6: Some(v6("fd00::1")),
            local_ip: Some(ip("18.0.202.1")),
            peer_ip: Some(ip("18.1.202.1")),
            local_vdpu_midplane_state: Some(LinkState::Up),
            local_vdpu_midplane_state_time_ms: ms(3),
            local_vdpu_control_plane_state: Some(LinkState::Down),
            local_vdpu_control_plane_state_time_ms: ms(4),
            local_vdpu_data_plane_state: None,
            local_vdpu_data_plane_state_time_ms: ms(5),
            local_vdpu_up_bfd_sessions_v4: vec![v4("10.1.0.32"), v4("10.1.0.33")],
            local_vdpu_up_bfd_sessions_v4_time_ms: ms(6),
            local_vdpu_up_bfd_sessions_v6: vec![],
            local_vdpu_up_bfd_sessions_v6_time_ms: ms(7),
            local_ha_state: Some(AsicHaState::PendingActiveActivation),
            local_ha_state_time_ms: ms(8),
            local_ha_state_reason: text("dpu initiated"),
            local_target_asic_ha_state: Some(DesiredHaState::Unspecified),
            local_acked_asic_ha_state: Some(AsicHaState::Connected),
            local_target_term: Some(9),
            local_acked_term: Some(10),
            pending_operation_ids: vec![operation("a-1"), operation("b-2")],
            pending_operation_types: vec![OperationType::ActivateRole, OperationType::BrainsplitRecover],
            pending_operation_list_time_ms: ms(11),
            incarnation: Some(12),
        },
        scope_key(),
        "DASH_HA_SCOPE_STATE|vdpu0_0|haset0_0",
        &[
            ("version", "7"),
            ("creation_time_in_ms", "1717534800001"),
            ("last_heartbeat_time_in_ms", "1717534800002"),
            ("vip_v4", "3.2.1.0"),
            ("vip_v6", "fd00::1"),
            ("local_ip", "18.0.202.1"),
            ("peer_ip", "18.1.202.1"),
            ("local_vdpu_midplane_state", "up"),
            ("local_vdpu_midplane_state_last_updated_time_in_ms", "3"),
            ("local_vdpu_control_plane_state", "down"),
            ("local_vdpu_control_plane_state_last_updated_time_in_ms", "4"),
            ("local_vdpu_data_plane_state", "unknown"),
            ("local_vdpu_data_plane_state_last_updated_time_in_ms", "5"),
            ("local_vdpu_up_bfd_sessions_v4", "10.1.0.32,10.1.0.33"),
            ("local_vdpu_up_bfd_sessions_v4_update_time_in_ms", "6"),
            ("local_vdpu_up_bfd_sessions_v6", ""),
            ("local_vdpu_up_bfd_sessions_v6_update_time_in_ms", "7"),
            ("local_ha_state", "pending_active_activation"),
            ("local_ha_state_last_updated_time_in_ms", "8"),
            ("local_ha_state_last_updated_reason", "dpu initiated"),
            ("local_target_asic_ha_state", "unspecified"),
            ("local_acked_asic_ha_state", "connected"),
            ("local_target_term", "9"),
            ("local_acked_term", "10"),
            ("pending_operation_ids", "a-1,b-2"),
            ("pending_operation_types", "activate_role,brainsplit_recover"),
            ("pending_operation_list_last_updated_time_in_ms", "11"),
            ("incarnation", "12"),
        ],
    )
    .free_text(&["version", "local_ha_state_last_updated_reason"])
    .ids(&["pending_operation_ids"])
    .lists(&[
        "local_vdpu_up_bfd_sessions_v4",
        "local_vdpu_up_bfd_sessions_v6",
        "pending_operation_ids",
        "pending_operation_types",
    ])
    .check();
}

#[test]
fn the_restarts_of_a_dpu() {
    Golden::new(
        DpuResetInfo {
            reset_status: true,
            timestamp_ms: ms(1_717_534_800_001),
            dpu_id: DpuName::new("switch0_dpu3"),
            vdpu_id: Some(vdpu("vdpu0_3")),
            last_reset_status_update_ms: ms(1),
            dpu_ready: Some(false),
            last_dpu_readiness_update_ms: ms(2),
            incarnation: Some(u64::MAX),
            boot_id: text("5b6a1c0e-7f8d-4f43-9c39-6a2a3f7f0d52"),
        },
        Slot(10),
        "DPU_RESET_INFO|DPU10",
        &[
            ("reset_status", "true"),
            ("timestamp", "1717534800001"),
            ("dpu_id", "switch0_dpu3"),
            ("vdpu_id", "vdpu0_3"),
            ("last_reset_status_update", "1"),
            ("dpu_ready", "false"),
            ("last_dpu_readiness_update", "2"),
            ("incarnation", "18446744073709551615"),
            ("boot_id", "5b6a1c0e-7f8d-4f43-9c39-6a2a3f7f0d52"),
        ],
    )
    .free_text(&["boot_id"])
    .ids(&["dpu_id", "vdpu_id"])
    .check();
}

#[test]
fn the_fence_of_a_scope() {
    Golden::new(
        HaScopeFence { incarnation: 1_717_534_800_001, config_digest: "9f86d081".to_owned() },
        scope_key(),
        "DASH_HA_SCOPE_FENCE|vdpu0_0|haset0_0",
        &[("incarnation", "1717534800001"), ("config_digest", "9f86d081")],
    )
    .required(&["incarnation", "config_digest"])
    .free_text(&["config_digest"])
    .check();
}

#[test]
fn the_reachability_of_a_dpu() {
    Golden::new(
        ChassisMidplane { ip_address: Some(v4("169.254.200.1")), access: PythonBool(true) },
        Slot(0),
        "CHASSIS_MIDPLANE_TABLE|DPU0",
        &[("ip_address", "169.254.200.1"), ("access", "True")],
    )
    .required(&["access"])
    .check();
}

#[test]
fn the_readiness_of_a_device() {
    Golden::new(
        SystemReady { status: Some(LinkState::Up) },
        SystemState,
        "SYSTEM_READY|SYSTEM_STATE",
        &[("Status", "UP")],
    )
    .check();
}

#[test]
fn a_software_bfd_session() {
    Golden::new(
        BfdSoftwareSession {
            tx_interval_ms: Some(1000),
            rx_interval_ms: Some(1000),
            multiplier: Some(3),
            multihop: true,
            shutdown: false,
            local_addr: Some(ip("18.0.202.1")),
            kind: text("passive"),
        },
        BfdKey::to_npu(ip("10.1.0.32")),
        "BFD_SOFTWARE_SESSION_TABLE|default|default|10.1.0.32",
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
fn a_bfd_session_of_the_npu() {
    Golden::new(
        NpuBfdSession {
            state: Some(BfdState::AdminDown),
            kind: text("async_active"),
            local_discriminator: Some(1),
            local_addr: Some(ip("10.1.0.32")),
            tx_interval_ms: Some(100),
            rx_interval_ms: Some(100),
            multiplier: Some(10),
            multihop: true,
        },
        BfdKey::to_npu(ip("18.0.202.1")),
        "BFD_SESSION_TABLE|default|default|18.0.202.1",
        &[
            ("state", "Admin_Down"),
            ("type", "async_active"),
            ("local_discriminator", "1"),
            ("local_addr", "10.1.0.32"),
            ("tx_interval", "100"),
            ("rx_interval", "100"),
            ("multiplier", "10"),
            ("multihop", "true"),
        ],
    )
    .free_text(&["type"])
    .check();
}

#[test]
fn where_a_vips_traffic_goes_at_present() {
    Golden::new(
        VnetRouteTunnelState {
            active_endpoints: vec![ip("18.0.202.1"), ip("10.1.1.32")],
            state: Some(RouteState::Active),
        },
        VnetRouteKey { vnet: "Vnet_55".to_owned(), prefix: "3.2.1.0/32".to_owned() },
        "VNET_ROUTE_TUNNEL_TABLE|Vnet_55|3.2.1.0/32",
        &[("active_endpoints", "18.0.202.1,10.1.1.32"), ("state", "active")],
    )
    .lists(&["active_endpoints"])
    .check();
}

#[test]
fn the_health_of_a_dpu() {
    Golden::new(
        DpuState {
            id: Some(Slot(3)),
            midplane_link_state: Some(LinkState::Up),
            midplane_link_reason: text("Unplanned: 'Unknown'"),
            midplane_link_time: pmon_time(0),
            control_plane_state: Some(LinkState::Up),
            control_plane_reason: text("All containers are up and running"),
            control_plane_time: pmon_time(1),
            data_plane_state: Some(LinkState::Down),
            data_plane_reason: text("port Ethernet0 down"),
            data_plane_time: pmon_time(3 * 3600),
            ready_status: Some(false),
            recovery_status: Some(RecoveryStatus::Recoverable),
            reset_count: Some(2),
            last_down_time: pmon_time(-1),
            last_ready_time: pmon_time(60),
            boot_id: text("5b6a1c0e-7f8d-4f43-9c39-6a2a3f7f0d52"),
        },
        Slot(3),
        "DPU_STATE|DPU3",
        &[
            ("id", "3"),
            ("dpu_midplane_link_state", "up"),
            ("dpu_midplane_link_reason", "Unplanned: 'Unknown'"),
            ("dpu_midplane_link_time", "Tue Jun 04 09:00:00 PM UTC 2024"),
            ("dpu_control_plane_state", "up"),
            ("dpu_control_plane_reason", "All containers are up and running"),
            ("dpu_control_plane_time", "Tue Jun 04 09:00:01 PM UTC 2024"),
            ("dpu_data_plane_state", "down"),
            ("dpu_data_plane_reason", "port Ethernet0 down"),
            ("dpu_data_plane_time", "Wed Jun 05 12:00:00 AM UTC 2024"),
            ("ready_status", "false"),
            ("recovery_status", "recoverable"),
            ("reset_count", "2"),
            ("last_down_time", "Tue Jun 04 08:59:59 PM UTC 2024"),
            ("last_ready_time", "Tue Jun 04 09:01:00 PM UTC 2024"),
            ("boot_id", "5b6a1c0e-7f8d-4f43-9c39-6a2a3f7f0d52"),
        ],
    )
    .free_text(&["dpu_midplane_link_reason", "dpu_control_plane_reason", "dpu_data_plane_reason", "boot_id"])
    .check();
}
