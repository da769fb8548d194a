//! A modelled switch: databases, a small hamgrd and a small DPU. What they do is what
//! `reference/hamgrd.md` and the lab's ASIC model do, as levels and at once.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{IdSource, Op, RowWrite};
use schema::appl_db::{HaScopeConfig, HaScopeConfigKey, HaSetConfig};
use schema::chassis_state_db::DpuState;
use schema::state_db::{DpuResetInfo, HaScopeState};
use schema::{
    AsicHaState, DesiredHaState, Fields, LinkState, OperationId, OperationType, Row, Slot, Table, VdpuId,
    WallMs,
};

/// One DPU with one HA scope.
#[derive(Clone, Debug)]
pub struct ModelDpu {
    pub vdpu: VdpuId,
    pub slot: Slot,
    /// Midplane, control plane, data plane; `None` is no row at all.
    pub planes: Option<[LinkState; 3]>,
    /// Whether its ASIC runs.
    pub alive: bool,
    /// The life it is in, as its boot id tells hamgrd.
    pub boot: u64,
    /// What hamgrd has applied to it, in which life of the DPU.
    pub applied: Option<(HaScopeConfig, u64)>,
    /// The configuration hamgrd has seen, applied or fenced.
    pub recorded: Option<(HaScopeConfig, u64)>,
    pub asic: Option<AsicHaState>,
    pub operation: Option<(OperationId, OperationType)>,
    /// The split brain was recovered from in this life.
    pub recovered: bool,
}

/// One switch.
#[derive(Clone, Debug)]
pub struct ModelSwitch {
    pub reachable: bool,
    pub hamgrd_runs: bool,
    /// The next new HA scope configuration is acknowledged and dropped, as a draining actor does.
    pub drops_next_scope: bool,
    pub dropped: BTreeSet<VdpuId>,
    pub appl: BTreeMap<(Table, String), Fields>,
    pub resets: BTreeMap<Slot, DpuResetInfo>,
    pub states: BTreeMap<HaScopeConfigKey, HaScopeState>,
    pub dpus: Vec<ModelDpu>,
    /// The boot that hamgrd knows of each DPU.
    pub boots: BTreeMap<Slot, u64>,
    /// SONiC's hamgrd publishes no incarnation.
    pub has_incarnations: bool,
}

const UP: [LinkState; 3] = [LinkState::Up; 3];
const DOWN: [LinkState; 3] = [LinkState::Down; 3];

impl ModelDpu {
    pub fn new(vdpu: &str, slot: u8) -> Self {
        Self {
            vdpu: VdpuId::new(vdpu).unwrap(),
            slot: Slot(slot),
            planes: Some(UP),
            alive: true,
            boot: 1,
            applied: None,
            recorded: None,
            asic: None,
            operation: None,
            recovered: false,
        }
    }

    pub fn is_up(&self) -> Option<bool> {
        self.planes.map(|[midplane, control, _]| midplane == LinkState::Up && control == LinkState::Up)
    }

    pub fn row(&self) -> Option<DpuState> {
        let [midplane, control, data] = self.planes?;
        let mut row = DpuState::from_fields("DPU0", &Fields::new()).unwrap();
        row.midplane_link_state = Some(midplane);
        row.control_plane_state = Some(control);
        row.data_plane_state = Some(data);
        Some(row)
    }

    pub fn die(&mut self) {
        self.planes = Some(DOWN);
        self.lose_asic();
        self.alive = false;
    }

    pub fn boot(&mut self) {
        self.lose_asic();
        self.boot += 1;
        self.alive = true;
        self.planes = Some(UP);
    }

    fn lose_asic(&mut self) {
        self.applied = None;
        self.asic = None;
        self.operation = None;
        self.recovered = false;
    }

    pub fn decides(&self) -> bool {
        self.asic.is_some_and(AsicHaState::decides)
    }

    /// Whether a peer finds its HA scope.
    fn pairs(&self) -> bool {
        self.alive && self.asic.is_some_and(|state| state != AsicHaState::Dead)
    }

    fn desired(&self) -> Option<DesiredHaState> {
        self.applied.as_ref().map(|(config, _)| config.desired_ha_state)
    }

    fn is_approved(&self) -> bool {
        let approved = self.applied.iter().flat_map(|(config, _)| &config.approved_pending_operation_ids);
        self.operation.as_ref().is_some_and(|(id, _)| approved.into_iter().any(|approved| approved == id))
    }

