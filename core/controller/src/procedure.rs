//! The restart procedure of one DPU, step by step (`reference/controller.md` 4.2).

use std::collections::BTreeMap;

use reconcile::{IdSource, Time};
use schema::chassis_state_db::DpuHealth;
use schema::{DesiredHaState, HaSetId};

use crate::approvals;
use crate::dpu::{Dpu, Wait, backoff_ms};
use crate::effect::{Note, Reason};
use crate::fleet::VdpuIntent;
use crate::plan::{set_config, set_is_dealt_with};
use crate::record::{DpuRecord, Life, Phase, ScopeRecord};
use crate::roles::desired_state;
use crate::switch::{Configured, SwitchView};
use crate::world::{World, next_version, scope_config, scope_key, version_of};

/// More steps than a DPU can take at once: a whole procedure, twice.
const STEPS_MAX: usize = 16;

/// One look at one DPU.
pub(crate) struct Look<'a> {
    pub world: World<'a>,
    pub view: &'a SwitchView,
    pub vdpu: &'a VdpuIntent,
    pub now: Time,
    pub ids: &'a mut IdSource,
    pub notes: &'a mut Vec<Note>,
}

/// Whether there may be more to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Again,
    Wait,
}

impl Look<'_> {
    /// Takes every step that needs no write first. Steps only change the record; rows follow from it once it is
    /// durable.
    pub(crate) fn run(&mut self, dpu: &mut Dpu) {
        for _ in 0..STEPS_MAX {
            dpu.deadline = None;
            match self.step(dpu) {
                Step::Again => {}
                Step::Wait => return,
            }
        }
        // Not reached by any known path; if it is, the rest follows a little later instead of never.
        dpu.wake_at(self.now.after_ms(self.timing().retry_ms_min), Wait::Turn);
    }

    fn timing(&self) -> &crate::fleet::Timing {
        self.world.fleet.timing()
    }

    fn step(&mut self, dpu: &mut Dpu) -> Step {
        let Some(phase) = dpu.record.as_ref().map(|record| record.phase) else { return self.learn(dpu) };
        match phase {
            Phase::Steady | Phase::Activating => self.keep(dpu, phase),
            Phase::DeletingScopes => {
                if self.scopes_are_gone() {
                    return self.advance(dpu, Phase::DeletingSets);
                }
                self.report_if_slow(dpu, phase)
            }
            Phase::DeletingSets => {
                let sets: Vec<&HaSetId> =
                    self.world.fleet.sets_of(&self.vdpu.id).map(|set| &set.id).collect();
                let switch = &self.vdpu.dpu.switch;
                let gone = |set: &HaSetId| self.view.is_gone(&self.view.set_row(set));
                let settled = dpu.is_settled();
                let dealt_with = |set| settled && set_is_dealt_with(&self.world, switch, self.view, set);
                if sets.into_iter().all(|set| gone(set) || dealt_with(set)) {
                    return self.advance(dpu, Phase::WaitingUp);
                }
                self.report_if_slow(dpu, phase)
            }
            Phase::WaitingUp => self.wait_for_up(dpu),
            Phase::ProgrammingSets | Phase::ProgrammingScopes => self.program(dpu, phase),
        }
    }

    /// Programmed: watches for what begins the procedure, keeps roles and approvals.
    fn keep(&mut self, dpu: &mut Dpu, phase: Phase) -> Step {
        let slot = self.vdpu.dpu.slot;
        match self.view.health(slot) {
            DpuHealth::Down => return self.debounce_down(dpu),
            DpuHealth::Unknown => {
                dpu.forget_timers();
                return Step::Wait;
            }
            DpuHealth::Up => dpu.down_since = None,
        }
        if !self.view.is_ready(slot) {
            return Step::Wait;
        }
        if let Some(reason) = self.reason_to_begin(dpu) {
            return self.begin(dpu, reason);
        }
        self.follow_facts(dpu);
        if phase == Phase::Activating && self.is_state_missing(dpu) {
            let timeout = self.timing().verify_timeout_ms;
            let since = *dpu.verify_since.get_or_insert(self.now);
            if self.now >= since.after_ms(timeout) {
                return self.begin(dpu, Reason::StateMissing);
            }
            dpu.wake_at(since.after_ms(timeout), Wait::StateToAppear);
        } else {
            dpu.verify_since = None;
        }
        approvals::follow(self, dpu);
        if phase == Phase::Activating && dpu.is_settled() && self.serves(dpu) {
            dpu.attempts = 0;
            return self.advance(dpu, Phase::Steady);
        }
        Step::Wait
    }

    fn reason_to_begin(&self, dpu: &Dpu) -> Option<Reason> {
        let record = dpu.record.as_ref()?;
        if self.view.reset(self.vdpu.dpu.slot).is_some_and(|reset| record.life.is_over(reset)) {
            return Some(Reason::Restarted);
        }
        for set in self.world.fleet.sets_of(&self.vdpu.id) {
            if !record.scopes.contains_key(&set.id) {
                return Some(Reason::IntentChanged);
            }
            let row = self.view.scope_row(&scope_key(&self.vdpu.id, &set.id));
            if dpu.is_settled() && self.view.is_gone(&row) {
                return Some(Reason::ConfigMissing);
            }
        }
        None
    }

    fn is_state_missing(&self, dpu: &Dpu) -> bool {
        let sets = dpu.record.iter().flat_map(|record| record.scopes.keys());
        sets.into_iter().any(|set| self.view.scope_state(&scope_key(&self.vdpu.id, set)).is_none())
    }

    /// Whether every HA scope has reached what was asked of it: the procedure is complete.
    fn serves(&self, dpu: &Dpu) -> bool {
        let scopes = dpu.record.iter().flat_map(|record| &record.scopes);
        scopes.into_iter().all(|(set, scope)| match approvals::fresh_state(self, dpu, set) {
            None => false,
            Some(_) if scope.desired == DesiredHaState::Dead => true,
            Some(state) => state.local_ha_state.is_some_and(|state| state.serves()),
        })
    }

    /// Takes over what has changed without a need for the procedure: HA sets that the vDPU has left, and the
    /// incarnation of a life that was programmed before hamgrd published one.
    fn follow_facts(&self, dpu: &mut Dpu) {
        let Some(record) = &mut dpu.record else { return };
        record
            .scopes
            .retain(|set, _| self.world.fleet.sets_of(&self.vdpu.id).any(|intended| intended.id == *set));
        if let Some(reset) = self.view.reset(self.vdpu.dpu.slot)
            && record.life.incarnation.is_none()
        {
            record.life.incarnation = reset.incarnation;
        }
    }

    pub(crate) fn debounce_down(&mut self, dpu: &mut Dpu) -> Step {
        dpu.verify_since = None;
        dpu.idle_since = None;
        let debounce = self.timing().down_debounce_ms;
        let since = *dpu.down_since.get_or_insert(self.now);
        if self.now >= since.after_ms(debounce) {
            return self.begin(dpu, Reason::Down);
        }
        dpu.wake_at(since.after_ms(debounce), Wait::DownDebounce);
        Step::Wait
    }

    /// Begins the procedure, or begins it anew. Versions rise, approvals of the life that is over are forgotten.
    pub(crate) fn begin(&mut self, dpu: &mut Dpu, reason: Reason) -> Step {
        let before = dpu.record.take();
        let mut scopes = BTreeMap::new();
        for set in self.world.fleet.sets_of(&self.vdpu.id) {
            let known = before.as_ref().and_then(|record| record.scopes.get(&set.id));
            scopes.insert(set.id.clone(), self.next_scope(&set.id, known));
        }
        dpu.record = Some(DpuRecord {
            dpu: self.vdpu.dpu.clone(),
            vdpu: self.vdpu.id.clone(),
            phase: Phase::DeletingScopes,
            epoch: before.as_ref().map_or(0, |record| record.epoch).saturating_add(1),
            life: before.map(|record| record.life).unwrap_or_default(),
            scopes,
        });
        dpu.forget_timers();
        dpu.not_before = None;
        match reason {
            Reason::StateMissing => {
                let wait = backoff_ms(self.world.fleet.timing(), dpu.attempts, self.ids);
                dpu.attempts = dpu.attempts.saturating_add(1);
                dpu.not_before = Some(self.now.after_ms(wait));
            }
            Reason::Down
            | Reason::Restarted
            | Reason::ConfigMissing
            | Reason::IntentChanged
            | Reason::NotProgrammed => {}
        }
        let (id, vdpu) = (self.vdpu.dpu.clone(), self.vdpu.id.clone());
        self.notes.push(Note::Begun { dpu: id, vdpu, reason });
        Step::Again
    }

    /// A HA scope for the next life, with a version above all that were written, here or by a forgotten self.
    fn next_scope(&self, set: &HaSetId, known: Option<&ScopeRecord>) -> ScopeRecord {
        let known = known.map(|scope| scope.version);
        let scope = match self.view.scope_config(&scope_key(&self.vdpu.id, set)) {
            Configured::Row(config) => version_of(&config.version),
            Configured::Absent | Configured::Unreadable => None,
        };
        let shared = match self.view.set_config(set) {
            Configured::Row(config) => version_of(&config.version),
            Configured::Absent | Configured::Unreadable => None,
        };
        let newest = known.max(scope).max(shared).unwrap_or(0);
        ScopeRecord::new(next_version(newest), DesiredHaState::Unspecified)
    }

    /// Configuration and state of every HA scope of the vDPU are gone.
    fn scopes_are_gone(&self) -> bool {
        let intended = self.world.fleet.sets_of(&self.vdpu.id);
        let mut rows = intended.map(|set| self.view.scope_row(&scope_key(&self.vdpu.id, &set.id)));
        rows.all(|row| self.view.is_gone(&row))
            && !self.view.scope_configs().any(|(key, _)| key.vdpu == self.vdpu.id)
            && !self.view.reports_scopes_of(&self.vdpu.id)
    }

    /// Deleting ends when the rows are gone, however long hamgrd takes: whatever were programmed before that would
    /// be dropped (`reference/controller.md` 0, fact 6).
    fn report_if_slow(&mut self, dpu: &mut Dpu, phase: Phase) -> Step {
        let timeout = self.timing().verify_timeout_ms;
        let since = *dpu.verify_since.get_or_insert(self.now);
        if self.now >= since.after_ms(timeout) {
            dpu.verify_since = Some(self.now);
            let (id, vdpu) = (self.vdpu.dpu.clone(), self.vdpu.id.clone());
            self.notes.push(Note::Slow { dpu: id, vdpu, phase });
        }
        dpu.wake_at(dpu.verify_since.unwrap_or(self.now).after_ms(timeout), Wait::RowsToGo);
        Step::Wait
    }

    fn wait_for_up(&mut self, dpu: &mut Dpu) -> Step {
        let slot = self.vdpu.dpu.slot;
        if !self.scopes_are_gone() {
            // Somebody else configured it again, or a late write of an earlier life arrived.
            dpu.ready_since = None;
            return self.advance(dpu, Phase::DeletingScopes);
        }
        if !self.view.is_ready(slot) {
            dpu.ready_since = None;
            return Step::Wait;
        }
        let life = Life::of(self.view.reset(slot));
        let since = match dpu.ready_since {
            Some((since, same)) if same == life => since,
            Some(_) | None => self.now,
        };
        dpu.ready_since = Some((since, life));
        let stable = since.after_ms(self.timing().up_debounce_ms);
        let due = dpu.not_before.map_or(stable, |earliest| earliest.max(stable));
        if self.now < due {
            dpu.wake_at(due, Wait::UpDebounce);
            return Step::Wait;
        }
        let scopes = self.world.fleet.sets_of(&self.vdpu.id).map(|set| {
            let known = dpu.record.as_ref().and_then(|record| record.scopes.get(&set.id)).cloned();
            (set.id.clone(), known.unwrap_or_else(|| self.next_scope(&set.id, None)))
        });
        let scopes = scopes.collect();
        if let Some(record) = &mut dpu.record {
            record.life = life;
            record.scopes = scopes;
        }
        self.advance(dpu, Phase::ProgrammingSets)
    }

    fn program(&mut self, dpu: &mut Dpu, phase: Phase) -> Step {
        let slot = self.vdpu.dpu.slot;
        if self.view.health(slot) == DpuHealth::Down {
            return self.begin(dpu, Reason::Down);
        }
        if !self.view.is_ready(slot) || !dpu.is_settled() {
            return Step::Wait;
        }
        let Some(record) = dpu.record.clone() else { return Step::Wait };
        if self.view.reset(slot).is_some_and(|reset| record.life.is_over(reset)) {
            return self.begin(dpu, Reason::Restarted);
        }
        let intended: Vec<_> = self.world.fleet.sets_of(&self.vdpu.id).collect();
        if intended.iter().any(|set| !record.scopes.contains_key(&set.id)) {
            return self.begin(dpu, Reason::IntentChanged);
        }
        let switch = &self.vdpu.dpu.switch;
        let sets_are_there = intended.iter().all(|set| {
            let wanted = set_config(&self.world, switch, self.view, set);
            self.view.is_confirmed(&self.view.set_row(&set.id), &wanted)
        });
        if phase == Phase::ProgrammingSets {
            return if sets_are_there { self.choose_roles(dpu) } else { Step::Wait };
        }
        let scopes_are_there =
            record.scopes.iter().filter(|(set, _)| intended.iter().any(|i| i.id == **set)).all(
                |(set, scope)| {
                    let row = self.view.scope_row(&scope_key(&self.vdpu.id, set));
                    self.view.is_confirmed(&row, &scope_config(set, scope))
                },
            );
        if scopes_are_there { self.advance(dpu, Phase::Activating) } else { Step::Wait }
    }

    /// A role is chosen once, when a DPU is programmed. It stays when the peer comes and goes (P8).
    fn choose_roles(&mut self, dpu: &mut Dpu) -> Step {
        if let Some(record) = &mut dpu.record {
            for (set, scope) in &mut record.scopes {
                scope.desired = desired_state(&self.world, self.vdpu, set);
            }
        }
        self.advance(dpu, Phase::ProgrammingScopes)
    }

    /// In-place changes of what is wanted: a row's next version.
    pub(crate) fn change_desired(&mut self, scope: &mut ScopeRecord, set: &HaSetId, desired: DesiredHaState) {
        if scope.desired == desired {
            return;
        }
        scope.desired = desired;
        scope.version = next_version(scope.version);
        self.notes.push(Note::Desired { vdpu: self.vdpu.id.clone(), ha_set: set.clone(), desired });
    }

    fn advance(&mut self, dpu: &mut Dpu, to: Phase) -> Step {
        let Some(record) = &mut dpu.record else { return Step::Wait };
        let from = std::mem::replace(&mut record.phase, to);
        dpu.verify_since = None;
        let (id, vdpu) = (self.vdpu.dpu.clone(), self.vdpu.id.clone());
        self.notes.push(Note::PhaseChanged { dpu: id, vdpu, from, to });
        Step::Again
    }
}
