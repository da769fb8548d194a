//! The DPU half: are this DPU's control plane and data plane up?

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{Batch, Core, Op, StoreEvent, StoreUpdate, Time, Write};
use schema::appl_db::PortState;
use schema::state_db::SystemReady;
use schema::{Db, Fields, LinkState, Slot, WallMs};
use serde::{Deserialize, Serialize};

use crate::Here;
use crate::patch::{Patch, name};
use crate::shared_rows::{SharedRows, write_now};

/// Who this DPU is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DpuConfig {
    /// Its slot: `DPU_STATE|DPU<n>` is its row.
    pub slot: Slot,
    /// What tells its present life from the previous one: the kernel's boot id (`reference/pmon.md` 1.8).
    pub boot_id: String,
}

/// What the DPU half reads, each read whole once before anything is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feed {
    /// The DPU's `STATE_DB` `SYSTEM_READY`.
    SystemReady,
    /// The DPU's `CONFIG_DB` `PORT`.
    Ports,
    /// The DPU's `APPL_DB` `PORT_TABLE`.
    PortStates,
}

impl Feed {
    const ALL: [Feed; 3] = [Feed::SystemReady, Feed::Ports, Feed::PortStates];
}

/// What can happen to the DPU half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DpuInput {
    /// `SYSTEM_READY|SYSTEM_STATE` was read (`None`: it is gone, or cannot be understood).
    SystemReady(Option<SystemReady>),
    /// A `PORT` row was read.
    Port {
        /// Its key.
        name: String,
        /// Whether it is there.
        present: bool,
    },
    /// A `PORT_TABLE` row was read (`None`: it is gone, or cannot be understood).
    PortState {
        /// Its key.
        name: String,
        /// Its content.
        row: Option<PortState>,
    },
    /// All rows of a feed have been read.
    Synced(Feed),
    /// `CHASSIS_STATE_DB` reports.
    Store(StoreEvent<Here>),
    /// The process is asked to leave.
    Stop,
}

/// What the DPU half asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DpuEffect {
    /// Write a row. Twice is once.
    Write(Write<Here>),
    /// Tell the operator.
    Note(DpuNote),
}

/// What an operator may want to know of the DPU half's decisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DpuNote {
    /// What is true of the planes changed, whatever the row says.
    Planes {
        /// Whether all services run.
        control_plane: LinkState,
        /// Whether all ports are up.
        data_plane: LinkState,
    },
    /// Up, but the NPU holds the midplane down: the row has to wait for the NPU.
    Held,
    /// The row has to be repaired: it was forced down, deleted, lost, or is of another life.
    Repaired,
}

/// How far the process is on its way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Life {
    Running,
    /// Asked to leave; the last write is not under way (the store is lost or was never there).
    Leaving,
    /// The last write, under way.
    LastWord(Fields),
    Left,
}

/// What is true of this DPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Planes {
    control: LinkState,
    data: LinkState,
}

/// The DPU half of pmon.
///
/// It decides as soon as it has read everything once, the row included: a row that says `up` from the previous life is
/// corrected at once, boot id and planes in one write.
///
/// While the row says that the midplane is down, the NPU holds both planes down and nothing is raised: the
/// NPU would force it down again. When the row says anything else, the planes are written as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PmonDpu {
    config: DpuConfig,
    synced: BTreeSet<Feed>,
    system_ready: Option<SystemReady>,
    ports: BTreeSet<String>,
    port_states: BTreeMap<String, PortState>,
    rows: SharedRows,
    life: Life,
    /// What was last told the operator.
    told: Option<Planes>,
    /// Whether the row has said what is true since it last became true: a difference now is not of our making.
    settled: bool,
    held: bool,
}

impl Core for PmonDpu {
    type Input = DpuInput;
    type Effect = DpuEffect;

    fn handle(&mut self, now: Time, batch: Batch<DpuInput>, out: &mut Vec<DpuEffect>) {
        for input in batch.inputs {
            match input {
                DpuInput::SystemReady(row) => self.system_ready = row,
                DpuInput::Port { name, present: true } => {
                    self.ports.insert(name);
                }
                DpuInput::Port { name, present: false } => {
                    self.ports.remove(&name);
                }
                DpuInput::PortState { name, row: Some(row) } => {
                    self.port_states.insert(name, row);
                }
                DpuInput::PortState { name, row: None } => {
                    self.port_states.remove(&name);
                }
                DpuInput::Synced(feed) => {
                    self.synced.insert(feed);
                }
                DpuInput::Store(event) => self.take_store(event),
                DpuInput::Stop => self.stop(),
            }
        }
        match self.life {
            Life::Running => self.write_planes(now, batch.wall, out),
            Life::Leaving => self.say_last_word(batch.wall, out),
            Life::LastWord(_) | Life::Left => {}
        }
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        match self.life {
            Life::Running => {
                self.rows.next_deadline().map(|at| (at, "write again what somebody keeps overwriting"))
            }
            Life::Leaving | Life::LastWord(_) | Life::Left => None,
        }
    }
}

