//! P4 on the NPU: traffic goes where the rows, the pins and the BFD sessions say. What must hold of the next hops under either
//! rule, in the words of `reference/dpu-side.md` 3.4 and 3.5; `core/npu-model` has the tables.

use std::collections::BTreeMap;
use std::net::IpAddr;

use npu_model::{FIRST_UP_MS_MAX, Forwarding, NextHopRule, Prefix, Session};
use reconcile::Time;
use schema::appl_db::{VnetRouteKey, VnetRouteTunnel};
use schema::{BfdState, PinnedState};

/// What an NPU was told of a session.
#[derive(Clone, Copy, Debug)]
struct Told {
    since: Time,
    state: Option<BfdState>,
    /// The last word that was clear: up or down.
    was_up: bool,
    /// It was said to be more than about to come up.
    is_known: bool,
}

/// What an NPU was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Witness {
    rows: BTreeMap<VnetRouteKey, VnetRouteTunnel>,
    sessions: BTreeMap<IpAddr, Told>,
}

/// An endpoint of a row, as the witness sees it.
struct Endpoint {
    address: IpAddr,
    is_preferred: bool,
    pin: PinnedState,
    told: Told,
}

impl Witness {
    /// A row came, or went.
    pub(crate) fn route(&mut self, key: &VnetRouteKey, row: Option<&VnetRouteTunnel>) {
        match row {
            Some(row) => self.rows.insert(key.clone(), row.clone()),
            None => self.rows.remove(key),
        };
    }

    /// A session changed.
    pub(crate) fn session(&mut self, peer: IpAddr, state: Option<BfdState>) {
        let Some(told) = self.sessions.get_mut(&peer) else { return };
        let state = state.unwrap_or(BfdState::Down);
        told.state = Some(state);
        told.is_known |= state != BfdState::Init;
        match state {
            BfdState::Up => told.was_up = true,
            BfdState::Down => told.was_up = false,
            BfdState::Init | BfdState::AdminDown => {}
        }
    }

    /// These sessions are wanted from now on.
    pub(crate) fn wanted(&mut self, now: Time, wanted: &BTreeMap<IpAddr, Session>) {
        self.sessions.retain(|peer, _| wanted.contains_key(peer));
        for peer in wanted.keys() {
            self.sessions.entry(*peer).or_insert(Told {
                since: now,
                state: None,
                was_up: false,
                is_known: false,
            });
        }
    }

    /// Where traffic goes that must not, or does not go that must.
    pub(crate) fn wrong(&self, now: Time, rule: NextHopRule, forwarding: &Forwarding) -> Option<String> {
        self.rows.iter().find_map(|(key, row)| {
            let prefix = Prefix::parse(&key.prefix)?;
            let is_shared = self.rows.keys().filter(|other| other.prefix == key.prefix).count() > 1;
            let endpoints = self.endpoints(row)?;
            let next_hops = &forwarding.vips.get(&prefix)?.next_hops;
            let next_hops: Vec<IpAddr> = next_hops.iter().map(|hop| hop.endpoint).collect();
            if is_shared {
                return None;
            }
            let what = wrong(now, rule, &endpoints, &next_hops)?;
            Some(format!("sends traffic for {prefix} to {next_hops:?}: {what}"))
        })
    }

    /// The endpoints of a row that can be followed; of another, the last that could be counts.
    fn endpoints(&self, row: &VnetRouteTunnel) -> Option<Vec<Endpoint>> {
        let count = row.endpoint.len();
        let is_plain = row.endpoint_monitor.len() == count
            && row.primary.len() == 1
            && count > 1
            && row.monitoring.as_deref() == Some("custom_bfd")
            && (row.pinned_state.is_empty() || row.pinned_state.len() == count);
        let endpoints = row.endpoint.iter().zip(&row.endpoint_monitor).enumerate();
        let endpoints = endpoints.map(|(index, (address, monitor))| {
            Some(Endpoint {
                address: *address,
                is_preferred: row.primary.contains(address),
                pin: row.pinned_state.get(index).copied().unwrap_or(PinnedState::None),
                told: *self.sessions.get(monitor)?,
            })
        });
        is_plain.then(|| endpoints.collect()).flatten()
    }
}

fn wrong(now: Time, rule: NextHopRule, endpoints: &[Endpoint], next_hops: &[IpAddr]) -> Option<String> {
    let is_next = |endpoint: &&Endpoint| next_hops.contains(&endpoint.address);
    let is_up = |endpoint: &&Endpoint| match (endpoint.pin, rule) {
        (PinnedState::Up, _) => true,
        (PinnedState::Down, _) => false,
        (PinnedState::None, NextHopRule::Design) => endpoint.told.state == Some(BfdState::Up),
        (PinnedState::None, NextHopRule::Orchagent) => endpoint.told.was_up,
    };
    if let Some(one) = endpoints.iter().find(|one| one.pin == PinnedState::Down && is_next(one)) {
        return Some(format!("{} is pinned down", one.address));
    }
    let up = endpoints.iter().find(is_up);
    if let (Some(up), Some(one)) = (up, endpoints.iter().find(|one| is_next(one) && !is_up(one))) {
        return Some(format!("{} is down, {} is not", one.address, up.address));
    }
    let preferred = endpoints.iter().find(|one| one.is_preferred)?;
    if is_up(&preferred) && next_hops != [preferred.address] {
        return Some(format!("{} is preferred and up", preferred.address));
    }
    if up.is_some() && next_hops.is_empty() {
        return Some("somebody is up".to_owned());
    }
    if up.is_none() {
        let is_pinned = endpoints.iter().any(|one| one.pin != PinnedState::None);
        let is_told = |one: &Endpoint| one.told.is_known || one.told.since.after_ms(FIRST_UP_MS_MAX) <= now;
        let guesses = rule == NextHopRule::Design && !is_pinned;
        if !guesses && !next_hops.is_empty() {
            return Some("nobody is up".to_owned());
        }
        if guesses && endpoints.iter().all(is_told) && next_hops != [preferred.address] {
            return Some("nobody is up, and the preferred one is as good as any".to_owned());
        }
    }
    None
}
