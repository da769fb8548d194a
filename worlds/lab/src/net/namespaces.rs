//! A network namespace per device, and real links between them (`links`).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;

use netns::Namespace;
use schema::LinkState;

use super::claim::{Claim, sweep};
use super::links::{BRIDGE, End, Link};
use super::{Device, NetError};
use crate::topology::{DpuId, Topology};

/// The table of `nft` that a partition is.
const TABLE: &str = "inet halab";

/// The namespaces of a lab. Dropping them removes them; the claim goes last.
#[derive(Debug)]
pub struct Namespaces {
    namespaces: BTreeMap<Device, Namespace>,
    /// Both ends of each link, the NPU's first.
    links: Vec<(Link, [End; 2])>,
    /// The DPUs' addresses on the front-panel network.
    data_paths: BTreeMap<DpuId, Vec<IpAddr>>,
    claim: Claim,
}

impl Namespaces {
    /// Makes all namespaces and links. DPUs are off: their ends of the links are down.
    pub(super) fn create(topology: &Topology) -> Result<Self, NetError> {
        match sweep() {
            Ok(0) => {}
            Ok(removed) => tracing::warn!(removed, "namespaces of a lab that was killed are removed"),
            // It concerns others; this lab has names of its own.
            Err(error) => tracing::warn!(%error, "namespaces of a lab that was killed are left"),
        }
        let mut network = Self {
            namespaces: BTreeMap::new(),
            links: Link::all(topology).map(|link| (link, link.ends(topology))).collect(),
            data_paths: topology.dpus().map(|dpu| (dpu, topology.data_paths(dpu))).collect(),
            claim: Claim::take()?,
        };
        // What is there already goes with the network, should this fail.
        network.build(topology).map_err(NetError::Namespaces)?;
        Ok(network)
    }

    fn build(&mut self, topology: &Topology) -> io::Result<()> {
        let npus = topology.switches().map(Device::Npu);
        for device in npus.chain([Device::Fabric]).chain(topology.dpus().map(Device::Dpu)) {
            let namespace = Namespace::create(self.name(&device.to_string()))?;
            // Addresses are usable at once, as nobody else can have them.
            namespace.sysctl(&[("ipv6/conf/all/accept_dad", "0"), ("ipv6/conf/default/accept_dad", "0")])?;
            self.namespaces.insert(device, namespace);
        }
        for (_, [near, far]) in &self.links {
            let (there, here) = (&near.interface, &far.interface);
            let far = self.of(far.device)?.name();
            self.of(near.device)?.ip(&format!("link add {there} type veth peer name {here} netns {far}"))?;
        }
        let forwarding = [("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")];
        for switch in topology.switches() {
            let npu = self.of(Device::Npu(switch))?;
            npu.sysctl(&forwarding)?;
            // pmond probes the midplane on a socket that needs no privilege.
            npu.sysctl(&[("ipv4/ping_group_range", "0 2147483647")])?;
            npu.ip_batch(&npu_lines(topology, switch))?;
            self.npu(switch, LinkState::Up)?;
        }
        let fabric = self.of(Device::Fabric)?;
        fabric.sysctl(&forwarding)?;
        fabric.ip_batch(&lo_lines(&topology.clients()))?;
        for (link, [_, far]) in &self.links {
            if matches!(link, Link::Uplink(_)) {
                self.set([far], LinkState::Up)?;
            }
        }
        Ok(())
    }

    /// The name of a device's namespace.
    pub(super) fn name(&self, device: &str) -> String {
        self.claim.name(device)
    }

