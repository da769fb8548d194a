//! What must never be, checked after every event; the rest is for the end (`run`).

mod causes;
mod local;
pub(crate) mod next_hops;
mod operations;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};

use asic_model::AsicModel;
use controller::DpuId;
use haorch::Oid;
use reconcile::{Op, RowWrite};
use schema::appl_db::HaScopeConfig;
use schema::dpu_appl_db::HaScope;
use schema::{AsicHaState, Db, DesiredHaState, HaSetId, OperationType, Row, Table, WallMs};

use crate::client::Kind;
use crate::damage::STRANGE_KEY;
use crate::redis::{Database, Notice};
use crate::rng::{Micros, S};
use crate::topology::{DpuRef, Proc, Server};
use crate::world::World;

/// How long BFD sessions may outlive the service, with nothing standing in the way.
const BFD_GRACE: Micros = 3 * S;
/// How long two ASICs need to know of each other again.
const PAIRING_GRACE: Micros = 2 * S;

/// State of an ASIC's scopes.
type Scopes = [(Oid, AsicHaState, u32)];

/// What the checks remember.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    /// The first thing that was wrong.
    pub violation: Option<String>,
    /// HA scopes of DPUs whose last write was decided before an emptying was known of: whoever empties a database
    /// under a writer must expect one more write.
    overtaken: BTreeSet<(DpuRef, String)>,
    /// Configurations that were applied in a life of the DPU that is over, and were not written again.
    stale: BTreeMap<DpuRef, HaScopeConfig>,
    /// Configurations as they were when haorchd, and with it the ASIC, ended.
    at_end: BTreeMap<DpuRef, HaScopeConfig>,
    bfd_since: BTreeMap<DpuRef, Micros>,
    lives: BTreeMap<DpuRef, LifeBounds>,
    trouble_until: BTreeMap<DpuRef, Micros>,
    causes: causes::Causes,
    local: local::Local,
    operations: operations::Operations,
    sessions: sessions::Sessions,
}

/// From when on the present life of a DPU may count.
///
/// hamgrd takes an emptied `DPU_APPL_DB` and the boot that follows for one restart, as long as no scope was applied
/// in between: it cannot tell a stranger's flush, or a boot that did not get far, from the clean-up of this boot,
/// and nothing was built on it.
#[derive(Clone, Copy, Debug, Default)]
struct LifeBounds {
    /// A scope was applied since the last emptying.
    applied: bool,
    emptied: Option<WallMs>,
    since: WallMs,
    /// `since` before the last boot.
    uncleaned: Option<WallMs>,
    /// It booted, and its database was not emptied since.
    is_unclean: bool,
}

impl Checks {
    /// `DPU_APPL_DB` of a DPU was emptied, by whomever.
    pub(crate) fn emptied(world: &mut World, dpu: DpuRef) {
        let wall = world.wall();
        let life = world.checks.lives.entry(dpu).or_default();
        life.is_unclean = false;
        if std::mem::take(&mut life.applied) || life.emptied.is_none() {
            life.emptied = Some(wall);
        }
    }

    /// A DPU boots.
    pub(crate) fn booted(world: &mut World, dpu: DpuRef) {
        let (wall, knows) = (world.wall(), Self::knows_emptied(world, dpu));
        let life = world.checks.lives.entry(dpu).or_default();
        life.is_unclean = true;
        life.uncleaned = Some(life.uncleaned.filter(|_| !knows).unwrap_or(life.since));
        life.since = life.emptied.filter(|_| !life.applied).unwrap_or(wall).min(wall);
        if Self::config(world, dpu).is_none() {
            Self::withdrawn(world, dpu);
        }
    }

