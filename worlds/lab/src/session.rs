//! One episode of a scenario while it runs: follows the steps, tells people, counts writes, and kills a daemon
//! at a chosen moment.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use invariants::{Snapshot, WriteSeen};
use nix::sys::signal::Signal;
use schema::state_db::NpuBfdSession;
use schema::{BfdState, Row};
use tokio::time::Instant;

use crate::device::npu_swss_unit;
use crate::process::Registry;
use crate::report::Printer;
use crate::sessions;
use crate::steps::{Tick, Tracker};
use crate::topology::DpuId;
use crate::watch::{Listener, write_seen};
use crate::world::{Place, Seen, What, World};

/// When a daemon is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChaosAt {
    /// When the step is seen.
    Step(u8),
    /// So many milliseconds after the episode begins.
    Ms(u64),
}

/// A daemon that is killed, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chaos {
    /// The daemon: a unit's name, or a binary's name for the one nearest to the DPU that restarts.
    pub daemon: String,
    /// When.
    pub at: ChaosAt,
}

impl std::str::FromStr for Chaos {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form =
            || format!("expected DAEMON@STEP or DAEMON@MSms, like hamgrd@5 or hamgrd@250ms, not {text:?}");
        let (daemon, at) = text.rsplit_once('@').ok_or_else(form)?;
        if daemon.is_empty() {
            return Err(form());
        }
        let at = match at.strip_suffix("ms") {
            Some(ms) => ChaosAt::Ms(ms.parse().map_err(|_| form())?),
            None => {
                let number: u64 = at.parse().map_err(|_| form())?;
                match u8::try_from(number) {
                    Ok(step @ 1..=16) => ChaosAt::Step(step),
                    _ => ChaosAt::Ms(number),
                }
            }
        };
        Ok(Self { daemon: daemon.to_owned(), at })
    }
}

impl Chaos {
    /// The unit that is meant.
    pub fn unit(&self, target: DpuId) -> String {
        let (switch, container) = (target.switch_name(), target.slot.container());
        match self.daemon.as_str() {
            "hamgrd" => format!("{switch}-hamgrd"),
            "pmond" | "pmond-npu" => format!("{switch}-pmond"),
            "pmond-dpu" => format!("{switch}-{container}-pmond"),
            "haorchd" | "dpu-dbclean" => format!("{switch}-{container}-haorchd"),
            "npu-swss-model" => npu_swss_unit(target.switch),
            unit => unit.to_owned(),
        }
    }
}

/// A BFD session of an NPU that was up and is no longer.
#[derive(Clone, Copy, Debug)]
pub struct BfdFall {
    /// When the lab saw it.
    pub at: Instant,
    /// The NPU's switch.
    pub switch: u8,
    /// The address of the DPU.
    pub dpu: IpAddr,
}

/// What is going on.
#[derive(Debug)]
pub struct Session {
    /// Tells people.
    pub printer: Printer,
    /// Everything that runs.
    pub registry: Registry,
    /// One per DPU that the scenario acts upon.
    pub trackers: Vec<Tracker>,
    /// The databases when it began.
    pub before: Snapshot,
    /// BFD sessions that fell since it began.
    pub falls: Vec<BfdFall>,
    up: BTreeSet<(u8, IpAddr)>,
    chaos: Option<(String, u8)>,
    /// The unit that is killed in this episode.
    pub victim: Option<String>,
    /// Writes seen, while they are collected.
    writes: Option<Vec<WriteSeen>>,
}

impl Session {
    /// Nothing is going on.
    pub fn new(registry: Registry) -> Self {
        Self {
            printer: Printer::default(),
            registry,
            trackers: Vec::new(),
            before: Snapshot::default(),
            falls: Vec::new(),
            up: BTreeSet::new(),
            chaos: None,
            victim: None,
            writes: None,
        }
    }

    /// An episode begins.
    pub fn begin(&mut self, targets: &[DpuId], steps: &[u8], before: Snapshot, chaos: Option<&Chaos>) {
        self.trackers = targets.iter().map(|target| Tracker::new(*target, steps, &before)).collect();
        self.before = before;
        self.falls.clear();
        self.chaos = None;
        self.victim = None;
        let (Some(chaos), Some(target)) = (chaos, targets.first()) else { return };
        let unit = chaos.unit(*target);
        self.victim = Some(unit.clone());
        match chaos.at {
            ChaosAt::Step(step) => self.chaos = Some((unit, step)),
            ChaosAt::Ms(ms) => {
                let registry = self.registry.clone();
                tokio::spawn(async move {
                    // The fault's time is part of the scenario.
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    let hit = registry.signal(&unit, Signal::SIGKILL);
                    let done = if hit { "killed" } else { "was not running" };
                    Printer::default().line(&format!("  ⚡ {unit} {done} after {ms} ms"));
                });
            }
        }
    }

