//! `ConsumerStateTable`: `reference/swss-wire.md` 3.5, fed by an independent producer.

use std::collections::BTreeSet;

use schema::{Db, Fields, Table};
use swss::{Change, Connection, Reader, Update};

use crate::support::*;

const TABLE: Table = Table::DashHaSet;
const NAME: &str = "DASH_HA_SET_TABLE";
const MAIN: &str = "DASH_HA_SET_TABLE:k";
const PENDING: &str = "_DASH_HA_SET_TABLE:k";
const KEY_SET: &str = "DASH_HA_SET_TABLE_KEY_SET";
const DEL_SET: &str = "DASH_HA_SET_TABLE_DEL_SET";
const CHANNEL: &str = "DASH_HA_SET_TABLE_CHANNEL@15";

async fn nothing_is_pending(connection: &Connection) {
    for key in [KEY_SET, DEL_SET, PENDING] {
        assert!(!connection.exists(key).await.unwrap(), "{key} is left");
    }
}

/// The truth table of 3.5. Where SONiC delivers only the changed fields, ours delivers the whole row.
#[tokio::test]
async fn each_case_of_the_truth_table_gives_the_whole_row() {
    type Case =
        (&'static str, &'static [(&'static str, &'static str)], Vec<&'static [&'static str]>, Option<Fields>);
    let wake: [&[&str]; 2] = [&["SADD", KEY_SET, "k"], &["PUBLISH", CHANNEL, "G"]];
    let some = |pairs: &[(&str, &str)]| Some(fields(pairs));
    let set = |pairs: &'static [&'static [&'static str]]| [&wake[..1], pairs, &wake[1..]].concat();
    let del: [&[&str]; 3] = [&["SADD", KEY_SET, "k"], &["SADD", DEL_SET, "k"], &["DEL", PENDING]];
    let cases: Vec<Case> = vec![
        (
            "set{a,b} + set{b',c}",
            &[],
            [
                set(&[&["HSET", PENDING, "a", "1"], &["HSET", PENDING, "b", "1"]]),
                set(&[&["HSET", PENDING, "b", "2"], &["HSET", PENDING, "c", "2"]]),
            ]
            .concat(),
            some(&[("a", "1"), ("b", "2"), ("c", "2")]),
        ),
        (
            "set{d} on an existing row",
            &[("a", "1")],
            set(&[&["HSET", PENDING, "d", "4"]]),
            some(&[("a", "1"), ("d", "4")]),
        ),
        (
            "del + set{z}",
            &[("a", "1")],
            [&del[..], &set(&[&["HSET", PENDING, "z", "9"]])].concat(),
            some(&[("z", "9")]),
        ),
        (
            "set + del",
            &[("a", "1")],
            [&set(&[&["HSET", PENDING, "b", "2"]])[..], &del[..], &wake[1..]].concat(),
            None,
        ),
        ("del of a row that is not there", &[], [&del[..], &wake[1..]].concat(), None),
        // SONiC delivers DEL here though the row stays: ours delivers the row.
        ("set with no fields", &[("a", "1")], set(&[]), some(&[("a", "1")])),
        ("set with no fields of a new row", &[], set(&[]), None),
        ("set of what is there", &[("a", "1")], set(&[&["HSET", PENDING, "a", "1"]]), some(&[("a", "1")])),
    ];

    for (name, before, commands, expected) in cases {
        let server = server().await;
        let endpoint = server.endpoint(Db::DpuApplDb);
        let connection = connect(&endpoint).await;
        connection.hset(MAIN, &fields(before)).await.unwrap();
        let mut reader = Reader::consume(&endpoint, &[TABLE]);
        until_synced(&mut reader).await;

        at_once(&connection, &commands).await;
        assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", expected.clone())], "{name}");
        nothing_is_pending(&connection).await;
        assert_eq!(connection.row(TABLE, "k").await.unwrap(), expected, "{name}: the row itself");
    }
}

#[tokio::test]
async fn what_was_pending_and_what_was_taken_before_come_at_the_start() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let connection = connect(&endpoint).await;
    connection.hset("DASH_HA_SET_TABLE:taken before", &fields(&[("a", "1")])).await.unwrap();
    sonic_set(&connection, NAME, "k", &[("b", "2")]).await;
    let mut reader = Reader::consume(&endpoint, &[TABLE]);
    let expected = [
        change(TABLE, "k", Some(fields(&[("b", "2")]))),
        change(TABLE, "taken before", Some(fields(&[("a", "1")]))),
    ];
    assert_eq!(next_changes(&mut reader).await, expected);
    assert_eq!(next(&mut reader).await, Update::Synced);
    nothing_is_pending(&connection).await;
}

