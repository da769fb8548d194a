//! The command line (DESIGN 8).

use std::net::{IpAddr, SocketAddr};

use clap::Parser;
use npu_model::{NextHopRule, NpuConfig};
use shell::{DaemonArgs, DatabaseArgs};

/// A model of an NPU's swss: VNET routes, BFD sessions to the DPUs, and packets for VIPs that follow them
#[derive(Parser, Debug)]
#[command(name = "npu-swss-model", version)]
pub struct Args {
    /// Source of VXLAN tunnels and of BFD, as VXLAN_TUNNEL names it on a switch; one per family
    #[arg(long, value_name = "ADDR", required = true)]
    pub tunnel_source: Vec<IpAddr>,

    /// Where packets for VIPs come in, from clients, other NPUs and DPUs, which all use this port; one per family
    #[arg(long, value_name = "ADDR:PORT")]
    pub vip_listen: Vec<SocketAddr>,

    /// Where packets for VIPs without a next hop go: through the network to the peer switch, which announces them; one per
    /// family
    #[arg(long, value_name = "ADDR:PORT")]
    pub uplink: Vec<SocketAddr>,

    /// Which next hops a VIP has: as the HA `design` says, or as SONiC's `orchagent` does (core/npu-model)
    #[arg(long, value_name = "design|orchagent", default_value_t)]
    pub next_hop_rule: NextHopRule,

    #[command(flatten)]
    pub databases: DatabaseArgs,

    #[command(flatten)]
    pub daemon: DaemonArgs,
}

impl Args {
    /// What the model is set up with.
    pub fn config(&self) -> NpuConfig {
        let mut config = NpuConfig { rule: self.next_hop_rule, ..NpuConfig::default() };
        for source in &self.tunnel_source {
            match source {
                IpAddr::V4(source) => config.tunnel_source_v4 = Some(*source),
                IpAddr::V6(source) => config.tunnel_source_v6 = Some(*source),
            }
        }
        config
    }
}
