//! `NEIGH_RESOLVE_TABLE`: the DPUs' data-path addresses, which the NPU shall resolve
//! (`reference/hamgrd.md` 2.3).

use schema::appl_db::{NeighResolve, NeighbourKey};
use schema::config_db::{Dpu, HaGlobalConfig};

use crate::topology::{Family, dpu_addresses};

/// Please find out.
pub(crate) const MAC_UNKNOWN: &str = "00:00:00:00:00:00";

/// A row per address of each of `dpus`; none without a VLAN.
pub(crate) fn rows<'a>(
    dpus: impl Iterator<Item = &'a Dpu>,
    global: &HaGlobalConfig,
) -> Vec<(NeighbourKey, NeighResolve)> {
    let Some(vlan) = global.dpu_vlan.as_ref() else { return Vec::new() };
    let addresses = dpus.flat_map(|dpu| {
        let pa = dpu_addresses(dpu);
        Family::BOTH.into_iter().filter_map(move |family| pa.get(family))
    });
    addresses
        .map(|address| {
            let key = NeighbourKey { interface: vlan.clone(), address };
            (key, NeighResolve { mac: Some(MAC_UNKNOWN.to_owned()) })
        })
        .collect()
}
