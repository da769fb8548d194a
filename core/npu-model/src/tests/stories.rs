//! Stories of one NPU.

use reconcile::{StoreEvent, StoreUpdate};
use schema::BfdState::{Down, Up};
use schema::{Db, Table};

use super::{Npu, VIP, ip, key, row};
use crate::{Effect, Here, Input, NextHopRule, Note, NpuModel};

const PREFIX: &str = "10.3.0.1/32";
const P: &str = "18.0.202.1";
const S: &str = "18.1.202.1";

fn up() -> Npu {
    let mut npu = Npu::new(NextHopRule::Design);
    npu.route(VIP, row(&[P, S], &[P]));
    npu.bfd(P, Up);
    npu.bfd(S, Up);
    npu
}

#[test]
fn nothing_is_done_before_all_rows_are_read() {
    let mut npu = up();
    // Another process takes over: it must not begin by tearing down what the last one left.
    npu.model = NpuModel::new(crate::NpuConfig::default());
    let (rows, writes) = (npu.state_db.clone(), npu.writes);
    npu.give([npu.snapshot(), Input::Route(key(VIP), Some(row(&[P, S], &[P])))]);
    assert_eq!((npu.writes, &npu.state_db), (writes, &rows));
}

#[test]
fn a_restarted_npu_starts_its_sessions_down_and_removes_what_is_stale() {
    let mut npu = up();
    npu.route("10.3.0.2", row(&[P], &[]));
    let old = npu.state_db.clone();
    npu = Npu::new(NextHopRule::Design);
    npu.state_db = old;
    npu.give([npu.snapshot()]);
    assert!(npu.state_db.is_empty(), "no route is configured: {:?}", npu.state_db);
    npu.route(VIP, row(&[P, S], &[P]));
    assert_eq!(npu.session_row(P).unwrap().state, Some(Down));
    assert_eq!(npu.route_state("10.3.0.2/32"), None);
}

#[test]
fn a_stranger_s_edit_or_a_flush_is_repaired() {
    let mut npu = up();
    let rows = npu.state_db.clone();
    npu.state_db.clear();
    npu.give([npu.snapshot()]);
    assert_eq!(npu.state_db, rows);
    let id = (Table::VnetRouteTunnelState, format!("Vnet_55|{PREFIX}"));
    npu.state_db.get_mut(&id).unwrap().set("state", "inactive");
    npu.give([npu.snapshot()]);
    assert_eq!(npu.state_db, rows);
}

#[test]
fn a_lost_database_is_written_once_it_is_back() {
    let mut npu = up();
    npu.give([Input::Store(StoreEvent { place: Here, db: Db::StateDb, update: StoreUpdate::Lost })]);
    let writes = npu.writes;
    npu.bfd(P, Down);
    assert_eq!(npu.writes, writes);
    assert_eq!(npu.next_hops(PREFIX), [S], "forwarding does not wait for a database");
    npu.give([npu.snapshot()]);
    assert_eq!(npu.session_row(P).unwrap().state, Some(Down));
}

#[test]
fn traffic_moves_before_anything_is_written() {
    let mut npu = up();
    let mut effects = Vec::new();
    let down = Input::Bfd { peer: ip(P), state: Some(Down), discriminator: None };
    let batch = reconcile::Batch { wall: schema::WallMs(0), inputs: vec![down] };
    reconcile::Core::handle(&mut npu.model, reconcile::Time(0), batch, &mut effects);
    let forward = effects.iter().position(|effect| matches!(effect, Effect::Forward(_)));
    let write = effects.iter().position(|effect| matches!(effect, Effect::Write(_)));
    assert!(forward.unwrap() < write.unwrap(), "{effects:?}");
}

#[test]
fn a_session_that_is_not_wanted_says_nothing_that_counts() {
    let mut npu = up();
    npu.give([Input::Route(key(VIP), None)]);
    npu.notes.clear();
    npu.bfd(P, Up);
    assert!(npu.notes.is_empty() && npu.state_db.is_empty());
    npu.route(VIP, row(&[P, S], &[P]));
    assert_eq!(npu.session_row(P).unwrap().state, Some(Down), "a new session");
}

#[test]
fn a_session_that_is_gone_is_down() {
    let mut npu = up();
    npu.give([Input::Bfd { peer: ip(P), state: None, discriminator: None }]);
    assert_eq!(npu.session_row(P).unwrap().state, Some(Down));
    assert_eq!(npu.next_hops(PREFIX), [S]);
    assert!(npu.notes.contains(&Note::Bfd { peer: ip(P), from: Up, to: Down }));
}
