//! Requests.

use schema::{Db, Fields, Table};
use swss::testing::{RedisServer, ServerOptions};
use swss::{Connection, Error, Reader, Reply};

use crate::support::*;

#[tokio::test]
async fn requests_do_what_their_names_say() {
    let server = server().await;
    let endpoint = server.endpoint(Db::ChassisStateDb);
    let connection = connect(&endpoint).await;
    connection.ping().await.unwrap();
    assert_eq!(connection.hgetall("DPU_STATE|DPU0").await.unwrap(), Fields::new());
    connection.hset("DPU_STATE|DPU0", &fields(&[("a", "1"), ("b", "2")])).await.unwrap();
    connection.hset("DPU_STATE|DPU0", &Fields::new()).await.unwrap();
    connection.hset("DPU_STATE|DPU1", &fields(&[("c", "3")])).await.unwrap();
    connection.hset("DPU_STATES|DPU1", &fields(&[("d", "3")])).await.unwrap();
    assert_eq!(connection.hdel("DPU_STATE|DPU0", &["b", "x"]).await.unwrap(), 1);
    assert_eq!(connection.row(Table::DpuState, "DPU0").await.unwrap(), Some(fields(&[("a", "1")])));
    let rows = connection.rows(Table::DpuState).await.unwrap();
    assert_eq!(rows.into_keys().collect::<Vec<_>>(), ["DPU0", "DPU1"]);
    let rows = connection.rows_of(&[Table::DpuState, Table::DpuResetInfo]).await.unwrap();
    assert_eq!(
        rows.into_keys().collect::<Vec<_>>(),
        [(Table::DpuState, "DPU0".to_owned()), (Table::DpuState, "DPU1".to_owned())],
        "a table of another database has no rows here"
    );
    assert_eq!(connection.unconsumed(Table::DpuState).await.unwrap(), [""; 0]);
    connection.command(&["SADD", "DPU_STATE_KEY_SET", "DPU3"]).await.unwrap();
    assert_eq!(connection.unconsumed(Table::DpuState).await.unwrap(), ["DPU3"]);
    assert!(connection.del("DPU_STATE_KEY_SET").await.unwrap());
    assert!(connection.exists("DPU_STATE|DPU1").await.unwrap());
    assert!(connection.del("DPU_STATE|DPU1").await.unwrap());
    assert!(!connection.del("DPU_STATE|DPU1").await.unwrap());
    assert_eq!(connection.publish("nobody listens", "G").await.unwrap(), 0);
    assert_eq!(connection.command(&["DBSIZE"]).await.unwrap(), Reply::Int(2));
    connection.flushdb().await.unwrap();
    assert_eq!(connection.command(&["DBSIZE"]).await.unwrap(), Reply::Int(0));
}

#[tokio::test]
async fn a_bad_request_is_refused_and_the_connection_stays() {
    let server = server().await;
    let connection = connect(&server.endpoint(Db::ApplDb)).await;
    connection.command(&["SET", "text", "no hash"]).await.unwrap();
    assert!(matches!(connection.hgetall("text").await, Err(Error::Refused { .. })));
    assert!(matches!(connection.command(&["NO SUCH COMMAND"]).await, Err(Error::Refused { .. })));
    connection.ping().await.unwrap();
}

#[tokio::test]
async fn deleting_all_is_seen_by_subscribers_of_events_and_leaves_nothing() {
    const FILL: &str = "for i = 1, 5000 do redis.call('HSET', 'DASH_HA_SET_TABLE:' .. i, 'i', i) end";
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let connection = connect(&endpoint).await;
    let elsewhere = connect(&server.endpoint(Db::DpuStateDb)).await;
    elsewhere.hset("stays", &fields(&[("a", "1")])).await.unwrap();
    connection.command(&["EVAL", FILL, "0"]).await.unwrap();

    let mut events = Listener::new(&server, &["__keyevent@15__:del"], &[]).await;
    let mut reader = Reader::subscribe(&endpoint, &[Table::DashHaSet]);
    assert_eq!(until_synced(&mut reader).await.len(), 5000);

    assert_eq!(connection.delete_all().await.unwrap(), 5000);
    assert_eq!(connection.command(&["DBSIZE"]).await.unwrap(), Reply::Int(0));
    assert!(elsewhere.exists("stays").await.unwrap());
    let mut belief = Belief::default();
    let mut gone = 0;
    while gone < 5000 {
        if let swss::Update::Changes(changes) = next(&mut reader).await {
            gone += changes.iter().filter(|change| change.fields.is_none()).count();
            belief.take(swss::Update::Changes(changes));
        }
    }
    assert!(belief.rows.is_empty());
    for _ in 0..5000 {
        events.next().await;
    }
    assert_eq!(connection.delete_all().await.unwrap(), 0);
}

#[tokio::test]
async fn a_connection_comes_back_after_its_server() {
    let mut server = server().await;
    let endpoint = server.endpoint(Db::ApplDb);
    let connection = connect(&endpoint).await;
    server.kill().unwrap();
    assert!(matches!(connection.ping().await, Err(Error::Unreachable { .. })));
    assert!(matches!(Connection::open(&endpoint).await, Err(Error::Unreachable { .. })));
    server.restart().await.unwrap();
    connection.ping().await.unwrap();
    // Lost without noticing, then asked.
    server.restart().await.unwrap();
    connection.ping().await.unwrap();
    server.stop().await.unwrap();
    assert_eq!(server.pid(), None);
    assert!(matches!(connection.ping().await, Err(Error::Unreachable { .. })));
}

#[tokio::test]
async fn opening_waits_for_a_server_that_comes_late() {
    let place = Place::new();
    let endpoint = place.endpoint(Db::ApplDb);
    let late = async {
        let server = server().await;
        place.point_to(&server);
        server
    };
    let (connection, _server) = tokio::join!(Connection::open_within(&endpoint, PATIENCE), late);
    connection.unwrap().ping().await.unwrap();

    let nowhere = Place::new().endpoint(Db::ApplDb);
    let failed = Connection::open_within(&nowhere, std::time::Duration::from_millis(50)).await;
    assert!(matches!(failed, Err(Error::Unreachable { .. })));
}

#[tokio::test]
async fn a_server_dies_with_its_handle_and_keeps_its_port_over_restarts() {
    let ip = std::net::IpAddr::from([127, 0, 0, 1]);
    let dir = tempfile::tempdir().unwrap();
    let options = ServerOptions { dir: Some(dir.path().join("redisdpu0")), tcp: Some((ip, 0)) };
    let mut server = RedisServer::start_with(options).await.unwrap();
    let endpoint = server.tcp_endpoint(Db::DpuStateDb).unwrap();
    connect(&endpoint).await.ping().await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(server.tcp_endpoint(Db::DpuStateDb).unwrap(), endpoint);
    let connection = connect(&endpoint).await;
    drop(server);
    assert!(connection.ping().await.is_err());
}
