//! What a fault does to the world, and how it ends.

mod fleet;
mod strangers;

pub(crate) use strangers::STRANGE_KEY;

use std::collections::BTreeMap;

use schema::{Db, LinkState};

use crate::checks::Checks;
use crate::configuration::MULTIPLIER;
use crate::faults::Kind;
use crate::parts::Extra;
use crate::rng::{MS, Micros};
use crate::topology::{DpuRef, Machine, Proc, Server};
use crate::world::{Ev, Later, PROBE_INTERVAL, World};

/// How long a shutdown may take before the power goes.
const SHUTDOWN: Micros = 2000 * MS;

/// How long a controller waits at first before it writes again what somebody undoes.
const FIRST_WAIT: Micros = 500 * MS;

/// How long a link that is to break waits for pieces that it can break at.
const LINK_DOOM: Micros = 4000 * MS;

/// What lasts until then lasts no shorter than it was to.
fn extend<K: Ord>(lasting: &mut BTreeMap<K, Micros>, key: K, until: Micros) {
    let known = lasting.entry(key).or_default();
    *known = until.max(*known);
}

impl World {
    fn calm_in(&mut self, wait: Micros) {
        self.calm_after = self.calm_after.max(self.now + wait);
    }

    pub(crate) fn later_in(&mut self, wait: Micros, later: Later) {
        self.calm_in(wait);
        self.after(wait, Ev::Later(later));
    }

    fn boots(&self, dpu: DpuRef) -> u64 {
        self.devices.get(&dpu).map_or(0, |device| device.boots)
    }

    pub(crate) fn fault(&mut self, kind: Kind) {
        let before = self.calm_after;
        self.calm_after = 0;
        self.damage(kind);
        // A restart alone is no trouble to anybody else, and who says what he should not is none to anybody.
        if kind.is_trouble() {
            self.trouble_ends = self.trouble_ends.max(self.calm_after);
        }
        self.calm_after = self.calm_after.max(before);
    }

