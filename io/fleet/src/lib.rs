//! The fleet file: TOML in, a valid [`Fleet`] out, or errors with file, line and field.
//!
//! `ha-controller` and `hactl` read it. It connects to nothing, and decides nothing about what it read.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::path::{Path, PathBuf};

use controller::{
    Admin, ApprovalPolicy, DpuId, Fleet, FleetItem, HaSetIntent, SwitchName, Timing, VdpuIntent,
};
use schema::{HaSetId, Slot, VdpuId};
use serde::Deserialize;
use toml::Spanned;

/// The largest fleet file, in bytes.
const FLEET_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How to reach a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchAccess {
    /// Its `database_config.json`.
    pub database_config: PathBuf,
    /// Its `database_global.json`, if named.
    pub database_global: Option<PathBuf>,
}

/// What a fleet file says.
#[derive(Clone, Debug)]
pub struct FleetFile {
    /// The intent.
    pub fleet: Fleet,
    /// How to reach each of its switches.
    pub switches: BTreeMap<SwitchName, SwitchAccess>,
}

/// Why a fleet file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum FleetFileError {
    /// It cannot be read.
    #[error("cannot read the fleet file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It can be read and is wrong.
    #[error("the fleet file is wrong:{}", list(problems))]
    Wrong {
        /// Everything that is wrong with it.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong with a fleet file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The field, as far as it is known.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path.display(), self.line, self.field, self.message)
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFleet {
    #[serde(default)]
    timing: RawTiming,
    #[serde(default)]
    approve: RawApprove,
    #[serde(default)]
    switch: Vec<Spanned<RawSwitch>>,
    #[serde(default)]
    vdpu: Vec<Spanned<RawVdpu>>,
    #[serde(default)]
    ha_set: Vec<Spanned<RawHaSet>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTiming {
    down_debounce_ms: Option<Spanned<u64>>,
    up_debounce_ms: Option<Spanned<u64>>,
    verify_timeout_ms: Option<Spanned<u64>>,
    placement_ms: Option<Spanned<u64>>,
    retry_ms_min: Option<Spanned<u64>>,
    retry_ms_max: Option<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApprove {
    activate_role: Option<bool>,
    flow_reconcile: Option<bool>,
    brainsplit_recover: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSwitch {
    name: Spanned<SwitchName>,
    database_config: PathBuf,
    database_global: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVdpu {
    id: Spanned<VdpuId>,
    switch: Spanned<SwitchName>,
    slot: Spanned<u8>,
    #[serde(default)]
    admin: Admin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHaSet {
    id: Spanned<HaSetId>,
    vip_v4: Option<Spanned<Ipv4Addr>>,
    vip_v6: Option<Spanned<Ipv6Addr>>,
    vdpus: Spanned<Vec<VdpuId>>,
    active: Spanned<VdpuId>,
}

impl FleetFile {
    /// Reads and checks a whole file. Paths in it are relative to it.
    ///
    /// # Errors
    /// The file cannot be read, is no TOML, has unknown or missing fields, or does not make a fleet.
    pub fn load(path: &Path) -> Result<Self, FleetFileError> {
        let unreadable = |source| FleetFileError::Unreadable { path: path.to_owned(), source };
        let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
        if bytes > FLEET_FILE_BYTES_MAX {
            let source = std::io::Error::other(format!("larger than {FLEET_FILE_BYTES_MAX} bytes"));
            return Err(unreadable(source));
        }
        Self::parse(path, &std::fs::read_to_string(path).map_err(unreadable)?)
    }

    /// As [`FleetFile::load`], for the text of a file.
    ///
    /// # Errors
    /// As there, but for reading.
    pub fn parse(path: &Path, text: &str) -> Result<Self, FleetFileError> {
        let source = Source { path, text };
        let raw: RawFleet = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let problem = source.problem(&span, source.field_at(span.start), error.message().to_owned());
            FleetFileError::Wrong { problems: vec![problem] }
        })?;
        let switches = raw.switch.iter().map(|switch| {
            let switch = switch.get_ref();
            let access = SwitchAccess {
                database_config: source.relative(&switch.database_config),
                database_global: switch.database_global.as_deref().map(|path| source.relative(path)),
            };
            (switch.name.get_ref().clone(), access)
        });
        let switches = switches.collect();
        let fleet = intent(&raw).map_err(|problems| {
            let located = problems.into_iter().map(|problem| {
                let (item, span) = locate(&raw, problem.item, problem.field);
                source.problem(&span, format!("{item}.{}", problem.field), problem.message)
            });
            FleetFileError::Wrong { problems: located.collect() }
        })?;
        Ok(Self { fleet, switches })
    }
}

fn intent(raw: &RawFleet) -> Result<Fleet, Vec<controller::FleetProblem>> {
    let switches = raw.switch.iter().map(|switch| switch.get_ref().name.get_ref().clone()).collect();
    let vdpus = raw.vdpu.iter().map(Spanned::get_ref).map(|vdpu| VdpuIntent {
        id: vdpu.id.get_ref().clone(),
        dpu: DpuId { switch: vdpu.switch.get_ref().clone(), slot: Slot(*vdpu.slot.get_ref()) },
        admin: vdpu.admin,
    });
    let sets = raw.ha_set.iter().map(Spanned::get_ref).map(|set| HaSetIntent {
        id: set.id.get_ref().clone(),
        vip_v4: set.vip_v4.as_ref().map(|vip| *vip.get_ref()),
        vip_v6: set.vip_v6.as_ref().map(|vip| *vip.get_ref()),
        vdpus: set.vdpus.get_ref().clone(),
        active: set.active.get_ref().clone(),
    });
    let (usual, timing) = (Timing::default(), &raw.timing);
    let wait = |given: &Option<Spanned<u64>>, usual| given.as_ref().map_or(usual, |wait| *wait.get_ref());
    let timing = Timing {
        down_debounce_ms: wait(&timing.down_debounce_ms, usual.down_debounce_ms),
        up_debounce_ms: wait(&timing.up_debounce_ms, usual.up_debounce_ms),
        verify_timeout_ms: wait(&timing.verify_timeout_ms, usual.verify_timeout_ms),
        placement_ms: wait(&timing.placement_ms, usual.placement_ms),
        retry_ms_min: wait(&timing.retry_ms_min, usual.retry_ms_min),
        retry_ms_max: wait(&timing.retry_ms_max, usual.retry_ms_max),
    };
    let usual = ApprovalPolicy::default();
    let approve = ApprovalPolicy {
        activate_role: raw.approve.activate_role.unwrap_or(usual.activate_role),
        flow_reconcile: raw.approve.flow_reconcile.unwrap_or(usual.flow_reconcile),
        brainsplit_recover: raw.approve.brainsplit_recover.unwrap_or(usual.brainsplit_recover),
    };
    Fleet::new(switches, vdpus.collect(), sets.collect(), timing, approve)
}

/// The table's name and where the field stands; where it is absent, where its table begins.
fn locate(raw: &RawFleet, item: FleetItem, field: &str) -> (&'static str, Range<usize>) {
    fn of<T>(value: &Spanned<T>) -> Option<Range<usize>> {
        Some(value.span())
    }
    match item {
        FleetItem::Switch(at) => {
            let table = raw.switch.get(at);
            ("switch", table.map_or(0..0, |switch| switch.get_ref().name.span()))
        }
        FleetItem::Vdpu(at) => {
            let found = raw.vdpu.get(at).and_then(|table| match (field, table.get_ref()) {
                ("id", vdpu) => of(&vdpu.id),
                ("switch", vdpu) => of(&vdpu.switch),
                ("slot", vdpu) => of(&vdpu.slot),
                (_, _) => of(table),
            });
            ("vdpu", found.unwrap_or(0..0))
        }
        FleetItem::HaSet(at) => {
            let found = raw.ha_set.get(at).and_then(|table| match (field, table.get_ref()) {
                ("id", set) => of(&set.id),
                ("vdpus", set) => of(&set.vdpus),
                ("active", set) => of(&set.active),
                ("vip_v4", set) => set.vip_v4.as_ref().and_then(of).or_else(|| of(table)),
                (_, _) => of(table),
            });
            ("ha_set", found.unwrap_or(0..0))
        }
        FleetItem::Timing => {
            let timing = &raw.timing;
            let value = match field {
                "down_debounce_ms" => &timing.down_debounce_ms,
                "up_debounce_ms" => &timing.up_debounce_ms,
                "verify_timeout_ms" => &timing.verify_timeout_ms,
                "placement_ms" => &timing.placement_ms,
                "retry_ms_min" => &timing.retry_ms_min,
                _ => &timing.retry_ms_max,
            };
            let either = value.as_ref().or(timing.retry_ms_min.as_ref());
            ("timing", either.and_then(of).unwrap_or(0..0))
        }
    }
}

/// The text of the file, to turn positions into lines.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn relative(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |dir| dir.join(path))
    }

    fn problem(&self, span: &Range<usize>, field: String, message: String) -> Problem {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        Problem { path: self.path.to_owned(), line, field, message: message.replace('\n', "; ") }
    }

    /// The key of the line at a position: what the TOML parser does not tell.
    fn field_at(&self, position: usize) -> String {
        let start = self.text.get(..position).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let line = self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        line.split('=').next().unwrap_or_default().trim().to_owned()
    }
}

#[cfg(test)]
mod tests;
