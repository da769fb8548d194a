//! The network that the devices are on.
//!
//! ```text
//!   loopback   every device on addresses of one block 127.I.0.0/16; no root, no set-up; a link is down when nobody
//!              answers the midplane probe
//!   netns      every device in a network namespace of its own, with real links (see `namespaces`); root only
//! ```
//!
//! The rest of the lab says which link is to fail, and does not know how it does.

mod claim;
mod links;
mod loopback;
mod namespaces;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;

use schema::LinkState;

pub use self::claim::sweep;
pub use self::links::Link;
use self::loopback::Loopback;
use self::namespaces::Namespaces;
use crate::hardware::Hardware;
use crate::process::Program;
use crate::topology::{DpuId, PROBE_PORT, Topology};

/// What kind of network a lab has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Loopback addresses, without root
    Loopback,
    /// A network namespace per device, with real links; root only
    Netns,
}

/// Why there is no network, or why it does not do as it is told.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Namespaces cannot be made here.
    #[error(
        "--net netns takes root, a kernel with network namespaces, and the Debian packages iproute2 and nftables"
    )]
    Namespaces(#[source] io::Error),
    /// Every number for a lab is taken.
    #[error("no room for another lab with namespaces: {0} run already")]
    Full(u16),
    /// A link does not obey.
    #[error("{what} cannot be brought {state}")]
    Link {
        /// The link.
        what: String,
        /// What it was to be.
        state: LinkState,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The fabric does not obey.
    #[error("what passes between {between} cannot be changed")]
    Fabric {
        /// Two DPUs.
        between: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no such thing on the loopback interface.
    #[error("{0} is not real on the loopback interface: it takes --net netns, and that takes root")]
    NotReal(String),
}

/// A device that has a place on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Device {
    /// The NPU of a switch.
    Npu(u8),
    /// A DPU.
    Dpu(DpuId),
    /// What is beside the switches: the network between them, and the clients.
    Fabric,
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Npu(switch) => f.write_str(&crate::topology::switch_name(*switch)),
            Self::Dpu(dpu) => write!(f, "{}-{}", dpu.switch_name(), dpu.slot.container()),
            Self::Fabric => f.write_str("fabric"),
        }
    }
}

/// The network of a lab. It is gone when its last copy is dropped.
#[derive(Clone, Debug)]
pub enum Network {
    /// On the loopback interface.
    Loopback(Arc<Loopback>),
    /// In namespaces.
    Netns(Arc<Namespaces>),
}

impl Network {
    /// Makes the network for that topology, whose kind it is. DPUs are off.
    ///
    /// # Errors
    /// Namespaces cannot be made here.
    pub fn up(topology: &Topology, hardware: &Hardware) -> Result<Self, NetError> {
        Ok(match topology.kind() {
            Kind::Loopback => Self::Loopback(Arc::new(Loopback::new(topology, hardware))),
            Kind::Netns => Self::Netns(Arc::new(Namespaces::create(topology)?)),
        })
    }

    /// What it is, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Loopback(loopback) => loopback.block().to_owned(),
            Self::Netns(namespaces) => format!("network namespaces {}", namespaces.name("*")),
        }
    }

    /// A program as it is started on that device.
    pub fn on(&self, device: Device, program: Program) -> Program {
        let prefix = match self {
            Self::Loopback(_) => None,
            Self::Netns(namespaces) => namespaces.prefix(device),
        };
        let Some([ip, words @ ..]) = prefix else { return program };
        let inner = program.path.display().to_string();
        Program { path: ip.into(), args: words.into_iter().chain([inner]).chain(program.args).collect() }
    }

    /// A UDP socket of a client beside the switches. Its packets are the client's, whoever sends them.
    ///
    /// # Errors
    /// The address is not the client's, or the namespace cannot be entered.
    pub fn client_socket(&self, address: IpAddr) -> io::Result<UdpSocket> {
        match self {
            Self::Loopback(_) => UdpSocket::bind((address, 0)),
            Self::Netns(namespaces) => namespaces.client_socket(address),
        }
    }

    /// How pmond probes the midplane.
    pub fn probe(&self) -> String {
        match self {
            Self::Loopback(_) => format!("udp:{PROBE_PORT}"),
            // The kernel of the DPU answers.
            Self::Netns(_) => "icmp".to_owned(),
        }
    }

    /// The DPU's side of all its links, which goes and comes with its power.
    ///
    /// # Errors
    /// A link does not obey.
    pub async fn power(&self, dpu: DpuId, state: LinkState) -> Result<(), NetError> {
        let failed = |source| NetError::Link { what: format!("the power of {dpu}"), state, source };
        match self {
            Self::Loopback(loopback) => loopback.answer_probes(dpu, state).await.map_err(failed),
            Self::Netns(namespaces) => {
                namespaces.act(move |network| network.dpu(dpu, state)).await.map_err(failed)
            }
        }
    }

    /// The NPU's side of all links of a switch.
    ///
    /// # Errors
    /// A link does not obey, or there are none.
    pub async fn npu_power(&self, switch: u8, state: LinkState) -> Result<(), NetError> {
        let what = format!("the links of {}", Device::Npu(switch));
        match self {
            Self::Loopback(_) => Err(NetError::NotReal(what)),
            Self::Netns(namespaces) => {
                let done = namespaces.act(move |network| network.npu(switch, state)).await;
                done.map_err(|source| NetError::Link { what, state, source })
            }
        }
    }

    /// A link, at its NPU's end.
    ///
    /// # Errors
    /// It does not obey, or is not real.
    pub async fn link(&self, link: Link, state: LinkState) -> Result<(), NetError> {
        let failed = |source| NetError::Link { what: link.to_string(), state, source };
        match (self, link) {
            (Self::Loopback(loopback), Link::Midplane(dpu)) => {
                loopback.answer_probes(dpu, state).await.map_err(failed)
            }
            (Self::Loopback(_), Link::FrontPanel(_) | Link::Uplink(_)) => {
                Err(NetError::NotReal(link.to_string()))
            }
            (Self::Netns(namespaces), _) => {
                namespaces.act(move |network| network.link(link, state)).await.map_err(failed)
            }
        }
    }

    /// Between two DPUs of different switches nothing passes any more: a partition in the network between the switches, while
    /// every link is up.
    ///
    /// # Errors
    /// `nft` refuses, or there is no such network.
    pub async fn part(&self, dpu: DpuId) -> Result<(), NetError> {
        self.filter(dpu, Namespaces::part).await
    }

    /// Everything passes again.
    ///
    /// # Errors
    /// As [`Network::part`].
    pub async fn heal(&self, dpu: DpuId) -> Result<(), NetError> {
        self.filter(dpu, |network, _| network.heal()).await
    }

    async fn filter(
        &self,
        dpu: DpuId,
        act: impl FnOnce(&Namespaces, DpuId) -> io::Result<()> + Send + 'static,
    ) -> Result<(), NetError> {
        let between = format!("{dpu} and {}", dpu.peer());
        match self {
            Self::Loopback(_) => Err(NetError::NotReal(format!("a partition between {between}"))),
            Self::Netns(namespaces) => {
                let done = namespaces.act(move |network| act(network, dpu)).await;
                done.map_err(|source| NetError::Fabric { between, source })
            }
        }
    }
}
