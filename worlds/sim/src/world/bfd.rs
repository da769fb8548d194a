//! BFD: the sessions of `core/bfd` on each DPU and each NPU, and the front-panel paths between them. Mirrors
//! `io/bfd-net/src/task.rs`.

mod noise;

use ::bfd::{
    Arrival, Cause, Effect, Hops, Input, Link, Note, PACKET_BYTES, Path, Refusal, Registry, Sessions, State,
    TTL, Wanted,
};
use reconcile::IdSource;

use super::*;
use crate::mutants::BfdMistake;

/// A packet on its way.
#[derive(Clone, Debug)]
pub struct BfdPacket {
    to: Proc,
    from: IpAddr,
    at: IpAddr,
    bytes: [u8; PACKET_BYTES],
}

/// The sessions of a process.
pub(crate) struct BfdEngine {
    pub(crate) sessions: Sessions,
    registry: Registry,
    wanted: Wanted,
    is_new: bool,
    started: Micros,
    step_at: Option<Micros>,
    arrivals: Vec<Input>,
    /// When the last packet of each flow arrives.
    arrive: BTreeMap<Path, Micros>,
    mistake: Option<BfdMistake>,
    /// Sessions that heard their peer in this life, down as they may be.
    heard: BTreeSet<Path>,
    /// Of those, the ones that were taken down, and when that was last.
    pub(crate) leaving: BTreeMap<Path, Micros>,
}

impl BfdEngine {
    pub(crate) fn new(seed: u64, started: Micros, mistake: Option<BfdMistake>) -> Self {
        Self {
            sessions: Sessions::new(IdSource::new(seed)),
            registry: Registry::default(),
            wanted: Wanted::new(),
            is_new: false,
            started,
            step_at: None,
            arrivals: Vec::new(),
            arrive: BTreeMap::new(),
            mistake,
            heard: BTreeSet::new(),
            leaving: BTreeMap::new(),
        }
    }

    pub(crate) fn time(&self, now: Micros) -> Time {
        Time(now.saturating_sub(self.started) / MS)
    }
}

impl World {
    /// A process says which sessions it wants.
    pub(crate) fn want_bfd(&mut self, proc: Proc, wanted: Wanted) {
        let Some(engine) = self.engines.get_mut(&proc) else { return };
        if engine.mistake == Some(BfdMistake::NothingRemoved) {
            engine.wanted.extend(wanted);
        } else {
            engine.wanted = wanted;
        }
        engine.is_new = true;
        self.schedule_bfd(proc, 10);
    }

    fn schedule_bfd(&mut self, proc: Proc, wait: Micros) {
        let at = self.now + wait;
        let Some(engine) = self.engines.get_mut(&proc) else { return };
        if engine.step_at.is_none_or(|due| at < due) {
            engine.step_at = Some(at);
            self.after(wait, Ev::Bfd(proc));
        }
    }

    /// A process' sessions are given time.
    pub(crate) fn bfd(&mut self, proc: Proc) {
        let (now, pause) = (self.now, self.pause_left(proc));
        let Some(engine) = self.engines.get_mut(&proc) else { return };
        if engine.step_at != Some(now) {
            return;
        }
        engine.step_at = None;
        if pause > 0 {
            self.schedule_bfd(proc, pause);
        } else {
            self.turn_bfd(proc);
        }
    }

    fn turn_bfd(&mut self, proc: Proc) {
        let now = self.now;
        let Some(mut engine) = self.engines.remove(&proc) else { return };
        let mut changes = Vec::new();
        loop {
            let mut inputs = Vec::new();
            if std::mem::take(&mut engine.is_new) {
                engine.registry.diff(&engine.wanted, &mut inputs);
            }
            inputs.append(&mut engine.arrivals);
            let mut effects = Vec::new();
            let time = engine.time(now);
            engine.sessions.handle(time, Batch { wall: WallMs(0), inputs }, &mut effects);
            for effect in effects {
                self.apply_bfd(proc, &mut engine, effect, &mut changes);
            }
            if !engine.is_new {
                break;
            }
        }
        let due = engine.sessions.next_deadline().map(|(Time(at), _)| engine.started + at * MS);
        self.engines.insert(proc, engine);
        if let Some(due) = due {
            self.schedule_bfd(proc, due.max(now + 10) - now);
        }
        if !changes.is_empty() {
            self.extra(proc, Extra::Bfd(changes));
        }
    }

