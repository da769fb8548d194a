//! What the lab tells people, and what it writes for machines.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use invariants::{Finding, Invariant};
use serde::Serialize;
use tokio::time::Instant;

use crate::steps::{STEPS, Tick, Tracker};
use crate::traffic::{TrafficLine, Verdict};

/// The invariants that every scenario is audited for, and those that are checked along with them.
pub const AUDITED: [Invariant; 9] = Invariant::ALL;

/// A step, over all episodes of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepLine {
    /// The step's number.
    pub n: u8,
    /// Who and what.
    pub name: String,
    /// Seen wherever it was expected.
    pub ok: bool,
    /// Milliseconds since step 1, in the last episode.
    pub at_ms: Option<u64>,
    /// Table and key, and what was observed.
    pub evidence: String,
}

/// An invariant's verdict, over all episodes of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditLine {
    /// The invariant.
    pub id: Invariant,
    /// Whether it held.
    pub ok: bool,
    /// What was found, or that nothing was.
    pub detail: String,
}

/// The result of a scenario, as `--json` writes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The scenario.
    pub scenario: String,
    /// All is well.
    pub ok: bool,
    /// The 16 steps.
    pub steps: Vec<StepLine>,
    /// The invariants.
    pub audit: Vec<AuditLine>,
    /// What each event did to the traffic, over all episodes.
    pub traffic: Vec<TrafficLine>,
    /// What else went wrong, in words. Absent where nothing did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

