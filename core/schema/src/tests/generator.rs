//! Random rows. A row is read off a tape of random bytes, so that a failing case shrinks to a short tape
//! and that to a plain row.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use crate::appl_db::{
    HaScopeConfig, HaScopeConfigKey, HaSetConfig, NeighResolve, NeighbourKey, PortState, VnetRouteKey,
    VnetRouteTunnel,
};
use crate::chassis_state_db::DpuState;
use crate::config_db::{Dpu, Global, HaGlobalConfig, LoopbackInterface, LoopbackKey, Port, RemoteDpu, Vdpu};
use crate::dpu_appl_db::{BfdKey, BfdSession, HaScope, HaSet};
use crate::dpu_appl_state_db::{HaScopeResult, HaSetResult};
use crate::dpu_state_db::{self, BfdProbeState, DashHa, HaSetState};
use crate::state_db::{
    self, BfdSoftwareSession, ChassisMidplane, DpuBfdProbeState, DpuResetInfo, HaScopeFence, NoKey,
    NpuBfdSession, PythonBool, SystemReady, SystemState, VnetRouteTunnelState,
};
use crate::*;

/// Random bytes; zeros once they are used up.
pub(super) struct Tape {
    bytes: std::vec::IntoIter<u8>,
}

impl Tape {
    fn byte(&mut self) -> u8 {
        self.bytes.next().unwrap_or(0)
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }
}

/// Any `T`.
pub(super) fn any_from_tape<T: FromTape + std::fmt::Debug>() -> impl Strategy<Value = T> {
    proptest::collection::vec(any::<u8>(), 0..512)
        .prop_map(|bytes| T::from_tape(&mut Tape { bytes: bytes.into_iter() }))
}

/// Can be made from random bytes.
pub(super) trait FromTape {
    fn from_tape(tape: &mut Tape) -> Self;
}

macro_rules! numbers {
    ($($ty:ty)*) => {$(
        impl FromTape for $ty {
            /// Small, extreme or any.
            fn from_tape(tape: &mut Tape) -> Self {
                match tape.byte() % 4 {
                    0 => tape.byte() as $ty,
                    1 => <$ty>::MAX,
                    2 => <$ty>::MIN,
                    _ => <$ty>::from_be_bytes(tape.bytes()),
                }
            }
        }
    )*};
}
numbers! { u8 u16 u32 u64 i64 }

macro_rules! words {
    ($($ty:ty)*) => {$(
        impl FromTape for $ty {
            fn from_tape(tape: &mut Tape) -> Self {
                tape.pick(<$ty>::ALL)
            }
        }
    )*};
}
words! { LinkState HaOwner HaScopeKind DesiredHaState AsicHaRole AsicHaState OperationType PinnedState RecoveryStatus BfdState RouteState }

macro_rules! ids {
    ($($ty:ty)*) => {$(
        impl FromTape for $ty {
            fn from_tape(tape: &mut Tape) -> Self {
                let length = 1 + usize::from(tape.byte() % 12);
                let letters: String = (0..length).map(|_| tape.pick(&['a', 'Z', '0', '_', '-', '.', 'é', '#'])).collect();
                <$ty>::new(letters).unwrap()
            }
        }
    )*};
}
ids! { DpuName VdpuId HaSetId HaScopeId OperationId }

/// Not empty and not `none`: these mean absent.
impl FromTape for String {
    fn from_tape(tape: &mut Tape) -> Self {
        let length = 1 + usize::from(tape.byte() % 8);
        let text: String = (0..length)
            .map(|_| {
                tape.pick(&['x', ' ', '"', '\'', ',', '\n', '\u{0}', 'é', '\u{10ffff}', 'n', '1', '@', '{'])
            })
            .collect();
        if text == "none" { "None".to_owned() } else { text }
    }
}

impl<T: FromTape> FromTape for Option<T> {
    fn from_tape(tape: &mut Tape) -> Self {
        (!tape.byte().is_multiple_of(4)).then(|| T::from_tape(tape))
    }
}

