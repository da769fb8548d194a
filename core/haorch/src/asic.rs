//! The ASIC as SAI shapes it: HA sets and HA scopes, their attributes, statuses and notifications
//! (`reference/dpu-side.md` 1.2, 5.1-5.3). It knows nothing of rows or databases.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schema::{AsicHaRole, AsicHaState, LinkState};
use serde::{Deserialize, Serialize};

/// An object of the ASIC (`sai_object_id_t`). Never used again for another object while the ASIC runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Oid(pub u64);

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oid:{:#x}", self.0)
    }
}

/// A status other than success (`SAI_STATUS_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
pub enum SaiStatus {
    /// `SAI_STATUS_INSUFFICIENT_RESOURCES`
    #[error("insufficient resources")]
    InsufficientResources,
    /// `SAI_STATUS_TABLE_FULL`
    #[error("table full")]
    TableFull,
    /// `SAI_STATUS_NO_MEMORY`
    #[error("no memory")]
    NoMemory,
    /// `SAI_STATUS_NV_STORAGE_FULL`
    #[error("non-volatile storage full")]
    NvStorageFull,
    /// `SAI_STATUS_OBJECT_IN_USE`
    #[error("object in use")]
    ObjectInUse,
    /// `SAI_STATUS_ITEM_NOT_FOUND`
    #[error("item not found")]
    ItemNotFound,
    /// `SAI_STATUS_ADDR_NOT_FOUND`
    #[error("address not found")]
    AddrNotFound,
    /// `SAI_STATUS_ITEM_ALREADY_EXISTS`
    #[error("item already exists")]
    ItemAlreadyExists,
    /// `SAI_STATUS_INVALID_PARAMETER`
    #[error("invalid parameter")]
    InvalidParameter,
    /// `SAI_STATUS_NOT_SUPPORTED`
    #[error("not supported")]
    NotSupported,
    /// `SAI_STATUS_FAILURE`, and everything not listed.
    #[error("failure")]
    Failure,
}

impl SaiStatus {
    /// Every status.
    pub const ALL: &'static [SaiStatus] = &[
        Self::InsufficientResources,
        Self::TableFull,
        Self::NoMemory,
        Self::NvStorageFull,
        Self::ObjectInUse,
        Self::ItemNotFound,
        Self::AddrNotFound,
        Self::ItemAlreadyExists,
        Self::InvalidParameter,
        Self::NotSupported,
        Self::Failure,
    ];
}

/// What kind of call a status answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallKind {
    /// `create_*`
    Create,
    /// `set_*_attribute`
    Set,
    /// `remove_*`
    Remove,
}

/// What a status means for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It counts as carried out.
    Done,
    /// The object is not there: forget it.
    Gone,
    /// It was not carried out: report it and try again later.
    Failed,
}

/// What a status other than success means (`reference/dpu-side.md` 0, last table).
///
/// Where SONiC takes a failure for success, this does not (6.2 item 4): a create without an object is failed, a
/// set on an object that is not there finds it gone, a remove for want of memory left the object behind, and a
/// status that is not listed is a failure.
pub const fn verdict(kind: CallKind, status: SaiStatus) -> Verdict {
    match (kind, status) {
        (CallKind::Create, _) => Verdict::Failed,
        (CallKind::Set, SaiStatus::ObjectInUse | SaiStatus::ItemAlreadyExists) => Verdict::Done,
        (CallKind::Set | CallKind::Remove, SaiStatus::ItemNotFound | SaiStatus::AddrNotFound) => {
            Verdict::Gone
        }
        (CallKind::Remove, SaiStatus::ObjectInUse | SaiStatus::ItemAlreadyExists)
        | (
            CallKind::Set | CallKind::Remove,
            SaiStatus::InsufficientResources
            | SaiStatus::TableFull
            | SaiStatus::NoMemory
            | SaiStatus::NvStorageFull
            | SaiStatus::InvalidParameter
            | SaiStatus::NotSupported
            | SaiStatus::Failure,
        ) => Verdict::Failed,
    }
}

