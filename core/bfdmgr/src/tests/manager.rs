//! Sessions wanted, peers that are up, and the rows that say so.

use std::collections::BTreeSet;

use reconcile::{Batch, Core, Op, OwnedRow, RowWrite, StoreEvent, StoreUpdate, Time, Write};
use schema::{Db, Fields, Table, WallMs};

use super::*;

const NOON: WallMs = WallMs(1_717_502_400_000);

struct Scene {
    core: BfdMgr,
    wall: WallMs,
}

impl Scene {
    /// Both databases are read, and empty.
    fn started() -> Self {
        let mut scene = Self { core: BfdMgr::new(Backend::Lite), wall: NOON };
        for (place, db) in [(Place::Local, Db::StateDb), (Place::Remote, Db::DpuStateDb)] {
            assert_eq!(scene.snapshot(place, db, vec![]), [], "nothing is known yet");
        }
        scene
    }

    fn input(&mut self, inputs: Vec<Input>) -> Vec<Effect> {
        let mut out = Vec::new();
        self.core.handle(Time(0), Batch { wall: self.wall, inputs }, &mut out);
        out
    }

    fn snapshot(&mut self, place: Place, db: Db, rows: Vec<OwnedRow>) -> Vec<Effect> {
        self.input(vec![Input::Store(StoreEvent { place, db, update: StoreUpdate::Snapshot(rows) })])
    }

    /// The writes are carried out.
    fn confirm(&mut self, effects: &[Effect]) {
        for Write { place, write } in writes(effects) {
            let db = write.table.db();
            let update = StoreUpdate::Written { write, done: true };
            let next = self.input(vec![Input::Store(StoreEvent { place, db, update })]);
            assert_eq!(next, [], "one write is enough");
        }
    }
}

fn writes(effects: &[Effect]) -> Vec<Write<Place>> {
    let write = |effect: &Effect| match effect {
        Effect::Write(write) => Some(write.clone()),
        Effect::Want(_) | Effect::Open(_) | Effect::Note(_) => None,
    };
    effects.iter().filter_map(write).collect()
}

fn wanted(effects: &[Effect]) -> Option<usize> {
    effects.iter().find_map(|effect| match effect {
        Effect::Want(sessions) => Some(sessions.len()),
        Effect::Open(_) | Effect::Write(_) | Effect::Note(_) => None,
    })
}

fn up(peer: &str) -> Peer {
    Peer { key: key(peer), is_up: true, is_open: true }
}

/// The fields written to the row on the NPU.
fn remote(effects: &[Effect]) -> Option<Fields> {
    writes(effects).into_iter().find_map(|Write { place, write: RowWrite { table, key, op } }| match op {
        Op::Set(fields) if place == Place::Remote => {
            assert_eq!((table, key.as_str()), (Table::DashBfdProbeState, "dash_ha"));
            Some(fields)
        }
        Op::Set(_) | Op::Merge(_) | Op::Del => None,
    })
}

#[test]
fn nothing_is_wanted_before_the_table_was_read_and_then_all_of_it_at_once() {
    let mut scene = Scene::started();
    let rows = ["10.1.0.32", "10.1.0.33"].map(|peer| Input::Session(key(peer), Some(row())));
    assert_eq!(scene.input(rows.to_vec()), []);
    assert_eq!(wanted(&scene.input(vec![Input::Synced])), Some(2));
    assert_eq!(scene.input(rows.to_vec()), [], "the same rows again");
    assert_eq!(wanted(&scene.input(vec![Input::Session(key("10.1.0.33"), None)])), Some(1));
    // A row that cannot be understood leaves the session as it is; one that makes none takes it away, and is told once.
    assert_eq!(scene.input(vec![Input::Refused(key("10.1.0.32"))]), []);
    let bad = BfdSoftwareSession { multiplier: Some(0), ..row() };
    let effects = scene.input(vec![Input::Session(key("10.1.0.32"), Some(bad.clone()))]);
    let noted = effects.iter().filter(|effect| matches!(effect, Effect::Note(Note::Unusable { .. }))).count();
    assert_eq!((wanted(&effects), noted), (Some(0), 1));
    assert_eq!(scene.input(vec![Input::Session(key("10.1.0.32"), Some(bad))]), []);
}

