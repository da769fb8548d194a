//! Restarts of DPUs, seen and unseen, one and several.

use nix::sys::signal::Signal;
use schema::{AsicHaState, Slot, Table};

use super::ALL_STEPS;
use crate::lab::{Allowed, Lab, LabError, ha_state};
use crate::report::Report;
use crate::session::Chaos;
use crate::topology::DpuId;
use crate::traffic::Loss;
use crate::world::{Place, World};

const FIRST: Slot = Slot(0);

/// Kills, lets the platform take its time, boots.
async fn power_cycle(
    lab: &mut Lab,
    report: &mut Report,
    title: &str,
    targets: &[DpuId],
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    lab.begin(title, targets, &ALL_STEPS, chaos).await?;
    // Where a whole HA set is gone, nobody is left to serve.
    let has_survivors = targets.iter().all(|target| !targets.contains(&target.peer()));
    let (on_death, on_return) =
        if has_survivors { (Loss::Detection, Loss::None) } else { (Loss::Any, Loss::Any) };
    let names: Vec<String> = targets.iter().map(DpuId::to_string).collect();
    lab.event(format!("kill -9 of {}", names.join(", ")), on_death);
    lab.kill(targets).await?;
    lab.boot_delay().await;
    lab.event(format!("boot and rejoin of {}", names.join(", ")), on_return);
    lab.boot(targets).await?;
    lab.finish(report, &Allowed::default()).await
}

/// The active side restarts.
pub(super) async fn restart(
    lab: &mut Lab,
    report: &mut Report,
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    let target = lab.active(FIRST);
    power_cycle(lab, report, &format!("{target} (active) restarts"), &[target], chaos).await
}

/// One of many restarts in one run.
pub(super) async fn restart_with(
    lab: &mut Lab,
    report: &mut Report,
    title: &str,
    chaos: &Chaos,
) -> Result<(), LabError> {
    let target = lab.active(FIRST);
    power_cycle(lab, report, &format!("{title}: {target} (active) restarts"), &[target], Some(chaos)).await
}

/// The standby side restarts.
pub(super) async fn standby(
    lab: &mut Lab,
    report: &mut Report,
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    let target = lab.active(FIRST).peer();
    power_cycle(lab, report, &format!("{target} (standby) restarts"), &[target], chaos).await
}

/// Both sides of the HA set restart.
pub(super) async fn both(lab: &mut Lab, report: &mut Report, chaos: Option<&Chaos>) -> Result<(), LabError> {
    let target = lab.active(FIRST);
    let targets = [target, target.peer()];
    power_cycle(lab, report, "both DPUs of the HA set restart", &targets, chaos).await
}

/// Every DPU of a switch restarts.
pub(super) async fn switch(
    lab: &mut Lab,
    report: &mut Report,
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    let targets: Vec<DpuId> = lab.topology.dpus_of(0).collect();
    power_cycle(lab, report, "every DPU of switch0 restarts", &targets, chaos).await
}

fn has_sessions(world: &World, dpu: DpuId) -> bool {
    let rows = world.rows(Place::OnDpu(dpu));
    rows.is_some_and(|rows| rows.of(Table::BfdSoftwareSession).next().is_some())
}

/// Desired state dead, shutdown, boot, rejoin.
pub(super) async fn planned(
    lab: &mut Lab,
    report: &mut Report,
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    let target = lab.active(FIRST);
    let title = format!("{target} (active) is shut down as planned");
    lab.begin(&title, &[target], &ALL_STEPS, chaos).await?;
    lab.event(format!("desired state of {target} dead"), Loss::None);
    lab.fleet(&[target])?;
    let what = format!("{target} has no BFD session any more");
    lab.until(&what, |world| !has_sessions(world, target)).await?;
    // BFD goes first, so that traffic moves before the role does.
    if ha_state(lab.world(), target) == Some(AsicHaState::Dead) {
        let line = "  BFD gone and role dead seen in one moment";
        lab.session.printer.line(line);
    } else {
        lab.session.printer.line("  BFD sessions gone, role not dead yet: traffic moves to the peer first");
    }
    let what = format!("{target} is dead and its peer decides alone");
    lab.until(&what, |world| {
        ha_state(world, target) == Some(AsicHaState::Dead)
            && ha_state(world, target.peer()).is_some_and(AsicHaState::decides)
            && !has_sessions(world, target)
    })
    .await?;
    lab.session.printer.line("  dead, the peer decides: shutdown");
    lab.event(format!("shutdown of {target}"), Loss::None);
    lab.shutdown(target).await?;
    lab.boot_delay().await;
    lab.event(format!("boot and rejoin of {target}"), Loss::None);
    lab.fleet(&[])?;
    lab.boot(&[target]).await?;
    lab.finish(report, &Allowed::default()).await
}

/// The NPU's pmond is stopped while the DPU restarts, so that `DPU_STATE` never goes down.
pub(super) async fn missed(
    lab: &mut Lab,
    report: &mut Report,
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    const STEPS: [u8; 13] = [1, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16];
    let target = lab.active(FIRST);
    lab.begin(&format!("{target} (active) restarts and nobody sees it go down"), &[target], &STEPS, chaos)
        .await?;
    let pmond = format!("{}-pmond", target.switch_name());
    lab.session.registry.signal(&pmond, Signal::SIGSTOP);
    lab.event(format!("kill -9 of {target}"), Loss::Detection);
    lab.kill(&[target]).await?;
    lab.boot_delay().await;
    lab.event(format!("boot and rejoin of {target}"), Loss::None);
    let booted = lab.boot(&[target]).await;
    lab.session.registry.signal(&pmond, Signal::SIGCONT);
    booted?;
    lab.finish(report, &Allowed::default()).await
}

/// haorchd dies; its unit cleans the databases and starts it again; the DPU stays up all the time.
pub(super) async fn swss_restart(
    lab: &mut Lab,
    report: &mut Report,
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    const STEPS: [u8; 11] = [3, 4, 5, 6, 8, 9, 12, 13, 14, 15, 16];
    let target = lab.active(FIRST);
    let title = format!("the swss of {target} (active) restarts; the DPU stays up");
    lab.begin(&title, &[target], &STEPS, chaos).await?;
    lab.new_life(target);
    lab.event(format!("kill -9 of the swss of {target}"), Loss::Detection);
    let haorchd = crate::device::haorchd_unit(target);
    lab.session.registry.signal(&haorchd, Signal::SIGKILL);
    lab.finish(report, &Allowed::default()).await
}
