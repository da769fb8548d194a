//! Golden rows of CONFIG_DB and of APPL_DB's plain tables: `reference/hamgrd.md` 2.1 and 2.3,
//! `reference/dpu-side.md` 3.1.

use super::golden::{Golden, ip, text, v4, v6, vdpu};
use crate::appl_db::{NeighResolve, NeighbourKey, PortState, VnetRouteKey, VnetRouteTunnel};
use crate::config_db::{Dpu, Global, HaGlobalConfig, LoopbackInterface, LoopbackKey, Port, RemoteDpu, Vdpu};
use crate::{DpuName, LinkState, PinnedState, Slot};

fn name(text: &str) -> DpuName {
    DpuName::new(text).unwrap()
}

#[test]
fn a_dpu() {
    Golden::new(
        Dpu {
            dpu_id: Slot(3),
            pa_ipv4: Some(v4("18.0.202.1")),
            pa_ipv6: Some(v6("2603::202:1")),
            midplane_ipv4: Some(v4("169.254.200.4")),
            orchagent_zmq_port: Some(8100),
            swbus_port: Some(23606),
            state: text("up"),
            vdpu_id: Some(vdpu("vdpu0_3")),
            vip_ipv4: Some(v4("3.2.1.0")),
            vip_ipv6: Some(v6("2603:10a:100::1")),
        },
        name("switch0_dpu3"),
        "DPU|switch0_dpu3",
        &[
            ("dpu_id", "3"),
            ("pa_ipv4", "18.0.202.1"),
            ("pa_ipv6", "2603::202:1"),
            ("midplane_ipv4", "169.254.200.4"),
            ("orchagent_zmq_port", "8100"),
            ("swbus_port", "23606"),
            ("state", "up"),
            ("vdpu_id", "vdpu0_3"),
            ("vip_ipv4", "3.2.1.0"),
            ("vip_ipv6", "2603:10a:100::1"),
        ],
    )
    .required(&["dpu_id"])
    .free_text(&["state"])
    .ids(&["vdpu_id"])
    .check();
}

#[test]
fn a_remote_dpu() {
    Golden::new(
        RemoteDpu {
            dpu_id: Some(Slot(0)),
            pa_ipv4: Some(v4("18.1.202.1")),
            pa_ipv6: Some(v6("2603::203:1")),
            npu_ipv4: Some(v4("10.1.0.33")),
            npu_ipv6: Some(v6("2603::33")),
            swbus_port: Some(23606),
            kind: text("cluster"),
        },
        name("switch1_dpu0"),
        "REMOTE_DPU|switch1_dpu0",
        &[
            ("dpu_id", "0"),
            ("pa_ipv4", "18.1.202.1"),
            ("pa_ipv6", "2603::203:1"),
            ("npu_ipv4", "10.1.0.33"),
            ("npu_ipv6", "2603::33"),
            ("swbus_port", "23606"),
            ("type", "cluster"),
        ],
    )
    .free_text(&["type"])
    .check();
}

#[test]
fn a_vdpu() {
    Golden::new(
        Vdpu { main_dpu_ids: vec![name("switch0_dpu3"), name("switch1_dpu0")] },
        vdpu("vdpu0_3"),
        "VDPU|vdpu0_3",
        &[("main_dpu_ids", "switch0_dpu3,switch1_dpu0")],
    )
    .lists(&["main_dpu_ids"])
    .ids(&["main_dpu_ids"])
    .check();
}

#[test]
fn the_global_ha_config() {
    Golden::new(
        HaGlobalConfig {
            cp_data_channel_port: Some(11234),
            dp_channel_dst_port: Some(11235),
            dp_channel_src_port_min: Some(11236),
            dp_channel_src_port_max: Some(11237),
            dp_channel_probe_interval_ms: Some(500),
            dp_channel_probe_fail_threshold: Some(5),
            dpu_bfd_probe_interval_ms: Some(1000),
            dpu_bfd_probe_multiplier: Some(3),
            dpu_vnet: text("Vnet_55"),
            dpu_vlan: text("Vlan1000"),
        },
        Global,
        "DASH_HA_GLOBAL_CONFIG|GLOBAL",
        &[
            ("cp_data_channel_port", "11234"),
            ("dp_channel_dst_port", "11235"),
            ("dp_channel_src_port_min", "11236"),
            ("dp_channel_src_port_max", "11237"),
            ("dp_channel_probe_interval_ms", "500"),
            ("dp_channel_probe_fail_threshold", "5"),
            ("dpu_bfd_probe_interval_in_ms", "1000"),
            ("dpu_bfd_probe_multiplier", "3"),
            ("dpu_vnet", "Vnet_55"),
            ("dpu_vlan", "Vlan1000"),
        ],
    )
    .free_text(&["dpu_vnet", "dpu_vlan"])
    .check();
}

#[test]
fn an_address_of_the_npu() {
    Golden::new(
        LoopbackInterface {},
        LoopbackKey { interface: "Loopback0".to_owned(), address: Some((ip("10.1.0.32"), 32)) },
        "LOOPBACK_INTERFACE|Loopback0|10.1.0.32/32",
        &[("NULL", "NULL")],
    )
    .check();
}

#[test]
fn a_port() {
    Golden::new(Port {}, "Ethernet0".to_owned(), "PORT|Ethernet0", &[("NULL", "NULL")]).check();
}

#[test]
fn a_vip_route() {
    Golden::new(
        VnetRouteTunnel {
            endpoint: vec![ip("18.0.202.1"), ip("10.1.0.33")],
            endpoint_monitor: vec![ip("18.0.202.1"), ip("18.1.202.1")],
            monitoring: text("custom_bfd"),
            primary: vec![ip("18.0.202.1")],
            rx_monitor_timer_ms: Some(1000),
            tx_monitor_timer_ms: Some(1000),
            check_directly_connected: true,
            pinned_state: vec![PinnedState::None, PinnedState::Up],
        },
        VnetRouteKey { vnet: "Vnet_55".to_owned(), prefix: "3.2.1.0".to_owned() },
        "VNET_ROUTE_TUNNEL_TABLE:Vnet_55:3.2.1.0",
        &[
            ("endpoint", "18.0.202.1,10.1.0.33"),
            ("endpoint_monitor", "18.0.202.1,18.1.202.1"),
            ("monitoring", "custom_bfd"),
            ("primary", "18.0.202.1"),
            ("rx_monitor_timer", "1000"),
            ("tx_monitor_timer", "1000"),
            ("check_directly_connected", "true"),
            ("pinned_state", "none,up"),
        ],
    )
    .free_text(&["monitoring"])
    .lists(&["endpoint", "endpoint_monitor", "primary", "pinned_state"])
    .check();
}

#[test]
fn a_neighbour_to_resolve() {
    Golden::new(
        NeighResolve { mac: text("00:00:00:00:00:00") },
        NeighbourKey { interface: "Vlan1000".to_owned(), address: ip("18.0.202.1") },
        "NEIGH_RESOLVE_TABLE:Vlan1000:18.0.202.1",
        &[("mac", "00:00:00:00:00:00")],
    )
    .free_text(&["mac"])
    .check();
}

#[test]
fn the_state_of_a_port() {
    Golden::new(
        PortState { oper_status: Some(LinkState::Up) },
        "Ethernet0".to_owned(),
        "PORT_TABLE:Ethernet0",
        &[("oper_status", "up")],
    )
    .check();
}
