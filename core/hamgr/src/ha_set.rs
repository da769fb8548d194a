//! `DASH_HA_SET_TABLE`: a HA set as its DPU is told (`reference/hamgrd.md` 2.2, 3.3).

use std::collections::BTreeSet;

use schema::appl_db::HaSetConfig;
use schema::config_db::HaGlobalConfig;
use schema::dpu_appl_db::HaSet;
use schema::{HaOwner, HaScopeKind, PinnedState, Slot};

use crate::topology::{Family, Member, NotReady, Topology};

/// A member with what the configuration says of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placed {
    pub member: Member,
    pub preferred: bool,
    /// The override of its BFD; `None` where the configuration pins nothing at all.
    pub pinned: Option<PinnedState>,
}

/// A HA set whose members all resolve.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ResolvedSet {
    /// Preferred members first, in the order of preference, then the others as configured.
    pub members: Vec<Placed>,
}

/// The two ends of a HA set as one of its DPUs sees them.
pub(crate) struct Pair<'a> {
    pub local: &'a Member,
    pub peer: &'a Member,
    pub family: Family,
}

impl ResolvedSet {
    /// The member in that slot of this chassis.
    pub(crate) fn on(&self, slot: Slot) -> Option<&Member> {
        self.members.iter().map(|placed| &placed.member).find(|member| member.slot == Some(slot))
    }

    /// The member in `slot` and the first other one. Two members are what HA knows; of more, the first counts.
    pub(crate) fn pair(&self, slot: Slot) -> Option<Pair<'_>> {
        let local = self.on(slot)?;
        let mut others =
            self.members.iter().map(|placed| &placed.member).filter(|member| member.dpu != local.dpu);
        let peer = others.next()?;
        let family = common_family(local, peer)?;
        Some(Pair { local, peer, family })
    }
}

fn common_family(one: &Member, other: &Member) -> Option<Family> {
    Family::BOTH.into_iter().find(|&family| one.pa.get(family).is_some() && other.pa.get(family).is_some())
}

/// Resolves every member, or says why that is not possible now.
pub(crate) fn resolve(
    config: &HaSetConfig,
    topology: &Topology,
    global: Option<&HaGlobalConfig>,
) -> Result<ResolvedSet, NotReady> {
    if global.is_none() {
        return Err(NotReady::NoGlobalConfig);
    }
    let mut seen = BTreeSet::new();
    let mut members: Vec<(Option<usize>, Placed)> = Vec::new();
    for (index, vdpu) in config.vdpu_ids.iter().enumerate() {
        if !seen.insert(vdpu) {
            continue;
        }
        let pins = &config.pinned_vdpu_bfd_probe_states;
        let pinned = (!pins.is_empty()).then(|| pins.get(index).copied().unwrap_or(PinnedState::None));
        let preference = config.preferred_vdpu_ids.iter().position(|preferred| preferred == vdpu);
        let placed = Placed { member: topology.member(vdpu)?, preferred: preference.is_some(), pinned };
        members.push((preference, placed));
    }
    members.sort_by_key(|(preference, _)| preference.unwrap_or(usize::MAX));
    let members: Vec<Placed> = members.into_iter().map(|(_, placed)| placed).collect();

    let dpus: BTreeSet<_> = members.iter().map(|placed| &placed.member.dpu).collect();
    if dpus.len() < 2 {
        return Err(NotReady::NoPeer);
    }
    let set = ResolvedSet { members };
    let here: Vec<Slot> = set.members.iter().filter_map(|placed| placed.member.slot).collect();
    if here.iter().any(|&slot| set.pair(slot).is_none()) {
        return Err(NotReady::NoCommonFamily);
    }
    Ok(set)
}

/// The row for the DPU that `pair` calls local.
pub(crate) fn row(config: &HaSetConfig, pair: &Pair<'_>, global: &HaGlobalConfig, owner: HaOwner) -> HaSet {
    let npu = pair.local.npu;
    HaSet {
        version: Some(config.version.clone()),
        vip_v4: config.vip_v4,
        vip_v6: config.vip_v6,
        owner: Some(owner),
        // The DPU drops a row whose scope is neither dpu nor eni (reference/dpu-side.md 1.1.1).
        scope: Some(match config.scope {
            HaScopeKind::Unspecified | HaScopeKind::Dpu => HaScopeKind::Dpu,
            HaScopeKind::Eni => HaScopeKind::Eni,
        }),
        local_npu_ip: npu
            .get(pair.family)
            .or_else(|| Family::BOTH.into_iter().find_map(|family| npu.get(family))),
        local_ip: pair.local.pa.get(pair.family),
        peer_ip: pair.peer.pa.get(pair.family),
        cp_data_channel_port: global.cp_data_channel_port,
        dp_channel_dst_port: global.dp_channel_dst_port,
        dp_channel_src_port_min: global.dp_channel_src_port_min,
        dp_channel_src_port_max: global.dp_channel_src_port_max,
        dp_channel_probe_interval_ms: global.dp_channel_probe_interval_ms,
        dp_channel_probe_fail_threshold: global.dp_channel_probe_fail_threshold,
    }
}
