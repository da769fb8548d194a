//! What the configuration rows of a snapshot say ought to be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use schema::appl_db::{HaScopeConfig, HaScopeConfigKey, HaSetConfig};
use schema::chassis_state_db::{DpuHealth, DpuState};
use schema::config_db::{Dpu, Global, HaGlobalConfig, LoopbackInterface, RemoteDpu, Vdpu};
use schema::state_db::{DpuResetInfo, HaScopeFence};
use schema::{DpuName, HaSetId, PmonTime, VdpuId, WallMs};

use crate::snapshot::{DpuSnapshot, Snapshot, SwitchSnapshot};

/// The interface whose addresses are the NPU's.
const NPU_INTERFACE: &str = "Loopback0";

/// A configured HA scope of a DPU.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeModel {
    /// The row's key.
    pub key: HaScopeConfigKey,
    /// The configuration.
    pub config: HaScopeConfig,
    /// The HA set that it belongs to.
    pub set: Option<HaSetId>,
}

/// A configured DPU, and what the databases say of it.
#[derive(Clone, Debug)]
pub struct DpuModel<'a> {
    /// How findings name it.
    pub place: String,
    /// Its databases.
    pub snapshot: &'a DpuSnapshot,
    /// The name of its `DPU` row.
    pub name: DpuName,
    /// Its `DPU` row.
    pub config: Dpu,
    /// Its `DPU_STATE` row.
    pub state: Option<DpuState>,
    /// What that row says.
    pub health: DpuHealth,
    /// Its `DPU_RESET_INFO` row.
    pub reset: Option<DpuResetInfo>,
    /// The vDPUs that it carries.
    pub vdpus: BTreeSet<VdpuId>,
    /// The HA sets with such a vDPU.
    pub sets: BTreeMap<HaSetId, HaSetConfig>,
    /// The HA scopes of its vDPUs.
    pub scopes: Vec<ScopeModel>,
    /// The NPUs that shall watch it by BFD, over all its HA sets.
    pub bfd_peers: BTreeSet<IpAddr>,
}

impl DpuModel<'_> {
    /// The DPU's present life, where it is known.
    pub fn incarnation(&self) -> Option<u64> {
        self.reset.as_ref()?.incarnation
    }

    /// When that life was noticed: an incarnation is a time.
    pub fn lives_since(&self) -> Option<WallMs> {
        self.incarnation().and_then(|incarnation| i64::try_from(incarnation).ok()).map(WallMs)
    }

    /// When midplane or control plane last changed, by the row's own times.
    pub fn health_since(&self) -> Option<WallMs> {
        let state = self.state.as_ref()?;
        state.midplane_link_time.max(state.control_plane_time).map(PmonTime::wall)
    }

    /// Whether a HA scope's configuration is held back by the fence: it is of a life before the present one
    /// (DESIGN 5).
    pub fn is_fenced(&self, fence: Option<&HaScopeFence>) -> bool {
        match (fence, self.incarnation()) {
            (Some(fence), Some(present)) => fence.incarnation < present,
            (None, _) | (_, None) => false,
        }
    }

    /// The data-path address of the family of `peer`.
    pub fn address_towards(&self, peer: IpAddr) -> Option<IpAddr> {
        match peer {
            IpAddr::V4(_) => self.config.pa_ipv4.map(IpAddr::V4),
            IpAddr::V6(_) => self.config.pa_ipv6.map(IpAddr::V6),
        }
    }
}

/// A switch and its configuration.
#[derive(Clone, Debug)]
pub struct SwitchModel<'a> {
    /// Its databases.
    pub snapshot: &'a SwitchSnapshot,
    /// What is common to all HA sets.
    pub global: Option<HaGlobalConfig>,
    /// The HA sets configured here, whosever.
    pub sets: BTreeMap<HaSetId, HaSetConfig>,
    /// The HA scopes configured here, whosever.
    pub scopes: Vec<ScopeModel>,
    /// The DPUs that have a `DPU` row and databases.
    pub dpus: Vec<DpuModel<'a>>,
}

/// What ought to be, for every switch of a snapshot.
#[derive(Clone, Debug)]
pub struct Model<'a> {
    /// The switches.
    pub switches: Vec<SwitchModel<'a>>,
}

impl<'a> Model<'a> {
    /// Reads the configuration of a snapshot. Rows that cannot be understood count as absent; P1 reports them.
    pub fn of(snapshot: &'a Snapshot) -> Self {
        Self { switches: snapshot.switches.iter().map(SwitchModel::of).collect() }
    }

    /// Every DPU of every switch.
    pub fn dpus(&self) -> impl Iterator<Item = (&SwitchModel<'a>, &DpuModel<'a>)> {
        self.switches.iter().flat_map(|switch| switch.dpus.iter().map(move |dpu| (switch, dpu)))
    }
}

