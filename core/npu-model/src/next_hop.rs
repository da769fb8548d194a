//! The table: which endpoints are next hops, given pins and BFD. Pure.

use std::fmt;
use std::str::FromStr;

use schema::{BfdState, PinnedState};
use serde::{Deserialize, Serialize};

use crate::forwarding::NextHop;
use crate::route::{Endpoint, Route};

/// Whose table decides (see the crate's documentation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NextHopRule {
    /// The HA design's: all down is all up; AdminDown is down.
    #[default]
    Design,
    /// SONiC's orchagent's: all down is no route; only Up and Down count.
    Orchagent,
}

impl NextHopRule {
    /// Both.
    pub const ALL: [NextHopRule; 2] = [NextHopRule::Design, NextHopRule::Orchagent];

    const fn name(self) -> &'static str {
        match self {
            NextHopRule::Design => "design",
            NextHopRule::Orchagent => "orchagent",
        }
    }
}

impl fmt::Display for NextHopRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No rule is called so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected design or orchagent, not {0:?}")]
pub struct NoSuchRule(String);

impl FromStr for NextHopRule {
    type Err = NoSuchRule;

    fn from_str(text: &str) -> Result<Self, NoSuchRule> {
        let found = Self::ALL.into_iter().find(|rule| rule.name() == text);
        found.ok_or_else(|| NoSuchRule(text.to_owned()))
    }
}

/// What is known of a BFD session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probe {
    /// What it is at present.
    pub(crate) state: BfdState,
    /// What orchagent remembers of it: `Init` and `Admin_Down` leave no trace.
    last: Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Last {
    /// It has not yet had the time to come up.
    Unknown,
    NeverUp,
    Up,
    Fell,
}

impl Probe {
    /// A session that is about to be created.
    pub(crate) const NEW: Self = Self { state: BfdState::Down, last: Last::Unknown };

    /// A session that cannot run.
    pub(crate) const NEVER: Self = Self { state: BfdState::Down, last: Last::NeverUp };

    /// Whether it may still be about to come up for the first time.
    pub(crate) fn is_unknown(self) -> bool {
        self.last == Last::Unknown
    }

    /// It has had its time to come up.
    pub(crate) fn is_overdue(&mut self) {
        if self.is_unknown() {
            self.last = Last::NeverUp;
        }
    }

    pub(crate) fn becomes(&mut self, state: BfdState) {
        self.state = state;
        self.last = match (state, self.last) {
            (BfdState::Up, Last::Unknown | Last::NeverUp | Last::Up | Last::Fell) => Last::Up,
            (BfdState::Down, Last::Up | Last::Fell) => Last::Fell,
            (BfdState::Down | BfdState::AdminDown, Last::Unknown) | (BfdState::Down, Last::NeverUp) => {
                Last::NeverUp
            }
            (BfdState::Init, last)
            | (BfdState::AdminDown, last @ (Last::NeverUp | Last::Up | Last::Fell)) => last,
        };
    }
}

impl NextHopRule {
    /// The next hops of a route, in the order of its row; `probe` says what is known of an endpoint's session.
    pub(crate) fn next_hops(self, route: &Route, probe: impl Fn(&Endpoint) -> Option<Probe>) -> Vec<NextHop> {
        let has_backup = route.endpoints.iter().any(|endpoint| !endpoint.is_primary);
        let is_up = |endpoint: &Endpoint| match self {
            NextHopRule::Orchagent if !has_backup => {
                probe(endpoint).is_none_or(|probe| probe.last != Last::Fell)
            }
            NextHopRule::Design | NextHopRule::Orchagent => match endpoint.pin {
                PinnedState::Up => true,
                PinnedState::Down => false,
                PinnedState::None => probe(endpoint).is_none_or(|probe| self.hears(probe)),
            },
        };
        let members = |is_primary: bool, may_serve: &dyn Fn(&Endpoint) -> bool| -> Vec<NextHop> {
            let group = route.endpoints.iter().filter(|endpoint| endpoint.is_primary == is_primary);
            group.filter(|endpoint| may_serve(endpoint)).map(|endpoint| endpoint.next_hop).collect()
        };
        let up = [true, false].into_iter().map(|is_primary| members(is_primary, &is_up));
        if let Some(next_hops) = up.into_iter().find(|next_hops| !next_hops.is_empty()) {
            return next_hops;
        }
        let is_pinned = route.endpoints.iter().any(|endpoint| endpoint.pin != PinnedState::None);
        // Who has only begun to listen does not guess: a DPU that is booting would be as good as one that serves.
        let may_yet_hear = route.endpoints.iter().filter_map(&probe).any(Probe::is_unknown);
        match self {
            // Who hears nobody cannot tell which side is well: the preferred one is as good as any, and a guess
            // serves more than a drop (`reference/dpu-side.md` 3.5, HLD).
            NextHopRule::Design if !is_pinned && !may_yet_hear => members(true, &|_| true),
            NextHopRule::Design | NextHopRule::Orchagent => Vec::new(),
        }
    }

    fn hears(self, probe: Probe) -> bool {
        match self {
            NextHopRule::Design => probe.state == BfdState::Up,
            NextHopRule::Orchagent => probe.last == Last::Up,
        }
    }
}
