//! What the agent knows of one HA set and of one HA scope: the row, the object on the ASIC, the call under way.

use std::net::IpAddr;

use schema::dpu_appl_db::{HaScope, HaSet};
use schema::dpu_appl_state_db::{RESULT_FAILED, RESULT_OK};
use schema::{AsicHaRole, AsicHaState, HaOwner, HaScopeKind, HaSetId, LinkState};
use serde::{Deserialize, Serialize};

use crate::approval::Approval;
use crate::asic::{AsicOp, HaScopeAttribute, HaScopeAttributes, HaSetAttribute, HaSetAttributes, Oid};
use crate::calls::Calls;

/// The result of a row, for `DPU_APPL_STATE_DB`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) result: u32,
    pub(crate) version: Option<String>,
}

impl Outcome {
    pub(crate) fn new(is_ok: bool, version: Option<String>) -> Self {
        Self { result: if is_ok { RESULT_OK } else { RESULT_FAILED }, version }
    }
}

/// A HA set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SetEntry {
    /// The last good row.
    pub(crate) row: Option<HaSet>,
    /// The present row cannot be understood.
    pub(crate) refused: bool,
    pub(crate) object: Option<SetObject>,
    pub(crate) calls: Calls,
    pub(crate) outcome: Option<Outcome>,
}

/// A HA set on the ASIC, as confirmed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SetObject {
    pub(crate) oid: Oid,
    pub(crate) attributes: HaSetAttributes,
    /// The channel to the peer DPU and when that was said, epoch seconds; unknown before the first event.
    pub(crate) channel: Option<(LinkState, i64)>,
    /// Its row was deleted: what is written next is another HA set.
    pub(crate) is_abandoned: bool,
}

/// What a HA set's row asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SetTarget {
    /// There is no row.
    Absent,
    /// The row says too little: an object that is there stays as it is, none is made.
    Unusable(&'static str),
    /// An object with these attributes.
    Present(HaSetAttributes),
}

impl SetEntry {
    pub(crate) fn target(&self) -> SetTarget {
        let Some(row) = &self.row else { return SetTarget::Absent };
        let (Some(local_ip), Some(peer_ip)) = (row.local_ip, row.peer_ip) else {
            return SetTarget::Unusable("local_ip and peer_ip are both needed");
        };
        match row.scope {
            Some(HaScopeKind::Unspecified) => return SetTarget::Unusable("scope is neither dpu nor eni"),
            Some(HaScopeKind::Dpu | HaScopeKind::Eni) | None => {}
        }
        SetTarget::Present(HaSetAttributes {
            local_ip,
            peer_ip,
            cp_data_channel_port: row.cp_data_channel_port.unwrap_or(0),
            dp_channel_dst_port: row.dp_channel_dst_port.unwrap_or(0),
            dp_channel_min_src_port: row.dp_channel_src_port_min.unwrap_or(0),
            dp_channel_max_src_port: row.dp_channel_src_port_max.unwrap_or(0),
            dp_channel_probe_interval_ms: row.dp_channel_probe_interval_ms.unwrap_or(0),
            dp_channel_probe_fail_threshold: row.dp_channel_probe_fail_threshold.unwrap_or(0),
        })
    }

    /// Whether the object stays: only the peer's address can be set in place, any other change needs a new object.
    fn keeps_object(&self, object: &SetObject) -> bool {
        if object.is_abandoned {
            return false;
        }
        match self.target() {
            SetTarget::Absent => false,
            SetTarget::Unusable(_) => true,
            SetTarget::Present(wanted) => {
                HaSetAttributes { peer_ip: wanted.peer_ip, ..object.attributes.clone() } == wanted
            }
        }
    }

    /// The object that HA scopes may refer to: there, and to stay.
    pub(crate) fn usable(&self) -> Option<&SetObject> {
        self.object.as_ref().filter(|object| self.keeps_object(object))
    }

    /// The next SAI call. `is_referred_to`: a HA scope on the ASIC, or on its way there, uses the object.
    pub(crate) fn next_op(&self, is_referred_to: bool) -> Option<AsicOp> {
        self.wanted_op(is_referred_to).filter(|_| self.calls.is_free())
    }

    fn wanted_op(&self, is_referred_to: bool) -> Option<AsicOp> {
        match (&self.object, self.target()) {
            (None, SetTarget::Present(wanted)) => Some(AsicOp::CreateHaSet(wanted)),
            (None, SetTarget::Absent | SetTarget::Unusable(_)) => None,
            (Some(object), target) if self.keeps_object(object) => match target {
                SetTarget::Present(wanted) if wanted.peer_ip != object.attributes.peer_ip => {
                    Some(AsicOp::SetHaSet(object.oid, HaSetAttribute::PeerIp(wanted.peer_ip)))
                }
                SetTarget::Present(_) | SetTarget::Absent | SetTarget::Unusable(_) => None,
            },
            (Some(object), _) => (!is_referred_to).then_some(AsicOp::RemoveHaSet(object.oid)),
        }
    }

