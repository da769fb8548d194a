//! The simulated machines: virtual time, the queue of events, and what each event does.

mod bfd;
mod clients;
mod data_path;
mod links;
mod machines;
mod processes;
mod strangers;
mod traffic;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use asic_model::{AsicModel, ModelConfig};
use controller::DpuRecord;
use haorch::AsicCall;
use invariants::WriteSeen;
use npu_model::Forwarding;
use reconcile::{Batch, Core, Op, RowWrite, Time};
use schema::{Db, Fields, LinkState, Table, WallMs};

use crate::checks::Checks;
use crate::client::{Client, ClientId, Kind, Reader, Stepped, Store, Told, WireId};
use crate::configuration::Intent;
use crate::faults::{Fault, Speech};
use crate::mutants::{self, Mutant};
use crate::parts::{self, Extra, Out, Part, PortSpec, Start};
use crate::redis::{Mode, Notice, RedisServer};
use crate::rng::{MS, Micros, Rng};
use crate::run::Setup;
use crate::topology::{DPU_PORT, DpuRef, Machine, Proc, Server, Topology};
use crate::trace::Trace;
use crate::variant::Variant;
use crate::world::bfd::{BfdEngine, BfdPacket};
use crate::world::links::{End, Wire};

/// The wall clock at the start, ms.
const WALL_START_MS: i64 = 1_760_000_000_000;
/// The lab's probe interval, and the time an answer may take.
pub(crate) const PROBE_INTERVAL: Micros = 100 * MS;
const PROBE_TIMEOUT: Micros = 80 * MS;
/// How many inputs the core takes at once is not modelled: a queue is always taken whole.
const SPIN_MAX: u32 = 3000;

/// Something that will happen.
#[derive(Clone, Debug)]
pub enum Ev {
    /// A client takes its next step.
    Client(ClientId),
    /// A client's updates are taken into the process.
    Feed(ClientId),
    /// An end of links is given time.
    Timer(ClientId),
    /// A producer's so-manieth attempt to connect goes out.
    Connect(ClientId, u64),
    /// A connection is accepted.
    Accept(WireId),
    /// The next piece that an end has sent arrives.
    Wire(WireId, End),
    /// An end notices that its connection broke.
    Broken(WireId, End),
    /// A stranger ends its connection to haorchd.
    StrangerLeaves(WireId),
    /// A process' BFD sessions are given time.
    Bfd(Proc),
    /// A BFD packet arrives.
    BfdPacket(BfdPacket),
    /// A stranger's BFD packet arrives at a DPU, or at an NPU that watches it.
    Noise(DpuRef),
    /// A process runs its core.
    Step(Proc),
    /// The supervisor starts a process; on a DPU only in the same boot.
    Start(Proc, u64),
    /// The ASIC of a DPU runs.
    Asic(DpuRef),
    /// A datagram arrives: to, from, what.
    Datagram(SocketAddr, SocketAddr, Vec<u8>),
    /// A round of probes begins.
    ProbeRound(u8, u64),
    /// Probes end.
    Probed(u8, u64, Vec<pmon::Target>, bool),
    /// A record is on disk.
    Commit(Proc, u64, Box<DpuRecord>),
    /// The controller hears of it, or that it failed.
    Committed(Proc, u64, Box<DpuRecord>, bool),
    /// A DPU boots.
    Boot(DpuRef),
    /// dpu-dbclean empties a database, in that boot.
    Clean(DpuRef, u64, usize),
    /// A fault happens.
    Fault(usize),
    /// A fault is over, or goes on.
    Later(Later),
    /// Checks that need time.
    Tick,
}