impl PmonDpu {
    /// Knows nothing yet, and so writes nothing yet.
    pub fn new(config: DpuConfig) -> Self {
        Self {
            config,
            synced: BTreeSet::new(),
            system_ready: None,
            ports: BTreeSet::new(),
            port_states: BTreeMap::new(),
            rows: SharedRows::default(),
            life: Life::Running,
            told: None,
            settled: false,
            held: false,
        }
    }

    /// Whether the last word after [`DpuInput::Stop`] is said: the process may leave.
    pub fn has_left(&self) -> bool {
        self.life == Life::Left
    }

    fn take_store(&mut self, event: StoreEvent<Here>) {
        if event.db != Db::ChassisStateDb {
            return;
        }
        self.rows.observe(&event.update);
        let Life::LastWord(fields) = &self.life else { return };
        match event.update {
            // Refused or not, there is nothing more to be done about it.
            StoreUpdate::Written { write, done: _ } if write.op == Op::Merge(fields.clone()) => {
                self.life = Life::Left;
            }
            StoreUpdate::Lost => self.life = Life::Leaving,
            // Of an earlier write, or of what others did: nothing to a process that leaves.
            StoreUpdate::Written { .. } | StoreUpdate::Snapshot(_) => {}
        }
    }

    fn stop(&mut self) {
        match self.life {
            Life::Running => self.life = Life::Leaving,
            Life::Leaving | Life::LastWord(_) | Life::Left => {}
        }
    }

    /// The common rules of `reference/pmon.md` 1.4: missing is not up, and no ports at all are up.
    fn planes(&self) -> Planes {
        let up_if = |up| if up { LinkState::Up } else { LinkState::Down };
        let is_up =
            |port: &String| self.port_states.get(port).and_then(|row| row.oper_status) == Some(LinkState::Up);
        Planes {
            control: up_if(self.system_ready.as_ref().and_then(|row| row.status) == Some(LinkState::Up)),
            data: up_if(self.ports.iter().all(is_up)),
        }
    }

    fn write_planes(&mut self, now: Time, wall: WallMs, out: &mut Vec<DpuEffect>) {
        if !Feed::ALL.iter().all(|feed| self.synced.contains(feed)) {
            return;
        }
        let planes = self.planes();
        if self.told.replace(planes) != Some(planes) {
            self.settled = false;
            let note = DpuNote::Planes { control_plane: planes.control, data_plane: planes.data };
            out.push(DpuEffect::Note(note));
        }
        if !self.rows.is_ready() {
            return;
        }
        let present = self.rows.get(self.config.slot);
        let held = Patch::on(present, wall).plane(name::MIDPLANE_STATE) == Some(LinkState::Down)
            && (planes.control == LinkState::Up || planes.data == LinkState::Up);
        if held && !self.held {
            out.push(DpuEffect::Note(DpuNote::Held));
        }
        self.held = held;
        self.rows.start_round();
        let present = self.rows.get(self.config.slot);
        let patch = planes_patch(present, &self.config, planes, wall);
        let as_it_should_be = patch.is_empty();
        if let Some(write) = self.rows.merge(now, self.config.slot, patch) {
            if self.settled {
                out.push(DpuEffect::Note(DpuNote::Repaired));
            }
            out.push(DpuEffect::Write(write));
        }
        self.settled |= as_it_should_be;
    }

    /// A clean exit says down, whatever the row says (`reference/pmon.md` 1.4).
    fn say_last_word(&mut self, wall: WallMs, out: &mut Vec<DpuEffect>) {
        if !self.rows.is_ready() {
            return;
        }
        let mut patch = Patch::on(None, wall);
        for (state, time) in PLANES {
            patch.set(state, LinkState::Down.as_str());
            patch.stamp(time);
        }
        let fields = patch.into_fields();
        self.life = Life::LastWord(fields.clone());
        out.push(DpuEffect::Write(write_now(self.config.slot, fields)));
    }
}

/// State and time of the two planes.
const PLANES: [(&str, &str); 2] =
    [(name::DATA_PLANE_STATE, name::DATA_PLANE_TIME), (name::CONTROL_PLANE_STATE, name::CONTROL_PLANE_TIME)];

/// What the DPU half has to write into its row, as one merge.
fn planes_patch(present: Option<&Fields>, config: &DpuConfig, planes: Planes, wall: WallMs) -> Fields {
    let mut patch = Patch::on(present, wall);
    let held = patch.plane(name::MIDPLANE_STATE) == Some(LinkState::Down);
    // In a new life every plane is stated anew: its time is what tells readers that know no boot id.
    let new_life = !patch.has(name::BOOT_ID, &config.boot_id);
    patch.want(name::BOOT_ID, &config.boot_id);
    patch.want(name::ID, &config.slot.0.to_string());
    for ((state, time), wanted) in PLANES.into_iter().zip([planes.data, planes.control]) {
        if held && wanted == LinkState::Up {
            patch.mend_time(time);
        } else if new_life || !patch.has(state, wanted.as_str()) {
            patch.set(state, wanted.as_str());
            patch.stamp(time);
        } else {
            patch.want_time(time);
        }
    }
    patch.into_fields()
}
