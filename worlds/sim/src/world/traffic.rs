//! The traffic witness: packets for VIPs through NPUs and DPUs as they are at one instant. Mirrors
//! `worlds/npu-swss-model/src/forward.rs` and `apps/haorchd/src/asic/data_path.rs`.
//!
//! Whoever answers must serve, whoever passes on must be a standby (P4); at rest every packet is answered, by the side that is
//! active (P1).

use asic_model::{Fate, Leg, VipPacket};
use npu_model::{NextHop, Reach};
use schema::AsicHaState;

use super::*;

/// Between two packets for a VIP through each of its switches.
const INTERVAL: Micros = 500 * MS;
/// More hops than any packet needs: client, network, tunnel, DPU, relay, answer.
const HOPS_MAX: u32 = 8;
/// The port of everybody who forwards, and of the client.
const PORT: u16 = 4789;
const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 1)), PORT);

/// Where a packet is.
#[derive(Clone, Copy, Debug)]
enum At {
    Npu(u8),
    Dpu(DpuRef),
}

/// What becomes of a packet at one place.
enum Next {
    To(At, VipPacket),
    Answered,
    Lost(&'static str),
}

impl World {
    /// Packets for every VIP through each of its switches.
    pub(crate) fn witness(&mut self) {
        if self.variant.without_bfd || !self.now.is_multiple_of(INTERVAL) {
            return;
        }
        let is_at_rest = self.writes_seen.is_some();
        for pair in self.topology.pairs() {
            for switch in [pair.switch, self.topology.peer(pair).switch] {
                for vip in self.variant.both(Topology::vip(pair)) {
                    match self.carry(pair, vip, switch) {
                        Err(what) => self.checks.fail(what),
                        Ok(Err(why)) if is_at_rest => {
                            let what = format!(
                                "P1 {pair}'s VIP {vip} through switch{switch} is not answered: {why}"
                            );
                            self.checks.fail(what);
                        }
                        Ok(_) => {}
                    }
                }
            }
        }
    }

    /// At rest: why packets for a pair's VIP are not answered by the side that is active.
    pub(crate) fn unanswered(&self, pair: DpuRef) -> Option<String> {
        if self.variant.without_bfd {
            return None;
        }
        let switches = [pair.switch, self.topology.peer(pair).switch];
        let vips = self.variant.both(Topology::vip(pair));
        let mut ways = vips.flat_map(|vip| switches.map(|switch| (vip, switch)));
        ways.find_map(|(vip, switch)| {
            let why = match self.carry(pair, vip, switch) {
                Ok(Ok(dpu)) if self.is_in(dpu, |state| state == AsicHaState::Active) => return None,
                Ok(Ok(dpu)) => format!("answered by {dpu}, which is not active"),
                Ok(Err(why)) => why.to_owned(),
                Err(what) => what,
            };
            Some(format!("P1 {pair}'s VIP {vip} through switch{switch} is not served: {why}"))
        })
    }

    fn is_in(&self, dpu: DpuRef, is_so: impl Fn(AsicHaState) -> bool) -> bool {
        let asic = self.devices.get(&dpu).and_then(|device| device.asic.as_ref());
        asic.is_some_and(|asic| asic.model.scopes().any(|(_, state, _)| is_so(state)))
    }

    /// Who answers a packet for a VIP of a pair that enters through a switch, or why nobody does; fails where somebody does what it
    /// must not.
    fn carry(&self, pair: DpuRef, vip: IpAddr, switch: u8) -> Result<Result<DpuRef, &'static str>, String> {
        let number = self.now / INTERVAL;
        let mut packet = VipPacket::new(vip, number);
        let mut at = At::Npu(switch);
        for _ in 0..HOPS_MAX {
            // Over the wire it goes as bytes.
            let Some(read) = VipPacket::decode(&packet.encode()).filter(|read| *read == packet) else {
                return Err(format!("P1 a packet for a VIP is not read as it was written: {packet:?}"));
            };
            let next = match at {
                At::Npu(switch) => self.through_npu(pair, switch, read),
                At::Dpu(dpu) => self.through_dpu(dpu, read)?,
            };
            match next {
                Next::To(to, sent) => (at, packet) = (to, sent),
                Next::Lost(why) => return Ok(Err(why)),
                Next::Answered => {
                    let by = self
                        .dpu_at(packet.served_by)
                        .filter(|_| (packet.client, packet.number) == (CLIENT, number));
                    return by.map(Ok).ok_or_else(|| format!("P4 nobody's answer: {packet:?}"));
                }
            }
        }
        Err(format!("P4 a packet for {pair}'s VIP {vip} goes round and round: {packet:?}"))
    }

