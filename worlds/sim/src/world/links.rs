//! ZMQ links between hamgrd and haorchd: streams of bytes with latency, in pieces, that break as TCP connections do.
//!
//! - A process that ends closes its end; what it had sent arrives, or only the beginning of it.
//! - A DPU that loses power says nothing: its peer learns of it from a reset once the DPU is up again, or because
//!   what it sent was not confirmed for [`USER_TIMEOUT`].
//! - Either end may be a stranger's ([`super::strangers`]), who takes no notice of anything.
//! - While the midplane is cut, or the link is a black hole, nothing arrives in either direction.
//!
//! The kernel's keep-alive is not modelled: both ends' own timers (`core/zmq`) are shorter.

use zmq::{Deliveries, LinkEvent};

use super::*;
use crate::client::{Consumer, Producer, SessionAct, WireAct, WireId};
use crate::configuration::ZMQ_PORT;
use crate::redis::RowKey;

/// As `io/swss` sets `TCP_USER_TIMEOUT`.
const USER_TIMEOUT: Micros = 5000 * MS;
/// When an attempt to connect is repeated.
const SYN_RETRY: Micros = 1000 * MS;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// hamgrd's.
    Producer,
    /// haorchd's.
    Consumer,
}

impl End {
    const fn other(self) -> Self {
        match self {
            Self::Producer => Self::Consumer,
            Self::Consumer => Self::Producer,
        }
    }
}

/// What an end has sent and the other has not received.
#[derive(Debug, Default)]
struct Flight {
    segments: VecDeque<Vec<u8>>,
    /// After them the connection is over.
    ends: bool,
    is_scheduled: bool,
    blocked_since: Option<Micros>,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    dpu: DpuRef,
    /// `None` is a stranger.
    producer: Option<ClientId>,
    consumer: Option<ClientId>,
    is_accepted: bool,
    /// Whether the ends still have it.
    open: (bool, bool),
    flights: (Flight, Flight),
    /// It breaks after so many more pieces.
    pub(crate) breaks_after: Option<u64>,
}

impl Wire {
    /// Whether somebody else listens where haorchd ought to.
    pub(super) fn is_of_impostor(&self) -> bool {
        self.consumer.is_none()
    }

    fn client(&self, end: End) -> Option<ClientId> {
        match end {
            End::Producer => self.producer,
            End::Consumer => self.consumer,
        }
    }

    fn is_open(&self, end: End) -> bool {
        match end {
            End::Producer => self.open.0,
            End::Consumer => self.open.1,
        }
    }

    fn close(&mut self, end: End) {
        match end {
            End::Producer => self.open.0 = false,
            End::Consumer => self.open.1 = false,
        }
    }

    fn flight(&mut self, from: End) -> &mut Flight {
        match from {
            End::Producer => &mut self.flights.0,
            End::Consumer => &mut self.flights.1,
        }
    }
}

impl World {
    /// When the ZMQ link to a DPU last came up, went down, or let through again what waits in it, which may be old.
    pub(crate) fn link_changed(&self, dpu: DpuRef) -> Micros {
        let turned = self.link_turns.get(&dpu).copied().unwrap_or_default();
        self.black_holes.get(&dpu).copied().unwrap_or_default().max(turned)
    }

    /// Whether anything passes between a DPU and its hamgrd.
    pub(super) fn passes(&self, dpu: DpuRef) -> bool {
        let is_there = self.devices.get(&dpu).is_some_and(|device| device.is_on && !device.midplane_cut);
        is_there && self.black_holes.get(&dpu).is_none_or(|until| *until <= self.now)
    }

    pub(super) fn producer(&mut self, id: ClientId) -> Option<&mut Producer> {
        match &mut self.clients.get_mut(&id)?.kind {
            Kind::Producer(producer) => Some(producer),
            Kind::Reader(_) | Kind::Store(_) | Kind::Consumer(_) => None,
        }
    }

