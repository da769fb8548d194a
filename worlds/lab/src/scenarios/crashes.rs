//! Daemons and databases that die while the procedure runs.

use schema::{Db, Slot};

use super::restarts::restart_with;
use crate::lab::{Allowed, Lab, LabError};
use crate::report::Report;
use crate::session::{Chaos, ChaosAt};
use crate::topology::DpuId;
use crate::traffic::Loss;
use crate::world::Place;

/// The steps at which a daemon is killed. 3 and 11 show in what follows them, and so are the same moments.
const MOMENTS: [u8; 13] = [2, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16];

/// Restarts, each with the daemon killed at another step.
pub(super) async fn at_each_step(lab: &mut Lab, report: &mut Report, daemon: &str) -> Result<(), LabError> {
    for step in MOMENTS {
        let chaos = Chaos { daemon: daemon.to_owned(), at: ChaosAt::Step(step) };
        restart_with(lab, report, &format!("{daemon} is killed at step {step}"), &chaos).await?;
        if !report.ok {
            break;
        }
    }
    Ok(())
}

/// A server of the switch whose DPU is active.
#[derive(Clone, Copy, Debug)]
enum Server {
    Chassis,
    Dpu,
    Host,
}

/// Each server of a switch restarts empty.
pub(super) async fn redis_restart(
    lab: &mut Lab,
    report: &mut Report,
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    for server in [Server::Chassis, Server::Dpu, Server::Host] {
        one_server(lab, report, server, chaos).await?;
        if !report.ok {
            break;
        }
    }
    Ok(())
}

async fn one_server(
    lab: &mut Lab,
    report: &mut Report,
    server: Server,
    chaos: Option<&Chaos>,
) -> Result<(), LabError> {
    /// The databases are lost with what the controller and hamgrd made of them.
    const LOST_ON_DPU: [u8; 9] = [3, 4, 5, 6, 12, 13, 14, 15, 16];
    let target = lab.active(Slot(0));
    let (title, steps, place, dbs, allowed): (String, &[u8], _, &[Db], _) = match server {
        Server::Chassis => (
            format!("the chassis Redis of {} restarts: unknown is not down", target.switch_name()),
            &[],
            Place::Npu(target.switch),
            &[Db::ChassisStateDb],
            Allowed { not_local: true, no_procedure: true },
        ),
        Server::Dpu => (
            format!("the Redis of {target} on its NPU restarts"),
            &LOST_ON_DPU,
            Place::OnNpu(target),
            &[Db::DpuApplDb, Db::DpuApplStateDb, Db::DpuStateDb],
            Allowed::default(),
        ),
        Server::Host => (
            format!("the host Redis of {} restarts; its configuration is loaded again", target.switch_name()),
            &[],
            Place::Npu(target.switch),
            &[Db::ConfigDb, Db::ApplDb, Db::StateDb],
            Allowed { not_local: true, ..Allowed::default() },
        ),
    };
    lab.begin(&title, &[target], steps, chaos).await?;
    if matches!(server, Server::Dpu) {
        lab.new_life(target);
    }
    lab.event(format!("death of {server:?} Redis"), Loss::Any);
    lab.kill_server(target, server.which()).await?;
    let what = format!("{title}: it does not answer");
    lab.until(&what, |world| dbs.iter().all(|db| !world.answers(place, *db))).await?;
    lab.event(format!("start of {server:?} Redis"), Loss::Any);
    lab.start_server(target, server.which()).await?;
    let what = format!("{title}: it answers again");
    lab.until(&what, |world| dbs.iter().all(|db| world.answers(place, *db))).await?;
    lab.finish(report, &allowed).await
}

impl Server {
    fn which(self) -> fn(&mut crate::device::Npu, DpuId) -> Option<&mut crate::redis::Redis> {
        match self {
            Server::Chassis => |npu, _| Some(&mut npu.chassis),
            Server::Dpu => |npu, dpu| npu.dpu_redis.get_mut(usize::from(dpu.slot.0)),
            Server::Host => |npu, _| Some(&mut npu.redis),
        }
    }
}
