use schema::{Fields, Slot, Table};
use swss::Change;
use tokio::time::Instant;

use super::*;
use crate::topology::Topology;

/// A world of one pair at rest, built from the rows that count here.
struct Case {
    world: World,
    tracker: Tracker,
    target: DpuId,
}

fn change(table: Table, key: &str, fields: Option<Fields>) -> What {
    What::Change(Change { table, key: key.to_owned(), fields })
}

fn fields(pairs: &[(&str, &str)]) -> Option<Fields> {
    Some(pairs.iter().copied().collect())
}

const NONE: [u8; 0] = [];
const SCOPE: &str = "vdpu0_0|haset0";
const SCOPE_CONFIG: &str = "vdpu0_0:haset0";

impl Case {
    fn new(expected: &[u8]) -> Self {
        let topology = Topology::new(crate::net::Kind::Loopback, 1, true).unwrap();
        let target = DpuId { switch: 0, slot: Slot(0) };
        let mut case = Case { world: World::default(), tracker: dead_tracker(target), target };
        for (key, row) in crate::files::npu_config_rows(&topology, 0) {
            let (name, key) = key.split_once('|').unwrap();
            if let Some(table) = Table::find(Db::ConfigDb, name) {
                case.at(Place::Npu(0), change(table, key, Some(row)));
            }
        }
        case.configure();
        case.health("up");
        case.program();
        case.report("active");
        let before = case.world.snapshot(&topology);
        case.tracker = Tracker::new(target, expected, &before);
        case
    }

    fn at(&mut self, place: Place, what: What) -> Vec<u8> {
        let db = match &what {
            What::Change(change) => change.table.db(),
            _ => Db::StateDb,
        };
        self.seen(place, db, what)
    }

    fn seen(&mut self, place: Place, db: Db, what: What) -> Vec<u8> {
        let seen = Seen { at: Instant::now(), place, db, what };
        self.world.apply(&seen);
        self.tracker.seen(&self.world, &seen).iter().map(|tick| tick.step).collect()
    }

    fn npu(&mut self, table: Table, key: &str, row: Option<Fields>) -> Vec<u8> {
        self.at(Place::Npu(0), change(table, key, row))
    }

    fn dpu(&mut self, table: Table, key: &str, row: Option<Fields>) -> Vec<u8> {
        self.at(Place::OnNpu(self.target), change(table, key, row))
    }

    fn health(&mut self, word: &str) -> Vec<u8> {
        let row = fields(&[("dpu_midplane_link_state", word), ("dpu_control_plane_state", word)]);
        self.npu(Table::DpuState, "DPU0", row)
    }

    fn configure(&mut self) -> Vec<u8> {
        let vdpu = |id: &str| schema::VdpuId::new(id).unwrap();
        let set = HaSetConfig {
            version: "1".into(),
            vip_v4: None,
            vip_v6: None,
            vdpu_ids: vec![vdpu("vdpu0_0"), vdpu("vdpu1_0")],
            scope: schema::HaScopeKind::Dpu,
            pinned_vdpu_bfd_probe_states: vec![],
            preferred_vdpu_ids: vec![],
            preferred_standalone_vdpu_index: 0,
        };
        let scope = HaScopeConfig {
            version: "1".into(),
            disabled: false,
            owner: schema::HaOwner::Dpu,
            ha_set_id: None,
            desired_ha_state: schema::DesiredHaState::Active,
            approved_pending_operation_ids: vec![],
        };
        let mut ticks = self.npu(Table::DashHaSetConfig, "haset0", Some(set.to_fields()));
        ticks.extend(self.npu(Table::DashHaScopeConfig, SCOPE_CONFIG, Some(scope.to_fields())));
        ticks
    }

    fn peers(&self) -> Vec<String> {
        let snapshot = self.world.snapshot(&Topology::new(crate::net::Kind::Loopback, 1, true).unwrap());
        let model = invariants::Model::of(&snapshot);
        let peers = &model.switches[0].dpus[0].bfd_peers;
        peers.iter().map(|peer| BfdSession::key_text(&BfdKey::to_npu(*peer))).collect()
    }

    fn program(&mut self) -> Vec<u8> {
        let mut ticks = self.dpu(Table::DashHaSet, "haset0", fields(&[("version", "1")]));
        for peer in self.peers() {
            ticks.extend(self.dpu(Table::BfdSession, &peer, fields(&[("type", "passive")])));
        }
        ticks.extend(self.dpu(Table::DashHaScope, "haset0", fields(&[("ha_role", "active")])));
        ticks
    }

    fn withdraw(&mut self) -> Vec<u8> {
        let mut ticks = self.dpu(Table::DashHaScope, "haset0", None);
        for peer in self.peers() {
            ticks.extend(self.dpu(Table::BfdSession, &peer, None));
        }
        ticks.extend(self.dpu(Table::DashHaSet, "haset0", None));
        ticks
    }

    fn cleaned(&mut self, db: Db) -> Vec<u8> {
        let (_, key) = BYSTANDERS.into_iter().find(|(of, _)| *of == db).unwrap();
        self.seen(Place::OnNpu(self.target), db, What::Write { redis_key: key.to_owned(), op: "del".into() })
    }

