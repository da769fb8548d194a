//! The store, and the way to the switches.

use std::collections::BTreeMap;
use std::time::Duration;

use controller::{DpuRecord, Input, Life, Phase, SwitchName};
use fleet::SwitchAccess;
use reconcile::{StoreEvent, StoreUpdate};
use schema::{Db, VdpuId};
use shell::Metrics;
use swss::testing::{RedisServer, database_config};
use tokio::sync::mpsc;

use crate::southbound::{DirectRedis, Southbound};
use crate::store::{DurableStore, StoreError};

fn record(epoch: u64) -> DpuRecord {
    DpuRecord {
        dpu: "switch0/DPU0".to_owned().try_into().unwrap(),
        vdpu: VdpuId::new("vdpu0_0").unwrap(),
        phase: Phase::WaitingUp,
        epoch,
        life: Life::default(),
        scopes: Default::default(),
    }
}

#[tokio::test]
async fn a_record_that_was_reported_stored_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let (inputs, mut reported) = mpsc::channel(16);
    let (store, records) = DurableStore::open(&path, inputs.clone()).unwrap();
    assert_eq!(records, []);
    for epoch in 1..=3 {
        store.persist(record(epoch));
        assert_eq!(reported.recv().await, Some(Input::Persisted { record: record(epoch), ok: true }));
    }
    assert!(matches!(DurableStore::open(&path, inputs.clone()), Err(StoreError::InUse { .. })));
    drop((store, inputs));
    assert_eq!(reported.recv().await, None, "the thread has ended, and the file is free");
    let (inputs, _reported) = mpsc::channel(16);
    let (_store, records) = DurableStore::open(&path, inputs).unwrap();
    assert_eq!(records, [record(3)]);
}

#[test]
fn a_damaged_store_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let (inputs, _reported) = mpsc::channel(16);
    std::fs::write(&path, vec![0x5a; 10_000]).unwrap();
    let error = DurableStore::open(&path, inputs.clone()).unwrap_err();
    assert!(error.to_string().contains("store.redb"), "{error}");

    std::fs::remove_file(&path).unwrap();
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<&str, &[u8]>::new("dpu_records");
    transaction.open_table(table).unwrap().insert("switch0/DPU0", b"{}".as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = DurableStore::open(&path, inputs.clone()).unwrap_err();
    assert!(matches!(&error, StoreError::Record { key, .. } if key == "switch0/DPU0"), "{error}");

    let error = DurableStore::open(&dir.path().join("no/such/dir/store"), inputs).unwrap_err();
    assert!(error.to_string().contains("no/such/dir"), "{error}");
}

/// A fleet that is read twice in a row while the core is busy: that the old connections are lost is said before the new
/// ones say what there is, or the switch would stay unknown.
#[tokio::test]
async fn what_is_lost_with_a_connection_is_said_before_the_next_one_says_anything() {
    let dir = tempfile::tempdir().unwrap();
    let server = RedisServer::start().await.unwrap();
    let access = |name: &str| {
        let databases = [Db::ApplDb, Db::StateDb, Db::ChassisStateDb].map(|db| server.endpoint(db));
        let path = dir.path().join(name);
        std::fs::write(&path, database_config(databases)).unwrap();
        SwitchAccess { database_config: path, database_global: None }
    };
    let switch: SwitchName = "switch0".to_owned().try_into().unwrap();
    let reached_by = |access: SwitchAccess| BTreeMap::from([(switch.clone(), access)]);
    let (inputs, mut said) = mpsc::channel(1);
    let mut southbound = DirectRedis::new(inputs, Metrics::new());
    southbound.connect(&reached_by(access("first.json")));
    southbound.connect(&reached_by(access("second.json")));
    southbound.connect(&BTreeMap::new());
    southbound.connect(&reached_by(access("third.json")));

    // The first and the second connection are lost, two databases that are read and two that are written each.
    let mut lost = 0;
    let mut open = 0;
    while open < 4 {
        // The core is busy: whoever has something to say waits for its turn.
        tokio::time::sleep(Duration::from_millis(20)).await;
        match said.recv().await.unwrap() {
            Input::Unsynced { .. } | Input::Store(StoreEvent { update: StoreUpdate::Lost, .. }) => lost += 1,
            Input::Synced { .. } | Input::Store(StoreEvent { update: StoreUpdate::Snapshot(_), .. }) => {
                assert_eq!(lost, 8, "the third connection speaks");
                open += 1;
            }
            other => assert_eq!(lost, 8, "{other:?}"),
        }
    }
}
