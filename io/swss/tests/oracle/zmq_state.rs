//! `ZmqProducerStateTable` and `ZmqConsumerStateTable` (5): ours beside libzmq and an encoder of its own.

use std::collections::BTreeMap;

use reconcile::{Op, OwnedRow, RowWrite, StoreUpdate};
use schema::{Db, Fields, Table, Value};
use serde_json::{Value as Json, json};
use swss::{Endpoint, Reader, Store, Update, ZmqAddress, ZmqPeer};

use crate::oracle::Oracle;
use crate::support::*;

const TABLE: Table = Table::DashHaSet;
const DB: &str = "DPU_APPL_DB";
const NAME: &str = "DASH_HA_SET_TABLE";

fn oracle() -> Oracle {
    Oracle::start("zmq_state.py", &[])
}

fn write(key: &str, op: Op) -> RowWrite {
    RowWrite { table: TABLE, key: key.to_owned(), op }
}

fn store(endpoint: &Endpoint, port: &Json) -> Store {
    let port = u16::try_from(port.as_u64().unwrap()).unwrap();
    let address = ZmqAddress::Tcp { host: "127.0.0.1".to_owned(), port };
    let peer = ZmqPeer { address, device: None };
    Store::open_zmq(endpoint, &[TABLE], tokio::sync::watch::channel(Some(peer)).1)
}

/// Reads updates until the store holds just these rows, all consumed.
async fn until_consumed(store: &mut Store, rows: &[(&str, &Fields)]) {
    let wanted: Vec<OwnedRow> = rows
        .iter()
        .map(|(key, fields)| OwnedRow {
            table: TABLE,
            key: (*key).to_owned(),
            fields: (*fields).clone(),
            consumed: true,
        })
        .collect();
    until_snapshot(store, &wanted).await;
}

/// The golden vectors of 5.2 are what the oracle makes, so the oracle is right.
#[tokio::test]
async fn the_oracle_makes_the_golden_bytes() {
    let mut oracle = oracle();
    let pair0 = "0b000000000000004450555f4150504c5f4442110000000000000044415348\
                 5f48415f5345545f5441424c45";
    let key = "08000000000000006861736574305f30";
    let set = oracle
        .ask("golden", json!([DB, NAME, [["haset0_0", [["version", "1"], ["vip_v4", "3.2.1.0"]]]]]))
        .await;
    let golden = format!(
        "0400000000000000{pair0}{key}010000000000000032070000000000000076657273696f6e0100000000000000310600000000000000\
         7669705f76340700000000000000332e322e312e30"
    );
    assert_eq!(set, json!(golden));
    let del = oracle.ask("golden", json!([DB, NAME, [["haset0_0", []]]])).await;
    assert_eq!(del, json!(format!("0200000000000000{pair0}{key}010000000000000030")));
    let batch = json!([DB, NAME, [["a", [["f", "v"]]], ["b", []], ["c", [["", ""]]]]]);
    assert_eq!(oracle.ask("golden", batch).await.as_str().unwrap().len(), 2 * 140);
}

#[tokio::test]
async fn libzmq_takes_rows_and_deletions_and_a_restarted_one_gets_all_rows_again() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let mut peer = oracle();
    let port = peer.ask("pull", json!([0])).await;
    let mut store = store(&endpoint, &port);
    let binary: Fields = [("pb", Value::from(b"\x00\xff@:".to_vec())), ("", "".into())].into_iter().collect();
    let plain = fields(&[("version", "1")]);

    // One after the other, so that each is a message of its own.
    for (key, op, row) in [
        ("a", Op::Set(binary.clone()), json!(["a", "SET", {"": "", "pb": "\u{0}\u{ff}@:"}])),
        ("b", Op::Set(plain.clone()), json!(["b", "SET", {"version": "1"}])),
        ("b", Op::Del, json!(["b", "DEL", {}])),
        ("c", Op::Set(Fields::placeholder()), json!(["c", "SET", {"NULL": "NULL"}])),
    ] {
        store.write(vec![write(key, op)]);
        assert_eq!(peer.ask("next", json!([])).await, json!([DB, NAME, [row], true]));
    }
    until_consumed(&mut store, &[("a", &binary), ("c", &Fields::placeholder())]).await;

    // The consumer's process dies and comes back with nothing (5.6): it gets what the rows are, without deletions.
    drop(peer);
    loop {
        if let StoreUpdate::Snapshot(rows) = next_update(&mut store).await
            && rows.iter().all(|row| !row.consumed)
        {
            break;
        }
    }
    let mut peer = oracle();
    peer.ask("pull", json!([port])).await;
    let mut rows = BTreeMap::new();
    while rows.len() < 2 {
        let message = peer.ask("next", json!([])).await;
        assert_eq!((&message[0], &message[1], &message[3]), (&json!(DB), &json!(NAME), &json!(true)));
        for row in message[2].as_array().unwrap() {
            rows.insert(row[0].as_str().unwrap().to_owned(), row[2].clone());
        }
    }
    assert_eq!(rows["a"], json!({"": "", "pb": "\u{0}\u{ff}@:"}));
    assert_eq!(rows["c"], json!({"NULL": "NULL"}));
    until_consumed(&mut store, &[("a", &binary), ("c", &Fields::placeholder())]).await;
}

