use schema::dpu_appl_db::HaScope;
use schema::{AsicHaRole, Db, Fields, HaScopeId, Row, Table};

use crate::{Op, OwnedRow, Plan, Reconciler, RowId, RowWrite, StoreEvent, StoreUpdate, Write};

/// A place with the reconciler under test, and what is wanted there.
#[derive(Default)]
struct Story {
    reconciler: Reconciler<u8>,
    plan: Plan<u8>,
}

const DB: Db = Db::DpuApplDb;
const SET: Table = Table::DashHaSet;
const SCOPE: Table = Table::DashHaScope;
const BFD: Table = Table::BfdSession;

fn rank(table: Table) -> u8 {
    match table {
        SET => 0,
        BFD => 1,
        SCOPE => 2,
        _ => 9,
    }
}

fn version(version: &str) -> Fields {
    [("version", version)].into_iter().collect()
}

fn id(place: u8, table: Table, key: &str) -> RowId<u8> {
    RowId { place, table, key: key.to_owned() }
}

fn owned(table: Table, key: &str, fields: Fields) -> OwnedRow {
    OwnedRow { table, key: key.to_owned(), fields, consumed: true }
}

fn set(place: u8, table: Table, key: &str, fields: Fields) -> Write<u8> {
    Write { place, write: RowWrite { table, key: key.to_owned(), op: Op::Set(fields) } }
}

fn del(place: u8, table: Table, key: &str) -> Write<u8> {
    Write { place, write: RowWrite { table, key: key.to_owned(), op: Op::Del } }
}

impl Story {
    fn want(&mut self, table: Table, key: &str, fields: Fields) {
        self.plan.want_fields(id(0, table, key), fields);
    }

    fn want_only(&mut self, rows: &[(Table, &str, &str)]) {
        self.plan = Plan::new();
        for (table, key, wanted) in rows {
            self.want(*table, key, version(wanted));
        }
    }

    fn update(&mut self, update: StoreUpdate) {
        self.reconciler.observe(StoreEvent { place: 0, db: DB, update });
    }

    fn snapshot(&mut self, rows: &[(Table, &str, &str)]) {
        let rows = rows.iter().map(|(table, key, held)| owned(*table, key, version(held))).collect();
        self.update(StoreUpdate::Snapshot(rows));
    }

    fn report(&mut self, write: Write<u8>, done: bool) {
        self.update(StoreUpdate::Written { write: write.write, done });
    }

    fn diff(&mut self) -> Vec<Write<u8>> {
        self.diff_keeping(|_, _| false)
    }

    fn diff_keeping(&mut self, keep: impl Fn(&RowId<u8>, &Fields) -> bool) -> Vec<Write<u8>> {
        let mut out = Vec::new();
        self.reconciler.diff(&self.plan, rank, keep, &mut out);
        out
    }
}

#[test]
fn nothing_is_written_before_the_first_snapshot() {
    let mut story = Story::default();
    story.want(SET, "h0", version("1"));
    assert_eq!(story.diff(), []);
    assert!(!story.reconciler.is_ready(&0, DB));
    story.snapshot(&[]);
    assert!(story.reconciler.is_ready(&0, DB));
    assert_eq!(story.diff(), [set(0, SET, "h0", version("1"))]);
}

#[test]
fn a_snapshot_of_one_store_opens_no_other() {
    let mut story = Story::default();
    story.plan.want_fields(id(1, SET, "h0"), version("1"));
    story.plan.want_fields(id(0, Table::DashHaScopeState, "v|h"), version("1"));
    story.snapshot(&[]);
    assert_eq!(story.diff(), [], "neither the same database elsewhere nor another database here");
}

#[test]
fn a_snapshot_that_equals_the_plan_asks_for_nothing() {
    let mut story = Story::default();
    story.want_only(&[(SET, "h0", "1"), (SCOPE, "h0", "2")]);
    story.snapshot(&[(SET, "h0", "1"), (SCOPE, "h0", "2")]);
    assert_eq!(story.diff(), []);
}