    fn of(&self, device: Device) -> io::Result<&Namespace> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("the lab has no {device}"));
        self.namespaces.get(&device).ok_or_else(missing)
    }

    /// What runs a command line on a device, when put before it.
    pub(super) fn prefix(&self, device: Device) -> Option<[String; 4]> {
        self.namespaces.get(&device).map(Namespace::prefix)
    }

    pub(super) fn client_socket(&self, address: IpAddr) -> io::Result<UdpSocket> {
        self.of(Device::Fabric)?.enter(|| UdpSocket::bind((address, 0)))?
    }

    /// Does something that waits for a program, beside what else goes on.
    pub(super) async fn act(
        self: &Arc<Self>,
        act: impl FnOnce(&Self) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let network = self.clone();
        tokio::task::spawn_blocking(move || act(&network)).await.map_err(io::Error::other)?
    }

    /// The DPU's end of its links.
    pub(super) fn dpu(&self, dpu: DpuId, state: LinkState) -> io::Result<()> {
        let far = self.links.iter().map(|(_, [_, far])| far);
        self.set(far.filter(|end| end.device == Device::Dpu(dpu)), state)
    }

    /// The NPU's end of all links of a switch.
    pub(super) fn npu(&self, switch: u8, state: LinkState) -> io::Result<()> {
        let of_switch = self.links.iter().filter(|(link, _)| link.switch() == switch);
        self.set(of_switch.map(|(_, [near, _])| near), state)
    }

    /// The NPU's end of a link.
    pub(super) fn link(&self, wanted: Link, state: LinkState) -> io::Result<()> {
        let link = self.links.iter().filter(|(link, _)| *link == wanted);
        self.set(link.map(|(_, [near, _])| near), state)
    }

    /// Ends of links, all of one device, by one process.
    fn set<'a>(&self, ends: impl IntoIterator<Item = &'a End>, state: LinkState) -> io::Result<()> {
        let mut lines = String::new();
        let mut device = None;
        for end in ends {
            device = Some(end.device);
            lines += &format!("link set {} {}\n", end.interface, state.as_str());
            if state == LinkState::Up {
                // What went with the link comes back with it.
                lines.extend(end.configuration.iter().flat_map(|line| [line, "\n"]));
            }
        }
        let Some(device) = device else { return Ok(()) };
        self.of(device)?.ip_batch(&lines).map(|_| ())
    }

    /// Nothing passes between the DPU and its peer any more.
    pub(super) fn part(&self, dpu: DpuId) -> io::Result<()> {
        let of = |dpu: DpuId| self.data_paths.get(&dpu).cloned().unwrap_or_default();
        let mut rules = format!("add table {TABLE}\n");
        rules += &format!("add chain {TABLE} forward {{ type filter hook forward priority 0; }}\n");
        for (one, other) in of(dpu).into_iter().zip(of(dpu.peer())) {
            let family = if one.is_ipv6() { "ip6" } else { "ip" };
            for (from, to) in [(one, other), (other, one)] {
                rules +=
                    &format!("add rule {TABLE} forward {family} saddr {from} {family} daddr {to} drop\n");
            }
        }
        self.of(Device::Fabric)?.nft(&rules).map(|_| ())
    }

    /// Everything passes again.
    pub(super) fn heal(&self) -> io::Result<()> {
        self.of(Device::Fabric)?.nft(&format!("delete table {TABLE}\n")).map(|_| ())
    }
}

/// What an NPU has besides its links: the midplane's bridge, and `Loopback0`.
fn npu_lines(topology: &Topology, switch: u8) -> String {
    let mut lines = format!("link add {BRIDGE} type bridge\n");
    lines += &format!("addr add {}/24 dev {BRIDGE}\n", topology.midplane_bridge(switch));
    lines += &format!("link set {BRIDGE} up\n");
    for dpu in topology.dpus_of(switch) {
        let [near, _] = Link::Midplane(dpu).ends(topology);
        lines += &format!("link set {} master {BRIDGE}\n", near.interface);
    }
    lines + &lo_lines(&topology.loopbacks(switch))
}

fn lo_lines(addresses: &[IpAddr]) -> String {
    let host = |address: &IpAddr| if address.is_ipv6() { 128 } else { 32 };
    addresses.iter().map(|address| format!("addr add {address}/{} dev lo\n", host(address))).collect()
}