    pub(super) fn consumer(&mut self, id: ClientId) -> Option<&mut Consumer> {
        match &mut self.clients.get_mut(&id)?.kind {
            Kind::Consumer(consumer) => Some(consumer),
            Kind::Reader(_) | Kind::Store(_) | Kind::Producer(_) => None,
        }
    }

    /// The consumer of a DPU, while its haorchd runs and is not one that reads the database.
    pub(crate) fn consumer_of(&self, dpu: DpuRef) -> Option<(ClientId, &Consumer)> {
        let process = self.procs.get(&Proc::Haorchd(dpu))?;
        process.clients.iter().find_map(|id| match &self.clients.get(id)?.kind {
            Kind::Consumer(consumer) => Some((*id, consumer.as_ref())),
            Kind::Reader(_) | Kind::Store(_) | Kind::Producer(_) => None,
        })
    }

    /// Whether a DPU holds rows that its database does not, or the other way round; fields that are said once are
    /// in no database.
    pub(crate) fn is_told_otherwise(&self, dpu: DpuRef) -> Option<String> {
        let (_, consumer) = self.consumer_of(dpu)?;
        let database = self.servers.get(&Server::OfDpu(dpu))?.databases.get(&Db::DpuApplDb)?;
        let kept = |(row, fields): (&RowKey, &Fields)| (row.clone(), Deliveries::persistent(row.0, fields));
        let held: BTreeMap<RowKey, Fields> = consumer.holdings().rows().map(kept).collect();
        let differs = |row: &&RowKey| held.get(*row) != database.rows.get(*row);
        let (table, key) = held.keys().chain(database.rows.keys()).find(differs)?;
        Some(format!("P1 haorchd@{dpu} holds another {} than DPU_APPL_DB", table.redis_key(key)))
    }

    /// How long whoever has that end still stands still.
    fn end_pause(&self, wire: WireId, end: End) -> Micros {
        let client = self.wires.get(&wire).and_then(|wire| wire.client(end));
        let client = client.and_then(|id| self.clients.get(&id));
        client.map_or(0, |client| self.pause_left(client.proc))
    }

    /// Carries out what an end of links asks for, and sees to it that it is given time.
    pub(crate) fn settle_link(&mut self, id: ClientId) {
        let now = self.now;
        let Some(client) = self.clients.get_mut(&id) else { return };
        let proc = client.proc;
        match &mut client.kind {
            Kind::Producer(producer) => {
                let acts = std::mem::take(&mut producer.acts);
                let sent = std::mem::take(&mut producer.sent);
                let news = std::mem::take(&mut producer.news);
                let is_reopened = std::mem::take(&mut producer.is_reopened);
                let wakes = std::mem::take(&mut producer.has_writes) || is_reopened;
                let peer = producer.peer;
                let has_turned = std::mem::take(&mut producer.has_turned);
                if is_reopened {
                    client.reopen();
                }
                let Server::OfDpu(dpu) = client.server else { return };
                if has_turned {
                    self.link_turns.insert(dpu, now);
                }
                for text in news {
                    self.trace.line(now, || format!("{proc} ZMQ to {dpu}: {text}"));
                }
                for row in sent {
                    self.trace.line(now, || {
                        let (name, fields) = (row.table.redis_key(&row.key), &row.fields);
                        format!("{proc} SENDS  {dpu} {name} {fields:?}")
                    });
                    Checks::sent(self, proc, dpu, &row);
                }
                for act in acts {
                    self.act(id, peer, act);
                }
                if wakes {
                    let wait = self.latency(proc);
                    self.wake(id, wait);
                }
            }
            Kind::Consumer(consumer) => {
                let acts = std::mem::take(&mut consumer.acts);
                let news = std::mem::take(&mut consumer.news);
                let is_asking = std::mem::take(&mut consumer.is_asking);
                for text in news {
                    self.trace.line(now, || format!("{proc} ZMQ: {text}"));
                }
                for (wire, act) in acts {
                    match act {
                        SessionAct::Transmit(bytes) => self.transmit(wire, End::Consumer, &bytes),
                        SessionAct::Close => self.end_wire(wire, End::Consumer, false),
                    }
                }
                if is_asking {
                    self.wake(id, 10);
                }
            }
            Kind::Reader(_) | Kind::Store(_) => return,
        }
        let Some(client) = self.clients.get_mut(&id) else { return };
        let (timer, feeds) = match &client.kind {
            Kind::Producer(producer) => (producer.next_timer(), producer.has_update() || producer.has_work()),
            Kind::Consumer(consumer) => (consumer.next_timer(), consumer.has_update()),
            Kind::Reader(_) | Kind::Store(_) => (None, false),
        };
        if let Some(at) = timer.map(|at| at.max(now + 10)).filter(|at| Some(*at) != client.timer_at) {
            client.timer_at = Some(at);
            self.after(at - now, Ev::Timer(id));
        }
        if feeds {
            let wait = self.rng.between(5, 100);
            self.wake_feed(id, wait);
        }
    }