impl<'a> SwitchModel<'a> {
    fn of(snapshot: &'a SwitchSnapshot) -> Self {
        let rows = &snapshot.rows;
        let mut model = Self {
            snapshot,
            global: rows.row::<HaGlobalConfig>(&Global),
            sets: rows.typed::<HaSetConfig>().into_iter().collect(),
            scopes: Vec::new(),
            dpus: Vec::new(),
        };
        for (key, config) in rows.typed::<HaScopeConfig>() {
            let set = config.ha_set(&key);
            model.scopes.push(ScopeModel { key, config, set });
        }
        let first_dpu: BTreeMap<VdpuId, DpuName> = rows
            .typed::<Vdpu>()
            .into_iter()
            .filter_map(|(id, vdpu)| Some((id, vdpu.main_dpu_ids.into_iter().next()?)))
            .collect();
        let npus = NpuAddresses::of(snapshot, &first_dpu);
        for (name, config) in rows.typed::<Dpu>() {
            let Some(databases) = snapshot.dpus.iter().find(|dpu| dpu.slot == config.dpu_id) else {
                continue;
            };
            let dpu = model.dpu(name, config, databases, &first_dpu, &npus);
            model.dpus.push(dpu);
        }
        model
    }

    fn dpu(
        &self,
        name: DpuName,
        config: Dpu,
        databases: &'a DpuSnapshot,
        first_dpu: &BTreeMap<VdpuId, DpuName>,
        npus: &NpuAddresses,
    ) -> DpuModel<'a> {
        let rows = &self.snapshot.rows;
        let vdpus: BTreeSet<VdpuId> =
            first_dpu.iter().filter(|(_, dpu)| **dpu == name).map(|(vdpu, _)| vdpu.clone()).collect();
        let sets: BTreeMap<HaSetId, HaSetConfig> = self
            .sets
            .iter()
            .filter(|(_, set)| set.vdpu_ids.iter().any(|vdpu| vdpus.contains(vdpu)))
            .map(|(id, set)| (id.clone(), set.clone()))
            .collect();
        let bfd_peers = sets
            .values()
            .flat_map(|set| set.vdpu_ids.iter().flat_map(|vdpu| npus.carrying(vdpu)))
            .filter(|peer| match peer {
                IpAddr::V4(_) => config.pa_ipv4.is_some(),
                IpAddr::V6(_) => config.pa_ipv6.is_some(),
            })
            .collect();
        let state = rows.row::<DpuState>(&config.dpu_id);
        DpuModel {
            place: self.snapshot.dpu_place(config.dpu_id),
            snapshot: databases,
            health: state.as_ref().map_or(DpuHealth::Unknown, DpuState::health),
            state,
            reset: rows.row::<DpuResetInfo>(&config.dpu_id),
            scopes: self.scopes.iter().filter(|scope| vdpus.contains(&scope.key.vdpu)).cloned().collect(),
            name,
            config,
            vdpus,
            sets,
            bfd_peers,
        }
    }

    /// The DPU that carries the vDPU, if it is one of this switch.
    pub fn dpu_of(&self, vdpu: &VdpuId) -> Option<&DpuModel<'a>> {
        self.dpus.iter().find(|dpu| dpu.vdpus.contains(vdpu))
    }
}

/// Which NPU carries which vDPU, as one switch sees it.
struct NpuAddresses {
    of_vdpu: BTreeMap<VdpuId, Vec<IpAddr>>,
}

impl NpuAddresses {
    fn of(snapshot: &SwitchSnapshot, first_dpu: &BTreeMap<VdpuId, DpuName>) -> Self {
        let rows = &snapshot.rows;
        let own: Vec<IpAddr> = rows
            .typed::<LoopbackInterface>()
            .into_iter()
            .filter(|(key, _)| key.interface == NPU_INTERFACE)
            .filter_map(|(key, _)| key.address.map(|(address, _)| address))
            .collect();
        let mut of_vdpu = BTreeMap::new();
        for (vdpu, dpu) in first_dpu {
            let addresses = if rows.row::<Dpu>(dpu).is_some() {
                own.clone()
            } else if let Some(remote) = rows.row::<RemoteDpu>(dpu) {
                let v4 = remote.npu_ipv4.map(IpAddr::V4);
                v4.into_iter().chain(remote.npu_ipv6.map(IpAddr::V6)).collect()
            } else {
                Vec::new()
            };
            of_vdpu.insert(vdpu.clone(), addresses);
        }
        Self { of_vdpu }
    }

    fn carrying(&self, vdpu: &VdpuId) -> impl Iterator<Item = IpAddr> {
        self.of_vdpu.get(vdpu).into_iter().flatten().copied()
    }
}