    /// Collects writes from now on.
    pub fn collect_writes(&mut self) {
        self.writes = Some(Vec::new());
    }

    /// The writes that were collected; no more are.
    pub fn collected(&mut self) -> Vec<WriteSeen> {
        self.writes.take().unwrap_or_default()
    }

    /// Tells people that the lab waits, and for what.
    pub fn progress(&mut self, what: &str, since: Instant) {
        let waited_s = since.elapsed().as_secs();
        if waited_s > 3 && !waited_s.is_multiple_of(5) {
            return;
        }
        let missing: Vec<String> =
            self.trackers.iter().flat_map(Tracker::missing).map(|step| step.to_string()).collect();
        let steps = if missing.is_empty() { String::new() } else { format!(", steps {}", missing.join(" ")) };
        self.printer.line(&format!("    … {:>3} s waiting: {what}{steps}", waited_s));
    }

    fn follow_bfd(&mut self, world: &World, seen: &Seen) {
        let (Place::Npu(switch), What::Change(change)) = (seen.place, &seen.what) else { return };
        if change.table != NpuBfdSession::TABLE {
            return;
        }
        let Ok(key) = NpuBfdSession::parse_key(&change.key) else { return };
        let state = sessions::state(world, switch, key.peer);
        if state == Some(BfdState::Up) {
            self.up.insert((switch, key.peer));
        } else if self.up.remove(&(switch, key.peer)) && state.is_some() {
            // One whose row goes was withdrawn with its route.
            self.falls.push(BfdFall { at: seen.at, switch, dpu: key.peer });
        }
    }

    fn ticked(&mut self, tick: &Tick) {
        if self.chaos.as_ref().is_some_and(|(_, step)| *step == tick.step)
            && let Some((unit, step)) = self.chaos.take()
        {
            let hit = self.registry.signal(&unit, Signal::SIGKILL);
            let done = if hit { "killed" } else { "was not running" };
            self.printer.line(&format!("  ⚡ {unit} {done} at step {step}"));
        }
    }
}

impl Listener for Session {
    fn seen(&mut self, world: &World, seen: &Seen) {
        if let (Some(writes), Some(write)) = (&mut self.writes, write_seen(seen)) {
            writes.push(write);
        }
        self.follow_bfd(world, seen);
        let mut trackers = std::mem::take(&mut self.trackers);
        let several = trackers.len() > 1;
        for tracker in &mut trackers {
            let ticks = tracker.seen(world, seen);
            for tick in &ticks {
                self.printer.tick(tracker, tick, several);
                self.ticked(tick);
            }
        }
        self.trackers = trackers;
    }

    fn waiting(&mut self, _world: &World, what: &str, since: Instant) {
        self.progress(what, since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chaos_is_a_daemon_and_a_step_or_a_time() {
        let chaos = |text: &str| text.parse::<Chaos>();
        assert_eq!(chaos("hamgrd@5").unwrap().at, ChaosAt::Step(5));
        assert_eq!(chaos("hamgrd@250").unwrap().at, ChaosAt::Ms(250));
        assert_eq!(chaos("hamgrd@5ms").unwrap().at, ChaosAt::Ms(5));
        for wrong in ["hamgrd", "@5", "hamgrd@", "hamgrd@soon", "hamgrd@5s"] {
            assert!(chaos(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_binary_means_the_unit_nearest_to_the_dpu() {
        let target = DpuId { switch: 1, slot: schema::Slot(3) };
        let unit = |text: &str| text.parse::<Chaos>().unwrap().unit(target);
        assert_eq!(unit("hamgrd@5"), "switch1-hamgrd");
        assert_eq!(unit("haorchd@5"), "switch1-dpu3-haorchd");
        assert_eq!(unit("pmond-dpu@5"), "switch1-dpu3-pmond");
        assert_eq!(unit("ha-controller@5"), "ha-controller");
        assert_eq!(unit("switch0-hamgrd@5"), "switch0-hamgrd");
    }
}
