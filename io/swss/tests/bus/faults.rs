//! Readers through outages and floods: `reference/swss-wire.md` 9.

use schema::{Db, Table};
use swss::{Change, Reader, Update};

use crate::support::*;

const TABLE: Table = Table::DashHaSetConfig;

#[tokio::test]
async fn after_an_outage_exactly_the_differences_are_reported() {
    let place = Place::new();
    let mut old = server().await;
    let connection = connect(&old.endpoint(Db::ApplDb)).await;
    for key in ["same", "changed", "deleted"] {
        connection.hset(&format!("DASH_HA_SET_CONFIG_TABLE:{key}"), &fields(&[("a", "1")])).await.unwrap();
    }
    place.point_to(&old);
    let mut reader = Reader::subscribe(&place.endpoint(Db::ApplDb), &[TABLE]);
    assert_eq!(until_synced(&mut reader).await.len(), 3);

    old.kill().unwrap();
    assert!(matches!(next(&mut reader).await, Update::Lost { .. }));
    let new = server().await;
    let connection = connect(&new.endpoint(Db::ApplDb)).await;
    for (key, value) in [("same", "1"), ("changed", "2"), ("created", "3")] {
        connection.hset(&format!("DASH_HA_SET_CONFIG_TABLE:{key}"), &fields(&[("a", value)])).await.unwrap();
    }
    place.point_to(&new);
    let expected = [
        change(TABLE, "changed", Some(fields(&[("a", "2")]))),
        change(TABLE, "created", Some(fields(&[("a", "3")]))),
        change(TABLE, "deleted", None),
    ];
    assert_eq!(next_changes(&mut reader).await, expected);
    assert_eq!(next(&mut reader).await, Update::Synced);

    connection.del("DASH_HA_SET_CONFIG_TABLE:same").await.unwrap();
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, "same", None)]);
}

#[tokio::test]
async fn a_server_killed_and_started_again_has_lost_all_rows() {
    let mut server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    connection.hset("DASH_HA_SET_CONFIG_TABLE:k", &fields(&[("a", "1")])).await.unwrap();
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    for _ in 0..3 {
        server.kill().unwrap();
        server.restart().await.unwrap();
        assert!(matches!(next(&mut reader).await, Update::Lost { .. }));
        assert_eq!(until_synced(&mut reader).await, [change(TABLE, "k", None)]);
        connection.hset("DASH_HA_SET_CONFIG_TABLE:k", &fields(&[("a", "1")])).await.unwrap();
        assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", Some(fields(&[("a", "1")])))]);
    }
}

#[tokio::test]
async fn a_reader_that_starts_before_its_server_reports_nothing_until_it_is_there() {
    let place = Place::new();
    let mut reader = Reader::subscribe(&place.endpoint(Db::ApplDb), &[TABLE]);
    let server = server().await;
    let connection = connect(&server.endpoint(Db::ApplDb)).await;
    connection.hset("DASH_HA_SET_CONFIG_TABLE:k", &fields(&[("a", "1")])).await.unwrap();
    place.point_to(&server);
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", Some(fields(&[("a", "1")])))]);
    assert_eq!(next(&mut reader).await, Update::Synced);
}

