//! One seed from beginning to end: faults, then calm, then the promise must hold, and then silence.

use std::fmt;

use invariants::{
    Boots, DpuSnapshot, Finding, Invariant, Model, Rows, Snapshot, SwitchSnapshot, bfd, converge, fenced,
    fresh, once, one_decider, order, quiet,
};
use schema::dpu_state_db::HaScopeState;
use schema::{AsicHaState, Slot, Table};

use crate::faults::{self, Fault};
use crate::mutants::Mutant;
use crate::rng::{MS, Micros, Rng, S};
use crate::topology::{DpuRef, Server, Topology, switch_text};
use crate::trace::Trace;
use crate::variant::Variant;
use crate::world::World;

/// How long convergence may take after the last fault.
const LIVENESS: Micros = 200 * S;
/// How long it must hold before silence is expected.
const SETTLE: Micros = 3 * S;
/// How long silence is listened to.
const QUIET: Micros = 8 * S;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Everything follows from it.
    pub seed: u64,
    /// Who there is.
    pub topology: Topology,
    /// How the installation differs from the usual one.
    pub variant: Variant,
    /// The faults: those of the seed, or fewer.
    pub faults: Vec<Fault>,
    /// The mistake that somebody makes, if anybody does.
    pub mutant: Option<Mutant>,
}

impl Setup {
    /// What the seed says, with at most so many faults.
    pub fn of(seed: u64, topology: Topology, most: u64) -> Self {
        let variant = Variant::draw(&mut Rng::new(seed ^ 0x0076_6172_6961_6e74), topology);
        let faults = faults::draw(&mut Rng::new(seed), topology, most);
        Self { seed, topology, variant, faults, mutant: None }
    }
}

/// How it ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was wrong; nothing if all was well.
    pub failure: Option<Failure>,
    /// Events that happened.
    pub events: u64,
    /// The virtual time that went by.
    pub simulated: Micros,
    /// How long the promise took to hold again after the last fault.
    pub recovery: Micros,
    /// What happened, if it was wanted.
    pub trace: Trace,
}

/// What was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The promise that was broken.
    pub invariants: Vec<Invariant>,
    /// In words.
    pub what: Vec<String>,
}

impl Failure {
    fn of_findings(title: &str, findings: &[Finding], more: Vec<String>) -> Self {
        let of_findings = findings.iter().map(|finding| finding.invariant);
        let of_more = more.iter().flat_map(|what| named(what));
        let mut invariants: Vec<Invariant> = of_findings.chain(of_more).collect();
        invariants.sort();
        invariants.dedup();
        let what = [title.to_owned()].into_iter().chain(findings.iter().map(Finding::to_string)).chain(more);
        Self { invariants, what: what.collect() }
    }

    fn of_violation(what: &str) -> Self {
        Self { invariants: named(what).collect(), what: vec![what.to_owned()] }
    }
}

/// The promise whose name the words begin with.
fn named(what: &str) -> impl Iterator<Item = Invariant> {
    Invariant::ALL.into_iter().filter(|invariant| what.starts_with(&invariant.to_string()))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what.join("\n    "))
    }
}

/// Runs it.
pub fn run(setup: &Setup, trace: Trace) -> Outcome {
    let mut world = World::new(setup, trace);
    let (failure, recovery) = live(&mut world);
    Outcome {
        failure,
        events: world.events,
        simulated: world.now,
        recovery,
        trace: std::mem::take(&mut world.trace),
    }
}

fn live(world: &mut World) -> (Option<Failure>, Micros) {
    // Until the last fault is over; one may put off the end while it is waited for.
    let last = world.faults.iter().map(|fault| fault.at).max().unwrap_or(0);
    world.run_until(last.max(5 * S));
    while world.now < world.calm_after {
        world.run_until(world.calm_after);
        if world.checks.violation.is_some() {
            break;
        }
    }
    world.spare();
    let calm = world.now;
    let mut clean_since: Option<Micros> = None;
    loop {
        if let Some(what) = &world.checks.violation {
            return (Some(Failure::of_violation(what)), 0);
        }
        let (findings, more) = judge(world);
        if findings.is_empty() && more.is_empty() {
            let since = *clean_since.get_or_insert(world.now);
            if world.now >= since + SETTLE {
                return (silence(world), since - calm);
            }
        } else {
            clean_since = None;
            if world.now > calm + LIVENESS {
                let title = format!("not converged {} s after the last fault", LIVENESS / S);
                return (Some(Failure::of_findings(&title, &findings, more)), LIVENESS);
            }
        }
        let step = if world.now < calm + 10 * S { 250 * MS } else { S };
        let until = world.now + step;
        world.run_until(until);
    }
}

