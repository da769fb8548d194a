//! Who read what, decided what, wrote what: a line each.

use reconcile::{Op, RowWrite, StoreUpdate};
use schema::Db;

use crate::client::Update;
use crate::rng::Micros;
use crate::topology::{Proc, Server};

/// The lines, while they are wanted.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Keeps no lines.
    pub fn off() -> Self {
        Self { lines: None }
    }

    /// Keeps every line.
    pub fn on() -> Self {
        Self { lines: Some(Vec::new()) }
    }

    /// A number that differs if any line does.
    pub fn fingerprint(&self) -> u64 {
        // FNV-1a: the same on every machine.
        let bytes = self.lines().iter().flat_map(|line| line.bytes().chain([b'\n']));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// The lines kept so far.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// Adds a line; it is made only if it is wanted.
    pub fn line(&mut self, now: Micros, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>4}.{:06} {}", now / 1_000_000, now % 1_000_000, text()));
        }
    }

    /// A write was carried out.
    pub fn write(&mut self, now: Micros, proc: Proc, server: Server, db: Db, write: &RowWrite) {
        self.line(now, || {
            let what = match &write.op {
                Op::Set(fields) => format!("= {fields:?}"),
                Op::Merge(fields) => format!("+ {fields:?}"),
                Op::Del => "deleted".to_owned(),
            };
            format!("{proc} WRITES {server} {db} {} {what}", write.table.redis_key(&write.key))
        });
    }

    /// A process read something.
    pub fn read(&mut self, now: Micros, proc: Proc, server: Server, db: Db, update: &Update) {
        let Update::Changes(changes) = update else {
            self.line(now, || format!("{proc} reads  {server} {db} {update:?}"));
            return;
        };
        for change in changes {
            self.line(now, || {
                let row = change.table.redis_key(&change.key);
                match &change.fields {
                    Some(fields) => format!("{proc} reads  {server} {db} {row} is {fields:?}"),
                    None => format!("{proc} reads  {server} {db} {row} is gone"),
                }
            });
        }
    }

    /// A process hears of its own rows.
    pub fn stored(&mut self, now: Micros, proc: Proc, server: Server, db: Db, update: &StoreUpdate) {
        self.line(now, || match update {
            StoreUpdate::Snapshot(rows) => {
                let rows: Vec<String> = rows
                    .iter()
                    .map(|row| {
                        let mark = if row.consumed { "" } else { " (waiting)" };
                        format!("{}{mark}", row.table.redis_key(&row.key))
                    })
                    .collect();
                format!("{proc} hears  {server} {db} snapshot [{}]", rows.join(", "))
            }
            StoreUpdate::Written { write, done } => {
                format!("{proc} hears  {server} {db} written {} {done}", write.table.redis_key(&write.key))
            }
            StoreUpdate::Lost => format!("{proc} hears  {server} {db} LOST"),
        });
    }
}
