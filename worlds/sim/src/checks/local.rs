//! P8 over the stream of writes: a DPU's restart changes no row of another DPU, except what reports the peer's state.
//!
//! Who is watched: a DPU that was undisturbed while another restarts. What belongs to it is as in
//! `invariants::local`.

use std::collections::BTreeMap;

use reconcile::{Op, RowWrite};
use schema::appl_db::HaScopeConfigKey;
use schema::{RowKey, Slot, Table};

use crate::faults::Kind;
use crate::rng::{MS, Micros};
use crate::topology::{DpuRef, Proc, Server, Topology};
use crate::world::World;

/// For how long after it a restart must change nothing.
const WATCH: Micros = 8000 * MS;
/// How long after other trouble what was to be repaired is.
const AFTERMATH: Micros = 12_000 * MS;

/// Restarts, and other trouble.
#[derive(Clone, Debug, Default)]
pub(super) struct Local {
    /// When a DPU last lost power or booted.
    restarted: BTreeMap<DpuRef, Micros>,
    /// When something else than a restart last happened to anybody.
    troubled: Micros,
}

impl Local {
    /// A fault happens.
    pub(super) fn fault(world: &mut World, kind: Kind) {
        if kind.is_trouble() {
            world.checks.local.troubled = world.now;
        }
    }

    /// A DPU loses power, or boots.
    pub(super) fn restarted(world: &mut World, dpu: DpuRef) {
        let now = world.now;
        world.checks.local.restarted.insert(dpu, now);
    }

    /// A process' write was carried out.
    pub(super) fn written(world: &World, proc: Proc, server: Server, write: &RowWrite) -> Option<String> {
        let local = &world.checks.local;
        let dpu = owner(world.topology, server, write)?;
        let own = local.restarted.get(&dpu).copied().unwrap_or_default();
        // Faults that last end no later than this.
        let troubled = local.troubled.max(own).max(world.trouble_ends.min(world.now));
        if world.trouble_ends > world.now || world.now < troubled + AFTERMATH || is_own_doing(write) {
            return None;
        }
        let recent = |(other, at): (&DpuRef, &Micros)| *other != dpu && world.now < at + WATCH;
        let (other, _) = local.restarted.iter().find(|(other, at)| recent((other, at)))?;
        let row = write.table.redis_key(&write.key);
        Some(format!("P8 {proc} changes {row} of {dpu}, though only {other} restarted"))
    }
}

/// What a DPU's own state, or its peer's, makes its owner write.
fn is_own_doing(write: &RowWrite) -> bool {
    match write.table {
        Table::DashHaScopeConfig | Table::DashHaScope => write.op != Op::Del,
        // Sessions come once its role is active, however long that took.
        Table::BfdSoftwareSession => write.op != Op::Del,
        _ => false,
    }
}

/// Whose row it is, where no other DPU's state has a part in it.
fn owner(topology: Topology, server: Server, write: &RowWrite) -> Option<DpuRef> {
    let separator = write.table.db().separator();
    match (server, write.table) {
        (Server::OfDpu(dpu), Table::DashHaSet | Table::BfdSession | Table::DashHaScope)
        | (Server::Local(dpu), Table::BfdSoftwareSession) => Some(dpu),
        (Server::Host(switch), Table::DashHaSetConfig) => {
            topology.dpus_of(switch).find(|dpu| topology.ha_set_text(*dpu) == write.key)
        }
        (Server::Host(switch), Table::DashHaScopeConfig) => {
            let key = HaScopeConfigKey::from_text(&write.key, separator)?;
            topology.dpus_of(switch).find(|dpu| Topology::vdpu(*dpu).as_ref() == Some(&key.vdpu))
        }
        (Server::Host(switch), Table::DpuResetInfo | Table::ChassisMidplane)
        | (Server::Chassis(switch), Table::DpuState) => {
            let Slot(slot) = Slot::from_text(&write.key, separator)?;
            Some(DpuRef { switch, slot })
        }
        (Server::Host(_) | Server::Chassis(_) | Server::OfDpu(_) | Server::Local(_), _) => None,
    }
}
