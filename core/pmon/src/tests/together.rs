//! Both halves on one modelled row, under faults.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use proptest::prelude::*;
use reconcile::{Batch, Core, Op, RowWrite, Time};
use schema::chassis_state_db::DpuState;
use schema::config_db::Dpu;
use schema::state_db::SystemReady;
use schema::{Db, DpuName, Fields, LinkState, Row, Table, WallMs};

use super::{SLOT, WALL, fields, lost, snapshot_of, state_read, written};
use crate::shared_rows::REPEAT_PAUSE_MS;
use crate::{DpuConfig, DpuEffect, DpuInput, Feed, NpuConfig, NpuEffect, NpuInput, PmonDpu, PmonNpu, Target};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 200, 2);
const THRESHOLD: u32 = 2;

/// More rounds than any repair takes; reaching it means that the halves do not come to rest.
const ROUNDS_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Half {
    Npu,
    Dpu,
}

#[derive(Clone, Debug)]
enum Action {
    Probe(bool),
    Services(bool),
    Port(bool),
    /// The oldest write of a half reaches Redis, and the half is told.
    Deliver(Half),
    /// A half reads the row.
    Notice(Half),
    /// A half's connection is lost; what was under way arrived before, or never.
    Disconnect(Half, bool),
    /// The half's process is killed and started again.
    Restart(Half),
    /// The DPU is restarted, after a clean exit or not.
    Reboot {
        clean: bool,
    },
    DeleteRow,
    RedisRestart,
    /// Somebody writes a field that is not his.
    Scribble(usize, usize),
    Pass(u64),
}

const SCRIBBLED: [&str; 10] = [
    "dpu_midplane_link_state",
    "dpu_midplane_link_time",
    "dpu_midplane_link_reason",
    "dpu_control_plane_state",
    "dpu_control_plane_time",
    "dpu_data_plane_state",
    "ready_status",
    "last_down_time",
    "boot_id",
    "id",
];
const SCRIBBLES: [&str; 5] = ["up", "down", "", "true", "unknown"];

fn half() -> impl Strategy<Value = Half> {
    prop_oneof![Just(Half::Npu), Just(Half::Dpu)]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => any::<bool>().prop_map(Action::Probe),
        2 => any::<bool>().prop_map(Action::Services),
        2 => any::<bool>().prop_map(Action::Port),
        6 => half().prop_map(Action::Deliver),
        6 => half().prop_map(Action::Notice),
        1 => (half(), any::<bool>()).prop_map(|(half, arrived)| Action::Disconnect(half, arrived)),
        1 => half().prop_map(Action::Restart),
        1 => any::<bool>().prop_map(|clean| Action::Reboot { clean }),
        1 => Just(Action::DeleteRow),
        1 => Just(Action::RedisRestart),
        2 => (0..SCRIBBLED.len(), 0..SCRIBBLES.len()).prop_map(|(name, value)| Action::Scribble(name, value)),
        2 => (1..3000_u64).prop_map(Action::Pass),
    ]
}

struct World {
    now: Time,
    row: Option<Fields>,
    npu: PmonNpu,
    dpu: PmonDpu,
    npu_writes: VecDeque<RowWrite>,
    dpu_writes: VecDeque<RowWrite>,
    /// What the DPU half last read, for the oracle.
    dpu_read: Option<Fields>,
    life: u32,
    services: bool,
    port: bool,
    /// Every half sees every write before anything else happens.
    in_step: bool,
    writes: usize,
}

impl World {
    fn new(in_step: bool) -> Self {
        let mut world = Self {
            now: Time(0),
            row: None,
            npu: new_npu(),
            dpu: new_dpu(0),
            npu_writes: VecDeque::new(),
            dpu_writes: VecDeque::new(),
            dpu_read: None,
            life: 0,
            services: false,
            port: false,
            in_step,
            writes: 0,
        };
        world.start_npu();
        world.start_dpu();
        world
    }