impl Report {
    /// Nothing has happened yet.
    pub fn new(scenario: &str) -> Self {
        let steps = STEPS.iter().map(|(n, who, what)| StepLine {
            n: *n,
            name: format!("{who}: {what}"),
            ok: true,
            at_ms: None,
            evidence: "not part of this scenario".to_owned(),
        });
        let audit = AUDITED.iter().map(|id| AuditLine { id: *id, ok: true, detail: String::new() });
        Self {
            scenario: scenario.to_owned(),
            ok: true,
            steps: steps.collect(),
            audit: audit.collect(),
            traffic: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Takes in the steps of one DPU's restart.
    pub fn take_steps(&mut self, tracker: &Tracker) {
        let missing = tracker.missing();
        for line in &mut self.steps {
            if let Some(tick) = tracker.ticks().get(&line.n) {
                line.at_ms = Some(millis(tick.at.saturating_duration_since(zero(tracker))));
                if line.ok {
                    line.evidence = format!("{}: {}", tracker.target(), tick.evidence);
                }
            } else if missing.contains(&line.n) {
                line.ok = false;
                line.evidence = format!("{}: not seen", tracker.target());
                self.ok = false;
            }
        }
    }

    /// Takes in an audit.
    pub fn take_audit(&mut self, findings: &[Finding]) {
        for line in &mut self.audit {
            let own: Vec<String> = findings
                .iter()
                .filter(|finding| finding.invariant == line.id)
                .map(ToString::to_string)
                .collect();
            if !own.is_empty() {
                line.ok = false;
                self.ok = false;
                line.detail = own.join("; ");
            } else if line.ok && line.detail.is_empty() {
                line.detail = "nothing found".to_owned();
            }
        }
    }

    /// An invariant could not be checked, which is not well.
    pub fn not_checked(&mut self, id: Invariant, why: &str) {
        self.ok = false;
        for line in self.audit.iter_mut().filter(|line| line.id == id) {
            line.ok = false;
            line.detail = format!("not checked: {why}");
        }
    }

    /// An invariant says nothing about what was done.
    pub fn not_applicable(&mut self, id: Invariant, why: &str) {
        for line in self.audit.iter_mut().filter(|line| line.id == id && line.ok) {
            line.detail = format!("not applicable: {why}");
        }
    }

    /// Takes in what an event did to the traffic.
    pub fn take_traffic(&mut self, line: TrafficLine) {
        if line.verdict == Verdict::NotWell {
            self.problem(format!("traffic: {}", line.words()));
        }
        self.traffic.push(line);
    }

    /// Something else went wrong.
    pub fn problem(&mut self, what: String) {
        self.ok = false;
        self.problems.push(what);
    }
}

/// Time zero of an episode: step 1, or its beginning where the DPU does not go down.
fn zero(tracker: &Tracker) -> Instant {
    tracker.ticks().get(&1).map_or_else(|| tracker.began(), |tick| tick.at)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Prints for people, line by line, as things happen.
#[derive(Debug, Default)]
pub struct Printer {
    failed: bool,
}

impl Printer {
    /// One line. An output that is closed is noted once and does not stop the scenario.
    pub fn line(&mut self, text: &str) {
        let written = writeln!(std::io::stdout(), "{text}");
        if written.is_err() && !self.failed {
            self.failed = true;
            tracing::warn!("nobody reads the output");
        }
    }

    /// A step that was just seen.
    pub fn tick(&mut self, tracker: &Tracker, tick: &Tick, several: bool) {
        let Some((n, who, what)) = STEPS.iter().find(|(n, _, _)| *n == tick.step) else { return };
        let at = millis(tick.at.saturating_duration_since(zero(tracker)));
        let whose = if several { format!("[{}] ", tracker.target()) } else { String::new() };
        self.line(&format!("  ✓ {n:>2} {at:>6} ms  {whose}{who} {what}"));
        self.line(&format!("                 {}", tick.evidence));
    }

    /// The audit's table.
    pub fn audit(&mut self, findings: &[Finding], rows: usize, report: &Report) {
        self.line(&format!("  audit of {rows} rows, read anew from every database"));
        for id in AUDITED {
            let own: Vec<&Finding> = findings.iter().filter(|finding| finding.invariant == id).collect();
            let line = report.audit.iter().find(|line| line.id == id);
            let mark = if line.is_some_and(|line| line.ok) { "✓" } else { "✗" };
            let verdict = match (own.len(), line) {
                (0, Some(line)) => line.detail.clone(),
                (count, _) => format!("{count} findings"),
            };
            self.line(&format!("  {mark} {id} {:<12} {verdict}", id.name()));
            for finding in own {
                self.line(&format!("       {finding}"));
            }
        }
    }

    /// What an event did to the traffic.
    pub fn traffic(&mut self, line: &TrafficLine) {
        let mark = match line.verdict {
            Verdict::Well => "✓",
            Verdict::Starved => "?",
            Verdict::NotWell => "✗",
        };
        self.line(&format!("  {mark} traffic: {}", line.words()));
    }

    /// The two measured lines: from up to programmed, and idle CPU.
    pub fn latency(&mut self, tracker: &Tracker) {
        let at = |step: u8| tracker.ticks().get(&step).map(|tick| tick.at);
        let (Some(back), Some(written)) = (at(12), at(13)) else { return };
        let ms = |from: Instant| written.saturating_duration_since(from).as_secs_f64() * 1000.0;
        let since_up = match at(10) {
            Some(up) => format!("step 10 (up) to step 13 (DPU_APPL_DB complete) {:.1} ms, of which ", ms(up)),
            None => String::new(),
        };
        let debounce =
            if since_up.is_empty() { "step 12 to step 13" } else { "after configuration was back" };
        self.line(&format!("  measured {}: {since_up}{:.1} ms {debounce}", tracker.target(), ms(back)));
    }

    /// Idle CPU per daemon.
    pub fn cpu(&mut self, window: Duration, used: &BTreeMap<String, Duration>) {
        let percent = |time: &Duration| 100.0 * time.as_secs_f64() / window.as_secs_f64();
        let each: Vec<String> =
            used.iter().map(|(name, time)| format!("{name} {:.2} %", percent(time))).collect();
        self.line(&format!("  measured idle CPU over {:.1} s: {}", window.as_secs_f64(), each.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_agreed_form() {
        let mut report = Report::new("restart");
        report.take_audit(&[]);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["scenario"], "restart");
        assert_eq!(json["ok"], true);
        assert_eq!(json["steps"].as_array().unwrap().len(), 16);
        assert_eq!(json["steps"][0]["n"], 1);
        assert_eq!(json["audit"][5]["id"], "P6");
        assert_eq!(json["audit"][5]["detail"], "nothing found");
        for field in ["n", "name", "ok", "at_ms", "evidence"] {
            assert!(json["steps"][3].get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn one_finding_makes_the_whole_report_bad() {
        let mut report = Report::new("restart");
        let finding = Finding {
            invariant: Invariant::P4,
            place: "switch0 DPU0".into(),
            table: Some(schema::Table::BfdSession),
            key: "default:default:10.1.0.32".into(),
            what: "missing".into(),
            since: None,
            repair: None,
        };
        report.take_audit(&[finding]);
        report.take_audit(&[]);
        assert!(!report.ok);
        let p4 = report.audit.iter().find(|line| line.id == Invariant::P4).unwrap();
        assert!(!p4.ok && p4.detail.contains("hamgrd"), "{}", p4.detail);
    }
}
