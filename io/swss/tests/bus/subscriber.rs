//! `SubscriberStateTable`: `reference/swss-wire.md` 2.4-2.6.

use schema::{Db, Fields, Table};
use swss::{Change, Reader, Update};

use crate::support::*;

const TABLE: Table = Table::DashHaSetConfig;

#[tokio::test]
async fn an_empty_table_is_synced_and_then_followed() {
    let server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let mut reader = Reader::subscribe(&endpoint, &[TABLE, Table::DashHaScopeConfig]);
    assert_eq!(next(&mut reader).await, Update::Synced);

    let connection = connect(&endpoint).await;
    connection.hset("DASH_HA_SCOPE_CONFIG_TABLE:vdpu0:haset0", &fields(&[("a", "1")])).await.unwrap();
    let expected = change(Table::DashHaScopeConfig, "vdpu0:haset0", Some(fields(&[("a", "1")])));
    assert_eq!(next_changes(&mut reader).await, [expected]);
}

#[tokio::test]
async fn rows_that_are_there_come_before_synced() {
    let server = server().await;
    let endpoint = server.endpoint(Db::ConfigDb);
    let connection = connect(&endpoint).await;
    for key in ["DPU|dpu0", "DPU|a|b", "DPU", "REMOTE_DPU|x", "DPUS|not ours", "DPU_STATE|not ours"] {
        connection.hset(key, &fields(&[("at", key)])).await.unwrap();
    }
    let mut reader = Reader::subscribe(&endpoint, &[Table::Dpu, Table::RemoteDpu]);
    let at = |key: &str| Some(fields(&[("at", key)]));
    let expected = [
        change(Table::Dpu, "", at("DPU")),
        change(Table::Dpu, "a|b", at("DPU|a|b")),
        change(Table::Dpu, "dpu0", at("DPU|dpu0")),
        change(Table::RemoteDpu, "x", at("REMOTE_DPU|x")),
    ];
    assert_eq!(next_changes(&mut reader).await, expected);
    assert_eq!(next(&mut reader).await, Update::Synced);
}

#[tokio::test]
async fn more_rows_than_fit_one_scan_are_all_found() {
    let server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    let fill = "for i = 1, 5000 do redis.call('HSET', 'DASH_HA_SET_CONFIG_TABLE:' .. i, 'i', i) end";
    connection.command(&["EVAL", fill, "0"]).await.unwrap();
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    assert_eq!(until_synced(&mut reader).await.len(), 5000);
}

