//! `hactl watch`: follows every database and says what changes.

use std::io::Write;

use invariants::Rows;
use schema::{Db, Slot, Table};
use serde_json::json;
use swss::{Change, Endpoint, Reader, Update};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::source::Sources;
use crate::times::{clock, now};
use crate::words::{Edit, Said, said};

/// How many updates wait to be said before readers wait; readers coalesce meanwhile.
const UPDATES_MAX: usize = 1024;

/// A database that is followed.
struct Followed {
    switch: String,
    slot: Option<Slot>,
    db: Db,
    rows: Rows,
    /// Whether its rows have been read once: until then they are what there is, and no news.
    known: bool,
    lost: bool,
}

impl Followed {
    fn place(&self) -> String {
        self.slot.map_or_else(|| self.switch.clone(), |slot| format!("{} {slot}", self.switch))
    }
}

/// Goes on until it is told to stop. Returns the exit code: 3 if no database is known, or none was ever reached.
///
/// # Errors
/// The output cannot be written, or signals cannot be had.
pub async fn run(sources: &Sources, json: bool, out: &mut impl Write) -> anyhow::Result<u8> {
    let (send, mut updates) = mpsc::channel(UPDATES_MAX);
    let (mut readers, mut followed) = (JoinSet::new(), Vec::new());
    for switch in &sources.switches {
        for (slot, database) in switch.all() {
            match &database.endpoint {
                Ok(endpoint) => {
                    readers.spawn(follow(endpoint.clone(), followed.len(), send.clone()));
                    let (switch, db) = (switch.name.clone(), database.db);
                    followed.push(Followed {
                        switch,
                        slot,
                        db,
                        rows: Rows::new(),
                        known: false,
                        lost: false,
                    });
                }
                Err(reason) => {
                    eprintln!("hactl: {} {} cannot be followed: {reason}", switch.name, database.db)
                }
            }
        }
    }
    if followed.is_empty() {
        return Ok(3);
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut teller = Teller { json, told: false };
    loop {
        let update = tokio::select! {
            update = updates.recv() => update,
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
        };
        let Some((number, update)) = update else {
            return Ok(if followed.iter().any(|database| database.known) { 0 } else { 3 });
        };
        let Some(database) = followed.get_mut(number) else { continue };
        teller.take(database, update, out)?;
        if followed.iter().all(|database| database.known) {
            teller.complete(followed.len(), out)?;
        }
    }
}

async fn follow(endpoint: Endpoint, number: usize, out: mpsc::Sender<(usize, Update)>) {
    let ours =
        |table: &Table| table.db() == endpoint.db && *table != Table::Port && *table != Table::PortTable;
    let tables: Vec<Table> = Table::ALL.iter().copied().filter(ours).collect();
    let mut reader = Reader::subscribe(&endpoint, &tables);
    loop {
        let update = reader.next().await;
        if out.send((number, update)).await.is_err() {
            return;
        }
    }
}

struct Teller {
    json: bool,
    /// Whether it was said that everything is followed.
    told: bool,
}

impl Teller {
    fn take(&mut self, database: &mut Followed, update: Update, out: &mut impl Write) -> std::io::Result<()> {
        match update {
            Update::Changes(changes) => {
                for change in &changes {
                    self.change(database, change, out)?;
                }
            }
            Update::Synced => {
                let emptied = database.known && !database.lost && database.rows.is_empty();
                match (emptied, database.db) {
                    (true, Db::DpuApplDb) => {
                        self.line(database, Some(8), "the DPU", "DPU_APPL_DB is empty", out)?
                    }
                    (true, Db::DpuStateDb) => {
                        self.line(database, Some(9), "the DPU", "DPU_STATE_DB is empty", out)?
                    }
                    (_, db) if database.lost => {
                        self.line(database, None, "hactl", &format!("{db} is followed again"), out)?;
                    }
                    (_, _) => {}
                }
                (database.known, database.lost) = (true, false);
            }
            Update::Lost { reason } => {
                database.lost = true;
                let what = format!("{} is out of reach: {reason}", database.db);
                self.line(database, None, "hactl", &what, out)?;
            }
        }
        out.flush()
    }

    fn change(&self, database: &mut Followed, change: &Change, out: &mut impl Write) -> std::io::Result<()> {
        let Change { table, key, fields } = change;
        let old = database.rows.remove(*table, key);
        let said = said(Edit { table: *table, key, old: old.as_ref(), new: fields.as_ref() });
        if let Some(fields) = fields {
            database.rows.insert(*table, key.clone(), fields.clone());
        }
        match said {
            Some(Said { step, who, what }) if database.known => {
                self.say(database, Some(change), step, who, &what, out)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn line(
        &self,
        database: &Followed,
        step: Option<u8>,
        who: &str,
        what: &str,
        out: &mut impl Write,
    ) -> std::io::Result<()> {
        self.say(database, None, step, who, what, out)
    }

    fn say(
        &self,
        database: &Followed,
        change: Option<&Change>,
        step: Option<u8>,
        who: &str,
        what: &str,
        out: &mut impl Write,
    ) -> std::io::Result<()> {
        let (at, place) = (now(), database.place());
        if self.json {
            let row = |change: &Change| {
                let fields = change.fields.as_ref().map(|fields| {
                    fields.iter().map(|(name, _)| (name, fields.text(name))).collect::<Vec<_>>()
                });
                let fields: Option<serde_json::Map<String, serde_json::Value>> = fields.map(|fields| {
                    fields.into_iter().map(|(name, text)| (name.to_owned(), json!(text))).collect()
                });
                json!({"table": change.table.name(), "key": change.key, "fields": fields})
            };
            let line = json!({
                "at_ms": at.0, "place": place, "db": database.db.name(), "step": step, "who": who, "what": what,
                "row": change.map(row),
            });
            return writeln!(out, "{line}");
        }
        let step = step.map(|step| step.to_string()).unwrap_or_default();
        writeln!(out, "{} {step:>2} {place:<14} {who:<13} {what}", clock(at))
    }

    /// Says once that nothing is missed from now on.
    fn complete(&mut self, databases: usize, out: &mut impl Write) -> std::io::Result<()> {
        if self.told {
            return Ok(());
        }
        self.told = true;
        if self.json {
            writeln!(out, "{}", json!({"at_ms": now().0, "event": "following", "databases": databases}))?;
        } else {
            writeln!(
                out,
                "{}    following {databases} databases; the number is the step of the procedure",
                clock(now())
            )?;
        }
        out.flush()
    }
}
