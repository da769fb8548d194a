//! `APPL_DB`: the SDN controller's intent, and what hamgrd tells the NPU's swss.
//!
//! The two configuration tables carry one binary field, `pb` (`reference/controller.md` 2.1-2.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::codec::{FIELD_BYTES_MAX, LIST_ITEMS_MAX, Scalar};
use crate::error::{FieldProblem, Problem};
use crate::proto::{ha_scope_config, ha_set_config, types};
use crate::{
    DesiredHaState, Fields, HaOwner, HaScopeId, HaScopeKind, HaSetId, LinkState, OperationId, PinnedState,
    Row, RowError, RowKey, Table, Value, VdpuId,
};

const PB: &str = "pb";

/// A HA set as the SDN controller wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaSetConfig {
    /// Version, the controller's.
    pub version: String,
    /// The VIP.
    pub vip_v4: Option<Ipv4Addr>,
    /// The IPv6 VIP.
    pub vip_v6: Option<Ipv6Addr>,
    /// The members; two in practice.
    pub vdpu_ids: Vec<VdpuId>,
    /// What the set's scopes cover.
    pub scope: HaScopeKind,
    /// Overrides of BFD, in the order of `vdpu_ids`; may be empty.
    pub pinned_vdpu_bfd_probe_states: Vec<PinnedState>,
    /// The members that traffic prefers; a comma list in one field on the wire.
    pub preferred_vdpu_ids: Vec<VdpuId>,
    /// Which member stays standalone when both could.
    pub preferred_standalone_vdpu_index: u32,
}

/// A HA scope as the SDN controller wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaScopeConfig {
    /// Version, a decimal number by SONiC's convention; text that is none is kept as it is.
    pub version: String,
    /// Whether the scope is administratively off.
    pub disabled: bool,
    /// Who drives the HA state machine.
    pub owner: HaOwner,
    /// The HA set of the scope; `None` means the set named like the scope.
    pub ha_set_id: Option<HaSetId>,
    /// The state wanted.
    pub desired_ha_state: DesiredHaState,
    /// Pending operations that the controller has approved.
    pub approved_pending_operation_ids: Vec<OperationId>,
}

/// A vDPU and a HA scope: `<vdpu_id>:<ha_scope_id>` in APPL_DB, `<vdpu_id>|<ha_scope_id>` in STATE_DB. The
/// first separator counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HaScopeConfigKey {
    /// The vDPU.
    pub vdpu: VdpuId,
    /// The scope.
    pub scope: HaScopeId,
}

impl RowKey for HaScopeConfigKey {
    const EXPECTED: &'static str = "a vDPU and a HA scope";
    fn to_text(&self, separator: char) -> String {
        format!("{}{separator}{}", self.vdpu, self.scope)
    }
    fn from_text(text: &str, separator: char) -> Option<Self> {
        let (vdpu, scope) = text.split_once(separator)?;
        Some(Self { vdpu: VdpuId::new(vdpu)?, scope: HaScopeId::new(scope)? })
    }
}

impl std::fmt::Display for HaScopeConfigKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.vdpu, self.scope)
    }
}

impl HaScopeConfig {
    /// The HA set that the scope belongs to.
    pub fn ha_set(&self, key: &HaScopeConfigKey) -> Option<HaSetId> {
        self.ha_set_id.clone().or_else(|| HaSetId::new(key.scope.as_str()))
    }
}

impl Row for HaSetConfig {
    const TABLE: Table = Table::DashHaSetConfig;
    type Key = HaSetId;