/// The attributes of `create_ha_set`, all eight. An absent number is 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaSetAttributes {
    /// `SAI_HA_SET_ATTR_LOCAL_IP`
    pub local_ip: IpAddr,
    /// `SAI_HA_SET_ATTR_PEER_IP`
    pub peer_ip: IpAddr,
    /// `SAI_HA_SET_ATTR_CP_DATA_CHANNEL_PORT`
    pub cp_data_channel_port: u16,
    /// `SAI_HA_SET_ATTR_DP_CHANNEL_DST_PORT`
    pub dp_channel_dst_port: u16,
    /// `SAI_HA_SET_ATTR_DP_CHANNEL_MIN_SRC_PORT`
    pub dp_channel_min_src_port: u16,
    /// `SAI_HA_SET_ATTR_DP_CHANNEL_MAX_SRC_PORT`
    pub dp_channel_max_src_port: u16,
    /// `SAI_HA_SET_ATTR_DP_CHANNEL_PROBE_INTERVAL_MS`
    pub dp_channel_probe_interval_ms: u32,
    /// `SAI_HA_SET_ATTR_DP_CHANNEL_PROBE_FAIL_THRESHOLD`
    pub dp_channel_probe_fail_threshold: u32,
}

/// An attribute of a HA set that can be set in place. All others need a new object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HaSetAttribute {
    /// `SAI_HA_SET_ATTR_PEER_IP`
    PeerIp(IpAddr),
}

/// The attributes of `create_ha_scope`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaScopeAttributes {
    /// `SAI_HA_SCOPE_ATTR_HA_SET_ID`
    pub ha_set_id: Oid,
    /// `SAI_HA_SCOPE_ATTR_DASH_HA_ROLE`
    pub dash_ha_role: AsicHaRole,
    /// `SAI_HA_SCOPE_ATTR_ADMIN_STATE`; absent where the ASIC does not have it.
    pub admin_state: Option<bool>,
    /// `SAI_HA_SCOPE_ATTR_VIP_V4`
    pub vip_v4: Option<Ipv4Addr>,
    /// `SAI_HA_SCOPE_ATTR_VIP_V6`
    pub vip_v6: Option<Ipv6Addr>,
}

/// An attribute of a HA scope that can be set in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HaScopeAttribute {
    /// `SAI_HA_SCOPE_ATTR_DASH_HA_ROLE`
    DashHaRole(AsicHaRole),
    /// `SAI_HA_SCOPE_ATTR_ADMIN_STATE`
    AdminState(bool),
    /// `SAI_HA_SCOPE_ATTR_VIP_V4`; absent is 0.0.0.0.
    VipV4(Option<Ipv4Addr>),
    /// `SAI_HA_SCOPE_ATTR_VIP_V6`; absent is `::`.
    VipV6(Option<Ipv6Addr>),
    /// `SAI_HA_SCOPE_ATTR_FLOW_RECONCILE_REQUESTED` = true
    FlowReconcileRequested,
    /// `SAI_HA_SCOPE_ATTR_ACTIVATE_ROLE` = true: approval of a PENDING_* state.
    ActivateRole,
}

/// One SAI call. Repeating a create makes another object; repeating any other call is harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AsicOp {
    /// `create_ha_set`
    CreateHaSet(HaSetAttributes),
    /// `set_ha_set_attribute`
    SetHaSet(Oid, HaSetAttribute),
    /// `remove_ha_set`
    RemoveHaSet(Oid),
    /// `create_ha_scope`
    CreateHaScope(HaScopeAttributes),
    /// `set_ha_scope_attribute`
    SetHaScope(Oid, HaScopeAttribute),
    /// `remove_ha_scope`
    RemoveHaScope(Oid),
}

impl AsicOp {
    /// Create, set or remove.
    pub const fn kind(&self) -> CallKind {
        match self {
            Self::CreateHaSet(_) | Self::CreateHaScope(_) => CallKind::Create,
            Self::SetHaSet(..) | Self::SetHaScope(..) => CallKind::Set,
            Self::RemoveHaSet(_) | Self::RemoveHaScope(_) => CallKind::Remove,
        }
    }
}

