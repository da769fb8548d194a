//! Derive, diff, apply.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reconcile::{Batch, Core, Plan, Reconciler, Time, as_pairs};
use schema::appl_db::{NeighbourKey, VnetRouteKey, VnetRouteTunnel};
use schema::state_db::VnetRouteTunnelState;
use schema::{BfdState, RouteState};
use serde::{Deserialize, Serialize};

use crate::forwarding::{Forwarding, NextHop, Vip};
use crate::io::{Effect, Here, Input, Note};
use crate::next_hop::{NextHopRule, Probe};
use crate::prefix::Prefix;
use crate::route::{Route, RouteProblem};
use crate::sessions::{self, Session};

/// How long a new session may take to come up before it counts as down, ms: three packets of a session that is not up
/// (RFC 5880 6.8.3: one a second at most).
pub const FIRST_UP_MS_MAX: u64 = 3_000;

/// What the NPU is set up with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NpuConfig {
    /// Whose table decides.
    pub rule: NextHopRule,
    /// Source of VXLAN tunnels, IPv4.
    pub tunnel_source_v4: Option<Ipv4Addr>,
    /// Source of VXLAN tunnels, IPv6.
    pub tunnel_source_v6: Option<Ipv6Addr>,
}

impl NpuConfig {
    fn tunnel_source(&self, peer: IpAddr) -> Option<IpAddr> {
        match peer {
            IpAddr::V4(_) => self.tunnel_source_v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.tunnel_source_v6.map(IpAddr::V6),
        }
    }
}

/// A row, and what was made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Held {
    row: VnetRouteTunnel,
    /// The last that could be followed.
    route: Option<Route>,
    problem: Option<RouteProblem>,
    /// Whether there was a next hop since the row came.
    was_active: bool,
}

/// What is known of a session that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Known {
    probe: Probe,
    discriminator: Option<u32>,
    /// Until when it may be about to come up for the first time.
    overdue_at: Time,
}

/// An NPU's orchagent, as far as VIPs go. See the crate's documentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NpuModel {
    config: NpuConfig,
    #[serde(with = "as_pairs")]
    routes: BTreeMap<VnetRouteKey, Held>,
    neighbours: BTreeSet<NeighbourKey>,
    /// Nothing is derived from half of the rows.
    is_synced: bool,
    sessions: BTreeMap<IpAddr, Session>,
    known: BTreeMap<IpAddr, Known>,
    forwarding: Forwarding,
    without_source: Vec<IpAddr>,
    rows: Reconciler<Here>,
}

impl Core for NpuModel {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Time, batch: Batch<Input>, out: &mut Vec<Effect>) {
        for input in batch.inputs {
            self.take(input, out);
        }
        for known in self.known.values_mut().filter(|known| known.overdue_at <= now) {
            known.probe.is_overdue();
        }
        if self.is_synced {
            self.read_routes(out);
            self.derive_sessions(now, out);
            self.derive_forwarding(out);
            self.derive_rows(out);
        }
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        let unknown = self.known.values().filter(|known| known.probe.is_unknown());
        let overdue_at = unknown.map(|known| known.overdue_at).min()?;
        Some((overdue_at, "a new BFD session has had its time to come up"))
    }
}

impl NpuModel {
    /// An NPU that has read nothing yet.
    pub fn new(config: NpuConfig) -> Self {
        Self {
            config,
            routes: BTreeMap::new(),
            neighbours: BTreeSet::new(),
            is_synced: false,
            sessions: BTreeMap::new(),
            known: BTreeMap::new(),
            forwarding: Forwarding::default(),
            without_source: Vec::new(),
            rows: Reconciler::new(),
        }
    }

    /// Where each VIP's traffic goes.
    pub fn forwarding(&self) -> &Forwarding {
        &self.forwarding
    }

    /// The BFD sessions wanted, by peer.
    pub fn sessions(&self) -> &BTreeMap<IpAddr, Session> {
        &self.sessions
    }

