//! The table: which state follows, given the own state and what is known of the peer. Pure.
//!
//! ```text
//!   DEAD ──► CONNECTING ──peer──► CONNECTED ──won──► INITIALIZING_TO_ACTIVE ──► PENDING_ACTIVE ═══► ACTIVE
//!    ▲          │  ▲                 │ lost                                                       ▲ │
//!    │          │  └─────────────    └──────► INITIALIZING_TO_STANDBY ──► PENDING_STANDBY ═══► STANDBY
//!    │     no peer for a while                                               newcomer is synced │ │ peer lost
//!    │          ▼                                                                               │ ▼
//!    │     PENDING_STANDALONE ════════════════════════════════════════════════════════════► STANDALONE
//!    └── DESTROYING ◄── role dead ── ACTIVE, STANDBY      ═══► needs ACTIVATE_ROLE               ▲
//!                                   the peer of a DESTROYING: SWITCHING_TO_STANDALONE ───────────┘
//! ```

use schema::{AsicHaRole, AsicHaState};

use AsicHaState::{
    Active, Connected, Connecting, Dead, Destroying, InitializingToActive, InitializingToStandby,
    PendingActiveActivation, PendingStandaloneActivation, PendingStandbyActivation, Standalone, Standby,
    SwitchingToStandalone,
};

/// What a side knows when it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// The own state.
    pub(crate) state: AsicHaState,
    /// The role that the control plane asks for.
    pub(crate) role: AsicHaRole,
    /// Whether the state machine is switched on.
    pub(crate) admin_up: bool,
    /// The own flow version.
    pub(crate) term: u32,
    /// The peer, if it is heard.
    pub(crate) peer: Option<Peer>,
    /// The timer of the present state has run out.
    pub(crate) is_overdue: bool,
}

/// What a side knows of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The peer hears us, in our present life.
    pub(crate) hears_us: bool,
    /// The peer has heard that we are in our present state.
    pub(crate) knows_our_state: bool,
    /// The peer has brought us in sync, for our present request.
    pub(crate) has_synced_us: bool,
    /// Its state.
    pub(crate) state: AsicHaState,
    /// Its role.
    pub(crate) role: AsicHaRole,
    /// Its flow version.
    pub(crate) term: u32,
    /// Its address is the lower one.
    pub(crate) has_lower_address: bool,
}

impl Peer {
    /// Whether the peer takes part: it neither is off nor goes away.
    const fn takes_part(&self) -> bool {
        !matches!(self.state, Dead | Destroying)
    }

    const fn is_pinned(&self) -> bool {
        matches!(self.role, AsicHaRole::Standalone)
    }
}

impl View {
    /// Both sides come to opposite results from the same facts: role, then flow version, then address.
    fn wins(&self, peer: &Peer) -> bool {
        let rank = |role: AsicHaRole| match role {
            AsicHaRole::Active | AsicHaRole::SwitchingToActive | AsicHaRole::Standalone => 1,
            AsicHaRole::Standby | AsicHaRole::Dead => 0,
        };
        let ours = (rank(self.role), self.term, peer.has_lower_address);
        let theirs = (rank(peer.role), peer.term, !peer.has_lower_address);
        ours > theirs
    }

    /// The peer, if both sides hear each other and it takes part.
    fn paired(&self) -> Option<&Peer> {
        self.peer.as_ref().filter(|peer| peer.hears_us && peer.takes_part())
    }

    const fn is_pinned(&self) -> bool {
        matches!(self.role, AsicHaRole::Standalone)
    }

    /// Whether both sides decide and neither is about to stop. Once so, they do not pair again by themselves.
    pub(crate) fn is_split(&self) -> bool {
        let is_rival = |peer: &Peer| match peer.state {
            Standalone | SwitchingToStandalone => true,
            // An active side that was taken over from steps back when it hears of it.
            Active => peer.term >= self.term,
            Dead
            | Connecting
            | Connected
            | InitializingToActive
            | InitializingToStandby
            | PendingStandaloneActivation
            | PendingActiveActivation
            | PendingStandbyActivation
            | Standby
            | Destroying => false,
        };
        self.state == Standalone && self.peer.as_ref().is_some_and(is_rival)
    }

