//! Who is where: vDPUs, the DPUs behind them, and the NPUs that carry those (`reference/hamgrd.md` 1.3, 3.2).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schema::config_db::{Dpu, LoopbackKey, RemoteDpu, Vdpu};
use schema::{DpuName, Slot, VdpuId};
use serde::{Deserialize, Serialize};

/// The interface whose addresses are the NPU's.
const NPU_INTERFACE: &str = "Loopback0";

/// Why a HA set cannot be derived at present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum NotReady {
    /// `DASH_HA_GLOBAL_CONFIG` is absent.
    #[error("there is no DASH_HA_GLOBAL_CONFIG")]
    NoGlobalConfig,
    /// A HA set needs a peer on another DPU.
    #[error("the HA set has no two members on different DPUs")]
    NoPeer,
    /// A member has no `VDPU` row, or that names no DPU.
    #[error("vDPU {0} names no DPU")]
    UnknownVdpu(VdpuId),
    /// A DPU has neither a `DPU` nor a `REMOTE_DPU` row.
    #[error("DPU {0} is not configured")]
    UnknownDpu(DpuName),
    /// A DPU's or its NPU's addresses are missing.
    #[error("DPU {0} or its NPU has no address")]
    NoAddress(DpuName),
    /// The members have no address family in common.
    #[error("the members have no address family in common")]
    NoCommonFamily,
}

/// An IPv4 and an IPv6 address, as far as there are any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
}

impl Addresses {
    pub(crate) fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

    /// The address in that family.
    pub(crate) fn get(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4.map(IpAddr::V4),
            Family::V6 => self.v6.map(IpAddr::V6),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// In order of preference.
    pub(crate) const BOTH: [Family; 2] = [Family::V4, Family::V6];
}

/// A vDPU, resolved.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub vdpu: VdpuId,
    pub dpu: DpuName,
    /// The slot, where the DPU is in this chassis.
    pub slot: Option<Slot>,
    /// Data-path addresses of the DPU.
    pub pa: Addresses,
    /// Addresses of the NPU that carries it.
    pub npu: Addresses,
}

/// Where a vDPU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Here(Slot),
    Elsewhere,
    /// Not enough is configured to tell.
    Unknown,
}

/// The configured DPUs, vDPUs and addresses of the NPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Topology {
    pub dpus: BTreeMap<DpuName, Dpu>,
    pub remote_dpus: BTreeMap<DpuName, RemoteDpu>,
    pub vdpus: BTreeMap<VdpuId, Vdpu>,
    pub loopbacks: BTreeSet<LoopbackKey>,
}

impl Topology {
    /// The NPU's own addresses: the lowest of each family, so that the choice does not depend on the order of
    /// notifications.
    pub(crate) fn npu(&self) -> Addresses {
        let mut own = Addresses::default();
        let on_npu = self.loopbacks.iter().filter(|key| key.interface == NPU_INTERFACE);
        for (address, _) in on_npu.filter_map(|key| key.address) {
            match address {
                IpAddr::V4(v4) => own.v4 = Some(own.v4.map_or(v4, |known| known.min(v4))),
                IpAddr::V6(v6) if v6.is_unicast_link_local() => {}
                IpAddr::V6(v6) => own.v6 = Some(own.v6.map_or(v6, |known| known.min(v6))),
            }
        }
        own
    }

    /// The DPU in that slot; the first by name where several rows claim it.
    pub(crate) fn local(&self, slot: Slot) -> Option<(&DpuName, &Dpu)> {
        self.dpus.iter().find(|(_, dpu)| dpu.dpu_id == slot)
    }

    /// The slots that have a DPU.
    pub(crate) fn slots(&self) -> BTreeSet<Slot> {
        self.dpus.values().map(|dpu| dpu.dpu_id).collect()
    }

    pub(crate) fn locate(&self, vdpu: &VdpuId) -> Location {
        let Some(name) = self.main_dpu(vdpu) else { return Location::Unknown };
        match self.dpus.get(name) {
            Some(dpu) => Location::Here(dpu.dpu_id),
            None if self.remote_dpus.contains_key(name) => Location::Elsewhere,
            None => Location::Unknown,
        }
    }

    /// A vDPU's DPU and all its addresses. The first main DPU counts (`reference/hamgrd.md` 3.2).
    pub(crate) fn member(&self, vdpu: &VdpuId) -> Result<Member, NotReady> {
        let name = self.main_dpu(vdpu).ok_or_else(|| NotReady::UnknownVdpu(vdpu.clone()))?;
        let (slot, pa, npu) = match (self.dpus.get(name), self.remote_dpus.get(name)) {
            (Some(dpu), _) => (Some(dpu.dpu_id), dpu_addresses(dpu), self.npu()),
            (None, Some(remote)) => (
                None,
                Addresses { v4: remote.pa_ipv4, v6: remote.pa_ipv6 },
                Addresses { v4: remote.npu_ipv4, v6: remote.npu_ipv6 },
            ),
            (None, None) => return Err(NotReady::UnknownDpu(name.clone())),
        };
        if pa.is_empty() || npu.is_empty() {
            return Err(NotReady::NoAddress(name.clone()));
        }
        Ok(Member { vdpu: vdpu.clone(), dpu: name.clone(), slot, pa, npu })
    }

    /// The data-path addresses of every DPU, with its slot where it is in this chassis.
    pub(crate) fn data_path_addresses(&self) -> BTreeMap<IpAddr, Option<Slot>> {
        let remote = self.remote_dpus.values();
        let remote = remote.map(|dpu| (Addresses { v4: dpu.pa_ipv4, v6: dpu.pa_ipv6 }, None));
        let local = self.dpus.values().map(|dpu| (dpu_addresses(dpu), Some(dpu.dpu_id)));
        let both = remote.chain(local);
        both.flat_map(|(pa, slot)| {
            Family::BOTH.into_iter().filter_map(move |family| Some((pa.get(family)?, slot)))
        })
        .collect()
    }

    fn main_dpu(&self, vdpu: &VdpuId) -> Option<&DpuName> {
        self.vdpus.get(vdpu)?.main_dpu_ids.first()
    }
}

pub(crate) fn dpu_addresses(dpu: &Dpu) -> Addresses {
    Addresses { v4: dpu.pa_ipv4, v6: dpu.pa_ipv6 }
}
