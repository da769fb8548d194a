//! Nothing without a cause: what tears down or approves, against what the databases said before.
//!
//! Each check grants time, for who writes may not have read the last word yet. It counts from when the writer was
//! undisturbed and could have known.

use std::collections::{BTreeMap, BTreeSet};

use controller::DpuId;
use haorch::{AsicOp, HaScopeAttribute};
use reconcile::{Op, RowWrite};
use schema::appl_db::HaScopeConfig;
use schema::chassis_state_db::{DpuHealth, DpuState};
use schema::dpu_appl_db::HaScope;
use schema::state_db::{BfdSoftwareSession, DpuResetInfo, HaScopeState};
use schema::{
    AsicHaRole, AsicHaState, Db, Fields, OperationType, Row, RowKey, Slot, Table, VdpuId, dpu_state_db,
};

use crate::redis::{Database, Notice, RowKey as RedisRow};
use crate::rng::{Micros, S};
use crate::topology::{DpuRef, Proc, Server, Topology, switch_text};
use crate::world::World;

/// How long what was true before may still be acted on.
const GRACE: Micros = 4 * S;
/// How long after its cause the controller may still tear a configuration down: it retries, and waits for others.
const TEARDOWN_GRACE: Micros = 10 * S;
/// How long a peer that is reported to decide may be unknown to a controller that is not disturbed.
const APPROVAL_GRACE: Micros = 2 * S;

/// When what last was otherwise, for each DPU.
#[derive(Clone, Debug, Default)]
pub(super) struct Causes {
    lives: BTreeMap<DpuRef, Life>,
    /// DPUs whose record the controller's store did not take, yet.
    unstored: BTreeSet<DpuRef>,
}

#[derive(Clone, Debug, Default)]
struct Life {
    boot_id: Option<String>,
    incarnation: Option<u64>,
    /// Its state was not up, or of another boot.
    not_up: Micros,
    /// Its configuration was another one.
    configured: Micros,
    /// Something happened that the controller may answer by programming it anew.
    reset: Micros,
    /// Its HA scope was not reported to decide.
    not_deciding: Micros,
    /// It asked for the activation of its role.
    asked: Micros,
}

fn row<R: Row>(database: Option<&Database>, key: &R::Key) -> Option<R> {
    let text = R::key_text(key);
    let fields = database?.rows.get(&(R::TABLE, text.clone()))?;
    R::parse_reporting(&text, fields).0.map(|(_, row)| row)
}

impl World {
    fn database(&self, server: Server, db: Db) -> Option<&Database> {
        self.servers.get(&server).filter(|redis| redis.is_up)?.databases.get(&db)
    }

    fn dpu_of_vdpu(&self, vdpu: &VdpuId) -> Option<DpuRef> {
        self.topology.dpus().find(|dpu| Topology::vdpu(*dpu).as_ref() == Some(vdpu))
    }

    /// When a process was last started, or held up.
    fn disturbed(&self, proc: Proc) -> Micros {
        self.procs
            .get(&proc)
            .map_or(self.now, |process| process.started.max(process.paused_until).max(process.slow_until))
    }
}

impl Causes {
    fn life(world: &mut World, dpu: DpuRef) -> &mut Life {
        world.checks.causes.lives.entry(dpu).or_default()
    }

    /// Rows of a database changed, by whomever.
    pub(super) fn noticed(world: &mut World, server: Server, db: Db, notices: &[Notice]) {
        for notice in notices {
            match notice {
                Notice::Row(row, _) => Self::row_changed(world, server, db, row),
                Notice::Flushed => Self::all_changed(world, server),
                Notice::Side(_) | Notice::Wake(_) => {}
            }
        }
    }

    /// The fleet file was read: anybody's intent may have changed.
    pub(super) fn fleet_read(world: &mut World) {
        let now = world.now;
        for dpu in world.topology.dpus().collect::<Vec<_>>() {
            Self::life(world, dpu).reset = now;
        }
    }

    /// The controller's store took a record, or did not. What was decided is acted on only once it is there.
    pub(super) fn stored(world: &mut World, id: &DpuId, ok: bool) {
        let is_it = |dpu: &DpuRef| switch_text(dpu.switch) == id.switch.as_str() && dpu.slot() == id.slot;
        let Some(dpu) = world.topology.dpus().find(is_it) else { return };
        if !ok {
            world.checks.causes.unstored.insert(dpu);
        } else if world.checks.causes.unstored.remove(&dpu) {
            Self::life(world, dpu).reset = world.now;
        }
    }

    /// Whatever a server holds may be another.
    pub(super) fn all_changed(world: &mut World, server: Server) {
        let now = world.now;
        let dpus: Vec<DpuRef> = match server {
            Server::Host(switch) | Server::Chassis(switch) => world.topology.dpus_of(switch).collect(),
            Server::OfDpu(dpu) | Server::Local(dpu) => vec![dpu],
        };
        for dpu in dpus {
            let life = Self::life(world, dpu);
            (life.not_up, life.reset, life.not_deciding, life.configured) = (now, now, now, now);
        }
    }

