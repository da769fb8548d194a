//! The NPU half alone.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use reconcile::{Batch, Core, Op, RowWrite, StoreEvent, Time};
use schema::config_db::Dpu;
use schema::{Db, DpuName, Fields, Row, Slot, Table};

use super::{EARLIER_TEXT, SLOT, WALL, WALL_TEXT, fields, lost, snapshot_of, state_read, with, written};
use crate::{Here, NpuConfig, NpuEffect, NpuInput, NpuNote, PmonNpu, Target};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 200, 2);
const THRESHOLD: u32 = 3;

/// The core, a clock, and what it asked for since last asked.
struct Npu {
    core: PmonNpu,
    now: Time,
    effects: Vec<NpuEffect>,
}

impl Npu {
    /// Nothing configured, nothing read.
    fn bare() -> Self {
        let config = NpuConfig { probe_fail_threshold: NonZeroU32::new(THRESHOLD).unwrap() };
        Self { core: PmonNpu::new(config), now: Time(0), effects: Vec::new() }
    }

    /// DPU1 configured, both databases read, `row` is its state.
    fn over(row: Option<&Fields>) -> Self {
        let mut npu = Self::bare();
        npu.configure("dpu1", SLOT, Some(ADDRESS));
        npu.give(NpuInput::DpusSynced);
        npu.store(state_read(row));
        npu.store(snapshot_of(Db::StateDb, &[]));
        npu.effects.clear();
        npu
    }

    fn give(&mut self, input: NpuInput) {
        self.core.handle(self.now, Batch { wall: WALL, inputs: vec![input] }, &mut self.effects);
    }

    fn store(&mut self, event: StoreEvent<Here>) {
        self.give(NpuInput::Store(event));
    }

    fn configure(&mut self, name: &str, slot: Slot, address: Option<Ipv4Addr>) {
        let mut row = fields(&[("dpu_id", &slot.0.to_string())]);
        if let Some(address) = address {
            row.set("midplane_ipv4", address.to_string());
        }
        let row = Dpu::from_fields(name, &row).unwrap();
        self.give(NpuInput::Dpu { name: DpuName::new(name).unwrap(), row: Some(row) });
    }

    fn probe(&mut self, reachable: bool) {
        self.give(NpuInput::Probe { target: Target { slot: SLOT, address: ADDRESS }, reachable });
    }

    fn probes(&mut self, results: &str) {
        results.chars().for_each(|result| self.probe(result == '+'));
    }

    /// The writes asked for since last asked, carried out and reported.
    fn carry_out(&mut self) -> Vec<RowWrite> {
        let mut all = Vec::new();
        loop {
            let writes = self.asked();
            if writes.is_empty() {
                return all;
            }
            for write in writes {
                self.store(written(write.clone(), true));
                all.push(write);
            }
        }
    }

    fn asked(&mut self) -> Vec<RowWrite> {
        let effects = std::mem::take(&mut self.effects).into_iter();
        let write = |effect| match effect {
            NpuEffect::Write(write) => Some(write.write),
            NpuEffect::Probe(_) | NpuEffect::Note(_) => None,
        };
        effects.filter_map(write).collect()
    }

    /// The fields merged into the state row, one entry per write.
    fn merged(&mut self) -> Vec<Fields> {
        merges(self.carry_out())
    }
}

fn merges(writes: Vec<RowWrite>) -> Vec<Fields> {
    let states = writes.into_iter().filter(|write| write.table == Table::DpuState);
    states
        .map(|write| match write.op {
            Op::Merge(fields) => fields,
            other @ (Op::Set(_) | Op::Del) => panic!("a shared row is merged, not {other:?}"),
        })
        .collect()
}

/// A row that is as it should be with everything up.
fn all_up() -> Fields {
    fields(&[
        ("id", "1"),
        ("boot_id", "life-1"),
        ("dpu_midplane_link_state", "up"),
        ("dpu_midplane_link_reason", ""),
        ("dpu_midplane_link_time", EARLIER_TEXT),
        ("dpu_control_plane_state", "up"),
        ("dpu_control_plane_time", EARLIER_TEXT),
        ("dpu_control_plane_reason", "All containers are up and running"),
        ("dpu_data_plane_state", "up"),
        ("dpu_data_plane_time", EARLIER_TEXT),
        ("ready_status", "true"),
        ("last_ready_time", EARLIER_TEXT),
        ("recovery_status", "recoverable"),
        ("reset_count", "0"),
    ])
}

fn all_down() -> Fields {
    with(
        &all_up(),
        &[
            ("dpu_midplane_link_state", "down"),
            ("dpu_midplane_link_reason", "Unplanned: 'Unreachable, 3 probes lost in a row'"),
            ("dpu_control_plane_state", "down"),
            ("dpu_data_plane_state", "down"),
            ("ready_status", "false"),
            ("last_down_time", EARLIER_TEXT),
        ],
    )
}