    fn wall(&self) -> WallMs {
        WallMs(WALL.0 + self.now.0 as i64)
    }

    fn start_npu(&mut self) {
        self.npu = new_npu();
        self.npu_writes.clear();
        let row = Dpu::from_fields("dpu1", &fields(&[("dpu_id", "1"), ("midplane_ipv4", "169.254.200.2")]))
            .unwrap();
        self.tell_npu(NpuInput::Dpu { name: DpuName::new("dpu1").unwrap(), row: Some(row) });
        self.tell_npu(NpuInput::DpusSynced);
        self.tell_npu(NpuInput::Store(snapshot_of(Db::StateDb, &[])));
        self.notice(Half::Npu);
    }

    fn start_dpu(&mut self) {
        self.dpu = new_dpu(self.life);
        self.dpu_writes.clear();
        self.dpu_read = None;
        self.tell_feeds();
        for feed in [Feed::SystemReady, Feed::Ports, Feed::PortStates] {
            self.tell_dpu(DpuInput::Synced(feed));
        }
        self.notice(Half::Dpu);
    }

    fn tell_feeds(&mut self) {
        let state = |up| if up { LinkState::Up } else { LinkState::Down };
        self.tell_dpu(DpuInput::SystemReady(Some(SystemReady { status: Some(state(self.services)) })));
        let name = "Ethernet0".to_owned();
        self.tell_dpu(DpuInput::Port { name: name.clone(), present: true });
        let row = schema::appl_db::PortState { oper_status: Some(state(self.port)) };
        self.tell_dpu(DpuInput::PortState { name, row: Some(row) });
    }

    fn tell_npu(&mut self, input: NpuInput) {
        let mut out = Vec::new();
        self.npu.handle(self.now, Batch { wall: self.wall(), inputs: vec![input] }, &mut out);
        for effect in out {
            match effect {
                NpuEffect::Write(write) if write.write.table == Table::DpuState => {
                    self.npu_writes.push_back(write.write)
                }
                NpuEffect::Write(_) | NpuEffect::Probe(_) | NpuEffect::Note(_) => {}
            }
        }
    }

    fn tell_dpu(&mut self, input: DpuInput) {
        let mut out = Vec::new();
        self.dpu.handle(self.now, Batch { wall: self.wall(), inputs: vec![input] }, &mut out);
        for effect in out {
            match effect {
                DpuEffect::Write(write) => {
                    self.check_raises(&write.write);
                    self.dpu_writes.push_back(write.write);
                }
                DpuEffect::Note(_) => {}
            }
        }
    }

    /// The DPU half raises nothing while it knows that the NPU holds the midplane down.
    fn check_raises(&self, write: &RowWrite) {
        let raises =
            plane(merged(write), "dpu_control_plane_state") || plane(merged(write), "dpu_data_plane_state");
        let held = self.dpu_read.as_ref().and_then(|row| row.text("dpu_midplane_link_state")) == Some("down");
        assert!(!(raises && held), "{write:?} over {:?}", self.dpu_read);
    }

    fn notice(&mut self, half: Half) {
        let event = state_read(self.row.as_ref());
        match half {
            Half::Npu => self.tell_npu(NpuInput::Store(event)),
            Half::Dpu => {
                self.dpu_read.clone_from(&self.row);
                self.tell_dpu(DpuInput::Store(event));
            }
        }
    }

    fn deliver(&mut self, half: Half) -> bool {
        let writes = match half {
            Half::Npu => &mut self.npu_writes,
            Half::Dpu => &mut self.dpu_writes,
        };
        let Some(write) = writes.pop_front() else { return false };
        self.apply(half, &write);
        let event = written(write, true);
        match half {
            Half::Npu => self.tell_npu(NpuInput::Store(event)),
            Half::Dpu => self.tell_dpu(DpuInput::Store(event)),
        }
        true
    }