#[tokio::test]
async fn five_thousand_rows_arrive_in_batches_that_sonic_can_decode() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let mut peer = oracle();
    let port = peer.ask("pull", json!([0])).await;
    let store = store(&endpoint, &port);
    let row = fields(&[("version", "1"), ("vip_v4", "3.2.1.0")]);
    store.write((0..5000).map(|i| write(&format!("k{i}"), Op::Set(row.clone()))).collect());
    let mut keys = std::collections::BTreeSet::new();
    while keys.len() < 5000 {
        let message = peer.ask("next", json!([])).await;
        assert_eq!(message[3], json!(true), "byte for byte");
        for row in message[2].as_array().unwrap() {
            assert_eq!((&row[1], &row[2]["vip_v4"]), (&json!("SET"), &json!("3.2.1.0")));
            keys.insert(row[0].as_str().unwrap().to_owned());
        }
    }
}

async fn address(reader: &Reader) -> String {
    let listens = swss::testing::wait_until("it listens", PATIENCE, async || {
        reader.zmq().and_then(|stats| stats.address().map(ToString::to_string))
    });
    listens.await.unwrap()
}

#[tokio::test]
async fn we_take_what_libzmq_sends_and_a_broken_message_ends_nothing() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let anywhere = ZmqAddress::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
    let mut reader = Reader::serve_zmq(&anywhere, &endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    let mut peer = oracle();
    peer.ask("push", json!([address(&reader).await])).await;

    peer.ask("send", json!([DB, NAME, [["k", [["pb", "\u{0}\u{ff}@"], ["", ""]]]]])).await;
    let row: Fields = [("pb", Value::from(b"\x00\xff@".to_vec())), ("", "".into())].into_iter().collect();
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", Some(row))]);

    // 5.3: each of these aborts SONiC's consumer.
    let short = "\u{4}\0\0\0\0\0\0\0\u{b}\0\0\0\0\0\0\0DPU";
    for broken in ["", "garbage", "[\"json\"]", "\0\0\0\0\0\0\0\0", short] {
        peer.ask("send_bytes", json!([broken])).await;
    }
    peer.ask("send", json!([DB, "NO_SUCH_TABLE", [["k", [["f", "v"]]]]])).await;
    peer.ask("send", json!(["STATE_DB", NAME, [["k", [["f", "v"]]]]])).await;

    // A batch that mixes rows and deletions; whole rows replace.
    peer.ask("send", json!([DB, NAME, [["l", [["f", "1"]]], ["k", []], ["l", [["g", "2"]]]]])).await;
    let mut rows = BTreeMap::new();
    rows.insert("k".to_owned(), Fields::new());
    while rows != BTreeMap::from([("l".to_owned(), fields(&[("g", "2")]))]) {
        let Update::Changes(changes) = next(&mut reader).await else { panic!("only changes are expected") };
        for change in changes {
            match change.fields {
                Some(fields) => rows.insert(change.key, fields),
                None => rows.remove(&change.key),
            };
        }
    }
    let stats = reader.zmq().unwrap();
    assert_eq!((stats.refused(), stats.connections(), stats.producers()), (5, 1, 1));
    assert_eq!(stats.unknown(), 2);
}