#[test]
fn the_midplane_is_down_after_enough_losses_in_a_row_and_up_after_one_answer() {
    // (state in the row, probes, state written)
    let cases = [
        ("up", "", None),
        ("up", "+", None),
        ("up", "-", None),
        ("up", "--", None),
        ("up", "--+--+--", None),
        ("up", "---", Some("down")),
        ("up", "+---", Some("down")),
        ("up", "-----", Some("down")),
        ("down", "", None),
        ("down", "-", None),
        ("down", "---", None),
        ("down", "+", Some("up")),
        ("down", "---+", Some("up")),
        ("down", "---+--", Some("up")),
    ];
    for (before, probes, expected) in cases {
        let mut npu = Npu::over(Some(&if before == "up" { all_up() } else { all_down() }));
        npu.probes(probes);
        let merged = npu.merged();
        let state = merged.iter().find_map(|fields| fields.text("dpu_midplane_link_state"));
        assert_eq!(state, expected, "row {before}, probes {probes}");
    }
}

#[test]
fn one_lost_probe_forces_nothing_down() {
    let mut npu = Npu::over(Some(&all_up()));
    npu.probes("+-+-+--+");
    assert_eq!(npu.carry_out().len(), 1, "only the access row, once");
}

#[test]
fn nothing_is_written_before_the_first_verdict() {
    for row in [None, Some(all_up()), Some(all_down())] {
        let mut npu = Npu::over(row.as_ref());
        npu.probes("--");
        assert_eq!(npu.carry_out(), []);
    }
}

#[test]
fn a_midplane_that_goes_down_takes_both_planes_with_it_in_one_write() {
    let mut npu = Npu::over(Some(&all_up()));
    npu.probes("---");
    let expected = fields(&[
        ("dpu_midplane_link_state", "down"),
        ("dpu_midplane_link_reason", "Unplanned: 'Unreachable, 3 probes lost in a row'"),
        ("dpu_midplane_link_time", WALL_TEXT),
        ("dpu_control_plane_state", "down"),
        ("dpu_data_plane_state", "down"),
        ("ready_status", "false"),
        ("last_down_time", WALL_TEXT),
    ]);
    assert_eq!(npu.merged(), [expected]);
    npu.probes("-----");
    assert_eq!(npu.merged(), [], "quiet while it stays down");
}

#[test]
fn both_planes_are_forced_even_where_they_were_last_read_down() {
    let starting = with(&all_up(), &[("dpu_control_plane_state", "down"), ("ready_status", "false")]);
    let mut npu = Npu::over(Some(&starting));
    npu.probes("---");
    let [fields] = &npu.merged()[..] else { panic!("one write") };
    assert_eq!(fields.text("dpu_control_plane_state"), Some("down"));
}

#[test]
fn a_midplane_that_comes_up_leaves_the_planes_to_the_dpu() {
    let mut npu = Npu::over(Some(&all_down()));
    npu.probe(true);
    let expected = fields(&[
        ("dpu_midplane_link_state", "up"),
        ("dpu_midplane_link_reason", ""),
        ("dpu_midplane_link_time", WALL_TEXT),
    ]);
    assert_eq!(npu.merged(), [expected]);
}

#[test]
fn the_first_row_of_a_dpu_is_whole_and_not_ready() {
    let mut npu = Npu::over(None);
    npu.probe(true);
    let expected = fields(&[
        ("dpu_midplane_link_state", "up"),
        ("dpu_midplane_link_reason", ""),
        ("dpu_midplane_link_time", WALL_TEXT),
        ("ready_status", "false"),
        ("last_down_time", WALL_TEXT),
        ("recovery_status", "recoverable"),
        ("reset_count", "0"),
    ]);
    assert_eq!(npu.merged(), [expected]);
}

#[test]
fn a_row_that_is_deleted_or_lost_with_its_redis_is_restored() {
    for (probes, state) in [("+", "up"), ("---", "down")] {
        for restart in [false, true] {
            let mut npu = Npu::over(Some(&if state == "up" { all_up() } else { all_down() }));
            npu.probes(probes);
            npu.carry_out();
            if restart {
                npu.store(lost(Db::ChassisStateDb));
            }
            npu.store(state_read(None));
            let [fields] = &npu.merged()[..] else { panic!("one write") };
            assert_eq!(fields.text("dpu_midplane_link_state"), Some(state));
            assert_eq!(fields.text("dpu_control_plane_state"), (state == "down").then_some("down"));
        }
    }
}

#[test]
fn a_plane_raised_while_the_midplane_is_down_is_forced_down_again() {
    for plane in ["dpu_control_plane_state", "dpu_data_plane_state"] {
        let mut npu = Npu::over(Some(&all_down()));
        npu.probes("---");
        npu.carry_out();
        npu.store(state_read(Some(&with(&all_down(), &[(plane, "up")]))));
        assert_eq!(npu.merged(), [fields(&[(plane, "down")])]);
    }
}

