//! The NPU half: is the midplane up?

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use reconcile::{Batch, Core, Plan, Reconciler, RowId, StoreEvent, Time, Write};
use schema::config_db::Dpu;
use schema::state_db::{ChassisMidplane, PythonBool};
use schema::{Db, DpuName, Fields, LinkState, RecoveryStatus, Row, Slot, Table, WallMs};
use serde::{Deserialize, Serialize};

use crate::Here;
use crate::patch::{Patch, name};
use crate::shared_rows::SharedRows;

/// What the operator chose for the NPU half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NpuConfig {
    /// Probes lost in a row after which the midplane is down. SONiC's 1 takes one lost ping for an outage
    /// (`reference/pmon.md` 3.4 R8).
    pub probe_fail_threshold: NonZeroU32,
}

/// A DPU to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// The DPU.
    pub slot: Slot,
    /// Its midplane address.
    pub address: Ipv4Addr,
}

/// What can happen to the NPU half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum NpuInput {
    /// A `CONFIG_DB` `DPU` row was read (`None`: it is gone, or cannot be understood).
    Dpu {
        /// Its key.
        name: DpuName,
        /// Its content.
        row: Option<Dpu>,
    },
    /// All `DPU` rows have been read.
    DpusSynced,
    /// A probe came to its end. One sent to an address that is no longer the DPU's is ignored.
    Probe {
        /// What was probed.
        target: Target,
        /// Whether it answered in time.
        reachable: bool,
    },
    /// A store this half writes to reports: `CHASSIS_STATE_DB` or `STATE_DB`.
    Store(StoreEvent<Here>),
}

/// What the NPU half asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum NpuEffect {
    /// Write a row. Twice is once.
    Write(Write<Here>),
    /// Probe exactly these DPUs from now on, all at the same time, once per interval. Twice is once.
    Probe(Vec<Target>),
    /// Tell the operator.
    Note(NpuNote),
}

/// What an operator may want to know of the NPU half's decisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NpuNote {
    /// The midplane answers, for the first time or again.
    MidplaneUp(Slot),
    /// The midplane does not answer.
    MidplaneDown {
        /// The DPU.
        slot: Slot,
        /// Probes lost in a row.
        lost: u32,
    },
    /// The DPU's row has no `midplane_ipv4`: its midplane stays unknown.
    NoMidplaneAddress(DpuName),
    /// Two `DPU` rows name one slot; the first in name order counts.
    SlotTaken {
        /// The row that does not count.
        ignored: DpuName,
        /// The slot.
        slot: Slot,
    },
}

/// What is known of a DPU's midplane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Midplane {
    address: Ipv4Addr,
    /// Probes lost since the last that was answered.
    lost: u32,
    /// `None` until the first answer, or until enough probes in a row were lost.
    verdict: Option<LinkState>,
}

/// The NPU half of pmon, for all DPUs of the switch.
///
/// | verdict | one answer | a loss | `threshold` losses in a row |
/// | --- | --- | --- | --- |
/// | unknown (start, new address) | up | unknown | down |
/// | up | up | up | down |
/// | down | up | down | down |
///
/// While the verdict is unknown nothing is written: a restart of this process is no event for the DPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PmonNpu {
    config: NpuConfig,
    dpus: BTreeMap<DpuName, Dpu>,
    dpus_synced: bool,
    midplanes: BTreeMap<Slot, Midplane>,
    probed: Vec<Target>,
    states: SharedRows,
    access: Reconciler<Here>,
}

impl Core for PmonNpu {
    type Input = NpuInput;
    type Effect = NpuEffect;

    fn handle(&mut self, now: Time, batch: Batch<NpuInput>, out: &mut Vec<NpuEffect>) {
        for input in batch.inputs {
            match input {
                NpuInput::Dpu { name, row } => self.take_dpu(name, row, out),
                NpuInput::DpusSynced => self.dpus_synced = true,
                NpuInput::Probe { target, reachable } => self.take_probe(target, reachable, out),
                NpuInput::Store(event) if event.db == Db::ChassisStateDb => {
                    self.states.observe(&event.update)
                }
                NpuInput::Store(event) => self.access.observe(event),
            }
        }
        self.retarget(out);
        self.write_states(now, batch.wall, out);
        self.write_access(out);
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        self.states.next_deadline().map(|at| (at, "write again what somebody keeps overwriting"))
    }
}

impl PmonNpu {
    /// Knows no DPU yet.
    pub fn new(config: NpuConfig) -> Self {
        Self {
            config,
            dpus: BTreeMap::new(),
            dpus_synced: false,
            midplanes: BTreeMap::new(),
            probed: Vec::new(),
            states: SharedRows::default(),
            access: Reconciler::new(),
        }
    }

    /// The verdict on a DPU's midplane; `None` while there is none.
    pub fn midplane(&self, slot: Slot) -> Option<LinkState> {
        self.midplanes.get(&slot)?.verdict
    }

    fn take_dpu(&mut self, name: DpuName, row: Option<Dpu>, out: &mut Vec<NpuEffect>) {
        let Some(row) = row else {
            self.dpus.remove(&name);
            return;
        };
        let slot = row.dpu_id;
        if row.midplane_ipv4.is_none() {
            out.push(NpuEffect::Note(NpuNote::NoMidplaneAddress(name.clone())));
        }
        self.dpus.insert(name, row);
        let same_slot = self.dpus.iter().filter(|(_, dpu)| dpu.dpu_id == slot);
        for (ignored, _) in same_slot.skip(1) {
            out.push(NpuEffect::Note(NpuNote::SlotTaken { ignored: ignored.clone(), slot }));
        }
    }

