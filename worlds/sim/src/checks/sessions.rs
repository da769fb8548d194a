//! P4 on the DPU, on real BFD sessions: they exist exactly while a scope serves and is not being shut down, and none is
//! up past its Detection Time. P5: their peers are told before the role ends.

use std::collections::BTreeMap;

use bfd::State;
use reconcile::Time;
use schema::{Db, Table};

use crate::rng::{MS, Micros};
use crate::topology::{DpuRef, Proc, Server};
use crate::world::World;

/// How long sessions may be missing although a scope serves, with nothing standing in the way: a scope that goes down
/// serves until its role is dead, which a failed SAI call holds up.
const MISSING_GRACE: Micros = 6000 * MS;
/// How late a Detection Time may be noticed, ms.
const DETECTION_GRACE_MS: u64 = 100;
/// So long after a session was taken down its peer must have been told, or the role wait. Less than haorchd waits, which
/// may have begun to before.
const FAREWELL: Micros = 500 * MS;

/// Since when which DPU serves without sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    missing_since: BTreeMap<DpuRef, Micros>,
}

impl Sessions {
    pub(super) fn tick(world: &mut World) {
        if world.variant.without_bfd {
            return;
        }
        for dpu in world.topology.dpus().collect::<Vec<_>>() {
            if Self::is_missing(world, dpu) {
                let since = *world.checks.sessions.missing_since.entry(dpu).or_insert(world.now);
                if world.now - since > MISSING_GRACE {
                    world.checks.fail(format!("P4 {dpu} serves and has no BFD session"));
                }
            } else {
                world.checks.sessions.missing_since.remove(&dpu);
            }
        }
        let late = world.engines.iter().find_map(|(proc, engine)| {
            let stands_still = world.procs.get(proc).is_none_or(|process| process.paused_until > world.now);
            let Time(now) = engine.time(world.now);
            let mut sessions = engine.sessions.iter().map(|(_, session)| session);
            let is_late = |session: &&bfd::Session| {
                let heard = session.remote().map(|remote| remote.received_at.0);
                let detection = session.timing().detection_us.map(|us| us / 1000);
                let due =
                    heard.zip(detection).map(|(heard, detection)| heard + detection + DETECTION_GRACE_MS);
                session.state() == State::Up && due.is_none_or(|due| due < now)
            };
            let session = sessions.find(is_late).filter(|_| !stands_still)?;
            Some(format!("P4 {proc}'s BFD session with {} is up past its time", session.config().path.peer))
        });
        if let Some(what) = late {
            world.checks.fail(what);
        }
    }

    /// A scope serves, rows ask for sessions, nothing stands in the way, and there are none.
    fn is_missing(world: &World, dpu: DpuRef) -> bool {
        let serves = world.devices.get(&dpu).and_then(|device| device.asic.as_ref());
        let serves = serves.is_some_and(|asic| asic.model.scopes().any(|(_, state, _)| state.serves()));
        let has_rows = |server: Server, db: Db, table: Table| {
            let redis = world.servers.get(&server).filter(|redis| redis.is_up);
            let database = redis.and_then(|redis| redis.databases.get(&db));
            database.is_some_and(|database| database.rows.keys().any(|row| row.0 == table))
        };
        // What is asked for has reached it, and its own database says what is to run.
        let asks = has_rows(Server::OfDpu(dpu), Db::DpuApplDb, Table::BfdSession)
            && has_rows(Server::Local(dpu), Db::StateDb, Table::BfdSoftwareSession);
        serves && asks && !world.checks.is_held_up(world, dpu) && !world.has_bfd_sessions(dpu)
    }

    /// Sessions of a DPU that were just taken down and whose peers may take them for alive.
    pub(super) fn are_open(world: &World, dpu: DpuRef) -> bool {
        let proc = Proc::Haorchd(dpu);
        let Some(engine) = world.engines.get(&proc) else { return false };
        let is_calm = world
            .procs
            .get(&proc)
            .is_some_and(|process| process.paused_until.max(process.slow_until) + 1000 * MS < world.now);
        let is_open = |path: &bfd::Path| world.is_up_at_npu(path.peer, path.local);
        is_calm && engine.leaving.iter().any(|(path, since)| world.now - since < FAREWELL && is_open(path))
    }
}
