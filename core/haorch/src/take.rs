//! Inputs: what rows, answers and events change in what the agent knows.

use reconcile::Time;
use schema::dpu_appl_db::{HaScope, HaSet};
use schema::{AsicHaRole, AsicHaState, HaScopeId, HaSetId, OperationType, Table, WallMs};

use crate::asic::{
    AsicAnswer, AsicEvent, AsicOp, HaScopeAttribute, HaScopeAttributes, HaScopeEventKind, HaSetAttribute,
    Oid, Verdict, verdict,
};
use crate::io::{Effect, Note};
use crate::objects::{Report, Said, ScopeEntry, ScopeObject, SetObject, SetTarget};
use crate::orch::HaOrch;

impl HaOrch {
    pub(crate) fn take_set_row(&mut self, id: HaSetId, row: Option<HaSet>, out: &mut Vec<Effect>) {
        let entry = self.sets.entry(id.clone()).or_default();
        if entry.row != row || entry.refused {
            entry.calls.forget_failure();
        }
        if let (None, Some(object)) = (&row, &mut entry.object) {
            object.is_abandoned = true;
        }
        let was = entry.target();
        (entry.row, entry.refused) = (row, false);
        let is = entry.target();
        if let SetTarget::Unusable(why) = is
            && was != is
        {
            out.push(Effect::Note(Note::Unusable { set: id, why: why.to_owned() }));
        }
    }

    pub(crate) fn take_scope_row(&mut self, id: HaScopeId, row: Option<HaScope>) {
        let entry = self.scopes.entry(id).or_default();
        if let (None, Some(object)) = (&row, &mut entry.object) {
            object.is_abandoned = true;
        }
        let row = row.map(|row| with_requests_of(entry.row.as_ref(), row));
        let has_changed = entry.row != row;
        if has_changed || entry.refused {
            entry.calls.forget_failure();
        }
        let requested = |of: fn(&HaScope) -> Option<bool>| row.as_ref().and_then(of) == Some(true);
        entry.activate.request(requested(|row| row.activate_role_requested), has_changed);
        entry.reconcile.request(requested(|row| row.flow_reconcile_requested), has_changed);
        entry.brainsplit.request(requested(|row| row.brainsplit_recovered), has_changed);
        (entry.row, entry.refused) = (row, false);
    }

    /// A bad row says nothing: the last good one stays in force, and the result says so (6.2 item 6). A bad row of
    /// `BFD_SESSION_TABLE` has no result row; the shell has logged and counted it.
    pub(crate) fn take_refused(&mut self, table: Table, key: &str) {
        if table == Table::DashHaSet
            && let Some(id) = HaSetId::new(key)
        {
            self.sets.entry(id).or_default().refused = true;
        } else if table == Table::DashHaScope
            && let Some(id) = HaScopeId::new(key)
        {
            self.scopes.entry(id).or_default().refused = true;
        }
    }

    pub(crate) fn take_answer(&mut self, now: Time, wall: WallMs, answer: AsicAnswer, out: &mut Vec<Effect>) {
        for entry in self.sets.values_mut() {
            let Some(op) = entry.calls.answered(answer.id) else { continue };
            match outcome(&op, &answer) {
                Answered::Created(oid) => {
                    if let AsicOp::CreateHaSet(attributes) = op {
                        entry.object =
                            Some(SetObject { oid, attributes, channel: None, is_abandoned: false });
                    }
                }
                Answered::Set => {
                    if let (AsicOp::SetHaSet(_, HaSetAttribute::PeerIp(peer_ip)), Some(object)) =
                        (op, &mut entry.object)
                    {
                        object.attributes.peer_ip = peer_ip;
                    }
                }
                Answered::Gone => entry.object = None,
                Answered::Failed(status) => {
                    let retry_ms = entry.calls.failed(now, op.clone());
                    out.push(Effect::Note(Note::SaiFailed { op, status, retry_ms }));
                    return;
                }
            }
            entry.calls.forget_failure();
            return;
        }
        for (id, entry) in &mut self.scopes {
            let Some(op) = entry.calls.answered(answer.id) else { continue };
            match outcome(&op, &answer) {
                Answered::Created(oid) => {
                    if let (AsicOp::CreateHaScope(attributes), Some(set)) = (op, entry.creating_in.take()) {
                        entry.created(oid, set, attributes, wall);
                    }
                }
                Answered::Set => {
                    if let AsicOp::SetHaScope(_, attribute) = op {
                        entry.was_set(attribute, id, out);
                    }
                }
                Answered::Gone => entry.gone(),
                Answered::Failed(status) => {
                    let retry_ms = entry.calls.failed(now, op.clone());
                    out.push(Effect::Note(Note::SaiFailed { op, status, retry_ms }));
                    return;
                }
            }
            entry.calls.forget_failure();
            return;
        }
    }

