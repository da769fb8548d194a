//! The DPU half alone.

use reconcile::{Batch, Core, Op, RowWrite, StoreEvent, Time};
use schema::appl_db::PortState;
use schema::state_db::SystemReady;
use schema::{Db, Fields, LinkState, Row, Table};

use super::{EARLIER_TEXT, SLOT, WALL, WALL_TEXT, fields, lost, snapshot_of, state_read, with, written};
use crate::{DpuConfig, DpuEffect, DpuInput, DpuNote, Feed, Here, PmonDpu};

const FEEDS: [Feed; 3] = [Feed::SystemReady, Feed::Ports, Feed::PortStates];

struct Dpu {
    core: PmonDpu,
    now: Time,
    effects: Vec<DpuEffect>,
}

impl Dpu {
    /// Nothing read yet.
    fn bare() -> Self {
        let config = DpuConfig { slot: SLOT, boot_id: "life-2".to_owned() };
        Self { core: PmonDpu::new(config), now: Time(0), effects: Vec::new() }
    }

    /// All read; the services run or not; no ports; `row` is the state row.
    fn over(row: Option<&Fields>, services: Option<LinkState>) -> Self {
        let mut dpu = Self::bare();
        dpu.services(services);
        FEEDS.into_iter().for_each(|feed| dpu.give(DpuInput::Synced(feed)));
        dpu.store(state_read(row));
        dpu
    }

    fn give(&mut self, input: DpuInput) {
        self.core.handle(self.now, Batch { wall: WALL, inputs: vec![input] }, &mut self.effects);
    }

    fn store(&mut self, event: StoreEvent<Here>) {
        self.give(DpuInput::Store(event));
    }

    fn services(&mut self, status: Option<LinkState>) {
        self.give(DpuInput::SystemReady(status.map(|status| SystemReady { status: Some(status) })));
    }

    fn port(&mut self, name: &str, status: Option<LinkState>) {
        self.give(DpuInput::Port { name: name.to_owned(), present: true });
        let row = status.map(|status| PortState { oper_status: Some(status) });
        self.give(DpuInput::PortState { name: name.to_owned(), row });
    }

    fn asked(&mut self) -> Vec<RowWrite> {
        let effects = std::mem::take(&mut self.effects).into_iter();
        let write = |effect| match effect {
            DpuEffect::Write(write) => Some(write.write),
            DpuEffect::Note(_) => None,
        };
        effects.filter_map(write).collect()
    }

    /// What was merged into the row since last asked, carried out and reported.
    fn merged(&mut self) -> Vec<Fields> {
        let mut all = Vec::new();
        loop {
            let writes = self.asked();
            if writes.is_empty() {
                return all;
            }
            for write in writes {
                assert_eq!((write.table, write.key.as_str()), (Table::DpuState, "DPU1"));
                all.push(merge_of(&write));
                self.store(written(write, true));
            }
        }
    }
}

fn merge_of(write: &RowWrite) -> Fields {
    match &write.op {
        Op::Merge(fields) => fields.clone(),
        other @ (Op::Set(_) | Op::Del) => panic!("a shared row is merged, not {other:?}"),
    }
}

/// The row of this life with everything up.
fn all_up() -> Fields {
    fields(&[
        ("id", "1"),
        ("boot_id", "life-2"),
        ("dpu_midplane_link_state", "up"),
        ("dpu_midplane_link_time", EARLIER_TEXT),
        ("dpu_control_plane_state", "up"),
        ("dpu_control_plane_time", EARLIER_TEXT),
        ("dpu_data_plane_state", "up"),
        ("dpu_data_plane_time", EARLIER_TEXT),
        ("ready_status", "true"),
    ])
}

/// As the NPU leaves it when the midplane goes down.
fn forced_down() -> Fields {
    let down = [("dpu_midplane_link_state", "down"), ("ready_status", "false")];
    with(&with(&all_up(), &down), &[("dpu_control_plane_state", "down"), ("dpu_data_plane_state", "down")])
}

