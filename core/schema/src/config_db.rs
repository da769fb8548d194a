//! `CONFIG_DB`: what the operator and the network controller configured (`reference/hamgrd.md` 2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{DpuName, RowKey, Slot, VdpuId};

row! {
    /// A DPU of this switch.
    Dpu = Dpu, key DpuName;
    /// The slot.
    dpu_id: Slot = required "dpu_id";
    /// The DPU's data-path address; BFD's local address on the DPU.
    pa_ipv4: Option<Ipv4Addr> = optional "pa_ipv4";
    /// The DPU's IPv6 data-path address.
    pa_ipv6: Option<Ipv6Addr> = optional "pa_ipv6";
    /// The DPU's address on the midplane.
    midplane_ipv4: Option<Ipv4Addr> = optional "midplane_ipv4";
    /// Where the DPU's orchagent listens.
    orchagent_zmq_port: Option<u16> = optional "orchagent_zmq_port";
    /// Where this DPU's HA manager bus listens.
    swbus_port: Option<u16> = optional "swbus_port";
    /// Administrative state, as text.
    state: Option<String> = optional "state";
    /// The vDPU that this DPU belongs to, repeated in `DPU_RESET_INFO`.
    vdpu_id: Option<VdpuId> = optional "vdpu_id";
    /// The DPU's VIP.
    vip_ipv4: Option<Ipv4Addr> = optional "vip_ipv4";
    /// The DPU's IPv6 VIP.
    vip_ipv6: Option<Ipv6Addr> = optional "vip_ipv6";
}

row! {
    /// A DPU of another switch of the cluster.
    RemoteDpu = RemoteDpu, key DpuName;
    /// The slot in its own switch.
    dpu_id: Option<Slot> = optional "dpu_id";
    /// The DPU's data-path address.
    pa_ipv4: Option<Ipv4Addr> = optional "pa_ipv4";
    /// The DPU's IPv6 data-path address.
    pa_ipv6: Option<Ipv6Addr> = optional "pa_ipv6";
    /// The address of the NPU that carries it.
    npu_ipv4: Option<Ipv4Addr> = optional "npu_ipv4";
    /// The IPv6 address of the NPU that carries it.
    npu_ipv6: Option<Ipv6Addr> = optional "npu_ipv6";
    /// Where its HA manager bus listens.
    swbus_port: Option<u16> = optional "swbus_port";
    /// Kind of remote, `cluster`.
    kind: Option<String> = optional "type";
}

row! {
    /// A virtual DPU: the member of a HA set, on one or more DPUs of which the first counts.
    Vdpu = Vdpu, key VdpuId;
    /// The DPUs, local or remote.
    main_dpu_ids: Vec<DpuName> = list "main_dpu_ids";
}

/// The key of the only `DASH_HA_GLOBAL_CONFIG` row; written as `GLOBAL`, read in any case. A row with
/// another key is a stranger's: taken for ours, its end would be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Global;

impl RowKey for Global {
    const EXPECTED: &'static str = "GLOBAL";
    fn to_text(&self, _separator: char) -> String {
        "GLOBAL".to_owned()
    }
    fn from_text(text: &str, _separator: char) -> Option<Self> {
        text.eq_ignore_ascii_case("GLOBAL").then_some(Self)
    }
}

row! {
    /// Ports and timers common to all HA sets.
    HaGlobalConfig = DashHaGlobalConfig, key Global;
    /// Port of the DPU-to-DPU control channel.
    cp_data_channel_port: Option<u16> = optional "cp_data_channel_port";
    /// Destination port of the DPU-to-DPU data channel.
    dp_channel_dst_port: Option<u16> = optional "dp_channel_dst_port";
    /// Lowest source port of the data channel.
    dp_channel_src_port_min: Option<u16> = optional "dp_channel_src_port_min";
    /// Highest source port of the data channel.
    dp_channel_src_port_max: Option<u16> = optional "dp_channel_src_port_max";
    /// Probe interval of the data channel, ms.
    dp_channel_probe_interval_ms: Option<u32> = optional "dp_channel_probe_interval_ms";
    /// Lost probes after which the data channel is down.
    dp_channel_probe_fail_threshold: Option<u32> = optional "dp_channel_probe_fail_threshold";
    /// BFD interval between NPU and DPU, ms.
    dpu_bfd_probe_interval_ms: Option<u32> = optional "dpu_bfd_probe_interval_in_ms";
    /// BFD detect multiplier of the DPU.
    dpu_bfd_probe_multiplier: Option<u32> = optional "dpu_bfd_probe_multiplier";
    /// The VNET that VIP routes go to.
    dpu_vnet: Option<String> = optional "dpu_vnet";
    /// The VLAN of the DPUs' data-path addresses.
    dpu_vlan: Option<String> = optional "dpu_vlan";
}

/// `Loopback0` or `Loopback0|10.1.0.32/32`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LoopbackKey {
    /// The interface.
    pub interface: String,
    /// Address and prefix length; absent on the interface's own row.
    pub address: Option<(IpAddr, u8)>,
}

impl RowKey for LoopbackKey {
    const EXPECTED: &'static str = "an interface, or an interface and an address with prefix length";
    fn to_text(&self, separator: char) -> String {
        match self.address {
            Some((address, length)) => format!("{}{separator}{address}/{length}", self.interface),
            None => self.interface.clone(),
        }
    }
    fn from_text(text: &str, separator: char) -> Option<Self> {
        let Some((interface, address)) = text.split_once(separator) else {
            return Some(Self { interface: text.to_owned(), address: None });
        };
        let (address, length) = address.split_once('/')?;
        let (address, length): (IpAddr, u8) = (address.parse().ok()?, length.parse().ok()?);
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (length <= bits).then(|| Self { interface: interface.to_owned(), address: Some((address, length)) })
    }
}

row! {
    /// An address of the NPU. The row has no fields of interest.
    LoopbackInterface = LoopbackInterface, key LoopbackKey;
}

row! {
    /// A port of the device. Only its existence counts.
    Port = Port, key String;
}
