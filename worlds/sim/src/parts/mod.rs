//! The shells around the cores: from updates to inputs and from effects to ports, each a mirror of
//! `apps/*/src/run.rs`.

pub mod bfdmgr;
pub mod controller;
pub mod hamgrd;
pub mod haorchd;
pub mod orchagent;
pub mod pmond;

use ::controller::{DpuRecord, Fleet};
use ::hamgr::RestartPolicy;
use ::haorch::AsicCall;
use npu_model::NextHopRule;
use reconcile::{RowWrite, StoreUpdate, Time};
use schema::{Db, PinnedState, Row, Table, WallMs};

use crate::client::{Change, Update, ZmqPeer};
use crate::redis::Mode;
use crate::topology::{Proc, Server, Topology};

/// A connection that a process opens.
#[derive(Clone, Debug)]
pub enum PortSpec {
    /// A subscriber.
    Subscribe(Server, Db, Vec<Table>),
    /// A consumer.
    Consume(Server, Db, Vec<Table>),
    /// A store.
    Store(Server, Db, Vec<(Table, Mode)>),
    /// A producer of ZMQ tables.
    Produce(Server, Db, Vec<Table>),
    /// A consumer of ZMQ tables.
    Serve(Server, Db, Vec<Table>),
}

impl PortSpec {
    /// The server that it leads to.
    pub const fn server(&self) -> Server {
        match self {
            Self::Subscribe(server, ..)
            | Self::Consume(server, ..)
            | Self::Store(server, ..)
            | Self::Produce(server, ..)
            | Self::Serve(server, ..) => *server,
        }
    }
}

/// What a part asks its surroundings for.
#[derive(Clone, Debug)]
pub enum Out {
    /// Write through this port.
    Write(usize, RowWrite),
    /// The consumer of this port's rows is there.
    Peer(usize, Option<ZmqPeer>),
    /// It said something to the operator.
    Note(String),
    /// It is ready (`sd_notify`).
    Ready,
    /// Call the ASIC.
    Asic(AsicCall),
    /// Run exactly these BFD sessions.
    Bfd(bfd::Wanted),
    /// Traffic goes so from now on.
    Forward(Box<npu_model::Forwarding>),
    /// It does what it must not.
    Wrong(String),
    /// Probe these from now on.
    Probe(Vec<pmon::Target>),
    /// Make a record durable.
    Persist(Box<DpuRecord>),
    /// It has said its last word.
    Left,
}

/// What reaches a part by other ways than a database.
#[derive(Clone, Debug)]
pub enum Extra {
    /// From the ASIC.
    Haorch(::haorch::Input),
    /// BFD sessions changed: path, state unless it is gone, and discriminator.
    Bfd(Vec<(bfd::Path, Option<bfd::State>, Option<u32>)>),
    /// A probe ended.
    Probe(pmon::Target, bool),
    /// A record is durable, or could not be made so.
    Persisted(Box<DpuRecord>, bool),
    /// The fleet file was read.
    Fleet(Box<Fleet>),
    /// What the durable store holds.
    Records(Vec<DpuRecord>),
    /// SIGTERM.
    Stop,
}

/// A process' inside: a core, its queue of inputs and its ports.
pub trait Part {
    /// The connections it opens at start, in order; their places are the ports' numbers.
    fn ports(&self) -> Vec<PortSpec>;
    /// A reader's update goes into the queue.
    fn update(&mut self, port: usize, update: Update);
    /// A store's update goes into the queue.
    fn stored(&mut self, port: usize, update: StoreUpdate);
    /// Something else goes into the queue.
    fn extra(&mut self, extra: Extra);
    /// Gives the core its queue.
    fn handle(&mut self, now: Time, wall: WallMs, out: &mut Vec<Out>);
    /// The core's next deadline.
    fn next_deadline(&self) -> Option<Time>;
}

/// A row of state: one that cannot be understood is as if it were not there.
fn or_nothing<R: Row>(change: &Change) -> Option<(R::Key, Option<R>)> {
    let key = R::parse_key(&change.key).ok()?;
    let row = change.fields.as_ref().and_then(|fields| R::parse_reporting(&change.key, fields).0);
    Some((key, row.map(|(_, row)| row)))
}

/// A row of configuration: one that cannot be understood leaves the last good one in force.
fn or_last_good<R: Row>(change: &Change) -> Option<(R::Key, Option<R>)> {
    let key = R::parse_key(&change.key).ok()?;
    match &change.fields {
        None => Some((key, None)),
        Some(fields) => R::parse_reporting(&change.key, fields).0.map(|(key, row)| (key, Some(row))),
    }
}

/// A new part for a process that starts.
pub fn start(proc: Proc, start: &Start) -> Box<dyn Part> {
    match proc {
        Proc::Controller | Proc::Rival => {
            Box::new(controller::ControllerPart::new(start.topology, start.seed))
        }
        Proc::Hamgrd(switch) => Box::new(hamgrd::HamgrdPart::new(switch, start)),
        Proc::PmonNpu(switch) => Box::new(pmond::NpuPart::new(switch)),
        Proc::PmonDpu(dpu) => Box::new(pmond::DpuPart::new(dpu, start.boot_id.clone())),
        Proc::Haorchd(dpu) => Box::new(haorchd::HaorchdPart::new(dpu, start)),
        Proc::Orchagent(switch) if start.bfd => Box::new(orchagent::OrchagentPart::new(switch, start)),
        Proc::Orchagent(switch) => Box::new(Orchagent { switch }),
    }
}

/// What a process is started with.
#[derive(Clone, Debug)]
pub struct Start {
    /// For its ids.
    pub seed: u64,
    /// Who there is.
    pub topology: Topology,
    /// The boot id of the DPU, on a DPU that publishes it.
    pub boot_id: Option<String>,
    /// What hamgrd does with a configuration after a restart.
    pub policy: RestartPolicy,
    /// Whether rows go to DPUs over ZMQ.
    pub zmq: bool,
    /// Whether there is BFD.
    pub bfd: bool,
    /// Whether everything has an IPv6 address as well.
    pub dual_stack: bool,
    /// What the switch's NPU follows.
    pub rule: NextHopRule,
    /// Which endpoint of every VIP it takes for up or for down, if any.
    pub pin: Option<(usize, PinnedState)>,
}

/// The switch's orchagent where there is no BFD: it takes rows in and that is all.
struct Orchagent {
    switch: u8,
}

impl Part for Orchagent {
    fn ports(&self) -> Vec<PortSpec> {
        let tables = vec![Table::VnetRouteTunnel, Table::NeighResolve];
        vec![PortSpec::Consume(Server::Host(self.switch), Db::ApplDb, tables)]
    }
    fn update(&mut self, _port: usize, _update: Update) {}
    fn stored(&mut self, _port: usize, _update: StoreUpdate) {}
    fn extra(&mut self, _extra: Extra) {}
    fn handle(&mut self, _now: Time, _wall: WallMs, _out: &mut Vec<Out>) {}
    fn next_deadline(&self) -> Option<Time> {
        None
    }
}
