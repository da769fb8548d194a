//! Stores: what they write (`reference/swss-wire.md` 2.2, 2.7, 3.2) and what they read back.

use reconcile::{Op, OwnedRow, RowWrite, StoreUpdate};
use schema::{Db, Fields, Table};
use swss::{Connection, Endpoint, Mode, Reader, Reply, Store};

use crate::support::*;

const SET: Table = Table::DashHaSet;
const MAIN: &str = "DASH_HA_SET_TABLE:k";
const PENDING: &str = "_DASH_HA_SET_TABLE:k";
const NAME: &str = "DASH_HA_SET_TABLE";

fn set(table: Table, key: &str, pairs: &[(&str, &str)]) -> RowWrite {
    RowWrite { table, key: key.to_owned(), op: Op::Set(fields(pairs)) }
}

fn merge(table: Table, key: &str, pairs: &[(&str, &str)]) -> RowWrite {
    RowWrite { table, key: key.to_owned(), op: Op::Merge(fields(pairs)) }
}

fn del(table: Table, key: &str) -> RowWrite {
    RowWrite { table, key: key.to_owned(), op: Op::Del }
}

/// A store that has reported what it found.
async fn open(endpoint: &Endpoint, tables: &[(Table, Mode)]) -> (Store, Vec<OwnedRow>) {
    let mut store = Store::open(endpoint, tables);
    let rows = next_snapshot(&mut store).await;
    (store, rows)
}

async fn write(store: &mut Store, write: RowWrite) {
    store.write(vec![write.clone()]);
    loop {
        match next_update(store).await {
            StoreUpdate::Written { write: written, done } => {
                assert_eq!((written, done), (write, true));
                return;
            }
            StoreUpdate::Snapshot(_) => {}
            StoreUpdate::Lost => panic!("lost"),
        }
    }
}

async fn members(connection: &Connection, key: &str) -> Vec<String> {
    match connection.command(&["SMEMBERS", key]).await.unwrap() {
        Reply::Set(items) => items.into_iter().map(|item| redis::from_redis_value(item).unwrap()).collect(),
        other => panic!("{other:?}"),
    }
}

/// (key set, del set, pending fields, row)
async fn produced(connection: &Connection) -> (Vec<String>, Vec<String>, Fields, Fields) {
    (
        members(connection, "DASH_HA_SET_TABLE_KEY_SET").await,
        members(connection, "DASH_HA_SET_TABLE_DEL_SET").await,
        connection.hgetall(PENDING).await.unwrap(),
        connection.hgetall(MAIN).await.unwrap(),
    )
}

