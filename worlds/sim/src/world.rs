//! The simulated machines: virtual time, the queue of events, and what each event does.

mod data_path;
mod links;
mod machines;
mod processes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use asic_model::{AsicModel, ModelConfig};
use controller::DpuRecord;
use haorch::AsicCall;
use invariants::WriteSeen;
use reconcile::{Batch, Core, Op, RowWrite, Time};
use schema::{Db, Fields, LinkState, Table, WallMs};

use crate::checks::Checks;
use crate::client::{Client, ClientId, Kind, Reader, Stepped, Store, WireId};
use crate::faults::Fault;
use crate::mutants::{self, Mutant};
use crate::parts::{self, Extra, Out, Part, PortSpec, Start};
use crate::redis::{Mode, Notice, RedisServer};
use crate::rng::{MS, Micros, Rng};
use crate::run::Setup;
use crate::topology::{DPU_PORT, DpuRef, Intent, Machine, Proc, Server, Topology};
use crate::trace::Trace;
use crate::variant::Variant;
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
    /// The controller hears of it.
    Committed(Proc, u64, Box<DpuRecord>),
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
    /// ZMQ connections.
    pub(crate) wires: BTreeMap<WireId, Wire>,
    next_wire: WireId,
    /// DPUs whose ZMQ links let nothing through, and until when.
    pub(crate) black_holes: BTreeMap<DpuRef, Micros>,
    /// When the ZMQ link to a DPU last came up or went down.
    pub(crate) link_turns: BTreeMap<DpuRef, Micros>,
    pub(crate) procs: BTreeMap<Proc, Process>,
    pub(crate) devices: BTreeMap<DpuRef, Device>,
    pub(crate) records: BTreeMap<String, DpuRecord>,
    pub(crate) rival_records: BTreeMap<String, DpuRecord>,
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
            wires: BTreeMap::new(),
            next_wire: 0,
            black_holes: BTreeMap::new(),
            link_turns: BTreeMap::new(),
            procs: BTreeMap::new(),
            devices: BTreeMap::new(),
            records: BTreeMap::new(),
            rival_records: BTreeMap::new(),
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
                    let records =
                        if proc == Proc::Rival { &mut self.rival_records } else { &mut self.records };
                    records.insert(record.dpu.to_string(), (*record).clone());
                    let wait = self.rng.latency();
                    self.after(wait, Ev::Committed(proc, life, record));
                }
            }
            Ev::Committed(proc, life, record) => {
                self.extra_in_life(proc, life, Extra::Persisted(record));
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
                self.after(100 * MS, Ev::Tick);
            }
        }
    }

    // Clients.

    fn is_reachable(&self, client: &Client) -> bool {
        let is_cut = client.proc.on_dpu().is_some_and(|dpu| {
            client.server != Server::Local(dpu)
                && self.devices.get(&dpu).is_none_or(|device| device.midplane_cut)
        });
        let is_away = client.proc.machine() == Machine::Controller
            && self.unreachable.contains_key(&client.server.switch());
        !is_cut && !is_away && self.servers.get(&client.server).is_some_and(|server| server.is_up)
    }

    /// How long something takes in a process.
    fn latency(&mut self, proc: Proc) -> Micros {
        let slow = self.procs.get(&proc).filter(|process| process.slow_until > self.now);
        let slow = slow.map_or(0, |process| process.slow);
        let extra = self.rng.below(slow + 1);
        self.rng.latency() + extra
    }

    fn wake(&mut self, id: ClientId, wait: Micros) {
        let at = self.now + wait;
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.wake_at.is_none() {
            client.wake_at = Some(at);
            self.after(wait, Ev::Client(id));
        }
    }

    fn wake_feed(&mut self, id: ClientId, wait: Micros) {
        let at = self.now + wait;
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.feed_at.is_none() {
            client.feed_at = Some(at);
            self.after(wait, Ev::Feed(id));
        }
    }

    fn pause_left(&self, proc: Proc) -> Micros {
        self.procs.get(&proc).map_or(0, |process| process.paused_until.saturating_sub(self.now))
    }

    fn client(&mut self, id: ClientId) {
        let Some(proc) = self.clients.get(&id).map(|client| client.proc) else { return };
        let pause = self.pause_left(proc);
        if pause > 0 {
            self.after(pause, Ev::Client(id));
            return;
        }
        let latency = self.latency(proc);
        let Some(mut client) = self.clients.remove(&id) else { return };
        client.wake_at = None;
        let is_reachable = self.is_reachable(&client);
        let server = self.servers.get_mut(&client.server).filter(|_| is_reachable);
        let database = server.and_then(|server| server.databases.get_mut(&client.db));
        let unanswered = self.procs.get(&proc).is_some_and(|process| process.unanswered.is_some());
        let before = unanswered.then(|| client.clone());
        let mut stepped = client.step(self.now, latency, database);
        let (server, db) = (client.server, client.db);
        if let Some(mut before) = before.filter(|_| self.loses_answer(proc, &stepped)) {
            before.cut();
            client = before;
            (stepped.again, stepped.fed) = (Some(latency), false);
            self.trace.line(self.now, || format!("{proc} gets no answer from {server} {db}"));
        }
        self.clients.insert(id, client);
        for (write, known) in &stepped.written {
            self.trace.write(self.now, proc, server, db, write);
            Checks::written(self, proc, server, write, *known);
            self.watch(server, db, write);
        }
        for (table, key) in &stepped.popped {
            self.trace.line(self.now, || format!("{proc} pops   {server} {db} {}", table.redis_key(key)));
        }
        self.deliver(server, db, &stepped.notices);
        if let Some(again) = stepped.again {
            self.wake(id, again);
        }
        if stepped.fed {
            let wait = self.rng.between(5, 300);
            self.wake_feed(id, wait);
        }
        if !stepped.notices.is_empty() {
            Checks::changed(self, server, db);
        }
        self.settle_link(id);
        self.doom(proc, stepped.written.len() as u64);
    }

    /// Whether this step's answer is the one that is lost.
    fn loses_answer(&mut self, proc: Proc, stepped: &Stepped) -> bool {
        let Some(process) = self.procs.get_mut(&proc) else { return false };
        if stepped.written.is_empty() && stepped.popped.is_empty() {
            return false;
        }
        let left = process.unanswered.take().unwrap_or_default();
        process.unanswered = left.checked_sub(1).filter(|left| *left > 0);
        process.unanswered.is_none()
    }

    /// Ends a process that was to end after so many writes.
    fn doom(&mut self, proc: Proc, writes: u64) {
        let Some(process) = self.procs.get_mut(&proc).filter(|_| writes > 0) else { return };
        let Some((left, wait)) = process.doomed else { return };
        process.doomed = Some((left.saturating_sub(writes), wait));
        if left <= writes {
            self.crash(proc, wait);
        }
    }

    fn watch(&mut self, server: Server, db: Db, write: &RowWrite) {
        if let Some(seen) = &mut self.writes_seen {
            let op = match write.op {
                Op::Set(_) | Op::Merge(_) => "hset",
                Op::Del => "del",
            };
            let redis_key = write.table.redis_key(&write.key);
            seen.push(WriteSeen { place: server.to_string(), db, redis_key, op: op.to_owned() });
        }
    }

    pub(crate) fn deliver(&mut self, server: Server, db: Db, notices: &[Notice]) {
        if notices.is_empty() {
            return;
        }
        Checks::noticed(self, server, db, notices);
        let mut woken = Vec::new();
        for id in self.listeners.get(&(server, db)).into_iter().flatten() {
            let Some(client) = self.clients.get_mut(id) else { continue };
            let mut interested = false;
            for notice in notices {
                interested |= client.notice(notice);
            }
            if interested {
                woken.push((*id, client.proc));
            }
        }
        for (id, proc) in woken {
            let wait = self.latency(proc);
            self.wake(id, wait);
        }
    }

    fn feed(&mut self, id: ClientId) {
        let Some(proc) = self.clients.get(&id).map(|client| client.proc) else { return };
        let pause = self.pause_left(proc);
        if pause > 0 {
            self.after(pause, Ev::Feed(id));
            return;
        }
        let forwards_first = self.rng.chance(500);
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.feed_at = None;
        let (port, server, db) = (client.port, client.server, client.db);
        let Some(process) = self.procs.get_mut(&proc) else { return };
        let (mut wakes, mut fed, mut again) = (false, false, false);
        match &mut client.kind {
            Kind::Reader(reader) => {
                if let Some(update) = reader.take() {
                    self.trace.read(self.now, proc, server, db, &update);
                    process.part.update(port, update);
                    (fed, again) = (true, true);
                }
            }
            Kind::Store(store) => {
                let forward = !store.port.is_empty() && (forwards_first || !store.has_update());
                if forward {
                    if let Some(batch) = store.port.pop_front() {
                        wakes = store.write(batch);
                    }
                    again = true;
                } else if let Some(update) = store.take() {
                    self.trace.stored(self.now, proc, server, db, &update);
                    process.part.stored(port, update);
                    (fed, again) = (true, true);
                }
            }
            Kind::Consumer(consumer) => {
                if let Some(update) = consumer.take() {
                    self.trace.read(self.now, proc, server, db, &update);
                    process.part.update(port, update);
                    (fed, again) = (true, true);
                }
            }
            Kind::Producer(producer) => {
                let has_batch = !producer.port.is_empty();
                again = has_batch || producer.has_update() || producer.has_work();
                if has_batch && (forwards_first || !(producer.has_update() || producer.has_work())) {
                    if let Some(batch) = producer.port.pop_front() {
                        producer.write(batch);
                    }
                } else if producer.has_update() && (!forwards_first || !producer.has_work()) {
                    if let Some(update) = producer.take() {
                        self.trace.stored(self.now, proc, server, db, &update);
                        process.part.stored(port, update);
                        fed = true;
                    }
                } else if producer.has_work() {
                    producer.work(self.now, forwards_first);
                }
            }
        }
        self.settle_link(id);
        if wakes {
            let wait = self.latency(proc);
            self.wake(id, wait);
        }
        if fed {
            self.schedule_step(proc, 20);
        }
        if again {
            let wait = self.rng.between(5, 100);
            self.wake_feed(id, wait);
        }
    }
}