impl<T: FromTape> FromTape for Vec<T> {
    fn from_tape(tape: &mut Tape) -> Self {
        (0..tape.byte() % 5).map(|_| T::from_tape(tape)).collect()
    }
}

impl FromTape for bool {
    fn from_tape(tape: &mut Tape) -> Self {
        tape.byte() % 2 == 1
    }
}

impl FromTape for PythonBool {
    fn from_tape(tape: &mut Tape) -> Self {
        Self(bool::from_tape(tape))
    }
}

impl FromTape for Ipv4Addr {
    fn from_tape(tape: &mut Tape) -> Self {
        Self::from(tape.bytes::<4>())
    }
}

impl FromTape for Ipv6Addr {
    /// With runs of zeros, and now and then an embedded IPv4 address.
    fn from_tape(tape: &mut Tape) -> Self {
        match tape.byte() % 4 {
            0 => Ipv4Addr::from_tape(tape).to_ipv6_mapped(),
            1 => Self::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from_tape(tape)]),
            2 => Self::UNSPECIFIED,
            _ => Self::from(tape.bytes::<16>()),
        }
    }
}

impl FromTape for IpAddr {
    fn from_tape(tape: &mut Tape) -> Self {
        if bool::from_tape(tape) {
            Ipv4Addr::from_tape(tape).into()
        } else {
            Ipv6Addr::from_tape(tape).into()
        }
    }
}

impl FromTape for Slot {
    fn from_tape(tape: &mut Tape) -> Self {
        Self(tape.byte())
    }
}

impl FromTape for WallMs {
    fn from_tape(tape: &mut Tape) -> Self {
        Self(i64::from_tape(tape))
    }
}

/// From 1970 to the year 9999.
impl FromTape for PmonTime {
    fn from_tape(tape: &mut Tape) -> Self {
        let second = u64::from_be_bytes(tape.bytes()) % 253_402_207_200;
        WallMs(i64::try_from(second).unwrap() * 1000).into()
    }
}

macro_rules! rows {
    ($($row:path { $($field:ident)* })*) => {$(
        impl FromTape for $row {
            #[allow(unused_variables)]
            fn from_tape(tape: &mut Tape) -> Self {
                Self { $($field: FromTape::from_tape(tape),)* }
            }
        }
    )*};
}

