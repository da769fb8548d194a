//! `STATE_DB`: what the NPU reports to the SDN controller (`reference/hamgrd.md` 2.3-2.4), and the tables
//! that stand in the STATE_DB of a DPU itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::appl_db::{HaScopeConfigKey, VnetRouteKey};
use crate::dpu_appl_db::BfdKey;
use crate::{
    AsicHaState, BfdState, DesiredHaState, DpuName, LinkState, OperationId, OperationType, PmonTime,
    RouteState, RowKey, Slot, VdpuId, WallMs,
};

row! {
    /// State of a HA scope, for the SDN controller. DPU-driven HA.
    HaScopeState = DashHaScopeState, key HaScopeConfigKey;
    /// Version of the configuration.
    version: Option<String> = optional "version";
    /// When hamgrd first wrote the row.
    creation_time_ms: Option<WallMs> = optional "creation_time_in_ms";
    /// When hamgrd last said that it is alive.
    last_heartbeat_time_ms: Option<WallMs> = optional "last_heartbeat_time_in_ms";
    /// The VIP.
    vip_v4: Option<Ipv4Addr> = optional "vip_v4";
    /// The IPv6 VIP.
    vip_v6: Option<Ipv6Addr> = optional "vip_v6";
    /// This DPU's data-path address.
    local_ip: Option<IpAddr> = optional "local_ip";
    /// The peer DPU's data-path address.
    peer_ip: Option<IpAddr> = optional "peer_ip";
    /// Midplane state of this vDPU; absent is `unknown`.
    local_vdpu_midplane_state: Option<LinkState> = plane_or_unknown "local_vdpu_midplane_state";
    /// When the midplane state was written.
    local_vdpu_midplane_state_time_ms: Option<WallMs> = optional "local_vdpu_midplane_state_last_updated_time_in_ms";
    /// Control-plane state of this vDPU.
    local_vdpu_control_plane_state: Option<LinkState> = plane_or_unknown "local_vdpu_control_plane_state";
    /// When the control-plane state was written.
    local_vdpu_control_plane_state_time_ms: Option<WallMs> = optional "local_vdpu_control_plane_state_last_updated_time_in_ms";
    /// Data-plane state of this vDPU.
    local_vdpu_data_plane_state: Option<LinkState> = plane_or_unknown "local_vdpu_data_plane_state";
    /// When the data-plane state was written.
    local_vdpu_data_plane_state_time_ms: Option<WallMs> = optional "local_vdpu_data_plane_state_last_updated_time_in_ms";
    /// NPUs to which the DPU's IPv4 BFD sessions are up.
    local_vdpu_up_bfd_sessions_v4: Vec<Ipv4Addr> = list "local_vdpu_up_bfd_sessions_v4";
    /// When that list changed.
    local_vdpu_up_bfd_sessions_v4_time_ms: Option<WallMs> = optional "local_vdpu_up_bfd_sessions_v4_update_time_in_ms";
    /// NPUs to which the DPU's IPv6 BFD sessions are up.
    local_vdpu_up_bfd_sessions_v6: Vec<Ipv6Addr> = list "local_vdpu_up_bfd_sessions_v6";
    /// When that list changed.
    local_vdpu_up_bfd_sessions_v6_time_ms: Option<WallMs> = optional "local_vdpu_up_bfd_sessions_v6_update_time_in_ms";
    /// The state that the DPU is in.
    local_ha_state: Option<AsicHaState> = optional "local_ha_state";
    /// Since when.
    local_ha_state_time_ms: Option<WallMs> = optional "local_ha_state_last_updated_time_in_ms";
    /// Why; `dpu initiated` in DPU-driven HA.
    local_ha_state_reason: Option<String> = optional "local_ha_state_last_updated_reason";
    /// The state that the controller asked for.
    local_target_asic_ha_state: Option<DesiredHaState> = optional "local_target_asic_ha_state";
    /// The state that the DPU acknowledged.
    local_acked_asic_ha_state: Option<AsicHaState> = optional "local_acked_asic_ha_state";
    /// The term asked for.
    local_target_term: Option<u32> = optional "local_target_term";
    /// The term acknowledged.
    local_acked_term: Option<u32> = optional "local_acked_term";
    /// Operations that wait for the controller. Parallel to the types: read both at once.
    pending_operation_ids: Vec<OperationId> = list "pending_operation_ids";
    /// What each operation is.
    pending_operation_types: Vec<OperationType> = list "pending_operation_types";
    /// When the list last changed.
    pending_operation_list_time_ms: Option<WallMs> = optional "pending_operation_list_last_updated_time_in_ms";
    /// The DPU's incarnation that this state is of. Ours; SONiC has no such field.
    incarnation: Option<u64> = optional "incarnation";
}

