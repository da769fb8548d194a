//! The durable store: the controller's records, as JSON values of an embedded transactional database.
//!
//! ```text
//!   Effect::Persist ──► queue ──► thread: all that waits, in one transaction ──► Input::Persisted
//! ```
//!
//! A commit waits for the disk, so it happens on a thread of its own; everything that waits meanwhile goes into
//! the next transaction.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

use controller::{DpuRecord, Input};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use tokio::sync::mpsc;

/// Records by DPU, `switch0/DPU0`.
const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("dpu_records");

/// The most records of one transaction.
const TRANSACTION_RECORDS_MAX: usize = 4096;

/// Why the store is of no use.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("another controller has the store {} open", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be opened.
    #[error(
        "cannot open the store {}: if it is damaged, move it away, and the controller will adopt what it finds",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// A record in it cannot be understood.
    #[error("the store {} holds a record for {key} that cannot be understood", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The thread that writes cannot be started.
    #[error("cannot start the thread of the store")]
    Thread(#[source] std::io::Error),
}

/// The store and its writing thread, which ends when this is dropped.
#[derive(Debug)]
pub struct DurableStore {
    queue: Sender<DpuRecord>,
}

impl DurableStore {
    /// Opens or creates the store, and reads everything in it. What is stored later is reported to `inputs`.
    ///
    /// # Errors
    /// Another process has it, it is damaged, or a record cannot be understood.
    pub fn open(path: &Path, inputs: mpsc::Sender<Input>) -> Result<(Self, Vec<DpuRecord>), StoreError> {
        let at = || path.to_owned();
        let database = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: at() },
            error => StoreError::Open { path: at(), source: Box::new(error.into()) },
        })?;
        let records = read(&database, path)?;
        let (queue, waiting) = channel();
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || keep(&database, &waiting, &inputs))
            .map_err(StoreError::Thread)?;
        Ok((Self { queue }, records))
    }

    /// Stores a record, soon. Never blocks; a DPU has at most one record on its way.
    pub fn persist(&self, record: DpuRecord) {
        if let Err(record) = self.queue.send(record) {
            tracing::error!(dpu = %record.0.dpu, "the store's thread is gone; nothing is stored any more");
        }
    }
}

fn read(database: &Database, path: &Path) -> Result<Vec<DpuRecord>, StoreError> {
    let open = |error: redb::Error| StoreError::Open { path: path.to_owned(), source: Box::new(error) };
    let transaction = database.begin_read().map_err(|error| open(error.into()))?;
    let table = match transaction.open_table(RECORDS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(open(error.into())),
    };
    let mut records = Vec::new();
    for row in table.iter().map_err(|error| open(error.into()))? {
        let (key, value) = row.map_err(|error| open(error.into()))?;
        let record = serde_json::from_slice(value.value()).map_err(|source| {
            let key = key.value().to_owned();
            StoreError::Record { path: path.to_owned(), key, source }
        })?;
        records.push(record);
    }
    Ok(records)
}

fn keep(database: &Database, waiting: &Receiver<DpuRecord>, inputs: &mpsc::Sender<Input>) {
    while let Ok(first) = waiting.recv() {
        let mut batch = vec![first];
        batch.extend(waiting.try_iter().take(TRANSACTION_RECORDS_MAX - 1));
        let ok = match write(database, &batch) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!("cannot store records: {error}");
                false
            }
        };
        for record in batch {
            if inputs.blocking_send(Input::Persisted { record, ok }).is_err() {
                return;
            }
        }
    }
}

fn write(database: &Database, records: &[DpuRecord]) -> Result<(), Box<dyn std::error::Error>> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(RECORDS)?;
        for record in records {
            let value = serde_json::to_vec(record)?;
            table.insert(record.dpu.to_string().as_str(), value.as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(())
}