    fn apply(&mut self, half: Half, write: &RowWrite) {
        self.writes += 1;
        let row = self.row.get_or_insert_default();
        let was_mixed = is_mixed(row);
        row.merge(merged(write));
        // A write that was under way when the other half wrote may mix the row; one that saw it may not, and the
        // one that takes the midplane down never does.
        let takes_down = merged(write).text("dpu_midplane_link_state") == Some("down");
        if takes_down || (self.in_step && !was_mixed) {
            assert!(!is_mixed(row), "{half:?} left a mixed row with {write:?}: {row:?}");
        }
    }

    fn disconnect(&mut self, half: Half, arrived: bool) {
        let writes = match half {
            Half::Npu => std::mem::take(&mut self.npu_writes),
            Half::Dpu => std::mem::take(&mut self.dpu_writes),
        };
        if arrived {
            writes.iter().for_each(|write| self.apply(half, write));
        }
        match half {
            Half::Npu => self.tell_npu(NpuInput::Store(lost(Db::ChassisStateDb))),
            Half::Dpu => self.tell_dpu(DpuInput::Store(lost(Db::ChassisStateDb))),
        }
        self.notice(half);
        while self.in_step && self.deliver(half) {}
    }

    fn probe(&mut self, reachable: bool) {
        self.tell_npu(NpuInput::Probe { target: Target { slot: SLOT, address: ADDRESS }, reachable });
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Probe(reachable) => self.probe(reachable),
            Action::Services(up) => {
                self.services = up;
                self.tell_feeds();
            }
            Action::Port(up) => {
                self.port = up;
                self.tell_feeds();
            }
            Action::Deliver(half) => {
                self.deliver(half);
            }
            Action::Notice(half) => self.notice(half),
            Action::Disconnect(half, arrived) => self.disconnect(half, arrived),
            Action::Restart(Half::Npu) => self.start_npu(),
            Action::Restart(Half::Dpu) => self.start_dpu(),
            Action::Reboot { clean } => {
                if clean {
                    self.tell_dpu(DpuInput::Stop);
                    while self.deliver(Half::Dpu) {}
                    assert!(self.dpu.has_left(), "a connected process always gets to say its last word");
                }
                self.life += 1;
                self.services = false;
                self.start_dpu();
            }
            Action::DeleteRow => self.row = None,
            Action::RedisRestart => {
                self.row = None;
                self.disconnect(Half::Npu, false);
                self.disconnect(Half::Dpu, false);
            }
            Action::Scribble(name, value) => {
                let scribble = fields(&[(SCRIBBLED[name], SCRIBBLES[value])]);
                self.row.get_or_insert_default().merge(&scribble);
            }
            Action::Pass(ms) => self.now = self.now.after_ms(ms),
        }
        if self.in_step {
            self.come_to_rest();
        }
    }

    /// Lets all writes arrive and be noticed, one after the other, until nobody wants anything.
    fn come_to_rest(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut wrote = false;
            for half in [Half::Npu, Half::Dpu] {
                self.notice(half);
                while self.deliver(half) {
                    wrote = true;
                }
            }
            if wrote {
                continue;
            }
            if self.npu.next_deadline().is_none() && self.dpu.next_deadline().is_none() {
                return;
            }
            self.now = self.now.after_ms(REPEAT_PAUSE_MS);
        }
        panic!("no rest after {ROUNDS_MAX} rounds: {:?}", self.row);
    }

    /// The row that the inputs call for, whatever happened before.
    fn check_fixed_point(&self, reachable: bool) {
        let row = self.row.as_ref().expect("the row exists");
        let (_, state) = DpuState::parse("DPU1", row).expect("the row can be read");
        let up_if = |up| Some(if up { LinkState::Up } else { LinkState::Down });
        assert_eq!(state.midplane_link_state, up_if(reachable));
        assert_eq!(state.control_plane_state, up_if(reachable && self.services));
        assert_eq!(state.data_plane_state, up_if(reachable && self.port));
        assert_eq!(state.ready_status, Some(reachable && self.services && self.port));
        assert_eq!(state.boot_id, Some(boot_id(self.life)));
        assert_eq!(state.id, Some(SLOT));
        assert_eq!(state.midplane_link_reason.is_some(), !reachable);
        assert!(
            state.midplane_link_time.is_some()
                && state.recovery_status.is_some()
                && state.reset_count.is_some()
        );
        if reachable {
            assert!(state.control_plane_time.is_some() && state.data_plane_time.is_some());
        }
    }
}

