//! What is out of sync for how long: turns looks into news. It reads no clock and no database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use invariants::{Finding, Part};
use serde_json::{Value, json};

use crate::audit::{finding_as_json, line};
use crate::view::Unreachable;

/// Something that is not well, by what it is about: the words may change while it lasts.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// A row is not as promised.
    Finding(Finding),
    /// A database cannot be read.
    Unreachable(Unreachable),
}

impl Trouble {
    fn subject(&self) -> String {
        match self {
            Trouble::Finding(finding) => {
                let Finding { invariant, place, table, key, .. } = finding;
                format!("{invariant} {place} {table:?} {key}")
            }
            Trouble::Unreachable(Unreachable { place, db, .. }) => format!("{place} {db}"),
        }
    }

    /// In one line.
    pub fn line(&self) -> String {
        match self {
            Trouble::Finding(finding) => match finding.repaired_by().map(Part::name) {
                Some(part) => format!("{}; {part} should repair it", line(finding)),
                None => line(finding),
            },
            Trouble::Unreachable(Unreachable { place, db, reason }) => {
                format!("{place} {db} is out of reach: {reason}")
            }
        }
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        match self {
            Trouble::Finding(finding) => finding_as_json(finding),
            Trouble::Unreachable(unreachable) => json!({ "unreachable": unreachable }),
        }
    }
}

/// News of a trouble.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// It has lasted longer than the grace period.
    Appears {
        /// What.
        trouble: Trouble,
        /// How long it has been seen.
        seen_for: Duration,
    },
    /// It is gone. Only told of what was told to appear.
    Goes {
        /// What.
        trouble: Trouble,
        /// How long it was seen.
        lasted: Duration,
    },
}

#[derive(Debug)]
struct Open {
    trouble: Trouble,
    first_seen: Duration,
    told: bool,
}

/// Everything that is not well now, and since when. Times are since any fixed moment.
#[derive(Debug)]
pub struct Alarms {
    grace: Duration,
    open: BTreeMap<String, Open>,
}

impl Alarms {
    /// Nothing is known yet.
    pub fn new(grace: Duration) -> Self {
        Self { grace, open: BTreeMap::new() }
    }

    /// Takes in what is not well at `now`. `unknown` says of what is missing from it that it cannot be judged now, so
    /// that it is not gone.
    pub fn look(
        &mut self,
        now: Duration,
        troubles: Vec<Trouble>,
        unknown: impl Fn(&Trouble) -> bool,
    ) -> Vec<News> {
        let mut news = Vec::new();
        let mut seen = BTreeSet::new();
        for trouble in troubles {
            let subject = trouble.subject();
            // Several things may be wrong with one row; the first is told.
            if !seen.insert(subject.clone()) {
                continue;
            }
            let fresh = || Open { trouble: trouble.clone(), first_seen: now, told: false };
            let open = self.open.entry(subject).or_insert_with(fresh);
            open.trouble = trouble;
        }
        let gone: Vec<String> = self
            .open
            .iter()
            .filter(|(subject, open)| !seen.contains(*subject) && !unknown(&open.trouble))
            .map(|(subject, _)| subject.clone())
            .collect();
        for open in gone.iter().filter_map(|subject| self.open.remove(subject)).filter(|open| open.told) {
            news.push(News::Goes { trouble: open.trouble, lasted: now.saturating_sub(open.first_seen) });
        }
        for open in self.open.values_mut().filter(|open| !open.told) {
            let seen_for = now.saturating_sub(open.first_seen);
            if seen_for >= self.grace {
                open.told = true;
                news.push(News::Appears { trouble: open.trouble.clone(), seen_for });
            }
        }
        news
    }

    /// When something that was not told yet will have lasted longer than the grace period.
    pub fn next_deadline(&self) -> Option<Duration> {
        let untold = self.open.values().filter(|open| !open.told);
        untold.map(|open| open.first_seen.saturating_add(self.grace)).min()
    }

    /// What has been told to appear, and is still there.
    pub fn standing(&self) -> impl Iterator<Item = &Trouble> {
        self.open.values().filter(|open| open.told).map(|open| &open.trouble)
    }
}