    fn take_probe(&mut self, target: Target, reachable: bool, out: &mut Vec<NpuEffect>) {
        let Some(midplane) = self.midplanes.get_mut(&target.slot) else { return };
        if midplane.address != target.address {
            return;
        }
        midplane.lost = if reachable { 0 } else { midplane.lost.saturating_add(1) };
        let verdict = if reachable {
            LinkState::Up
        } else if midplane.lost >= self.config.probe_fail_threshold.get() {
            LinkState::Down
        } else {
            return;
        };
        if midplane.verdict.replace(verdict) != Some(verdict) {
            out.push(NpuEffect::Note(match verdict {
                LinkState::Up => NpuNote::MidplaneUp(target.slot),
                LinkState::Down => NpuNote::MidplaneDown { slot: target.slot, lost: midplane.lost },
            }));
        }
    }

    /// Follows the configuration: a DPU with a new address is a DPU nothing is known of.
    fn retarget(&mut self, out: &mut Vec<NpuEffect>) {
        let mut wanted: BTreeMap<Slot, Option<Ipv4Addr>> = BTreeMap::new();
        for dpu in self.dpus.values() {
            wanted.entry(dpu.dpu_id).or_insert(dpu.midplane_ipv4);
        }
        self.midplanes.retain(|slot, midplane| wanted.get(slot) == Some(&Some(midplane.address)));
        for (slot, address) in wanted {
            let Some(address) = address else { continue };
            self.midplanes.entry(slot).or_insert(Midplane { address, lost: 0, verdict: None });
        }
        let targets =
            self.midplanes.iter().map(|(slot, midplane)| Target { slot: *slot, address: midplane.address });
        let targets: Vec<Target> = targets.collect();
        if targets != self.probed {
            self.probed.clone_from(&targets);
            out.push(NpuEffect::Probe(targets));
        }
    }

    fn write_states(&mut self, now: Time, wall: WallMs, out: &mut Vec<NpuEffect>) {
        self.states.start_round();
        for (slot, midplane) in &self.midplanes {
            let Some(verdict) = midplane.verdict else { continue };
            let patch = state_patch(self.states.get(*slot), verdict, self.config, wall);
            out.extend(self.states.merge(now, *slot, patch).map(NpuEffect::Write));
        }
    }

    /// `CHASSIS_MIDPLANE_TABLE` has one writer, so its rows are set whole.
    fn write_access(&mut self, out: &mut Vec<NpuEffect>) {
        let mut plan = Plan::new();
        for (slot, midplane) in &self.midplanes {
            let Some(verdict) = midplane.verdict else { continue };
            let access = PythonBool(verdict == LinkState::Up);
            plan.want(Here, slot, &ChassisMidplane { ip_address: Some(midplane.address), access });
        }
        let configured: BTreeSet<Slot> = self.dpus.values().map(|dpu| dpu.dpu_id).collect();
        let (synced, mut writes) = (self.dpus_synced, Vec::new());
        let keep = |row: &RowId<Here>, _: &Fields| {
            let slot = ChassisMidplane::parse_key(&row.key);
            row.table != Table::ChassisMidplane
                || !synced
                || slot.map_or(true, |slot| configured.contains(&slot))
        };
        self.access.diff(&plan, |_| 0, keep, &mut writes);
        out.extend(writes.into_iter().map(NpuEffect::Write));
    }
}

/// What the NPU half has to write into a `DPU_STATE` row (`reference/pmon.md` 1.3), as one merge.
///
/// A midplane that goes down takes control and data plane with it in the same write; their times and reasons stay.
fn state_patch(present: Option<&Fields>, verdict: LinkState, config: NpuConfig, wall: WallMs) -> Fields {
    let mut patch = Patch::on(present, wall);
    if patch.has(name::MIDPLANE_STATE, verdict.as_str()) {
        patch.want_time(name::MIDPLANE_TIME);
    } else {
        patch.set(name::MIDPLANE_STATE, verdict.as_str());
        patch.stamp(name::MIDPLANE_TIME);
        if verdict == LinkState::Down {
            // Even where they read down already: what the DPU wrote may not have been read back yet (R10).
            patch.set(name::CONTROL_PLANE_STATE, LinkState::Down.as_str());
            patch.set(name::DATA_PLANE_STATE, LinkState::Down.as_str());
        }
    }
    match verdict {
        LinkState::Up => patch.want(name::MIDPLANE_REASON, ""),
        LinkState::Down => {
            // The first reason stays while the midplane is down.
            if patch.has(name::MIDPLANE_REASON, "") || !patch.has_any(name::MIDPLANE_REASON) {
                let lost = config.probe_fail_threshold;
                let reason = format!("Unplanned: 'Unreachable, {lost} probes lost in a row'");
                patch.set(name::MIDPLANE_REASON, &reason);
            }
            patch.want(name::CONTROL_PLANE_STATE, LinkState::Down.as_str());
            patch.want(name::DATA_PLANE_STATE, LinkState::Down.as_str());
        }
    }
    let planes = [name::MIDPLANE_STATE, name::CONTROL_PLANE_STATE, name::DATA_PLANE_STATE];
    let ready = planes.iter().all(|plane| patch.plane(plane) == Some(LinkState::Up));
    let (status, time) =
        if ready { ("true", name::LAST_READY_TIME) } else { ("false", name::LAST_DOWN_TIME) };
    if !patch.has(name::READY_STATUS, status) {
        patch.set(name::READY_STATUS, status);
        patch.stamp(time);
    }
    for time in [name::LAST_DOWN_TIME, name::LAST_READY_TIME] {
        patch.mend_time(time);
    }
    patch.want_some::<RecoveryStatus>(name::RECOVERY_STATUS, RecoveryStatus::Recoverable.as_str());
    patch.want_some::<u32>(name::RESET_COUNT, "0");
    patch.into_fields()
}