fn boot_id(life: u32) -> String {
    format!("life-{life}")
}

fn new_npu() -> PmonNpu {
    PmonNpu::new(NpuConfig { probe_fail_threshold: NonZeroU32::new(THRESHOLD).unwrap() })
}

fn new_dpu(life: u32) -> PmonDpu {
    PmonDpu::new(DpuConfig { slot: SLOT, boot_id: boot_id(life) })
}

fn merged(write: &RowWrite) -> &Fields {
    match &write.op {
        Op::Merge(fields) => fields,
        other @ (Op::Set(_) | Op::Del) => panic!("a shared row is merged, not {other:?}"),
    }
}

/// Midplane down with control or data plane up (`reference/pmon.md` 3.4 R9).
fn is_mixed(row: &Fields) -> bool {
    row.text("dpu_midplane_link_state") == Some("down")
        && (plane(row, "dpu_control_plane_state") || plane(row, "dpu_data_plane_state"))
}

fn plane(fields: &Fields, name: &str) -> bool {
    fields.text(name) == Some("up")
}

fn run(in_step: bool, actions: Vec<Action>, reachable: bool) {
    let mut world = World::new(in_step);
    for action in actions {
        world.act(action);
    }
    for _ in 0..THRESHOLD {
        world.probe(reachable);
    }
    world.come_to_rest();
    world.check_fixed_point(reachable);

    let (row, writes) = (world.row.clone(), world.writes);
    for _ in 0..3 {
        world.now = world.now.after_ms(10_000);
        world.probe(reachable);
        world.tell_feeds();
        world.come_to_rest();
    }
    assert_eq!((world.row, world.writes), (row, writes), "quiet at the fixed point");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_row_reaches_the_fixed_point_and_is_quiet_whatever_happened(
        actions in prop::collection::vec(action(), 0..60),
        reachable: bool,
    ) {
        run(false, actions, reachable);
    }

    #[test]
    fn no_half_that_sees_the_row_ever_leaves_midplane_down_with_a_plane_up(
        actions in prop::collection::vec(action(), 0..40),
        reachable: bool,
    ) {
        run(true, actions, reachable);
    }
}

#[test]
fn a_missed_reboot_shows_although_the_midplane_never_went_down() {
    let mut world = World::new(true);
    (world.services, world.port) = (true, true);
    world.tell_feeds();
    world.probe(true);
    world.come_to_rest();
    world.check_fixed_point(true);
    world.act(Action::Reboot { clean: false });
    world.check_fixed_point(true);
    assert_eq!(world.row.as_ref().unwrap().text("dpu_control_plane_state"), Some("down"));
}

#[test]
fn a_dpu_up_that_lands_after_a_forced_down_is_forced_down_again_and_restored_in_the_end() {
    let mut world = World::new(false);
    world.probe(true);
    world.come_to_rest();
    world.act(Action::Services(true));
    world.probe(false);
    world.probe(false);
    assert!(world.deliver(Half::Npu), "the NPU's down is first");
    assert!(world.deliver(Half::Dpu), "the DPU's up was under way");
    assert_eq!(world.row.as_ref().unwrap().text("dpu_control_plane_state"), Some("up"));
    world.come_to_rest();
    world.check_fixed_point(false);
    world.probe(true);
    world.come_to_rest();
    world.check_fixed_point(true);
}
