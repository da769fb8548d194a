//! What differs between installations: drawn from the seed, and left out one by one where a failure does not need it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use npu_model::NextHopRule;
use schema::PinnedState;

use crate::rng::Rng;
use crate::topology::{DpuRef, Proc, Topology};

/// How an installation differs from the usual one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Switches whose hamgrd runs with `--restart-policy autonomous`.
    pub autonomous: BTreeSet<u8>,
    /// DPUs whose pmon is older and publishes no boot id.
    pub without_boot_id: BTreeSet<DpuRef>,
    /// Switches whose hamgrd runs with `--transport redis`, and their DPUs likewise; the others speak ZMQ.
    pub redis: BTreeSet<u8>,
    /// Switches whose NPU follows the orchagent's rule for next hops; the others follow the HA design's.
    pub orchagents: BTreeSet<u8>,
    /// Switches whose NPU is told to take an endpoint of every VIP, the first or the second, for up or for down.
    pub pins: BTreeMap<u8, (usize, PinnedState)>,
    /// Nobody runs BFD: neither the DPUs nor the switches.
    pub without_bfd: bool,
    /// Everything has an IPv6 address as well: DPUs, NPUs, VIPs.
    pub dual_stack: bool,
}

impl Variant {
    /// Half of the seeds have the usual policy and pmon, two thirds of them the usual transport.
    pub fn draw(rng: &mut Rng, topology: Topology) -> Self {
        let mut variant = Self::default();
        if !rng.chance(500) {
            variant.draw_versions(rng, topology);
        }
        match rng.below(12) {
            0..8 => {}
            8..11 => variant.redis.extend(topology.switches()),
            _ => variant.redis.extend(topology.switches().filter(|_| rng.chance(500))),
        }
        // Where there are many DPUs, most of the events would be BFD packets.
        let per_mille = if topology.dpus == 1 { 200 } else { 900 };
        variant.without_bfd = rng.chance(per_mille);
        if rng.chance(300) {
            variant.orchagents.extend(topology.switches().filter(|_| rng.chance(700)));
        }
        if rng.chance(200) {
            for switch in topology.switches().filter(|_| rng.chance(500)).collect::<Vec<_>>() {
                let pin = if rng.chance(500) { PinnedState::Up } else { PinnedState::Down };
                variant.pins.insert(switch, (usize::from(rng.chance(500)), pin));
            }
        }
        variant.dual_stack = rng.chance(200);
        variant
    }

    /// The IPv6 address of what has that IPv4 address, if it has one.
    pub fn v6(&self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        self.dual_stack.then(|| Topology::v6(address))
    }

    /// The addresses of what has that IPv4 address.
    pub(crate) fn both(&self, address: Ipv4Addr) -> impl Iterator<Item = IpAddr> + use<> {
        std::iter::once(IpAddr::V4(address)).chain(self.v6(address).map(IpAddr::V6))
    }

    fn draw_versions(&mut self, rng: &mut Rng, topology: Topology) {
        let (policies, boot_ids) = (rng.chance(500), rng.chance(600));
        if policies {
            self.autonomous.extend(topology.switches().filter(|_| rng.chance(500)));
        }
        if boot_ids {
            self.without_boot_id.extend(topology.dpus().filter(|_| rng.chance(500)));
        }
    }

    /// What the NPU of a process' switch follows.
    pub(crate) fn rule(&self, proc: Proc) -> NextHopRule {
        match proc {
            Proc::Orchagent(switch) if self.orchagents.contains(&switch) => NextHopRule::Orchagent,
            _ => NextHopRule::Design,
        }
    }

    /// What the NPU of a process' switch takes for up or for down.
    pub(crate) fn pin(&self, proc: Proc) -> Option<(usize, PinnedState)> {
        match proc {
            Proc::Orchagent(switch) => self.pins.get(&switch).copied(),
            _ => None,
        }
    }

    /// Each way to be one step more usual.
    pub fn simpler(&self) -> Vec<Self> {
        let mut simpler = Vec::new();
        for switch in &self.autonomous {
            let mut one = self.clone();
            one.autonomous.remove(switch);
            simpler.push(one);
        }
        for dpu in &self.without_boot_id {
            let mut one = self.clone();
            one.without_boot_id.remove(dpu);
            simpler.push(one);
        }
        for switch in &self.redis {
            let mut one = self.clone();
            one.redis.remove(switch);
            simpler.push(one);
        }
        for switch in &self.orchagents {
            let mut one = self.clone();
            one.orchagents.remove(switch);
            simpler.push(one);
        }
        for switch in self.pins.keys() {
            let mut one = self.clone();
            one.pins.remove(switch);
            simpler.push(one);
        }
        if self.without_bfd {
            simpler.push(Self { without_bfd: false, ..self.clone() });
        }
        if self.dual_stack {
            simpler.push(Self { dual_stack: false, ..self.clone() });
        }
        simpler
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = Vec::new();
        words.extend(self.autonomous.iter().map(|switch| format!("switch{switch} is autonomous")));
        words.extend(self.without_boot_id.iter().map(|dpu| format!("{dpu} publishes no boot id")));
        words.extend(self.redis.iter().map(|switch| format!("switch{switch} speaks through Redis")));
        words.extend(
            self.orchagents.iter().map(|switch| format!("switch{switch}'s NPU follows the orchagent's rule")),
        );
        words.extend(self.pins.iter().map(|(switch, (endpoint, pin))| {
            format!("switch{switch}'s endpoints number {endpoint} are pinned {}", pin.as_str())
        }));
        words.extend(self.without_bfd.then(|| "nobody runs BFD".to_owned()));
        words.extend(self.dual_stack.then(|| "everything has IPv6 as well".to_owned()));
        if words.is_empty() {
            words.push("the usual installation".to_owned());
        }
        f.write_str(&words.join(", "))
    }
}