    /// Whether hamgrd knows that `DPU_APPL_DB` of a DPU was emptied in the present boot.
    fn knows_emptied(world: &World, dpu: DpuRef) -> bool {
        let process = world.procs.get(&Proc::Hamgrd(dpu.switch));
        let mut clients = process.into_iter().flat_map(|process| &process.clients);
        let known = clients.find_map(|id| {
            let client = world.clients.get(id).filter(|client| client.server == Server::OfDpu(dpu))?;
            match &client.kind {
                Kind::Store(store) => Some(store.known_emptied),
                Kind::Producer(producer) => Some(producer.known_emptied),
                Kind::Reader(_) | Kind::Consumer(_) => None,
            }
        });
        let emptied = Self::dpu_appl(world, dpu).map_or(0, |database| database.emptied);
        let is_cleaned = !world.checks.lives.get(&dpu).is_some_and(|life| life.is_unclean);
        is_cleaned && known.is_some_and(|known| known >= emptied)
    }

    /// A DPU's configuration is gone, and with it what its restart could make stale: where there is no boot id, hamgrd
    /// need not report a restart that it did not know of before.
    fn withdrawn(world: &mut World, dpu: DpuRef) {
        let counts = world.variant.without_boot_id.contains(&dpu) && !Self::knows_emptied(world, dpu);
        if let Some(life) = world.checks.lives.get_mut(&dpu).filter(|_| counts) {
            life.since = life.uncleaned.unwrap_or(life.since);
        }
    }

    /// From when on the present life of a DPU may count.
    pub(crate) fn life_since(&self, dpu: DpuRef) -> WallMs {
        self.lives.get(&dpu).map_or(WallMs(0), |life| life.since)
    }

    pub(crate) fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    fn appl(world: &World, switch: u8) -> Option<&Database> {
        world.servers.get(&Server::Host(switch))?.databases.get(&Db::ApplDb)
    }

    fn dpu_appl(world: &World, dpu: DpuRef) -> Option<&Database> {
        world.servers.get(&Server::OfDpu(dpu))?.databases.get(&Db::DpuApplDb)
    }

    fn config(world: &World, dpu: DpuRef) -> Option<HaScopeConfig> {
        let key = HaScopeConfig::key_text(&world.topology.scope_key(dpu)?);
        let fields = Self::appl(world, dpu.switch)?.rows.get(&(Table::DashHaScopeConfig, key.clone()))?;
        let config = HaScopeConfig::from_fields(&key, fields).ok()?;
        Some(HaScopeConfig { approved_pending_operation_ids: Vec::new(), ..config })
    }

    /// haorchd ends, with the DPU or alone. A configuration that was not applied yet (hamgrd was dead when it was
    /// written) counts as written anew, though hamgrd need not take it for that.
    pub(crate) fn ended(world: &mut World, dpu: DpuRef) {
        let row = (Table::DashHaScope, world.topology.ha_set_text(dpu));
        let applied = Self::dpu_appl(world, dpu).and_then(|database| database.taken(&row));
        let applied = applied.and_then(|fields| HaScope::from_fields(&row.1, &fields).ok());
        let version = applied.and_then(|scope| scope.version);
        match Self::config(world, dpu).filter(|config| version.as_deref() == Some(config.version.as_str())) {
            Some(config) => world.checks.at_end.insert(dpu, config),
            None => world.checks.at_end.remove(&dpu),
        };
    }

    /// dpu-dbclean is about to empty `DPU_APPL_DB`: what was applied is of a life that is over (P3).
    pub(crate) fn cleaned(world: &mut World, dpu: DpuRef) {
        let present = Self::config(world, dpu);
        if let Some(config) =
            world.checks.at_end.remove(&dpu).filter(|config| Some(config) == present.as_ref())
        {
            world.checks.stale.insert(dpu, config);
        }
    }

    /// A server lost its data, and with it the configuration.
    pub(crate) fn data_lost(world: &mut World, server: Server) {
        causes::Causes::all_changed(world, server);
        match server {
            Server::Host(switch) => {
                world.checks.stale.retain(|dpu, _| dpu.switch != switch);
                world.checks.at_end.retain(|dpu, _| dpu.switch != switch);
                for dpu in world.topology.dpus_of(switch).collect::<Vec<_>>() {
                    Self::withdrawn(world, dpu);
                }
            }
            Server::OfDpu(dpu) => Self::emptied(world, dpu),
            Server::Chassis(_) | Server::Local(_) => {}
        }
    }

