//! The data path and the midplane: ASICs, their datagrams, and probes.

use haorch::HaScopeAttribute;
use schema::OperationType;

use super::*;

impl World {
    pub(crate) fn schedule_asic(&mut self, dpu: DpuRef, wait: Micros) {
        let at = self.now + wait;
        let Some(asic) = self.devices.get_mut(&dpu).and_then(|device| device.asic.as_mut()) else { return };
        if asic.step_at.is_none_or(|due| at < due) {
            asic.step_at = Some(at);
            self.after(wait, Ev::Asic(dpu));
        }
    }

    pub(crate) fn asic(&mut self, dpu: DpuRef) {
        let pause = self.pause_left(Proc::Haorchd(dpu));
        let Some(asic) = self.devices.get_mut(&dpu).and_then(|device| device.asic.as_mut()) else { return };
        if asic.step_at != Some(self.now) {
            return;
        }
        asic.step_at = None;
        if pause > 0 {
            self.schedule_asic(dpu, pause);
            return;
        }
        let mut refused = Vec::new();
        let mut inputs: Vec<asic_model::Input> = Vec::new();
        for call in asic.calls.drain(..) {
            if asic.failing > 0 {
                asic.failing -= 1;
                refused.push(haorch::AsicAnswer { id: call.id, result: Err(haorch::SaiStatus::Failure) });
            } else {
                inputs.push(asic_model::Input::Call(call));
            }
        }
        inputs.append(&mut asic.datagrams);
        let before: Vec<_> = asic.model.scopes().collect();
        let approved: BTreeMap<haorch::CallId, OperationType> = inputs.iter().filter_map(operation).collect();
        let activates = approved.values().any(|kind| *kind == OperationType::ActivateRole);
        let now = Time((self.now - asic.started) / MS);
        let mut effects: Vec<_> = refused.into_iter().map(asic_model::Effect::Answer).collect();
        asic.model.handle(now, Batch { wall: WallMs(0), inputs }, &mut effects);
        asic.bound = asic.model.listens_at();
        let after: Vec<_> = asic.model.scopes().collect();
        let due = asic.model.next_deadline().map(|(Time(at), _)| asic.started + at * MS);
        let bound = asic.bound.clone();
        if let Some(due) = due {
            let wait = due.max(self.now + 10) - self.now;
            self.schedule_asic(dpu, wait);
        }
        if before != after {
            self.trace.line(self.now, || format!("asic@{dpu} {before:?} -> {after:?}"));
        }
        Checks::asic_moved(self, dpu, &before, &after, activates);
        for effect in effects {
            match effect {
                asic_model::Effect::Answer(answer) => {
                    if answer.result.is_err() {
                        Checks::refused(self, dpu);
                    } else if let Some(kind) = approved.get(&answer.id) {
                        Checks::carried_out(self, dpu, *kind);
                    }
                    self.extra(Proc::Haorchd(dpu), Extra::Haorch(haorch::Input::Answer(answer)));
                }
                asic_model::Effect::Event(event) => {
                    self.extra(Proc::Haorchd(dpu), Extra::Haorch(haorch::Input::Event(event)));
                }
                asic_model::Effect::Send { local, to, bytes } => {
                    let pair = self.topology.first(dpu);
                    let is_lost = self.lossy.contains(&pair) && self.rng.chance(400);
                    if bound.contains(&local) && !is_lost && !self.partitioned.contains_key(&pair) {
                        let is_jumbled = self.jumbled.contains(&pair);
                        let latest = if is_jumbled { 400 * MS } else { 2 * MS };
                        for _ in 0..if is_jumbled { 2 } else { 1 } {
                            let wait = self.rng.between(50, latest);
                            self.after(wait, Ev::Datagram(to, local, bytes.clone()));
                        }
                    }
                }
            }
        }
    }

    pub(crate) fn datagram(&mut self, to: SocketAddr, from: SocketAddr, bytes: Vec<u8>) {
        let Some(dpu) = self.topology.by_data_path(to.ip()) else { return };
        let Some(asic) = self.devices.get_mut(&dpu).and_then(|device| device.asic.as_mut()) else { return };
        if asic.bound.contains(&to) {
            asic.datagrams.push(asic_model::Input::Datagram { local: to, from, bytes });
            let wait = self.rng.between(5, 100);
            self.schedule_asic(dpu, wait);
        }
    }

    // Probes.

    pub(crate) fn probe_round(&mut self, switch: u8, life: u64) {
        let proc = Proc::PmonNpu(switch);
        let pause = self.pause_left(proc);
        let Some(process) = self.procs.get(&proc).filter(|process| process.life == life) else { return };
        if pause > 0 {
            self.after(pause, Ev::ProbeRound(switch, life));
            return;
        }
        let mut unprobed = std::mem::take(&mut self.unprobed);
        let mut is_lost = |dpu: Option<DpuRef>| {
            let left = dpu.and_then(|dpu| unprobed.get_mut(&dpu)).filter(|left| **left > 0);
            left.map(|left| *left -= 1).is_some()
        };
        let answers = |target: &pmon::Target| {
            let dpu = self.topology.by_midplane(target.address);
            if is_lost(dpu) {
                return false;
            }
            let device = dpu.and_then(|dpu| self.devices.get(&dpu));
            device.is_some_and(|device| device.is_on && device.midplane_up && !device.midplane_cut)
        };
        let (answered, lost): (Vec<_>, Vec<_>) = process.targets.clone().into_iter().partition(answers);
        self.unprobed = unprobed;
        for (targets, answers) in [(answered, true), (lost, false)] {
            let wait = if answers { self.rng.between(100, 3000) } else { PROBE_TIMEOUT };
            if !targets.is_empty() {
                self.after(wait, Ev::Probed(switch, life, targets, answers));
            }
        }
        self.after(PROBE_INTERVAL, Ev::ProbeRound(switch, life));
    }
}

/// The operation that a call carries out, if it is one that needs approval.
fn operation(input: &asic_model::Input) -> Option<(haorch::CallId, OperationType)> {
    let asic_model::Input::Call(call) = input else { return None };
    let haorch::AsicOp::SetHaScope(_, attribute) = &call.op else { return None };
    let kind = match attribute {
        HaScopeAttribute::ActivateRole => OperationType::ActivateRole,
        HaScopeAttribute::FlowReconcileRequested => OperationType::FlowReconcile,
        HaScopeAttribute::DashHaRole(_)
        | HaScopeAttribute::AdminState(_)
        | HaScopeAttribute::VipV4(_)
        | HaScopeAttribute::VipV6(_) => return None,
    };
    Some((call.id, kind))
}