/// The under-wake hazard of 3.5: one message for 300 keys.
#[tokio::test]
async fn a_batch_of_300_keys_that_wakes_once_is_taken_whole() {
    const FILL: &str = r"
        for i = 1, 300 do
            redis.call('SADD', 'DASH_HA_SET_TABLE_KEY_SET', 'k' .. i)
            redis.call('HSET', '_DASH_HA_SET_TABLE:k' .. i, 'i', i)
        end
        redis.call('PUBLISH', 'DASH_HA_SET_TABLE_CHANNEL@15', 'G')";
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let connection = connect(&endpoint).await;
    let mut reader = Reader::consume(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    connection.command(&["EVAL", FILL, "0"]).await.unwrap();
    let mut keys = BTreeSet::new();
    while keys.len() < 300 {
        keys.extend(next_changes(&mut reader).await.into_iter().map(|change| change.key));
    }
    nothing_is_pending(&connection).await;
}

#[tokio::test]
async fn a_row_of_very_many_fields_is_taken_whole() {
    const FILL: &str = r"
        redis.call('SADD', 'DASH_HA_SET_TABLE_KEY_SET', 'k')
        for i = 1, 9000 do redis.call('HSET', '_DASH_HA_SET_TABLE:k', 'f' .. i, i) end
        redis.call('PUBLISH', 'DASH_HA_SET_TABLE_CHANNEL@15', 'G')";
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let connection = connect(&endpoint).await;
    let mut reader = Reader::consume(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    connection.command(&["EVAL", FILL, "0"]).await.unwrap();
    let changes = next_changes(&mut reader).await;
    assert_eq!(changes.first().and_then(|change| change.fields.as_ref()).map(Fields::len), Some(9000));
}

#[tokio::test]
async fn keys_of_the_wrong_type_stop_nobody() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let connection = connect(&endpoint).await;
    connection.command(&["SET", MAIN, "no hash"]).await.unwrap();
    connection.command(&["SADD", "_DASH_HA_SET_TABLE:l", "no hash"]).await.unwrap();
    connection.command(&["SADD", KEY_SET, "l"]).await.unwrap();
    connection.command(&["SET", "DASH_HA_SCOPE_TABLE_KEY_SET", "no set"]).await.unwrap();
    let mut reader = Reader::consume(&endpoint, &[TABLE, Table::DashHaScope]);
    assert_eq!(until_synced(&mut reader).await, Vec::<Change>::new());

    connection.publish("DASH_HA_SCOPE_TABLE_CHANNEL@15", "G").await.unwrap();
    sonic_set(&connection, NAME, "k", &[("a", "1")]).await;
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", Some(fields(&[("a", "1")])))]);
    nothing_is_pending(&connection).await;
}

#[tokio::test]
async fn a_flush_is_seen_at_once_and_rows_are_reported_gone() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let connection = connect(&endpoint).await;
    sonic_set(&connection, NAME, "k", &[("a", "1")]).await;
    let mut reader = Reader::consume(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    connection.flushdb().await.unwrap();
    assert_eq!(until_synced(&mut reader).await, [change(TABLE, "k", None)]);
    sonic_set(&connection, NAME, "k", &[("a", "1")]).await;
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", Some(fields(&[("a", "1")])))]);
}

#[tokio::test]
async fn a_consumer_survives_a_script_flush() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let connection = connect(&endpoint).await;
    let mut reader = Reader::consume(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    for value in ["1", "2", "3"] {
        connection.command(&["SCRIPT", "FLUSH"]).await.unwrap();
        sonic_set(&connection, NAME, "k", &[("a", value)]).await;
        assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", Some(fields(&[("a", value)])))]);
    }
}

#[tokio::test]
async fn a_consumer_that_was_killed_off_takes_what_came_meanwhile() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let connection = connect(&endpoint).await;
    sonic_set(&connection, NAME, "k", &[("a", "1")]).await;
    let mut reader = Reader::consume(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    // At one instant: nobody listens, so the message is lost, and only the key set tells.
    at_once(
        &connection,
        &[
            &["CLIENT", "KILL", "TYPE", "pubsub"],
            &["SADD", KEY_SET, "k", "l"],
            &["SADD", DEL_SET, "k"],
            &["HSET", "_DASH_HA_SET_TABLE:l", "b", "2"],
            &["PUBLISH", CHANNEL, "G"],
        ],
    )
    .await;
    assert!(matches!(next(&mut reader).await, Update::Lost { .. }));
    let expected = [change(TABLE, "k", None), change(TABLE, "l", Some(fields(&[("b", "2")])))];
    assert_eq!(next_changes(&mut reader).await, expected);
    assert_eq!(next(&mut reader).await, Update::Synced);
}

/// Its producer sees that it is gone, and has nothing to delete.
#[tokio::test]
async fn a_row_that_a_stranger_deletes_is_reported_gone() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let connection = connect(&endpoint).await;
    let mut reader = Reader::consume(&endpoint, &[Table::DashHaSet]);
    until_synced(&mut reader).await;
    let row = "DASH_HA_SET_TABLE:k";
    for deletion in [&["DEL", row][..], &["PEXPIRE", row, "1"], &["RENAME", row, "elsewhere"]] {
        sonic_set(&connection, "DASH_HA_SET_TABLE", "k", &[("a", "1")]).await;
        let expected = change(Table::DashHaSet, "k", Some(fields(&[("a", "1")])));
        assert_eq!(next_changes(&mut reader).await, [expected], "{deletion:?}");
        connection.command(deletion).await.unwrap();
        assert_eq!(next_changes(&mut reader).await, [change(Table::DashHaSet, "k", None)], "{deletion:?}");
    }
}
