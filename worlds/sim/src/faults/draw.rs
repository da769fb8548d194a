//! Draws what goes wrong: how often each fault, where, and for how long.

use schema::{Db, Table};

use super::{Blunder, Fault, Kind, Mischief, Speech};
use crate::rng::{MS, Micros, Rng, S};
use crate::topology::{DpuRef, Machine, Proc, Server, Topology};

/// When the system has long been at rest.
const AT_REST: Micros = 8 * S;

/// The fault phase's length.
pub const PHASE: Micros = 15 * S;

/// The most faults of a seed, unless told otherwise.
pub const MOST: u64 = 8;

/// Draws one fault of a kind.
type Draw = fn(&mut Scene<'_>) -> Kind;

/// How often each fault is drawn, and how.
pub const RATES: &[(u64, Draw)] = &[
    (120, |scene| Kind::Crash(scene.proc(), scene.time(20 * MS, 5 * S))),
    (60, |scene| Kind::CrashAfter(scene.proc(), scene.rng.between(1, 12), scene.time(20 * MS, 3 * S))),
    (50, |scene| Kind::Pause(scene.proc(), scene.time(20 * MS, 5 * S))),
    (50, |scene| Kind::Slow(scene.proc(), scene.time(5 * MS, 500 * MS), scene.time(500 * MS, 5 * S))),
    (40, |scene| Kind::Cut(scene.proc(), scene.rng.any())),
    (40, |scene| Kind::LoseAnswer(scene.proc(), scene.rng.between(1, 6))),
    (150, |scene| Kind::Restart(scene.dpu(), scene.time(5 * MS, 8 * S))),
    (40, |scene| {
        let off = scene.time(5 * MS, 4 * S);
        Kind::RestartTwice(scene.dpu(), off, scene.time(5 * MS, 3 * S), scene.time(5 * MS, 2 * S))
    }),
    (50, |scene| Kind::Planned(scene.dpu(), scene.time(100 * MS, 6 * S), scene.time(50 * MS, 5 * S))),
    (80, flush),
    (70, |scene| {
        let keeps = scene.rng.chance(300);
        Kind::RedisRestart(scene.server(), scene.time(20 * MS, 4 * S), keeps)
    }),
    (30, |scene| {
        // Nothing happened but that nobody could read.
        Kind::RedisRestart(Server::Chassis(scene.dpu().switch), scene.time(100 * MS, 4 * S), true)
    }),
    (20, |scene| Kind::ConfigLoss(scene.dpu().switch, scene.time(20 * MS, 3 * S))),
    (15, |scene| Kind::LocalLoss(scene.dpu(), scene.time(20 * MS, 3 * S))),
    (60, |scene| {
        let cuts = scene.rng.chance(500);
        Kind::Midplane(scene.dpu(), scene.time(20 * MS, 5 * S), cuts)
    }),
    (20, |scene| Kind::ProbesLost(scene.dpu(), u32::try_from(scene.rng.between(1, 4)).unwrap_or(1))),
    (40, |scene| Kind::ControlPlane(scene.dpu(), scene.time(20 * MS, 5 * S))),
    (20, |scene| Kind::DataPlane(scene.dpu(), scene.time(20 * MS, 5 * S))),
    (50, |scene| {
        let pieces = if scene.rng.chance(300) { 0 } else { scene.rng.between(1, 12) };
        Kind::LinkBreaks(scene.dpu(), pieces)
    }),
    (40, |scene| Kind::BlackHole(scene.dpu(), scene.time(100 * MS, 12 * S))),
    (40, |scene| Kind::Stranger(scene.dpu(), scene.speech(), scene.time(5 * MS, 8 * S))),
    (30, |scene| Kind::Impostor(scene.dpu(), scene.speech(), scene.time(20 * MS, 8 * S))),
    (30, |scene| Kind::PanelCut(scene.dpu().switch, scene.dpu(), scene.time(100 * MS, 6 * S))),
    (20, |scene| Kind::PanelLoss(scene.dpu(), scene.time(500 * MS, 6 * S))),
    (20, |scene| Kind::Noise(scene.dpu(), scene.time(500 * MS, 6 * S))),
    (40, |scene| Kind::Partition(scene.dpu(), scene.time(50 * MS, 5 * S))),
    (40, |scene| {
        let (length, off) = (scene.rng.between(4 * S, 12 * S), scene.time(50 * MS, 2 * S));
        Kind::RestartApart(scene.dpu(), length, scene.time(100 * MS, 2 * S), off)
    }),
    (30, |scene| Kind::Loss(scene.dpu(), scene.time(500 * MS, 5 * S))),
    (30, |scene| Kind::Jumble(scene.dpu(), scene.time(500 * MS, 5 * S))),
    (40, |scene| Kind::AdminFlap(scene.dpu(), scene.time(20 * MS, 6 * S))),
    (20, |scene| Kind::Swap(scene.dpu())),
    (20, |scene| Kind::Retire(scene.dpu(), scene.time(50 * MS, 4 * S))),
    (15, |scene| Kind::Unnamed(scene.dpu(), scene.time(50 * MS, 4 * S))),
    (15, |scene| Kind::Without(scene.dpu().switch, scene.time(50 * MS, 4 * S))),
    (20, |scene| Kind::Misread(scene.rng.pick(&Blunder::ALL).copied().unwrap_or(Blunder::NoVip))),
    (20, |scene| Kind::Refused(scene.dpu().switch, scene.rng.between(1, 4))),
    (20, |scene| Kind::StoreFails(scene.rng.between(1, 4))),
    (20, |scene| Kind::Retime(scene.dpu().switch)),
    (40, |scene| Kind::ControllerCut(scene.dpu().switch, scene.time(50 * MS, 5 * S))),
    (20, |scene| {
        let knows = scene.rng.chance(500);
        Kind::Rival(scene.time(500 * MS, 5 * S), knows)
    }),
    (25, clock),
    (25, |scene| Kind::SaiFails(scene.dpu(), scene.rng.between(1, 4))),
    (60, meddle),
];

/// Draws a schedule of one to `most` faults.
pub fn draw(rng: &mut Rng, topology: Topology, most: u64) -> Vec<Fault> {
    // One in four starts while everything boots.
    let begin = if rng.chance(250) { rng.between(0, 3 * S) } else { AT_REST };
    let count = 1 + rng.below(most);
    let mut scene = Scene { rng, topology, focus: None };
    // Where there are many DPUs, half of the seeds trouble one pair and its switches only.
    if scene.rng.chance(500) {
        scene.focus = Some(scene.dpu());
    }
    let mut faults: Vec<Fault> = Vec::new();
    let mut last = None;
    for _ in 0..count {
        // Half of the faults hit while the one before is dealt with.
        let at = match last {
            Some(last) if scene.rng.chance(500) => last + scene.rng.between(0, 1500 * MS),
            Some(_) | None => begin + scene.rng.below(PHASE),
        };
        last = Some(at);
        faults.push(Fault { at, kind: scene.kind() });
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}

/// Where faults are drawn for.
pub struct Scene<'a> {
    rng: &'a mut Rng,
    topology: Topology,
    focus: Option<DpuRef>,
}

impl Scene<'_> {
    fn kind(&mut self) -> Kind {
        let total = RATES.iter().map(|(rate, _)| rate).sum();
        let mut at = self.rng.below(total);
        for (rate, draw) in RATES {
            match at.checked_sub(*rate) {
                Some(rest) => at = rest,
                None => return draw(self),
            }
        }
        Kind::Restart(self.dpu(), S)
    }

    fn dpu(&mut self) -> DpuRef {
        if let Some(focus) = self.focus {
            return if self.rng.chance(600) { focus } else { self.topology.peer(focus) };
        }
        let mut below = |bound: u8| u8::try_from(self.rng.below(u64::from(bound))).unwrap_or_default();
        DpuRef { switch: below(self.topology.switches), slot: below(self.topology.dpus) }
    }

    fn proc(&mut self) -> Proc {
        let dpu = self.dpu();
        match self.rng.below(9) {
            0..2 => Proc::Controller,
            2..5 => Proc::Hamgrd(dpu.switch),
            5 => Proc::PmonNpu(dpu.switch),
            6..8 => Proc::Haorchd(dpu),
            _ => Proc::PmonDpu(dpu),
        }
    }

    fn server(&mut self) -> Server {
        let dpu = self.dpu();
        match self.rng.below(4) {
            0 => Server::Host(dpu.switch),
            1 => Server::Chassis(dpu.switch),
            _ => Server::OfDpu(dpu),
        }
    }

    fn speech(&mut self) -> Speech {
        self.rng.pick(&Speech::ALL).copied().unwrap_or(Speech::Noise)
    }

    /// Short or long, evenly over the orders of magnitude.
    fn time(&mut self, low: Micros, high: Micros) -> Micros {
        let (mut low, mut high) = (low, high);
        while high > 2 * low {
            if self.rng.chance(500) {
                high /= 2;
            } else {
                low *= 2;
            }
        }
        self.rng.between(low, high.max(low + 1))
    }
}

