//! Processes: how they start, run their cores, and end.

use hamgr::RestartPolicy;

use super::*;
use crate::client::{Consumer, Producer};

impl World {
    pub(crate) fn schedule_step(&mut self, proc: Proc, wait: Micros) {
        let at = self.now + wait;
        let Some(process) = self.procs.get_mut(&proc) else { return };
        if process.step_at.is_none_or(|due| at < due) {
            process.step_at = Some(at);
            self.after(wait, Ev::Step(proc));
        }
    }

    pub(crate) fn step(&mut self, proc: Proc) {
        let pause = self.pause_left(proc);
        let wall = self.wall_of(proc.machine());
        let Some(process) = self.procs.get_mut(&proc) else { return };
        if process.step_at != Some(self.now) {
            return;
        }
        process.step_at = None;
        if pause > 0 {
            self.schedule_step(proc, pause);
            return;
        }
        if self.now - process.spins.0 > 1000 * MS {
            process.spins = (self.now, 0);
        }
        process.spins.1 += 1;
        if process.spins.1 > SPIN_MAX {
            self.checks.fail(format!("P6 {proc} spins: {SPIN_MAX} steps within a second"));
            return;
        }
        let (now, wall) = (Time((self.now - process.started) / MS), wall);
        let mut out = Vec::new();
        process.part.handle(now, wall, &mut out);
        let deadline = process.part.next_deadline();
        let due = deadline.map(|Time(at)| (process.started + at * MS).max(self.now + 10) - self.now);
        let (life, clients) = (process.life, process.clients.clone());
        if let Some(due) = due {
            self.schedule_step(proc, due);
        }
        let mut writes: BTreeMap<ClientId, Vec<RowWrite>> = BTreeMap::new();
        for effect in out {
            match effect {
                Out::Write(port, write) => {
                    if let Some(id) = clients.get(port) {
                        writes.entry(*id).or_default().push(write);
                    }
                }
                Out::Peer(port, peer) => {
                    if let Some(id) = clients.get(port) {
                        self.set_peer(*id, peer);
                    }
                }
                other => self.carry_out(proc, life, other),
            }
        }
        for (id, batch) in writes {
            let tag = |known| batch.into_iter().map(|write| (write, known)).collect();
            match self.clients.get_mut(&id).map(|client| &mut client.kind) {
                Some(Kind::Store(store)) => store.port.push_back(tag(store.known_emptied)),
                Some(Kind::Producer(producer)) => producer.port.push_back(tag(producer.known_emptied)),
                Some(Kind::Reader(_) | Kind::Consumer(_)) | None => {}
            }
            let wait = self.rng.between(5, 100);
            self.wake_feed(id, wait);
        }
    }

    pub(crate) fn carry_out(&mut self, proc: Proc, life: u64, effect: Out) {
        match effect {
            Out::Write(..) | Out::Peer(..) => {}
            Out::Bfd(wanted) => self.want_bfd(proc, wanted),
            Out::Note(text) => self.trace.line(self.now, || format!("{proc} DECIDES {text}")),
            Out::Ready => {
                self.trace.line(self.now, || format!("{proc} is ready"));
                if let Proc::Haorchd(dpu) = proc {
                    self.announce(dpu);
                }
            }
            Out::Asic(call) => {
                if let Proc::Haorchd(dpu) = proc {
                    self.trace.line(self.now, || format!("{proc} calls  {:?}", call.op));
                    Checks::called(self, dpu, &call.op);
                    if let Some(asic) = self.devices.get_mut(&dpu).and_then(|device| device.asic.as_mut()) {
                        asic.calls.push_back(call);
                    }
                    let wait = self.rng.between(5, 500);
                    self.schedule_asic(dpu, wait);
                }
            }
            Out::Probe(targets) => {
                if let (Proc::PmonNpu(switch), Some(process)) = (proc, self.procs.get_mut(&proc)) {
                    process.targets = targets;
                    if !std::mem::replace(&mut process.probing, true) {
                        self.after(0, Ev::ProbeRound(switch, life));
                    }
                }
            }
            Out::Persist(record) => {
                let wait = self.latency(proc);
                self.after(wait, Ev::Commit(proc, life, record));
            }
            Out::Forward(forwarding) => {
                if let Proc::Orchagent(switch) = proc {
                    self.forwarding.insert(switch, *forwarding);
                }
            }
            Out::Wrong(what) => self.checks.fail(format!("P4 {proc} {what}")),
            Out::Left => self.kill(proc),
        }
    }