    fn results(&mut self) -> Vec<u8> {
        let mut ticks = self.dpu(Table::DashHaSetResult, "haset0", fields(&[("result", "0")]));
        ticks.extend(self.dpu(Table::DashHaScopeResult, "haset0", fields(&[("result", "0")])));
        ticks
    }

    fn report(&mut self, state: &str) -> Vec<u8> {
        let mut ticks = self.dpu(Table::DpuDashHaScopeState, "haset0", fields(&[("ha_state", state)]));
        let row = fields(&[("local_acked_asic_ha_state", state), ("incarnation", "7")]);
        ticks.extend(self.npu(Table::DashHaScopeState, SCOPE, row));
        ticks
    }
}

fn dead_tracker(target: DpuId) -> Tracker {
    Tracker::new(target, &[], &invariants::Snapshot::default())
}

#[test]
fn a_restart_ticks_all_sixteen_steps_in_order() {
    let mut case = Case::new(&crate::steps::STEPS.map(|(n, _, _)| n));
    assert_eq!(case.peers().len(), 4, "two NPUs, two families");
    let own = Place::OnDpu(case.target);
    assert_eq!(case.seen(own, Db::StateDb, What::Silent), [1]);
    assert_eq!(case.health("down"), [2]);
    assert_eq!(case.npu(Table::DashHaScopeConfig, SCOPE_CONFIG, None), [3]);
    assert_eq!(case.npu(Table::DashHaScopeState, SCOPE, None), [6]);
    assert_eq!(case.withdraw(), [5]);
    assert_eq!(case.npu(Table::DashHaSetConfig, "haset0", None), [4]);
    assert_eq!(case.seen(own, Db::StateDb, What::Answers), [7]);
    assert_eq!(case.cleaned(Db::DpuApplDb), [8]);
    assert_eq!(case.cleaned(Db::DpuStateDb), NONE, "the state of the previous life is still there");
    assert_eq!(case.dpu(Table::DpuDashHaScopeState, "haset0", None), [9]);
    assert_eq!(case.health("up"), [10]);
    assert_eq!(case.configure(), [11, 12]);
    assert_eq!(case.program(), [13]);
    assert_eq!(case.results(), [14]);
    assert_eq!(case.report("standby"), [15, 16]);
    assert_eq!(case.tracker.missing(), NONE);
}

#[test]
fn the_last_step_waits_for_a_state_to_rest_in() {
    let mut case = Case::new(&[15, 16]);
    assert_eq!(case.report("standby"), NONE, "the previous life's row");
    assert_eq!(case.dpu(Table::DpuDashHaScopeState, "haset0", None), NONE);
    assert_eq!(case.report("pending_standby_activation"), [15]);
    assert_eq!(case.report("standby"), [16]);
}

#[test]
fn what_goes_and_comes_too_quickly_to_be_seen_apart_is_still_ticked() {
    let mut case = Case::new(&[4, 12]);
    for key in
        [format!("DASH_HA_SCOPE_CONFIG_TABLE:{SCOPE_CONFIG}"), "DASH_HA_SET_CONFIG_TABLE:haset0".into()]
    {
        let deleted = What::Write { redis_key: key, op: "del".into() };
        case.seen(Place::Npu(0), Db::ApplDb, deleted);
    }
    assert!(case.tracker.ticks().contains_key(&4));
    assert!(!case.tracker.ticks().contains_key(&12), "the old rows are not the new ones");
    assert_eq!(case.configure(), [12]);
    let went: Vec<String> = case.tracker.configuration_that_went().collect();
    assert_eq!(went.len(), 2, "{went:?}");
}

#[test]
fn a_clean_up_that_is_repaired_at_once_is_seen_by_its_rows() {
    let mut case = Case::new(&[8, 9]);
    let mut ticks = case.withdraw();
    ticks.extend(case.dpu(Table::DpuDashHaScopeState, "haset0", None));
    assert_eq!(ticks, NONE, "hamgrd and haorchd may delete rows too");
    ticks.extend(case.cleaned(Db::DpuApplDb));
    ticks.extend(case.cleaned(Db::DpuStateDb));
    assert_eq!(ticks, [8, 9]);
}

#[test]
fn a_clean_up_that_is_seen_before_the_boot_is_a_clean_up() {
    let mut case = Case::new(&[7, 8]);
    case.withdraw();
    assert_eq!(case.cleaned(Db::DpuApplDb), NONE);
    assert_eq!(case.seen(Place::OnDpu(case.target), Db::StateDb, What::Answers), [7, 8]);
}

#[test]
fn another_dpus_rows_tick_nothing() {
    let mut case = Case::new(&[2, 5]);
    let other = DpuId { switch: 0, slot: Slot(1) };
    let down = fields(&[("dpu_midplane_link_state", "down")]);
    assert_eq!(case.npu(Table::DpuState, "DPU1", down), NONE);
    assert_eq!(case.at(Place::OnNpu(other), change(Table::DashHaScope, "haset0", None)), NONE);
    assert_eq!(case.tracker.missing(), [2, 5]);
}
