//! BFD and next hops at rest: every session up on both of its sides, every VIP's traffic on its way to the primary.

use std::net::IpAddr;

use schema::appl_db::{VnetRouteKey, VnetRouteTunnel};
use schema::dpu_appl_db::BfdKey;
use schema::dpu_state_db::{BfdProbeState, DashHa};
use schema::state_db::{NpuBfdSession, VnetRouteTunnelState};
use schema::{BfdState, Row};

use crate::topology::{DpuId, Topology, switch_name};
use crate::world::{Place, World};

/// What is not yet as it ought to be, in words.
pub fn open(world: &World, topology: &Topology) -> Vec<String> {
    let mut open = Vec::new();
    for switch in topology.switches() {
        for dpu in topology.dpus() {
            open.extend(on_the_npu(world, topology, switch, dpu));
            open.extend(on_the_dpu(world, topology, switch, dpu));
        }
        open.extend(next_hops(world, topology, switch));
    }
    open
}

/// The state of an NPU's session to that address.
pub fn state(world: &World, switch: u8, dpu: IpAddr) -> Option<BfdState> {
    world.row::<NpuBfdSession>(Place::Npu(switch), &BfdKey::to_npu(dpu))?.state
}

fn on_the_npu(world: &World, topology: &Topology, switch: u8, dpu: DpuId) -> Vec<String> {
    let down = topology.data_paths(dpu).into_iter().filter_map(|address| {
        let state = state(world, switch, address);
        let word = state.map_or_else(|| "no row".to_owned(), |state| state.to_string());
        let key = NpuBfdSession::key_text(&BfdKey::to_npu(address));
        let what =
            format!("{}: STATE_DB {}|{key} to {dpu}: {word}", switch_name(switch), NpuBfdSession::TABLE);
        (state != Some(BfdState::Up)).then_some(what)
    });
    down.collect()
}

fn on_the_dpu(world: &World, topology: &Topology, switch: u8, dpu: DpuId) -> Vec<String> {
    let row = world.row::<BfdProbeState>(Place::OnNpu(dpu), &DashHa);
    let lists = |npu: IpAddr| match (npu, &row) {
        (_, None) => false,
        (IpAddr::V4(npu), Some(row)) => row.v4_bfd_up_sessions.contains(&npu),
        (IpAddr::V6(npu), Some(row)) => row.v6_bfd_up_sessions.contains(&npu),
    };
    let missing = topology.tunnel_sources(switch).into_iter().filter(|npu| !lists(*npu));
    missing.map(|npu| format!("{dpu}: DPU_STATE_DB {} does not list {npu}", BfdProbeState::TABLE)).collect()
}

/// VIPs whose traffic does not go where their route's primary is.
fn next_hops(world: &World, topology: &Topology, switch: u8) -> Vec<String> {
    let place = Place::Npu(switch);
    let Some(rows) = world.rows(place) else { return vec![format!("{place}: nothing is known")] };
    let mut routes = 0;
    let mut open = Vec::new();
    for (key, route) in rows.typed::<VnetRouteTunnel>() {
        let Ok(vip) = key.prefix.parse::<IpAddr>() else { continue };
        if !topology.carries(vip) {
            continue;
        }
        routes += 1;
        let length = if vip.is_ipv4() { 32 } else { 128 };
        let key = VnetRouteKey { vnet: key.vnet, prefix: format!("{vip}/{length}") };
        let active = rows.row::<VnetRouteTunnelState>(&key).map(|row| row.active_endpoints);
        if active.as_ref() != Some(&route.primary) {
            open.push(format!("{place}: {vip} goes to {active:?}, its primary is {:?}", route.primary));
        }
    }
    let wanted: usize = topology.dpus_of(switch).map(|dpu| topology.vips(dpu.slot).len()).sum();
    if routes != wanted {
        open.push(format!("{place}: {routes} of {wanted} routes"));
    }
    open
}
