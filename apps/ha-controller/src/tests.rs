//! The store.

use controller::{DpuRecord, Input, Life, Phase};
use schema::VdpuId;
use tokio::sync::mpsc;

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
