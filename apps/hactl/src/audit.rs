//! `hactl audit`: the invariants over one reading, in plain words.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use invariants::{Boots, Finding, Model};
use schema::WallMs;
use schema::chassis_state_db::DpuHealth;
use serde::Serialize;
use serde_json::{Value, json};
use snapshot::{Reading, Switch};

use crate::show;
use crate::source::Sources;
use crate::times::{ago, date};
use crate::view::{Unreachable, unreachable};

/// A reading is not one instant: what is found in one is looked for again after this time before it is told.
const SECOND_LOOK_DELAY: Duration = Duration::from_millis(300);

/// What is there, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Switches.
    pub switches: usize,
    /// DPUs that are up.
    pub dpus_up: usize,
    /// DPUs that are down.
    pub dpus_down: usize,
    /// DPUs of which pmon says neither.
    pub dpus_unknown: usize,
    /// HA sets, each once.
    pub ha_sets: usize,
    /// HA scopes.
    pub ha_scopes: usize,
    /// Rows that were read.
    pub rows: usize,
    /// Databases that were read.
    pub databases: usize,
}

/// What an audit found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether everything was read and nothing was found.
    pub well: bool,
    /// When the reading began, in ms since the epoch.
    pub read_ms: i64,
    /// How long the reading took, in ms.
    pub took_ms: u128,
    /// What there is.
    pub counts: Counts,
    /// What is not as promised.
    #[serde(serialize_with = "findings_as_json")]
    pub findings: Vec<Finding>,
    /// What could not be read, and so not judged.
    pub unreachable: Vec<Unreachable>,
    /// When each database was read, and how long that took.
    pub databases: Vec<Value>,
}

fn findings_as_json<S: serde::Serializer>(findings: &[Finding], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(findings.iter().map(finding_as_json))
}

/// A finding with the names that people know.
pub fn finding_as_json(finding: &Finding) -> Value {
    json!({
        "invariant": finding.invariant.to_string(),
        "name": finding.invariant.name(),
        "place": finding.place,
        "db": finding.table.map(|table| table.db().name()),
        "table": finding.table.map(|table| table.name()),
        "key": finding.key,
        "what": finding.what,
        "since_ms": finding.since.map(|since| since.0),
        "repair": finding.repaired_by().map(|part| part.name()),
    })
}

impl Report {
    /// 0 well, 1 not well, 3 not everything was read and nothing was found in the rest.
    pub fn exit_code(&self) -> u8 {
        match (self.findings.is_empty(), self.unreachable.is_empty()) {
            (false, _) => 1,
            (true, false) => 3,
            (true, true) => 0,
        }
    }
}

/// Reads and judges. What is found is looked for a second time, and told if it is still there.
pub async fn report(sources: &Sources, timeout: Duration) -> Report {
    let (reading, first) = look(sources, &sources.switches, timeout).await;
    if first.is_empty() {
        return Report::of(&reading, first);
    }
    tokio::time::sleep(SECOND_LOOK_DELAY).await;
    let (reading, second) = look(sources, &sources.switches, timeout).await;
    let seen: BTreeSet<_> = first.iter().map(subject).collect();
    let both = second.iter().filter(|finding| seen.contains(&subject(finding))).cloned().collect();
    Report::of(&reading, both)
}

/// What a finding is about, whatever its words are.
fn subject(finding: &Finding) -> (invariants::Invariant, &str, Option<schema::Table>, &str) {
    (finding.invariant, &finding.place, finding.table, &finding.key)
}

async fn look(sources: &Sources, switches: &[Switch], timeout: Duration) -> (Reading, Vec<Finding>) {
    let reading = snapshot::read(switches, timeout).await;
    let findings = judge(&reading, sources);
    (reading, findings)
}

/// What of a reading is not as promised, as far as it can be judged.
pub fn judge(reading: &Reading, sources: &Sources) -> Vec<Finding> {
    let found = invariants::audit(&reading.snapshot, sources.expected.as_ref(), &Boots::new());
    reading.unread.judgeable(&reading.snapshot, found)
}