    /// The state that follows; nothing while the present one stands.
    pub(crate) fn next(&self) -> Option<AsicHaState> {
        let next = if self.state == Dead {
            if self.admin_up && self.role != AsicHaRole::Dead { Connecting } else { Dead }
        } else if !self.admin_up {
            Dead
        } else if self.role == AsicHaRole::Dead && self.state != Destroying {
            self.shut_down()
        } else {
            self.next_while_up()
        };
        (next != self.state).then_some(next)
    }

    /// Role dead: a side that serves waits until its peer has taken over, if that can.
    fn shut_down(&self) -> AsicHaState {
        let peer = self.paired().map(|peer| peer.state);
        let can_peer_take_over =
            matches!((self.state, peer), (Active, Some(Standby)) | (Standby, Some(Active)));
        if can_peer_take_over { Destroying } else { Dead }
    }

    fn next_while_up(&self) -> AsicHaState {
        match self.state {
            Dead => Dead,
            Connecting => self.while_connecting(),
            Connected => self.while_connected(),
            InitializingToActive => self.while_initializing_to_active(),
            PendingActiveActivation => self.while_pending_active(),
            InitializingToStandby => self.while_initializing_to_standby(),
            PendingStandbyActivation => self.while_pending_standby(),
            PendingStandaloneActivation => self.while_pending_standalone(),
            Active => self.while_active(),
            Standby => self.while_standby(),
            Standalone => self.while_standalone(),
            SwitchingToStandalone => self.while_switching_to_standalone(),
            Destroying => self.while_destroying(),
        }
    }

    fn while_connecting(&self) -> AsicHaState {
        if self.peer.is_some_and(|peer| peer.state.decides() && (self.is_pinned() || !peer.hears_us)) {
            // Never a second decider; it will hear us, or be lost.
            Connecting
        } else if self.is_pinned() {
            PendingStandaloneActivation
        } else if self.paired().is_some() {
            Connected
        } else if self.is_overdue {
            PendingStandaloneActivation
        } else {
            Connecting
        }
    }

    fn while_connected(&self) -> AsicHaState {
        let Some(peer) = self.paired().filter(|_| !self.is_pinned()) else { return Connecting };
        match peer.state {
            _ if peer.is_pinned() => Connected,
            Active | Standalone | SwitchingToStandalone | InitializingToActive | PendingActiveActivation => {
                InitializingToStandby
            }
            Connecting
            | Connected
            | PendingStandaloneActivation
            | InitializingToStandby
            | PendingStandbyActivation
            | Standby => self.elected(peer),
            Dead | Destroying => Connecting,
        }
    }

    fn elected(&self, peer: &Peer) -> AsicHaState {
        if self.wins(peer) { InitializingToActive } else { InitializingToStandby }
    }

    fn while_initializing_to_active(&self) -> AsicHaState {
        let Some(peer) = self.paired() else { return Connecting };
        match peer.state {
            Active | Standalone | SwitchingToStandalone => InitializingToStandby,
            // It stays there as long as it knows us to be on our way: no two sides get here.
            InitializingToStandby if peer.knows_our_state => PendingActiveActivation,
            InitializingToStandby | PendingStandbyActivation | Standby => InitializingToActive,
            InitializingToActive
            | PendingActiveActivation
            | Connecting
            | Connected
            | PendingStandaloneActivation => self.elected(peer),
            Dead | Destroying => Connecting,
        }
    }

