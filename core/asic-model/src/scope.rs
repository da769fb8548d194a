//! A HA scope of the model: the state machine's memory and timers. The table is in `decide`.

use reconcile::Time;
use schema::{AsicHaRole, AsicHaState};
use serde::{Deserialize, Serialize};

use crate::ModelConfig;
use crate::channel::{Channel, Word};
use crate::decide::{Peer, View};

/// How many states may follow each other at one instant. The table has no cycle without news from the peer.
const STEPS_MAX: usize = 8;

/// What a scope wants the control plane to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    StateChanged,
    FlowReconcileNeeded,
    SplitBrainDetected,
}

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scope {
    pub(crate) role: AsicHaRole,
    pub(crate) admin_up: bool,
    pub(crate) state: AsicHaState,
    /// This life; a new one each time that the scope leaves DEAD.
    session: u64,
    pub(crate) term: u32,
    init: u32,
    synced: (u64, u32),
    /// When a bulk sync ends, and for whom it is.
    syncing: Option<(Time, (u64, u32))>,
    /// When the present state is overdue.
    overdue_at: Option<Time>,
    /// It was standby when its peer began to leave.
    takes_over: bool,
    is_split: bool,
}

impl Scope {
    pub(crate) fn new(role: AsicHaRole, admin_up: bool, session: u64) -> Self {
        Self {
            role,
            admin_up,
            state: AsicHaState::Dead,
            session,
            term: 0,
            init: 0,
            synced: (0, 0),
            syncing: None,
            overdue_at: None,
            takes_over: false,
            is_split: false,
        }
    }

    pub(crate) fn word(&self) -> Word {
        Word {
            session: self.session,
            state: self.state,
            role: self.role,
            term: self.term,
            init: self.init,
            synced: self.synced,
        }
    }

    /// The role to report: the one that the state amounts to, else the one asked for.
    pub(crate) fn reported_role(&self) -> AsicHaRole {
        match self.state {
            AsicHaState::Dead | AsicHaState::Destroying => AsicHaRole::Dead,
            AsicHaState::Active => AsicHaRole::Active,
            AsicHaState::Standby => AsicHaRole::Standby,
            AsicHaState::Standalone | AsicHaState::SwitchingToStandalone => AsicHaRole::Standalone,
            AsicHaState::Connecting
            | AsicHaState::Connected
            | AsicHaState::InitializingToActive
            | AsicHaState::InitializingToStandby
            | AsicHaState::PendingStandaloneActivation
            | AsicHaState::PendingActiveActivation
            | AsicHaState::PendingStandbyActivation => self.role,
        }
    }

    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        // A deadline that has passed and changed nothing waits for news from the peer.
        [self.overdue_at, self.syncing.map(|(at, _)| at)].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// `ACTIVATE_ROLE`: returns whether something waited for it.
    pub(crate) fn activate(
        &mut self,
        now: Time,
        config: &ModelConfig,
        channel: &Channel,
        out: &mut Vec<Report>,
    ) -> bool {
        let next = match self.state {
            AsicHaState::PendingActiveActivation => AsicHaState::Active,
            AsicHaState::PendingStandbyActivation => AsicHaState::Standby,
            AsicHaState::PendingStandaloneActivation => AsicHaState::Standalone,
            AsicHaState::Dead
            | AsicHaState::Connecting
            | AsicHaState::Connected
            | AsicHaState::InitializingToActive
            | AsicHaState::InitializingToStandby
            | AsicHaState::Standalone
            | AsicHaState::Active
            | AsicHaState::Standby
            | AsicHaState::Destroying
            | AsicHaState::SwitchingToStandalone => return false,
        };
        self.enter(now, config, channel, next, out);
        true
    }

    /// Follows the table until it stands still. `new_session` is for a new life, if one begins.
    pub(crate) fn settle(
        &mut self,
        now: Time,
        config: &ModelConfig,
        channel: &Channel,
        we_are_lower: bool,
        mut new_session: impl FnMut() -> u64,
        out: &mut Vec<Report>,
    ) {
        for _ in 0..STEPS_MAX {
            self.sync(now, config, channel);
            let Some(next) = self.view(now, channel, we_are_lower).next() else { break };
            if self.state == AsicHaState::Dead {
                self.session = new_session();
            }
            self.enter(now, config, channel, next, out);
        }
        if self.state == AsicHaState::Standby
            && let Some(peer) = channel.peer()
            && peer.state == AsicHaState::Active
            && peer.term != self.term
        {
            self.term = peer.term;
            out.push(Report::StateChanged);
        }
        self.watch_split(now, channel, we_are_lower, out);
    }