    fn damage(&mut self, kind: Kind) {
        self.trace.line(self.now, || format!("FAULT {kind:?}"));
        self.calm_in(0);
        Checks::fault(self, kind);
        match kind {
            Kind::Crash(proc, wait) => self.crash(proc, wait),
            Kind::CrashAfter(proc, writes, wait) => {
                self.calm_in(wait);
                if let Some(process) = self.procs.get_mut(&proc) {
                    process.doomed = Some((writes, wait));
                }
            }
            Kind::LoseAnswer(proc, operations) => {
                if let Some(process) = self.procs.get_mut(&proc) {
                    process.unanswered = Some(operations);
                }
            }
            Kind::Pause(proc, length) => {
                self.calm_in(length);
                let until = self.now + length;
                if let Some(process) = self.procs.get_mut(&proc) {
                    process.paused_until = process.paused_until.max(until);
                }
            }
            Kind::Slow(proc, extra, length) => {
                self.calm_in(length + extra);
                let until = self.now + length;
                if let Some(process) = self.procs.get_mut(&proc) {
                    process.slow = extra;
                    process.slow_until = until;
                }
            }
            Kind::Cut(proc, which) => {
                let clients =
                    self.procs.get(&proc).map(|process| process.clients.clone()).unwrap_or_default();
                let at = usize::try_from(which % (clients.len() as u64).max(1)).unwrap_or_default();
                if let Some(id) = clients.get(at).copied() {
                    let port = self.clients.get(&id).map(|client| (client.proc, client.port));
                    self.cut_clients(|client| Some((client.proc, client.port)) == port);
                }
            }
            Kind::Restart(dpu, off) => {
                self.power_off(dpu);
                self.calm_in(off);
                self.after(off, Ev::Boot(dpu));
            }
            Kind::RestartTwice(dpu, off, on, off_again) => {
                self.power_off(dpu);
                self.calm_in(off);
                self.after(off, Ev::Boot(dpu));
                self.later_in(off + on, Later::Again(dpu, off_again));
            }
            Kind::Planned(dpu, lead, off) => {
                self.intent.off.insert(dpu);
                self.read_fleet();
                let boots = self.boots(dpu);
                self.later_in(lead, Later::Shutdown(dpu, boots, off));
            }
            Kind::Flush(server, db, politely) => self.flush(server, db, politely),
            Kind::RedisRestart(server, down, keeps) => {
                self.server_down(server, keeps);
                self.later_in(down, Later::ServerUp(server, keeps));
            }
            Kind::ConfigLoss(switch, length) => {
                self.flush(Server::Host(switch), Db::ConfigDb, false);
                self.later_in(length, Later::ConfigLoaded(switch));
            }
            Kind::LocalLoss(dpu, length) => {
                self.lose_local(dpu);
                self.later_in(length, Later::LocalStated(dpu));
            }
            Kind::ProbesLost(dpu, probes) => {
                self.calm_in(PROBE_INTERVAL * u64::from(probes));
                self.unprobed.insert(dpu, probes);
            }
            Kind::Midplane(dpu, length, cuts) => {
                self.midplane(dpu, false, cuts);
                self.later_in(length, Later::MidplaneUp(dpu));
            }
            Kind::ControlPlane(dpu, length) => {
                self.system_ready(dpu, LinkState::Down);
                let boots = self.boots(dpu);
                self.later_in(length, Later::ControlUp(dpu, boots));
            }
            Kind::DataPlane(dpu, length) => {
                self.port(dpu, LinkState::Down);
                let boots = self.boots(dpu);
                self.later_in(length, Later::PortUp(dpu, boots));
            }
            Kind::LinkBreaks(dpu, pieces) => {
                for wire in self.wires_of(dpu) {
                    if pieces == 0 {
                        self.break_wire(wire);
                    } else if let Some(wire) = self.wires.get_mut(&wire) {
                        wire.breaks_after = Some(pieces);
                    }
                }
                self.calm_in(LINK_DOOM);
            }
            Kind::BlackHole(dpu, length) => {
                self.calm_in(length);
                extend(&mut self.black_holes, dpu, self.now + length);
            }
            Kind::Stranger(dpu, speech, stay) => self.visit(dpu, speech, stay),
            Kind::Impostor(dpu, speech, away) => {
                self.crash(Proc::Haorchd(dpu), away);
                self.impersonate(dpu, speech);
                self.later_in(away, Later::ImpostorEnds(dpu));
            }
            Kind::PanelCut(switch, dpu, length) => {
                self.calm_in(length);
                extend(&mut self.panel_cuts, (switch, dpu), self.now + length);
            }
            Kind::PanelLoss(dpu, length) => {
                self.calm_in(length);
                extend(&mut self.panel_losses, dpu, self.now + length);
            }
            Kind::Noise(dpu, length) => {
                self.calm_in(length);
                if !self.noises.contains_key(&dpu) {
                    self.after(0, Ev::Noise(dpu));
                }
                extend(&mut self.noises, dpu, self.now + length);
            }
            Kind::Partition(dpu, length) => self.partition(dpu, length),
            Kind::RestartApart(dpu, length, wait, off) => {
                self.partition(dpu, length);
                self.later_in(wait, Later::Again(dpu, off));
            }
            Kind::Loss(dpu, length) => {
                let pair = self.topology.first(dpu);
                self.lossy.insert(pair);
                self.later_in(length, Later::Lossless(pair));
            }
            Kind::Jumble(dpu, length) => {
                let pair = self.topology.first(dpu);
                self.jumbled.insert(pair);
                self.later_in(length, Later::Ordered(pair));
            }
            Kind::AdminFlap(dpu, length) => {
                self.intent.off.insert(dpu);
                self.read_fleet();
                self.later_in(length, Later::AdminUp(dpu));
            }
            Kind::Swap(dpu) => {
                let pair = self.topology.first(dpu);
                if !self.intent.swapped.remove(&pair) {
                    self.intent.swapped.insert(pair);
                }
                self.read_fleet();
            }
            Kind::Retire(dpu, length) => {
                let pair = self.topology.first(dpu);
                self.intent.retired.insert(pair);
                self.read_fleet();
                self.later_in(length, Later::Restored(pair));
            }
            Kind::Unnamed(dpu, length) => {
                self.intent.unnamed.insert(dpu);
                self.read_fleet();
                self.later_in(length, Later::Named(dpu));
            }
            Kind::Without(switch, length) => {
                self.intent.without.insert(switch);
                self.read_fleet();
                self.later_in(length, Later::With(switch));
            }
            Kind::Misread(blunder) => self.misread_fleet(blunder),
            Kind::Refused(switch, writes) => self.refuse_controller(switch, writes),
            Kind::StoreFails(records) => self.failing_commits += records,
            Kind::Retime(switch) => {
                *self.multipliers.entry(switch).or_insert(MULTIPLIER) += 1;
                self.load_config(switch);
            }
            Kind::ControllerCut(switch, length) => {
                let until = self.now + length;
                self.unreachable.insert(switch, until);
                self.cut_clients(|client| {
                    client.proc.machine() == Machine::Controller && client.server.switch() == switch
                });
                self.later_in(length, Later::Reachable(switch));
            }
            Kind::Rival(length, knows) => {
                self.rival_records = if knows { self.records.clone() } else { BTreeMap::new() };
                self.start(Proc::Rival, 0);
                Checks::controllers_disturbed(self);
                self.later_in(length, Later::RivalEnds);
                // What it undid is written again after a wait that has doubled as long as it was there.
                self.calm_in(length + (length + FIRST_WAIT) * 3 / 2 + FIRST_WAIT);
            }
            Kind::Clock(machine, by_ms) => *self.clocks.entry(machine).or_default() += by_ms,
            Kind::SaiFails(dpu, calls) => {
                if let Some(asic) = self.devices.get_mut(&dpu).and_then(|device| device.asic.as_mut()) {
                    asic.failing += calls;
                }
            }
            Kind::Meddle(server, table, how, pick, undone) => self.meddle(server, table, how, pick, undone),
        }
    }