    /// A stranger meddled with a table: what rests on its rows may be lost.
    pub(crate) fn meddled(world: &mut World, server: Server, table: Table) {
        causes::Causes::all_changed(world, server);
        match server {
            Server::Host(_) if table.db() != Db::ConfigDb => Self::data_lost(world, server),
            Server::OfDpu(dpu) => {
                Self::data_lost(world, server);
                let key = world.topology.ha_set_text(dpu);
                world.checks.overtaken.insert((dpu, key));
                world.checks.overtaken.insert((dpu, STRANGE_KEY.to_owned()));
                // Whoever writes without knowing of it is overtaken, too.
                let redis = world.servers.get_mut(&server);
                if let Some(database) = redis.and_then(|redis| redis.databases.get_mut(&table.db())) {
                    database.emptied += 1;
                }
            }
            Server::Host(_) | Server::Chassis(_) | Server::Local(_) => {}
        }
    }

    /// A process' write was carried out; it knew of `known` emptyings.
    pub(crate) fn written(world: &mut World, proc: Proc, server: Server, write: &RowWrite, known: u64) {
        if let Some(what) = local::Local::written(world, proc, server, write) {
            world.checks.fail(what);
        }
        operations::Operations::written(world, proc, server, write);
        causes::Causes::written(world, proc, server, write);
        match server {
            Server::Host(switch) if write.table == Table::DashHaScopeConfig => {
                for dpu in world.topology.dpus_of(switch).collect::<Vec<_>>() {
                    let config = Self::config(world, dpu);
                    if config.is_none() {
                        Self::withdrawn(world, dpu);
                    }
                    let checks = &mut world.checks;
                    for old in [&mut checks.stale, &mut checks.at_end] {
                        if old.get(&dpu).is_some_and(|old| config.as_ref() != Some(old)) {
                            old.remove(&dpu);
                        }
                    }
                }
            }
            Server::OfDpu(dpu) if write.table.db() == Db::DpuApplDb => {
                let emptied = Self::dpu_appl(world, dpu).map_or(0, |database| database.emptied);
                let is_overtaken = known < emptied;
                if write.table == Table::DashHaScope {
                    let life = world.checks.lives.entry(dpu).or_default();
                    // Nothing is built on a write that lands in a database which was just emptied: hamgrd takes it back.
                    life.applied |= write.op != Op::Del && !is_overtaken;
                    // Where there is no boot id, an emptied database is noticed by what is missing from it.
                    if write.op == Op::Del && world.variant.without_boot_id.contains(&dpu) {
                        life.applied = false;
                        Self::withdrawn(world, dpu);
                    }
                }
                let key = if write.table == Table::DashHaScope {
                    write.key.clone()
                } else {
                    world.topology.ha_set_text(dpu)
                };
                if is_overtaken {
                    world.checks.overtaken.insert((dpu, key));
                    return;
                }
                if write.table != Table::DashHaScope {
                    return;
                }
                world.checks.overtaken.remove(&(dpu, key));
                let is_autonomous = world.variant.autonomous.contains(&dpu.switch);
                let is_stale = !is_autonomous && world.checks.stale.contains_key(&dpu);
                if let (Op::Set(_) | Op::Merge(_), true) = (&write.op, is_stale) {
                    let what = format!("P3 {proc} applies on {dpu} a configuration of its former life");
                    world.checks.fail(what);
                }
            }
            Server::Host(_) | Server::Chassis(_) | Server::OfDpu(_) | Server::Local(_) => {}
        }
    }

    /// A row was given to a DPU's ZMQ link.
    pub(crate) fn sent(world: &mut World, proc: Proc, dpu: DpuRef, row: &zmq::Outgoing) {
        causes::Causes::sent(world, proc, dpu, row);
    }