    /// The result so far; what was reported before stands while the ASIC is at work.
    pub(crate) fn settle(&mut self) {
        let wanted = self.wanted_op(false);
        self.calls.reconsider(wanted.as_ref());
        let version = self.row.as_ref().and_then(|row| row.version.clone());
        let is_present = self.row.is_some() || self.refused;
        let is_failed =
            self.refused || self.calls.has_failed() || matches!(self.target(), SetTarget::Unusable(_));
        if !is_present {
            self.outcome = None;
        } else if is_failed {
            self.outcome = Some(Outcome::new(false, version.filter(|_| !self.refused)));
        } else if self.calls.is_free() && wanted.is_none() {
            self.outcome = Some(Outcome::new(true, version));
        }
    }

    pub(crate) fn is_switch_driven(&self) -> bool {
        self.row.as_ref().and_then(|row| row.owner) == Some(HaOwner::Switch)
    }

    pub(crate) fn is_forgettable(&self) -> bool {
        self.row.is_none() && !self.refused && self.object.is_none() && self.calls.under_way().is_none()
    }

    /// The address that the set's BFD sessions start from.
    pub(crate) fn local_ip(&self) -> Option<IpAddr> {
        self.row.as_ref().and_then(|row| row.local_ip)
    }
}

/// A HA scope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScopeEntry {
    /// The last good row.
    pub(crate) row: Option<HaScope>,
    /// The present row cannot be understood.
    pub(crate) refused: bool,
    pub(crate) object: Option<ScopeObject>,
    pub(crate) calls: Calls,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) activate: Approval,
    pub(crate) reconcile: Approval,
    pub(crate) brainsplit: Approval,
    /// The set of the object that is being created.
    pub(crate) creating_in: Option<HaSetId>,
}

/// A HA scope on the ASIC, as confirmed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScopeObject {
    pub(crate) oid: Oid,
    pub(crate) set: HaSetId,
    pub(crate) attributes: HaScopeAttributes,
    /// What the ASIC last said.
    pub(crate) said: Said,
    /// What is published.
    pub(crate) report: Report,
    /// The ASIC was told to go down and has not spoken of its state since: what it said before is no longer true.
    pub(crate) is_unheard: bool,
    /// Split-brain recovery is approved: it is taken down once, and then up again.
    pub(crate) yielding: bool,
    /// Its row was deleted: what is written next is another HA scope.
    pub(crate) is_abandoned: bool,
}

/// What the ASIC last said of a HA scope.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) role: AsicHaRole,
    pub(crate) state: AsicHaState,
    pub(crate) flow_version: Option<u32>,
}

/// What is published of a HA scope. Times are epoch seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) role: AsicHaRole,
    pub(crate) role_since_s: i64,
    pub(crate) state: AsicHaState,
    pub(crate) state_since_s: i64,
    pub(crate) updated_s: i64,
}

impl ScopeObject {
    /// Whether the ASIC was told to go down, and has confirmed that.
    pub(crate) fn is_down(&self) -> bool {
        self.attributes.dash_ha_role == AsicHaRole::Dead || self.attributes.admin_state == Some(false)
    }

    /// Whether the ASIC was told, or is being told, to go down.
    fn is_told_down(&self, under_way: Option<&AsicOp>) -> bool {
        let by_call = under_way.is_some_and(|op| match op {
            AsicOp::RemoveHaScope(_)
            | AsicOp::SetHaScope(_, HaScopeAttribute::DashHaRole(AsicHaRole::Dead))
            | AsicOp::SetHaScope(_, HaScopeAttribute::AdminState(false)) => true,
            AsicOp::SetHaScope(..)
            | AsicOp::CreateHaScope(_)
            | AsicOp::CreateHaSet(_)
            | AsicOp::SetHaSet(..)
            | AsicOp::RemoveHaSet(_) => false,
        });
        self.is_down() || by_call
    }
}

impl ScopeEntry {
    /// The set that the row names; without a name, the one with the scope's own id (`reference/dpu-side.md` 1.1.2).
    pub(crate) fn set_id(&self, own_key: &str) -> Option<HaSetId> {
        let row = self.row.as_ref()?;
        row.ha_set_id.clone().or_else(|| HaSetId::new(own_key))
    }