impl Report {
    /// A report of what was found in a reading.
    pub fn of(reading: &Reading, findings: Vec<Finding>) -> Self {
        let unreachable = unreachable(reading);
        let (began, took) = reading.span().unwrap_or_default();
        let database = |read: &snapshot::DatabaseRead| {
            json!({
                "switch": read.switch,
                "dpu": read.slot.map(|slot| slot.to_string()),
                "db": read.db.name(),
                "began_ms": read.began.0,
                "took_us": u64::try_from(read.took.as_micros()).unwrap_or(u64::MAX),
                "rows": read.rows.as_ref().ok(),
            })
        };
        Self {
            well: findings.is_empty() && unreachable.is_empty(),
            read_ms: began.0,
            took_ms: took.as_millis(),
            counts: counts(reading),
            findings,
            unreachable,
            databases: reading.databases.iter().map(database).collect(),
        }
    }
}

fn counts(reading: &Reading) -> Counts {
    let model = Model::of(&reading.snapshot);
    let of = |health: DpuHealth| model.dpus().filter(|(_, dpu)| dpu.health == health).count();
    let sets: BTreeSet<_> = model.switches.iter().flat_map(|switch| switch.sets.keys()).collect();
    Counts {
        switches: model.switches.len(),
        dpus_up: of(DpuHealth::Up),
        dpus_down: of(DpuHealth::Down),
        dpus_unknown: of(DpuHealth::Unknown),
        ha_sets: sets.len(),
        ha_scopes: model.switches.iter().map(|switch| switch.scopes.len()).sum(),
        rows: reading.rows(),
        databases: reading.databases.iter().filter(|read| read.rows.is_ok()).count(),
    }
}

fn number(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn there_is(counts: &Counts) -> String {
    let Counts { dpus_up, dpus_down, dpus_unknown, .. } = *counts;
    let mut dpus = format!("{} up", number(dpus_up, "DPU"));
    for (count, word) in [(dpus_down, "down"), (dpus_unknown, "unknown")] {
        if count > 0 {
            dpus.push_str(&format!(", {count} {word}"));
        }
    }
    format!(
        "{}, {dpus}, {}, {}; {} of {}",
        number(counts.switches, "switch").replace("switchs", "switches"),
        number(counts.ha_sets, "HA set"),
        number(counts.ha_scopes, "HA scope"),
        number(counts.rows, "row"),
        number(counts.databases, "database"),
    )
}

/// The report as text: one line if all is well.
pub fn text(report: &Report) -> String {
    let read = format!("{} read in {} ms", there_is(&report.counts), report.took_ms);
    if report.well {
        return format!("well: {read}\n");
    }
    let verdict = match report.findings.len() {
        0 => "cannot tell".to_owned(),
        count => format!("NOT well: {}", number(count, "finding")),
    };
    let mut out = format!("{verdict} ({read})\n");
    let mut by_part: BTreeMap<String, Vec<&Finding>> = BTreeMap::new();
    for finding in &report.findings {
        by_part.entry(responsible(finding)).or_default().push(finding);
    }
    for (part, findings) in by_part {
        out.push_str(&format!("\n{part} should repair:\n"));
        for finding in findings {
            out.push_str(&format!("  {}{}\n", line(finding), since(finding, WallMs(report.read_ms))));
        }
    }
    if report.findings.iter().any(|finding| finding.since.is_none()) {
        out.push_str(
            "\nWhere no time is given, no row tells it; hactl audit --watch tells from when it starts.\n",
        );
    }
    show::unreachable(&report.unreachable, &mut out);
    out
}

/// Who should repair it, and where that runs.
fn responsible(finding: &Finding) -> String {
    use invariants::Part;
    let switch = finding.place.split(' ').next().unwrap_or_default();
    match finding.repaired_by() {
        Some(part @ (Part::HaController | Part::Operator)) => part.name().to_owned(),
        Some(part @ Part::Haorchd) => format!("{} of {}", part.name(), finding.place),
        Some(part @ (Part::Hamgrd | Part::Pmond | Part::Orchagent)) => format!("{} of {switch}", part.name()),
        None => "nobody that is known".to_owned(),
    }
}

/// Where and what, in one line.
pub fn line(finding: &Finding) -> String {
    let Finding { invariant, place, table, key, what, .. } = finding;
    match table {
        Some(table) => format!("{invariant} {place} {} {}: {what}", table.db(), table.redis_key(key)),
        None => format!("{invariant} {place} {key}: {what}"),
    }
}

fn since(finding: &Finding, now: WallMs) -> String {
    match finding.since {
        Some(since) => format!("; since {} ({})", date(since), ago(since, now)),
        None => String::new(),
    }
}