fn silence(world: &mut World) -> Option<Failure> {
    world.writes_seen = Some(Vec::new());
    let until = world.now + QUIET;
    world.run_until(until);
    if let Some(what) = &world.checks.violation {
        return Some(Failure::of_violation(what));
    }
    let seen = world.writes_seen.take().unwrap_or_default();
    let noise = quiet(&seen);
    if !noise.is_empty() {
        return Some(Failure::of_findings("not quiet", &noise, Vec::new()));
    }
    let (findings, more) = judge(world);
    let is_clean = findings.is_empty() && more.is_empty();
    (!is_clean).then(|| Failure::of_findings("no longer converged at rest", &findings, more))
}

/// Everything that one moment tells: P1 to P5, P7 and P9, and that one side of each HA set is active and the
/// other standby.
fn judge(world: &World) -> (Vec<Finding>, Vec<String>) {
    let snapshot = snapshot(world);
    let model = Model::of(&snapshot);
    let boots = world
        .topology
        .dpus()
        .filter(|dpu| !world.has_jumped(*dpu))
        .map(|dpu| ((switch_text(dpu.switch), Slot(dpu.slot)), world.checks.life_since(dpu)));
    let boots: Boots = boots.collect();
    let mut all = converge(&model, Some(&world.topology.expected()));
    all.extend(fresh(&model, &boots));
    all.extend(fenced(&model));
    all.extend(bfd(&model));
    all.extend(order(&snapshot));
    all.extend(one_decider(&model));
    all.extend(once(&model));
    let mut more: Vec<String> =
        world.topology.dpus().filter_map(|dpu| world.is_told_otherwise(dpu)).collect();
    more.extend(world.topology.dpus().filter_map(|dpu| world.without_bfd(dpu)));
    more.extend(world.topology.pairs().filter_map(|pair| world.unanswered(pair)));
    for dpu in world.topology.pairs() {
        let state = |dpu| ha_state(world, &snapshot, dpu);
        let (first, second) = (state(dpu), state(world.topology.peer(dpu)));
        let mut pair = [first, second];
        pair.sort();
        if pair != [Some(AsicHaState::Standby), Some(AsicHaState::Active)]
            && pair != [Some(AsicHaState::Active), Some(AsicHaState::Standby)]
        {
            let word = |state: Option<AsicHaState>| state.map_or("nothing", AsicHaState::as_str);
            more.push(format!("P1 {dpu} is {}, its peer {}", word(first), word(second)));
        }
    }
    (all, more)
}

fn ha_state(world: &World, snapshot: &Snapshot, dpu: DpuRef) -> Option<AsicHaState> {
    let scope = world.topology.ha_scope(dpu)?;
    snapshot.dpu(&switch_text(dpu.switch), dpu.slot())?.rows.row::<HaScopeState>(&scope)?.ha_state
}

/// All databases as they are.
pub fn snapshot(world: &World) -> Snapshot {
    let rows_of = |servers: &[Server]| {
        let mut rows = Rows::new();
        for redis in servers.iter().filter_map(|server| world.servers.get(server)) {
            for database in redis.databases.values() {
                for ((table, key), fields) in &database.rows {
                    rows.insert(*table, key.clone(), fields.clone());
                }
            }
        }
        rows
    };
    let dpu = |dpu: DpuRef| {
        let redis = world.servers.get(&Server::OfDpu(dpu));
        let databases = redis.into_iter().flat_map(|redis| redis.databases.values());
        let unconsumed: Vec<(Table, String)> =
            databases.flat_map(|database| database.waiting().cloned()).collect();
        let is_on = world.devices.get(&dpu).is_some_and(|device| device.is_on);
        DpuSnapshot {
            slot: dpu.slot(),
            rows: rows_of(&[Server::OfDpu(dpu)]),
            unconsumed: unconsumed.into_iter().collect(),
            local: is_on.then(|| rows_of(&[Server::Local(dpu)])),
        }
    };
    let switch = |switch: u8| SwitchSnapshot {
        name: switch_text(switch),
        rows: rows_of(&[Server::Host(switch), Server::Chassis(switch)]),
        dpus: world.topology.dpus_of(switch).map(dpu).collect(),
    };
    Snapshot { switches: world.topology.switches().map(switch).collect() }
}