fn flush(scene: &mut Scene<'_>) -> Kind {
    let dpu = scene.dpu();
    let host = Server::Host(dpu.switch);
    let others = [(host, Db::ApplDb), (host, Db::StateDb), (Server::Chassis(dpu.switch), Db::ChassisStateDb)];
    let of_dpu = Db::OF_A_DPU.map(|db| (Server::OfDpu(dpu), db));
    let list = if scene.rng.chance(300) { &others[..] } else { &of_dpu[..] };
    let (server, db) = scene.rng.pick(list).copied().unwrap_or((Server::OfDpu(dpu), Db::DpuApplDb));
    Kind::Flush(server, db, scene.rng.chance(500))
}

fn clock(scene: &mut Scene<'_>) -> Kind {
    let dpu = scene.dpu();
    let machine = match scene.rng.below(5) {
        0 => Machine::Controller,
        1..3 => Machine::Switch(dpu.switch),
        _ => Machine::Dpu(dpu),
    };
    let far = i64::try_from(scene.time(50 * MS, 3600 * S) / MS).unwrap_or_default();
    Kind::Clock(machine, if scene.rng.chance(500) { far } else { -far })
}

/// The tables of a server that a stranger meddles with: all that one of ours reads.
fn meddle(scene: &mut Scene<'_>) -> Kind {
    let dpu = scene.dpu();
    let (host, local) = (Server::Host(dpu.switch), Server::Local(dpu));
    let tables: &[(Server, &[Table])] = &[
        (
            host,
            &[
                Table::Dpu,
                Table::RemoteDpu,
                Table::Vdpu,
                Table::DashHaGlobalConfig,
                Table::LoopbackInterface,
                Table::DashHaSetConfig,
                Table::DashHaScopeConfig,
                Table::VnetRouteTunnel,
                Table::DashHaScopeState,
                Table::DpuResetInfo,
                Table::DashHaScopeFence,
                Table::ChassisMidplane,
            ],
        ),
        (Server::Chassis(dpu.switch), &[Table::DpuState]),
        (
            Server::OfDpu(dpu),
            &[
                Table::DashHaSet,
                Table::DashHaScope,
                Table::BfdSession,
                Table::DpuDashHaSetState,
                Table::DpuDashHaScopeState,
                Table::DashHaSetResult,
                Table::DashHaScopeResult,
                Table::DashBfdProbeState,
            ],
        ),
        (local, &[Table::Port, Table::PortTable, Table::SystemReady, Table::BfdSoftwareSession]),
    ];
    let all: Vec<(Server, Table)> =
        tables.iter().flat_map(|(server, tables)| tables.iter().map(|table| (*server, *table))).collect();
    let (server, table) = scene.rng.pick(&all).copied().unwrap_or((host, Table::Dpu));
    let how = [Mischief::Garble, Mischief::Delete, Mischief::Add, Mischief::Near];
    let how = scene.rng.pick(&how).copied().unwrap_or(Mischief::Garble);
    Kind::Meddle(server, table, how, scene.rng.any(), scene.time(20 * MS, 3 * S))
}
