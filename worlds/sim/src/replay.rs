//! What a daemon recorded, given to its core again: a bug from the field at the desk.
//!
//! The file is what `--record FILE` writes (`io/shell`): the core as it began, every batch it was given, and at the
//! end the core as it left. The replayed core must end as the recorded one did.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use controller::Controller;
use hamgr::Hamgr;
use haorch::HaOrch;
use pmon::{PmonDpu, PmonNpu};
use reconcile::{Batch, Core, Time};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A record cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A line is not what a recorder writes.
    #[error("line {line} is not a recorder's: {source}")]
    BadLine {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The first line does not tell how the core began.
    #[error("the first line names no core: the file was not written by --record, or by an older version")]
    NoBeginning,
    /// The record is of a core that is not known here.
    #[error("the record is of the core {0}, which cannot be replayed")]
    UnknownCore(String),
    /// What was replayed cannot be written.
    #[error("cannot write what was replayed: {0}")]
    Unwritable(#[from] io::Error),
}

/// What was replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The core's name.
    pub core: String,
    /// How often it was called.
    pub batches: u64,
    /// How many inputs it was given.
    pub inputs: u64,
    /// How many effects it asked for.
    pub effects: u64,
    /// Whether it ended as the recorded one did; `None` where the daemon did not live to record that.
    pub same_end: Option<bool>,
}

impl Replayed {
    /// Whether nothing speaks against it.
    pub fn is_faithful(&self) -> bool {
        self.same_end != Some(false)
    }
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { core, batches, inputs, effects, same_end } = self;
        let end = match same_end {
            Some(true) => "it ended as the recorded one did",
            Some(false) => "it did NOT end as the recorded one did",
            None => "how the recorded one ended is not on record",
        };
        write!(f, "{core}: {batches} batches, {inputs} inputs, {effects} effects; {end}")
    }
}

#[derive(serde::Deserialize)]
struct Beginning {
    core: String,
    state: Value,
}

#[derive(serde::Deserialize)]
struct Given<I> {
    now_ms: Time,
    #[serde(flatten)]
    batch: Batch<I>,
}

/// Replays a record and writes what went in and what came out, with times.
///
/// # Errors
/// The file cannot be read, or is not a record of one of our daemons.
pub fn replay(path: &Path, out: &mut impl Write) -> Result<Replayed, ReplayError> {
    let unreadable = |source| ReplayError::Unreadable { path: path.to_owned(), source };
    let mut lines = BufReader::new(File::open(path).map_err(unreadable)?).lines();
    let first = lines.next().ok_or(ReplayError::NoBeginning)?.map_err(unreadable)?;
    let beginning: Beginning = serde_json::from_str(&first).map_err(|_| ReplayError::NoBeginning)?;
    let lines = lines.map(|line| line.map_err(unreadable));
    match beginning.core.as_str() {
        "Hamgr" => replay_core::<Hamgr>(beginning, lines, out),
        "HaOrch" => replay_core::<HaOrch>(beginning, lines, out),
        "Controller" => replay_core::<Controller>(beginning, lines, out),
        "PmonNpu" => replay_core::<PmonNpu>(beginning, lines, out),
        "PmonDpu" => replay_core::<PmonDpu>(beginning, lines, out),
        _ => Err(ReplayError::UnknownCore(beginning.core)),
    }
}

fn replay_core<C>(
    beginning: Beginning,
    lines: impl Iterator<Item = Result<String, ReplayError>>,
    out: &mut impl Write,
) -> Result<Replayed, ReplayError>
where
    C: Core + Serialize + DeserializeOwned,
    C::Input: DeserializeOwned,
{
    let bad = |line| move |source| ReplayError::BadLine { line, source };
    let mut core: C = serde_json::from_value(beginning.state).map_err(bad(1))?;
    let mut replayed = Replayed { core: beginning.core, batches: 0, inputs: 0, effects: 0, same_end: None };
    for (number, line) in (2..).zip(lines) {
        let value: Value = serde_json::from_str(&line?).map_err(bad(number))?;
        if let Some(end) = value.get("end") {
            replayed.same_end = Some(serde_json::to_value(&core).map_err(bad(number))? == *end);
            continue;
        }
        let Given { now_ms, batch } =
            serde_json::from_value::<Given<C::Input>>(value).map_err(bad(number))?;
        replayed.batches += 1;
        replayed.inputs += batch.inputs.len() as u64;
        let at = |out: &mut _, what: fmt::Arguments<'_>| line_at(out, now_ms, what);
        if batch.inputs.is_empty() {
            at(out, format_args!("wakes  {}", core.next_deadline().map_or("", |(_, why)| why)))?;
        }
        for input in &batch.inputs {
            at(out, format_args!("reads  {input:?}"))?;
        }
        let mut effects = Vec::new();
        core.handle(now_ms, batch, &mut effects);
        replayed.effects += effects.len() as u64;
        for effect in &effects {
            at(out, format_args!("wants  {effect:?}"))?;
        }
    }
    Ok(replayed)
}

fn line_at(out: &mut impl Write, Time(ms): Time, what: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(out, "{:>6}.{:03} {what}", ms / 1000, ms % 1000)
}