#[test]
fn the_control_plane_is_up_if_all_services_run() {
    let cases =
        [(Some("UP"), "up"), (Some("up"), "up"), (Some("Up"), "up"), (Some("DOWN"), "down"), (None, "down")];
    for (status, expected) in cases {
        let mut dpu = Dpu::over(None, None);
        dpu.merged();
        let row = status
            .map(|status| SystemReady::from_fields("SYSTEM_STATE", &fields(&[("Status", status)])).unwrap());
        dpu.give(DpuInput::SystemReady(row));
        let merged = dpu.merged();
        let change = merged.iter().find_map(|fields| fields.text("dpu_control_plane_state"));
        assert_eq!(change.unwrap_or("down"), expected, "{status:?}");
    }
}

#[test]
fn the_data_plane_is_up_if_all_ports_are() {
    let (up, down) = (Some(LinkState::Up), Some(LinkState::Down));
    let cases: [(&[Option<LinkState>], &str); 8] = [
        (&[], "up"),
        (&[up], "up"),
        (&[down], "down"),
        (&[None], "down"),
        (&[up, up], "up"),
        (&[up, down], "down"),
        (&[up, None], "down"),
        (&[None, None], "down"),
    ];
    for (ports, expected) in cases {
        let mut dpu = Dpu::bare();
        for (index, status) in ports.iter().enumerate() {
            dpu.port(&format!("Ethernet{index}"), *status);
        }
        FEEDS.into_iter().for_each(|feed| dpu.give(DpuInput::Synced(feed)));
        dpu.store(state_read(None));
        assert_eq!(dpu.merged()[0].text("dpu_data_plane_state"), Some(expected), "{ports:?}");
    }
}

#[test]
fn a_port_state_without_a_configured_port_does_not_count() {
    let mut dpu = Dpu::over(Some(&all_up()), Some(LinkState::Up));
    dpu.give(DpuInput::PortState { name: "Ethernet8".to_owned(), row: None });
    let row = Some(PortState { oper_status: Some(LinkState::Down) });
    dpu.give(DpuInput::PortState { name: "Ethernet8".to_owned(), row });
    assert_eq!(dpu.merged(), []);
    dpu.port("Ethernet0", Some(LinkState::Down));
    assert_eq!(dpu.merged().len(), 1);
    dpu.give(DpuInput::Port { name: "Ethernet0".to_owned(), present: false });
    assert_eq!(dpu.merged().len(), 1, "up again once the port is not configured any more");
}

#[test]
fn the_first_write_says_everything_at_once() {
    let mut dpu = Dpu::over(None, Some(LinkState::Up));
    let expected = fields(&[
        ("boot_id", "life-2"),
        ("dpu_control_plane_state", "up"),
        ("dpu_control_plane_time", WALL_TEXT),
        ("dpu_data_plane_state", "up"),
        ("dpu_data_plane_time", WALL_TEXT),
        ("id", "1"),
    ]);
    assert_eq!(dpu.merged(), [expected]);
}

#[test]
fn nothing_is_written_before_everything_is_read() {
    for missing in FEEDS {
        let mut dpu = Dpu::bare();
        dpu.store(state_read(None));
        for feed in FEEDS.into_iter().filter(|feed| *feed != missing) {
            dpu.give(DpuInput::Synced(feed));
        }
        assert_eq!(dpu.merged(), [], "{missing:?}");
        dpu.give(DpuInput::Synced(missing));
        assert_eq!(dpu.merged().len(), 1);
    }
    let mut dpu = Dpu::bare();
    FEEDS.into_iter().for_each(|feed| dpu.give(DpuInput::Synced(feed)));
    assert_eq!(dpu.merged(), [], "the row itself is not read yet");
}

#[test]
fn an_up_of_the_previous_life_is_taken_back_at_once_together_with_the_new_boot_id() {
    let stale = with(&all_up(), &[("boot_id", "life-1")]);
    let mut dpu = Dpu::over(Some(&stale), None);
    let [first] = &dpu.merged()[..] else { panic!("one write") };
    assert_eq!(first.text("dpu_control_plane_state"), Some("down"));
    assert_eq!(first.text("boot_id"), Some("life-2"));
    dpu.services(Some(LinkState::Up));
    let now_up = fields(&[("dpu_control_plane_state", "up"), ("dpu_control_plane_time", WALL_TEXT)]);
    assert_eq!(dpu.merged(), [now_up]);
}