#[test]
fn the_rows_follow_the_peers_that_are_up_and_each_family_has_its_own_time() {
    let mut scene = Scene::started();
    let effects = scene.input(vec![Input::Backend(vec![])]);
    let first = remote(&effects).expect("the first word of the backend");
    assert_eq!(first.text("v4_bfd_up_sessions"), Some(""));
    assert_eq!(first.text("v4_bfd_up_sessions_timestamp"), None);
    scene.confirm(&effects);

    let peers = vec![up("10.1.0.32"), up("10.1.0.33")];
    let effects = scene.input(vec![Input::Backend(peers.clone())]);
    let fields = remote(&effects).unwrap();
    assert_eq!(fields.text("v4_bfd_up_sessions"), Some(r#""10.1.0.32", "10.1.0.33""#));
    assert_eq!(fields.text("v4_bfd_up_sessions_timestamp"), Some(r#""Tue Jun 04 12:00:00 PM UTC 2024""#));
    assert_eq!(fields.text("v6_bfd_up_sessions_timestamp"), None);
    let local = writes(&effects).into_iter().find(|write| write.place == Place::Local).unwrap();
    assert_eq!(
        (local.write.table.redis_key(&local.write.key).as_str(), local.write.op),
        ("DPU_BFD_PROBE_STATE", Op::Set(fields))
    );
    scene.confirm(&effects);
    assert_eq!(scene.input(vec![Input::Backend(peers.clone())]), [], "nothing changed, nothing is written");

    scene.wall = WallMs(NOON.0 + 61_000);
    let effects = scene.input(vec![Input::Backend([peers, vec![up("fd00::32")]].concat())]);
    let fields = remote(&effects).unwrap();
    assert_eq!(fields.text("v4_bfd_up_sessions_timestamp"), Some(r#""Tue Jun 04 12:00:00 PM UTC 2024""#));
    assert_eq!(fields.text("v6_bfd_up_sessions_timestamp"), Some(r#""Tue Jun 04 12:01:01 PM UTC 2024""#));
}

#[test]
fn a_flush_of_the_npus_database_is_repaired() {
    let mut scene = Scene::started();
    let effects = scene.input(vec![Input::Backend(vec![up("10.1.0.32")])]);
    scene.confirm(&effects);
    let again = scene.snapshot(Place::Remote, Db::DpuStateDb, vec![]);
    assert_eq!(remote(&again), remote(&effects));
}

#[test]
fn the_list_of_an_earlier_process_is_corrected_and_its_time_kept_if_it_is_still_true() {
    for (left, kept) in [(r#""10.1.0.32""#, true), (r#""10.1.0.32", "10.1.0.33""#, false)] {
        let mut scene = Scene { core: BfdMgr::new(Backend::Frr), wall: NOON };
        let since = r#""Sat Jan 01 12:00:00 AM UTC 2000""#;
        let pairs = [
            ("v4_bfd_up_sessions", left),
            ("v4_bfd_up_sessions_timestamp", since),
            ("v6_bfd_up_sessions", ""),
        ];
        let fields: Fields =
            pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let row =
            OwnedRow { table: Table::DashBfdProbeState, key: "dash_ha".to_owned(), fields, consumed: true };
        assert_eq!(
            scene.snapshot(Place::Remote, Db::DpuStateDb, vec![row]),
            [],
            "left alone until bfdd spoke"
        );
        let effects = scene.input(vec![Input::Backend(vec![up("10.1.0.32")])]);
        match remote(&effects) {
            None => assert!(kept),
            Some(fields) => {
                assert!(!kept);
                assert_eq!(fields.text("v4_bfd_up_sessions"), Some(r#""10.1.0.32""#));
                assert_ne!(fields.text("v4_bfd_up_sessions_timestamp"), Some(since));
            }
        }
    }
}

/// What `core/haorch` is told.
fn opened(effects: &[Effect]) -> Option<BTreeSet<BfdKey>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Open(open) => Some(open.clone()),
        Effect::Want(_) | Effect::Write(_) | Effect::Note(_) => None,
    })
}

#[test]
fn the_agent_is_told_what_is_open_and_only_when_that_changes() {
    let mut scene = Scene::started();
    let leaving = Peer { is_up: false, ..up("10.1.0.32") };
    assert_eq!(opened(&scene.input(vec![Input::Backend(vec![])])), Some(BTreeSet::new()));
    assert_eq!(
        opened(&scene.input(vec![Input::Backend(vec![up("10.1.0.32")])])),
        Some([key("10.1.0.32")].into())
    );
    assert_eq!(opened(&scene.input(vec![Input::Backend(vec![leaving])])), None, "it has not gone yet");
    assert_eq!(opened(&scene.input(vec![Input::Backend(vec![])])), Some(BTreeSet::new()));
}

#[test]
fn a_session_is_open_from_when_it_is_asked_for_until_the_backend_no_longer_has_it() {
    let mut scene = Scene::started();
    let npu = BTreeSet::from([key("10.1.0.32")]);
    scene.input(vec![Input::Synced, Input::Backend(vec![])]);
    let asked = scene.input(vec![Input::Session(key("10.1.0.32"), Some(row()))]);
    assert_eq!(opened(&asked), Some(npu), "it may be up before the backend says so");
    assert_eq!(opened(&scene.input(vec![Input::Backend(vec![up("10.1.0.32")])])), None);
    assert_eq!(
        opened(&scene.input(vec![Input::Backend(vec![])])),
        None,
        "down for a moment, and still wanted"
    );
    let withdrawn = scene.input(vec![Input::Session(key("10.1.0.32"), None)]);
    assert_eq!((wanted(&withdrawn), opened(&withdrawn)), (Some(0), None), "the backend has not answered");
    assert_eq!(opened(&scene.input(vec![Input::Backend(vec![])])), Some(BTreeSet::new()));
    // One that is held down draws nothing.
    let held = BfdSoftwareSession { shutdown: true, ..row() };
    let effects = scene.input(vec![Input::Session(key("10.1.0.32"), Some(held))]);
    assert_eq!((wanted(&effects), opened(&effects)), (Some(1), None));
}
