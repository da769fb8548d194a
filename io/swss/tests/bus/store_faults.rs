//! Stores through outages and flushes, alone and under a `Reconciler`.

use reconcile::{Op, Plan, Reconciler, RowId, RowWrite, StoreEvent, StoreUpdate};
use schema::{Db, Table};
use swss::{Mode, Store};

use crate::support::*;

const TABLE: Table = Table::DashHaScopeState;
const SET: Table = Table::DashHaSet;

fn set(table: Table, key: &str, value: &str) -> RowWrite {
    RowWrite { table, key: key.to_owned(), op: Op::Set(fields(&[("a", value)])) }
}

#[tokio::test]
async fn a_flush_is_seen_at_once() {
    for (mode, db, table) in [(Mode::Table, Db::StateDb, TABLE), (Mode::ProducerState, Db::DpuApplDb, SET)] {
        let server = server().await;
        let endpoint = server.endpoint(db);
        let connection = connect(&endpoint).await;
        let mut store = Store::open(&endpoint, &[(table, mode)]);
        next_snapshot(&mut store).await;
        let write = set(table, "k", "1");
        store.write(vec![write.clone()]);
        expect_written(&mut store, &write, true).await;
        connection.flushdb().await.unwrap();
        until_snapshot(&mut store, &[]).await;
        // Neither a flush elsewhere nor one of nothing is news.
        connect(&server.endpoint(Db::ConfigDb)).await.flushdb().await.unwrap();
        connection.flushdb().await.unwrap();
        let write = set(table, "l", "2");
        store.write(vec![write.clone()]);
        expect_written(&mut store, &write, true).await;
        connection.delete_all().await.unwrap();
        until_snapshot(&mut store, &[]).await;
    }
}

#[tokio::test]
async fn a_store_survives_a_script_flush() {
    let server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let connection = connect(&endpoint).await;
    let mut store = Store::open(&endpoint, &[(TABLE, Mode::Table)]);
    next_snapshot(&mut store).await;
    for value in ["1", "2", "3"] {
        connection.command(&["SCRIPT", "FLUSH"]).await.unwrap();
        let write = set(TABLE, "k", value);
        store.write(vec![write.clone()]);
        expect_written(&mut store, &write, true).await;
        assert_eq!(next_snapshot(&mut store).await, [row(TABLE, "k", &[("a", value)], true)]);
    }
}

#[tokio::test]
async fn a_lost_store_reports_the_loss_and_then_what_it_finds() {
    let mut server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let mut store = Store::open(&endpoint, &[(TABLE, Mode::Table)]);
    next_snapshot(&mut store).await;
    let write = set(TABLE, "k", "1");
    store.write(vec![write.clone()]);
    expect_written(&mut store, &write, true).await;
    assert_eq!(next_snapshot(&mut store).await.len(), 1);

    server.kill().unwrap();
    assert_eq!(next_update(&mut store).await, StoreUpdate::Lost);
    server.restart().await.unwrap();
    assert_eq!(next_snapshot(&mut store).await, []);
    store.write(vec![write.clone()]);
    expect_written(&mut store, &write, true).await;
    assert_eq!(next_snapshot(&mut store).await.len(), 1);

    let connection = connect(&endpoint).await;
    connection.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
    assert_eq!(next_update(&mut store).await, StoreUpdate::Lost);
    assert_eq!(next_snapshot(&mut store).await, [row(TABLE, "k", &[("a", "1")], true)]);
}

#[tokio::test]
async fn writes_before_the_first_snapshot_wait_and_writes_unaware_of_a_loss_are_forgotten() {
    let place = Place::new();
    let endpoint = place.endpoint(Db::StateDb);
    let mut store = Store::open(&endpoint, &[(TABLE, Mode::Table)]);
    let early = set(TABLE, "early", "1");
    store.write(vec![early.clone()]);
    let mut first = server().await;
    place.point_to(&first);
    assert_eq!(next_snapshot(&mut store).await, []);
    expect_written(&mut store, &early, true).await;
    assert_eq!(next_snapshot(&mut store).await.len(), 1);

    first.kill().unwrap();
    let second = server().await;
    let connection = connect(&second.endpoint(Db::StateDb)).await;
    place.point_to(&second);
    // The store has come back for sure once its connection listens; its user has read nothing yet.
    swss::testing::wait_until("the store is connected again", PATIENCE, async || {
        let clients = connection.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).await.ok()?;
        format!("{clients:?}").contains("psub=").then_some(())
    })
    .await
    .unwrap();
    store.write(vec![set(TABLE, "unaware", "1")]);
    assert_eq!(next_update(&mut store).await, StoreUpdate::Lost);
    let aware = set(TABLE, "aware", "1");
    store.write(vec![aware.clone()]);
    assert_eq!(next_snapshot(&mut store).await, []);
    expect_written(&mut store, &aware, true).await;
    let rows = connection.rows(TABLE).await.unwrap();
    assert_eq!(rows.into_keys().collect::<Vec<_>>(), ["aware"]);
}

