//! Links that fail while every process lives, and a switch that is lost. In network namespaces, where links are real.

use schema::chassis_state_db::{DpuHealth, DpuState};
use schema::{AsicHaState, BfdState, LinkState, Slot};

use super::planes;
use crate::lab::{Allowed, Lab, LabError, ha_state};
use crate::report::Report;
use crate::session::Chaos;
use crate::sessions;
use crate::topology::{DpuId, Topology};
use crate::traffic::Loss;
use crate::world::{Place, World};

const FIRST: Slot = Slot(0);

/// The sessions of every NPU to the DPU are in that state.
fn sessions_are(world: &World, topology: &Topology, dpu: DpuId, state: BfdState) -> bool {
    topology.switches().all(|switch| sessions_of(world, topology, switch, dpu, state))
}

/// Those of one NPU are.
fn sessions_of(world: &World, topology: &Topology, switch: u8, dpu: DpuId, state: BfdState) -> bool {
    topology.data_paths(dpu).iter().all(|path| sessions::state(world, switch, *path) == Some(state))
}

fn both_decide(world: &World, dpu: DpuId) -> bool {
    [dpu, dpu.peer()].into_iter().all(|dpu| ha_state(world, dpu) == Some(AsicHaState::Standalone))
}

fn is_paired(world: &World, dpu: DpuId) -> bool {
    let mut sides = [ha_state(world, dpu), ha_state(world, dpu.peer())];
    sides.sort();
    sides == [Some(AsicHaState::Active), Some(AsicHaState::Standby)]
}

/// Waits until the pair, of which both sides decide, has one that does again: the ASICs tell of the split brain and do not heal
/// it, so it is the controller that did.
async fn recovered(lab: &mut Lab, report: &mut Report, target: DpuId) -> Result<(), LabError> {
    lab.until("the controller has ended the split brain", |world| is_paired(world, target)).await?;
    let active = lab.active(target.slot);
    let intended = DpuId { switch: 0, slot: target.slot };
    lab.session.printer.line(&format!("  the split brain is over: {active} is active"));
    if active != intended {
        report.problem(format!("{active} is active, and it was {intended} that should not yield"));
    }
    Ok(())
}

/// The front-panel link of the active DPU: BFD and traffic, and the DPU's way to its peer.
pub(super) async fn dpu_link(
    lab: &mut Lab,
    report: &mut Report,
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    let target = lab.active(FIRST);
    let title = format!("the front-panel link of {target} (active) goes down and up");
    // The peer is cycled when the split brain ends.
    lab.begin(&title, &[target, target.peer()], &[], chaos).await?;
    lab.event(format!("front-panel link of {target} down"), Loss::Detection);
    lab.front_panel(target, LinkState::Down).await?;
    let topology = lab.topology.clone();
    let what = format!("every NPU's sessions to {target} are down and traffic goes to its peer");
    lab.until(&what, |world| {
        let moved = |switch| sessions::is_served_by(world, &topology, switch, target.peer());
        sessions_are(world, &topology, target, BfdState::Down) && topology.switches().all(moved)
    })
    .await?;
    lab.session.printer.line("  BFD down at every NPU, traffic moved");
    let data_plane = |world: &World| {
        world.row::<DpuState>(Place::Npu(target.switch), &target.slot).and_then(|row| row.data_plane_state)
    };
    lab.until("DPU_STATE tells that the data plane is down", |world| {
        data_plane(world) == Some(LinkState::Down)
    })
    .await?;
    // Neither hears the other: the link was also the way to the peer.
    lab.until("both sides decide alone", |world| both_decide(world, target)).await?;
    // Nobody takes it for a DPU that is down, and the peer serves meanwhile.
    lab.pass(planes::LONGER_THAN_DEBOUNCE).await;
    // The controller ends the split brain as soon as the sides hear each other. BFD of a session that was down may need a second
    // more, and until then no NPU has anybody to send to.
    lab.event(format!("front-panel link of {target} up"), Loss::Any);
    lab.front_panel(target, LinkState::Up).await?;
    recovered(lab, report, target).await?;
    planes::same_life(lab, report, target);
    lab.finish(report, &Allowed { no_procedure: true, ..Allowed::default() }).await
}