/// The later parts of faults.
#[derive(Clone, Copy, Debug)]
pub enum Later {
    /// A server starts, empty or with its data.
    ServerUp(Server, bool),
    /// `CONFIG_DB` of a switch is loaded.
    ConfigLoaded(u8),
    /// A DPU's services state again what is true.
    LocalStated(DpuRef),
    /// A stranger takes back what he did.
    TakenBack(Server, Table),
    /// A DPU loses power once more.
    Again(DpuRef, Micros),
    /// Datagrams of a pair come in order.
    Ordered(DpuRef),
    /// A pair has its HA set again.
    Restored(DpuRef),
    /// The fleet names a DPU again.
    Named(DpuRef),
    /// The fleet names a switch again.
    With(u8),
    /// The controller reaches a switch again.
    Reachable(u8),
    /// The second controller ends.
    RivalEnds,
    /// The midplane answers again.
    MidplaneUp(DpuRef),
    /// The control plane is ready again.
    ControlUp(DpuRef, u64),
    /// The port is up again.
    PortUp(DpuRef, u64),
    /// The DPUs of a pair hear each other again.
    Healed(DpuRef),
    /// Datagrams are lost no more.
    Lossless(DpuRef),
    /// Nobody listens in a haorchd's place any more.
    ImpostorEnds(DpuRef),
    /// The planned shutdown of a DPU: SIGTERM.
    Shutdown(DpuRef, u64, Micros),
    /// It goes off.
    PowerOff(DpuRef, u64, Micros),
    /// Administratively up again.
    AdminUp(DpuRef),
}

/// A running process.
pub struct Process {
    pub(crate) part: Box<dyn Part>,
    pub(crate) life: u64,
    pub(crate) started: Micros,
    pub(crate) clients: Vec<ClientId>,
    pub(crate) paused_until: Micros,
    pub(crate) slow: Micros,
    pub(crate) slow_until: Micros,
    step_at: Option<Micros>,
    spins: (Micros, u32),
    targets: Vec<pmon::Target>,
    probing: bool,
    /// Ends after so many writes, and starts again after the time.
    pub(crate) doomed: Option<(u64, Micros)>,
    /// After so many operations the connection breaks before the answer.
    pub(crate) unanswered: Option<u64>,
}

/// The ASIC of a DPU: lives as long as haorchd.
pub struct AsicBox {
    pub(crate) model: AsicModel,
    calls: VecDeque<AsicCall>,
    datagrams: Vec<asic_model::Input>,
    bound: BTreeSet<SocketAddr>,
    started: Micros,
    step_at: Option<Micros>,
    /// So many calls will fail.
    pub(crate) failing: u64,
}

/// A DPU as a machine.
pub struct Device {
    /// How often it booted.
    pub boots: u64,
    /// Whether it has power.
    pub is_on: bool,
    /// When the present life began.
    pub booted: WallMs,
    boot_id: String,
    midplane_up: bool,
    pub(crate) midplane_cut: bool,
    pub(crate) is_announced: bool,
    /// What its services say of its control plane and of its port.
    pub(crate) system: LinkState,
    pub(crate) port: LinkState,
    pub(crate) asic: Option<AsicBox>,
}

impl Device {
    fn off() -> Self {
        Self {
            boots: 0,
            is_on: false,
            booted: WallMs(0),
            boot_id: String::new(),
            midplane_up: false,
            midplane_cut: false,
            is_announced: false,
            system: LinkState::Down,
            port: LinkState::Up,
            asic: None,
        }
    }
}