#[tokio::test]
async fn a_server_without_that_many_databases_is_not_given_up() {
    let server = server().await;
    let mut endpoint = server.endpoint(Db::ApplDb);
    endpoint.index = 1000;
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    let error = swss::Connection::open(&endpoint).await.unwrap_err();
    assert!(format!("{error}").contains("index 1000"), "{error}");
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(100), reader.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

#[tokio::test]
async fn a_killed_connection_comes_back_and_nothing_is_reported_twice() {
    let server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    connection.hset("DASH_HA_SET_CONFIG_TABLE:k", &fields(&[("a", "1")])).await.unwrap();
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    connection.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
    assert!(matches!(next(&mut reader).await, Update::Lost { .. }));
    assert_eq!(until_synced(&mut reader).await, Vec::<Change>::new());
    connection.hset("DASH_HA_SET_CONFIG_TABLE:k", &fields(&[("a", "2")])).await.unwrap();
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", Some(fields(&[("a", "2")])))]);
}

#[tokio::test]
async fn a_flush_is_seen_at_once() {
    let server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    for flush in ["FLUSHDB", "FLUSHALL"] {
        connection.hset("DASH_HA_SET_CONFIG_TABLE:k", &fields(&[("a", "1")])).await.unwrap();
        assert_eq!(next_changes(&mut reader).await.len(), 1);
        connection.command(&[flush]).await.unwrap();
        assert_eq!(until_synced(&mut reader).await, [change(TABLE, "k", None)], "{flush}");
    }
}

#[tokio::test]
async fn a_flush_of_another_database_changes_nothing() {
    let server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    connection.hset("DASH_HA_SET_CONFIG_TABLE:k", &fields(&[("a", "1")])).await.unwrap();
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    connect(&server.endpoint(Db::StateDb)).await.flushdb().await.unwrap();
    assert_eq!(next(&mut reader).await, Update::Synced);
}

#[tokio::test]
async fn a_row_that_is_deleted_flushed_and_written_again_was_gone() {
    let server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    let row = fields(&[("a", "1")]);
    connection.hset("DASH_HA_SET_CONFIG_TABLE:k", &row).await.unwrap();
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    until_synced(&mut reader).await;
    connection.delete_all().await.unwrap();
    connection.hset("DASH_HA_SET_CONFIG_TABLE:k", &row).await.unwrap();
    connection.hset("DASH_HA_SET_CONFIG_TABLE:z", &row).await.unwrap();
    let expected = [change(TABLE, "k", None), change(TABLE, "k", Some(row))];
    assert_eq!(until_row(&mut reader, "z").await, expected);
}

/// 9.6: with a finite limit Redis drops events and closes the connection.
#[tokio::test]
async fn events_that_redis_drops_are_made_up_for() {
    const FLOOD: &str = r"
        for i = 1, 3000 do
            redis.call('HSET', 'DASH_HA_SET_CONFIG_TABLE:' .. string.rep('x', 1000) .. i, 'i', i)
        end
        redis.call('DEL', 'DASH_HA_SET_CONFIG_TABLE:k')";
    let server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    connection.hset("DASH_HA_SET_CONFIG_TABLE:k", &fields(&[("a", "1")])).await.unwrap();
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 100000 0 0"];
    connection.command(&limit).await.unwrap();
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    let mut belief = Belief::default();
    belief.follow_until(&mut reader, |belief| belief.rows.len() == 1).await;
    // A full read must fit the limit too, once the flood is over.
    connection.command(&["EVAL", FLOOD, "0"]).await.unwrap();
    connection.command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0"]).await.unwrap();
    belief.follow_until(&mut reader, |belief| belief.losses > 0).await;
    belief.follow_until(&mut reader, |belief| belief.rows.len() == 3000).await;
    assert!(!belief.rows.contains_key(&(TABLE, "k".to_owned())));
}

#[tokio::test]
async fn a_server_that_is_busy_for_now_is_tried_again() {
    let server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    let busy = connect(&endpoint).await;
    connection.hset("DASH_HA_SET_CONFIG_TABLE:k", &fields(&[("a", "1")])).await.unwrap();
    connection.command(&["CONFIG", "SET", "busy-reply-threshold", "10"]).await.unwrap();
    let endless = tokio::spawn(async move { busy.command(&["EVAL", "while true do end", "0"]).await });
    swss::testing::wait_until("the server is busy", PATIENCE, async || {
        matches!(connection.ping().await, Err(swss::Error::NotNow { .. })).then_some(())
    })
    .await
    .unwrap();
    let mut reader = Reader::subscribe(&endpoint, &[TABLE]);
    assert!(matches!(connection.hgetall("x").await, Err(swss::Error::NotNow { .. })));
    connection.command(&["SCRIPT", "KILL"]).await.unwrap();
    assert!(endless.await.unwrap().is_err());
    assert_eq!(next_changes(&mut reader).await, [change(TABLE, "k", Some(fields(&[("a", "1")])))]);
}
