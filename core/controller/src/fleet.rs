//! The intent: which switches, vDPUs and HA sets there shall be. Valid by construction.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use schema::{HaSetId, Slot, VdpuId};
use serde::{Deserialize, Serialize};

/// How many members a HA set has (`reference/hamgrd.md` 6.1).
const MEMBERS: usize = 2;

/// The longest wait that a timing may ask for, in milliseconds: one day.
const WAIT_MS_MAX: u64 = 86_400_000;

/// The longest name of a switch, in bytes.
const SWITCH_NAME_BYTES_MAX: usize = 255;

/// The name of a switch, as the fleet file gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SwitchName(String);

impl SwitchName {
    /// Takes the text if it is a name: not empty, no blanks, no `/`.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let plain = |c: char| !c.is_control() && !c.is_whitespace() && c != '/';
        let well_formed = !text.is_empty() && text.len() <= SWITCH_NAME_BYTES_MAX && text.chars().all(plain);
        well_formed.then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SwitchName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::new(text).ok_or_else(|| "expected the name of a switch, without blanks and slashes".to_owned())
    }
}

impl From<SwitchName> for String {
    fn from(name: SwitchName) -> String {
        name.0
    }
}

impl fmt::Display for SwitchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A DPU: a slot of a switch. As text `switch0/DPU1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DpuId {
    /// The switch that carries it.
    pub switch: SwitchName,
    /// The slot it sits in.
    pub slot: Slot,
}

impl fmt::Display for DpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.switch, self.slot)
    }
}

impl From<DpuId> for String {
    fn from(id: DpuId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for DpuId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let read = || {
            let (switch, slot) = text.split_once('/')?;
            let slot = slot.strip_prefix("DPU")?.parse().ok()?;
            Some(Self { switch: SwitchName::new(switch)?, slot: Slot(slot) })
        };
        read().ok_or_else(|| "expected a switch and a DPU, like switch0/DPU0".to_owned())
    }
}

/// Whether an operator wants a vDPU in service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admin {
    /// In service.
    #[default]
    Up,
    /// Planned shutdown: its HA scopes shall be dead.
    Down,
}

/// A vDPU as intended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VdpuIntent {
    /// Its id.
    pub id: VdpuId,
    /// The DPU that it is.
    pub dpu: DpuId,
    /// Whether it shall serve.
    pub admin: Admin,
}

/// A HA set as intended, with one HA scope per member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaSetIntent {
    /// Its id.
    pub id: HaSetId,
    /// The VIP.
    pub vip_v4: Option<Ipv4Addr>,
    /// The IPv6 VIP.
    pub vip_v6: Option<Ipv6Addr>,
    /// The two members.
    pub vdpus: Vec<VdpuId>,
    /// The member that shall be active where there is a choice.
    pub active: VdpuId,
}

/// Waits of the procedure, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// How long a DPU must be down before its configuration is deleted.
    pub down_debounce_ms: u64,
    /// How long it must be up before it is programmed again.
    pub up_debounce_ms: u64,
    /// How long a `DASH_HA_SCOPE_STATE` row may take to appear or go; more than hamgrd's drain of 60 s.
    pub verify_timeout_ms: u64,
    /// How long a HA set of two programmed members may be without a decider before the intended active one is told.
    pub placement_ms: u64,
    /// The first wait before something is tried again; it doubles each time.
    pub retry_ms_min: u64,
    /// The longest such wait.
    pub retry_ms_max: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            down_debounce_ms: 1000,
            up_debounce_ms: 500,
            verify_timeout_ms: 70_000,
            placement_ms: 5000,
            retry_ms_min: 500,
            retry_ms_max: 60_000,
        }
    }
}

/// Which pending operations the controller approves by itself. The others are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalPolicy {
    /// Take the role that the DPU announces.
    pub activate_role: bool,
    /// Reconcile flows.
    pub flow_reconcile: bool,
    /// Leave split brain.
    pub brainsplit_recover: bool,
}

impl Default for ApprovalPolicy {
    fn default() -> Self {
        Self { activate_role: true, flow_reconcile: true, brainsplit_recover: true }
    }
}

/// What in a fleet a problem is about; the number counts from 0, in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FleetItem {
    /// The n-th switch.
    Switch(usize),
    /// The n-th vDPU.
    Vdpu(usize),
    /// The n-th HA set.
    HaSet(usize),
    /// The timing.
    Timing,
}

/// Why a fleet cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FleetProblem {
    /// What it is about.
    pub item: FleetItem,
    /// The field that is wrong.
    pub field: &'static str,
    /// What is wrong with it.
    pub message: String,
}

/// The whole intent. Every reference in it resolves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    switches: BTreeSet<SwitchName>,
    vdpus: BTreeMap<VdpuId, VdpuIntent>,
    ha_sets: BTreeMap<HaSetId, HaSetIntent>,
    by_dpu: BTreeMap<DpuId, VdpuId>,
    sets_of: BTreeMap<VdpuId, Vec<HaSetId>>,
    timing: Timing,
    approve: ApprovalPolicy,
}

impl Fleet {
    /// Checks the whole intent.
    ///
    /// # Errors
    /// Every problem found, in the order of the items.
    pub fn new(
        switches: Vec<SwitchName>,
        vdpus: Vec<VdpuIntent>,
        ha_sets: Vec<HaSetIntent>,
        timing: Timing,
        approve: ApprovalPolicy,
    ) -> Result<Self, Vec<FleetProblem>> {
        let mut fleet = Self {
            switches: BTreeSet::new(),
            vdpus: BTreeMap::new(),
            ha_sets: BTreeMap::new(),
            by_dpu: BTreeMap::new(),
            sets_of: BTreeMap::new(),
            timing,
            approve,
        };
        let mut problems = Vec::new();
        let mut problem = |item, field, message: String| problems.push(FleetProblem { item, field, message });

        for (at, name) in switches.into_iter().enumerate() {
            if !fleet.switches.insert(name.clone()) {
                problem(FleetItem::Switch(at), "name", format!("there is another switch {name}"));
            }
        }
        for (at, vdpu) in vdpus.into_iter().enumerate() {
            let item = FleetItem::Vdpu(at);
            if !fleet.switches.contains(&vdpu.dpu.switch) {
                problem(item, "switch", format!("there is no switch {}", vdpu.dpu.switch));
            }
            if let Some(other) = fleet.by_dpu.insert(vdpu.dpu.clone(), vdpu.id.clone()) {
                problem(item, "slot", format!("{} is already {other}", vdpu.dpu));
            }
            let id = vdpu.id.clone();
            if fleet.vdpus.insert(id.clone(), vdpu).is_some() {
                problem(item, "id", format!("there is another vDPU {id}"));
            }
        }
        for (at, set) in ha_sets.into_iter().enumerate() {
            for (field, message) in fleet.problems_of(&set) {
                problem(FleetItem::HaSet(at), field, message);
            }
            for vdpu in &set.vdpus {
                fleet.sets_of.entry(vdpu.clone()).or_default().push(set.id.clone());
            }
            fleet.ha_sets.insert(set.id.clone(), set);
        }
        for (field, wait) in [
            ("down_debounce_ms", timing.down_debounce_ms),
            ("up_debounce_ms", timing.up_debounce_ms),
            ("verify_timeout_ms", timing.verify_timeout_ms),
            ("placement_ms", timing.placement_ms),
            ("retry_ms_min", timing.retry_ms_min),
            ("retry_ms_max", timing.retry_ms_max),
        ] {
            if wait > WAIT_MS_MAX {
                problem(FleetItem::Timing, field, format!("at most {WAIT_MS_MAX}, not {wait}"));
            }
        }
        for (field, wait) in [
            ("verify_timeout_ms", timing.verify_timeout_ms),
            ("placement_ms", timing.placement_ms),
            ("retry_ms_min", timing.retry_ms_min),
        ] {
            if wait == 0 {
                problem(FleetItem::Timing, field, "at least 1".to_owned());
            }
        }
        if timing.retry_ms_max < timing.retry_ms_min {
            problem(FleetItem::Timing, "retry_ms_max", "less than retry_ms_min".to_owned());
        }
        if problems.is_empty() { Ok(fleet) } else { Err(problems) }
    }

    fn problems_of(&self, set: &HaSetIntent) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.ha_sets.contains_key(&set.id) {
            problems.push(("id", format!("there is another HA set {}", set.id)));
        }
        if set.vip_v4.is_none() && set.vip_v6.is_none() {
            problems.push(("vip_v4", "a HA set needs a VIP, IPv4 or IPv6".to_owned()));
        }
        if set.vdpus.len() != MEMBERS {
            problems.push(("vdpus", format!("a HA set has {MEMBERS} members, not {}", set.vdpus.len())));
        }
        if set.vdpus.iter().collect::<BTreeSet<_>>().len() != set.vdpus.len() {
            problems.push(("vdpus", "the members are not distinct".to_owned()));
        }
        for vdpu in set.vdpus.iter().filter(|vdpu| !self.vdpus.contains_key(vdpu)) {
            problems.push(("vdpus", format!("there is no vDPU {vdpu}")));
        }
        if !set.vdpus.contains(&set.active) {
            problems.push(("active", format!("{} is not a member", set.active)));
        }
        problems
    }

    /// The switches.
    pub fn switches(&self) -> impl Iterator<Item = &SwitchName> {
        self.switches.iter()
    }

    /// Whether it is one of the switches.
    pub fn has_switch(&self, name: &SwitchName) -> bool {
        self.switches.contains(name)
    }

    /// The vDPUs.
    pub fn vdpus(&self) -> impl Iterator<Item = &VdpuIntent> {
        self.vdpus.values()
    }

    /// The HA sets.
    pub fn ha_sets(&self) -> impl Iterator<Item = &HaSetIntent> {
        self.ha_sets.values()
    }

    /// The vDPU of that id.
    pub fn vdpu(&self, id: &VdpuId) -> Option<&VdpuIntent> {
        self.vdpus.get(id)
    }

    /// The vDPUs of a switch, by slot.
    pub fn vdpus_on(&self, switch: &SwitchName) -> impl Iterator<Item = &VdpuIntent> {
        let first = DpuId { switch: switch.clone(), slot: Slot(u8::MIN) };
        let last = DpuId { switch: switch.clone(), slot: Slot(u8::MAX) };
        self.by_dpu.range(first..=last).filter_map(|(_, vdpu)| self.vdpus.get(vdpu))
    }

    /// The vDPU that a DPU is.
    pub fn vdpu_at(&self, dpu: &DpuId) -> Option<&VdpuIntent> {
        self.vdpus.get(self.by_dpu.get(dpu)?)
    }

    /// The HA set of that id.
    pub fn ha_set(&self, id: &HaSetId) -> Option<&HaSetIntent> {
        self.ha_sets.get(id)
    }

    /// The HA sets that a vDPU is a member of.
    pub fn sets_of(&self, vdpu: &VdpuId) -> impl Iterator<Item = &HaSetIntent> {
        self.sets_of.get(vdpu).into_iter().flatten().filter_map(|id| self.ha_sets.get(id))
    }

    /// The DPUs that share a HA set with this one.
    pub fn peers_of<'a>(&'a self, dpu: &'a DpuId) -> impl Iterator<Item = &'a DpuId> {
        let sets = self.by_dpu.get(dpu).into_iter().flat_map(|vdpu| self.sets_of(vdpu));
        let members = sets.flat_map(|set| &set.vdpus).filter_map(|vdpu| self.vdpu(vdpu));
        members.map(|vdpu| &vdpu.dpu).filter(move |other| *other != dpu)
    }

    /// The waits.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// What is approved without being asked.
    pub fn approve(&self) -> &ApprovalPolicy {
        &self.approve
    }
}