/// Everything.
pub struct World {
    pub(crate) topology: Topology,
    pub(crate) variant: Variant,
    pub(crate) rng: Rng,
    pub(crate) now: Micros,
    queue: BTreeMap<(Micros, u64), Ev>,
    seq: u64,
    lives: u64,
    pub(crate) servers: BTreeMap<Server, RedisServer>,
    pub(crate) clients: BTreeMap<ClientId, Client>,
    /// The clients of each database.
    listeners: BTreeMap<(Server, Db), BTreeSet<ClientId>>,
    next_client: ClientId,
    /// BFD sessions, by process.
    pub(crate) engines: BTreeMap<Proc, BfdEngine>,
    /// Front-panel paths between a switch and a DPU that are cut, and until when.
    pub(crate) panel_cuts: BTreeMap<(u8, DpuRef), Micros>,
    /// DPUs whose front-panel paths lose packets, and until when.
    pub(crate) panel_losses: BTreeMap<DpuRef, Micros>,
    /// DPUs to which strangers send BFD packets, as to the NPUs that watch them, and until when.
    pub(crate) noises: BTreeMap<DpuRef, Micros>,
    /// Where each switch's NPU sends traffic.
    pub(crate) forwarding: BTreeMap<u8, Forwarding>,
    /// ZMQ connections.
    pub(crate) wires: BTreeMap<WireId, Wire>,
    next_wire: WireId,
    /// DPUs whose ZMQ links let nothing through, and until when.
    pub(crate) black_holes: BTreeMap<DpuRef, Micros>,
    /// DPUs where somebody else listens while haorchd does not, and what he says.
    pub(crate) impostors: BTreeMap<DpuRef, Speech>,
    /// When the ZMQ link to a DPU last came up or went down.
    pub(crate) link_turns: BTreeMap<DpuRef, Micros>,
    pub(crate) procs: BTreeMap<Proc, Process>,
    pub(crate) devices: BTreeMap<DpuRef, Device>,
    pub(crate) records: BTreeMap<String, DpuRecord>,
    pub(crate) rival_records: BTreeMap<String, DpuRecord>,
    /// So many records of the controller will not be stored.
    pub(crate) failing_commits: u64,
    pub(crate) intent: Intent,
    pub(crate) multipliers: BTreeMap<u8, u32>,
    /// Switches that the controllers do not reach, and until when.
    pub(crate) unreachable: BTreeMap<u8, Micros>,
    /// How far the clocks of machines have jumped, ms.
    pub(crate) clocks: BTreeMap<Machine, i64>,
    /// Probes of a DPU that will be lost.
    pub(crate) unprobed: BTreeMap<DpuRef, u32>,
    pub(crate) jumbled: BTreeSet<DpuRef>,
    pub(crate) partitioned: BTreeMap<DpuRef, Micros>,
    pub(crate) lossy: BTreeSet<DpuRef>,
    pub(crate) faults: Vec<Fault>,
    /// The mistake that somebody makes, if anybody does.
    pub(crate) mutant: Option<Mutant>,
    /// When the last effect of a fault is over.
    pub(crate) calm_after: Micros,
    /// When the last effect of a fault that is no restart of a DPU is over.
    pub(crate) trouble_ends: Micros,
    pub(crate) checks: Checks,
    /// What happened, in words.
    pub trace: Trace,
    /// Writes seen, while they are watched.
    pub(crate) writes_seen: Option<Vec<WriteSeen>>,
    /// Events so far.
    pub events: u64,
}

impl World {
    /// A pair that is about to be switched on.
    pub fn new(setup: &Setup, trace: Trace) -> Self {
        let mut world = Self {
            topology: setup.topology,
            variant: setup.variant.clone(),
            rng: Rng::new(setup.seed ^ 0x0077_6f72_6c64),
            now: 0,
            queue: BTreeMap::new(),
            seq: 0,
            lives: 0,
            servers: BTreeMap::new(),
            clients: BTreeMap::new(),
            listeners: BTreeMap::new(),
            next_client: 0,
            engines: BTreeMap::new(),
            panel_cuts: BTreeMap::new(),
            panel_losses: BTreeMap::new(),
            noises: BTreeMap::new(),
            forwarding: BTreeMap::new(),
            wires: BTreeMap::new(),
            next_wire: 0,
            black_holes: BTreeMap::new(),
            impostors: BTreeMap::new(),
            link_turns: BTreeMap::new(),
            procs: BTreeMap::new(),
            devices: BTreeMap::new(),
            records: BTreeMap::new(),
            rival_records: BTreeMap::new(),
            failing_commits: 0,
            intent: Intent::default(),
            multipliers: BTreeMap::new(),
            unreachable: BTreeMap::new(),
            clocks: BTreeMap::new(),
            unprobed: BTreeMap::new(),
            jumbled: BTreeSet::new(),
            partitioned: BTreeMap::new(),
            lossy: BTreeSet::new(),
            faults: setup.faults.clone(),
            mutant: setup.mutant,
            calm_after: 0,
            trouble_ends: 0,
            checks: Checks::default(),
            trace,
            writes_seen: None,
            events: 0,
        };
        world.switch_on();
        world
    }

    fn switch_on(&mut self) {
        for switch in self.topology.switches() {
            for server in [Server::Host(switch), Server::Chassis(switch)] {
                self.servers.insert(server, RedisServer::new(server.databases()));
                self.server_up(server, false);
            }
            for proc in [Proc::PmonNpu(switch), Proc::Hamgrd(switch), Proc::Orchagent(switch)] {
                let wait = self.rng.between(0, 500 * MS);
                self.after(wait, Ev::Start(proc, 0));
            }
        }
        for dpu in self.topology.dpus() {
            for server in [Server::OfDpu(dpu), Server::Local(dpu)] {
                self.servers.insert(server, RedisServer::new(server.databases()));
            }
            self.server_up(Server::OfDpu(dpu), false);
            self.devices.insert(dpu, Device::off());
            let wait = self.rng.between(0, 2000 * MS);
            self.after(wait, Ev::Boot(dpu));
        }
        let wait = self.rng.between(0, 2000 * MS);
        self.after(wait, Ev::Start(Proc::Controller, 0));
        self.after(0, Ev::Tick);
        for (at, fault) in self.faults.clone().into_iter().enumerate() {
            self.after(fault.at, Ev::Fault(at));
        }
    }