    pub(crate) fn take_event(&mut self, now: Time, wall: WallMs, event: AsicEvent, out: &mut Vec<Effect>) {
        match event {
            AsicEvent::HaSet { ha_set_id, dp_channel } => {
                let found = self.sets.iter_mut().find_map(|(id, entry)| {
                    entry.object.as_mut().filter(|object| object.oid == ha_set_id).map(|object| (id, object))
                });
                let Some((id, object)) = found else {
                    out.push(Effect::Note(Note::UnknownObject(event)));
                    return;
                };
                if object.channel.map(|(state, _)| state) != Some(dp_channel) {
                    out.push(Effect::Note(Note::Channel { set: id.clone(), state: dp_channel }));
                }
                object.channel = Some((dp_channel, wall.seconds()));
            }
            AsicEvent::HaScope { kind, ha_scope_id, ha_role, flow_version, ha_state } => {
                let found = self
                    .scopes
                    .iter_mut()
                    .find(|(_, entry)| entry.object.as_ref().is_some_and(|object| object.oid == ha_scope_id));
                let Some((id, entry)) = found else {
                    out.push(Effect::Note(Note::UnknownObject(event)));
                    return;
                };
                entry.hear(
                    now,
                    wall,
                    kind,
                    Said { role: ha_role, state: ha_state, flow_version: Some(flow_version) },
                    id,
                    out,
                );
            }
        }
    }
}

/// A row that says nothing of the requests, as after a handshake, leaves them as they were said last: hamgrd has
/// lowered none, and what it says next is no new answer if it is the same (P9).
fn with_requests_of(before: Option<&HaScope>, row: HaScope) -> HaScope {
    let said = |of: fn(&HaScope) -> Option<bool>| of(&row).or_else(|| before.and_then(of));
    HaScope {
        flow_reconcile_requested: said(|row| row.flow_reconcile_requested),
        activate_role_requested: said(|row| row.activate_role_requested),
        brainsplit_recovered: said(|row| row.brainsplit_recovered),
        ..row
    }
}

/// What became of a call.
enum Answered {
    Created(Oid),
    Set,
    Gone,
    Failed(crate::asic::SaiStatus),
}

fn outcome(op: &AsicOp, answer: &AsicAnswer) -> Answered {
    use crate::asic::{CallKind, SaiStatus};
    match (op.kind(), answer.result) {
        (CallKind::Create, Ok(Some(oid))) => Answered::Created(oid),
        // Success without an object is none (6.2 item 4).
        (CallKind::Create, Ok(None)) => Answered::Failed(SaiStatus::Failure),
        (CallKind::Set, Ok(_)) => Answered::Set,
        (CallKind::Remove, Ok(_)) => Answered::Gone,
        (kind, Err(status)) => match verdict(kind, status) {
            Verdict::Done => Answered::Set,
            Verdict::Gone => Answered::Gone,
            Verdict::Failed => Answered::Failed(status),
        },
    }
}

impl ScopeEntry {
    fn created(&mut self, oid: Oid, set: HaSetId, attributes: HaScopeAttributes, wall: WallMs) {
        let role = attributes.dash_ha_role;
        let since_s = wall.seconds();
        let report = Report {
            role,
            role_since_s: since_s,
            state: AsicHaState::Dead,
            state_since_s: since_s,
            updated_s: since_s,
        };
        let said = Said { role, state: AsicHaState::Dead, flow_version: None };
        self.object = Some(ScopeObject {
            oid,
            set,
            attributes,
            said,
            report,
            is_unheard: false,
            yielding: false,
            is_abandoned: false,
        });
        self.forget_pending();
    }

