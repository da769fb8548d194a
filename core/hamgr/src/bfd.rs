//! `BFD_SESSION_TABLE`: the DPU's passive sessions towards the NPUs (P4; `reference/hamgrd.md` 2.2, 3.3.4).

use std::collections::BTreeMap;
use std::net::IpAddr;

use schema::Slot;
use schema::config_db::HaGlobalConfig;
use schema::dpu_appl_db::{BfdKey, BfdSession};

use crate::ha_set::ResolvedSet;
use crate::topology::Family;

/// One session per distinct NPU address over all HA sets of the DPU in `slot`, in the families that the DPU
/// has an address of.
pub(crate) fn rows<'a>(
    sets: impl Iterator<Item = &'a ResolvedSet>,
    slot: Slot,
    global: &HaGlobalConfig,
) -> BTreeMap<BfdKey, BfdSession> {
    let mut rows = BTreeMap::new();
    for set in sets {
        let Some(local) = set.on(slot) else { continue };
        for placed in &set.members {
            for family in Family::BOTH {
                if let (Some(npu), Some(local_addr)) = (placed.member.npu.get(family), local.pa.get(family)) {
                    rows.insert(BfdKey::to_npu(npu), session(local_addr, global));
                }
            }
        }
    }
    rows
}

fn session(local_addr: IpAddr, global: &HaGlobalConfig) -> BfdSession {
    BfdSession {
        tx_interval_ms: global.dpu_bfd_probe_interval_ms,
        rx_interval_ms: global.dpu_bfd_probe_interval_ms,
        multiplier: global.dpu_bfd_probe_multiplier,
        multihop: true,
        shutdown: false,
        local_addr: Some(local_addr),
        kind: Some("passive".to_owned()),
    }
}