row! {
    /// Restarts of a DPU. hamgrd writes the row whole; the SDN controller may set `reset_status` to `false`.
    ///
    /// It is also hamgrd's durable memory of the DPU's incarnation (DESIGN 5).
    DpuResetInfo = DpuResetInfo, key Slot;
    /// A reset that nobody has dealt with yet.
    reset_status: bool = defaulted "reset_status";
    /// When the last reset was noticed.
    timestamp_ms: Option<WallMs> = optional "timestamp";
    /// The name of the `DPU` row.
    dpu_id: Option<DpuName> = optional "dpu_id";
    /// The vDPU of the `DPU` row.
    vdpu_id: Option<VdpuId> = optional "vdpu_id";
    /// When `reset_status` was last raised.
    last_reset_status_update_ms: Option<WallMs> = optional "last_reset_status_update";
    /// Whether midplane and control plane are up (SONiC PR 2175, newest text).
    dpu_ready: Option<bool> = optional "dpu_ready";
    /// When `dpu_ready` last changed.
    last_dpu_readiness_update_ms: Option<WallMs> = optional "last_dpu_readiness_update";
    /// The DPU's present life: the time in ms at which it was noticed, and greater than every earlier one.
    /// Ours. Absent until the DPU was up for the first time.
    incarnation: Option<u64> = optional "incarnation";
    /// The boot id of that life, where the DPU publishes one. Ours.
    boot_id: Option<String> = optional "boot_id";
}

row! {
    /// Which configuration of a HA scope hamgrd has applied, or is about to, and in which life of the DPU.
    /// Ours: the durable fence of P3.
    HaScopeFence = DashHaScopeFence, key HaScopeConfigKey;
    /// The incarnation in which the configuration was first seen.
    incarnation: u64 = required "incarnation";
    /// A digest of the configuration.
    config_digest: String = required "config_digest";
}

row! {
    /// Reachability of a DPU over the midplane, as pmon tells the platform tools. Rewritten on change only.
    ChassisMidplane = ChassisMidplane, key Slot;
    /// The DPU's midplane address.
    ip_address: Option<Ipv4Addr> = optional "ip_address";
    /// `True` or `False`, capitalized on the wire.
    access: PythonBool = required "access";
}

/// A boolean as Python prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonBool(pub bool);

impl crate::Scalar for PythonBool {
    const EXPECTED: &'static str = "True or False";
    fn to_text(&self) -> String {
        if self.0 { "True" } else { "False" }.to_owned()
    }
    fn from_text(text: &str) -> Option<Self> {
        bool::from_text(text).map(Self)
    }
}

/// The key of the only `SYSTEM_READY` row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SystemState;

impl RowKey for SystemState {
    const EXPECTED: &'static str = "SYSTEM_STATE";
    fn to_text(&self, _separator: char) -> String {
        "SYSTEM_STATE".to_owned()
    }
    fn from_text(text: &str, _separator: char) -> Option<Self> {
        (text == "SYSTEM_STATE").then_some(Self)
    }
}

row! {
    /// Whether all services of the device run; sysmonitor writes it (`reference/pmon.md` 1.4).
    SystemReady = SystemReady, key SystemState;
    /// `UP` or `DOWN`.
    status: Option<LinkState> = upper_case "Status";
}

