//! The agent: takes inputs in, derives rows and SAI calls, asks for them.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{Batch, Core, Plan, Reconciler, Time};
use schema::{HaScopeId, HaScopeKind, HaSetId, OperationType, Table, WallMs};
use serde::{Deserialize, Serialize};

use crate::asic::{AsicCall, AsicOp, CallId, HaScopeAttributes};
use crate::bfd::{BfdSessions, Serving};
use crate::io::{Effect, Input, Note, Place};
use crate::objects::{ScopeEntry, SetEntry, SetTarget};
use crate::take::approved;

/// What the ASIC can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// `SAI_HA_SCOPE_ATTR_ADMIN_STATE` is implemented. Without it a disabled scope is given the role dead.
    pub admin_state: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { admin_state: true }
    }
}

/// The HA agent of one DPU. See the crate's documentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HaOrch {
    pub(crate) capabilities: Capabilities,
    pub(crate) sets: BTreeMap<HaSetId, SetEntry>,
    pub(crate) scopes: BTreeMap<HaScopeId, ScopeEntry>,
    pub(crate) bfd: BfdSessions,
    pub(crate) stores: Reconciler<Place>,
    /// `DPU_APPL_DB` was read once: before that, what is missing means nothing.
    is_synced: bool,
    said_ready: bool,
    calls: u64,
}

impl Default for HaOrch {
    fn default() -> Self {
        Self::new(Capabilities::default())
    }
}

impl Core for HaOrch {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Time, batch: Batch<Input>, out: &mut Vec<Effect>) {
        for input in batch.inputs {
            self.take(now, batch.wall, input, out);
        }
        self.tick(now);
        if self.is_synced {
            self.derive(now, batch.wall, out);
        }
        if !self.said_ready && self.has_read_all() {
            self.said_ready = true;
            out.push(Effect::Note(Note::Ready));
        }
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        let sets = self.sets.values().filter_map(|set| set.calls.deadline());
        let scopes = self.scopes.values().filter_map(|scope| scope.calls.deadline());
        let retry = sets.chain(scopes).min().map(|at| (at, "a SAI call is repeated"));
        let approvals =
            self.scopes.values().flat_map(|scope| [&scope.activate, &scope.reconcile, &scope.brainsplit]);
        let held = approvals.filter_map(|approval| approval.deadline()).min();
        let held =
            held.map(|at| (at, "a pending operation is published although an old request still stands"));
        let closing = self.bfd.deadline().map(|at| (at, "the BFD backend is no longer waited for"));
        [retry, held, closing].into_iter().flatten().min()
    }
}