/// The table of 2.5: what happens at one instant to a row that is there, or not, and what its reader gets.
#[tokio::test]
async fn each_event_of_the_table_reports_the_whole_row() {
    const ROW: &str = "DASH_HA_SET_CONFIG_TABLE:k";
    type Case = (
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static [&'static [&'static str]],
        Vec<Option<Fields>>,
    );
    let some = |pairs: &[(&str, &str)]| Some(fields(pairs));
    let cases: Vec<Case> = vec![
        ("hset of a new row", &[], &[&["HSET", ROW, "a", "1"]], vec![some(&[("a", "1")])]),
        ("hset merges", &[("a", "1")], &[&["HSET", ROW, "b", "2"]], vec![some(&[("a", "1"), ("b", "2")])]),
        (
            "hset, hset, hdel",
            &[("a", "1")],
            &[&["HSET", ROW, "a", "2"], &["HSET", ROW, "b", "3"], &["HDEL", ROW, "a"]],
            vec![some(&[("b", "3")])],
        ),
        ("hset of what is there", &[("a", "1")], &[&["HSET", ROW, "a", "1"]], vec![]),
        ("hdel of the last field", &[("a", "1")], &[&["HDEL", ROW, "a"]], vec![None]),
        ("del", &[("a", "1")], &[&["DEL", ROW]], vec![None]),
        ("unlink", &[("a", "1")], &[&["UNLINK", ROW]], vec![None]),
        ("del of a missing row", &[], &[&["DEL", ROW]], vec![]),
        ("hset, del of a new row", &[], &[&["HSET", ROW, "a", "1"], &["DEL", ROW]], vec![]),
        ("hset, del", &[("a", "1")], &[&["HSET", ROW, "b", "1"], &["DEL", ROW]], vec![None]),
        (
            "del, hset of the same",
            &[("a", "1")],
            &[&["DEL", ROW], &["HSET", ROW, "a", "1"]],
            vec![None, some(&[("a", "1")])],
        ),
        (
            "del, hset of other fields",
            &[("a", "1")],
            &[&["DEL", ROW], &["HSET", ROW, "b", "2"]],
            vec![None, some(&[("b", "2")])],
        ),
        // 2.6: what SONiC's own reader misses.
        ("rename away", &[("a", "1")], &[&["RENAME", ROW, "elsewhere"]], vec![None]),
        ("rename within", &[("a", "1")], &[&["RENAME", ROW, ROW]], vec![None, some(&[("a", "1")])]),
        ("replaced by a string", &[("a", "1")], &[&["SET", ROW, "text"]], vec![None]),
        ("move to another database", &[("a", "1")], &[&["MOVE", ROW, "90"]], vec![None]),
    ];

    let server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    for (index, (name, before, commands, expected)) in cases.into_iter().enumerate() {
        let marker = |when: &str| format!("marker {index} {when}");
        let marked = async |when: &str| {
            let key = format!("DASH_HA_SET_CONFIG_TABLE:{}", marker(when));
            connection.hset(&key, &fields(&[("m", "m")])).await.unwrap();
        };
        connection.del(ROW).await.unwrap();
        connection.hset(ROW, &fields(before)).await.unwrap();
        marked("before").await;
        until_row(&mut reader, &marker("before")).await;

        at_once(&connection, commands).await;
        marked("after").await;
        let seen = until_row(&mut reader, &marker("after")).await;
        let seen: Vec<Option<Fields>> = seen.into_iter().map(|change| change.fields).collect();
        // Renaming a row onto itself makes no event on some servers.
        if name == "rename within" && seen.is_empty() {
            continue;
        }
        assert_eq!(seen, expected, "{name}");
    }
}

#[tokio::test]
async fn a_row_that_is_renamed_into_the_table_appears() {
    let server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    connection.hset("elsewhere", &fields(&[("a", "1")])).await.unwrap();
    connection.command(&["RENAME", "elsewhere", "DASH_HA_SET_CONFIG_TABLE:k"]).await.unwrap();
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", Some(fields(&[("a", "1")])))]);
}

#[tokio::test]
async fn a_row_that_expires_is_reported_gone() {
    let server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    connection.hset("DASH_HA_SET_CONFIG_TABLE:k", &fields(&[("a", "1")])).await.unwrap();
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    connection.command(&["PEXPIRE", "DASH_HA_SET_CONFIG_TABLE:k", "20"]).await.unwrap();
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", None)]);
}

#[tokio::test]
async fn a_row_without_a_key_is_seen() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuStateDb);
    let connection = connect(&endpoint).await;
    let mut reader = Reader::subscribe(&endpoint, &[Table::DashBfdProbeState]);
    until_synced(&mut reader).await;
    connection.hset("DASH_BFD_PROBE_STATE", &fields(&[("a", "1")])).await.unwrap();
    let expected = change(Table::DashBfdProbeState, "", Some(fields(&[("a", "1")])));
    assert_eq!(next_changes(&mut reader).await, [expected]);
    connection.del("DASH_BFD_PROBE_STATE").await.unwrap();
    assert_eq!(next_changes(&mut reader).await, [change(Table::DashBfdProbeState, "", None)]);
}

#[tokio::test]
async fn values_of_any_bytes_arrive_whole() {
    let server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    let row: Fields = [("pb", vec![0_u8, 255, b'@', 10]), ("list@", b"a@b".to_vec())].into_iter().collect();
    connection.hset("DASH_HA_SET_CONFIG_TABLE:k", &row).await.unwrap();
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", Some(row))]);
}