    fn row_changed(world: &mut World, server: Server, db: Db, (table, key): &RedisRow) {
        let now = world.now;
        let separator = table.db().separator();
        match (server, *table) {
            (Server::Chassis(switch), Table::DpuState) => {
                let Some(slot) = Slot::from_text(key, separator) else { return };
                let state = row::<DpuState>(world.database(server, db), &slot);
                let life = Self::life(world, DpuRef { switch, slot: slot.0 });
                let boot_id = state.as_ref().and_then(|state| state.boot_id.clone());
                let is_same = boot_id == std::mem::replace(&mut life.boot_id, boot_id.clone());
                if !is_same || state.is_none_or(|state| state.health() != DpuHealth::Up) {
                    (life.not_up, life.reset) = (now, now);
                }
            }
            (Server::Host(switch), Table::DpuResetInfo) => {
                let Some(slot) = Slot::from_text(key, separator) else { return };
                let info = row::<DpuResetInfo>(world.database(server, db), &slot);
                let life = Self::life(world, DpuRef { switch, slot: slot.0 });
                let incarnation = info.as_ref().and_then(|info| info.incarnation);
                let is_same = incarnation == std::mem::replace(&mut life.incarnation, incarnation);
                if !is_same || info.is_none_or(|info| info.reset_status) {
                    life.reset = now;
                }
            }
            (Server::Host(_), Table::DashHaScopeState) => {
                let Ok(key) = HaScopeState::parse_key(key) else { return };
                let state = row::<HaScopeState>(world.database(server, db), &key);
                let decides = state.and_then(|state| state.local_ha_state).is_some_and(AsicHaState::decides);
                if let Some(dpu) = world.dpu_of_vdpu(&key.vdpu).filter(|_| !decides) {
                    Self::life(world, dpu).not_deciding = now;
                }
            }
            (Server::Host(switch), Table::DashHaSetConfig) => {
                for dpu in world.topology.dpus_of(switch).collect::<Vec<_>>() {
                    Self::life(world, dpu).configured = now;
                }
            }
            (Server::Host(switch), table) if table.db() == Db::ConfigDb => {
                for dpu in world.topology.dpus_of(switch).collect::<Vec<_>>() {
                    Self::life(world, dpu).configured = now;
                }
            }
            (Server::OfDpu(dpu), Table::DpuDashHaScopeState) => {
                Self::life(world, dpu).asked = now;
            }
            (Server::Host(_) | Server::Chassis(_) | Server::OfDpu(_) | Server::Local(_), _) => {}
        }
    }

    /// A process' write was carried out.
    pub(super) fn written(world: &mut World, proc: Proc, server: Server, write: &RowWrite) {
        let violation = match (proc, server, write.table, &write.op) {
            (Proc::Hamgrd(_), Server::OfDpu(dpu), Table::BfdSession, Op::Del) => {
                Self::withdrawn(world, proc, dpu, &write.key)
            }
            (Proc::Hamgrd(_), Server::OfDpu(dpu), Table::DashHaScope, Op::Set(fields)) => {
                Self::requested(world, proc, dpu, (&write.key, fields))
            }
            (Proc::Controller, Server::Host(_), Table::DashHaScopeConfig, Op::Del) => {
                Self::torn_down(world, proc, &write.key)
            }
            (Proc::Controller, Server::Host(_), Table::DashHaScopeConfig, Op::Set(_)) => {
                Self::approved(world, server, write)
            }
            (
                Proc::Controller
                | Proc::Rival
                | Proc::Hamgrd(_)
                | Proc::PmonNpu(_)
                | Proc::Haorchd(_)
                | Proc::PmonDpu(_)
                | Proc::Orchagent(_),
                _,
                _,
                _,
            ) => None,
        };
        if let Some(what) = violation {
            world.checks.fail(what);
        }
    }

    /// A row was given to a DPU's ZMQ link.
    pub(super) fn sent(world: &mut World, proc: Proc, dpu: DpuRef, row: &zmq::Outgoing) {
        let Some(fields) = row.fields.as_ref().filter(|_| row.table == Table::DashHaScope) else { return };
        if let Some(what) = Self::requested(world, proc, dpu, (&row.key, fields)) {
            world.checks.fail(what);
        }
    }

    fn is_up(world: &World, dpu: DpuRef) -> bool {
        let database = world.database(Server::Chassis(dpu.switch), Db::ChassisStateDb);
        row::<DpuState>(database, &dpu.slot()).is_some_and(|state| state.health() == DpuHealth::Up)
    }

