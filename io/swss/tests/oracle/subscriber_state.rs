//! `Table` and `SubscriberStateTable` (2): theirs to ours and ours to theirs.

use reconcile::{Op, RowWrite, StoreUpdate};
use schema::{Db, Fields, Table, Value};
use serde_json::json;
use swss::{Mode, Reader, Store};

use crate::oracle::Oracle;
use crate::support::*;

const TABLE: Table = Table::DashHaScopeState;
const NAME: &str = "DASH_HA_SCOPE_STATE";
const ROW: &str = "DASH_HA_SCOPE_STATE|k|l";
const KEY: &str = "k|l";

/// The truth tables of 2.5 and 2.6 in one: commands on a row that holds `a=1`, what SONiC's subscriber pops after them,
/// and what our reader reports when it sees them at once. Where the two differ, SONiC's misses something.
#[tokio::test]
async fn each_case_of_the_event_table_is_seen_by_both_subscribers() {
    type Case<'a> = (&'static str, serde_json::Value, serde_json::Value, Vec<Option<Fields>>);
    let full = json!([KEY, "SET", {"a": "1", "b": "3"}]);
    let gone = || json!([KEY, "DEL", {}]);
    let cases: Vec<Case> = vec![
        (
            "HSET, HSET, HDEL: SONiC's gives three SETs of the latest row; ours one",
            json!([["HSET", ROW, "b", "2"], ["HSET", ROW, "b", "3", "c", "1"], ["HDEL", ROW, "c"]]),
            json!([full, full, full]),
            vec![Some(fields(&[("a", "1"), ("b", "3")]))],
        ),
        ("HSET, DEL", json!([["HSET", ROW, "b", "2"], ["DEL", ROW]]), json!([gone()]), vec![None]),
        (
            "DEL, HSET: a row that went and came back",
            json!([["DEL", ROW], ["HSET", ROW, "z", "9"]]),
            json!([gone(), [KEY, "SET", {"z": "9"}]]),
            vec![None, Some(fields(&[("z", "9")]))],
        ),
        ("HDEL of the last field", json!([["HDEL", ROW, "a"]]), json!([gone()]), vec![None]),
        ("UNLINK", json!([["UNLINK", ROW]]), json!([gone()]), vec![None]),
        (
            "HSET of what is there: SONiC's gives a SET, ours nothing",
            json!([["HSET", ROW, "a", "1"]]),
            json!([[KEY, "SET", {"a": "1"}]]),
            vec![],
        ),
        ("DEL of a row that is not there", json!([["DEL", "DASH_HA_SCOPE_STATE|no|row"]]), json!([]), vec![]),
        ("RENAME away: SONiC's misses it", json!([["RENAME", ROW, "elsewhere"]]), json!([]), vec![None]),
        ("an expiry in the past is a DEL", json!([["PEXPIRE", ROW, "-1"]]), json!([gone()]), vec![None]),
        ("FLUSHDB: SONiC's misses it", json!([["FLUSHDB"]]), json!([]), vec![None]),
    ];
    for (name, commands, pops, reports) in cases {
        let server = server().await;
        let endpoint = server.endpoint(Db::StateDb);
        let mut oracle = Oracle::bus(&endpoint);
        oracle.ask("table_set", json!([NAME, KEY, [["a", "1"]]])).await;
        oracle.ask("subscribe", json!([NAME])).await;
        assert_eq!(
            oracle.ask("subscriber_pops", json!([NAME])).await,
            json!([[KEY, "SET", {"a": "1"}]]),
            "2.4"
        );
        let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
        assert_eq!(until_synced(&mut reader).await, [change(TABLE, KEY, Some(fields(&[("a", "1")])))]);

        oracle.ask("transaction", json!([commands])).await;
        assert_eq!(oracle.ask("subscriber_pops", json!([NAME])).await, pops, "{name}");
        oracle.ask("table_set", json!([NAME, "marker", [["m", "1"]]])).await;
        let reports: Vec<_> = reports.into_iter().map(|fields| change(TABLE, KEY, fields)).collect();
        assert_eq!(until_row(&mut reader, "marker").await, reports, "{name}");
    }
}