#[test]
fn ready_means_all_three_planes_up() {
    // (control plane, data plane, ready before, the write)
    let became_ready: &[(&str, &str)] = &[("ready_status", "true"), ("last_ready_time", WALL_TEXT)];
    let ceased: &[(&str, &str)] = &[("ready_status", "false"), ("last_down_time", WALL_TEXT)];
    let cases = [
        ("up", "up", "true", None),
        ("up", "up", "false", Some(became_ready)),
        ("up", "up", "", Some(became_ready)),
        ("up", "down", "true", Some(ceased)),
        ("down", "up", "true", Some(ceased)),
        ("unknown", "up", "true", Some(ceased)),
        ("down", "down", "false", None),
    ];
    for (control, data, ready, expected) in cases {
        let changes =
            [("dpu_control_plane_state", control), ("dpu_data_plane_state", data), ("ready_status", ready)];
        let mut npu = Npu::over(Some(&with(&all_up(), &changes)));
        npu.probe(true);
        let expected: Vec<Fields> = expected.map(fields).into_iter().collect();
        assert_eq!(npu.merged(), expected, "{changes:?}");
    }
}

#[test]
fn recovery_fields_that_somebody_keeps_are_kept() {
    let row = with(&all_up(), &[("recovery_status", "unrecoverable"), ("reset_count", "2")]);
    let mut npu = Npu::over(Some(&row));
    npu.probe(true);
    assert_eq!(npu.merged(), []);
}

#[test]
fn a_restart_of_this_process_is_no_event_for_the_dpu() {
    for (row, probes) in [(all_up(), "+++"), (all_down(), "------")] {
        let mut npu = Npu::over(Some(&row));
        npu.probes(probes);
        assert_eq!(npu.merged(), []);
    }
}

#[test]
fn a_time_that_cannot_be_read_is_mended() {
    for time in ["dpu_midplane_link_time", "last_ready_time"] {
        for bad in ["", "yesterday", "2026-01-01T00:00:00Z"] {
            let mut npu = Npu::over(Some(&with(&all_up(), &[(time, bad)])));
            npu.probe(true);
            assert_eq!(npu.merged(), [fields(&[(time, WALL_TEXT)])], "{time} {bad:?}");
        }
    }
}

#[test]
fn a_dpu_with_a_new_address_is_unknown_again() {
    let mut npu = Npu::over(Some(&all_up()));
    npu.probe(true);
    npu.probes("--");
    let moved = Ipv4Addr::new(169, 254, 200, 9);
    npu.configure("dpu1", SLOT, Some(moved));
    assert!(npu.effects.contains(&NpuEffect::Probe(vec![Target { slot: SLOT, address: moved }])));
    assert_eq!(npu.core.midplane(SLOT), None);
    npu.probes("---+");
    assert_eq!(npu.core.midplane(SLOT), None, "answers from the old address do not count");
}

#[test]
fn the_dpus_to_probe_are_told_once_per_change() {
    let mut npu = Npu::bare();
    npu.configure("dpu1", SLOT, Some(ADDRESS));
    npu.configure("dpu1", SLOT, Some(ADDRESS));
    npu.give(NpuInput::DpusSynced);
    npu.give(NpuInput::Dpu { name: DpuName::new("dpu1").unwrap(), row: None });
    let probed = [NpuEffect::Probe(vec![Target { slot: SLOT, address: ADDRESS }]), NpuEffect::Probe(vec![])];
    assert_eq!(npu.effects, probed);
}

#[test]
fn configuration_that_cannot_be_probed_is_noted() {
    let mut npu = Npu::bare();
    npu.configure("dpu0", Slot(0), None);
    npu.configure("dpu1", SLOT, Some(ADDRESS));
    npu.configure("dpu9", SLOT, Some(Ipv4Addr::LOCALHOST));
    let name = |name: &str| DpuName::new(name).unwrap();
    assert!(npu.effects.contains(&NpuEffect::Note(NpuNote::NoMidplaneAddress(name("dpu0")))));
    assert!(npu.effects.contains(&NpuEffect::Note(NpuNote::SlotTaken { ignored: name("dpu9"), slot: SLOT })));
    npu.probe(true);
    assert!(
        npu.effects.contains(&NpuEffect::Note(NpuNote::MidplaneUp(SLOT))),
        "the first in name order counts"
    );
}