    /// An end is given time.
    pub(crate) fn timer(&mut self, id: ClientId) {
        let now = self.now;
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.timer_at != Some(now) {
            return;
        }
        client.timer_at = None;
        let proc = client.proc;
        let pause = self.pause_left(proc);
        let Some(client) = self.clients.get_mut(&id) else { return };
        if pause > 0 {
            client.timer_at = Some(now + pause);
            self.after(pause, Ev::Timer(id));
            return;
        }
        match &mut client.kind {
            Kind::Producer(producer) => producer.tick(now),
            Kind::Consumer(consumer) => consumer.tick(now),
            Kind::Reader(_) | Kind::Store(_) => {}
        }
        self.settle_link(id);
    }

    fn act(&mut self, id: ClientId, peer: Option<crate::client::ZmqPeer>, act: WireAct) {
        let Some(producer) = self.producer(id) else { return };
        match act {
            WireAct::Connect => {
                producer.attempt += 1;
                let (attempt, wait) = (producer.attempt, self.rng.latency());
                if peer.is_some() {
                    self.after(wait, Ev::Connect(id, attempt));
                }
            }
            WireAct::Transmit(bytes) => {
                if let Some(wire) = producer.wire {
                    self.transmit(wire, End::Producer, &bytes);
                }
            }
            WireAct::Disconnect => {
                producer.attempt += 1;
                if let Some(wire) = producer.wire.take() {
                    self.end_wire(wire, End::Producer, false);
                }
            }
        }
    }

    /// The first packet of an attempt to connect is under way.
    pub(crate) fn connect(&mut self, id: ClientId, attempt: u64) {
        let Some(producer) = self.producer(id).filter(|producer| producer.attempt == attempt) else { return };
        let Some((address, port)) = producer.peer else { return };
        let Some(proc) = self.clients.get(&id).map(|client| client.proc) else { return };
        let pause = self.pause_left(proc);
        let dpu = self.topology.by_midplane(address).filter(|dpu| self.passes(*dpu));
        let Some(dpu) = dpu.filter(|_| pause == 0) else {
            self.after(pause.max(SYN_RETRY), Ev::Connect(id, attempt));
            return;
        };
        let listening = self.consumer_of(dpu).filter(|(_, consumer)| consumer.is_listening);
        let consumer = listening.filter(|_| port == ZMQ_PORT).map(|(consumer, _)| consumer);
        if consumer.is_none() && !self.impostors.contains_key(&dpu) {
            let now = self.now;
            if let Some(producer) = self.producer(id) {
                producer.tell_link(now, LinkEvent::Refused { reason: "connection refused".to_owned() });
            }
            self.settle_link(id);
            return;
        }
        let wire = self.new_wire(dpu, Some(id), consumer);
        let now = self.now;
        if let Some(producer) = self.producer(id) {
            producer.wire = Some(wire);
            producer.tell_link(now, LinkEvent::Connected);
        }
        self.settle_link(id);
    }

