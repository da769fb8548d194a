//! The durable store: one record per DPU, in an embedded database.

use std::path::{Path, PathBuf};
use std::thread;

use controller::{DpuRecord, Input};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::mpsc;

/// Key: a DPU such as `switch0/DPU0`. Value: its record as JSON.
const RECORDS: TableDefinition<&str, &str> = TableDefinition::new("dpu_records");

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened: damaged, not ours, in use by another controller, or not accessible.
    #[error("cannot open the store {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<redb::Error>,
    },
    /// It cannot be read or written.
    #[error("the store fails")]
    Fails(#[source] Box<redb::Error>),
    /// A record is not one of ours.
    #[error("the store's record of {dpu} is not understood")]
    Record {
        /// Its key.
        dpu: String,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
}

/// Any of redb's errors.
fn fails(cause: impl Into<redb::Error>) -> StoreError {
    StoreError::Fails(Box::new(cause.into()))
}

/// The store.
pub struct Store {
    database: Database,
}

impl Store {
    /// Opens the store, or makes an empty one where there is none.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let open = |cause: redb::Error| StoreError::Open { path: path.to_owned(), cause: Box::new(cause) };
        let database = Database::create(path).map_err(|cause| open(cause.into()))?;
        let store = Self { database };
        store.put(&[])?;
        Ok(store)
    }

    /// All records.
    pub fn records(&self) -> Result<Vec<DpuRecord>, StoreError> {
        let transaction = self.database.begin_read().map_err(fails)?;
        let table = transaction.open_table(RECORDS).map_err(fails)?;
        let mut records = Vec::new();
        for entry in table.iter().map_err(fails)? {
            let (dpu, record) = entry.map_err(fails)?;
            let record = serde_json::from_str(record.value())
                .map_err(|cause| StoreError::Record { dpu: dpu.value().to_owned(), cause })?;
            records.push(record);
        }
        Ok(records)
    }

    /// Makes all these records durable, or none. When it returns they are on disk.
    pub fn put(&self, records: &[DpuRecord]) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().map_err(fails)?;
        {
            let mut table = transaction.open_table(RECORDS).map_err(fails)?;
            for record in records {
                let dpu = record.dpu.to_string();
                let json = serde_json::to_string(record)
                    .map_err(|cause| StoreError::Record { dpu: dpu.clone(), cause })?;
                table.insert(dpu.as_str(), json.as_str()).map_err(fails)?;
            }
        }
        transaction.commit().map_err(fails)
    }
}

/// Writes records in a thread of its own, because a write waits for the disk. Records that wait together are
/// made durable together.
pub struct StoreWriter {
    // Bounded by the fleet: the core has at most one record per DPU under way.
    queue: mpsc::UnboundedSender<DpuRecord>,
}

impl StoreWriter {
    /// Starts the thread; it reports to `inputs` and ends with this writer.
    pub fn start(store: Store, inputs: mpsc::Sender<Input>) -> std::io::Result<Self> {
        let (queue, mut waiting) = mpsc::unbounded_channel();
        thread::Builder::new().name("store".to_owned()).spawn(move || {
            while let Some(first) = waiting.blocking_recv() {
                let mut records = vec![first];
                while let Ok(next) = waiting.try_recv() {
                    records.push(next);
                }
                let put = store.put(&records);
                if let Err(error) = &put {
                    tracing::error!(error = error as &dyn std::error::Error, "records are not durable");
                }
                for record in records {
                    let report = Input::Persisted { record, ok: put.is_ok() };
                    if inputs.blocking_send(report).is_err() {
                        return;
                    }
                }
            }
        })?;
        Ok(Self { queue })
    }

    /// Makes a record durable; the outcome is reported.
    pub fn persist(&self, record: DpuRecord) {
        if self.queue.send(record).is_err() {
            tracing::error!("the store's thread is gone");
        }
    }
}
