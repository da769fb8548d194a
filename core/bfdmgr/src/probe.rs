//! The peers that are up, as `DASH_BFD_PROBE_STATE` and `DPU_BFD_PROBE_STATE` tell them (`reference/dpu-side.md` 2.4).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reconcile::Plan;
use schema::dpu_state_db::{BfdProbeState, DashHa};
use schema::state_db::{DpuBfdProbeState, NoKey};
use schema::{PmonTime, WallMs};
use serde::{Deserialize, Serialize};

use crate::io::{Note, Peer, Place};

/// The peers of one family that are up, and since when it is just these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Family<A: Ord> {
    up: BTreeSet<A>,
    since: Option<PmonTime>,
}

impl<A: Ord> Default for Family<A> {
    fn default() -> Self {
        Self { up: BTreeSet::new(), since: None }
    }
}

impl<A: Ord> Family<A> {
    fn set(&mut self, up: BTreeSet<A>, wall: WallMs) -> bool {
        if self.up == up {
            return false;
        }
        (self.up, self.since) = (up, Some(wall.into()));
        true
    }
}

/// What the two rows say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Probe {
    v4: Family<Ipv4Addr>,
    v6: Family<Ipv6Addr>,
    /// The backend has spoken: before that, the rows of an earlier process are left alone.
    is_known: bool,
    /// The lists are still those that it began with, which may be those of an earlier process.
    is_first: bool,
}

impl Probe {
    /// All that the backend has. What is to be logged, if the lists changed.
    pub(crate) fn set(&mut self, peers: &[Peer], wall: WallMs) -> Option<Note> {
        let up = || peers.iter().filter(|peer| peer.is_up).map(|peer| peer.key.peer);
        let v4 = up().filter_map(|peer| match peer {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        });
        let v6 = up().filter_map(|peer| match peer {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(v6),
        });
        let changed = self.v4.set(v4.collect(), wall) | self.v6.set(v6.collect(), wall);
        self.is_first = if self.is_known { self.is_first && !changed } else { true };
        self.is_known = true;
        changed.then(|| Note::Up { peers: up().collect() })
    }

    /// The row that an earlier process left: if its list is the one that we began with, nothing has changed since its time.
    pub(crate) fn read_back(&mut self, row: &BfdProbeState) {
        if !self.is_known || !self.is_first {
            return;
        }
        self.is_first = false;
        if self.v4.up.iter().eq(&row.v4_bfd_up_sessions) {
            self.v4.since = row.v4_bfd_up_sessions_timestamp;
        }
        if self.v6.up.iter().eq(&row.v6_bfd_up_sessions) {
            self.v6.since = row.v6_bfd_up_sessions_timestamp;
        }
    }

    pub(crate) fn plan(&self, plan: &mut Plan<Place>) {
        if !self.is_known {
            return;
        }
        let row = BfdProbeState {
            v4_bfd_up_sessions: self.v4.up.iter().copied().collect(),
            v4_bfd_up_sessions_timestamp: self.v4.since,
            v6_bfd_up_sessions: self.v6.up.iter().copied().collect(),
            v6_bfd_up_sessions_timestamp: self.v6.since,
        };
        plan.want(Place::Remote, &DashHa, &row);
        plan.want(Place::Local, &NoKey, &DpuBfdProbeState::from(row));
    }
}