#[test]
fn one_write_per_row_is_under_way() {
    let mut story = Story::default();
    story.snapshot(&[]);
    story.want_only(&[(SET, "h0", "1")]);
    let first = story.diff();
    assert!(story.reconciler.is_under_way(&id(0, SET, "h0")));
    assert_eq!(story.diff(), [], "still under way");
    story.want_only(&[(SET, "h0", "2"), (SET, "h1", "1")]);
    assert_eq!(story.diff(), [set(0, SET, "h1", version("1"))], "other rows do not wait");
    story.report(first[0].clone(), true);
    assert!(!story.reconciler.is_under_way(&id(0, SET, "h0")));
    assert_eq!(story.diff(), [set(0, SET, "h0", version("2"))]);
}

#[test]
fn a_write_that_is_no_longer_wanted_is_undone_once_reported() {
    let mut story = Story::default();
    story.snapshot(&[]);
    story.want_only(&[(SET, "h0", "1")]);
    let first = story.diff();
    story.want_only(&[]);
    assert_eq!(story.diff(), []);
    story.report(first[0].clone(), true);
    assert_eq!(story.diff(), [del(0, SET, "h0")]);
    story.want_only(&[(SET, "h0", "1")]);
    assert_eq!(story.diff(), [], "the removal is under way");
    story.report(del(0, SET, "h0"), true);
    assert_eq!(story.diff(), [set(0, SET, "h0", version("1"))]);
}

#[test]
fn a_row_that_vanishes_or_changes_is_repaired() {
    let mut story = Story::default();
    story.want_only(&[(SET, "h0", "1"), (SET, "h1", "1")]);
    story.snapshot(&[(SET, "h0", "1"), (SET, "h1", "1")]);
    assert_eq!(story.diff(), []);
    story.snapshot(&[(SET, "h1", "7"), (SET, "h2", "1")]);
    let repairs = [del(0, SET, "h2"), set(0, SET, "h0", version("1")), set(0, SET, "h1", version("1"))];
    assert_eq!(story.diff(), repairs);
}

#[test]
fn a_field_too_many_is_repaired_too() {
    let mut story = Story::default();
    story.want_only(&[(SET, "h0", "1")]);
    let mut fields = version("1");
    fields.set("vip_v6", "fd00::1");
    story.update(StoreUpdate::Snapshot(vec![owned(SET, "h0", fields)]));
    assert_eq!(story.diff(), [set(0, SET, "h0", version("1"))]);
}

#[test]
fn a_refused_write_is_not_repeated_until_something_about_the_row_changes() {
    let refused = |plan: &[(Table, &str, &str)], held: &[(Table, &str, &str)]| {
        let mut story = Story::default();
        story.snapshot(held);
        story.want_only(plan);
        let write = story.diff().remove(0);
        story.report(write.clone(), false);
        assert_eq!(story.diff(), [], "refused");
        assert_eq!(story.diff(), [], "still refused");
        (story, write)
    };
    // Whatever a snapshot shows, the row is tried again.
    for (plan, held) in [(&[(SET, "h0", "1")][..], &[][..]), (&[], &[(SET, "h0", "1")])] {
        let (mut story, write) = refused(plan, held);
        story.snapshot(held);
        assert_eq!(story.diff(), [write]);
    }
    // Another content is another write.
    let (mut story, _) = refused(&[(SET, "h0", "1")], &[]);
    story.want_only(&[(SET, "h0", "2")]);
    let second = story.diff();
    assert_eq!(second, [set(0, SET, "h0", version("2"))]);
    story.report(second[0].clone(), true);
    story.want_only(&[(SET, "h0", "1")]);
    assert_eq!(story.diff(), [set(0, SET, "h0", version("1"))], "the row is not the one that refused it");
    // Wanted, not wanted, wanted again.
    let (mut story, write) = refused(&[(SET, "h0", "1")], &[]);
    story.want_only(&[]);
    assert_eq!(story.diff(), []);
    story.want_only(&[(SET, "h0", "1")]);
    assert_eq!(story.diff(), [write]);
    // A refused removal leaves the row to be changed.
    let (mut story, removal) = refused(&[], &[(SET, "h0", "1")]);
    story.want_only(&[(SET, "h0", "2")]);
    assert_eq!(story.diff(), [set(0, SET, "h0", version("2"))]);
    story.report(set(0, SET, "h0", version("2")), true);
    story.want_only(&[]);
    assert_eq!(story.diff(), [removal]);
}