    fn to_fields(&self) -> Fields {
        let message = ha_set_config::HaSetConfig {
            version: self.version.clone(),
            vip_v4: self.vip_v4.map(|address| ip_to_proto(address.into())),
            vip_v6: self.vip_v6.map(|address| ip_to_proto(address.into())),
            vdpu_ids: self.vdpu_ids.iter().map(Scalar::to_text).collect(),
            scope: match self.scope {
                HaScopeKind::Unspecified => types::HaScope::Unspecified,
                HaScopeKind::Dpu => types::HaScope::Dpu,
                HaScopeKind::Eni => types::HaScope::Eni,
            }
            .into(),
            pinned_vdpu_bfd_probe_states: self
                .pinned_vdpu_bfd_probe_states
                .iter()
                .map(Scalar::to_text)
                .collect(),
            preferred_vdpu_id: {
                let ids: Vec<String> = self.preferred_vdpu_ids.iter().map(Scalar::to_text).collect();
                ids.join(",")
            },
            preferred_standalone_vdpu_index: self.preferred_standalone_vdpu_index,
        };
        [(PB, message.encode_to_vec())].into_iter().collect()
    }

    fn from_fields(key: &str, fields: &Fields) -> Result<Self, RowError> {
        let read = || -> Result<Self, FieldProblem> {
            let message: ha_set_config::HaSetConfig = message(fields)?;
            Ok(Self {
                version: message.version,
                vip_v4: ip_from_proto("pb.vip_v4", message.vip_v4, ipv4)?,
                vip_v6: ip_from_proto("pb.vip_v6", message.vip_v6, ipv6)?,
                vdpu_ids: items("pb.vdpu_ids", &message.vdpu_ids)?,
                scope: match types::HaScope::try_from(message.scope) {
                    Ok(types::HaScope::Unspecified) => HaScopeKind::Unspecified,
                    Ok(types::HaScope::Dpu) => HaScopeKind::Dpu,
                    Ok(types::HaScope::Eni) => HaScopeKind::Eni,
                    Err(_) => return Err(unknown_enum("pb.scope", message.scope)),
                },
                pinned_vdpu_bfd_probe_states: pins(&message.pinned_vdpu_bfd_probe_states)?,
                preferred_vdpu_ids: {
                    let ids = message.preferred_vdpu_id.split(',').map(str::trim).filter(|id| !id.is_empty());
                    ids.map(|id| item("pb.preferred_vdpu_id", id)).collect::<Result<_, _>>()?
                },
                preferred_standalone_vdpu_index: message.preferred_standalone_vdpu_index,
            })
        };
        read().map_err(|problem| problem.at(Self::TABLE, key))
    }
}

impl Row for HaScopeConfig {
    const TABLE: Table = Table::DashHaScopeConfig;
    type Key = HaScopeConfigKey;

    fn to_fields(&self) -> Fields {
        let message = ha_scope_config::HaScopeConfig {
            version: self.version.clone(),
            disabled: self.disabled,
            owner: match self.owner {
                HaOwner::Unspecified => types::HaOwner::Unspecified,
                HaOwner::Dpu => types::HaOwner::Dpu,
                HaOwner::Switch => types::HaOwner::Switch,
            }
            .into(),
            ha_set_id: self.ha_set_id.as_ref().map(Scalar::to_text).unwrap_or_default(),
            desired_ha_state: match self.desired_ha_state {
                DesiredHaState::Unspecified => types::DesiredHaState::Unspecified,
                DesiredHaState::Dead => types::DesiredHaState::Dead,
                DesiredHaState::Active => types::DesiredHaState::Active,
                DesiredHaState::Standalone => types::DesiredHaState::Standalone,
            }
            .into(),
            approved_pending_operation_ids: self
                .approved_pending_operation_ids
                .iter()
                .map(Scalar::to_text)
                .collect(),
        };
        [(PB, message.encode_to_vec())].into_iter().collect()
    }