    /// Rows of a database changed, by whomever.
    pub(crate) fn noticed(world: &mut World, server: Server, db: Db, notices: &[Notice]) {
        causes::Causes::noticed(world, server, db, notices);
    }

    /// The controllers may see otherwise than before: a switch can be reached again, or a second one was at work.
    pub(crate) fn controllers_disturbed(world: &mut World) {
        for switch in world.topology.switches() {
            causes::Causes::all_changed(world, Server::Host(switch));
        }
    }

    /// The fleet file was read.
    pub(crate) fn fleet_read(world: &mut World) {
        causes::Causes::fleet_read(world);
    }

    /// The ASIC of a DPU refused a call.
    pub(crate) fn refused(world: &mut World, dpu: DpuRef) {
        operations::Operations::refused(world, dpu);
    }

    /// The controller's store took a record, or did not.
    pub(crate) fn stored(world: &mut World, dpu: &DpuId, ok: bool) {
        causes::Causes::stored(world, dpu, ok);
    }

    /// A fault happens, or goes on.
    pub(crate) fn fault(world: &mut World, kind: crate::faults::Kind) {
        local::Local::fault(world, kind);
    }

    /// A DPU loses power, or boots.
    pub(crate) fn restarted(world: &mut World, dpu: DpuRef) {
        local::Local::restarted(world, dpu);
    }

    /// The ASIC of a DPU was called to carry out what needs approval, and did.
    pub(crate) fn carried_out(world: &mut World, dpu: DpuRef, kind: OperationType) {
        operations::Operations::carried_out(world, dpu, kind);
    }

    /// Since when nothing stands between the controller, hamgrd and a DPU.
    fn calm_since(&self, world: &World, dpu: DpuRef) -> Micros {
        let turned = world.link_changed(dpu);
        let held = [Proc::Controller, Proc::Hamgrd(dpu.switch), Proc::Haorchd(dpu)].map(|proc| {
            let process = world.procs.get(&proc);
            process.map_or(world.now, |process| {
                process.started.max(process.paused_until).max(process.slow_until)
            })
        });
        // A fault of any kind may have to be repaired first.
        held.into_iter().fold(turned, Micros::max).max(world.trouble_ends.min(world.now))
    }

    /// A DPU's ASIC is called.
    pub(crate) fn called(world: &mut World, dpu: DpuRef, op: &haorch::AsicOp) {
        causes::Causes::called(world, dpu, op);
    }

    /// Rows of a database changed.
    pub(crate) fn changed(world: &mut World, server: Server, db: Db) {
        match (server, db) {
            (Server::OfDpu(dpu), Db::DpuApplDb) => Self::order(world, dpu),
            (Server::Host(switch), Db::ApplDb) => Self::one_instructed(world, switch),
            (Server::Host(_) | Server::Chassis(_) | Server::OfDpu(_) | Server::Local(_), _) => {}
        }
    }

    /// P5: never a scope without its set.
    fn order(world: &mut World, dpu: DpuRef) {
        let Some(database) = Self::dpu_appl(world, dpu) else { return };
        let mut violation = None;
        for ((table, key), fields) in &database.rows {
            if *table != Table::DashHaScope || world.checks.overtaken.contains(&(dpu, key.clone())) {
                continue;
            }
            let named = HaScope::from_fields(key, fields).ok().and_then(|scope| scope.ha_set_id);
            let set = named.or_else(|| HaSetId::new(key.as_str())).map_or(String::new(), String::from);
            if !database.rows.contains_key(&(Table::DashHaSet, set.clone())) {
                violation = Some(format!("P5 {dpu} has HA scope {key} without HA set {set}"));
            }
        }
        if let Some(what) = violation {
            world.checks.fail(what);
        }
    }