#[tokio::test]
async fn a_producer_leaves_what_sonics_producer_leaves() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let connection = connect(&endpoint).await;
    let mut wakes = Listener::new(&server, &["DASH_HA_SET_TABLE_CHANNEL@15", "end"], &[]).await;
    let (mut store, rows) = open(&endpoint, &[(SET, Mode::ProducerState)]).await;
    assert_eq!(rows, []);
    let k = || vec!["k".to_owned()];
    let none = Fields::new;

    // A new row: pending fields, its key, one wake-up.
    write(&mut store, set(SET, "k", &[("a", "1"), ("b", "2")])).await;
    assert_eq!(produced(&connection).await, (k(), vec![], fields(&[("a", "1"), ("b", "2")]), none()));
    // Again before the consumer took it: replaced, and no second wake-up.
    write(&mut store, set(SET, "k", &[("a", "3")])).await;
    assert_eq!(produced(&connection).await, (k(), vec![], fields(&[("a", "3")]), none()));
    sonic_pop(&connection, NAME).await;
    assert_eq!(produced(&connection).await, (vec![], vec![], none(), fields(&[("a", "3")])));

    // Nothing is lost from the row: no deletion.
    write(&mut store, set(SET, "k", &[("a", "4"), ("c", "5")])).await;
    let pending = fields(&[("a", "4"), ("c", "5")]);
    assert_eq!(produced(&connection).await, (k(), vec![], pending, fields(&[("a", "3")])));
    sonic_pop(&connection, NAME).await;

    // A field is lost: deletion and the rest, in one.
    write(&mut store, set(SET, "k", &[("c", "5")])).await;
    let row = fields(&[("a", "4"), ("c", "5")]);
    assert_eq!(produced(&connection).await, (k(), k(), fields(&[("c", "5")]), row));
    sonic_pop(&connection, NAME).await;
    assert_eq!(produced(&connection).await, (vec![], vec![], none(), fields(&[("c", "5")])));

    // Some fields only.
    write(&mut store, merge(SET, "k", &[("d", "6")])).await;
    assert_eq!(produced(&connection).await, (k(), vec![], fields(&[("d", "6")]), fields(&[("c", "5")])));
    sonic_pop(&connection, NAME).await;

    // A deletion: the row is gone at once, and the consumer is told.
    write(&mut store, del(SET, "k")).await;
    assert_eq!(produced(&connection).await, (k(), k(), none(), none()));
    sonic_pop(&connection, NAME).await;
    assert_eq!(connection.command(&["DBSIZE"]).await.unwrap(), Reply::Int(0));

    connection.publish("end", "end").await.unwrap();
    let mut payloads = Vec::new();
    loop {
        let (channel, payload) = wakes.next().await;
        if channel == "end" {
            break;
        }
        payloads.push(payload);
    }
    assert_eq!(payloads, ["G", "G", "G", "G", "G"]);
}

#[tokio::test]
async fn a_producer_and_a_consumer_understand_each_other() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let (mut store, _) = open(&endpoint, &[(SET, Mode::ProducerState)]).await;
    let mut reader = Reader::consume(&endpoint, &[SET]);
    until_synced(&mut reader).await;
    let steps = [
        (set(SET, "k", &[("a", "1"), ("b", "2")]), Some(fields(&[("a", "1"), ("b", "2")]))),
        (set(SET, "k", &[("b", "3")]), Some(fields(&[("b", "3")]))),
        (set(SET, "k", &[("b", "3")]), Some(fields(&[("b", "3")]))),
        (merge(SET, "k", &[("c", "4")]), Some(fields(&[("b", "3"), ("c", "4")]))),
        (del(SET, "k"), None),
        (del(SET, "k"), None),
        (set(SET, "", &[("x", "1")]), Some(fields(&[("x", "1")]))),
        (set(SET, "a:b", &[("x", "1")]), Some(fields(&[("x", "1")]))),
    ];
    for (write, expected) in steps {
        let key = write.key.clone();
        store.write(vec![write]);
        assert_eq!(next_changes(&mut reader).await, [change(SET, &key, expected)]);
    }
    until_snapshot(&mut store, &[row(SET, "", &[("x", "1")], true), row(SET, "a:b", &[("x", "1")], true)])
        .await;
}

#[tokio::test]
async fn a_row_counts_as_consumed_once_the_consumer_took_it() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let connection = connect(&endpoint).await;
    let (mut store, _) = open(&endpoint, &[(SET, Mode::ProducerState)]).await;
    let wanted = set(SET, "k", &[("a", "1")]);
    store.write(vec![wanted.clone()]);
    expect_written(&mut store, &wanted, true).await;
    // That the row waits for its consumer is what `Written` says: no snapshot tells it again.
    sonic_pop(&connection, NAME).await;
    assert_eq!(next_snapshot(&mut store).await, [row(SET, "k", &[("a", "1")], true)]);

    // Somebody else's pending changes are laid over the row.
    sonic_set(&connection, NAME, "k", &[("b", "2")]).await;
    assert_eq!(next_snapshot(&mut store).await, [row(SET, "k", &[("a", "1"), ("b", "2")], false)]);
    let (key_set, del_set) = ("DASH_HA_SET_TABLE_KEY_SET", "DASH_HA_SET_TABLE_DEL_SET");
    at_once(&connection, &[&["SADD", key_set, "k"], &["SADD", del_set, "k"]]).await;
    assert_eq!(next_snapshot(&mut store).await, [row(SET, "k", &[("b", "2")], false)]);
    at_once(&connection, &[&["DEL", PENDING]]).await;
    assert_eq!(next_snapshot(&mut store).await, []);
    sonic_pop(&connection, NAME).await;
    sonic_set(&connection, NAME, "k", &[("c", "3")]).await;
    assert_eq!(next_snapshot(&mut store).await, [row(SET, "k", &[("c", "3")], false)]);
}