rows! {
    Dpu { dpu_id pa_ipv4 pa_ipv6 midplane_ipv4 orchagent_zmq_port swbus_port state vdpu_id vip_ipv4 vip_ipv6 }
    RemoteDpu { dpu_id pa_ipv4 pa_ipv6 npu_ipv4 npu_ipv6 swbus_port kind }
    Vdpu { main_dpu_ids }
    HaGlobalConfig {
        cp_data_channel_port dp_channel_dst_port dp_channel_src_port_min dp_channel_src_port_max
        dp_channel_probe_interval_ms dp_channel_probe_fail_threshold dpu_bfd_probe_interval_ms
        dpu_bfd_probe_multiplier dpu_vnet dpu_vlan
    }
    LoopbackInterface {}
    Port {}
    HaSetConfig {
        version vip_v4 vip_v6 vdpu_ids scope pinned_vdpu_bfd_probe_states preferred_vdpu_ids
        preferred_standalone_vdpu_index
    }
    HaScopeConfig { version disabled owner ha_set_id desired_ha_state approved_pending_operation_ids }
    VnetRouteTunnel {
        endpoint endpoint_monitor monitoring primary rx_monitor_timer_ms tx_monitor_timer_ms
        check_directly_connected pinned_state
    }
    NeighResolve { mac }
    PortState { oper_status }
    state_db::HaScopeState {
        version creation_time_ms last_heartbeat_time_ms vip_v4 vip_v6 local_ip peer_ip
        local_vdpu_midplane_state local_vdpu_midplane_state_time_ms
        local_vdpu_control_plane_state local_vdpu_control_plane_state_time_ms
        local_vdpu_data_plane_state local_vdpu_data_plane_state_time_ms
        local_vdpu_up_bfd_sessions_v4 local_vdpu_up_bfd_sessions_v4_time_ms
        local_vdpu_up_bfd_sessions_v6 local_vdpu_up_bfd_sessions_v6_time_ms
        local_ha_state local_ha_state_time_ms local_ha_state_reason local_target_asic_ha_state
        local_acked_asic_ha_state local_target_term local_acked_term
        pending_operation_ids pending_operation_types pending_operation_list_time_ms incarnation
    }
    DpuResetInfo {
        reset_status timestamp_ms dpu_id vdpu_id last_reset_status_update_ms dpu_ready
        last_dpu_readiness_update_ms incarnation boot_id
    }
    HaScopeFence { incarnation config_digest }
    ChassisMidplane { ip_address access }
    SystemReady { status }
    BfdSoftwareSession { tx_interval_ms rx_interval_ms multiplier multihop shutdown local_addr kind }
    NpuBfdSession {
        state kind local_discriminator local_addr tx_interval_ms rx_interval_ms multiplier multihop
    }
    VnetRouteTunnelState { active_endpoints state }
    DpuState {
        id midplane_link_state midplane_link_reason midplane_link_time control_plane_state
        control_plane_reason control_plane_time data_plane_state data_plane_reason data_plane_time
        ready_status recovery_status reset_count last_down_time last_ready_time boot_id
    }
    HaSet {
        version vip_v4 vip_v6 owner scope local_npu_ip local_ip peer_ip cp_data_channel_port
        dp_channel_dst_port dp_channel_src_port_min dp_channel_src_port_max dp_channel_probe_interval_ms
        dp_channel_probe_fail_threshold
    }
    HaScope {
        version disabled ha_role ha_term ha_set_id vip_v4 vip_v6 flow_reconcile_requested
        activate_role_requested brainsplit_recovered
    }
    BfdSession { tx_interval_ms rx_interval_ms multiplier multihop shutdown local_addr kind }
    HaSetResult { result version }
    HaScopeResult { result version }
    HaSetState { last_updated_time_s dp_channel_is_alive }
    dpu_state_db::HaScopeState {
        last_updated_time_s ha_role ha_role_start_time_s ha_state ha_state_start_time_s ha_term
        activate_role_pending flow_reconcile_pending brainsplit_recover_pending
    }
    BfdProbeState {
        v4_bfd_up_sessions v4_bfd_up_sessions_timestamp v6_bfd_up_sessions v6_bfd_up_sessions_timestamp
    }
    DpuBfdProbeState {
        v4_bfd_up_sessions v4_bfd_up_sessions_timestamp v6_bfd_up_sessions v6_bfd_up_sessions_timestamp
    }
    HaScopeConfigKey { vdpu scope }
}

/// A name without separators.
fn name(tape: &mut Tape) -> String {
    DpuName::from_tape(tape).into()
}

impl FromTape for VnetRouteKey {
    fn from_tape(tape: &mut Tape) -> Self {
        Self { vnet: name(tape), prefix: IpAddr::from_tape(tape).to_string() }
    }
}

impl FromTape for NeighbourKey {
    fn from_tape(tape: &mut Tape) -> Self {
        Self { interface: name(tape), address: IpAddr::from_tape(tape) }
    }
}

impl FromTape for BfdKey {
    fn from_tape(tape: &mut Tape) -> Self {
        Self { vrf: name(tape), interface: name(tape), peer: IpAddr::from_tape(tape) }
    }
}

impl FromTape for LoopbackKey {
    fn from_tape(tape: &mut Tape) -> Self {
        let address: Option<IpAddr> = Option::from_tape(tape);
        Self { interface: name(tape), address: address.map(|address| (address, tape.byte() % 33)) }
    }
}

macro_rules! only_keys {
    ($($key:ident)*) => {$(
        impl FromTape for $key {
            fn from_tape(_tape: &mut Tape) -> Self {
                Self
            }
        }
    )*};
}
only_keys! { Global DashHa NoKey SystemState }
