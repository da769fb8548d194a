//! The modelled data path: packets for VIPs come in, and are served, relayed or dropped as the model's state says.
//!
//! It makes no decision: [`AsicModel::fate`] does.

use std::io::ErrorKind;
use std::net::SocketAddr;

use asic_model::{AsicModel, Fate, Leg, VIP_PACKET_BYTES, VipPacket};
use tokio::net::UdpSocket;

/// How many packets are taken in at once from one socket. More wait in the kernel.
const PACKETS_MAX: usize = 256;

/// Longer than any packet of ours, so that a longer one is seen to be none.
const BYTES_READ: usize = VIP_PACKET_BYTES + 1;

/// The sockets at which packets for VIPs come in.
#[derive(Default)]
pub(super) struct DataPath {
    sockets: Vec<(SocketAddr, UdpSocket)>,
}

impl DataPath {
    pub(super) fn bind(addresses: &[SocketAddr]) -> std::io::Result<Self> {
        let bound = addresses.iter().map(|address| Ok((*address, super::bind(*address)?)));
        Ok(Self { sockets: bound.collect::<std::io::Result<_>>()? })
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = &UdpSocket> + Clone {
        self.sockets.iter().map(|(_, socket)| socket)
    }

    /// Does what the model says with every packet that has come in.
    pub(super) fn forward(&self, model: &AsicModel) {
        let mut buffer = [0; BYTES_READ];
        for (local, socket) in &self.sockets {
            for _ in 0..PACKETS_MAX {
                match socket.try_recv_from(&mut buffer) {
                    Ok((length, from)) => match buffer.get(..length).and_then(VipPacket::decode) {
                        Some(packet) => self.forward_one(model, *local, packet),
                        None => tracing::debug!(%local, %from, "not a packet for a VIP"),
                    },
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // Such as an NPU's refusal of an earlier answer.
                    Err(error) => tracing::debug!(%local, %error, "cannot receive"),
                }
            }
        }
    }

    fn forward_one(&self, model: &AsicModel, local: SocketAddr, packet: VipPacket) {
        let was_relayed = match packet.leg {
            Leg::Dpu => false,
            Leg::Relay => true,
            // Nobody sends these to a DPU.
            Leg::Client | Leg::Tunnel | Leg::Answer => return,
        };
        let (to, packet) = match model.fate(packet.vip, was_relayed) {
            Fate::Served { by } => (packet.npu, VipPacket { leg: Leg::Answer, served_by: by, ..packet }),
            // The peer listens at the same port as we do.
            Fate::Relayed { to, .. } => {
                (SocketAddr::new(to, local.port()), VipPacket { leg: Leg::Relay, ..packet })
            }
            Fate::Dropped => return,
        };
        // From an address of the receiver's family: a HA set is of one, its VIPs of both.
        let from = self.sockets.iter().find(|(address, _)| address.is_ipv4() == to.is_ipv4());
        let Some((_, socket)) = from else { return };
        if let Err(error) = socket.try_send_to(&packet.encode(), to) {
            tracing::debug!(%to, %error, "cannot send; the packet is lost");
        }
    }
}
