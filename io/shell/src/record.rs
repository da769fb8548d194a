//! The recorder: the core as it began, every batch that it was given, and the core as it left, one JSON object a
//! line, so that a run in the field can be replayed at the desk (`sim --replay FILE`).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use reconcile::{Batch, Time};
use serde::Serialize;

/// The recorder could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot create the record file {path}", path = path.display())]
pub struct RecordError {
    path: PathBuf,
    #[source]
    cause: std::io::Error,
}

/// How large a record may become, in bytes. Recording stops there.
const RECORD_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Writes batches to a file. Recording stops at the first failure; the daemon goes on.
#[derive(Debug)]
pub struct Recorder {
    file: Option<BufWriter<File>>,
    written_bytes: u64,
}

#[derive(Serialize)]
struct Beginning<'a, C> {
    core: &'a str,
    state: &'a C,
}

#[derive(Serialize)]
struct End<'a, C> {
    end: &'a C,
}

#[derive(Serialize)]
struct Line<'a, I> {
    now_ms: Time,
    #[serde(flatten)]
    batch: &'a Batch<I>,
}

impl Recorder {
    /// Records nothing.
    pub fn off() -> Self {
        Self { file: None, written_bytes: 0 }
    }

    /// Records into a new file, replacing an old one.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path) -> Result<Self, RecordError> {
        let file = File::create(path).map_err(|cause| RecordError { path: path.to_owned(), cause })?;
        Ok(Self { file: Some(BufWriter::new(file)), written_bytes: 0 })
    }

    /// Records which core it is, and how it begins. Its settings and the seed of its ids are part of that.
    pub fn begin<C: Serialize>(&mut self, core: &C) {
        let name = std::any::type_name::<C>();
        let name = name.rsplit("::").next().unwrap_or(name);
        self.line(&Beginning { core: name, state: core });
    }

    /// Records a batch.
    pub fn record<I: Serialize>(&mut self, now: Time, batch: &Batch<I>) {
        self.line(&Line { now_ms: now, batch });
    }

    /// Records how the core leaves, so that a replay can tell whether it went the same way.
    pub fn end<C: Serialize>(&mut self, core: &C) {
        self.line(&End { end: core });
    }

    fn line(&mut self, line: &impl Serialize) {
        let Some(file) = &mut self.file else { return };
        let written = serde_json::to_string(line).map_err(std::io::Error::other).and_then(|line| {
            writeln!(file, "{line}").and_then(|()| file.flush()).map(|()| line.len() as u64 + 1)
        });
        match written {
            Ok(bytes) => self.written_bytes += bytes,
            Err(error) => {
                tracing::warn!(%error, "recording stops");
                self.file = None;
            }
        }
        if self.written_bytes > RECORD_BYTES_MAX {
            tracing::warn!(limit_bytes = RECORD_BYTES_MAX, "recording stops: the file is full");
            self.file = None;
        }
    }
}