    fn dpu_at(&self, address: IpAddr) -> Option<DpuRef> {
        self.topology.by_data_path(address)
    }

    fn through_npu(&self, pair: DpuRef, switch: u8, packet: VipPacket) -> Next {
        let own = SocketAddr::new(IpAddr::V4(Topology::npu(switch)), PORT);
        let is_first = packet.client.port() == 0;
        let packet = VipPacket { client: if is_first { CLIENT } else { packet.client }, ..packet };
        let Some(forwarding) = self.forwarding.get(&switch) else {
            return Next::Lost("an NPU knows nothing");
        };
        let to_dpu = |address: IpAddr| match self.dpu_at(address) {
            Some(dpu) if self.panel_passes(switch, dpu) => {
                Next::To(At::Dpu(dpu), VipPacket { leg: Leg::Dpu, npu: own, ..packet })
            }
            Some(_) | None => Next::Lost("nobody is there"),
        };
        match packet.leg {
            Leg::Client => match forwarding.next_hop(packet.vip, packet.number) {
                Some(NextHop { endpoint, reach: Reach::Direct }) => to_dpu(endpoint),
                Some(NextHop { endpoint, reach: Reach::Tunnel }) => match self.topology.by_npu(endpoint) {
                    Some(to) => Next::To(At::Npu(to), VipPacket { leg: Leg::Tunnel, ..packet }),
                    None => Next::Lost("a tunnel to nowhere"),
                },
                // The network takes it to the other switch.
                None if is_first => {
                    let peer = self.topology.peer(pair);
                    let other = if switch == pair.switch { peer.switch } else { pair.switch };
                    Next::To(At::Npu(other), packet)
                }
                None => Next::Lost("there is no next hop"),
            },
            Leg::Tunnel => match forwarding.terminates_at(packet.vip) {
                Some(dpu) => to_dpu(dpu),
                None => Next::Lost("a tunnel ends at no DPU"),
            },
            Leg::Answer => Next::Answered,
            Leg::Dpu | Leg::Relay => Next::Lost("not for an NPU"),
        }
    }

    fn through_dpu(&self, dpu: DpuRef, packet: VipPacket) -> Result<Next, String> {
        let asic = self.devices.get(&dpu).and_then(|device| device.asic.as_ref());
        let Some(asic) = asic else { return Ok(Next::Lost("its DPU does not run")) };
        let states = || asic.model.scopes().map(|(_, state, _)| state).collect::<Vec<_>>();
        match asic.model.fate(packet.vip, packet.leg == Leg::Relay) {
            Fate::Served { by } => {
                // One that goes away serves until its peer has taken over.
                let may_serve = |state: AsicHaState| state.decides() || state == AsicHaState::Destroying;
                if self.dpu_at(by) != Some(dpu) || !self.is_in(dpu, may_serve) {
                    return Err(format!("P4 {dpu} answers as {by} and is {:?}", states()));
                }
                let Some(switch) = self.topology.by_npu(packet.npu.ip()) else {
                    return Ok(Next::Lost("no NPU to answer through"));
                };
                if !self.panel_passes(switch, dpu) {
                    return Ok(Next::Lost("the answer does not get back"));
                }
                let answer = VipPacket { leg: Leg::Answer, served_by: by, ..packet };
                Ok(Next::To(At::Npu(switch), answer))
            }
            Fate::Relayed { from, to } => {
                let is_standby = self.is_in(dpu, |state| state == AsicHaState::Standby);
                if self.dpu_at(from) != Some(dpu) || !is_standby || packet.leg == Leg::Relay {
                    return Err(format!("P4 {dpu} relays as {from} to {to} and is {:?}", states()));
                }
                match self.dpu_at(to) {
                    Some(peer) if !self.partitioned.contains_key(&self.topology.first(dpu)) => {
                        Ok(Next::To(At::Dpu(peer), VipPacket { leg: Leg::Relay, ..packet }))
                    }
                    Some(_) | None => Ok(Next::Lost("the peer is not reached")),
                }
            }
            Fate::Dropped => Ok(Next::Lost("its DPU drops it")),
        }
    }
}
