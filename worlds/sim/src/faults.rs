//! What goes wrong, drawn from the seed before anything happens, so that each fault can be left out.

use std::fmt;

use schema::Db;

use crate::rng::{MS, Micros, Rng, S};
use crate::topology::{DpuRef, Proc, Server, Topology};

/// A thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SIGKILL; the supervisor starts it again after the time.
    Crash(Proc, Micros),
    /// The process stands still.
    Pause(Proc, Micros),
    /// Everything the process sends or receives takes that much longer, for some time.
    Slow(Proc, Micros, Micros),
    /// One of the process' connections breaks.
    Cut(Proc, u64),
    /// A DPU loses power and boots again.
    Restart(DpuRef, Micros),
    /// A DPU is shut down through the fleet, turned off, turned on, and taken back: lead time, time off.
    Planned(DpuRef, Micros, Micros),
    /// `FLUSHDB` by a stranger; politely is with a `DEL` of every key first.
    Flush(Server, Db, bool),
    /// The server dies with its data and comes back empty after the time.
    RedisRestart(Server, Micros),
    /// The midplane does not answer probes; with `true` nothing goes over it at all.
    Midplane(DpuRef, Micros, bool),
    /// `SYSTEM_READY` is down.
    ControlPlane(DpuRef, Micros),
    /// The DPU's port is down.
    DataPlane(DpuRef, Micros),
    /// A DPU and its peer do not hear each other.
    Partition(DpuRef, Micros),
    /// The channel between a DPU and its peer loses some datagrams.
    Loss(DpuRef, Micros),
    /// The fleet turns a DPU administratively down and up again.
    AdminFlap(DpuRef, Micros),
}

/// When what goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When.
    pub at: Micros,
    /// What.
    pub kind: Kind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.6} {:?}", self.at as f64 / 1e6, self.kind)
    }
}

/// When the system has long been at rest.
const AT_REST: Micros = 8 * S;

/// The fault phase's length.
pub const PHASE: Micros = 15 * S;

/// The most faults of a seed, unless told otherwise.
pub const MOST: u64 = 8;

/// Draws a schedule of one to `most` faults.
pub fn draw(rng: &mut Rng, topology: Topology, most: u64) -> Vec<Fault> {
    // One in four starts while the pair boots.
    let begin = if rng.chance(250) { rng.between(0, 3 * S) } else { AT_REST };
    let count = 1 + rng.below(most);
    let mut faults: Vec<Fault> = Vec::new();
    let mut last = None;
    for _ in 0..count {
        // Half of the faults hit while the one before is dealt with.
        let at = match last {
            Some(last) if rng.chance(500) => last + rng.between(0, 1500 * MS),
            Some(_) | None => begin + rng.below(PHASE),
        };
        last = Some(at);
        faults.push(Fault { at, kind: kind(rng, topology) });
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}

fn any_dpu(rng: &mut Rng, topology: Topology) -> DpuRef {
    let mut below = |bound: u8| u8::try_from(rng.below(u64::from(bound))).unwrap_or_default();
    DpuRef { switch: below(topology.switches), slot: below(topology.dpus) }
}

fn any_proc(rng: &mut Rng, topology: Topology) -> Proc {
    let dpu = any_dpu(rng, topology);
    match rng.below(9) {
        0..2 => Proc::Controller,
        2..5 => Proc::Hamgrd(dpu.switch),
        5 => Proc::PmonNpu(dpu.switch),
        6..8 => Proc::Haorchd(dpu),
        _ => Proc::PmonDpu(dpu),
    }
}

fn any_server(rng: &mut Rng, topology: Topology) -> Server {
    let dpu = any_dpu(rng, topology);
    match rng.below(4) {
        0 => Server::Host(dpu.switch),
        1 => Server::Chassis(dpu.switch),
        _ => Server::OfDpu(dpu),
    }
}

/// Short or long, evenly over the orders of magnitude.
fn duration(rng: &mut Rng, low: Micros, high: Micros) -> Micros {
    let (mut low, mut high) = (low, high);
    while high > 2 * low {
        if rng.chance(500) {
            high /= 2;
        } else {
            low *= 2;
        }
    }
    rng.between(low, high.max(low + 1))
}

fn kind(rng: &mut Rng, topology: Topology) -> Kind {
    let dpu = any_dpu(rng, topology);
    match rng.below(100) {
        0..18 => {
            let proc = any_proc(rng, topology);
            Kind::Crash(proc, duration(rng, 20 * MS, 5 * S))
        }
        18..24 => {
            let proc = any_proc(rng, topology);
            Kind::Pause(proc, duration(rng, 20 * MS, 5 * S))
        }
        24..29 => {
            let proc = any_proc(rng, topology);
            let extra = duration(rng, 5 * MS, 500 * MS);
            Kind::Slow(proc, extra, duration(rng, 500 * MS, 5 * S))
        }
        29..34 => {
            let proc = any_proc(rng, topology);
            Kind::Cut(proc, rng.any())
        }
        34..54 => Kind::Restart(dpu, duration(rng, 5 * MS, 8 * S)),
        54..59 => {
            let lead = duration(rng, 100 * MS, 6 * S);
            Kind::Planned(dpu, lead, duration(rng, 50 * MS, 5 * S))
        }
        59..69 => {
            let host = Server::Host(dpu.switch);
            let others =
                [(host, Db::ApplDb), (host, Db::StateDb), (Server::Chassis(dpu.switch), Db::ChassisStateDb)];
            let of_dpu = Db::OF_A_DPU.map(|db| (Server::OfDpu(dpu), db));
            let list = if rng.chance(300) { &others[..] } else { &of_dpu[..] };
            let (server, db) = rng.pick(list).copied().unwrap_or((Server::OfDpu(dpu), Db::DpuApplDb));
            Kind::Flush(server, db, rng.chance(500))
        }
        69..77 => {
            let server = any_server(rng, topology);
            Kind::RedisRestart(server, duration(rng, 20 * MS, 4 * S))
        }
        77..84 => {
            let cuts = rng.chance(500);
            Kind::Midplane(dpu, duration(rng, 20 * MS, 5 * S), cuts)
        }
        84..88 => Kind::ControlPlane(dpu, duration(rng, 20 * MS, 5 * S)),
        88..90 => Kind::DataPlane(dpu, duration(rng, 20 * MS, 5 * S)),
        90..94 => Kind::Partition(dpu, duration(rng, 50 * MS, 5 * S)),
        94..97 => Kind::Loss(dpu, duration(rng, 500 * MS, 5 * S)),
        _ => Kind::AdminFlap(dpu, duration(rng, 20 * MS, 6 * S)),
    }
}
