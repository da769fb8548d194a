//! The fleet file: TOML, checked whole. Errors name file, line and field.

use std::collections::BTreeMap;
use std::fmt::Write as _;
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
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How to reach a switch's databases directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its `database_config.json`.
    pub database_config: PathBuf,
    /// Its `database_global.json`.
    pub database_global: PathBuf,
}

/// A fleet file that was found good.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetFile {
    /// The intent.
    pub fleet: Fleet,
    /// How to reach each switch.
    pub targets: BTreeMap<SwitchName, Target>,
}

/// Why a fleet file cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum FleetFileError {
    /// It cannot be read.
    #[error("cannot read the fleet file {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It is too large.
    #[error("the fleet file {} has more than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It says something that cannot be.
    #[error("{problems}")]
    Invalid {
        /// A line per problem: file, line, field, what is wrong.
        problems: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    timing: Option<Spanned<RawTiming>>,
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
    down_debounce_ms: Option<u64>,
    up_debounce_ms: Option<u64>,
    verify_timeout_ms: Option<u64>,
    placement_ms: Option<u64>,
    retry_ms_min: Option<u64>,
    retry_ms_max: Option<u64>,
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
    name: SwitchName,
    database_config: PathBuf,
    database_global: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVdpu {
    id: VdpuId,
    switch: SwitchName,
    slot: u8,
    #[serde(default)]
    admin: Admin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHaSet {
    id: HaSetId,
    vip_v4: Option<Ipv4Addr>,
    vip_v6: Option<Ipv6Addr>,
    vdpus: Vec<VdpuId>,
    active: VdpuId,
}

impl FleetFile {
    /// Reads a fleet file and checks it whole.
    ///
    /// # Errors
    /// It cannot be read, is no TOML, or the fleet that it describes cannot be; every problem is listed.
    pub fn read(path: &Path) -> Result<Self, FleetFileError> {
        let unreadable = |cause| FleetFileError::Unreadable { path: path.to_owned(), cause };
        if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
            return Err(FleetFileError::TooLarge { path: path.to_owned() });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(path, &text)
    }

    /// Reads the text of the fleet file at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, FleetFileError> {
        let at = |span: Option<Range<usize>>| {
            let line = span.map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            format!("{}:{line}", path.display())
        };
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let place = at(error.span());
            let line = line_at(text, error.span());
            FleetFileError::Invalid {
                problems: format!("{place}: {line}: {}", error.message().replace('\n', ": ")),
            }
        })?;
        let spans = Spans::of(&raw);
        let targets = raw.switch.iter().map(|switch| {
            let switch = switch.get_ref();
            let beside = || switch.database_config.with_file_name("database_global.json");
            let database_global = switch.database_global.clone().unwrap_or_else(beside);
            (switch.name.clone(), Target { database_config: switch.database_config.clone(), database_global })
        });
        let targets = targets.collect();
        match fleet(raw) {
            Ok(fleet) => Ok(Self { fleet, targets }),
            Err(found) => {
                let mut problems = String::new();
                for problem in found {
                    let newline = if problems.is_empty() { "" } else { "\n" };
                    // Writing to a string cannot fail.
                    write!(problems, "{newline}{}: {problem}", at(spans.of_item(problem.item)))
                        .unwrap_or_default();
                }
                Err(FleetFileError::Invalid { problems })
            }
        }
    }
}

/// The line that a span begins in: it shows the field.
fn line_at(text: &str, span: Option<Range<usize>>) -> &str {
    let start = span.map_or(0, |span| span.start.min(text.len()));
    let begin = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    text[begin..].lines().next().unwrap_or_default().trim()
}

fn fleet(raw: Raw) -> Result<Fleet, Vec<controller::FleetProblem>> {
    let switches = raw.switch.into_iter().map(|switch| switch.into_inner().name).collect();
    let vdpus = raw.vdpu.into_iter().map(Spanned::into_inner).map(|vdpu| VdpuIntent {
        id: vdpu.id,
        dpu: DpuId { switch: vdpu.switch, slot: Slot(vdpu.slot) },
        admin: vdpu.admin,
    });
    let ha_sets = raw.ha_set.into_iter().map(Spanned::into_inner).map(|set| HaSetIntent {
        id: set.id,
        vip_v4: set.vip_v4,
        vip_v6: set.vip_v6,
        vdpus: set.vdpus,
        active: set.active,
    });
    let waits = raw.timing.map(Spanned::into_inner).unwrap_or_default();
    let usual = Timing::default();
    let timing = Timing {
        down_debounce_ms: waits.down_debounce_ms.unwrap_or(usual.down_debounce_ms),
        up_debounce_ms: waits.up_debounce_ms.unwrap_or(usual.up_debounce_ms),
        verify_timeout_ms: waits.verify_timeout_ms.unwrap_or(usual.verify_timeout_ms),
        placement_ms: waits.placement_ms.unwrap_or(usual.placement_ms),
        retry_ms_min: waits.retry_ms_min.unwrap_or(usual.retry_ms_min),
        retry_ms_max: waits.retry_ms_max.unwrap_or(usual.retry_ms_max),
    };
    let usual = ApprovalPolicy::default();
    let approve = ApprovalPolicy {
        activate_role: raw.approve.activate_role.unwrap_or(usual.activate_role),
        flow_reconcile: raw.approve.flow_reconcile.unwrap_or(usual.flow_reconcile),
        brainsplit_recover: raw.approve.brainsplit_recover.unwrap_or(usual.brainsplit_recover),
    };
    Fleet::new(switches, vdpus.collect(), ha_sets.collect(), timing, approve)
}

/// Where in the file each item stands.
struct Spans {
    timing: Option<Range<usize>>,
    switches: Vec<Range<usize>>,
    vdpus: Vec<Range<usize>>,
    ha_sets: Vec<Range<usize>>,
}

impl Spans {
    fn of(raw: &Raw) -> Self {
        Self {
            timing: raw.timing.as_ref().map(Spanned::span),
            switches: raw.switch.iter().map(Spanned::span).collect(),
            vdpus: raw.vdpu.iter().map(Spanned::span).collect(),
            ha_sets: raw.ha_set.iter().map(Spanned::span).collect(),
        }
    }

    fn of_item(&self, item: FleetItem) -> Option<Range<usize>> {
        match item {
            FleetItem::Switch(at) => self.switches.get(at).cloned(),
            FleetItem::Vdpu(at) => self.vdpus.get(at).cloned(),
            FleetItem::HaSet(at) => self.ha_sets.get(at).cloned(),
            FleetItem::Timing => self.timing.clone(),
        }
    }
}