    /// A connection that is not accepted yet.
    pub(super) fn new_wire(
        &mut self,
        dpu: DpuRef,
        producer: Option<ClientId>,
        consumer: Option<ClientId>,
    ) -> WireId {
        self.next_wire += 1;
        let wire = self.next_wire;
        let new = Wire {
            dpu,
            producer,
            consumer,
            is_accepted: false,
            open: (true, true),
            flights: (Flight::default(), Flight::default()),
            breaks_after: None,
        };
        self.wires.insert(wire, new);
        let wait = self.rng.latency();
        self.after(wait, Ev::Accept(wire));
        wire
    }

    /// A consumer accepts a connection.
    pub(crate) fn accept(&mut self, id: WireId) {
        let pause = self.end_pause(id, End::Consumer);
        if pause > 0 {
            self.after(pause, Ev::Accept(id));
            return;
        }
        let now = self.now;
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| wire.is_open(End::Consumer)) else { return };
        wire.is_accepted = true;
        let dpu = wire.dpu;
        let Some(client) = wire.consumer else {
            self.greet_falsely(id, dpu);
            return;
        };
        if let Some(consumer) = self.consumer(client) {
            consumer.accept(now, id);
        }
        self.settle_link(client);
    }

    pub(super) fn transmit(&mut self, id: WireId, from: End, bytes: &[u8]) {
        let cut = if self.rng.chance(300) { self.rng.below(bytes.len() as u64) } else { 0 };
        let cut = usize::try_from(cut).unwrap_or_default();
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| wire.is_open(from)) else { return };
        let (first, second) = bytes.split_at_checked(cut).unwrap_or((&[], bytes));
        let pieces = [first, second].into_iter().filter(|piece| !piece.is_empty());
        wire.flight(from).segments.extend(pieces.map(<[u8]>::to_vec));
        let wait = self.rng.latency();
        self.fly(id, from, wait);
    }

    fn fly(&mut self, id: WireId, from: End, wait: Micros) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let flight = wire.flight(from);
        let has_more = !flight.segments.is_empty() || flight.ends;
        if has_more && !std::mem::replace(&mut flight.is_scheduled, true) {
            self.after(wait, Ev::Wire(id, from));
        }
    }

    /// The next piece that an end has sent arrives, if it does.
    pub(crate) fn wire(&mut self, id: WireId, from: End) {
        let to = from.other();
        let (now, pause) = (self.now, self.end_pause(id, from).max(self.end_pause(id, to)));
        let retry = self.rng.between(100 * MS, 500 * MS);
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let (dpu, is_accepted) = (wire.dpu, wire.is_accepted);
        wire.flight(from).is_scheduled = false;
        if !self.passes(dpu) {
            let Some(wire) = self.wires.get_mut(&id) else { return };
            let since = *wire.flight(from).blocked_since.get_or_insert(now);
            if now - since < USER_TIMEOUT || pause > 0 {
                self.fly(id, from, retry.max(pause));
            } else {
                self.told_closed(id, from, "connection timed out");
            }
            return;
        }
        if pause > 0 || (to == End::Consumer && !is_accepted) {
            self.fly(id, from, pause.max(2 * MS));
            return;
        }
        let Some(wire) = self.wires.get_mut(&id) else { return };
        wire.flight(from).blocked_since = None;
        if !wire.is_open(to) {
            self.told_closed(id, from, "connection reset by peer");
            self.wires.remove(&id);
            return;
        }
        let (client, is_strange) = (wire.client(to), wire.client(from).is_none());
        let Some(bytes) = wire.flight(from).segments.pop_front() else {
            self.told_closed(id, to, "the peer closed the connection");
            self.wires.remove(&id);
            return;
        };
        let breaks = wire.breaks_after == Some(0);
        wire.breaks_after = wire.breaks_after.and_then(|left| left.checked_sub(1));
        if breaks {
            self.break_wire(id);
            return;
        }
        let wait = self.rng.latency();
        self.fly(id, from, wait);
        let Some(client) = client else { return };
        match to {
            End::Producer => self.received_by_producer(client, id, is_strange, bytes),
            End::Consumer => self.received_by_consumer(client, id, is_strange, bytes),
        }
        self.settle_link(client);
    }

    /// An end hears that the connection is over.
    fn told_closed(&mut self, id: WireId, end: End, reason: &str) {
        let now = self.now;
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let was_open = wire.is_open(end);
        wire.close(end);
        wire.flight(end).segments.clear();
        let client = wire.client(end);
        let is_over = !wire.is_open(end.other()) && wire.flight(end.other()).segments.is_empty();
        if is_over {
            self.wires.remove(&id);
        }
        let Some(client) = client.filter(|_| was_open) else { return };
        match end {
            End::Producer => {
                if let Some(producer) = self.producer(client).filter(|producer| producer.wire == Some(id)) {
                    producer.wire = None;
                    producer.tell_link(now, LinkEvent::Closed { reason: reason.to_owned() });
                }
            }
            End::Consumer => {
                if let Some(consumer) = self.consumer(client) {
                    consumer.closed(now, id, reason);
                }
            }
        }
        self.settle_link(client);
    }

    /// An end closes the connection. With `hard` it may not have read all, and then the peer may not, either.
    pub(crate) fn end_wire(&mut self, id: WireId, end: End, hard: bool) {
        let loses = hard && self.rng.chance(500);
        let kept = self.rng.any();
        let Some(wire) = self.wires.get_mut(&id) else { return };
        wire.close(end);
        let dpu = wire.dpu;
        let is_silent = end == End::Consumer && self.devices.get(&dpu).is_none_or(|device| !device.is_on);
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let flight = wire.flight(end);
        if is_silent {
            flight.segments.clear();
            flight.ends = false;
            return;
        }
        if loses {
            let kept = kept % (flight.segments.len() as u64 + 1);
            flight.segments.truncate(usize::try_from(kept).unwrap_or_default());
        }
        flight.ends = true;
        if !wire.is_open(end.other()) {
            self.wires.remove(&id);
            return;
        }
        let wait = self.rng.latency();
        self.fly(id, end, wait);
    }

    /// Both ends of a process' links go down with it.
    pub(crate) fn end_wires_of(&mut self, client: ClientId) {
        let of = |(id, wire): (&WireId, &Wire)| {
            let end = if wire.producer == Some(client) { End::Producer } else { End::Consumer };
            (wire.client(end) == Some(client) && wire.is_open(end)).then_some((*id, end))
        };
        for (id, end) in self.wires.iter().filter_map(of).collect::<Vec<_>>() {
            self.end_wire(id, end, true);
        }
    }

    /// A connection breaks, and with it what is under way.
    pub(crate) fn break_wire(&mut self, id: WireId) {
        for end in [End::Producer, End::Consumer] {
            let Some(wire) = self.wires.get_mut(&id) else { return };
            wire.flight(end).segments.clear();
            let wait = self.rng.latency();
            self.after(wait, Ev::Broken(id, end));
        }
    }

    /// An end notices that the connection broke.
    pub(crate) fn broken(&mut self, id: WireId, end: End) {
        let pause = self.end_pause(id, end);
        if pause > 0 {
            self.after(pause, Ev::Broken(id, end));
        } else {
            self.told_closed(id, end, "connection reset");
        }
    }

    /// The connections of a DPU, by number.
    pub(crate) fn wires_of(&self, dpu: DpuRef) -> Vec<WireId> {
        self.wires.iter().filter(|(_, wire)| wire.dpu == dpu).map(|(id, _)| *id).collect()
    }

    /// The process says where the consumer is.
    pub(crate) fn set_peer(&mut self, id: ClientId, peer: Option<crate::client::ZmqPeer>) {
        let now = self.now;
        if let Some(producer) = self.producer(id) {
            producer.set_peer(now, peer);
        }
        self.settle_link(id);
    }
}