#[test]
fn a_refused_write_leaves_what_is_confirmed() {
    let mut story = Story::default();
    story.snapshot(&[(SET, "h0", "1")]);
    story.want_only(&[(SET, "h0", "2")]);
    let write = story.diff().remove(0);
    story.report(write, false);
    assert_eq!(story.reconciler.fields(&id(0, SET, "h0")), Some(&version("1")));
    story.want_only(&[(SET, "h0", "1")]);
    assert_eq!(story.diff(), []);
}

#[test]
fn rows_go_highest_rank_first_and_come_lowest_first() {
    let mut story = Story::default();
    story.snapshot(&[
        (BFD, "a", "1"),
        (SET, "a", "1"),
        (SET, "b", "1"),
        (SCOPE, "a", "1"),
        (SCOPE, "b", "1"),
    ]);
    story.want_only(&[
        (SCOPE, "c", "1"),
        (SCOPE, "b", "2"),
        (SET, "c", "1"),
        (BFD, "c", "1"),
        (SET, "b", "1"),
    ]);
    let expected = [
        del(0, SCOPE, "a"),
        del(0, BFD, "a"),
        del(0, SET, "a"),
        set(0, SET, "c", version("1")),
        set(0, BFD, "c", version("1")),
        set(0, SCOPE, "b", version("2")),
        set(0, SCOPE, "c", version("1")),
    ];
    assert_eq!(story.diff(), expected);
}

#[test]
fn strangers_are_left_alone() {
    let mut story = Story::default();
    story.snapshot(&[(BFD, "ours", "1"), (BFD, "theirs", "2"), (BFD, "shared", "2")]);
    story.want_only(&[(BFD, "shared", "1")]);
    let theirs = |_: &RowId<u8>, fields: &Fields| fields.text("version") == Some("2");
    let writes = story.diff_keeping(theirs);
    assert_eq!(writes, [del(0, BFD, "ours"), set(0, BFD, "shared", version("1"))], "what is wanted is ours");
}

#[test]
fn a_lost_store_is_not_written_and_its_writes_are_forgotten() {
    let mut story = Story::default();
    story.snapshot(&[(SET, "old", "1")]);
    story.want_only(&[(SET, "h0", "1")]);
    assert_eq!(story.diff().len(), 2);
    story.update(StoreUpdate::Lost);
    assert!(!story.reconciler.is_ready(&0, DB));
    assert!(!story.reconciler.is_under_way(&id(0, SET, "h0")));
    assert_eq!(story.diff(), []);
    assert_eq!(
        story.reconciler.fields(&id(0, SET, "old")),
        Some(&version("1")),
        "last known, until read again"
    );
    story.snapshot(&[(SET, "h0", "1")]);
    assert_eq!(story.diff(), [], "both writes had reached the server");
    assert_eq!(story.reconciler.fields(&id(0, SET, "old")), None);
}

#[test]
fn losing_one_store_leaves_the_others() {
    let mut story = Story::default();
    story.snapshot(&[]);
    let elsewhere = |update| StoreEvent { place: 1, db: DB, update };
    story.reconciler.observe(elsewhere(StoreUpdate::Snapshot(vec![owned(SET, "h1", version("1"))])));
    story.plan.want_fields(id(0, SET, "h0"), version("1"));
    story.plan.want_fields(id(1, SET, "h1"), version("2"));
    assert_eq!(story.diff().len(), 2);
    story.update(StoreUpdate::Lost);
    assert!(story.reconciler.is_ready(&1, DB) && story.reconciler.is_under_way(&id(1, SET, "h1")));
    story.snapshot(&[]);
    assert_eq!(story.diff(), [set(0, SET, "h0", version("1"))]);
    assert_eq!(story.reconciler.fields(&id(1, SET, "h1")), Some(&version("1")));
}