    /// No fault is to come any more: what still waits for its moment is called off.
    pub(crate) fn spare(&mut self) {
        for process in self.procs.values_mut() {
            (process.doomed, process.unanswered) = (None, None);
        }
        for wire in self.wires.values_mut() {
            wire.breaks_after = None;
        }
        self.failing_commits = 0;
        for switch in self.topology.switches() {
            self.refuse_controller(switch, 0);
        }
    }

    fn partition(&mut self, dpu: DpuRef, length: Micros) {
        let pair = self.topology.first(dpu);
        let until = self.now + length;
        self.partitioned.insert(pair, until);
        self.later_in(length, Later::Healed(pair));
    }

    pub(crate) fn crash(&mut self, proc: Proc, wait: Micros) {
        if !self.procs.contains_key(&proc) {
            return;
        }
        self.kill(proc);
        self.calm_in(wait);
        self.trouble_ends = self.trouble_ends.max(self.now + wait);
        let boots = proc.on_dpu().map_or(0, |dpu| self.boots(dpu));
        match proc {
            // One unit with dpu-dbclean.
            Proc::Haorchd(dpu) => self.after(wait, Ev::Clean(dpu, boots, 0)),
            Proc::Rival => {}
            Proc::Controller | Proc::Hamgrd(_) | Proc::PmonNpu(_) | Proc::PmonDpu(_) | Proc::Orchagent(_) => {
                self.after(wait, Ev::Start(proc, boots))
            }
        }
    }

    fn is_in_boot(&self, dpu: DpuRef, boot: u64) -> bool {
        self.devices.get(&dpu).is_some_and(|device| device.is_on && device.boots == boot)
    }