    fn from_fields(key: &str, fields: &Fields) -> Result<Self, RowError> {
        let read = || -> Result<Self, FieldProblem> {
            let message: ha_scope_config::HaScopeConfig = message(fields)?;
            Ok(Self {
                version: message.version,
                disabled: message.disabled,
                owner: match types::HaOwner::try_from(message.owner) {
                    Ok(types::HaOwner::Unspecified) => HaOwner::Unspecified,
                    Ok(types::HaOwner::Dpu) => HaOwner::Dpu,
                    Ok(types::HaOwner::Switch) => HaOwner::Switch,
                    Err(_) => return Err(unknown_enum("pb.owner", message.owner)),
                },
                ha_set_id: present("pb.ha_set_id", &message.ha_set_id)?,
                desired_ha_state: match types::DesiredHaState::try_from(message.desired_ha_state) {
                    Ok(types::DesiredHaState::Unspecified) => DesiredHaState::Unspecified,
                    Ok(types::DesiredHaState::Dead) => DesiredHaState::Dead,
                    Ok(types::DesiredHaState::Active) => DesiredHaState::Active,
                    Ok(types::DesiredHaState::Standalone) => DesiredHaState::Standalone,
                    Err(_) => return Err(unknown_enum("pb.desired_ha_state", message.desired_ha_state)),
                },
                approved_pending_operation_ids: items(
                    "pb.approved_pending_operation_ids",
                    &message.approved_pending_operation_ids,
                )?,
            })
        };
        read().map_err(|problem| problem.at(Self::TABLE, key))
    }
}

fn message<M: Message + Default>(fields: &Fields) -> Result<M, FieldProblem> {
    let value = fields.get(PB);
    let Some(bytes) = value.map(Value::as_bytes) else {
        return Err(Problem::new("a protobuf message", None).of(PB));
    };
    if bytes.len() > FIELD_BYTES_MAX {
        return Err(
            Problem::new(format!("a protobuf message of at most {FIELD_BYTES_MAX} bytes"), value).of(PB)
        );
    }
    M::decode(bytes).map_err(|cause| {
        let cause = cause.to_string();
        let cause = cause.strip_prefix("failed to decode Protobuf message: ").unwrap_or(&cause);
        Problem::new(format!("a protobuf message ({cause})"), value).of(PB)
    })
}

fn unknown_enum(field: &str, number: i32) -> FieldProblem {
    Problem::new("a known enum value", Some(&Value::from(number.to_string()))).of(field)
}

fn item<T: Scalar>(field: &str, text: &str) -> Result<T, FieldProblem> {
    T::from_text(text).ok_or_else(|| Problem::new(T::EXPECTED, Some(&Value::from(text))).of(field))
}

fn items<T: Scalar>(field: &str, texts: &[String]) -> Result<Vec<T>, FieldProblem> {
    if texts.len() > LIST_ITEMS_MAX {
        let count = Value::from(format!("{} items", texts.len()));
        return Err(Problem::new(format!("at most {LIST_ITEMS_MAX} items"), Some(&count)).of(field));
    }
    texts.iter().map(|text| item(field, text)).collect()
}

/// Empty text is no pin, like `none`.
fn pins(texts: &[String]) -> Result<Vec<PinnedState>, FieldProblem> {
    const FIELD: &str = "pb.pinned_vdpu_bfd_probe_states";
    let pin = |text: &String| if text.is_empty() { Ok(PinnedState::None) } else { item(FIELD, text) };
    texts.iter().map(pin).collect()
}

/// Protobuf has no absent text: empty means absent.
fn present<T: Scalar>(field: &str, text: &str) -> Result<Option<T>, FieldProblem> {
    if text.is_empty() { Ok(None) } else { item(field, text).map(Some) }
}

/// The four octets lie on the wire as they are written; `fixed32` is little-endian.
fn ip_to_proto(address: IpAddr) -> types::IpAddress {
    let ip = match address {
        IpAddr::V4(v4) => types::ip_address::Ip::Ipv4(u32::from_le_bytes(v4.octets())),
        IpAddr::V6(v6) => types::ip_address::Ip::Ipv6(v6.octets().to_vec()),
    };
    types::IpAddress { ip: Some(ip) }
}

fn ip_from_proto<T>(
    field: &str,
    message: Option<types::IpAddress>,
    family: fn(types::ip_address::Ip) -> Result<T, Problem>,
) -> Result<Option<T>, FieldProblem> {
    match message.and_then(|message| message.ip) {
        None => Ok(None),
        Some(ip) => family(ip).map(Some).map_err(|problem| problem.of(field)),
    }
}

