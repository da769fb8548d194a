//! What a row of `VNET_ROUTE_TUNNEL_TABLE` says (`reference/dpu-side.md` 3.2).

use std::collections::BTreeSet;
use std::net::IpAddr;

use schema::PinnedState;
use schema::appl_db::{VnetRouteKey, VnetRouteTunnel};
use serde::{Deserialize, Serialize};

use crate::forwarding::{NextHop, Reach};
use crate::prefix::Prefix;

/// The only kind of monitoring that is modelled.
const CUSTOM_BFD: &str = "custom_bfd";

/// Why a row cannot be followed at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RouteProblem {
    /// The key names no prefix.
    #[error("the key names no prefix")]
    NotAPrefix,
    /// There is no endpoint.
    #[error("there is no endpoint")]
    NoEndpoint,
    /// The lists differ in length.
    #[error("there is not one monitor per endpoint")]
    NotOneMonitorPerEndpoint,
    /// The lists differ in length.
    #[error("there is not one pin per monitor")]
    NotOnePinPerMonitor,
    /// The primaries are not monitored.
    #[error("there are primaries but no monitors")]
    PrimaryWithoutMonitors,
    /// Some primaries are neighbours, some are not.
    #[error("some primaries are directly connected, others are not")]
    MixedPrimary,
    /// Not modelled.
    #[error("monitoring is not {CUSTOM_BFD}")]
    OtherMonitoring,
}

/// An endpoint of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) next_hop: NextHop,
    pub(crate) monitor: Option<IpAddr>,
    pub(crate) pin: PinnedState,
    pub(crate) is_primary: bool,
}

/// A row that can be followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    pub(crate) prefix: Prefix,
    /// In the order of the row; all primary where the row names no primary.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) rx_interval_ms: Option<u32>,
    pub(crate) tx_interval_ms: Option<u32>,
}

impl Route {
    /// Reads a row, given who is a neighbour.
    pub(crate) fn read(
        key: &VnetRouteKey,
        row: &VnetRouteTunnel,
        neighbours: &BTreeSet<IpAddr>,
    ) -> Result<Self, RouteProblem> {
        let prefix = Prefix::parse(&key.prefix).ok_or(RouteProblem::NotAPrefix)?;
        if row.endpoint.is_empty() {
            return Err(RouteProblem::NoEndpoint);
        }
        if row.endpoint_monitor.is_empty() {
            if !row.primary.is_empty() {
                return Err(RouteProblem::PrimaryWithoutMonitors);
            }
        } else if row.monitoring.as_deref() != Some(CUSTOM_BFD) {
            return Err(RouteProblem::OtherMonitoring);
        } else if row.endpoint_monitor.len() != row.endpoint.len() {
            return Err(RouteProblem::NotOneMonitorPerEndpoint);
        }
        if !row.pinned_state.is_empty() && row.pinned_state.len() != row.endpoint_monitor.len() {
            return Err(RouteProblem::NotOnePinPerMonitor);
        }
        let endpoints = row.endpoint.iter().enumerate().map(|(index, endpoint)| {
            let is_local = row.check_directly_connected && neighbours.contains(endpoint);
            let reach = if is_local { Reach::Direct } else { Reach::Tunnel };
            Endpoint {
                next_hop: NextHop { endpoint: *endpoint, reach },
                monitor: row.endpoint_monitor.get(index).copied(),
                pin: row.pinned_state.get(index).copied().unwrap_or(PinnedState::None),
                is_primary: row.primary.is_empty() || row.primary.contains(endpoint),
            }
        });
        let endpoints: Vec<Endpoint> = endpoints.collect();
        let reaches: BTreeSet<Reach> =
            endpoints.iter().filter(|one| one.is_primary).map(|one| one.next_hop.reach).collect();
        if !row.primary.is_empty() && row.check_directly_connected && reaches.len() > 1 {
            return Err(RouteProblem::MixedPrimary);
        }
        let (rx_interval_ms, tx_interval_ms) = (row.rx_monitor_timer_ms, row.tx_monitor_timer_ms);
        Ok(Self { prefix, endpoints, rx_interval_ms, tx_interval_ms })
    }

    /// The DPU of this chassis that takes what comes out of a tunnel: the first.
    pub(crate) fn terminates_at(&self) -> Option<IpAddr> {
        let hops = self.endpoints.iter().map(|endpoint| endpoint.next_hop);
        hops.into_iter().find(|hop| hop.reach == Reach::Direct).map(|hop| hop.endpoint)
    }
}
