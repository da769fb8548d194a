//! The table: which endpoints are next hops, given pins and BFD. Pure.

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
    NeverUp,
    Up,
    Fell,
}

impl Probe {
    /// A session that is about to be created.
    pub(crate) const NEW: Self = Self { state: BfdState::Down, last: Last::NeverUp };

    pub(crate) fn becomes(&mut self, state: BfdState) {
        self.state = state;
        self.last = match (state, self.last) {
            (BfdState::Up, Last::NeverUp | Last::Up | Last::Fell) => Last::Up,
            (BfdState::Down, Last::Up | Last::Fell) => Last::Fell,
            (BfdState::Down, Last::NeverUp) => Last::NeverUp,
            (BfdState::Init | BfdState::AdminDown, last) => last,
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
        match self {
            // Who hears nobody cannot tell which side is well: the preferred one is as good as any, and a guess
            // serves more than a drop (`reference/dpu-side.md` 3.5, HLD).
            NextHopRule::Design if !is_pinned => members(true, &|_| true),
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