    fn gone(&mut self) {
        self.object = None;
        self.forget_pending();
    }

    fn forget_pending(&mut self) {
        for approval in [&mut self.activate, &mut self.reconcile, &mut self.brainsplit] {
            approval.clear();
        }
    }

    fn was_set(&mut self, attribute: HaScopeAttribute, id: &HaScopeId, out: &mut Vec<Effect>) {
        let Some(object) = &mut self.object else { return };
        let has = &mut object.attributes;
        match attribute {
            HaScopeAttribute::DashHaRole(role) => {
                has.dash_ha_role = role;
                object.is_unheard |= role == AsicHaRole::Dead;
            }
            HaScopeAttribute::AdminState(is_up) => {
                has.admin_state = Some(is_up);
                object.is_unheard |= !is_up;
            }
            HaScopeAttribute::VipV4(vip) => has.vip_v4 = vip,
            HaScopeAttribute::VipV6(vip) => has.vip_v6 = vip,
            HaScopeAttribute::FlowReconcileRequested => {
                self.reconcile.clear();
                out.push(approved(id, OperationType::FlowReconcile));
            }
            HaScopeAttribute::ActivateRole => {
                self.activate.clear();
                out.push(approved(id, OperationType::ActivateRole));
            }
        }
    }

    /// Takes in an event; the same one again changes nothing but the time of the row (6.2 item 9).
    fn hear(
        &mut self,
        now: Time,
        wall: WallMs,
        kind: HaScopeEventKind,
        said: Said,
        id: &HaScopeId,
        out: &mut Vec<Effect>,
    ) {
        let Some(object) = &mut self.object else { return };
        let before = object.said;
        object.report.updated_s = wall.seconds();
        let pending = match kind {
            HaScopeEventKind::StateChanged => {
                object.said = said;
                object.is_unheard = false;
                if (before.state, before.flow_version) != (said.state, said.flow_version) {
                    // The ASIC says so again if it still is so (6.2 item 10).
                    self.brainsplit.clear();
                }
                if before.state != said.state {
                    self.activate.clear();
                    if waits_for_activation(said.state) && self.activate.raise(now) {
                        out.push(Effect::Note(Note::Pending {
                            scope: id.clone(),
                            what: OperationType::ActivateRole,
                        }));
                    }
                }
                if said.state == AsicHaState::Dead {
                    self.reconcile.clear();
                }
                return;
            }
            HaScopeEventKind::FlowReconcileNeeded => (&mut self.reconcile, OperationType::FlowReconcile),
            HaScopeEventKind::SplitBrainDetected => (&mut self.brainsplit, OperationType::BrainsplitRecover),
        };
        // Only a state change vouches for the state.
        object.said = Said { state: before.state, ..said };
        let (approval, what) = pending;
        if approval.raise(now) {
            out.push(Effect::Note(Note::Pending { scope: id.clone(), what }));
        }
    }
}

pub(crate) fn approved(id: &HaScopeId, what: OperationType) -> Effect {
    Effect::Note(Note::Approved { scope: id.clone(), what })
}

/// Whether the ASIC waits for `ACTIVATE_ROLE` in this state (`reference/dpu-side.md` 5.2).
const fn waits_for_activation(state: AsicHaState) -> bool {
    match state {
        AsicHaState::PendingStandaloneActivation
        | AsicHaState::PendingActiveActivation
        | AsicHaState::PendingStandbyActivation => true,
        AsicHaState::Dead
        | AsicHaState::Connecting
        | AsicHaState::Connected
        | AsicHaState::InitializingToActive
        | AsicHaState::InitializingToStandby
        | AsicHaState::Standalone
        | AsicHaState::Active
        | AsicHaState::Standby
        | AsicHaState::Destroying
        | AsicHaState::SwitchingToStandalone => false,
    }
}