#[test]
fn one_write_of_a_row_is_under_way_and_the_next_follows_it() {
    let mut npu = Npu::over(Some(&all_up()));
    npu.probes("---");
    let down = npu.asked().into_iter().find(|write| write.table == Table::DpuState).unwrap();
    npu.probe(false);
    assert_eq!(merges(npu.asked()), [], "the down write is under way, and not repeated");
    npu.probe(true);
    assert_eq!(merges(npu.asked()), [], "nor overtaken");
    npu.store(written(down, true));
    let [up] = &merges(npu.asked())[..] else { panic!("one write") };
    assert_eq!(up.text("dpu_midplane_link_state"), Some("up"));
}

#[test]
fn nothing_is_written_into_a_lost_database_and_all_is_made_good_after_it() {
    let mut npu = Npu::over(Some(&all_up()));
    npu.store(lost(Db::ChassisStateDb));
    npu.probes("---");
    assert_eq!(npu.merged(), []);
    npu.store(state_read(Some(&all_up())));
    assert_eq!(npu.merged().len(), 1);
}

#[test]
fn a_refused_write_is_not_repeated_until_the_row_changes() {
    let mut npu = Npu::over(Some(&all_up()));
    npu.probes("---");
    let down = npu.asked().into_iter().find(|write| write.table == Table::DpuState).unwrap();
    npu.store(written(down, false));
    npu.probes("-----");
    assert_eq!(merges(npu.asked()), []);
    npu.store(state_read(Some(&with(&all_up(), &[("boot_id", "life-2")]))));
    assert_eq!(merges(npu.asked()).len(), 1);
}

#[test]
fn a_writer_that_never_gives_in_costs_one_write_a_second() {
    let mut npu = Npu::over(Some(&all_down()));
    npu.probes("---");
    npu.carry_out();
    let mut writes = 0;
    for ms in 0..10_000 {
        npu.now = Time(ms);
        npu.store(state_read(Some(&with(&all_down(), &[("dpu_control_plane_state", "up")]))));
        writes += npu.merged().len();
    }
    assert!((10..=20).contains(&writes), "{writes} writes");
    let (at, _) = npu.core.next_deadline().expect("something is held back");
    assert!(at > npu.now);
    npu.store(state_read(Some(&all_down())));
    assert_eq!(npu.core.next_deadline(), None, "the quarrel is over");
}

#[test]
fn dpus_do_not_touch_each_other() {
    let other = Ipv4Addr::new(169, 254, 200, 3);
    let mut npu = Npu::over(Some(&all_up()));
    npu.configure("dpu2", Slot(2), Some(other));
    npu.probe(true);
    npu.carry_out();
    for _ in 0..THRESHOLD {
        npu.give(NpuInput::Probe { target: Target { slot: Slot(2), address: other }, reachable: false });
    }
    assert!(npu.carry_out().iter().all(|write| write.key == "DPU2"));
}

#[test]
fn the_access_row_is_written_on_change_only_and_goes_with_the_configuration() {
    let access = |access: &str| fields(&[("access", access), ("ip_address", "169.254.200.2")]);
    let access_writes = |npu: &mut Npu| -> Vec<Op> {
        let writes = npu.carry_out().into_iter();
        writes.filter(|write| write.table == Table::ChassisMidplane).map(|write| write.op).collect()
    };
    let mut npu = Npu::over(Some(&all_up()));
    npu.probes("++");
    assert_eq!(access_writes(&mut npu), [Op::Set(access("True"))]);
    npu.probes("++");
    assert_eq!(access_writes(&mut npu), []);
    npu.probes("-----");
    assert_eq!(access_writes(&mut npu), [Op::Set(access("False"))]);
    npu.give(NpuInput::Dpu { name: DpuName::new("dpu1").unwrap(), row: None });
    assert_eq!(access_writes(&mut npu), [Op::Del]);
}

#[test]
fn access_rows_of_a_previous_run_stay_until_it_is_known_that_nobody_needs_them() {
    let rows = [
        (Table::ChassisMidplane, "DPU1", fields(&[("access", "True")])),
        (Table::ChassisMidplane, "DPU5", fields(&[("access", "True")])),
        (Table::ChassisMidplane, "LINE-CARD0", fields(&[("access", "True")])),
    ];
    let mut npu = Npu::bare();
    npu.store(snapshot_of(Db::StateDb, &rows));
    npu.configure("dpu1", SLOT, Some(ADDRESS));
    assert_eq!(npu.asked(), [], "the configuration is not read yet");
    npu.give(NpuInput::DpusSynced);
    let gone = RowWrite { table: Table::ChassisMidplane, key: "DPU5".to_owned(), op: Op::Del };
    assert_eq!(npu.asked(), [gone], "DPU1 waits for its verdict, a line card is not ours");
}

#[test]
fn the_state_can_be_stored_and_read_back() {
    let mut npu = Npu::over(Some(&all_up()));
    npu.probes("---");
    let text = serde_json::to_string(&npu.core).unwrap();
    assert_eq!(serde_json::from_str::<PmonNpu>(&text).unwrap(), npu.core);
}