#[tokio::test]
async fn what_waits_for_the_consumer_is_in_the_first_snapshot() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let connection = connect(&endpoint).await;
    connection.hset("DASH_HA_SET_TABLE:a", &fields(&[("x", "1")])).await.unwrap();
    connection.hset("BFD_SESSION_TABLE:default:default:10.0.0.1", &fields(&[("x", "2")])).await.unwrap();
    sonic_set(&connection, NAME, "b", &[("x", "3")]).await;
    let tables = [(SET, Mode::ProducerState), (Table::BfdSession, Mode::ProducerState)];
    let (_store, rows) = open(&endpoint, &tables).await;
    let bfd = row(Table::BfdSession, "default:default:10.0.0.1", &[("x", "2")], true);
    assert_eq!(rows, [row(SET, "a", &[("x", "1")], true), row(SET, "b", &[("x", "3")], false), bfd]);
}

#[tokio::test]
async fn a_row_of_a_plain_table_is_replaced_without_ever_being_gone() {
    let table = Table::DashHaScopeState;
    let server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let connection = connect(&endpoint).await;
    let mut reader = Reader::subscribe(&endpoint, &[table]);
    until_synced(&mut reader).await;
    let (mut store, _) = open(&endpoint, &[(table, Mode::Table)]).await;
    write(&mut store, set(table, "v|s", &[("a", "1"), ("b", "1")])).await;
    assert_eq!(next_changes(&mut reader).await.len(), 1);
    write(&mut store, set(table, "v|s", &[("c", "2")])).await;
    let expected = change(table, "v|s", Some(fields(&[("c", "2")])));
    assert_eq!(next_changes(&mut reader).await, [expected]);
    until_snapshot(&mut store, &[row(table, "v|s", &[("c", "2")], true)]).await;
    write(&mut store, del(table, "v|s")).await;
    assert_eq!(next_changes(&mut reader).await, [change(table, "v|s", None)]);
    assert!(!connection.exists("DASH_HA_SCOPE_STATE|v|s").await.unwrap());
}

#[tokio::test]
async fn a_shared_row_keeps_the_fields_of_its_other_writers() {
    let table = Table::DpuState;
    let server = server().await;
    let endpoint = server.endpoint(Db::ChassisStateDb);
    let connection = connect(&endpoint).await;
    connection.hset("DPU_STATE|DPU0", &fields(&[("theirs", "1"), ("ours", "1")])).await.unwrap();
    let (mut store, _) = open(&endpoint, &[(table, Mode::Table)]).await;
    let write = merge(table, "DPU0", &[("ours", "2")]);
    store.write(vec![write.clone()]);
    expect_written(&mut store, &write, true).await;
    let merged = [("ours", "2"), ("theirs", "1")];
    assert_eq!(connection.hgetall("DPU_STATE|DPU0").await.unwrap(), fields(&merged));
    // `Written` told it all: the row was consumed before, and still is.
    connection.hset("DPU_STATE|DPU0", &fields(&[("theirs", "3")])).await.unwrap();
    let merged = [("ours", "2"), ("theirs", "3")];
    assert_eq!(next_snapshot(&mut store).await, [row(table, "DPU0", &merged, true)]);
}

