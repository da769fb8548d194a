//! The outbox: what its user ends up with does not depend on how often it looks.

use std::collections::BTreeMap;

use proptest::prelude::*;
use schema::{Fields, Table};

use crate::{Difference, Outbox, Report, Update};

const TABLE: Table = Table::DashHaSet;

/// A view of one table, and the outboxes that it reports to.
#[derive(Default)]
struct Reported {
    rows: BTreeMap<String, Fields>,
}

impl Reported {
    fn change(&mut self, key: &str, value: Option<u8>) -> Report {
        let fields = value.map(|value| [("v", value.to_string())].into_iter().collect::<Fields>());
        let was_known = match &fields {
            Some(fields) => self.rows.insert(key.to_owned(), fields.clone()),
            None => self.rows.remove(key),
        };
        let row = (TABLE, key.to_owned());
        Report {
            differences: vec![Difference { row, was_known: was_known.is_some(), fields }],
            synced: false,
        }
    }
}

fn synced() -> Report {
    Report { differences: Vec::new(), synced: true }
}

fn drain(outbox: &mut Outbox, rows: &mut BTreeMap<String, Fields>) {
    while let Some(update) = outbox.take() {
        if let Update::Changes(changes) = update {
            for change in changes {
                match change.fields {
                    Some(fields) => rows.insert(change.key, fields),
                    None => rows.remove(&change.key),
                };
            }
        }
    }
}

proptest! {
    #[test]
    fn a_slow_user_ends_up_with_what_a_quick_one_has(
        changes in prop::collection::vec((0..3_u8, prop::option::of(0..3_u8), any::<bool>()), 0..40),
    ) {
        let (mut slow, mut quick) = (Outbox::default(), Outbox::default());
        let (mut slow_rows, mut quick_rows) = (BTreeMap::new(), BTreeMap::new());
        let mut reported = Reported::default();
        for (key, value, looks) in changes {
            let report = reported.change(&key.to_string(), value);
            slow.put(report.clone());
            quick.put(report);
            drain(&mut quick, &mut quick_rows);
            if looks {
                drain(&mut slow, &mut slow_rows);
            }
        }
        drain(&mut slow, &mut slow_rows);
        prop_assert_eq!(slow_rows, quick_rows);
    }
}

#[test]
fn at_most_two_changes_of_a_row_are_kept() {
    let (mut outbox, mut reported) = (Outbox::default(), Reported::default());
    outbox.put(reported.change("k", Some(1)));
    drain(&mut outbox, &mut BTreeMap::new());
    for i in 0..100 {
        outbox.put(reported.change("k", (i % 2 == 0).then_some(i)));
    }
    outbox.put(reported.change("k", Some(7)));
    let Some(Update::Changes(changes)) = outbox.take() else { panic!("nothing was kept") };
    let present: Vec<bool> = changes.iter().map(|change| change.fields.is_some()).collect();
    assert_eq!(present, [false, true]);
}

#[test]
fn rows_that_came_and_went_unseen_leave_nothing_behind() {
    let (mut outbox, mut reported) = (Outbox::default(), Reported::default());
    for i in 0..100 {
        outbox.put(reported.change(&i.to_string(), Some(1)));
        outbox.put(reported.change(&i.to_string(), None));
    }
    assert!(outbox.is_empty());
    assert_eq!(outbox.take(), None);
}

#[test]
fn a_loss_comes_first_and_withdraws_synced() {
    let (mut outbox, mut reported) = (Outbox::default(), Reported::default());
    outbox.put(reported.change("k", Some(1)));
    outbox.put(synced());
    outbox.lose("gone".to_owned());
    assert_eq!(outbox.take(), Some(Update::Lost { reason: "gone".to_owned() }));
    assert!(matches!(outbox.take(), Some(Update::Changes(_))));
    assert_eq!(outbox.take(), None);
    outbox.put(synced());
    assert_eq!(outbox.take(), Some(Update::Synced));
}