/// Tells an answer's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallId(pub u64);

/// A call on its way to the ASIC. Each is answered once, and the calls of one core in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsicCall {
    /// Comes back in the answer.
    pub id: CallId,
    /// The call.
    pub op: AsicOp,
}

/// What the ASIC made of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsicAnswer {
    /// The call.
    pub id: CallId,
    /// The new object of a create (nothing for other calls), or why not.
    pub result: Result<Option<Oid>, SaiStatus>,
}

/// What a HA scope event is about (`SAI_HA_SCOPE_EVENT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HaScopeEventKind {
    /// State, role or flow version changed; a PENDING_* state asks for approval.
    StateChanged,
    /// Flows must be reconciled, once approved.
    FlowReconcileNeeded,
    /// Both sides decide; the ASIC refuses to pair again.
    SplitBrainDetected,
}

/// A notification of the ASIC. Given twice, it changes nothing the second time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AsicEvent {
    /// `SAI_HA_SET_EVENT_DP_CHANNEL_UP` or `_DOWN`
    HaSet {
        /// The HA set.
        ha_set_id: Oid,
        /// Whether the peer DPU is heard.
        dp_channel: LinkState,
    },
    /// `sai_ha_scope_event_data_t`
    HaScope {
        /// What happened.
        kind: HaScopeEventKind,
        /// The HA scope.
        ha_scope_id: Oid,
        /// Its role.
        ha_role: AsicHaRole,
        /// Its flow version, which SONiC publishes as the term.
        flow_version: u32,
        /// Its state.
        ha_state: AsicHaState,
    },
}

/// An ASIC: what a vendor's SAI library, or the model, does.
pub trait Asic {
    /// `create_ha_set`
    ///
    /// # Errors
    /// As SAI reports it; then there is no new object.
    fn create_ha_set(&mut self, attributes: &HaSetAttributes) -> Result<Oid, SaiStatus>;

    /// `set_ha_set_attribute`
    ///
    /// # Errors
    /// As SAI reports it.
    fn set_ha_set_attribute(&mut self, ha_set: Oid, attribute: &HaSetAttribute) -> Result<(), SaiStatus>;

    /// `remove_ha_set`
    ///
    /// # Errors
    /// [`SaiStatus::ObjectInUse`] while it has a HA scope; else as SAI reports it.
    fn remove_ha_set(&mut self, ha_set: Oid) -> Result<(), SaiStatus>;

    /// `create_ha_scope`
    ///
    /// # Errors
    /// As SAI reports it; then there is no new object.
    fn create_ha_scope(&mut self, attributes: &HaScopeAttributes) -> Result<Oid, SaiStatus>;

    /// `set_ha_scope_attribute`
    ///
    /// # Errors
    /// As SAI reports it.
    fn set_ha_scope_attribute(&mut self, ha_scope: Oid, attribute: HaScopeAttribute)
    -> Result<(), SaiStatus>;

    /// `remove_ha_scope`
    ///
    /// # Errors
    /// As SAI reports it.
    fn remove_ha_scope(&mut self, ha_scope: Oid) -> Result<(), SaiStatus>;

    /// Carries a call out.
    fn carry_out(&mut self, call: &AsicCall) -> AsicAnswer {
        let result = match &call.op {
            AsicOp::CreateHaSet(attributes) => self.create_ha_set(attributes).map(Some),
            AsicOp::SetHaSet(oid, attribute) => self.set_ha_set_attribute(*oid, attribute).map(|()| None),
            AsicOp::RemoveHaSet(oid) => self.remove_ha_set(*oid).map(|()| None),
            AsicOp::CreateHaScope(attributes) => self.create_ha_scope(attributes).map(Some),
            AsicOp::SetHaScope(oid, attribute) => {
                self.set_ha_scope_attribute(*oid, *attribute).map(|()| None)
            }
            AsicOp::RemoveHaScope(oid) => self.remove_ha_scope(*oid).map(|()| None),
        };
        AsicAnswer { id: call.id, result }
    }
}