#[tokio::test]
async fn what_others_do_to_our_rows_shows_at_once_and_what_changes_nothing_does_not() {
    let table = Table::DashHaScopeState;
    let server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let connection = connect(&endpoint).await;
    connection.hset("DASH_HA_SCOPE_STATE|k", &fields(&[("a", "1")])).await.unwrap();
    let (mut store, rows) = open(&endpoint, &[(table, Mode::Table)]).await;
    assert_eq!(rows, [row(table, "k", &[("a", "1")], true)]);

    connection.hset("DASH_HA_SCOPE_STATE|k", &fields(&[("a", "1")])).await.unwrap();
    connection.hset("DASH_HA_SCOPE_STATES|k", &fields(&[("a", "1")])).await.unwrap();
    connection.hset("DASH_HA_SCOPE_STATE|l", &fields(&[("a", "2")])).await.unwrap();
    let both = [row(table, "k", &[("a", "1")], true), row(table, "l", &[("a", "2")], true)];
    assert_eq!(next_snapshot(&mut store).await, both);
    connection.del("DASH_HA_SCOPE_STATE|k").await.unwrap();
    assert_eq!(next_snapshot(&mut store).await, [row(table, "l", &[("a", "2")], true)]);
    connection.command(&["SET", "DASH_HA_SCOPE_STATE|l", "no hash"]).await.unwrap();
    assert_eq!(next_snapshot(&mut store).await, []);
    // A row in the way of which something else lies is put right.
    let write = set(table, "l", &[("a", "3")]);
    store.write(vec![write.clone()]);
    expect_written(&mut store, &write, true).await;
    assert_eq!(next_snapshot(&mut store).await, [row(table, "l", &[("a", "3")], true)]);
}

#[tokio::test]
async fn a_refused_write_is_reported_and_the_others_are_done() {
    let table = Table::DpuState;
    let server = server().await;
    let endpoint = server.endpoint(Db::ChassisStateDb);
    let connection = connect(&endpoint).await;
    connection.command(&["SET", "DPU_STATE|DPU0", "no hash"]).await.unwrap();
    let (mut store, _) = open(&endpoint, &[(table, Mode::Table)]).await;
    let writes = [
        (set(table, "DPU1", &[("a", "1")]), true),
        (merge(table, "DPU0", &[("a", "1")]), false),
        (set(table, "DPU2", &[]), false),
        (set(SET, "k", &[("a", "1")]), false),
        (merge(table, "DPU3", &[]), false),
        (set(table, "DPU4", &[("a", "1")]), true),
    ];
    store.write(writes.iter().map(|(write, _)| write.clone()).collect());
    for (write, done) in &writes {
        expect_written(&mut store, write, *done).await;
    }
    let rows = [row(table, "DPU1", &[("a", "1")], true), row(table, "DPU4", &[("a", "1")], true)];
    assert_eq!(next_snapshot(&mut store).await, rows);
}