    fn while_pending_active(&self) -> AsicHaState {
        let Some(peer) = self.paired() else { return Connecting };
        match peer.state {
            Active | Standalone | SwitchingToStandalone => InitializingToStandby,
            InitializingToStandby | PendingStandbyActivation | Standby => PendingActiveActivation,
            InitializingToActive | PendingActiveActivation => {
                if self.wins(peer) {
                    PendingActiveActivation
                } else {
                    InitializingToStandby
                }
            }
            Connecting | Connected | PendingStandaloneActivation => Connected,
            Dead | Destroying => Connecting,
        }
    }

    fn while_initializing_to_standby(&self) -> AsicHaState {
        let Some(peer) = self.paired() else { return Connecting };
        match peer.state {
            Active if peer.has_synced_us => PendingStandbyActivation,
            Active => InitializingToStandby,
            Standalone | SwitchingToStandalone if peer.is_pinned() => Connected,
            Standalone | SwitchingToStandalone | InitializingToActive | PendingActiveActivation => {
                InitializingToStandby
            }
            Connecting
            | Connected
            | PendingStandaloneActivation
            | InitializingToStandby
            | PendingStandbyActivation
            | Standby => self.elected(peer),
            Dead | Destroying => Connecting,
        }
    }

    fn while_pending_standby(&self) -> AsicHaState {
        let Some(peer) = self.paired() else { return Connecting };
        match peer.state {
            Active if peer.has_synced_us => PendingStandbyActivation,
            Active | Standalone | SwitchingToStandalone => InitializingToStandby,
            Connecting
            | Connected
            | PendingStandaloneActivation
            | InitializingToActive
            | PendingActiveActivation
            | InitializingToStandby
            | PendingStandbyActivation
            | Standby => Connected,
            Dead | Destroying => Connecting,
        }
    }

    fn while_pending_standalone(&self) -> AsicHaState {
        if self.peer.is_some_and(|peer| peer.state.decides()) {
            Connecting
        } else if self.paired().is_some() && !self.is_pinned() {
            Connected
        } else {
            PendingStandaloneActivation
        }
    }

    fn while_active(&self) -> AsicHaState {
        let Some(peer) = &self.peer else { return Standalone };
        match peer.state {
            _ if self.is_pinned() => Standalone,
            Standby | PendingStandbyActivation | InitializingToStandby => Active,
            // It took over while it did not hear us, though we heard it: we step back.
            Active | Standalone | SwitchingToStandalone if peer.term > self.term => InitializingToStandby,
            Active | Standalone | SwitchingToStandalone => Standalone,
            Destroying => SwitchingToStandalone,
            Dead
            | Connecting
            | Connected
            | InitializingToActive
            | PendingActiveActivation
            | PendingStandaloneActivation => Standalone,
        }
    }

    fn while_standby(&self) -> AsicHaState {
        let Some(peer) = &self.peer else { return Standalone };
        match peer.state {
            Active => Standby,
            Destroying => SwitchingToStandalone,
            // It lost us and decides alone: our flows are out of date.
            Standalone | SwitchingToStandalone | Standby => InitializingToStandby,
            Dead
            | Connecting
            | Connected
            | InitializingToActive
            | InitializingToStandby
            | PendingStandaloneActivation
            | PendingActiveActivation
            | PendingStandbyActivation => Standalone,
        }
    }

    fn while_standalone(&self) -> AsicHaState {
        match self.paired() {
            Some(peer) if peer.state == InitializingToStandby && !self.is_pinned() => Active,
            Some(_) | None => Standalone,
        }
    }

    fn while_switching_to_standalone(&self) -> AsicHaState {
        match self.peer {
            Some(peer) if peer.state != Dead && !self.is_overdue => SwitchingToStandalone,
            Some(_) | None => Standalone,
        }
    }

    fn while_destroying(&self) -> AsicHaState {
        match self.peer {
            Some(peer)
                if !self.is_overdue && matches!(peer.state, Active | Standby | SwitchingToStandalone) =>
            {
                Destroying
            }
            Some(_) | None => Dead,
        }
    }
}