/// A user as it ought to be: a plan, a reconciler, and a store that may be disturbed at any time.
struct User {
    store: Store,
    reconciler: Reconciler<()>,
    plan: Plan<()>,
    db: Db,
}

impl User {
    fn write(&mut self) {
        let mut writes = Vec::new();
        self.reconciler.diff(&self.plan, |_| 0, |_, _| false, &mut writes);
        self.store.write(writes.into_iter().map(|write| write.write).collect());
    }

    async fn step(&mut self) {
        let update = next_update(&mut self.store).await;
        self.reconciler.observe(StoreEvent { place: (), db: self.db, update });
        self.write();
    }
}

#[tokio::test]
async fn under_a_reconciler_the_rows_come_back_whatever_happens() {
    for (mode, db, table) in [(Mode::Table, Db::StateDb, TABLE), (Mode::ProducerState, Db::DpuApplDb, SET)] {
        let mut server = server().await;
        let endpoint = server.endpoint(db);
        let connection = connect(&endpoint).await;
        let mut plan = Plan::new();
        for key in ["k0", "k1", "k2"] {
            let id = RowId { place: (), table, key: key.to_owned() };
            plan.want_fields(id, fields(&[("a", "1")]));
        }
        let store = Store::open(&endpoint, &[(table, mode)]);
        let mut user = User { store, reconciler: Reconciler::new(), plan, db };
        for round in 0..8 {
            match round {
                1 => server.restart().await.unwrap(),
                2 => connection.flushdb().await.unwrap(),
                3 => connection.delete_all().await.map(|_| ()).unwrap(),
                4 => {
                    connection.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
                }
                5 => {
                    connection
                        .hset(&endpoint.redis_key(table, "k1"), &fields(&[("odd", "1")]))
                        .await
                        .unwrap();
                    connection.hset(&endpoint.redis_key(table, "odd"), &fields(&[("a", "1")])).await.unwrap();
                }
                6 => {
                    connection.del(&endpoint.redis_key(table, "k2")).await.unwrap();
                }
                7 => {
                    connection.command(&["SCRIPT", "FLUSH"]).await.unwrap();
                    server.stop().await.unwrap();
                    server.restart().await.unwrap();
                }
                _ => {}
            }
            // As the DPU does it: take what is pending whenever there is something.
            let settled = async || {
                let rows = connection.rows(table).await.ok()?;
                let right = rows.len() == 3 && rows.values().all(|row| *row == fields(&[("a", "1")]));
                right.then_some(())
            };
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while settled().await.is_none() {
                assert!(tokio::time::Instant::now() < deadline, "{mode:?}: round {round} never settled");
                if mode == Mode::ProducerState {
                    sonic_pop(&connection, table.name()).await;
                }
                let pause = std::time::Duration::from_millis(20);
                if tokio::time::timeout(pause, user.step()).await.is_err() {
                    continue;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_is_read_only_for_now_is_tried_again() {
    let server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let connection = connect(&endpoint).await;
    let mut store = Store::open(&endpoint, &[(TABLE, Mode::Table)]);
    next_snapshot(&mut store).await;
    connection.command(&["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
    store.write(vec![set(TABLE, "k", "1")]);
    assert_eq!(next_update(&mut store).await, StoreUpdate::Lost);
    connection.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    assert_eq!(next_snapshot(&mut store).await, []);
    let write = set(TABLE, "k", "2");
    store.write(vec![write.clone()]);
    expect_written(&mut store, &write, true).await;
}
