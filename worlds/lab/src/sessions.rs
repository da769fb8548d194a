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

/// Whether a switch sends all traffic for the VIPs of the DPU's HA set to that DPU.
pub fn is_served_by(world: &World, topology: &Topology, switch: u8, dpu: DpuId) -> bool {
    let endpoints =
        if switch == dpu.switch { topology.data_paths(dpu) } else { topology.tunnel_sources(dpu.switch) };
    let Some(rows) = world.rows(Place::Npu(switch)) else { return false };
    topology.vips(dpu.slot).into_iter().all(|vip| {
        let prefix = format!("{vip}/{}", if vip.is_ipv4() { 32 } else { 128 });
        let mut routes =
            rows.typed::<VnetRouteTunnelState>().into_iter().filter(|(key, _)| key.prefix == prefix);
        routes.any(|(_, row)| {
            let active = row.active_endpoints;
            !active.is_empty() && active.iter().all(|endpoint| endpoints.contains(endpoint))
        })
    })
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

#[cfg(test)]
mod tests {
    use schema::{Db, RouteState};
    use swss::Change;
    use tokio::time::Instant;

    use super::*;
    use crate::world::{Seen, What};

    fn put<R: Row>(world: &mut World, place: Place, key: &R::Key, row: &R) {
        let change = Change { table: R::TABLE, key: R::key_text(key), fields: Some(row.to_fields()) };
        world.apply(&Seen { at: Instant::now(), place, db: Db::StateDb, what: What::Change(change) });
    }

    fn session(state: BfdState) -> NpuBfdSession {
        NpuBfdSession {
            state: Some(state),
            kind: None,
            local_discriminator: None,
            local_addr: None,
            tx_interval_ms: None,
            rx_interval_ms: None,
            multiplier: None,
            multihop: true,
        }
    }

    fn listing(npus: Vec<std::net::Ipv4Addr>) -> BfdProbeState {
        BfdProbeState {
            v4_bfd_up_sessions: npus,
            v6_bfd_up_sessions: Vec::new(),
            v4_bfd_up_sessions_timestamp: None,
            v6_bfd_up_sessions_timestamp: None,
        }
    }

    fn route(primary: IpAddr) -> VnetRouteTunnel {
        VnetRouteTunnel {
            endpoint: vec![primary],
            endpoint_monitor: vec![primary],
            monitoring: None,
            primary: vec![primary],
            rx_monitor_timer_ms: None,
            tx_monitor_timer_ms: None,
            check_directly_connected: false,
            pinned_state: Vec::new(),
        }
    }

    fn at_rest(topology: &Topology) -> World {
        let mut world = World::default();
        for switch in topology.switches() {
            let place = Place::Npu(switch);
            for dpu in topology.dpus() {
                put(
                    &mut world,
                    place,
                    &BfdKey::to_npu(topology.data_path(dpu).into()),
                    &session(BfdState::Up),
                );
            }
            for dpu in topology.dpus_of(switch) {
                let (vip, primary) = (topology.vip(dpu.slot), topology.data_path(dpu).into());
                let key = |prefix| VnetRouteKey { vnet: "Vnet_55".to_owned(), prefix };
                put(&mut world, place, &key(vip.to_string()), &route(primary));
                let state =
                    VnetRouteTunnelState { active_endpoints: vec![primary], state: Some(RouteState::Active) };
                put(&mut world, place, &key(format!("{vip}/32")), &state);
            }
        }
        let npus = topology.switches().map(|switch| topology.npu(switch)).collect();
        let listed = listing(npus);
        for dpu in topology.dpus() {
            put(&mut world, Place::OnNpu(dpu), &DashHa, &listed);
        }
        world
    }

    #[test]
    fn a_session_that_is_down_on_either_side_is_named() {
        let topology = Topology::new(crate::net::Kind::Loopback, 1, true).unwrap();
        let dpu = topology.dpus().next().unwrap();
        let mut world = at_rest(&topology);
        assert_eq!(open(&world, &topology), [""; 0]);
        let address: IpAddr = topology.data_path(dpu).into();
        put(&mut world, Place::Npu(1), &BfdKey::to_npu(address), &session(BfdState::Down));
        let named = open(&world, &topology);
        assert!(
            named.len() == 1 && named[0].starts_with("switch1: ") && named[0].contains("Down"),
            "{named:?}"
        );
        let mut world = at_rest(&topology);
        put(&mut world, Place::OnNpu(dpu), &DashHa, &listing(Vec::new()));
        let named = open(&world, &topology);
        assert!(named.len() == 2 && named.iter().all(|line| line.contains("does not list")), "{named:?}");
    }

    #[test]
    fn traffic_that_does_not_go_to_the_primary_is_named() {
        let topology = Topology::new(crate::net::Kind::Loopback, 1, true).unwrap();
        let mut world = at_rest(&topology);
        let vip = topology.vip(schema::Slot(0));
        let key = VnetRouteKey { vnet: "Vnet_55".to_owned(), prefix: format!("{vip}/32") };
        put(&mut world, Place::Npu(0), &key, &VnetRouteTunnelState { active_endpoints: vec![], state: None });
        let named = open(&world, &topology);
        assert!(named.len() == 1 && named[0].contains("its primary is"), "{named:?}");
        assert_eq!(open(&World::default(), &topology).len(), 4 + 4 + 2, "nothing is known");
    }
}