    fn apply_bfd(
        &mut self,
        proc: Proc,
        engine: &mut BfdEngine,
        effect: Effect,
        changes: &mut Vec<(Path, Option<State>, Option<u32>)>,
    ) {
        match effect {
            Effect::Send { session: _, path, packet } => {
                self.send_bfd(proc, engine, path, packet.encode());
            }
            Effect::StateChanged { session, from, to, diagnostic: _, cause } => {
                let Some(path) = engine.registry.path(session) else { return };
                self.trace.line(self.now, || {
                    format!("{proc} BFD    {} -> {}: {from} -> {to} ({cause:?})", path.local, path.peer)
                });
                let discriminator = engine.sessions.get(session).map(|session| session.discriminator().get());
                if matches!(to, State::Init | State::Up) {
                    engine.heard.insert(path);
                }
                // A peer that was not heard since the process began knows only the sessions of its former life, which ended
                // with it and its role.
                if cause == Cause::Removed && engine.heard.contains(&path) {
                    engine.leaving.insert(path, self.now);
                }
                changes.push((path, Some(to), discriminator));
            }
            Effect::Note(Note::Removed { session }) => {
                if let Some(path) = engine.registry.forget(session) {
                    changes.push((path, None, None));
                }
                // What was refused for want of room may fit now.
                engine.is_new = true;
            }
            Effect::Note(Note::Refused { session, refusal }) => match refusal {
                Refusal::Unknown => {}
                Refusal::PathTaken { .. } | Refusal::MixedFamilies | Refusal::BadPeer | Refusal::TooMany => {
                    engine.registry.forget(session);
                }
            },
            Effect::Note(Note::Negotiated { .. } | Note::PeerDemand { .. } | Note::Dropped { .. }) => {}
        }
    }

    fn owner_of(&self, address: IpAddr) -> Option<Proc> {
        let of_dpu = self.topology.by_data_path(address).map(Proc::Haorchd);
        of_dpu.or_else(|| self.topology.by_npu(address).map(Proc::Orchagent))
    }

    /// Whether packets pass between a switch's front panel and a DPU.
    pub(crate) fn panel_passes(&self, switch: u8, dpu: DpuRef) -> bool {
        let is_there =
            self.devices.get(&dpu).is_some_and(|device| device.is_on && device.port == LinkState::Up);
        is_there && self.panel_cuts.get(&(switch, dpu)).is_none_or(|until| *until <= self.now)
    }

    fn send_bfd(&mut self, proc: Proc, engine: &mut BfdEngine, path: Path, bytes: [u8; PACKET_BYTES]) {
        let Some(to) = self.owner_of(path.peer) else { return };
        let (switch, dpu) = match (proc, to) {
            (Proc::Orchagent(switch), Proc::Haorchd(dpu)) | (Proc::Haorchd(dpu), Proc::Orchagent(switch)) => {
                (switch, dpu)
            }
            _ => return,
        };
        let is_lossy = self.panel_losses.get(&dpu).is_some_and(|until| *until > self.now);
        if !self.panel_passes(switch, dpu) || (is_lossy && self.rng.chance(300)) {
            return;
        }
        // A network keeps the order of a flow.
        let arrival = engine.arrive.entry(path).or_default();
        *arrival = (self.now + self.rng.between(50, 2 * MS)).max(*arrival);
        let wait = *arrival - self.now;
        self.after(wait, Ev::BfdPacket(BfdPacket { to, from: path.local, at: path.peer, bytes }));
    }

    /// A BFD packet arrives: where there is a session's socket, at once or once its process runs again.
    pub(crate) fn bfd_packet(&mut self, packet: BfdPacket) {
        let BfdPacket { to, from, at, bytes } = packet;
        let pause = self.pause_left(to);
        let Some(engine) = self.engines.get_mut(&to) else { return };
        let arrived = engine.time(self.now);
        let arrival = Arrival::read(arrived, from, at, Link::ANY, Hops::Multi, TTL, &bytes);
        engine.arrivals.push(Input::Received(arrival));
        if pause > 0 {
            self.schedule_bfd(to, pause);
        } else {
            self.turn_bfd(to);
        }
    }

    /// Whether a DPU has BFD sessions that are to stay.
    pub(crate) fn has_bfd_sessions(&self, dpu: DpuRef) -> bool {
        let engine = self.engines.get(&Proc::Haorchd(dpu));
        engine.is_some_and(|engine| engine.sessions.iter().any(|(_, session)| !session.is_leaving()))
    }

    /// Whether the NPU with that address has a session with a DPU that is up.
    pub(crate) fn is_up_at_npu(&self, npu: IpAddr, dpu: IpAddr) -> bool {
        let engine = self.owner_of(npu).and_then(|proc| self.engines.get(&proc));
        engine.is_some_and(|engine| {
            let mut sessions = engine.sessions.iter();
            sessions.any(|(_, session)| session.config().path.peer == dpu && session.state() == State::Up)
        })
    }

    /// The switches whose NPU has no session with a DPU that is up.
    pub(crate) fn without_bfd(&self, dpu: DpuRef) -> Option<String> {
        if self.variant.without_bfd {
            return None;
        }
        let members = [dpu.switch, self.topology.peer(dpu).switch];
        let down = members.into_iter().find_map(|switch| {
            let npus = self.variant.both(Topology::npu(switch));
            let mut paths = npus.zip(self.variant.both(Topology::data_path(dpu)));
            paths.find(|(npu, peer)| !self.is_up_at_npu(*npu, *peer))
        });
        let (npu, peer) = down?;
        Some(format!("P1 the NPU at {npu} has no BFD session with {peer} that is up"))
    }
}
