//! The traffic of an episode: the witness from its beginning to rest, and the events that it is judged by.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Lab, LabError};
use crate::files::{BFD_INTERVAL_MS, BFD_MULTIPLIER};
use crate::report::Report;
use crate::topology::{Topology, VIP_PORT};
use crate::traffic::{Event, Fall, Loss, judge};
use crate::witness::{Stream, Witness, WitnessError};

/// How long it may take until every stream is answered for the first time.
const FLOW_TIMEOUT: Duration = Duration::from_secs(30);
/// How long BFD takes at most to notice that a DPU is silent.
const DETECTION: Duration = Duration::from_millis(BFD_INTERVAL_MS as u64 * BFD_MULTIPLIER as u64);

/// The traffic of one episode.
#[derive(Debug)]
pub(super) struct Traffic {
    witness: Witness,
    events: Vec<Event>,
}

/// Every VIP through every switch.
fn streams(topology: &Topology) -> Vec<Stream> {
    let through = |switch: u8| {
        let sources = topology.tunnel_sources(switch);
        let npu = move |vip: &IpAddr| sources.iter().find(|npu| npu.is_ipv4() == vip.is_ipv4()).copied();
        let vips = topology.dpus_of(switch).flat_map(|dpu| topology.vips(dpu.slot));
        vips.filter_map(move |vip| Some(Stream { npu: SocketAddr::new(npu(&vip)?, VIP_PORT), vip }))
    };
    topology.switches().flat_map(through).collect()
}

impl Lab {
    /// Begins to send; returns once every stream is answered.
    pub(super) async fn begin_traffic(&mut self) -> Result<(), LabError> {
        let event =
            Event { at: Instant::now(), name: "before anything happens".to_owned(), may_lose: Loss::None };
        let (streams, registry) = (streams(&self.topology), self.session.registry.clone());
        let sockets =
            self.topology.clients().into_iter().map(|address| self.context.network.client_socket(address));
        let sockets = sockets.collect::<std::io::Result<_>>().map_err(WitnessError::Start)?;
        let mut witness = Witness::start(&self.hardware, sockets, streams, registry)?;
        let flowing = timeout(FLOW_TIMEOUT, witness.flowing());
        match self.watch.during(&mut self.session, flowing).await {
            Ok(flowing) => flowing?,
            Err(_) => {
                let what = "every VIP is answered through every switch";
                return Err(self.watch.never(what, event.at).into());
            }
        }
        self.traffic = Some(Traffic { witness, events: vec![event] });
        Ok(())
    }

    /// Something is about to be done to the pair, and what it may do to the traffic. Where a daemon that forwards is killed in
    /// this episode, it may do anything.
    pub fn event(&mut self, name: impl Into<String>, may_lose: Loss) {
        let forwards =
            |victim: &String| ["-swss", "-haorchd", "-redis"].iter().any(|end| victim.ends_with(end));
        let is_any = self.session.victim.as_ref().is_some_and(forwards);
        let may_lose = if is_any { Loss::Any } else { may_lose };
        if let Some(traffic) = &mut self.traffic {
            traffic.events.push(Event { at: Instant::now(), name: name.into(), may_lose });
        }
    }

    /// Nothing more is sent; answers still come in.
    pub(super) fn end_traffic(&self) {
        if let Some(traffic) = &self.traffic {
            traffic.witness.stop();
        }
    }

    /// What happened to the traffic of the episode.
    pub(super) async fn judge_traffic(&mut self, report: &mut Report) -> Result<(), LabError> {
        let Some(Traffic { witness, events }) = self.traffic.take() else { return Ok(()) };
        let record = self.watch.during(&mut self.session, witness.record()).await?;
        let named = |peer: IpAddr| {
            let dpu = self.topology.dpus().find(|dpu| self.topology.data_paths(*dpu).contains(&peer));
            dpu.map_or_else(|| peer.to_string(), |dpu| dpu.to_string())
        };
        let falls = self.session.falls.iter().map(|fall| Fall {
            at: fall.at,
            switch: crate::topology::switch_name(fall.switch),
            dpu: named(fall.dpu),
        });
        let falls: Vec<Fall> = falls.collect();
        for line in judge(&record, &events, &falls, DETECTION) {
            self.session.printer.traffic(&line);
            report.take_traffic(line);
        }
        Ok(())
    }
}
