//! `hactl audit --watch`: looks again whenever a database says that something changed, and tells what stays wrong.
//!
//! Nothing is polled: each database has a reader that follows its keyspace events, and only says "look again". A look
//! reads the switches that changed anew, all of their databases, by the code of `hactl audit`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schema::{Fields, Table};
use serde_json::json;
use snapshot::{Reading, Switch};
use swss::{Change, Endpoint, Reader, Update};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::alarms::{Alarms, News, Trouble};
use crate::args::Args;
use crate::audit::{Report, judge};
use crate::source::Sources;
use crate::times::{clock, date, now, span};

/// Changes come in bursts: so long after the first a look begins.
const BURST_DELAY: Duration = Duration::from_millis(50);
/// hamgrd's sign of life is no news.
const HEARTBEAT: &str = "last_heartbeat_time_in_ms";

/// Which switches changed since they were last read.
#[derive(Debug, Default)]
struct Changed {
    switches: Mutex<BTreeSet<usize>>,
    wake: Notify,
}

impl Changed {
    fn mark(&self, switches: impl IntoIterator<Item = usize>) {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner).extend(switches);
        self.wake.notify_one();
    }

    fn take(&self) -> BTreeSet<usize> {
        std::mem::take(&mut self.switches.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Goes on until it is told to stop. Returns the exit code for how things are then.
///
/// # Errors
/// The output cannot be written, or signals cannot be had.
pub async fn run(sources: &Sources, args: &Args, grace_ms: u64, out: &mut impl Write) -> anyhow::Result<u8> {
    let changed = Arc::new(Changed::default());
    // Dropping them stops them.
    let mut readers = JoinSet::new();
    for (s, switch) in sources.switches.iter().enumerate() {
        for endpoint in switch.all().filter_map(|(_, database)| database.endpoint.as_ref().ok()) {
            readers.spawn(follow(endpoint.clone(), s, changed.clone()));
        }
    }
    changed.mark(0..sources.switches.len());
    let mut watcher = Watcher {
        sources,
        timeout: args.timeout(),
        json: args.json,
        began: Instant::now(),
        readings: vec![Reading::default(); sources.switches.len()],
        alarms: Alarms::new(Duration::from_millis(grace_ms)),
        well: None,
    };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    loop {
        let deadline = watcher.alarms.next_deadline().map(|at| watcher.began + at);
        tokio::select! {
            () = changed.wake.notified() => sleep(BURST_DELAY).await,
            // What was seen by one look may be gone without a sign, such as a key that a consumer took.
            () = at(deadline) => changed.mark(0..sources.switches.len()),
            _ = terminate.recv() => return Ok(watcher.exit_code()),
            _ = interrupt.recv() => return Ok(watcher.exit_code()),
        }
        watcher.look(&changed.take(), out).await?;
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn follow(endpoint: Endpoint, switch: usize, changed: Arc<Changed>) {
    let tables: Vec<Table> = Table::ALL.iter().copied().filter(|table| table.db() == endpoint.db).collect();
    let mut reader = Reader::subscribe(&endpoint, &tables);
    let mut states = BTreeMap::new();
    loop {
        let news = match reader.next().await {
            Update::Changes(changes) => changes.iter().any(|change| is_news(change, &mut states)),
            Update::Synced | Update::Lost { .. } => true,
        };
        if news {
            changed.mark([switch]);
        }
    }
}

/// Whether more than the heartbeat changed.
fn is_news(change: &Change, states: &mut BTreeMap<String, Fields>) -> bool {
    if change.table != Table::DashHaScopeState {
        return true;
    }
    let Some(mut fields) = change.fields.clone() else {
        states.remove(&change.key);
        return true;
    };
    fields.remove(HEARTBEAT);
    states.insert(change.key.clone(), fields.clone()) != Some(fields)
}

struct Watcher<'a> {
    sources: &'a Sources,
    timeout: Duration,
    json: bool,
    began: Instant,
    /// The last reading of each switch.
    readings: Vec<Reading>,
    alarms: Alarms,
    /// How it was when that was last told.
    well: Option<bool>,
}

impl Watcher<'_> {
    async fn look(&mut self, switches: &BTreeSet<usize>, out: &mut impl Write) -> anyhow::Result<()> {
        let some: Vec<(usize, &Switch)> =
            self.sources.switches.iter().enumerate().filter(|(s, _)| switches.contains(s)).collect();
        for (s, switch) in some {
            let reading = snapshot::read(std::slice::from_ref(switch), self.timeout).await;
            if let Some(last) = self.readings.get_mut(s) {
                *last = reading;
            }
        }
        let whole = Reading::of_all(&self.readings);
        let report = Report::of(&whole, judge(&whole, self.sources));
        let unreachable = report.unreachable.iter().cloned().map(Trouble::Unreachable);
        let troubles = report.findings.iter().cloned().map(Trouble::Finding).chain(unreachable).collect();
        let unknown = |trouble: &Trouble| match trouble {
            Trouble::Finding(finding) => {
                whole.unread.judgeable(&whole.snapshot, vec![finding.clone()]).is_empty()
            }
            Trouble::Unreachable(_) => false,
        };
        let news = self.alarms.look(self.began.elapsed(), troubles, unknown);
        for news in &news {
            self.tell(news, out)?;
        }
        self.verdict(&report, out)
    }

    fn tell(&self, news: &News, out: &mut impl Write) -> std::io::Result<()> {
        let at = now();
        let (word, trouble, lasted) = match news {
            News::Appears { trouble, seen_for } => ("appears", trouble, *seen_for),
            News::Goes { trouble, lasted } => ("goes", trouble, *lasted),
        };
        if self.json {
            let lasted_ms = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
            let line =
                json!({"at_ms": at.0, "event": word, "seen_for_ms": lasted_ms, "trouble": trouble.json()});
            return writeln!(out, "{line}");
        }
        let since = match trouble {
            Trouble::Finding(finding) => finding.since.map(|since| format!("; since {}", date(since))),
            Trouble::Unreachable(_) => None,
        };
        let since = since.unwrap_or_default();
        match news {
            News::Appears { .. } => {
                writeln!(out, "{} ALARM  {}{since} (seen for {})", clock(at), trouble.line(), span(lasted))
            }
            News::Goes { .. } => {
                writeln!(out, "{} gone   {} (it was seen for {})", clock(at), trouble.line(), span(lasted))
            }
        }
    }

    /// Says how it is as a whole when that changes. Not well is told by the alarms.
    fn verdict(&mut self, report: &Report, out: &mut impl Write) -> anyhow::Result<()> {
        let alarmed = self.alarms.standing().next().is_some();
        let well = match (report.well, alarmed) {
            (true, false) => true,
            (_, true) => false,
            // Something is not well, for less than the grace period: nothing to say yet.
            (false, false) => return Ok(()),
        };
        if self.well == Some(well) {
            return Ok(());
        }
        self.well = Some(well);
        if self.json {
            let line = json!({"at_ms": now().0, "event": "verdict", "well": well, "counts": report.counts});
            writeln!(out, "{line}")?;
        } else if well {
            write!(out, "{} {}", clock(now()), crate::audit::text(report))?;
        }
        Ok(out.flush()?)
    }

    fn exit_code(&self) -> u8 {
        let mut code = 0;
        for trouble in self.alarms.standing() {
            match trouble {
                Trouble::Finding(_) => return 1,
                Trouble::Unreachable(_) => code = 3,
            }
        }
        code
    }
}