row! {
    /// A software BFD session that shall exist on this DPU; the same fields as in `DPU_APPL_DB`
    /// (`reference/dpu-side.md` 1.6).
    BfdSoftwareSession = BfdSoftwareSession, key BfdKey;
    /// Desired transmit interval, ms.
    tx_interval_ms: Option<u32> = optional "tx_interval";
    /// Required receive interval, ms.
    rx_interval_ms: Option<u32> = optional "rx_interval";
    /// Detect multiplier.
    multiplier: Option<u32> = optional "multiplier";
    /// Whether the session is multihop.
    multihop: bool = defaulted "multihop";
    /// Whether the session is administratively down.
    shutdown: bool = defaulted "shutdown";
    /// The DPU's data-path address.
    local_addr: Option<IpAddr> = optional "local_addr";
    /// `passive`: silent until the peer speaks.
    kind: Option<String> = optional "type";
}

row! {
    /// A BFD session of the NPU and its state, as orchagent publishes it (`reference/dpu-side.md` 2.1).
    NpuBfdSession = NpuBfdSession, key BfdKey;
    /// The session's state.
    state: Option<BfdState> = optional "state";
    /// `async_active`, and its kin.
    kind: Option<String> = optional "type";
    /// The session's name on the wire.
    local_discriminator: Option<u32> = optional "local_discriminator";
    /// The NPU's address.
    local_addr: Option<IpAddr> = optional "local_addr";
    /// Desired transmit interval, ms.
    tx_interval_ms: Option<u32> = optional "tx_interval";
    /// Required receive interval, ms.
    rx_interval_ms: Option<u32> = optional "rx_interval";
    /// Detect multiplier.
    multiplier: Option<u32> = optional "multiplier";
    /// Whether the session is multihop.
    multihop: bool = defaulted "multihop";
}

row! {
    /// What orchagent made of a row of `VNET_ROUTE_TUNNEL_TABLE` (`reference/dpu-side.md` 3.5). The key's prefix has its length.
    VnetRouteTunnelState = VnetRouteTunnelState, key VnetRouteKey;
    /// The next hops in force.
    active_endpoints: Vec<IpAddr> = list "active_endpoints";
    /// Whether there is one.
    state: Option<RouteState> = optional "state";
}

impl From<crate::dpu_appl_db::BfdSession> for BfdSoftwareSession {
    fn from(row: crate::dpu_appl_db::BfdSession) -> Self {
        Self {
            tx_interval_ms: row.tx_interval_ms,
            rx_interval_ms: row.rx_interval_ms,
            multiplier: row.multiplier,
            multihop: row.multihop,
            shutdown: row.shutdown,
            local_addr: row.local_addr,
            kind: row.kind,
        }
    }
}

/// The key of a table's only row where that row is the table: nothing (`reference/swss-wire.md` 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NoKey;

impl RowKey for NoKey {
    const EXPECTED: &'static str = "no key";
    fn to_text(&self, _separator: char) -> String {
        String::new()
    }
    fn from_text(text: &str, _separator: char) -> Option<Self> {
        text.is_empty().then_some(Self)
    }
}

row! {
    /// The same as `DASH_BFD_PROBE_STATE`, in the DPU's own database (`reference/dpu-side.md` 2.4).
    DpuBfdProbeState = DpuBfdProbeState, key NoKey, forgives &[
        "v4_bfd_up_sessions_timestamp",
        "v6_bfd_up_sessions_timestamp",
    ];
    /// IPv4 peers.
    v4_bfd_up_sessions: Vec<Ipv4Addr> = quoted_list "v4_bfd_up_sessions";
    /// When the IPv4 list last changed.
    v4_bfd_up_sessions_timestamp: Option<PmonTime> = quoted "v4_bfd_up_sessions_timestamp";
    /// IPv6 peers.
    v6_bfd_up_sessions: Vec<Ipv6Addr> = quoted_list "v6_bfd_up_sessions";
    /// When the IPv6 list last changed.
    v6_bfd_up_sessions_timestamp: Option<PmonTime> = quoted "v6_bfd_up_sessions_timestamp";
}

impl From<crate::dpu_state_db::BfdProbeState> for DpuBfdProbeState {
    fn from(row: crate::dpu_state_db::BfdProbeState) -> Self {
        Self {
            v4_bfd_up_sessions: row.v4_bfd_up_sessions,
            v4_bfd_up_sessions_timestamp: row.v4_bfd_up_sessions_timestamp,
            v6_bfd_up_sessions: row.v6_bfd_up_sessions,
            v6_bfd_up_sessions_timestamp: row.v6_bfd_up_sessions_timestamp,
        }
    }
}
