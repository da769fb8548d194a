//! `ProducerStateTable` and `ConsumerStateTable` (3): theirs to ours, ours to theirs, and what goes over the wire.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{Op, RowWrite};
use schema::{Db, Fields, Table, Value};
use serde_json::{Value as Json, json};
use swss::{Connection, Mode, Reader, Store};

use crate::oracle::Oracle;
use crate::support::*;

const TABLE: Table = Table::DashHaSet;
const NAME: &str = "DASH_HA_SET_TABLE";

fn set(key: &str, pairs: &[(&str, &str)]) -> RowWrite {
    RowWrite { table: TABLE, key: key.to_owned(), op: Op::Set(fields(pairs)) }
}

fn merge(key: &str, pairs: &[(&str, &str)]) -> RowWrite {
    RowWrite { table: TABLE, key: key.to_owned(), op: Op::Merge(fields(pairs)) }
}

fn del(key: &str) -> RowWrite {
    RowWrite { table: TABLE, key: key.to_owned(), op: Op::Del }
}

/// Writes, and waits until all are reported as done.
async fn write(store: &mut Store, writes: Vec<RowWrite>) {
    let mut open = writes.len();
    store.write(writes);
    while open > 0 {
        if let reconcile::StoreUpdate::Written { write, done } = next_update(store).await {
            assert!(done, "{write:?}");
            open -= 1;
        }
    }
}

/// 3.5, their producer and their consumer: the oracle is what the reference says it is.
#[tokio::test]
async fn the_oracle_itself_follows_the_truth_table() {
    let server = server().await;
    let mut oracle = Oracle::bus(&server.endpoint(Db::DpuApplDb));
    let cases = [
        (
            json!([["set", [["a", "1"], ["b", "1"]]], ["set", [["b", "2"], ["c", "2"]]]]),
            json!({}),
            json!([["k", "SET", {"a": "1", "b": "2", "c": "2"}]]),
            json!({"a": "1", "b": "2", "c": "2"}),
        ),
        (
            json!([["set", [["d", "4"]]]]),
            json!({"a": "1"}),
            json!([["k", "SET", {"d": "4"}]]),
            json!({"a": "1", "d": "4"}),
        ),
        (
            json!([["del"], ["set", [["z", "9"]]]]),
            json!({"a": "1"}),
            json!([["k", "SET", {"z": "9"}]]),
            json!({"z": "9"}),
        ),
        (json!([["set", [["b", "2"]]], ["del"]]), json!({"a": "1"}), json!([["k", "DEL", {}]]), json!({})),
        (json!([["set", []]]), json!({"a": "1"}), json!([["k", "DEL", {}]]), json!({"a": "1"})),
    ];
    for (operations, before, pops, after) in cases {
        oracle.ask("command", json!([["FLUSHDB"]])).await;
        let before: Vec<_> = before.as_object().unwrap().iter().map(|(f, v)| json!([f, v])).collect();
        oracle.ask("table_set", json!([NAME, "k", before])).await;
        for operation in operations.as_array().unwrap() {
            match operation[0].as_str().unwrap() {
                "set" => oracle.ask("producer_set", json!([NAME, "k", operation[1]])).await,
                _ => oracle.ask("producer_del", json!([NAME, "k"])).await,
            };
        }
        assert_eq!(oracle.ask("consumer_pops", json!([NAME])).await, pops, "{operations}");
        assert_eq!(oracle.ask("table_get", json!([NAME, "k"])).await, after, "{operations}");
    }
}