/// 2.6: a row that really expires makes `expired`, which SONiC's subscriber drops.
#[tokio::test]
async fn a_row_that_expires_is_reported_gone_by_ours_alone() {
    let server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let mut oracle = Oracle::bus(&endpoint);
    oracle.ask("table_set", json!([NAME, KEY, [["a", "1"]]])).await;
    oracle.ask("subscribe", json!([NAME])).await;
    oracle.ask("subscriber_pops", json!([NAME])).await;
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    oracle.ask("command", json!([["PEXPIRE", ROW, "1"]])).await;
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, KEY, None)]);
    let pops = oracle.ask("subscriber_pops", json!([NAME])).await;
    assert!(pops.as_array().unwrap().iter().all(|pop| pop[1] != "DEL"), "{pops}");
}

/// 2.6: the pattern needs a separator, which the row without a key does not have.
#[tokio::test]
async fn a_row_without_a_key_is_seen_by_ours_alone() {
    let server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let mut oracle = Oracle::bus(&endpoint);
    oracle.ask("subscribe", json!([NAME])).await;
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    oracle.ask("table_set", json!([NAME, "", [["a", "1"]]])).await;
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, "", Some(fields(&[("a", "1")])))]);
    assert_eq!(oracle.ask("subscriber_pops", json!([NAME])).await, json!([]));
}

/// 2.2, 2.7: our `Table` and their readers. A row that is replaced is never gone in between.
#[tokio::test]
async fn their_reader_and_subscriber_see_what_our_table_writes() {
    let server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let mut oracle = Oracle::bus(&endpoint);
    let mut store = Store::open(&endpoint, &[(TABLE, Mode::Table)]);
    until_snapshot(&mut store, &[]).await;
    oracle.ask("subscribe", json!([NAME])).await;
    let binary: Fields =
        [("pb", Value::from(b"\x00\xff@|".to_vec())), ("n", "1".into())].into_iter().collect();
    let steps = [
        (Op::Set(binary), json!({"pb": "\u{0}\u{ff}@|", "n": "1"})),
        (Op::Set(fields(&[("n", "2")])), json!({"n": "2"})),
        (Op::Merge(fields(&[("m", "3")])), json!({"n": "2", "m": "3"})),
        (Op::Set(fields(&[("x", "1"), ("y", "2")])), json!({"x": "1", "y": "2"})),
        (Op::Del, json!({})),
    ];
    for (op, row) in steps {
        let write = RowWrite { table: TABLE, key: KEY.to_owned(), op: op.clone() };
        store.write(vec![write.clone()]);
        while next_update(&mut store).await != (StoreUpdate::Written { write: write.clone(), done: true }) {}
        assert_eq!(oracle.ask("table_get", json!([NAME, KEY])).await, row, "{op:?}");
        let pops = oracle.ask("subscriber_pops", json!([NAME])).await;
        let pops = pops.as_array().unwrap();
        let expected = if op == Op::Del { json!([KEY, "DEL", {}]) } else { json!([KEY, "SET", row]) };
        assert!(!pops.is_empty() && pops.iter().all(|pop| *pop == expected), "{op:?}: {pops:?}");
    }
}

#[tokio::test]
async fn our_reader_sees_what_their_table_writes() {
    let server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let mut oracle = Oracle::bus(&endpoint);
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    oracle.ask("table_set", json!([NAME, KEY, [["pb", "\u{0}\u{ff}@|"], ["", ""]]])).await;
    let row: Fields = [("pb", Value::from(b"\x00\xff@|".to_vec())), ("", "".into())].into_iter().collect();
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, KEY, Some(row))]);
    oracle.ask("table_hdel", json!([NAME, KEY, ""])).await;
    let row: Fields = [("pb", Value::from(b"\x00\xff@|".to_vec()))].into_iter().collect();
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, KEY, Some(row))]);
    oracle.ask("table_del", json!([NAME, KEY])).await;
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, KEY, None)]);
}
