//! Whatever producers do, in whatever order: what a store reads back is what the consumer will have.

use std::collections::BTreeMap;

use proptest::prelude::*;
use reconcile::{Op, Reconciler, RowWrite, StoreEvent, StoreUpdate};
use schema::{Db, Fields, Table};
use swss::testing::RedisServer;
use swss::{Mode, Reader, Store};

use crate::support::*;

const TABLE: Table = Table::DashHaSet;
const NAME: &str = "DASH_HA_SET_TABLE";

/// Who does what to which row.
#[derive(Clone, Debug)]
enum Step {
    Ours(Op, usize),
    SonicSet(Vec<(&'static str, &'static str)>, usize),
    SonicDel(usize),
    Pop,
}

fn pairs() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    prop::collection::vec(
        (prop::sample::select(vec!["a", "b", "c"]), prop::sample::select(vec!["1", "2"])),
        1..4,
    )
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..2_usize;
    prop_oneof![
        3 => (pairs(), key.clone()).prop_map(|(pairs, key)| Step::Ours(Op::Set(fields(&pairs)), key)),
        1 => (pairs(), key.clone()).prop_map(|(pairs, key)| Step::Ours(Op::Merge(fields(&pairs)), key)),
        2 => key.clone().prop_map(|key| Step::Ours(Op::Del, key)),
        2 => (pairs(), key.clone()).prop_map(|(pairs, key)| Step::SonicSet(pairs, key)),
        1 => key.prop_map(Step::SonicDel),
        2 => Just(Step::Pop),
    ]
}

type Rows = BTreeMap<String, Fields>;

/// The rows as the consumer has them once it has taken everything: `reference/swss-wire.md` 3.5 in a map.
fn expect(rows: &mut Rows, step: &Step) {
    let key = |key: &usize| format!("k{key}");
    match step {
        Step::Ours(Op::Set(fields), at) => {
            rows.insert(key(at), fields.clone());
        }
        Step::Ours(Op::Merge(fields), at) => rows.entry(key(at)).or_default().merge(fields),
        Step::SonicSet(pairs, at) => rows.entry(key(at)).or_default().merge(&fields(pairs)),
        Step::Ours(Op::Del, at) | Step::SonicDel(at) => {
            rows.remove(&key(at));
        }
        Step::Pop => {}
    }
}

async fn run(server: &RedisServer, steps: Vec<Step>) {
    let endpoint = server.endpoint(Db::DpuApplDb);
    let connection = connect(&endpoint).await;
    connection.flushdb().await.unwrap();
    let mut store = Store::open(&endpoint, &[(TABLE, Mode::ProducerState)]);
    let mut belief = Reconciler::new();
    let mut expected = Rows::new();
    for step in &steps {
        expect(&mut expected, step);
        match step {
            Step::Ours(op, key) => {
                let write = RowWrite { table: TABLE, key: format!("k{key}"), op: op.clone() };
                store.write(vec![write.clone()]);
                let written = StoreUpdate::Written { write, done: true };
                loop {
                    let update = next_update(&mut store).await;
                    let is_written = update == written;
                    observe(&mut belief, update);
                    if is_written {
                        break;
                    }
                }
            }
            Step::SonicSet(pairs, key) => sonic_set(&connection, NAME, &format!("k{key}"), pairs).await,
            Step::SonicDel(key) => {
                let key = format!("k{key}");
                let (set, pending, channel) = sonic_names(&connection, NAME, &key);
                let del_set = format!("{NAME}_DEL_SET");
                let publish = ["PUBLISH", &channel, "G"];
                at_once(
                    &connection,
                    &[&["SADD", &set, &key], &["SADD", &del_set, &key], &["DEL", &pending], &publish],
                )
                .await;
            }
            Step::Pop => sonic_pop(&connection, NAME).await,
        }
    }
    // A store opened now reads the same as the one that was there all the while.
    let mut fresh = Store::open(&endpoint, &[(TABLE, Mode::ProducerState)]);
    let found = next_snapshot(&mut fresh).await;
    let rows: Rows = found.iter().map(|row| (row.key.clone(), row.fields.clone())).collect();
    assert_eq!(rows, expected, "read back");

    let mut reader = Reader::consume(&endpoint, &[TABLE]);
    let consumed: Rows = until_synced(&mut reader)
        .await
        .into_iter()
        .filter_map(|change| Some((change.key, change.fields?)))
        .collect();
    assert_eq!(consumed, expected, "consumed");

    let end = RowWrite { table: TABLE, key: "end".to_owned(), op: Op::Del };
    store.write(vec![end.clone()]);
    let mut is_written = false;
    loop {
        let rows: Rows = belief
            .rows_of(&(), TABLE)
            .filter(|(row, _)| belief.is_consumed(row))
            .map(|(row, fields)| (row.key.clone(), fields.clone()))
            .collect();
        if is_written && rows == expected && belief.rows_of(&(), TABLE).count() == rows.len() {
            return;
        }
        let update = next_update(&mut store).await;
        is_written |= update == StoreUpdate::Written { write: end.clone(), done: true };
        observe(&mut belief, update);
    }
}

/// What a store's user makes of its reports.
fn observe(belief: &mut Reconciler<()>, update: StoreUpdate) {
    assert_ne!(update, StoreUpdate::Lost);
    belief.observe(StoreEvent { place: (), db: TABLE.db(), update });
}

#[test]
fn what_is_read_back_is_what_the_consumer_will_have() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(server());
    let config = ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&prop::collection::vec(step(), 1..14), |steps| {
            runtime.block_on(run(&server, steps));
            Ok(())
        })
        .unwrap();
}
