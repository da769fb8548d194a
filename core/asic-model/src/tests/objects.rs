//! The SAI side of the model.

use haorch::HaSetAttribute;

use super::*;

fn model() -> Pair {
    let mut pair = Pair::new();
    pair.boot(0, AsicHaRole::Active);
    pair
}

#[test]
fn a_set_with_a_scope_is_in_use() {
    let mut pair = model();
    let (set, scope) = (pair.sides[0].set.unwrap(), pair.sides[0].scope.unwrap());
    assert_eq!(pair.call(0, AsicOp::RemoveHaSet(set)), Err(SaiStatus::ObjectInUse));
    assert_eq!(pair.call(0, AsicOp::RemoveHaScope(scope)), Ok(None));
    assert_eq!(pair.call(0, AsicOp::RemoveHaSet(set)), Ok(None));
    assert_eq!(pair.call(0, AsicOp::RemoveHaSet(set)), Err(SaiStatus::ItemNotFound));
    assert_eq!(pair.sides[0].model.as_ref().unwrap().listens_at(), BTreeSet::new());
}

#[test]
fn what_cannot_be_is_refused() {
    let mut pair = model();
    let again = pair.call(0, AsicOp::CreateHaSet(attributes(0)));
    assert_eq!(again, Err(SaiStatus::ItemAlreadyExists));
    let own_peer = HaSetAttributes { peer_ip: address(0), ..attributes(0) };
    assert_eq!(pair.call(0, AsicOp::CreateHaSet(own_peer)), Err(SaiStatus::InvalidParameter));
    let mixed = HaSetAttributes { peer_ip: "::1".parse().unwrap(), ..attributes(0) };
    assert_eq!(pair.call(0, AsicOp::CreateHaSet(mixed)), Err(SaiStatus::InvalidParameter));
    let set = pair.sides[0].set.unwrap();
    let second = HaScopeAttributes {
        ha_set_id: set,
        dash_ha_role: AsicHaRole::Active,
        admin_state: None,
        vip_v4: None,
        vip_v6: None,
    };
    assert_eq!(pair.call(0, AsicOp::CreateHaScope(second.clone())), Err(SaiStatus::InsufficientResources));
    let nowhere = HaScopeAttributes { ha_set_id: Oid(999), ..second };
    assert_eq!(pair.call(0, AsicOp::CreateHaScope(nowhere)), Err(SaiStatus::InvalidParameter));
    let unknown = AsicOp::SetHaScope(Oid(999), HaScopeAttribute::AdminState(true));
    assert_eq!(pair.call(0, unknown), Err(SaiStatus::ItemNotFound));
    // Nothing is pending.
    assert_eq!(pair.set(0, HaScopeAttribute::ActivateRole), Err(SaiStatus::InvalidParameter));
}

#[test]
fn the_table_of_ha_sets_has_an_end() {
    let mut pair = model();
    for n in 1..crate::HA_SETS_MAX {
        let more = HaSetAttributes { cp_data_channel_port: u16::try_from(n).unwrap(), ..attributes(0) };
        pair.call(0, AsicOp::CreateHaSet(more)).unwrap();
    }
    let one_more = HaSetAttributes { cp_data_channel_port: 9_999, ..attributes(0) };
    assert_eq!(pair.call(0, AsicOp::CreateHaSet(one_more)), Err(SaiStatus::TableFull));
}

#[test]
fn a_set_without_a_port_listens_at_the_usual_one() {
    let mut pair = Pair::new();
    pair.sides[0].model = Some(AsicModel::new(1, ModelConfig::default()));
    pair.call(0, AsicOp::CreateHaSet(HaSetAttributes { cp_data_channel_port: 0, ..attributes(0) })).unwrap();
    let listens = pair.sides[0].model.as_ref().unwrap().listens_at();
    assert_eq!(listens, BTreeSet::from([SocketAddr::new(address(0), crate::CP_DATA_CHANNEL_PORT_DEFAULT)]));
}

#[test]
fn strangers_and_noise_are_counted_and_ignored() {
    let mut pair = Pair::settled();
    let local = SocketAddr::new(address(0), PORT);
    let from = SocketAddr::new(address(1), PORT);
    let stranger = SocketAddr::new("10.0.0.9".parse().unwrap(), PORT);
    let model = pair.sides[1].model.as_ref().unwrap();
    let mut replay = Vec::new();
    model.clone().handle(pair.now.after_ms(100), Batch { wall: WallMs(0), inputs: vec![] }, &mut replay);
    let Some(Effect::Send { bytes, .. }) = replay.first().cloned() else { panic!("no heartbeat") };
    pair.handle(0, vec![Input::Datagram { local, from, bytes: vec![0; 4096] }]);
    pair.handle(0, vec![Input::Datagram { local, from: stranger, bytes: bytes.clone() }]);
    pair.handle(0, vec![Input::Datagram { local, from, bytes: bytes.clone() }]);
    pair.handle(0, vec![Input::Datagram { local, from, bytes }]);
    let ignored = pair.sides[0].model.as_ref().unwrap().ignored();
    assert_eq!((ignored.bad, ignored.strangers), (1, 1));
    assert!(ignored.stale >= 1);
    assert_eq!(pair.states(), [AsicHaState::Active, AsicHaState::Standby]);
}

#[test]
fn a_datagram_of_an_earlier_life_is_ignored() {
    let mut pair = Pair::settled();
    let (local, from) = (SocketAddr::new(address(0), PORT), SocketAddr::new(address(1), PORT));
    let mut late = Vec::new();
    let mut earlier = pair.sides[1].model.clone().unwrap();
    earlier.handle(pair.now.after_ms(100), Batch { wall: WallMs(0), inputs: vec![] }, &mut late);
    let Some(Effect::Send { bytes, .. }) = late.pop() else { panic!("no heartbeat") };
    pair.kill(1);
    pair.boot(1, AsicHaRole::Standby);
    pair.run_ms(2_000);
    pair.sides[0].events.clear();
    pair.handle(0, vec![Input::Datagram { local, from, bytes }]);
    assert_eq!(pair.sides[0].model.as_ref().unwrap().ignored().stale, 1);
    assert_eq!(pair.sides[0].events, []);
}

#[test]
fn a_changed_peer_address_is_another_peer() {
    let mut pair = Pair::settled();
    let set = pair.sides[0].set.unwrap();
    let elsewhere = HaSetAttribute::PeerIp("10.0.0.9".parse().unwrap());
    pair.call(0, AsicOp::SetHaSet(set, elsewhere)).unwrap();
    pair.run_ms(1_000);
    assert_eq!(pair.states(), [AsicHaState::Standalone, AsicHaState::Standalone]);
    // Back again: both decide, so it is a split brain, and not a silence.
    pair.call(0, AsicOp::SetHaSet(set, HaSetAttribute::PeerIp(address(1)))).unwrap();
    pair.run_ms(1_000);
    assert_eq!(pair.count(0, HaScopeEventKind::SplitBrainDetected), 1);
}

#[test]
fn the_state_of_a_model_survives_json() {
    let pair = Pair::settled();
    let model = pair.sides[0].model.as_ref().unwrap();
    let json = serde_json::to_string(model).unwrap();
    assert_eq!(&serde_json::from_str::<AsicModel>(&json).unwrap(), model);
}