    /// P4: hamgrd withdraws a BFD session of a DPU that is up, or of which it cannot know that it is not.
    fn withdrawn(world: &World, proc: Proc, dpu: DpuRef, key: &str) -> Option<String> {
        let life = world.checks.causes.lives.get(&dpu)?;
        // A deletion waits for the DPU to acknowledge it, or for the link to go down, and may have been on its way for long.
        let turned = world.link_changed(dpu);
        let since = life.not_up.max(life.configured).max(world.disturbed(proc)).max(turned);
        (Self::is_up(world, dpu) && world.now > since + GRACE)
            .then(|| format!("P4 {proc} withdraws {key} of {dpu}, which has been up and configured"))
    }

    /// P9: hamgrd tells a DPU that what it asked for is approved, though it asks for nothing.
    fn requested(
        world: &World,
        proc: Proc,
        dpu: DpuRef,
        (row_key, fields): (&str, &Fields),
    ) -> Option<String> {
        let scope = HaScope::from_fields(row_key, fields).ok()?;
        let key = world.topology.ha_scope(dpu)?;
        let database = world.database(Server::OfDpu(dpu), Db::DpuStateDb);
        let asks = row::<dpu_state_db::HaScopeState>(database, &key)?.activate_role_pending;
        let since = world.checks.causes.lives.get(&dpu)?.asked.max(world.disturbed(proc));
        (scope.activate_role_requested == Some(true) && !asks && world.now > since + GRACE)
            .then(|| format!("P9 {proc} approves the role of {dpu} again, which asks for nothing"))
    }

    /// P6: the controller tears down what it need not.
    fn torn_down(world: &World, proc: Proc, key: &str) -> Option<String> {
        let key = HaScopeConfig::parse_key(key).ok()?;
        let dpu = world.dpu_of_vdpu(&key.vdpu)?;
        let life = world.checks.causes.lives.get(&dpu)?;
        let since = life.reset.max(world.disturbed(proc));
        (Self::is_up(world, dpu) && world.now > since + TEARDOWN_GRACE)
            .then(|| format!("P6 {proc} deletes the configuration of {dpu}, which needs no new one"))
    }

    /// P7: the controller approves a DPU to decide while its peer has long been reported to.
    fn approved(world: &World, server: Server, write: &RowWrite) -> Option<String> {
        let Op::Set(fields) = &write.op else { return None };
        let (key, config) = HaScopeConfig::parse(&write.key, fields).ok()?;
        let dpu = world.dpu_of_vdpu(&key.vdpu)?;
        let state = row::<HaScopeState>(world.database(server, Db::StateDb), &key)?;
        let asked = state.pending_operation_ids.iter().zip(&state.pending_operation_types);
        let is_approved = asked.into_iter().any(|(id, operation)| {
            *operation == OperationType::ActivateRole && config.approved_pending_operation_ids.contains(id)
        });
        let would_decide = matches!(
            state.local_ha_state,
            Some(AsicHaState::PendingActiveActivation | AsicHaState::PendingStandaloneActivation)
        );
        let peer = world.topology.peer(dpu);
        let life = world.checks.causes.lives.get(&peer)?;
        let of_peer = world.topology.scope_key(peer)?;
        let peer_state =
            row::<HaScopeState>(world.database(Server::Host(peer.switch), Db::StateDb), &of_peer)?;
        let peer_decides = peer_state.local_ha_state.is_some_and(AsicHaState::decides);
        let since = life.not_deciding.max(life.not_up).max(life.reset).max(world.disturbed(Proc::Controller));
        (is_approved && would_decide && peer_decides && world.now > since + APPROVAL_GRACE)
            .then(|| format!("P7 {dpu} is approved to decide, though {peer} has long been reported to"))
    }

    /// P5: a role ends while BFD sessions stand.
    pub(super) fn called(world: &mut World, dpu: DpuRef, op: &AsicOp) {
        let ends = match op {
            AsicOp::SetHaScope(_, HaScopeAttribute::DashHaRole(role)) => *role == AsicHaRole::Dead,
            AsicOp::RemoveHaScope(_) => true,
            AsicOp::SetHaScope(
                _,
                HaScopeAttribute::AdminState(_)
                | HaScopeAttribute::VipV4(_)
                | HaScopeAttribute::VipV6(_)
                | HaScopeAttribute::FlowReconcileRequested
                | HaScopeAttribute::ActivateRole,
            )
            | AsicOp::CreateHaSet(_)
            | AsicOp::SetHaSet(..)
            | AsicOp::RemoveHaSet(_)
            | AsicOp::CreateHaScope(_) => false,
        };
        let stands = world.database(Server::Local(dpu), Db::StateDb).is_some_and(has_sessions);
        if ends && (stands || super::sessions::Sessions::are_open(world, dpu)) {
            world.checks.fail(format!("P5 the role of {dpu} ends before its BFD sessions are withdrawn"));
        }
    }
}

/// Whether there are BFD sessions; a stranger's row that is none does not count.
pub(super) fn has_sessions(local: &Database) -> bool {
    let is_session = |(table, key): &RedisRow| {
        *table == Table::BfdSoftwareSession && BfdSoftwareSession::parse_key(key).is_ok()
    };
    local.rows.keys().any(is_session)
}
