//! What goes wrong for the controller: its fleet file, and its writes.

use controller::{SwitchName, VdpuIntent};
use schema::VdpuId;

use crate::client::Kind;
use crate::configuration::FleetFile;
use crate::faults::Blunder;
use crate::topology::{Proc, Server};
use crate::world::World;

impl World {
    /// The controllers are to read a fleet file that is wrong. They report it, and go on with the one that they have.
    pub(crate) fn misread_fleet(&mut self, blunder: Blunder) {
        let mut file = self.topology.fleet_file(&self.intent, &self.variant);
        let Some(field) = spoil(&mut file, blunder) else { return };
        match file.read() {
            Ok(_) => self.checks.fail(format!("a fleet file is taken in spite of {blunder:?}")),
            Err(problems) if problems.iter().all(|problem| problem.field != field) => {
                self.checks.fail(format!("of {blunder:?} in a fleet file it is said: {problems:?}"));
            }
            Err(problems) => {
                for problem in problems {
                    self.trace.line(self.now, || format!("the fleet file is refused: {problem}"));
                }
            }
        }
    }

    /// A switch refuses the next so many writes of the controller to each of its databases.
    pub(crate) fn refuse_controller(&mut self, switch: u8, writes: u64) {
        let clients = self.clients.values_mut().filter(|client| client.proc == Proc::Controller);
        for client in clients.filter(|client| client.server == Server::Host(switch)) {
            if let Kind::Store(store) = &mut client.kind {
                store.refused = writes;
            }
        }
    }
}

/// Makes the mistake, if there is anything to make it with; the field that is wrong then.
fn spoil(file: &mut FleetFile, blunder: Blunder) -> Option<&'static str> {
    let another = VdpuId::new("another")?;
    let field = match blunder {
        Blunder::SwitchTwice => {
            file.switches.push(file.switches.first()?.clone());
            "name"
        }
        Blunder::SwitchMissing => {
            file.vdpus.first_mut()?.dpu.switch = SwitchName::new("nowhere")?;
            "switch"
        }
        Blunder::SlotTwice => {
            file.vdpus.push(VdpuIntent { id: another, ..file.vdpus.first()?.clone() });
            "slot"
        }
        Blunder::VdpuTwice => {
            file.vdpus.push(file.vdpus.first()?.clone());
            "id"
        }
        Blunder::SetTwice => {
            file.sets.push(file.sets.first()?.clone());
            "id"
        }
        Blunder::NoVip => {
            let set = file.sets.first_mut()?;
            (set.vip_v4, set.vip_v6) = (None, None);
            "vip_v4"
        }
        Blunder::OneMember => {
            file.sets.first_mut()?.vdpus.pop();
            "vdpus"
        }
        Blunder::SameMember => {
            let set = file.sets.first_mut()?;
            set.vdpus = vec![set.active.clone(); 2];
            "vdpus"
        }
        Blunder::MemberMissing => {
            let set = file.sets.first_mut()?;
            set.vdpus = vec![set.active.clone(), another];
            "vdpus"
        }
        Blunder::ActiveMissing => {
            file.sets.first_mut()?.active = another;
            "active"
        }
        Blunder::LongWait => {
            file.timing.down_debounce_ms = u64::MAX;
            "down_debounce_ms"
        }
        Blunder::NoWait => {
            file.timing.placement_ms = 0;
            "placement_ms"
        }
        Blunder::WaitsReversed => {
            file.timing.retry_ms_max = file.timing.retry_ms_min.checked_sub(1)?;
            "retry_ms_max"
        }
    };
    Some(field)
}