    /// The wall clock of a machine.
    pub(crate) fn wall_of(&self, machine: Machine) -> WallMs {
        WallMs(self.wall().0 + self.clocks.get(&machine).copied().unwrap_or_default())
    }

    /// Whether the times that are written of a DPU are no longer to be compared.
    pub(crate) fn has_jumped(&self, dpu: DpuRef) -> bool {
        [Machine::Dpu(dpu), Machine::Switch(dpu.switch)]
            .iter()
            .any(|machine| self.clocks.contains_key(machine))
    }

    /// The wall clock of a machine whose clock never jumps.
    pub fn wall(&self) -> WallMs {
        WallMs(WALL_START_MS + i64::try_from(self.now / MS).unwrap_or(i64::MAX))
    }

    pub(crate) fn after(&mut self, wait: Micros, event: Ev) {
        self.seq += 1;
        self.queue.insert((self.now + wait, self.seq), event);
    }

    /// Runs until that time, or until a safety check fails.
    pub fn run_until(&mut self, until: Micros) {
        while self.checks.violation.is_none() {
            let Some((&(at, _), _)) = self.queue.first_key_value() else { break };
            if at > until {
                break;
            }
            let Some(((at, _), event)) = self.queue.pop_first() else { break };
            self.now = at;
            self.events += 1;
            self.happen(event);
        }
        self.now = self.now.max(until);
    }

    fn happen(&mut self, event: Ev) {
        match event {
            Ev::Client(id) => self.client(id),
            Ev::Feed(id) => self.feed(id),
            Ev::Timer(id) => self.timer(id),
            Ev::Connect(id, attempt) => self.connect(id, attempt),
            Ev::Accept(id) => self.accept(id),
            Ev::Wire(id, from) => self.wire(id, from),
            Ev::Broken(id, end) => self.broken(id, end),
            Ev::StrangerLeaves(wire) => self.stranger_leaves(wire),
            Ev::Bfd(proc) => self.bfd(proc),
            Ev::BfdPacket(packet) => self.bfd_packet(packet),
            Ev::Noise(dpu) => self.noise(dpu),
            Ev::Step(proc) => self.step(proc),
            Ev::Start(proc, boot) => self.start(proc, boot),
            Ev::Asic(dpu) => self.asic(dpu),
            Ev::Datagram(to, from, bytes) => self.datagram(to, from, bytes),
            Ev::ProbeRound(switch, life) => self.probe_round(switch, life),
            Ev::Probed(switch, life, targets, ok) => {
                for target in targets {
                    self.extra_in_life(Proc::PmonNpu(switch), life, Extra::Probe(target, ok));
                }
            }
            Ev::Commit(proc, life, record) => {
                if self.procs.get(&proc).is_some_and(|process| process.life == life) {
                    let fails = proc == Proc::Controller && self.failing_commits > 0;
                    if fails {
                        self.failing_commits -= 1;
                    } else {
                        let records =
                            if proc == Proc::Rival { &mut self.rival_records } else { &mut self.records };
                        records.insert(record.dpu.to_string(), (*record).clone());
                    }
                    if proc == Proc::Controller {
                        Checks::stored(self, &record.dpu, !fails);
                    }
                    let wait = self.rng.latency();
                    self.after(wait, Ev::Committed(proc, life, record, !fails));
                }
            }
            Ev::Committed(proc, life, record, ok) => {
                self.extra_in_life(proc, life, Extra::Persisted(record, ok));
            }
            Ev::Boot(dpu) => self.boot(dpu),
            Ev::Clean(dpu, boot, at) => self.clean(dpu, boot, at),
            Ev::Fault(at) => {
                if let Some(fault) = self.faults.get(at).copied() {
                    self.fault(fault.kind);
                }
            }
            Ev::Later(later) => self.later(later),
            Ev::Tick => {
                Checks::tick(self);
                self.witness();
                self.after(100 * MS, Ev::Tick);
            }
        }
    }
}