#[test]
fn a_restart_that_nobody_saw_go_down_still_shows_in_boot_id_and_times() {
    let stale = with(&all_up(), &[("boot_id", "life-1")]);
    let mut dpu = Dpu::over(Some(&stale), Some(LinkState::Up));
    let [first] = &dpu.merged()[..] else { panic!("one write") };
    let expected =
        [("boot_id", "life-2"), ("dpu_control_plane_state", "up"), ("dpu_control_plane_time", WALL_TEXT)];
    for (name, text) in expected {
        assert_eq!(first.text(name), Some(text));
    }
}

#[test]
fn a_restart_of_this_process_is_no_event() {
    let mut dpu = Dpu::over(Some(&all_up()), Some(LinkState::Up));
    assert_eq!(dpu.merged(), []);
}

#[test]
fn what_was_forced_down_is_raised_when_the_midplane_is_up_again_and_not_before() {
    let mut dpu = Dpu::over(Some(&all_up()), Some(LinkState::Up));
    dpu.store(state_read(Some(&forced_down())));
    assert_eq!(dpu.merged(), [], "the NPU would force it down again");
    let released = with(&forced_down(), &[("dpu_midplane_link_state", "up")]);
    dpu.store(state_read(Some(&released)));
    let [raised] = &dpu.merged()[..] else { panic!("one write, atomic") };
    assert_eq!(raised.text("dpu_control_plane_state"), Some("up"));
    assert_eq!(raised.text("dpu_data_plane_state"), Some("up"));
}

#[test]
fn a_down_or_a_boot_id_does_not_wait_for_the_midplane() {
    let held = with(&forced_down(), &[("boot_id", "life-1"), ("dpu_control_plane_state", "up")]);
    let mut dpu = Dpu::over(Some(&held), None);
    let [first] = &dpu.merged()[..] else { panic!("one write") };
    assert_eq!(first.text("boot_id"), Some("life-2"));
    assert_eq!(first.text("dpu_control_plane_state"), Some("down"));
    assert_eq!(first.text("dpu_data_plane_state"), None, "up, but held");
}

#[test]
fn a_row_without_a_midplane_is_not_held() {
    for row in [
        None,
        Some(fields(&[("ready_status", "false")])),
        Some(fields(&[("dpu_midplane_link_state", "unknown")])),
    ] {
        let mut dpu = Dpu::over(row.as_ref(), Some(LinkState::Up));
        assert_eq!(dpu.merged()[0].text("dpu_control_plane_state"), Some("up"));
    }
}

#[test]
fn a_repair_is_noted_and_what_follows_from_the_inputs_is_not() {
    let mut dpu = Dpu::over(None, Some(LinkState::Up));
    let repaired = DpuEffect::Note(DpuNote::Repaired);
    assert!(!dpu.effects.contains(&repaired), "the first write of a process");
    dpu.merged();
    dpu.services(Some(LinkState::Down));
    assert!(!dpu.effects.contains(&repaired), "the services changed");
    dpu.merged();
    dpu.store(state_read(None));
    assert!(dpu.effects.contains(&repaired));
}

#[test]
fn a_row_that_is_deleted_or_lost_with_its_redis_is_restored() {
    for restart in [false, true] {
        let mut dpu = Dpu::over(Some(&all_up()), Some(LinkState::Up));
        if restart {
            dpu.store(lost(Db::ChassisStateDb));
        }
        dpu.store(state_read(None));
        let [fields] = &dpu.merged()[..] else { panic!("one write") };
        assert_eq!(fields.len(), 6, "{fields:?}");
    }
}

