//! What a fault does to the world, and how it ends.

use schema::LinkState;

use crate::checks::Checks;
use crate::faults::Kind;
use crate::parts::Extra;
use crate::rng::{MS, Micros};
use crate::topology::{DpuRef, Proc, Server};
use crate::world::{Ev, Later, World};

/// How long a shutdown may take before the power goes.
const SHUTDOWN: Micros = 2000 * MS;

impl World {
    fn calm_in(&mut self, wait: Micros) {
        self.calm_after = self.calm_after.max(self.now + wait);
    }

    fn later_in(&mut self, wait: Micros, later: Later) {
        self.calm_in(wait);
        self.after(wait, Ev::Later(later));
    }

    fn boots(&self, dpu: DpuRef) -> u64 {
        self.devices.get(&dpu).map_or(0, |device| device.boots)
    }

    pub(crate) fn fault(&mut self, kind: Kind) {
        self.trace.line(self.now, || format!("FAULT {kind:?}"));
        self.calm_in(0);
        match kind {
            Kind::Crash(proc, wait) => self.crash(proc, wait),
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
            Kind::Planned(dpu, lead, off) => {
                self.admin_down.insert(dpu);
                self.read_fleet();
                let boots = self.boots(dpu);
                self.later_in(lead, Later::Shutdown(dpu, boots, off));
            }
            Kind::Flush(server, db, politely) => self.flush(server, db, politely),
            Kind::RedisRestart(server, down) => {
                self.server_down(server);
                self.later_in(down, Later::ServerUp(server));
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
            Kind::Partition(dpu, length) => {
                let pair = self.topology.first(dpu);
                let until = self.now + length;
                self.partitioned.insert(pair, until);
                self.later_in(length, Later::Healed(pair));
            }
            Kind::Loss(dpu, length) => {
                let pair = self.topology.first(dpu);
                self.lossy.insert(pair);
                self.later_in(length, Later::Lossless(pair));
            }
            Kind::AdminFlap(dpu, length) => {
                self.admin_down.insert(dpu);
                self.read_fleet();
                self.later_in(length, Later::AdminUp(dpu));
            }
        }
    }

    fn crash(&mut self, proc: Proc, wait: Micros) {
        if !self.procs.contains_key(&proc) {
            return;
        }
        self.kill(proc);
        self.calm_in(wait);
        let boots = proc.on_dpu().map_or(0, |dpu| self.boots(dpu));
        match proc {
            // One unit with dpu-dbclean.
            Proc::Haorchd(dpu) => self.after(wait, Ev::Clean(dpu, boots, 0)),
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
        match later {
            Later::ServerUp(server) => {
                if self.servers.get(&server).is_some_and(|redis| !redis.is_up) {
                    self.server_up(server);
                }
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
                self.admin_down.remove(&dpu);
                self.read_fleet();
            }
        }
    }

    /// The databases on a DPU's side that the checks look at.
    pub(crate) fn local_rows(&self, dpu: DpuRef) -> Option<&crate::redis::RedisServer> {
        self.servers.get(&Server::Local(dpu)).filter(|redis| redis.is_up)
    }
}