    pub(crate) fn extra_in_life(&mut self, proc: Proc, life: u64, extra: Extra) {
        if self.procs.get(&proc).is_some_and(|process| process.life == life) {
            self.extra(proc, extra);
        }
    }

    pub(crate) fn extra(&mut self, proc: Proc, extra: Extra) {
        if let Some(process) = self.procs.get_mut(&proc) {
            process.part.extra(extra);
            let wait = self.rng.between(5, 200);
            self.schedule_step(proc, wait);
        }
    }

    pub(crate) fn start(&mut self, proc: Proc, boot: u64) {
        let is_stale = proc.on_dpu().is_some_and(|dpu| {
            self.devices.get(&dpu).is_none_or(|device| !device.is_on || device.boots != boot)
        });
        if is_stale || self.procs.contains_key(&proc) {
            return;
        }
        let device = proc.on_dpu().and_then(|dpu| self.devices.get(&dpu));
        let boot_id = device.map(|device| device.boot_id.clone()).unwrap_or_default();
        let publishes = |dpu| !self.variant.without_boot_id.contains(&dpu);
        let boot_id = Some(boot_id).filter(|_| proc.on_dpu().is_some_and(publishes));
        let policy = if self.variant.autonomous.iter().any(|switch| proc == Proc::Hamgrd(*switch)) {
            RestartPolicy::Autonomous
        } else {
            RestartPolicy::Controller
        };
        let switch = match proc {
            Proc::Hamgrd(switch) => Some(switch),
            Proc::Haorchd(dpu) => Some(dpu.switch),
            Proc::Controller | Proc::Rival | Proc::PmonNpu(_) | Proc::PmonDpu(_) | Proc::Orchagent(_) => None,
        };
        let zmq = switch.is_some_and(|switch| !self.variant.redis.contains(&switch));
        let start = Start {
            seed: self.rng.any(),
            topology: self.topology,
            boot_id,
            policy,
            zmq,
            bfd: !self.variant.without_bfd,
            dual_stack: self.variant.dual_stack,
            rule: self.variant.rule(proc),
            pin: self.variant.pin(proc),
        };
        let part = mutants::through(self.mutant, proc, parts::start(proc, &start));
        self.lives += 1;
        self.trace.line(self.now, || format!("{proc} STARTS"));
        let ports = part.ports().into_iter().enumerate();
        let clients: Vec<ClientId> = ports.map(|(port, spec)| self.open_client(proc, port, spec)).collect();
        let process = Process {
            part,
            life: self.lives,
            started: self.now,
            clients: clients.clone(),
            paused_until: 0,
            slow: 0,
            slow_until: 0,
            step_at: None,
            spins: (0, 0),
            targets: Vec::new(),
            probing: false,
            doomed: None,
            unanswered: None,
        };
        self.procs.insert(proc, process);
        if let (Proc::Haorchd(_) | Proc::Orchagent(_), false) = (proc, self.variant.without_bfd) {
            let mistake = mutants::bfd_mistake(self.mutant, proc);
            let engine = BfdEngine::new(self.rng.any(), self.now, mistake);
            self.engines.insert(proc, engine);
        }
        match proc {
            Proc::Controller | Proc::Rival => {
                self.read_fleet();
                let records = self.stored_records(proc);
                self.extra(proc, Extra::Records(records));
            }
            Proc::Haorchd(dpu) => {
                let model = AsicModel::new(
                    u64::try_from(self.wall_of(Machine::Dpu(dpu)).0).unwrap_or_default(),
                    ModelConfig::default(),
                );
                let asic = AsicBox {
                    model,
                    calls: VecDeque::new(),
                    datagrams: Vec::new(),
                    bound: BTreeSet::new(),
                    started: self.now,
                    step_at: None,
                    failing: 0,
                };
                if let Some(device) = self.devices.get_mut(&dpu) {
                    device.asic = Some(asic);
                }
            }
            Proc::Hamgrd(_) | Proc::PmonNpu(_) | Proc::PmonDpu(_) | Proc::Orchagent(_) => {}
        }
        self.schedule_step(proc, 50);
    }

