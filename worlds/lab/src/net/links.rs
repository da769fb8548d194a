//! The links of a pair with namespaces, and what is configured at each of their ends. Pure.
//!
//! ```text
//!                    ┌──────────── fabric ────────────┐   client 192.168.250.1
//!             10.0.0.0/30                        10.0.0.4/30            uplinks
//!                    │                                │
//!              switch0 10.1.0.32                switch1 10.1.0.33       Loopback0
//!   169.254.200.254  │ │  20.0.200.0/31             │ │
//!      bridge-midplane │                            │ │
//!   169.254.200.1 ┌──┘ └──┐ 20.0.200.1              ...
//!      eth0-midplane      Ethernet0
//!                 └─ dpu0 ┘
//! ```

use std::fmt;
use std::net::IpAddr;

use super::Device;
use crate::topology::{DpuId, Topology, switch_name};

/// The NPU's end of the midplane.
pub(super) const BRIDGE: &str = "bridge-midplane";

/// A link. Its first end is the NPU's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Between a DPU and its NPU, for management.
    Midplane(DpuId),
    /// Between a DPU and its NPU, for traffic.
    FrontPanel(DpuId),
    /// Between a switch and the network that it shares with the other.
    Uplink(u8),
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Midplane(dpu) => write!(f, "the midplane link of {dpu}"),
            Self::FrontPanel(dpu) => write!(f, "the front-panel link of {dpu}"),
            Self::Uplink(switch) => write!(f, "the uplink of {}", switch_name(*switch)),
        }
    }
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub device: Device,
    pub interface: String,
    /// Commands of `ip` that configure it once it is up. Doing them twice does nothing.
    pub configuration: Vec<String>,
}

impl End {
    fn new(device: Device, interface: impl Into<String>) -> Self {
        Self { device, interface: interface.into(), configuration: Vec::new() }
    }

    fn address(mut self, address: IpAddr, prefix: u8) -> Self {
        // Nobody else has the address: no need to ask for a second first.
        let nodad = if address.is_ipv6() { " nodad" } else { "" };
        self.configuration.push(format!("addr replace {address}/{prefix} dev {}{nodad}", self.interface));
        self
    }

    fn route(mut self, to: &str, via: IpAddr) -> Self {
        self.configuration.push(format!("route replace {to} via {via} dev {}", self.interface));
        self
    }
}

impl Link {
    /// Both ends, the NPU's first.
    pub(super) fn ends(self, topology: &Topology) -> [End; 2] {
        match self {
            Self::Midplane(dpu) => [
                End::new(Device::Npu(dpu.switch), format!("mp-{}", dpu.slot.container())),
                End::new(Device::Dpu(dpu), "eth0-midplane").address(topology.midplane(dpu).into(), 24),
            ],
            Self::FrontPanel(dpu) => {
                let mut near = End::new(Device::Npu(dpu.switch), format!("fp-{}", dpu.slot.container()));
                let mut far = End::new(Device::Dpu(dpu), "Ethernet0");
                for (npu, own) in topology.front_panel(dpu) {
                    // Two addresses and nothing else.
                    let prefix = if npu.is_ipv6() { 127 } else { 31 };
                    near = near.address(npu, prefix);
                    far = far.address(own, prefix).route("default", npu);
                }
                [near, far]
            }
            Self::Uplink(switch) => {
                let mut near = End::new(Device::Npu(switch), "uplink");
                let mut far = End::new(Device::Fabric, switch_name(switch));
                for (npu, fabric) in topology.uplink(switch) {
                    let (prefix, host) = if npu.is_ipv6() { (126, 128) } else { (30, 32) };
                    near = near.address(npu, prefix).route("default", fabric);
                    far = far.address(fabric, prefix);
                    let loopbacks = topology.loopbacks(switch);
                    let dpus = topology.dpus_of(switch).flat_map(|dpu| topology.front_panel(dpu));
                    let behind = loopbacks.into_iter().chain(dpus.map(|(_, own)| own));
                    for address in behind.filter(|address| address.is_ipv6() == npu.is_ipv6()) {
                        far = far.route(&format!("{address}/{host}"), npu);
                    }
                }
                [near, far]
            }
        }
    }

    /// Every link of a pair.
    pub(super) fn all(topology: &Topology) -> impl Iterator<Item = Self> {
        let of_dpu = |dpu| [Self::Midplane(dpu), Self::FrontPanel(dpu)];
        topology.switches().map(Self::Uplink).chain(topology.dpus().flat_map(of_dpu))
    }

    /// The switch whose end it has.
    pub(super) fn switch(self) -> u8 {
        match self {
            Self::Midplane(dpu) | Self::FrontPanel(dpu) => dpu.switch,
            Self::Uplink(switch) => switch,
        }
    }
}