#[test]
fn a_single_field_that_is_wrong_is_repaired() {
    for (name, bad, mended) in [
        ("boot_id", "", "life-2"),
        ("boot_id", "life-0", "life-2"),
        ("id", "7", "1"),
        ("dpu_control_plane_state", "down", "up"),
        ("dpu_control_plane_state", "UP", "up"),
        ("dpu_data_plane_state", "sideways", "up"),
        ("dpu_control_plane_time", "", WALL_TEXT),
        ("dpu_data_plane_time", "1767225600", WALL_TEXT),
    ] {
        let mut dpu = Dpu::over(Some(&with(&all_up(), &[(name, bad)])), Some(LinkState::Up));
        let [fields] = &dpu.merged()[..] else { panic!("one write") };
        assert_eq!(fields.text(name), Some(mended), "{name} {bad:?}");
    }
}

#[test]
fn rows_of_other_dpus_are_no_concern() {
    let mut dpu = Dpu::over(Some(&all_up()), Some(LinkState::Up));
    let rows = [
        (Table::DpuState, "DPU0", forced_down()),
        (Table::DpuState, "DPU1", all_up()),
        (Table::DpuState, "DPU2", fields(&[("boot_id", "other")])),
    ];
    dpu.store(snapshot_of(Db::ChassisStateDb, &rows));
    assert_eq!(dpu.merged(), []);
}

#[test]
fn a_clean_exit_says_down_unconditionally_and_is_the_last_word() {
    let last_word = fields(&[
        ("dpu_control_plane_state", "down"),
        ("dpu_control_plane_time", WALL_TEXT),
        ("dpu_data_plane_state", "down"),
        ("dpu_data_plane_time", WALL_TEXT),
    ]);
    for (row, services) in [(Some(all_up()), Some(LinkState::Up)), (Some(forced_down()), None), (None, None)]
    {
        let mut dpu = Dpu::over(row.as_ref(), services);
        dpu.merged();
        dpu.give(DpuInput::Stop);
        let writes = dpu.asked();
        assert!(writes.iter().map(merge_of).eq([last_word.clone()]));
        assert!(!dpu.core.has_left(), "not before the write is reported");
        dpu.store(written(writes[0].clone(), true));
        assert!(dpu.core.has_left());
        dpu.store(state_read(None));
        dpu.services(Some(LinkState::Up));
        dpu.give(DpuInput::Stop);
        assert_eq!(dpu.effects, [], "nothing after the last word");
    }
}

#[test]
fn a_clean_exit_overtakes_a_write_under_way_and_waits_for_its_own() {
    let mut dpu = Dpu::over(None, Some(LinkState::Up));
    let first = dpu.asked();
    dpu.give(DpuInput::Stop);
    let last = dpu.asked();
    assert_eq!(last.len(), 1);
    dpu.store(written(first[0].clone(), true));
    assert!(!dpu.core.has_left());
    dpu.store(written(last[0].clone(), true));
    assert!(dpu.core.has_left());
}

#[test]
fn a_clean_exit_while_the_database_is_lost_waits_for_it() {
    let mut dpu = Dpu::over(Some(&all_up()), Some(LinkState::Up));
    dpu.effects.clear();
    dpu.store(lost(Db::ChassisStateDb));
    dpu.give(DpuInput::Stop);
    assert_eq!(dpu.asked(), []);
    dpu.store(state_read(Some(&all_up())));
    assert_eq!(dpu.asked().len(), 1);
    dpu.store(lost(Db::ChassisStateDb));
    dpu.store(state_read(Some(&all_up())));
    assert_eq!(dpu.asked().len(), 1, "nobody reported the first");
}

#[test]
fn a_process_left_over_from_another_life_costs_one_write_a_second() {
    let mut dpu = Dpu::over(Some(&all_up()), Some(LinkState::Up));
    let mut writes = 0;
    for ms in 0..10_000 {
        dpu.now = Time(ms);
        dpu.store(state_read(Some(&with(&all_up(), &[("boot_id", "life-1")]))));
        writes += dpu.merged().len();
    }
    assert!((10..=20).contains(&writes), "{writes} writes");
}

#[test]
fn the_state_can_be_stored_and_read_back() {
    let dpu = Dpu::over(Some(&all_up()), None);
    let text = serde_json::to_string(&dpu.core).unwrap();
    assert_eq!(serde_json::from_str::<PmonDpu>(&text).unwrap(), dpu.core);
}