/// The midplane link of the active DPU: the NPU can neither reach nor tell it, and its traffic flows on.
pub(super) async fn midplane_link(
    lab: &mut Lab,
    report: &mut Report,
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    let target = lab.active(FIRST);
    let title = format!("the midplane link of {target} (active) goes down and up");
    lab.begin(&title, &[target], &planes::PROCEDURE, chaos).await?;
    // It serves on without knowing that it is no longer wanted: see `planes::midplane_loss`.
    lab.event(format!("midplane link of {target} down"), Loss::Any);
    lab.dpu(target)?.midplane(LinkState::Down).await?;
    planes::deleted(lab, target).await?;
    // It cannot be told to stop, and nothing else fails on it. Its own NPU has no route to it any more, and so no session.
    let topology = lab.topology.clone();
    if !sessions_of(lab.world(), &topology, target.peer().switch, target, BfdState::Up) {
        report.problem(format!("{target}: BFD fell with the midplane, which carries none of it"));
    }
    lab.event(format!("midplane link of {target} up"), Loss::Any);
    lab.dpu(target)?.midplane(LinkState::Up).await?;
    planes::back(lab, target).await?;
    planes::same_life(lab, report, target);
    lab.finish(report, &Allowed::default()).await
}

/// The DPUs do not hear each other any more, while every link is up and every NPU reaches both.
pub(super) async fn partition(
    lab: &mut Lab,
    report: &mut Report,
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    let target = lab.active(FIRST);
    let title = format!("nothing passes between {target} (active) and its peer");
    // The peer is cycled when the split brain ends.
    lab.begin(&title, &[target, target.peer()], &[], chaos).await?;
    lab.event(format!("partition between {target} and its peer"), Loss::None);
    lab.part(target).await?;
    lab.until("both sides decide alone", |world| both_decide(world, target)).await?;
    lab.session.printer.line("  both are standalone");
    let topology = lab.topology.clone();
    for dpu in [target, target.peer()] {
        if !sessions_are(lab.world(), &topology, dpu, BfdState::Up) {
            report.problem(format!("{dpu}: BFD fell, though its link is up"));
        }
    }
    lab.event("the partition is over", Loss::None);
    lab.heal(target).await?;
    recovered(lab, report, target).await?;
    planes::same_life(lab, report, target);
    lab.finish(report, &Allowed { no_procedure: true, ..Allowed::default() }).await
}

/// A whole switch loses its power, its DPUs with it, and comes back with empty databases.
pub(super) async fn npu_loss(
    lab: &mut Lab,
    report: &mut Report,
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    /// The rest happens in databases that nobody can read.
    const STEPS: [u8; 8] = [1, 7, 10, 12, 13, 14, 15, 16];
    let target = lab.active(FIRST);
    let lost: Vec<DpuId> = lab.topology.dpus_of(target.switch).collect();
    let title = format!("{} is lost with all its DPUs", target.switch_name());
    lab.begin(&title, &lost, &STEPS, chaos).await?;
    // What enters through a switch that is gone is gone.
    lab.event(format!("loss of {}", target.switch_name()), Loss::Any);
    lab.lose_switch(target.switch).await?;
    let peers: Vec<DpuId> = lost.iter().map(|dpu| dpu.peer()).collect();
    lab.until("every peer decides alone", |world| {
        peers.iter().all(|peer| ha_state(world, *peer) == Some(AsicHaState::Standalone))
    })
    .await?;
    let topology = lab.topology.clone();
    let survivor = target.peer().switch;
    lab.until("the switch that is left sends all traffic to its own DPUs", |world| {
        peers.iter().all(|peer| sessions::is_served_by(world, &topology, survivor, *peer))
    })
    .await?;
    lab.session.printer.line("  every peer is standalone and has the traffic");
    lab.boot_delay().await;
    lab.event(format!("return of {}", target.switch_name()), Loss::Any);
    lab.restore_switch(target.switch).await?;
    for dpu in &lost {
        let what = format!("{dpu} is up and paired again");
        lab.until(&what, |world| {
            let row = world.row::<DpuState>(Place::Npu(dpu.switch), &dpu.slot);
            row.is_some_and(|row| row.health() == DpuHealth::Up) && is_paired(world, *dpu)
        })
        .await?;
    }
    lab.finish(report, &Allowed { not_local: true, ..Allowed::default() }).await
}