#[test]
fn a_write_is_unconsumed_until_a_snapshot_says_otherwise() {
    let mut story = Story::default();
    let row = id(0, SCOPE, "h0");
    story.snapshot(&[]);
    assert!(!story.reconciler.is_consumed(&row), "there is no row");
    story.want_only(&[(SCOPE, "h0", "1")]);
    let write = story.diff().remove(0);
    story.report(write, true);
    assert!(!story.reconciler.is_consumed(&row));
    let pending = OwnedRow { consumed: false, ..owned(SCOPE, "h0", version("1")) };
    story.update(StoreUpdate::Snapshot(vec![pending]));
    assert!(!story.reconciler.is_consumed(&row));
    assert_eq!(story.diff(), [], "waiting is no difference");
    story.snapshot(&[(SCOPE, "h0", "1")]);
    assert!(story.reconciler.is_consumed(&row));
    story.want_only(&[(SCOPE, "h0", "2")]);
    let write = story.diff().remove(0);
    assert!(story.reconciler.is_consumed(&row), "the old form still is");
    story.report(write, true);
    assert!(!story.reconciler.is_consumed(&row));
}

#[test]
fn a_merge_keeps_the_fields_of_others() {
    let mut story = Story::default();
    story.update(StoreUpdate::Snapshot(vec![owned(
        SET,
        "h0",
        [("a", "1"), ("b", "1")].into_iter().collect(),
    )]));
    let merge = |key: &str| RowWrite {
        table: SET,
        key: key.to_owned(),
        op: Op::Merge([("b", "2"), ("c", "2")].into_iter().collect()),
    };
    for key in ["h0", "h1"] {
        story.update(StoreUpdate::Written { write: merge(key), done: true });
    }
    let merged: Fields = [("a", "1"), ("b", "2"), ("c", "2")].into_iter().collect();
    assert_eq!(story.reconciler.fields(&id(0, SET, "h0")), Some(&merged));
    let fresh: Fields = [("b", "2"), ("c", "2")].into_iter().collect();
    assert_eq!(story.reconciler.fields(&id(0, SET, "h1")), Some(&fresh));
}

#[test]
fn rows_are_read_back_typed() {
    let mut story = Story::default();
    let key = HaScopeId::new("h0").unwrap();
    let fields: Fields = [("ha_role", "standby")].into_iter().collect();
    let row = HaScope::from_fields("h0", &fields).unwrap();
    assert_eq!(row.ha_role, AsicHaRole::Standby);
    story.plan.want::<HaScope>(0, &key, &row);
    assert_eq!(story.plan.get(&id(0, SCOPE, "h0")), Some(&row.to_fields()));
    assert_eq!(story.plan.iter().count(), 1);
    story.snapshot(&[]);
    assert_eq!(story.reconciler.row::<HaScope>(0, &key), None);
    let write = story.diff().remove(0);
    story.report(write, true);
    assert_eq!(story.reconciler.row::<HaScope>(0, &key), Some(row));
    assert_eq!(story.reconciler.row::<HaScope>(1, &key), None, "another place");
    story.snapshot(&[(SCOPE, "h0", "1"), (SET, "h0", "1"), (SCOPE, "a", "1")]);
    assert_eq!(story.reconciler.row::<HaScope>(0, &key), None, "a row without a role cannot be understood");
    let keys: Vec<&str> = story.reconciler.rows_of(&0, SCOPE).map(|(row, _)| row.key.as_str()).collect();
    assert_eq!(keys, ["a", "h0"]);
    assert_eq!(story.reconciler.rows_of(&1, SCOPE).count(), 0);
}

#[test]
fn json_brings_the_reconciler_back() {
    let mut story = Story::default();
    story.snapshot(&[(SET, "h0", "1"), (SET, "h1", "1")]);
    story.want_only(&[(SET, "h0", "2"), (SET, "h1", "2"), (SCOPE, "h0", "1")]);
    let writes = story.diff();
    story.report(writes[0].clone(), false);
    story.report(writes[1].clone(), true);
    let json = serde_json::to_string(&story.reconciler).unwrap();
    let mut again = Story { reconciler: serde_json::from_str(&json).unwrap(), plan: story.plan.clone() };
    assert_eq!(again.reconciler, story.reconciler);
    assert!(again.reconciler.is_ready(&0, DB) && again.reconciler.is_under_way(&id(0, SCOPE, "h0")));
    assert_eq!(again.diff(), [], "refused and under way are remembered");
}
