//! `DPU_APPL_DB`: what hamgrd tells a DPU (`reference/hamgrd.md` 2.2, `reference/dpu-side.md` 1.1). Plain
//! fields; no protobuf.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{AsicHaRole, HaOwner, HaScopeId, HaScopeKind, HaSetId, RowKey};

row! {
    /// A HA set of the DPU.
    HaSet = DashHaSet, key HaSetId;
    /// Version of the configuration it comes from.
    version: Option<String> = optional "version";
    /// The VIP.
    vip_v4: Option<Ipv4Addr> = optional "vip_v4";
    /// The IPv6 VIP.
    vip_v6: Option<Ipv6Addr> = optional "vip_v6";
    /// Who drives the HA state machine.
    owner: Option<HaOwner> = optional "owner";
    /// What the set's scopes cover.
    scope: Option<HaScopeKind> = optional "scope";
    /// The address of the NPU that carries this DPU.
    local_npu_ip: Option<IpAddr> = optional "local_npu_ip";
    /// This DPU's data-path address.
    local_ip: Option<IpAddr> = optional "local_ip";
    /// The peer DPU's data-path address.
    peer_ip: Option<IpAddr> = optional "peer_ip";
    /// Port of the DPU-to-DPU control channel.
    cp_data_channel_port: Option<u16> = optional "cp_data_channel_port";
    /// Destination port of the data channel.
    dp_channel_dst_port: Option<u16> = optional "dp_channel_dst_port";
    /// Lowest source port of the data channel.
    dp_channel_src_port_min: Option<u16> = optional "dp_channel_src_port_min";
    /// Highest source port of the data channel.
    dp_channel_src_port_max: Option<u16> = optional "dp_channel_src_port_max";
    /// Probe interval of the data channel, ms.
    dp_channel_probe_interval_ms: Option<u32> = optional "dp_channel_probe_interval_ms";
    /// Lost probes after which the data channel is down.
    dp_channel_probe_fail_threshold: Option<u32> = optional "dp_channel_probe_fail_threshold";
}

row! {
    /// A HA scope of the DPU.
    HaScope = DashHaScope, key HaScopeId;
    /// Version of the configuration it comes from.
    version: Option<String> = optional "version";
    /// Whether the scope is administratively off.
    disabled: bool = defaulted "disabled";
    /// The role asked for.
    ha_role: AsicHaRole = required "ha_role";
    /// The term; SONiC's DPU ignores it.
    ha_term: Option<u32> = optional "ha_term";
    /// The HA set; absent means the set of the same name.
    ha_set_id: Option<HaSetId> = optional "ha_set_id";
    /// The VIP.
    vip_v4: Option<Ipv4Addr> = optional "vip_v4";
    /// The IPv6 VIP.
    vip_v6: Option<Ipv6Addr> = optional "vip_v6";
    /// Approval of a pending flow reconcile. Absent, here and in the next two, says nothing of it: these are not kept
    /// where a row is sent again (`Table::one_shot_fields`).
    flow_reconcile_requested: Option<bool> = optional "flow_reconcile_requested";
    /// Approval of a pending role activation.
    activate_role_requested: Option<bool> = optional "activate_role_requested";
    /// Approval of a pending split-brain recovery.
    brainsplit_recovered: Option<bool> = optional "brainsplit_recovered";
}

/// `<vrf>:<interface>:<peer>`; the first two separators count, so IPv6 peers pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BfdKey {
    /// The VRF, `default` for HA.
    pub vrf: String,
    /// The interface, `default` for HA.
    pub interface: String,
    /// The peer: the address of an NPU.
    pub peer: IpAddr,
}

impl BfdKey {
    /// The session towards an NPU.
    pub fn to_npu(peer: IpAddr) -> Self {
        Self { vrf: "default".to_owned(), interface: "default".to_owned(), peer }
    }
}

impl RowKey for BfdKey {
    const EXPECTED: &'static str = "vrf, interface and peer address";
    fn to_text(&self, separator: char) -> String {
        format!("{}{separator}{}{separator}{}", self.vrf, self.interface, self.peer)
    }
    fn from_text(text: &str, separator: char) -> Option<Self> {
        let mut parts = text.splitn(3, separator);
        let (vrf, interface, peer) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { vrf: vrf.to_owned(), interface: interface.to_owned(), peer: peer.parse().ok()? })
    }
}

row! {
    /// A BFD session of the DPU.
    BfdSession = BfdSession, key BfdKey;
    /// Desired transmit interval, ms.
    tx_interval_ms: Option<u32> = optional "tx_interval";
    /// Required receive interval, ms.
    rx_interval_ms: Option<u32> = optional "rx_interval";
    /// Detect multiplier.
    multiplier: Option<u32> = optional "multiplier";
    /// Whether the session is multihop.
    multihop: bool = defaulted "multihop";
    /// Whether the session is administratively down.
    shutdown: bool = defaulted "shutdown";
    /// The DPU's data-path address.
    local_addr: Option<IpAddr> = optional "local_addr";
    /// `passive`: silent until the peer speaks.
    kind: Option<String> = optional "type";
}