fn ipv4(ip: types::ip_address::Ip) -> Result<Ipv4Addr, Problem> {
    match ip {
        types::ip_address::Ip::Ipv4(number) => Ok(Ipv4Addr::from(number.to_le_bytes())),
        types::ip_address::Ip::Ipv6(bytes) => Err(Problem::new("an IPv4 address", Some(&Value::from(bytes)))),
    }
}

fn ipv6(ip: types::ip_address::Ip) -> Result<Ipv6Addr, Problem> {
    const EXPECTED: &str = "16 bytes of an IPv6 address";
    match ip {
        types::ip_address::Ip::Ipv4(number) => {
            let address = Ipv4Addr::from(number.to_le_bytes());
            Err(Problem::new(EXPECTED, Some(&Value::from(address.to_string()))))
        }
        types::ip_address::Ip::Ipv6(bytes) => match <[u8; 16]>::try_from(bytes) {
            Ok(octets) => Ok(Ipv6Addr::from(octets)),
            Err(bytes) => Err(Problem::new(EXPECTED, Some(&Value::from(bytes)))),
        },
    }
}

/// `<vnet>:<vip>`; the first separator counts, so IPv6 VIPs pass. No prefix length.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VnetRouteKey {
    /// The VNET.
    pub vnet: String,
    /// The VIP, as text: strangers may write prefixes into this table.
    pub prefix: String,
}

impl RowKey for VnetRouteKey {
    const EXPECTED: &'static str = "a VNET and a prefix";
    fn to_text(&self, separator: char) -> String {
        format!("{}{separator}{}", self.vnet, self.prefix)
    }
    fn from_text(text: &str, separator: char) -> Option<Self> {
        let (vnet, prefix) = text.split_once(separator)?;
        Some(Self { vnet: vnet.to_owned(), prefix: prefix.to_owned() })
    }
}

row! {
    /// Where the NPU sends a VIP's traffic (`reference/dpu-side.md` 3.1). The lists are parallel, but `primary`.
    VnetRouteTunnel = VnetRouteTunnel, key VnetRouteKey;
    /// Next hops: a DPU of this chassis itself, or the NPU of a remote one.
    endpoint: Vec<IpAddr> = list "endpoint";
    /// The DPUs that BFD watches, one per next hop.
    endpoint_monitor: Vec<IpAddr> = list "endpoint_monitor";
    /// `custom_bfd`.
    monitoring: Option<String> = optional "monitoring";
    /// The next hops that are preferred.
    primary: Vec<IpAddr> = list "primary";
    /// BFD receive interval, ms.
    rx_monitor_timer_ms: Option<u32> = optional "rx_monitor_timer";
    /// BFD transmit interval, ms.
    tx_monitor_timer_ms: Option<u32> = optional "tx_monitor_timer";
    /// Whether any next hop is in this chassis.
    check_directly_connected: bool = defaulted "check_directly_connected";
    /// Overrides of BFD, one per next hop, or empty.
    pinned_state: Vec<PinnedState> = list "pinned_state";
}

/// `<interface>:<address>`; the first separator counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NeighbourKey {
    /// The interface.
    pub interface: String,
    /// The neighbour.
    pub address: IpAddr,
}

impl RowKey for NeighbourKey {
    const EXPECTED: &'static str = "an interface and an address";
    fn to_text(&self, separator: char) -> String {
        format!("{}{separator}{}", self.interface, self.address)
    }
    fn from_text(text: &str, separator: char) -> Option<Self> {
        let (interface, address) = text.split_once(separator)?;
        Some(Self { interface: interface.to_owned(), address: address.parse().ok()? })
    }
}

row! {
    /// A neighbour that the NPU shall resolve.
    NeighResolve = NeighResolve, key NeighbourKey;
    /// `00:00:00:00:00:00`: please find out.
    mac: Option<String> = optional "mac";
}

row! {
    /// State of a port; read on the DPU (`reference/pmon.md` 1.4).
    PortState = PortTable, key String;
    /// Whether the port is up.
    oper_status: Option<LinkState> = optional "oper_status";
}
