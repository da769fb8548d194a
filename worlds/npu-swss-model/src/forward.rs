//! The data path: packets for VIPs from clients go to the next hop in force, those out of a tunnel to the DPU of this chassis,
//! answers back to their client.
//!
//! A VIP without a next hop is not announced to the network, so packets for it are routed as any other, once: to the switch that
//! does announce it.
//!
//! It makes no decision: [`Forwarding`] says where to. What it does with each packet is counted.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use asic_model::{Leg, NOBODY, VIP_PACKET_BYTES, VipPacket};
use npu_model::{Forwarding, NextHop, Reach};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use shell::Metrics;
use tokio::net::UdpSocket;
use tokio::sync::watch;

/// Longer than any packet of ours, so that a longer one is seen to be none.
const BYTES_READ: usize = VIP_PACKET_BYTES + 1;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Outcome {
    ToDpu,
    IntoTunnel,
    OutOfTunnel,
    ToNetwork,
    Answered,
    /// Dropped: the VIP has no next hop here, and came from the network already.
    NoNextHop,
    /// Dropped: it came out of a tunnel, and no DPU of this chassis takes it.
    NoLocalDpu,
    /// Dropped: it is none of ours, or none that is sent to an NPU.
    NotOurs,
    /// Dropped: it could not be sent.
    NotSent,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: Outcome,
}

/// What is done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Send { to: SocketAddr, leg: Leg, outcome: Outcome },
    Drop(Outcome),
}

/// The sockets, and where packets go.
pub struct Forwarder {
    sockets: Vec<(SocketAddr, UdpSocket)>,
    uplinks: Vec<SocketAddr>,
    in_force: watch::Receiver<Forwarding>,
    packets: Family<OutcomeLabel, Counter>,
}

impl Forwarder {
    /// Listens at these addresses. The network is at `uplinks`, at most one of each family.
    pub fn bind(
        addresses: &[SocketAddr],
        uplinks: &[SocketAddr],
        in_force: watch::Receiver<Forwarding>,
        metrics: &Metrics,
    ) -> std::io::Result<Self> {
        let mut sockets = Vec::new();
        for address in addresses {
            let socket = std::net::UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            sockets.push((*address, UdpSocket::from_std(socket)?));
        }
        let packets = Family::default();
        metrics.register(|registry| {
            registry.register("vip_packets", "Packets for VIPs, by what became of them", packets.clone());
        });
        Ok(Self { sockets, uplinks: uplinks.to_vec(), in_force, packets })
    }

    /// Forwards from now on, as long as the process lives.
    pub fn start(self) {
        let this = Arc::new(self);
        for index in 0..this.sockets.len() {
            tokio::spawn(Arc::clone(&this).serve(index));
        }
    }

    async fn serve(self: Arc<Self>, index: usize) {
        let Some((local, socket)) = self.sockets.get(index) else { return };
        let mut buffer = [0; BYTES_READ];
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok((length, from)) => {
                    let outcome = match buffer.get(..length).and_then(VipPacket::decode) {
                        Some(packet) => self.forward(packet, from, local.port()).await,
                        None => Outcome::NotOurs,
                    };
                    tracing::trace!(%local, %from, ?outcome, "packet");
                    self.packets.get_or_create(&OutcomeLabel { outcome }).inc();
                }
                // Such as a neighbour's refusal of an earlier packet.
                Err(error) => tracing::debug!(%local, %error, "cannot receive"),
            }
        }
    }

    async fn forward(&self, packet: VipPacket, from: SocketAddr, port: u16) -> Outcome {
        // Whoever handed it on named the client.
        let client = if packet.client == NOBODY { from } else { packet.client };
        let (to, leg, outcome) = match self.verdict(&packet, client, port) {
            Verdict::Send { to, leg, outcome } => (to, leg, outcome),
            Verdict::Drop(outcome) => return outcome,
        };
        let sending = self.sockets.iter().find(|(address, _)| address.is_ipv4() == to.is_ipv4());
        let Some((npu, socket)) = sending else { return Outcome::NotSent };
        let npu = if leg == Leg::Dpu { *npu } else { packet.npu };
        let packet = VipPacket { leg, client, npu, ..packet };
        match socket.send_to(&packet.encode(), to).await {
            Ok(_) => outcome,
            Err(error) => {
                tracing::debug!(%to, %error, "cannot send; the packet is lost");
                Outcome::NotSent
            }
        }
    }

    fn verdict(&self, packet: &VipPacket, client: SocketAddr, port: u16) -> Verdict {
        let uplink = self.uplinks.iter().find(|uplink| uplink.is_ipv4() == client.is_ipv4());
        verdict(&self.in_force.borrow(), packet, client, port, uplink.copied())
    }
}

/// NPUs, DPUs and their peers all listen at one port.
fn verdict(
    forwarding: &Forwarding,
    packet: &VipPacket,
    client: SocketAddr,
    port: u16,
    uplink: Option<SocketAddr>,
) -> Verdict {
    let send = |to: IpAddr, leg, outcome| Verdict::Send { to: SocketAddr::new(to, port), leg, outcome };
    let is_first = packet.client == NOBODY;
    match packet.leg {
        Leg::Client => match (forwarding.next_hop(packet.vip, flow(client)), uplink) {
            (Some(NextHop { endpoint, reach: Reach::Direct }), _) => send(endpoint, Leg::Dpu, Outcome::ToDpu),
            (Some(NextHop { endpoint, reach: Reach::Tunnel }), _) => {
                send(endpoint, Leg::Tunnel, Outcome::IntoTunnel)
            }
            (None, Some(to)) if is_first => {
                Verdict::Send { to, leg: Leg::Client, outcome: Outcome::ToNetwork }
            }
            (None, _) => Verdict::Drop(Outcome::NoNextHop),
        },
        Leg::Tunnel => match forwarding.terminates_at(packet.vip) {
            Some(dpu) => send(dpu, Leg::Dpu, Outcome::OutOfTunnel),
            None => Verdict::Drop(Outcome::NoLocalDpu),
        },
        Leg::Answer => Verdict::Send { to: packet.client, leg: Leg::Answer, outcome: Outcome::Answered },
        // Nobody sends these to an NPU.
        Leg::Dpu | Leg::Relay => Verdict::Drop(Outcome::NotOurs),
    }
}

/// Packets of one client share a next hop.
fn flow(client: SocketAddr) -> u64 {
    let mut hasher = DefaultHasher::new();
    client.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