    pub(crate) fn later(&mut self, later: Later) {
        self.trace.line(self.now, || format!("LATER {later:?}"));
        self.calm_in(0);
        if !matches!(later, Later::Again(..)) {
            self.trouble_ends = self.trouble_ends.max(self.now);
        }
        match later {
            Later::ServerUp(server, keeps) => {
                if self.servers.get(&server).is_some_and(|redis| !redis.is_up) {
                    self.server_up(server, keeps);
                }
            }
            Later::ConfigLoaded(switch) => self.load_config(switch),
            Later::LocalStated(dpu) => self.state_local(dpu),
            Later::TakenBack(server, table) => {
                self.take_back(server, table);
                Checks::meddled(self, server, table);
            }
            Later::Again(dpu, off) => {
                self.power_off(dpu);
                self.calm_in(off);
                self.after(off, Ev::Boot(dpu));
            }
            Later::Ordered(pair) => {
                self.jumbled.remove(&pair);
            }
            Later::Restored(pair) => {
                self.intent.retired.remove(&pair);
                self.read_fleet();
            }
            Later::Named(dpu) => {
                self.intent.unnamed.remove(&dpu);
                self.read_fleet();
            }
            Later::With(switch) => {
                self.intent.without.remove(&switch);
                self.read_fleet();
            }
            Later::Reachable(switch) => {
                // Another cut may have begun meanwhile.
                if self.unreachable.get(&switch).is_some_and(|until| *until <= self.now) {
                    self.unreachable.remove(&switch);
                    Checks::controllers_disturbed(self);
                }
            }
            Later::RivalEnds => {
                self.kill(Proc::Rival);
                Checks::controllers_disturbed(self);
            }
            Later::MidplaneUp(dpu) => {
                let is_on = self.devices.get(&dpu).is_some_and(|device| device.is_on);
                self.midplane(dpu, is_on, false);
            }
            Later::ControlUp(dpu, boot) => {
                if self.is_in_boot(dpu, boot) {
                    self.system_ready(dpu, LinkState::Up);
                }
            }
            Later::PortUp(dpu, boot) => {
                if self.is_in_boot(dpu, boot) {
                    self.port(dpu, LinkState::Up);
                }
            }
            Later::ImpostorEnds(dpu) => self.impostor_ends(dpu),
            Later::Healed(pair) => {
                // Another partition may have begun meanwhile.
                if self.partitioned.get(&pair).is_some_and(|until| *until <= self.now) {
                    self.partitioned.remove(&pair);
                    Checks::healed(self, pair);
                }
            }
            Later::Lossless(pair) => {
                self.lossy.remove(&pair);
                Checks::healed(self, pair);
            }
            Later::Shutdown(dpu, boot, off) => {
                if !self.is_in_boot(dpu, boot) {
                    // It went another way; the fleet takes it back.
                    self.later_in(off, Later::AdminUp(dpu));
                    return;
                }
                self.extra(Proc::PmonDpu(dpu), Extra::Stop);
                self.later_in(SHUTDOWN, Later::PowerOff(dpu, boot, off));
            }
            Later::PowerOff(dpu, boot, off) => {
                if self.is_in_boot(dpu, boot) {
                    self.power_off(dpu);
                    self.after(off, Ev::Boot(dpu));
                }
                let wait = off + self.rng.between(0, 4000 * MS);
                self.later_in(wait, Later::AdminUp(dpu));
            }
            Later::AdminUp(dpu) => {
                self.intent.off.remove(&dpu);
                self.read_fleet();
            }
        }
    }

    /// The databases on a DPU's side that the checks look at.
    pub(crate) fn local_rows(&self, dpu: DpuRef) -> Option<&crate::redis::RedisServer> {
        self.servers.get(&Server::Local(dpu)).filter(|redis| redis.is_up)
    }
}
