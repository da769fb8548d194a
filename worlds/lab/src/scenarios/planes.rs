//! Planes that go down without a restart.

use std::time::Duration;

use schema::chassis_state_db::{DpuHealth, DpuState};
use schema::{LinkState, Slot};

use crate::lab::{Allowed, Lab, LabError};
use crate::net::Kind;
use crate::report::Report;
use crate::session::Chaos;
use crate::topology::DpuId;
use crate::traffic::Loss;
use crate::world::{Place, World};

/// What the procedure shows when the DPU itself does not restart.
pub(super) const PROCEDURE: [u8; 12] = [2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15, 16];
/// Longer than every debounce of the lab: what has not begun by then does not begin.
pub(super) const LONGER_THAN_DEBOUNCE: Duration = Duration::from_millis(1500);

fn dpu_state(world: &World, dpu: DpuId) -> Option<DpuState> {
    world.row::<DpuState>(Place::Npu(dpu.switch), &dpu.slot)
}

fn health(world: &World, dpu: DpuId) -> Option<DpuHealth> {
    dpu_state(world, dpu).map(|row| row.health())
}

/// Down and up within the debounce.
pub(super) async fn flap(lab: &mut Lab, report: &mut Report, chaos: Option<&Chaos>) -> Result<(), LabError> {
    let target = lab.active(Slot(0));
    lab.begin(&format!("the midplane of {target} (active) flaps"), &[target], &[2, 10], chaos).await?;
    lab.event(format!("midplane of {target} down"), Loss::None);
    lab.dpu(target)?.midplane(LinkState::Down).await?;
    lab.until("DPU_STATE is down", |world| health(world, target) == Some(DpuHealth::Down)).await?;
    lab.event(format!("midplane of {target} up"), Loss::None);
    lab.dpu(target)?.midplane(LinkState::Up).await?;
    lab.until("DPU_STATE is up", |world| health(world, target) == Some(DpuHealth::Up)).await?;
    lab.pass(LONGER_THAN_DEBOUNCE).await;
    same_life(lab, report, target);
    lab.finish(report, &Allowed { no_procedure: true, ..Allowed::default() }).await
}

/// The DPU's services fail and recover. Its scope is taken from a DPU that serves, so a packet that is on its way there may be
/// lost; no more than if it had died.
pub(super) async fn control_plane(
    lab: &mut Lab,
    report: &mut Report,
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    let target = lab.active(Slot(0));
    let title = format!("the control plane of {target} (active) goes down and up");
    lab.begin(&title, &[target], &PROCEDURE, chaos).await?;
    lab.event(format!("control plane of {target} down"), Loss::Detection);
    lab.dpu(target)?.system_ready(LinkState::Down).await?;
    deleted(lab, target).await?;
    lab.event(format!("control plane of {target} up"), Loss::None);
    lab.dpu(target)?.system_ready(LinkState::Up).await?;
    back(lab, target).await?;
    same_life(lab, report, target);
    lab.finish(report, &Allowed::default()).await
}

/// What the loss of the midplane may do to the traffic. On the loopback interface only the probe fails, and the DPU can be told
/// that it is no longer wanted. Where the link is gone it serves on without knowing; its NPU has no route to it any more, and the
/// other NPU, whose BFD sessions are well, goes on sending there until the link is back.
pub(super) fn midplane_loss(lab: &Lab, on_loopback: Loss) -> Loss {
    match lab.topology.kind() {
        Kind::Loopback => on_loopback,
        Kind::Netns => Loss::Any,
    }
}

/// The midplane fails and recovers.
pub(super) async fn midplane(
    lab: &mut Lab,
    report: &mut Report,
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    let target = lab.active(Slot(0));
    let title = format!("the midplane of {target} (active) goes down and up");
    lab.begin(&title, &[target], &PROCEDURE, chaos).await?;
    let may_lose = midplane_loss(lab, Loss::Detection);
    lab.event(format!("midplane of {target} down"), may_lose);
    lab.dpu(target)?.midplane(LinkState::Down).await?;
    deleted(lab, target).await?;
    let may_lose = midplane_loss(lab, Loss::None);
    lab.event(format!("midplane of {target} up"), may_lose);
    lab.dpu(target)?.midplane(LinkState::Up).await?;
    back(lab, target).await?;
    same_life(lab, report, target);
    lab.finish(report, &Allowed::default()).await
}

/// The DPU's port fails and recovers: nobody's business here.
pub(super) async fn data_plane(
    lab: &mut Lab,
    report: &mut Report,
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    let target = lab.active(Slot(0));
    lab.begin(&format!("the data plane of {target} (active) goes down and up"), &[target], &[], chaos)
        .await?;
    for state in [LinkState::Down, LinkState::Up] {
        lab.event(format!("data plane of {target} {state}"), Loss::None);
        lab.dpu(target)?.port(state).await?;
        let is = move |world: &World| dpu_state(world, target).and_then(|row| row.data_plane_state);
        lab.until(&format!("the data plane is {state}"), move |world| is(world) == Some(state)).await?;
        if health(lab.world(), target) != Some(DpuHealth::Up) {
            report.problem(format!("{target}: midplane or control plane went down with the data plane"));
        }
        lab.pass(LONGER_THAN_DEBOUNCE).await;
    }
    same_life(lab, report, target);
    lab.finish(report, &Allowed { no_procedure: true, ..Allowed::default() }).await
}

/// Waits until hamgrd has withdrawn everything (step 6), while the DPU is still down.
pub(super) async fn deleted(lab: &mut Lab, target: DpuId) -> Result<(), LabError> {
    steps_up_to(lab, target, 6).await
}

pub(super) async fn back(lab: &mut Lab, target: DpuId) -> Result<(), LabError> {
    steps_up_to(lab, target, 10).await
}

async fn steps_up_to(lab: &mut Lab, target: DpuId, last: u8) -> Result<(), LabError> {
    lab.until_steps(target, last).await?;
    Ok(())
}

/// A plane that was down is no restart.
pub(super) fn same_life(lab: &Lab, report: &mut Report, target: DpuId) {
    let reset = |world: &World| {
        let row = world.row::<schema::state_db::DpuResetInfo>(Place::Npu(target.switch), &target.slot);
        row.and_then(|row| row.incarnation)
    };
    let before = lab.session.trackers.first().and_then(|tracker| tracker.incarnation_before());
    let now = reset(lab.world());
    if before != now {
        report.problem(format!("{target}: taken for a restart: incarnation {before:?} became {now:?}"));
    }
}
