//! How an episode ends: all steps, then rest, then the quiet window, then the audit.

use std::collections::BTreeSet;
use std::time::Duration;

use invariants::{Finding, Invariant, local, quiet};
use schema::Slot;
use tokio::time::Instant;

use super::{Allowed, Lab, LabError};
use crate::audit;
use crate::device;
use crate::report::Report;
use crate::topology::DpuId;
use crate::watch::NeverTrue;

/// So long without a write that is no heartbeat, before the quiet window opens.
const STILL: Duration = Duration::from_millis(400);
/// The window in which nobody may write anything but the heartbeat, and in which idle CPU is measured.
const QUIET: Duration = Duration::from_secs(2);
/// How often it is opened at most.
const QUIET_WINDOWS_MAX: usize = 5;

impl Lab {
    /// An episode ends: all steps, then rest, then the quiet window, then the audit.
    ///
    /// # Errors
    /// The lab itself fails; what is not well is in the report.
    pub async fn finish(&mut self, report: &mut Report, allowed: &Allowed) -> Result<(), LabError> {
        let failed = self.reach_rest(&mut *report).await;
        for tracker in &self.session.trackers {
            report.take_steps(tracker);
        }
        let trackers = std::mem::take(&mut self.session.trackers);
        for tracker in &trackers {
            self.session.printer.latency(tracker);
            if allowed.no_procedure {
                for row in tracker.configuration_that_went() {
                    report.problem(format!("{}: {row} went, and should not have", tracker.target()));
                }
            }
        }
        self.end_traffic();
        let mut findings = Vec::new();
        if failed {
            report.not_checked(Invariant::P6, "the pair was never at rest");
        } else {
            findings.extend(self.quiet_window().await);
        }
        self.judge_traffic(report).await?;
        if allowed.not_local {
            report.not_applicable(Invariant::P8, "a database of the NPU itself was lost");
        }

        let off: BTreeSet<DpuId> =
            self.dpus.keys().copied().filter(|dpu| !self.world().is_on(*dpu)).collect();
        let read = audit::read(&self.context.dirs, &self.topology, &off);
        let after = self.watch.during(&mut self.session, read).await?;
        findings.extend(audit::findings(&after, &self.expected, &self.boots));
        if !allowed.not_local {
            let restarted = trackers.iter().map(|tracker| tracker.target());
            let restarted: BTreeSet<(String, Slot)> =
                restarted.chain(self.swss_of_victim()).map(|dpu| (dpu.switch_name(), dpu.slot)).collect();
            findings.extend(local(&self.session.before, &after, &restarted));
        }
        report.take_audit(&findings);
        self.print_audit(&findings, &after, report);
        for death in self.session.registry.unasked_deaths() {
            report.problem(death);
        }
        for problem in &report.problems {
            self.session.printer.line(&format!("  ✗ {problem}"));
        }
        Ok(())
    }

    /// The DPU whose swss was killed along with everything else: it restarted too.
    fn swss_of_victim(&self) -> Option<DpuId> {
        let victim = self.session.victim.as_ref()?;
        self.topology.dpus().find(|dpu| *victim == device::haorchd_unit(*dpu))
    }

    async fn reach_rest(&mut self, report: &mut Report) -> bool {
        let began = Instant::now();
        let steps = self.wait_for_steps().await;
        let mut failed = false;
        if let Err(never) = steps {
            report.problem(never.to_string());
            failed = true;
        }
        match self.settle().await {
            Ok(()) => {
                let at = self.session.trackers.first().map_or(began, |tracker| tracker.began()).elapsed();
                self.session.printer.line(&format!("  at rest after {} ms", at.as_millis()));
            }
            Err(never) => {
                report.problem(never.to_string());
                failed = true;
            }
        }
        failed
    }

    async fn wait_for_steps(&mut self) -> Result<(), NeverTrue> {
        let targets: Vec<DpuId> = self.session.trackers.iter().map(|tracker| tracker.target()).collect();
        for target in targets {
            self.until_steps(target, 16).await?;
        }
        Ok(())
    }

    /// P6, and idle CPU. A BFD session that a busy machine let fall is no rest: then it is looked at again.
    async fn quiet_window(&mut self) -> Vec<Finding> {
        for _ in 1..QUIET_WINDOWS_MAX {
            let fallen = self.session.falls.len();
            let findings = self.one_quiet_window().await;
            if self.session.falls.len() == fallen || self.settle().await.is_err() {
                return findings;
            }
            self.session.printer.line("  a BFD session fell in the quiet window; it is opened anew");
        }
        self.one_quiet_window().await
    }

    async fn one_quiet_window(&mut self) -> Vec<Finding> {
        let still = self.watch.still_for(STILL, Duration::from_secs(10), &mut self.session).await;
        if let Err(never) = still {
            tracing::debug!(%never, "not still");
        }
        let daemons = |running: Vec<(String, u32)>| -> Vec<(String, u32)> {
            running.into_iter().filter(|(name, _)| !name.contains("redis")).collect()
        };
        let running = daemons(self.session.registry.running());
        let (began, before) = (Instant::now(), audit::cpu(&running));
        self.session.collect_writes();
        self.watch.for_a_while(QUIET, &mut self.session).await;
        let writes = self.session.collected();
        let (window, after) = (began.elapsed(), audit::cpu(&running));
        let used = after
            .into_iter()
            .filter_map(|(name, after)| Some((name.clone(), after.saturating_sub(*before.get(&name)?))))
            .collect();
        self.session.printer.cpu(window, &used);
        quiet(&writes)
    }

    fn print_audit(&mut self, findings: &[Finding], after: &invariants::Snapshot, report: &Report) {
        let on_npus = after.switches.iter().map(|switch| switch.rows.len());
        let of_dpus = after.switches.iter().flat_map(|switch| &switch.dpus).map(|dpu| dpu.rows.len());
        self.session.printer.audit(findings, on_npus.chain(of_dpus).sum(), report);
    }
}