    /// P7: never two instructed to decide.
    fn one_instructed(world: &mut World, switch: u8) {
        for dpu in world.topology.dpus_of(switch) {
            let peer = world.topology.peer(dpu);
            let decides = |dpu| match Self::config(world, dpu).map(|config| config.desired_ha_state) {
                Some(DesiredHaState::Active | DesiredHaState::Standalone) => true,
                Some(DesiredHaState::Unspecified | DesiredHaState::Dead) | None => false,
            };
            if decides(dpu) && decides(peer) {
                world.checks.fail(format!("P7 {dpu} and {peer} are both told to decide"));
            }
        }
    }

    /// The channel of a pair was disturbed until now.
    pub(crate) fn healed(world: &mut World, pair: DpuRef) {
        world.checks.trouble_until.insert(pair, world.now + PAIRING_GRACE);
    }

    /// P7: an ASIC that was approved decides only if the other does not.
    pub(crate) fn asic_moved(
        world: &mut World,
        dpu: DpuRef,
        before: &Scopes,
        after: &Scopes,
        activates: bool,
    ) {
        let decides = |scopes: &Scopes| scopes.iter().any(|(_, state, _)| state.decides());
        if !activates || decides(before) || !decides(after) {
            return;
        }
        let (peer, pair) = (world.topology.peer(dpu), world.topology.first(dpu));
        let is_disturbed = world.partitioned.contains_key(&pair)
            || world.lossy.contains(&pair)
            || world.checks.trouble_until.get(&pair).is_some_and(|until| *until > world.now)
            || [dpu, peer].into_iter().any(|side| {
                let process = world.procs.get(&Proc::Haorchd(side));
                process.is_none_or(|process| process.paused_until + PAIRING_GRACE > world.now)
            });
        let asic = world.devices.get(&peer).and_then(|device| device.asic.as_ref());
        let peer_decides = asic.is_some_and(|asic| Self::model_decides(&asic.model));
        if peer_decides && !is_disturbed {
            world.checks.fail(format!("P7 {dpu} was approved to decide while {peer} does"));
        }
    }

    fn model_decides(model: &AsicModel) -> bool {
        model.scopes().any(|(_, state, _)| state.decides())
    }

    /// P4's half on the DPU: sessions only while a scope serves; and what else takes time.
    pub(crate) fn tick(world: &mut World) {
        sessions::Sessions::tick(world);
        operations::Operations::tick(world);
        for dpu in world.topology.dpus().collect::<Vec<_>>() {
            if Self::has_idle_sessions(world, dpu) {
                let since = *world.checks.bfd_since.entry(dpu).or_insert(world.now);
                if world.now - since > BFD_GRACE {
                    world.checks.fail(format!("P4 {dpu} has BFD sessions and does not serve"));
                }
            } else {
                world.checks.bfd_since.remove(&dpu);
            }
        }
    }

    /// Whether haorchd cannot do what it ought to.
    fn is_held_up(&self, world: &World, dpu: DpuRef) -> bool {
        let Some(process) = world.procs.get(&Proc::Haorchd(dpu)) else { return true };
        if process.paused_until > world.now || process.slow_until > world.now {
            return true;
        }
        let is_connected = |id| {
            world.clients.get(id).is_some_and(|client| {
                client.is_connected || matches!(client.kind, Kind::Reader(_) | Kind::Consumer(_))
            })
        };
        !process.clients.iter().all(is_connected)
    }

    fn has_idle_sessions(world: &World, dpu: DpuRef) -> bool {
        if world.checks.is_held_up(world, dpu) {
            return false;
        }
        let local = world.local_rows(dpu).and_then(|redis| redis.databases.get(&Db::StateDb));
        let has_sessions = local.is_some_and(causes::has_sessions);
        let asic = world.devices.get(&dpu).and_then(|device| device.asic.as_ref());
        let serves = asic.is_some_and(|asic| asic.model.scopes().any(|(_, state, _)| state.serves()));
        (has_sessions || world.has_bfd_sessions(dpu)) && !serves
    }
}