#[tokio::test]
async fn a_row_that_cannot_be_one_stops_nobody() {
    let server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    let not_utf8 = r"redis.call('HSET', 'DASH_HA_SET_CONFIG_TABLE:\255\254', 'a', '1')";
    connection.command(&["EVAL", not_utf8, "0"]).await.unwrap();
    connection.command(&["SET", "DASH_HA_SET_CONFIG_TABLE:text", "no hash"]).await.unwrap();
    connection.hset("DASH_HA_SET_CONFIG_TABLE:good", &fields(&[("a", "1")])).await.unwrap();
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    assert_eq!(until_synced(&mut reader).await, [change(TABLE, "good", Some(fields(&[("a", "1")])))]);

    connection.command(&["EVAL", not_utf8, "0"]).await.unwrap();
    connection.command(&["SADD", "DASH_HA_SET_CONFIG_TABLE:set", "no hash"]).await.unwrap();
    connection.hset("DASH_HA_SET_CONFIG_TABLE:good", &fields(&[("a", "2")])).await.unwrap();
    assert_eq!(until_row(&mut reader, "good").await, Vec::<Change>::new());

    // What was no row becomes one.
    connection.del("DASH_HA_SET_CONFIG_TABLE:text").await.unwrap();
    connection.hset("DASH_HA_SET_CONFIG_TABLE:text", &fields(&[("a", "3")])).await.unwrap();
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, "text", Some(fields(&[("a", "3")])))]);
}

#[tokio::test]
async fn a_server_that_sends_no_events_is_told_to() {
    let server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    for before in ["", "KEh", "E$", "Kg"] {
        connection.command(&["CONFIG", "SET", "notify-keyspace-events", before]).await.unwrap();
        let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
        let before = until_synced(&mut reader).await.len();
        assert_eq!(before, 0);
        connection.hset("DASH_HA_SET_CONFIG_TABLE:k", &fields(&[("a", "1")])).await.unwrap();
        assert_eq!(next_changes(&mut reader).await.len(), 1);
        connection.del("DASH_HA_SET_CONFIG_TABLE:k").await.unwrap();
        assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", None)]);
    }
}

#[tokio::test]
async fn a_slow_user_gets_the_last_state_of_each_row_once() {
    let server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    let mut slow = Reader::subscribe(&endpoint, &[TABLE]);
    let mut quick = Reader::subscribe(&endpoint, &[TABLE]);
    until_synced(&mut slow).await;
    until_synced(&mut quick).await;
    for i in 0..500 {
        let row = format!("DASH_HA_SET_CONFIG_TABLE:{}", i % 2);
        connection.hset(&row, &fields(&[("i", &i.to_string())])).await.unwrap();
    }
    connection.hset("DASH_HA_SET_CONFIG_TABLE:z", &fields(&[("i", "z")])).await.unwrap();
    until_row(&mut quick, "z").await;
    let seen = until_row(&mut slow, "z").await;
    let last = |key| seen.iter().rfind(|change: &&Change| change.key == key).cloned();
    assert_eq!(last("0"), Some(change(TABLE, "0", Some(fields(&[("i", "498")])))));
    assert_eq!(last("1"), Some(change(TABLE, "1", Some(fields(&[("i", "499")])))));
    assert!(seen.len() <= 8, "{} changes were kept for a slow user", seen.len());
}

#[tokio::test]
async fn readers_work_over_tcp() {
    let ip = std::net::IpAddr::from([127, 0, 0, 1]);
    let options = swss::testing::ServerOptions { tcp: Some((ip, 0)), ..Default::default() };
    let server = swss::testing::RedisServer::start_with(options).await.unwrap();
    let endpoint = server.tcp_endpoint(Db::DpuApplDb).unwrap();
    let connection = connect(&endpoint).await;
    let mut reader = Reader::subscribe(&endpoint, &[Table::DashHaSet]);
    until_synced(&mut reader).await;
    connection.hset("DASH_HA_SET_TABLE:k", &fields(&[("a", "1")])).await.unwrap();
    assert_eq!(next_changes(&mut reader).await, [change(Table::DashHaSet, "k", Some(fields(&[("a", "1")])))]);
}