    fn view(&self, now: Time, channel: &Channel, we_are_lower: bool) -> View {
        let peer = channel.peer().map(|peer| Peer {
            hears_us: peer.seen == self.session,
            knows_our_state: channel.is_our_state_known(&self.word()),
            has_synced_us: peer.synced == (self.session, self.init),
            state: peer.state,
            role: peer.role,
            term: peer.term,
            has_lower_address: !we_are_lower,
        });
        View {
            state: self.state,
            role: self.role,
            admin_up: self.admin_up,
            term: self.term,
            peer,
            is_overdue: self.overdue_at.is_some_and(|at| at <= now),
        }
    }

    fn enter(
        &mut self,
        now: Time,
        config: &ModelConfig,
        channel: &Channel,
        next: AsicHaState,
        out: &mut Vec<Report>,
    ) {
        let was = std::mem::replace(&mut self.state, next);
        let took_over = next == AsicHaState::Standalone && (was == AsicHaState::Standby || self.takes_over);
        self.takes_over = next == AsicHaState::SwitchingToStandalone && was == AsicHaState::Standby;
        self.overdue_at = match next {
            AsicHaState::Connecting => Some(now.after_ms(config.peer_wait_ms)),
            AsicHaState::SwitchingToStandalone => Some(now.after_ms(config.switchover_ms)),
            AsicHaState::Destroying => Some(now.after_ms(config.destroy_ms_max)),
            AsicHaState::Dead
            | AsicHaState::Connected
            | AsicHaState::InitializingToActive
            | AsicHaState::InitializingToStandby
            | AsicHaState::PendingStandaloneActivation
            | AsicHaState::PendingActiveActivation
            | AsicHaState::PendingStandbyActivation
            | AsicHaState::Standalone
            | AsicHaState::Active
            | AsicHaState::Standby => None,
        };
        match next {
            AsicHaState::InitializingToStandby => self.init = self.init.wrapping_add(1),
            // Whoever begins to decide, or to decide alone, begins a new term.
            AsicHaState::Active | AsicHaState::Standalone => {
                let of_peer = channel.peer().map_or(0, |peer| peer.term);
                self.term = self.term.max(of_peer).saturating_add(1);
            }
            AsicHaState::Standby => self.term = channel.peer().map_or(self.term, |peer| peer.term),
            AsicHaState::Dead
            | AsicHaState::Connecting
            | AsicHaState::Connected
            | AsicHaState::InitializingToActive
            | AsicHaState::PendingStandaloneActivation
            | AsicHaState::PendingActiveActivation
            | AsicHaState::PendingStandbyActivation
            | AsicHaState::Destroying
            | AsicHaState::SwitchingToStandalone => {}
        }
        out.push(Report::StateChanged);
        if took_over {
            // The policy may have moved on since the flows were copied.
            out.push(Report::FlowReconcileNeeded);
        }
    }

    /// An active side copies its flows to a newcomer, once per request of it.
    fn sync(&mut self, now: Time, config: &ModelConfig, channel: &Channel) {
        let request = channel
            .peer()
            .filter(|peer| {
                self.state == AsicHaState::Active && peer.state == AsicHaState::InitializingToStandby
            })
            .map(|peer| (peer.session, peer.init));
        match (self.syncing, request) {
            (Some((at, of)), Some(request)) if of == request => {
                if at <= now {
                    self.synced = request;
                    self.syncing = None;
                }
            }
            (_, Some(request)) if self.synced != request => {
                self.syncing = Some((now.after_ms(config.bulk_sync_ms), request));
            }
            (_, Some(_) | None) => self.syncing = None,
        }
        if self.state != AsicHaState::Active {
            self.synced = (0, 0);
        }
    }

    fn watch_split(&mut self, now: Time, channel: &Channel, we_are_lower: bool, out: &mut Vec<Report>) {
        if self.state != AsicHaState::Standalone {
            self.is_split = false;
            return;
        }
        let is_split = self.view(now, channel, we_are_lower).is_split();
        if is_split && !self.is_split {
            self.is_split = true;
            out.push(Report::SplitBrainDetected);
        } else if self.is_split && !is_split && channel.is_alive() {
            // The other side gave way: from here on we decide alone.
            self.is_split = false;
            self.term = self.term.saturating_add(1);
            out.push(Report::StateChanged);
        }
    }
}