    /// The attributes that the scope ought to have on the ASIC; nothing where it ought not to be there.
    pub(crate) fn target(
        &self,
        set: Option<&SetEntry>,
        set_id: &HaSetId,
        has_admin_state: bool,
    ) -> Option<HaScopeAttributes> {
        let row = self.row.as_ref()?;
        let set = set?;
        let set_object = set.usable()?;
        let object = self.object.as_ref();
        let is_another = |object: &ScopeObject| {
            object.is_abandoned || &object.set != set_id || object.attributes.ha_set_id != set_object.oid
        };
        if object.is_some_and(is_another) {
            return None;
        }
        let is_off = row.disabled || object.is_some_and(|object| object.yielding);
        let set_row = set.row.as_ref();
        Some(HaScopeAttributes {
            ha_set_id: set_object.oid,
            // Without an admin state there is only one way to be off.
            dash_ha_role: if is_off && !has_admin_state { AsicHaRole::Dead } else { row.ha_role },
            admin_state: has_admin_state.then_some(!is_off),
            vip_v4: row.vip_v4.or_else(|| set_row.and_then(|set| set.vip_v4)),
            vip_v6: row.vip_v6.or_else(|| set_row.and_then(|set| set.vip_v6)),
        })
    }

    /// Whether BFD may answer for this scope: it serves, and is neither going down nor to go down.
    pub(crate) fn serves(&self, target: Option<&HaScopeAttributes>, is_switch_driven: bool) -> bool {
        let (Some(object), Some(target)) = (&self.object, target) else { return false };
        let is_to_stay = target.dash_ha_role != AsicHaRole::Dead && target.admin_state != Some(false);
        let state_serves = if is_switch_driven {
            // The NPU moves the role of a serving DPU through states that are the NPU's own business.
            object.report.state != AsicHaState::Dead
        } else {
            object.report.state.serves() && !object.is_unheard
        };
        is_to_stay && state_serves && !object.is_told_down(self.calls.under_way())
    }

    /// The next SAI call. Going down waits until BFD is withdrawn (P5).
    pub(crate) fn next_op(
        &self,
        target: Option<HaScopeAttributes>,
        is_bfd_withdrawn: bool,
    ) -> Option<AsicOp> {
        self.wanted_op(target, is_bfd_withdrawn).filter(|_| self.calls.is_free())
    }

    fn wanted_op(&self, target: Option<HaScopeAttributes>, is_bfd_withdrawn: bool) -> Option<AsicOp> {
        let Some(object) = &self.object else {
            return target.map(AsicOp::CreateHaScope);
        };
        let Some(wanted) = target else {
            return is_bfd_withdrawn.then_some(AsicOp::RemoveHaScope(object.oid));
        };
        let attribute = self.next_attribute(&object.attributes, &wanted)?;
        let goes_down = matches!(
            attribute,
            HaScopeAttribute::DashHaRole(AsicHaRole::Dead) | HaScopeAttribute::AdminState(false)
        );
        (is_bfd_withdrawn || !goes_down).then_some(AsicOp::SetHaScope(object.oid, attribute))
    }

    /// SONiC's order: role, flow reconcile, activation, admin state (`reference/dpu-side.md` 1.1.2).
    fn next_attribute(
        &self,
        has: &HaScopeAttributes,
        wanted: &HaScopeAttributes,
    ) -> Option<HaScopeAttribute> {
        if has.dash_ha_role != wanted.dash_ha_role {
            Some(HaScopeAttribute::DashHaRole(wanted.dash_ha_role))
        } else if self.reconcile.is_due() {
            Some(HaScopeAttribute::FlowReconcileRequested)
        } else if self.activate.is_due() {
            Some(HaScopeAttribute::ActivateRole)
        } else if let Some(admin_state) = wanted.admin_state.filter(|_| has.admin_state != wanted.admin_state)
        {
            Some(HaScopeAttribute::AdminState(admin_state))
        } else if has.vip_v4 != wanted.vip_v4 {
            Some(HaScopeAttribute::VipV4(wanted.vip_v4))
        } else if has.vip_v6 != wanted.vip_v6 {
            Some(HaScopeAttribute::VipV6(wanted.vip_v6))
        } else {
            None
        }
    }

    /// The result so far; what was reported before stands while the ASIC is at work.
    pub(crate) fn settle(&mut self, target: Option<HaScopeAttributes>, set_is_at_work: bool) {
        let wanted = self.wanted_op(target.clone(), true);
        self.calls.reconsider(wanted.as_ref());
        let version = self.row.as_ref().and_then(|row| row.version.clone());
        let is_present = self.row.is_some() || self.refused;
        let lacks_set = self.row.is_some() && target.is_none() && self.object.is_none() && !set_is_at_work;
        if !is_present {
            self.outcome = None;
        } else if self.refused || self.calls.has_failed() || lacks_set {
            self.outcome = Some(Outcome::new(false, version.filter(|_| !self.refused)));
        } else if self.calls.is_free() && target.is_some() && wanted.is_none() {
            self.outcome = Some(Outcome::new(true, version));
        }
    }

    pub(crate) fn is_forgettable(&self) -> bool {
        self.row.is_none() && !self.refused && self.object.is_none() && self.calls.under_way().is_none()
    }
}
