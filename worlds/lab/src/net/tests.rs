#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::links::Link;
use super::{Kind, Network};
use crate::hardware::Hardware;
use crate::topology::{DPUS_MAX, DpuId, Topology};

#[test]
fn no_interface_has_the_name_of_another_on_its_device() {
    let topology = Topology::new(Kind::Netns, DPUS_MAX, true).unwrap();
    let ends = Link::all(&topology).flat_map(|link| link.ends(&topology));
    let all: Vec<_> = ends.map(|end| (end.device, end.interface)).collect();
    // The kernel takes 15 bytes.
    assert!(all.iter().all(|(_, name)| name.len() <= 15), "{all:?}");
    assert_eq!(all.len(), 2 * (2 * 2 * usize::from(DPUS_MAX) + 2));
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

#[test]
fn the_front_panel_link_is_a_dpus_way_to_everything_but_the_midplane() {
    let topology = Topology::new(Kind::Netns, 1, false).unwrap();
    let dpu = DpuId { switch: 1, slot: schema::Slot(0) };
    let [_, midplane] = Link::Midplane(dpu).ends(&topology);
    assert_eq!(midplane.configuration, ["addr replace 169.254.200.1/24 dev eth0-midplane"]);
    let [npu, own] = Link::FrontPanel(dpu).ends(&topology);
    assert_eq!(npu.configuration, ["addr replace 20.0.201.0/31 dev fp-dpu0"]);
    assert_eq!(
        own.configuration,
        ["addr replace 20.0.201.1/31 dev Ethernet0", "route replace default via 20.0.201.0 dev Ethernet0"]
    );
}

#[tokio::test]
async fn on_the_loopback_interface_there_is_no_link_but_the_midplane() {
    let topology = Topology::new(Kind::Loopback, 1, true).unwrap();
    let network = Network::up(&topology, &Hardware::start().unwrap()).unwrap();
    let dpu = DpuId { switch: 0, slot: schema::Slot(0) };
    let error = network.link(Link::FrontPanel(dpu), schema::LinkState::Down).await.unwrap_err();
    assert!(error.to_string().contains("--net netns"), "{error}");
    assert!(network.part(dpu).await.is_err());
    for state in [schema::LinkState::Up, schema::LinkState::Up, schema::LinkState::Down] {
        network.link(Link::Midplane(dpu), state).await.unwrap();
        let is_bound = std::net::UdpSocket::bind(topology.probe(dpu)).is_err();
        assert_eq!(is_bound, state == schema::LinkState::Up);
    }
}
