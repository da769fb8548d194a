//! What section 10 of the reference lists of faults, with Python as the stranger who changes the rows meanwhile.

use std::collections::BTreeMap;

use schema::{Db, Fields, Table};
use serde_json::json;
use swss::Reader;

use crate::oracle::Oracle;
use crate::support::*;

const TABLE: Table = Table::DashHaScopeState;
const NAME: &str = "DASH_HA_SCOPE_STATE";

/// The table as Python reads it.
async fn truth(oracle: &mut Oracle) -> BTreeMap<(Table, String), Fields> {
    let dump = oracle.ask("table_dump", json!([NAME])).await;
    let rows = dump.as_object().unwrap().iter();
    rows.map(|(key, row)| {
        let pairs = row.as_object().unwrap().iter();
        let fields: Fields = pairs.map(|(field, value)| (field.as_str(), value.as_str().unwrap())).collect();
        ((TABLE, key.clone()), fields)
    })
    .collect()
}

#[tokio::test]
async fn a_restart_with_rows_changed_and_deleted_meanwhile_ends_in_the_true_table() {
    let mut server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let mut oracle = Oracle::bus(&endpoint);
    for key in ["stays", "changes", "goes"] {
        oracle.ask("table_set", json!([NAME, key, [["f", "1"]]])).await;
    }
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    let mut belief = Belief::default();
    belief.follow_until(&mut reader, |belief| belief.rows.len() == 3).await;

    server.kill().unwrap();
    server.restart().await.unwrap();
    let mut oracle = Oracle::bus(&endpoint);
    let after = json!([
        ["HSET", "DASH_HA_SCOPE_STATE|stays", "f", "1"],
        ["HSET", "DASH_HA_SCOPE_STATE|changes", "f", "2"],
        ["HSET", "DASH_HA_SCOPE_STATE|comes", "f", "1"]
    ]);
    oracle.ask("transaction", json!([after])).await;
    let truth = truth(&mut oracle).await;
    assert_eq!(truth.len(), 3);
    belief.follow_until(&mut reader, |belief| belief.rows == truth).await;
    assert_eq!(belief.losses, 1);
}

/// 2.6, 9.6: with a finite limit the server drops events and closes the connection.
#[tokio::test]
async fn a_flood_past_the_pubsub_limit_ends_in_the_true_table() {
    const FLOOD: &str = r"
        for i = 1, 5000 do redis.call('HSET', 'DASH_HA_SCOPE_STATE|k' .. i % 100, 'f', i) end
        redis.call('DEL', 'DASH_HA_SCOPE_STATE|k0')";
    let server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let mut oracle = Oracle::bus(&endpoint);
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    let mut belief = Belief::default();
    while !belief.take(next(&mut reader).await) {}
    oracle
        .ask("command", json!([["CONFIG", "SET", "client-output-buffer-limit", "pubsub 16384 8192 1"]]))
        .await;
    oracle.ask("command", json!([["EVAL", FLOOD, "0"]])).await;
    let truth = truth(&mut oracle).await;
    assert_eq!(truth.len(), 99);
    belief.follow_until(&mut reader, |belief| belief.rows == truth && belief.losses > 0).await;
}