    fn open_client(&mut self, proc: Proc, port: usize, spec: PortSpec) -> ClientId {
        let (server, db, kind) = match spec {
            PortSpec::Subscribe(server, db, tables) => {
                (server, db, Kind::Reader(Box::new(Reader::subscribe(&tables))))
            }
            PortSpec::Consume(server, db, tables) => {
                (server, db, Kind::Reader(Box::new(Reader::consume(&tables))))
            }
            PortSpec::Store(server, db, tables) => (server, db, Kind::Store(Box::new(Store::open(&tables)))),
            PortSpec::Produce(server, db, tables) => {
                let lens = mutants::link_lens(self.mutant);
                let producer = Producer::open(&tables, self.now, lens);
                (server, db, Kind::Producer(Box::new(producer)))
            }
            PortSpec::Serve(server, db, tables) => {
                (server, db, Kind::Consumer(Box::new(Consumer::serve(&tables, self.now))))
            }
        };
        self.next_client += 1;
        let id = self.next_client;
        self.clients.insert(id, Client::new(proc, port, server, db, kind));
        self.listeners.entry((server, db)).or_default().insert(id);
        let wait = self.rng.latency();
        self.wake(id, wait);
        id
    }

    fn close_client(&mut self, id: ClientId) {
        self.end_wires_of(id);
        let client = self.clients.remove(&id);
        let at = client.and_then(|client| self.listeners.get_mut(&(client.server, client.db)));
        if let Some(listeners) = at {
            listeners.remove(&id);
        }
    }

    /// What a controller's durable store holds, which keeps it as text.
    fn stored_records(&mut self, proc: Proc) -> Vec<DpuRecord> {
        let records = if proc == Proc::Rival { &self.rival_records } else { &self.records };
        let read = |record: &DpuRecord| serde_json::from_slice(&serde_json::to_vec(record)?);
        let stored: Vec<DpuRecord> = records.values().filter_map(|record| read(record).ok()).collect();
        if !stored.iter().eq(records.values()) {
            self.checks.fail(format!("the store of {proc} does not hold what was put into it"));
        }
        stored
    }

    /// The controller reads the fleet file (again).
    pub(crate) fn read_fleet(&mut self) {
        match self.topology.fleet_file(&self.intent, &self.variant).read() {
            Ok(fleet) => {
                Checks::fleet_read(self);
                for proc in [Proc::Controller, Proc::Rival] {
                    // First the intent: what a switch says counts only once the switch is intended.
                    self.extra(proc, Extra::Fleet(Box::new(fleet.clone())));
                    self.connect_switches(proc);
                }
            }
            Err(problems) => self.checks.fail(format!("the fleet is wrong: {problems:?}")),
        }
    }

    /// A controller connects to exactly the switches of its fleet.
    fn connect_switches(&mut self, proc: Proc) {
        let Some(process) = self.procs.get(&proc) else { return };
        let (ports, mut clients) = (process.part.ports(), process.clients.clone());
        for (port, spec) in ports.into_iter().enumerate() {
            let Some(client) = clients.get_mut(port) else { continue };
            let is_connected = self.clients.contains_key(client);
            let is_wanted = !self.intent.without.contains(&spec.server().switch());
            if is_connected && !is_wanted {
                self.close_client(*client);
            } else if is_wanted && !is_connected {
                *client = self.open_client(proc, port, spec);
            }
        }
        if let Some(process) = self.procs.get_mut(&proc) {
            process.clients = clients;
        }
    }

    /// Ends a process at once.
    pub(crate) fn kill(&mut self, proc: Proc) {
        let Some(process) = self.procs.remove(&proc) else { return };
        self.trace.line(self.now, || format!("{proc} ENDS"));
        self.engines.remove(&proc);
        for id in process.clients {
            self.close_client(id);
        }
        if let Proc::Haorchd(dpu) = proc {
            Checks::ended(self, dpu);
        }
        if let Proc::Haorchd(dpu) = proc
            && let Some(device) = self.devices.get_mut(&dpu)
        {
            device.asic = None;
        }
    }
}