/// 3.5, their producer and our consumer, which tells the whole row where SONiC's tells what changed of it.
#[tokio::test]
async fn our_consumer_takes_what_their_producer_writes() {
    let cases = [
        (
            "set + set",
            json!([["set", [["a", "1"], ["b", "1"]]], ["set", [["b", "2"], ["c", "2"]]]]),
            &[][..],
            Some(fields(&[("a", "1"), ("b", "2"), ("c", "2")])),
        ),
        (
            "set of a row that is there",
            json!([["set", [["d", "4"]]]]),
            &[("a", "1")],
            Some(fields(&[("a", "1"), ("d", "4")])),
        ),
        ("del + set", json!([["del"], ["set", [["z", "9"]]]]), &[("a", "1")], Some(fields(&[("z", "9")]))),
        ("set + del", json!([["set", [["b", "2"]]], ["del"]]), &[("a", "1")], None),
        // SONiC tells DEL here, though the row stays.
        ("set of nothing", json!([["set", []]]), &[("a", "1")], Some(fields(&[("a", "1")]))),
    ];
    for (name, operations, before, expected) in cases {
        let server = server().await;
        let endpoint = server.endpoint(Db::DpuApplDb);
        let mut oracle = Oracle::bus(&endpoint);
        let before: Vec<_> = before.iter().map(|(f, v)| json!([f, v])).collect();
        oracle.ask("table_set", json!([NAME, "k", before])).await;
        // Written while nobody consumes, so that all of it is taken at once.
        for operation in operations.as_array().unwrap() {
            match operation[0].as_str().unwrap() {
                "set" => oracle.ask("producer_set", json!([NAME, "k", operation[1]])).await,
                _ => oracle.ask("producer_del", json!([NAME, "k"])).await,
            };
        }
        let mut reader = Reader::consume(&endpoint, &[TABLE]);
        let changes = until_synced(&mut reader).await;
        let expected_changes: Vec<_> =
            expected.iter().map(|row| change(TABLE, "k", Some(row.clone()))).collect();
        assert_eq!(changes, expected_changes, "{name}");
        // And once more while it is consumed.
        oracle.ask("producer_set", json!([NAME, "k", [["a", "\u{0}\u{ff}@x"]]])).await;
        let mut row = expected.unwrap_or_default();
        row.set("a", Value::from(b"\x00\xff@x".to_vec()));
        assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", Some(row))], "{name}");
        oracle.ask("producer_del", json!([NAME, "k"])).await;
        assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", None)], "{name}");
        assert_eq!(oracle.ask("command", json!([["KEYS", "*"]])).await, json!([]), "{name}: nothing is left");
    }
}

/// 3.5, our producer and their consumer.
#[tokio::test]
async fn their_consumer_takes_what_our_producer_writes() {
    let row = json!({"a": "1"});
    let cases = [
        (
            "set",
            vec![set("k", &[("a", "1"), ("b", "1")])],
            json!({}),
            json!([["k", "SET", {"a": "1", "b": "1"}]]),
            json!({"a": "1", "b": "1"}),
        ),
        (
            "set + merge",
            vec![set("k", &[("a", "1"), ("b", "1")]), merge("k", &[("b", "2"), ("c", "2")])],
            json!({}),
            json!([["k", "SET", {"a": "1", "b": "2", "c": "2"}]]),
            json!({"a": "1", "b": "2", "c": "2"}),
        ),
        (
            "merge into a row that is there",
            vec![merge("k", &[("d", "4")])],
            row.clone(),
            json!([["k", "SET", {"d": "4"}]]),
            json!({"a": "1", "d": "4"}),
        ),
        (
            "set that drops a field: one SET, no DEL",
            vec![set("k", &[("z", "9")])],
            row.clone(),
            json!([["k", "SET", {"z": "9"}]]),
            json!({"z": "9"}),
        ),
        (
            "set that only adds",
            vec![set("k", &[("a", "1"), ("b", "2")])],
            row.clone(),
            json!([["k", "SET", {"a": "1", "b": "2"}]]),
            json!({"a": "1", "b": "2"}),
        ),
        (
            "del + set",
            vec![del("k"), set("k", &[("z", "9")])],
            row.clone(),
            json!([["k", "SET", {"z": "9"}]]),
            json!({"z": "9"}),
        ),
        (
            "set + del",
            vec![set("k", &[("b", "2")]), del("k")],
            row.clone(),
            json!([["k", "DEL", {}]]),
            json!({}),
        ),
        ("del", vec![del("k")], row.clone(), json!([["k", "DEL", {}]]), json!({})),
        (
            "no attributes",
            vec![RowWrite { table: TABLE, key: "k".into(), op: Op::Set(Fields::placeholder()) }],
            json!({}),
            json!([["k", "SET", {"NULL": "NULL"}]]),
            json!({"NULL": "NULL"}),
        ),
    ];
    for (name, writes, before, pops, after) in cases {
        let server = server().await;
        let endpoint = server.endpoint(Db::DpuApplDb);
        let mut oracle = Oracle::bus(&endpoint);
        let before: Vec<_> = before.as_object().unwrap().iter().map(|(f, v)| json!([f, v])).collect();
        oracle.ask("table_set", json!([NAME, "k", before])).await;
        oracle.ask("consume", json!([NAME])).await;
        let mut store = Store::open(&endpoint, &[(TABLE, Mode::ProducerState)]);
        write(&mut store, writes).await;
        assert_eq!(oracle.ask("wakes", json!([NAME])).await, json!(1), "{name}: woken once");
        assert_eq!(oracle.ask("consumer_pops", json!([NAME])).await, pops, "{name}");
        assert_eq!(oracle.ask("consumer_pops", json!([NAME])).await, json!([]), "{name}");
        assert_eq!(oracle.ask("table_get", json!([NAME, "k"])).await, after, "{name}");
    }
}