    /// One step of the ASIC. `peer` is what it finds at the other end of the channel.
    pub fn step_asic(&mut self, peer: Option<&ModelDpu>, ids: &mut IdSource) -> bool {
        use AsicHaState::*;
        let before = (self.asic, self.operation.clone(), self.recovered);
        let peer = peer.filter(|peer| peer.pairs());
        let next = match (self.alive.then_some(()).and(self.desired()), self.asic) {
            (None, _) => None,
            (Some(DesiredHaState::Dead), _) => Some(Dead),
            (Some(_), None | Some(Dead)) => Some(Connecting),
            (Some(desired), Some(Connecting)) => Some(match peer {
                None => PendingStandaloneActivation,
                Some(peer) if peer.decides() => PendingStandbyActivation,
                Some(_) if desired == DesiredHaState::Active => PendingActiveActivation,
                Some(peer) if peer.desired() == Some(DesiredHaState::Active) => PendingStandbyActivation,
                Some(_) => Connecting,
            }),
            (Some(_), Some(PendingStandaloneActivation)) => Some(match (self.is_approved(), peer) {
                (true, _) => Standalone,
                (false, Some(_)) => Connecting,
                (false, None) => PendingStandaloneActivation,
            }),
            (Some(_), Some(PendingActiveActivation)) => Some(match (self.is_approved(), peer) {
                (_, None) => Connecting,
                (true, Some(_)) => Active,
                (false, Some(peer)) if peer.decides() => Connecting,
                (false, Some(_)) => PendingActiveActivation,
            }),
            (Some(_), Some(PendingStandbyActivation)) => Some(match (self.is_approved(), peer) {
                (_, None) => Connecting,
                (true, Some(peer)) if peer.decides() => Standby,
                (_, Some(_)) => PendingStandbyActivation,
            }),
            (Some(_), Some(Active | Standby)) if peer.is_none() => Some(Standalone),
            (Some(_), Some(Standalone)) if peer.is_some_and(|peer| peer.asic == Some(Standby)) => {
                Some(Active)
            }
            (Some(_), Some(state)) => Some(state),
        };
        if self.operation.as_ref().is_some_and(|(_, kind)| *kind == OperationType::BrainsplitRecover)
            && self.is_approved()
        {
            self.recovered = true;
        }
        if next != self.asic {
            self.operation = None;
        }
        self.asic = next;
        let split = !self.recovered && self.decides() && peer.is_some_and(ModelDpu::decides);
        let pending = match self.asic {
            Some(PendingActiveActivation | PendingStandaloneActivation | PendingStandbyActivation) => {
                Some(OperationType::ActivateRole)
            }
            Some(Standalone | Active) if split => Some(OperationType::BrainsplitRecover),
            _ => None,
        };
        if self.operation.as_ref().map(|(_, kind)| *kind) != pending {
            self.operation = pending.map(|kind| (ids.next_operation(), kind));
        }
        before != (self.asic, self.operation.clone(), self.recovered)
    }
}

impl ModelSwitch {
    pub fn new(dpus: Vec<ModelDpu>) -> Self {
        Self {
            reachable: true,
            hamgrd_runs: true,
            drops_next_scope: false,
            dropped: BTreeSet::new(),
            appl: BTreeMap::new(),
            resets: BTreeMap::new(),
            states: BTreeMap::new(),
            dpus,
            boots: BTreeMap::new(),
            has_incarnations: true,
        }
    }

    pub fn write(&mut self, write: &RowWrite) {
        let key = (write.table, write.key.clone());
        if write.table == Table::DpuResetInfo {
            let Op::Merge(newer) = &write.op else { panic!("DPU_RESET_INFO is only merged: {write:?}") };
            let slot = DpuResetInfo::parse_key(&write.key).unwrap();
            let row = self.resets.get_mut(&slot).expect("only a latch that is raised is lowered");
            let mut fields = row.to_fields();
            fields.merge(newer);
            *row = DpuResetInfo::from_fields(&write.key, &fields).unwrap();
            return;
        }
        match &write.op {
            Op::Set(fields) => drop(self.appl.insert(key, fields.clone())),
            Op::Merge(_) => panic!("configuration is never merged: {write:?}"),
            Op::Del => drop(self.appl.remove(&key)),
        }
    }

    pub fn scope(&self, vdpu: &VdpuId) -> Option<(HaScopeConfigKey, HaScopeConfig)> {
        let mut rows = self.appl.iter().filter(|((table, _), _)| *table == Table::DashHaScopeConfig);
        rows.find_map(|((_, key), fields)| {
            let (key, row) = HaScopeConfig::parse(key, fields).ok()?;
            (key.vdpu == *vdpu).then_some((key, row))
        })
    }

