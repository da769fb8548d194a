//! `VNET_ROUTE_TUNNEL_TABLE`: where the NPU sends a VIP's traffic (`reference/hamgrd.md` 2.3, 3.3.2).

use std::net::IpAddr;

use schema::appl_db::{HaSetConfig, VnetRouteKey, VnetRouteTunnel};
use schema::config_db::HaGlobalConfig;

use crate::ha_set::ResolvedSet;
use crate::topology::Family;

/// How the NPU watches next hops: by BFD sessions towards the DPUs themselves.
pub(crate) const MONITORING: &str = "custom_bfd";

/// The VIPs of a HA set.
pub(crate) fn vips(config: &HaSetConfig) -> impl Iterator<Item = (Family, IpAddr)> {
    let v4 = config.vip_v4.map(|vip| (Family::V4, vip.into()));
    let v6 = config.vip_v6.map(|vip| (Family::V6, vip.into()));
    v4.into_iter().chain(v6)
}

/// The routes of a HA set's VIPs, each with endpoints of its own family.
pub(crate) fn rows(
    config: &HaSetConfig,
    set: &ResolvedSet,
    global: &HaGlobalConfig,
) -> Vec<(VnetRouteKey, VnetRouteTunnel)> {
    let Some(vnet) = global.dpu_vnet.as_ref() else { return Vec::new() };
    let rows = vips(config).filter_map(|(family, vip)| {
        let key = VnetRouteKey { vnet: vnet.clone(), prefix: vip.to_string() };
        Some((key, row(set, family, global)?))
    });
    rows.collect()
}

/// The row, unless a member has no address of the family.
fn row(set: &ResolvedSet, family: Family, global: &HaGlobalConfig) -> Option<VnetRouteTunnel> {
    let mut row = VnetRouteTunnel {
        endpoint: Vec::new(),
        endpoint_monitor: Vec::new(),
        monitoring: Some(MONITORING.to_owned()),
        primary: Vec::new(),
        rx_monitor_timer_ms: global.dpu_bfd_probe_interval_ms,
        tx_monitor_timer_ms: global.dpu_bfd_probe_interval_ms,
        check_directly_connected: set.members.iter().any(|placed| placed.member.slot.is_some()),
        pinned_state: Vec::new(),
    };
    for placed in &set.members {
        let pa = placed.member.pa.get(family)?;
        let endpoint = if placed.member.slot.is_some() { pa } else { placed.member.npu.get(family)? };
        row.endpoint.push(endpoint);
        row.endpoint_monitor.push(pa);
        row.pinned_state.extend(placed.pinned);
        if placed.preferred {
            row.primary.push(endpoint);
        }
    }
    Some(row)
}