/// 3.5, the under-wake hazard: one message for many keys.
#[tokio::test]
async fn a_batch_of_300_keys_passes_both_ways() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let mut oracle = Oracle::bus(&endpoint);
    oracle.ask("consume", json!([NAME])).await;
    let keys: BTreeSet<String> = (0..300).map(|i| format!("k{i}")).collect();

    let mut reader = Reader::consume(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    let rows: Vec<_> = keys.iter().map(|key| json!([key, [["f", key]]])).collect();
    oracle.ask("producer_set_batch", json!([NAME, rows])).await;
    assert_eq!(oracle.ask("wakes", json!([NAME])).await, json!(1));
    let mut belief = Belief::default();
    belief.follow_until(&mut reader, |belief| belief.rows.len() == 300).await;
    oracle.ask("producer_del_batch", json!([NAME, keys])).await;
    assert_eq!(oracle.ask("wakes", json!([NAME])).await, json!(1));
    belief.follow_until(&mut reader, |belief| belief.rows.is_empty()).await;
    drop(reader);

    let mut store = Store::open(&endpoint, &[(TABLE, Mode::ProducerState)]);
    write(&mut store, keys.iter().map(|key| set(key, &[("f", key)])).collect()).await;
    let mut taken = BTreeMap::new();
    let mut sizes = Vec::new();
    loop {
        let pops = oracle.ask("consumer_pops", json!([NAME])).await;
        let pops = pops.as_array().unwrap();
        if pops.is_empty() {
            break;
        }
        sizes.push(pops.len());
        taken.extend(pops.iter().map(|pop| (pop[0].as_str().unwrap().to_owned(), pop[2]["f"].clone())));
    }
    assert_eq!(sizes, [128, 128, 44]);
    assert!(keys.iter().all(|key| taken.get(key) == Some(&json!(key))), "{taken:?}");
}

/// The commands that change something, as MONITOR shows them.
async fn traced(oracle: &mut Oracle) -> Vec<String> {
    let commands = oracle.ask("traced", json!([])).await;
    let commands = commands.as_array().unwrap().iter().map(|command| {
        let words: Vec<&str> =
            command.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        words.join(" ")
    });
    let changes = ["SADD", "HSET", "HDEL", "DEL", "PUBLISH", "SPOP", "SREM"];
    let is_change = |command: &String| {
        let mut words = command.split(' ');
        words.next() == Some("lua") && words.next().is_some_and(|word| changes.contains(&word))
    };
    commands.filter(is_change).map(|command| command["lua ".len()..].to_owned()).collect()
}