    pub fn has_set(&self, set: &str) -> bool {
        self.appl.contains_key(&(Table::DashHaSetConfig, set.to_owned()))
    }

    pub fn set(&self, set: &str) -> Option<HaSetConfig> {
        let fields = self.appl.get(&(Table::DashHaSetConfig, set.to_owned()))?;
        HaSetConfig::from_fields(set, fields).ok()
    }

    /// hamgrd: resets, then configuration, then states. Returns whether anything changed.
    pub fn step_hamgrd(&mut self, wall: WallMs) -> bool {
        if !self.hamgrd_runs {
            return false;
        }
        let before = (self.resets.clone(), self.states.clone());
        for at in 0..self.dpus.len() {
            self.step_reset(at, wall);
            self.step_scope(at);
        }
        let configured: BTreeSet<VdpuId> = self
            .dpus
            .iter()
            .filter(|dpu| self.scope(&dpu.vdpu).is_some())
            .map(|dpu| dpu.vdpu.clone())
            .collect();
        self.states.retain(|key, _| configured.contains(&key.vdpu));
        before != (self.resets.clone(), self.states.clone())
    }

    fn step_reset(&mut self, at: usize, wall: WallMs) {
        let dpu = &self.dpus[at];
        let Some(up) = dpu.is_up() else { return };
        let (slot, boot) = (dpu.slot, dpu.boot);
        let known_boot = self.boots.get(&slot).copied();
        let row = self.resets.entry(slot).or_insert_with(|| {
            let mut row = DpuResetInfo::from_fields("DPU0", &Fields::new()).unwrap();
            row.dpu_ready = Some(false);
            row
        });
        match (row.dpu_ready == Some(true), up) {
            (true, false) => {
                row.dpu_ready = Some(false);
                row.reset_status = true;
                row.timestamp_ms = Some(wall);
            }
            (false, true) => {
                row.dpu_ready = Some(true);
                if known_boot != Some(boot) && self.has_incarnations {
                    row.incarnation = Some(row.incarnation.unwrap_or(0).max(wall.0 as u64) + 1);
                }
                self.boots.insert(slot, boot);
            }
            (true, true) if known_boot != Some(boot) => {
                row.reset_status = true;
                row.timestamp_ms = Some(wall);
                if self.has_incarnations {
                    row.incarnation = Some(row.incarnation.unwrap_or(0).max(wall.0 as u64) + 1);
                }
                self.boots.insert(slot, boot);
            }
            (true, true) | (false, false) => {}
        }
    }

    fn step_scope(&mut self, at: usize) {
        let (vdpu, slot) = (self.dpus[at].vdpu.clone(), self.dpus[at].slot);
        let Some((key, config)) = self.scope(&vdpu) else {
            self.dropped.remove(&vdpu);
            self.dpus[at].recorded = None;
            self.dpus[at].applied = None;
            return;
        };
        if self.drops_next_scope && self.dpus[at].recorded.is_none() {
            self.drops_next_scope = false;
            self.dropped.insert(vdpu.clone());
        }
        if self.dropped.contains(&vdpu) {
            return;
        }
        let life = self.resets.get(&slot).and_then(|reset| reset.incarnation).unwrap_or(self.dpus[at].boot);
        let has_set = config.ha_set(&key).is_some_and(|set| self.has_set(set.as_str()));
        let dpu = &mut self.dpus[at];
        if dpu.is_up() == Some(true) && has_set {
            if dpu.recorded.as_ref().map(|(recorded, _)| recorded) != Some(&config) {
                dpu.recorded = Some((config.clone(), life));
            }
            // P3: a configuration of another life is fenced.
            if dpu.alive && dpu.recorded == Some((config.clone(), life)) {
                dpu.applied = dpu.recorded.clone();
            }
        }
        let mut row = HaScopeState::from_fields("", &Fields::new()).unwrap();
        row.version = Some(config.version);
        row.incarnation = self.resets.get(&slot).and_then(|reset| reset.incarnation);
        row.local_ha_state = dpu.asic;
        row.pending_operation_ids = dpu.operation.iter().map(|(id, _)| id.clone()).collect();
        row.pending_operation_types = dpu.operation.iter().map(|(_, kind)| *kind).collect();
        self.states.insert(key, row);
    }
}