impl HaOrch {
    /// Knows nothing yet, and so asks for nothing yet.
    pub fn new(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            sets: BTreeMap::new(),
            scopes: BTreeMap::new(),
            bfd: BfdSessions::default(),
            stores: Reconciler::new(),
            is_synced: false,
            said_ready: false,
            calls: 0,
        }
    }

    /// Whether everything has been read once: `DPU_APPL_DB` and all stores.
    fn has_read_all(&self) -> bool {
        let stores = [
            (Place::Local, Table::BfdSoftwareSession),
            (Place::Remote, Table::DpuDashHaScopeState),
            (Place::Remote, Table::DashHaScopeResult),
        ];
        self.is_synced && stores.iter().all(|(place, table)| self.stores.is_ready(place, table.db()))
    }

    fn take(&mut self, now: Time, wall: WallMs, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::HaSet(id, row) => self.take_set_row(id, row, out),
            Input::HaScope(id, row) => self.take_scope_row(id, row),
            Input::BfdSession(key, row) => self.bfd.set(&key, row),
            Input::Refused { table, key } => self.take_refused(table, &key),
            Input::Synced => self.is_synced = true,
            // Rows stay in force; the next read gives what has changed.
            Input::Unsynced => {}
            Input::BfdOpen(open) => self.bfd.set_open(&open),
            Input::Answer(answer) => self.take_answer(now, wall, answer, out),
            Input::Event(event) => self.take_event(now, wall, event, out),
            Input::Store(event) => self.stores.observe(event),
        }
    }

    fn tick(&mut self, now: Time) {
        for set in self.sets.values_mut() {
            set.calls.tick(now);
        }
        for scope in self.scopes.values_mut() {
            scope.calls.tick(now);
            for approval in [&mut scope.activate, &mut scope.reconcile, &mut scope.brainsplit] {
                approval.tick(now);
            }
        }
    }

    /// Derives the rows and writes the difference, then derives the next SAI calls. The writes go first, so that
    /// a call that must wait for a withdrawal sees it under way.
    fn derive(&mut self, now: Time, wall: WallMs, out: &mut Vec<Effect>) {
        self.yield_where_approved(out);
        self.refresh_reports(wall, out);
        self.settle();
        let plan = self.plan();
        self.bfd.note_writes(&plan, &self.stores);
        let not_closed = self.bfd.await_close(now, &plan);
        if !not_closed.is_empty() {
            out.push(Effect::Note(Note::BfdNotClosed { sessions: not_closed }));
        }
        let mut writes = Vec::new();
        let bfd = &self.bfd;
        // Tables that others write too have rows that are not ours.
        self.stores.diff(
            &plan,
            rank,
            |row, fields| row.table == Table::BfdSoftwareSession && !bfd.is_ours(&row.key, fields),
            &mut writes,
        );
        out.extend(writes.into_iter().map(Effect::Write));
        self.call_asic(&plan, out);
        self.sets.retain(|_, set| !set.is_forgettable());
        self.scopes.retain(|_, scope| !scope.is_forgettable());
    }

    /// An approved split-brain recovery takes the scope down once, unless the split brain ends before. One that is
    /// down already has yielded.
    fn yield_where_approved(&mut self, out: &mut Vec<Effect>) {
        for (id, scope) in &mut self.scopes {
            let Some(object) = &mut scope.object else { continue };
            object.yielding = scope.brainsplit.is_due();
            if object.yielding && object.is_down() {
                object.yielding = false;
                scope.brainsplit.clear();
                out.push(approved(id, OperationType::BrainsplitRecover));
            }
        }
    }

    fn settle(&mut self) {
        for set in self.sets.values_mut() {
            set.settle();
        }
        let ids: Vec<HaScopeId> = self.scopes.keys().cloned().collect();
        for id in ids {
            let target = self.scope_target(&id);
            let set_is_at_work = self.set_of(&id).is_some_and(|set| {
                !set.refused && !set.calls.has_failed() && matches!(set.target(), SetTarget::Present(_))
            });
            if let Some(scope) = self.scopes.get_mut(&id) {
                scope.settle(target, set_is_at_work);
            }
        }
    }

    fn call_asic(&mut self, plan: &Plan<Place>, out: &mut Vec<Effect>) {
        let is_bfd_withdrawn = self.bfd.is_withdrawn(plan, &self.stores);
        let scope_ids: Vec<HaScopeId> = self.scopes.keys().cloned().collect();
        for id in scope_ids {
            let target = self.scope_target(&id);
            let set_id = self.scopes.get(&id).and_then(|scope| scope.set_id(id.as_str()));
            if let Some(scope) = self.scopes.get_mut(&id)
                && let Some(op) = scope.next_op(target, is_bfd_withdrawn)
            {
                if let AsicOp::CreateHaScope(_) = op {
                    scope.creating_in = set_id;
                }
                let call = next_call(&mut self.calls, op);
                scope.calls.start(call.clone());
                out.push(Effect::Asic(call));
            }
        }
        let referred_to = self.sets_referred_to();
        for (id, set) in &mut self.sets {
            if let Some(op) = set.next_op(referred_to.contains(id)) {
                let call = next_call(&mut self.calls, op);
                set.calls.start(call.clone());
                out.push(Effect::Asic(call));
            }
        }
    }

    /// The sets whose object a scope on the ASIC, or on its way there, refers to.
    fn sets_referred_to(&self) -> BTreeSet<HaSetId> {
        let mut sets = BTreeSet::new();
        for scope in self.scopes.values() {
            sets.extend(scope.object.as_ref().map(|object| object.set.clone()));
            if let Some(AsicOp::CreateHaScope(_)) = scope.calls.under_way() {
                sets.extend(scope.creating_in.clone());
            }
        }
        sets
    }

    /// The set that the scope's row names.
    pub(crate) fn set_of(&self, id: &HaScopeId) -> Option<&SetEntry> {
        self.sets.get(&self.scopes.get(id)?.set_id(id.as_str())?)
    }

    /// The attributes that the scope ought to have on the ASIC; nothing where it ought not to be there.
    pub(crate) fn scope_target(&self, id: &HaScopeId) -> Option<HaScopeAttributes> {
        let scope = self.scopes.get(id)?;
        let set_id = scope.set_id(id.as_str())?;
        scope.target(self.sets.get(&set_id), &set_id, self.capabilities.admin_state)
    }

    /// The local addresses for which BFD answers: those of ENI-scope sets always, those of other sets while one
    /// of their scopes serves.
    pub(crate) fn serving(&self) -> Serving {
        let mut serving = Serving::default();
        for (id, scope) in &self.scopes {
            let is_switch_driven = self.set_of(id).is_some_and(SetEntry::is_switch_driven);
            if scope.serves(self.scope_target(id).as_ref(), is_switch_driven) {
                serving.addresses.extend(self.set_of(id).and_then(SetEntry::local_ip));
            }
        }
        for set in self.sets.values() {
            serving.known.extend(set.local_ip());
            let is_eni = set.row.as_ref().and_then(|row| row.scope) == Some(HaScopeKind::Eni);
            if is_eni && matches!(set.target(), SetTarget::Present(_)) {
                serving.addresses.extend(set.local_ip());
            }
        }
        serving
    }
}

fn next_call(calls: &mut u64, op: AsicOp) -> AsicCall {
    *calls += 1;
    AsicCall { id: CallId(*calls), op }
}

/// BFD goes first when rows are removed, and comes last when they are written.
fn rank(table: Table) -> u8 {
    u8::from(table == Table::BfdSoftwareSession)
}
