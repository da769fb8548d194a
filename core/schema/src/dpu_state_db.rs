//! `DPU_STATE_DB`: what the DPU reports (`reference/dpu-side.md` 1.5, 2.4). Times of HA rows are epoch
//! **seconds** on the wire, as SONiC's DPU writes them.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{AsicHaRole, AsicHaState, HaScopeId, HaSetId, LinkState, PmonTime, RowKey};

row! {
    /// State of a HA set.
    HaSetState = DpuDashHaSetState, key HaSetId;
    /// When the row was last written, s.
    last_updated_time_s: Option<i64> = optional "last_updated_time";
    /// Whether the DPU-to-DPU data channel is alive.
    dp_channel_is_alive: Option<LinkState> = optional "dp_channel_is_alive";
}

row! {
    /// State of a HA scope on the DPU.
    HaScopeState = DpuDashHaScopeState, key HaScopeId;
    /// When the row was last written, s.
    last_updated_time_s: Option<i64> = optional "last_updated_time";
    /// The role that the ASIC has.
    ha_role: Option<AsicHaRole> = optional "ha_role";
    /// Since when it has the role, s.
    ha_role_start_time_s: Option<i64> = optional "ha_role_start_time";
    /// The state that the ASIC is in.
    ha_state: Option<AsicHaState> = optional "ha_state";
    /// Since when it is in the state, s.
    ha_state_start_time_s: Option<i64> = optional "ha_state_start_time";
    /// The term (flow version).
    ha_term: Option<u32> = optional "ha_term";
    /// The DPU waits for approval to take its role.
    activate_role_pending: bool = defaulted "activate_role_pending";
    /// The DPU waits for approval to reconcile flows.
    flow_reconcile_pending: bool = defaulted "flow_reconcile_pending";
    /// The DPU waits for approval to leave split brain.
    brainsplit_recover_pending: bool = defaulted "brainsplit_recover_pending";
}

/// The key of the only `DASH_BFD_PROBE_STATE` row, `dash_ha`, in any case. A row with another key
/// is a stranger's: taken for ours, its end would be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DashHa;

impl RowKey for DashHa {
    const EXPECTED: &'static str = "dash_ha";
    fn to_text(&self, _separator: char) -> String {
        "dash_ha".to_owned()
    }
    fn from_text(text: &str, _separator: char) -> Option<Self> {
        text.eq_ignore_ascii_case("dash_ha").then_some(Self)
    }
}

row! {
    /// The DPU's BFD sessions that are up.
    BfdProbeState = DashBfdProbeState, key DashHa, forgives &[
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