    fn take(&mut self, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Route(key, None) => {
                self.routes.remove(&key);
            }
            Input::Route(key, Some(row)) => match self.routes.get_mut(&key) {
                Some(held) => held.row = row,
                None => {
                    let held = Held { row, route: None, problem: None, was_active: false };
                    self.routes.insert(key, held);
                }
            },
            Input::Neighbour(key, Some(_)) => {
                self.neighbours.insert(key);
            }
            Input::Neighbour(key, None) => {
                self.neighbours.remove(&key);
            }
            Input::Synced => self.is_synced = true,
            // What is there stays in force; what went meanwhile is told before the next Synced.
            Input::Unsynced => {}
            Input::Bfd { peer, state, discriminator } => self.take_bfd(peer, state, discriminator, out),
            Input::Store(event) => self.rows.observe(event),
        }
    }

    fn take_bfd(
        &mut self,
        peer: IpAddr,
        state: Option<BfdState>,
        discriminator: Option<u32>,
        out: &mut Vec<Effect>,
    ) {
        // A session that is no longer wanted says its last.
        let Some(known) = self.known.get_mut(&peer) else { return };
        let from = known.probe.state;
        let to = state.unwrap_or(BfdState::Down);
        known.probe.becomes(to);
        known.discriminator = discriminator.or(known.discriminator);
        if from != to {
            out.push(Effect::Note(Note::Bfd { peer, from, to }));
        }
    }

    /// A row that cannot be followed leaves the last that could in force, and is tried again whenever anything changes.
    fn read_routes(&mut self, out: &mut Vec<Effect>) {
        let neighbours: BTreeSet<IpAddr> =
            self.neighbours.iter().map(|neighbour| neighbour.address).collect();
        for (key, held) in &mut self.routes {
            let problem = match Route::read(key, &held.row, &neighbours) {
                Ok(route) => {
                    held.route = Some(route);
                    None
                }
                Err(problem) => Some(problem),
            };
            if let Some(problem) = problem.filter(|_| problem != held.problem) {
                out.push(Effect::Note(Note::RouteRefused { key: key.clone(), problem }));
            }
            held.problem = problem;
        }
    }

    fn followed(&self) -> impl Iterator<Item = (&VnetRouteKey, &Held, &Route)> {
        self.routes.iter().filter_map(|(key, held)| Some((key, held, held.route.as_ref()?)))
    }

    /// One session per distinct monitor; where two routes give it different timers, the first in key order counts.
    fn derive_sessions(&mut self, now: Time, out: &mut Vec<Effect>) {
        let mut sessions = BTreeMap::new();
        let mut without_source = BTreeSet::new();
        for (_, _, route) in self.followed() {
            for peer in route.endpoints.iter().filter_map(|endpoint| endpoint.monitor) {
                match self.config.tunnel_source(peer) {
                    Some(local) => {
                        sessions.entry(peer).or_insert_with(|| Session::of(route, local));
                    }
                    None => {
                        without_source.insert(peer);
                    }
                }
            }
        }
        let without_source: Vec<IpAddr> = without_source.into_iter().collect();
        if without_source != self.without_source {
            self.without_source.clone_from(&without_source);
            if !without_source.is_empty() {
                out.push(Effect::Note(Note::NoTunnelSource(without_source)));
            }
        }
        self.known.retain(|peer, _| sessions.contains_key(peer));
        for peer in sessions.keys() {
            let overdue_at = now.after_ms(FIRST_UP_MS_MAX);
            self.known.entry(*peer).or_insert(Known { probe: Probe::NEW, discriminator: None, overdue_at });
        }
        if sessions != self.sessions {
            self.sessions.clone_from(&sessions);
            out.push(Effect::Sessions(sessions));
        }
    }

    /// What is known of an endpoint; one whose session cannot run was never heard.
    fn probe(&self, monitor: Option<IpAddr>) -> Option<Probe> {
        monitor.map(|peer| self.known.get(&peer).map_or(Probe::NEVER, |known| known.probe))
    }

    fn derive_forwarding(&mut self, out: &mut Vec<Effect>) {
        let mut vips: BTreeMap<Prefix, Vip> = BTreeMap::new();
        let mut active = Vec::new();
        for (key, _, route) in self.followed() {
            let next_hops = self.config.rule.next_hops(route, |endpoint| self.probe(endpoint.monitor));
            if !next_hops.is_empty() {
                active.push(key.clone());
            }
            // Two VNETs with one prefix cannot be told apart by a model without VNIs: the first counts.
            let vip = Vip { next_hops, terminates_at: route.terminates_at() };
            vips.entry(route.prefix).or_insert(vip);
        }
        for key in active {
            if let Some(held) = self.routes.get_mut(&key) {
                held.was_active = true;
            }
        }
        let forwarding = Forwarding { vips };
        if forwarding == self.forwarding {
            return;
        }
        let before = std::mem::replace(&mut self.forwarding, forwarding.clone());
        out.push(Effect::Forward(forwarding));
        for (vip, from, to) in moves(&before, &self.forwarding) {
            out.push(Effect::Note(Note::Moved { vip, from, to }));
        }
    }

    fn derive_rows(&mut self, out: &mut Vec<Effect>) {
        let mut plan = Plan::new();
        for (peer, session) in &self.sessions {
            let known = self.known.get(peer);
            let state = known.map_or(BfdState::Down, |known| known.probe.state);
            let discriminator = known.and_then(|known| known.discriminator);
            plan.want(Here, &sessions::key(*peer), &session.row(state, discriminator));
        }
        for (key, held, route) in self.followed() {
            let next_hops = self.config.rule.next_hops(route, |endpoint| self.probe(endpoint.monitor));
            let state = match (self.config.rule, next_hops.is_empty()) {
                (NextHopRule::Design | NextHopRule::Orchagent, false) => RouteState::Active,
                (NextHopRule::Design, true) => RouteState::Inactive,
                (NextHopRule::Orchagent, true) if !held.was_active => RouteState::Inactive,
                // The route is deleted, and its row with it.
                (NextHopRule::Orchagent, true) => continue,
            };
            let active_endpoints = next_hops.iter().map(|hop| hop.endpoint).collect();
            let key = VnetRouteKey { vnet: key.vnet.clone(), prefix: route.prefix.to_string() };
            plan.want(Here, &key, &VnetRouteTunnelState { active_endpoints, state: Some(state) });
        }
        let mut writes = Vec::new();
        self.rows.diff(&plan, |_| 0, |_, _| false, &mut writes);
        out.extend(writes.into_iter().map(Effect::Write));
    }
}

/// The VIPs whose next hops differ.
fn moves(before: &Forwarding, after: &Forwarding) -> Vec<(Prefix, Vec<NextHop>, Vec<NextHop>)> {
    let prefixes: BTreeSet<Prefix> = before.vips.keys().chain(after.vips.keys()).copied().collect();
    let hops = |forwarding: &Forwarding, prefix: Prefix| {
        forwarding.vips.get(&prefix).map(|vip| vip.next_hops.clone()).unwrap_or_default()
    };
    let moved = prefixes.into_iter().map(|prefix| (prefix, hops(before, prefix), hops(after, prefix)));
    moved.filter(|(_, from, to)| from != to).collect()
}