/// The contract of `StoreUpdate`: a snapshot that follows `Written` was read after that write, and one that
/// precedes it was read before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_and_writes_are_reported_in_the_order_in_which_they_happened() {
    const WRITES: usize = 2000;
    for mode in [Mode::Table, Mode::ProducerState] {
        let server = server().await;
        let endpoint = server.endpoint(Db::DpuApplDb);
        let connection = connect(&endpoint).await;
        let (mut store, _) = open(&endpoint, &[(SET, mode)]).await;
        // Others make noise in the same table, and take what is pending.
        let noise = tokio::spawn(async move {
            let mut i = 0_u64;
            loop {
                i += 1;
                let noise = fields(&[("i", &i.to_string())]);
                if connection.hset("DASH_HA_SET_TABLE:noise", &noise).await.is_err() {
                    return;
                }
                if mode == Mode::ProducerState && i.is_multiple_of(3) {
                    sonic_pop(&connection, NAME).await;
                }
            }
        });
        let mut asked = 0;
        let mut last_written: Option<usize> = None;
        let mut snapshots = 0;
        while last_written != Some(WRITES) {
            // At most one write per row under way, as a Reconciler does it.
            if asked == last_written.unwrap_or(0) {
                asked += 1;
                let i = asked.to_string();
                let write = if asked % 7 == 0 { del(SET, "ours") } else { set(SET, "ours", &[("i", &i)]) };
                store.write(vec![write]);
            }
            match next_update(&mut store).await {
                StoreUpdate::Written { done, .. } => {
                    assert!(done);
                    last_written = Some(asked);
                }
                StoreUpdate::Snapshot(rows) => {
                    snapshots += 1;
                    let ours = rows.into_iter().find(|row| row.key == "ours").map(|row| row.fields);
                    let expected = match last_written {
                        None => None,
                        Some(i) if i % 7 == 0 => None,
                        Some(i) => Some(fields(&[("i", &i.to_string())])),
                    };
                    assert_eq!(ours, expected, "{mode:?} after {last_written:?}");
                }
                StoreUpdate::Lost => panic!("lost"),
            }
        }
        assert!(snapshots > 10, "{snapshots} snapshots");
        noise.abort();
    }
}

#[tokio::test]
async fn a_thousand_writes_at_once_are_all_done_in_order() {
    let server = server().await;
    let endpoint = server.endpoint(Db::DpuApplDb);
    let (mut store, _) = open(&endpoint, &[(Table::BfdSession, Mode::ProducerState)]).await;
    let mut reader = Reader::consume(&endpoint, &[Table::BfdSession]);
    until_synced(&mut reader).await;
    let writes: Vec<RowWrite> =
        (0..1024).map(|i| set(Table::BfdSession, &format!("default:default:{i}"), &[("a", "1")])).collect();
    store.write(writes.clone());
    let mut written = Vec::new();
    let mut last = Vec::new();
    while written.len() < writes.len() {
        match next_update(&mut store).await {
            StoreUpdate::Written { write, done: true } => written.push(write),
            StoreUpdate::Snapshot(rows) => last = rows,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(written, writes);
    while last.len() < 1024 || last.iter().any(|row| !row.consumed) {
        last = next_snapshot(&mut store).await;
    }
    let mut belief = Belief::default();
    belief.follow_until(&mut reader, |belief| belief.rows.len() == 1024).await;
}

/// A row is not as it was written while there is a field that is not its writer's, whatever its name.
#[tokio::test]
async fn a_field_whose_name_is_not_text_is_seen_and_can_be_replaced() {
    const TABLE: Table = Table::DashHaScopeState;
    let server = server().await;
    let endpoint = server.endpoint(Db::StateDb);
    let connection = connect(&endpoint).await;
    let mut store = Store::open(&endpoint, &[(TABLE, Mode::Table)]);
    next_snapshot(&mut store).await;
    let write = RowWrite { table: TABLE, key: "k".to_owned(), op: Op::Set(fields(&[("a", "1")])) };
    store.write(vec![write.clone()]);
    until_snapshot(&mut store, &[row(TABLE, "k", &[("a", "1")], true)]).await;
    let odd = format!(r"redis.call('HSET', '{}', 'odd\255', '2')", endpoint.redis_key(TABLE, "k"));
    connection.command(&["EVAL", &odd, "0"]).await.unwrap();
    until_snapshot(&mut store, &[row(TABLE, "k", &[("a", "1"), (r"odd\xff", "2")], true)]).await;
    store.write(vec![write]);
    until_snapshot(&mut store, &[row(TABLE, "k", &[("a", "1")], true)]).await;
    let length = connection.command(&["HLEN", &endpoint.redis_key(TABLE, "k")]).await.unwrap();
    assert_eq!(length, Reply::Int(1));
}