/// 3.2: the golden trace. Ours sends the fields of a row in one `HSET`, which 3.5 allows; the set and the message are
/// theirs word by word, and a second set before the pop publishes nothing.
#[tokio::test]
async fn the_trace_of_our_producer_is_the_golden_one() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let mut oracle = Oracle::bus(&endpoint);
    oracle.ask("monitor", json!([])).await;

    oracle.ask("producer_set", json!([NAME, "k1", [["a", "1"], ["b", "2"]]])).await;
    let golden = [
        "SADD DASH_HA_SET_TABLE_KEY_SET k1",
        "HSET _DASH_HA_SET_TABLE:k1 a 1",
        "HSET _DASH_HA_SET_TABLE:k1 b 2",
        "PUBLISH DASH_HA_SET_TABLE_CHANNEL@15 G",
    ];
    assert_eq!(traced(&mut oracle).await, golden);
    oracle.ask("producer_set", json!([NAME, "k1", [["a", "3"]]])).await;
    assert_eq!(
        traced(&mut oracle).await,
        ["SADD DASH_HA_SET_TABLE_KEY_SET k1", "HSET _DASH_HA_SET_TABLE:k1 a 3"]
    );
    oracle.ask("command", json!([["FLUSHDB"]])).await;

    let mut store = Store::open(&endpoint, &[(TABLE, Mode::ProducerState)]);
    until_snapshot(&mut store, &[]).await;
    traced(&mut oracle).await;
    write(&mut store, vec![set("k1", &[("a", "1"), ("b", "2")])]).await;
    let ours = [
        "SADD DASH_HA_SET_TABLE_KEY_SET k1",
        "DEL _DASH_HA_SET_TABLE:k1",
        "HSET _DASH_HA_SET_TABLE:k1 a 1 b 2",
        "PUBLISH DASH_HA_SET_TABLE_CHANNEL@15 G",
    ];
    assert_eq!(traced(&mut oracle).await, ours);
    write(&mut store, vec![merge("k1", &[("a", "3")])]).await;
    assert_eq!(
        traced(&mut oracle).await,
        ["SADD DASH_HA_SET_TABLE_KEY_SET k1", "HSET _DASH_HA_SET_TABLE:k1 a 3"]
    );
    oracle.ask("consumer_pops", json!([NAME])).await;
    traced(&mut oracle).await;
    write(&mut store, vec![del("k1")]).await;
    let ours = [
        "SADD DASH_HA_SET_TABLE_KEY_SET k1",
        "SADD DASH_HA_SET_TABLE_DEL_SET k1",
        "DEL _DASH_HA_SET_TABLE:k1",
        // Ours alone: a row that is deleted is gone at once.
        "DEL DASH_HA_SET_TABLE:k1",
        "PUBLISH DASH_HA_SET_TABLE_CHANNEL@15 G",
    ];
    assert_eq!(traced(&mut oracle).await, ours);
}

/// 3.5: what our consumer leaves in the database is what theirs leaves.
#[tokio::test]
async fn the_trace_of_our_consumer_has_their_effects() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let mut oracle = Oracle::bus(&endpoint);
    let mut reader = Reader::consume(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    oracle.ask("table_set", json!([NAME, "k", [["old", "1"]]])).await;
    oracle.ask("monitor", json!([])).await;
    oracle.ask("producer_del", json!([NAME, "k"])).await;
    next_changes(&mut reader).await;
    oracle.ask("producer_set", json!([NAME, "k", [["a", "1"]]])).await;
    next_changes(&mut reader).await;
    let pop = |command: &String| !command.starts_with("SADD") && !command.starts_with("PUBLISH");
    let commands: Vec<String> = traced(&mut oracle).await.into_iter().filter(pop).collect();
    let expected = [
        "DEL _DASH_HA_SET_TABLE:k", // their producer
        "SPOP DASH_HA_SET_TABLE_KEY_SET 128",
        "SREM DASH_HA_SET_TABLE_DEL_SET k",
        "DEL DASH_HA_SET_TABLE:k",
        "DEL _DASH_HA_SET_TABLE:k",
        "HSET _DASH_HA_SET_TABLE:k a 1", // their producer
        "SPOP DASH_HA_SET_TABLE_KEY_SET 128",
        "SREM DASH_HA_SET_TABLE_DEL_SET k",
        "HSET DASH_HA_SET_TABLE:k a 1",
        "DEL _DASH_HA_SET_TABLE:k",
    ];
    assert_eq!(commands, expected);
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again_on_both_sides() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let connection: Connection = connect(&endpoint).await;
    let mut oracle = Oracle::bus(&endpoint);
    let mut store = Store::open(&endpoint, &[(TABLE, Mode::ProducerState)]);
    for round in ["1", "2", "3"] {
        connection.command(&["SCRIPT", "FLUSH"]).await.unwrap();
        write(&mut store, vec![set("k", &[("round", round)])]).await;
        let pops: Json = oracle.ask("consumer_pops", json!([NAME])).await;
        assert_eq!(pops, json!([["k", "SET", {"round": round}]]));
    }
    drop(store);
    let mut reader = Reader::consume(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    for round in ["4", "5"] {
        connection.command(&["SCRIPT", "FLUSH"]).await.unwrap();
        oracle.ask("producer_set", json!([NAME, "k", [["round", round]]])).await;
        assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", Some(fields(&[("round", round)])))]);
    }
}
