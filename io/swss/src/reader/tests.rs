//! The outbox alone: what its user ends up with does not depend on how often it looks.

use std::collections::BTreeMap;

use proptest::prelude::*;
use schema::{Fields, Table};

use crate::reader::outbox::Outbox;
use crate::{Change, Update};

const TABLE: Table = Table::DashHaSet;

fn put(outbox: &Outbox, key: &str, value: Option<u8>) {
    let fields = value.map(|value| [("v", value.to_string())].into_iter().collect::<Fields>());
    outbox.put(vec![Change { table: TABLE, key: key.to_owned(), fields }], false);
}

fn drain(outbox: &Outbox, rows: &mut BTreeMap<String, Fields>) {
    while let Some(update) = outbox.take() {
        if let Update::Changes(changes) = update {
            for Change { key, fields, .. } in changes {
                match fields {
                    Some(fields) => rows.insert(key, fields),
                    None => rows.remove(&key),
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
        let (slow, quick) = (Outbox::default(), Outbox::default());
        let (mut slow_rows, mut quick_rows) = (BTreeMap::new(), BTreeMap::new());
        for (key, value, look) in changes {
            put(&slow, &key.to_string(), value);
            put(&quick, &key.to_string(), value);
            drain(&quick, &mut quick_rows);
            if look {
                drain(&slow, &mut slow_rows);
            }
        }
        drain(&slow, &mut slow_rows);
        prop_assert_eq!(slow_rows, quick_rows);
    }
}

#[test]
fn at_most_two_changes_of_a_row_are_kept() {
    let outbox = Outbox::default();
    for i in 0..100 {
        put(&outbox, "k", (i % 2 == 0).then_some(i));
    }
    put(&outbox, "k", Some(7));
    let Some(Update::Changes(changes)) = outbox.take() else { panic!("nothing was kept") };
    let present: Vec<bool> = changes.iter().map(|change| change.fields.is_some()).collect();
    assert_eq!(present, [false, true]);
}

#[test]
fn a_loss_comes_first_and_withdraws_synced() {
    let outbox = Outbox::default();
    put(&outbox, "k", Some(1));
    outbox.put(Vec::new(), true);
    outbox.lose("gone".to_owned());
    assert_eq!(outbox.take(), Some(Update::Lost { reason: "gone".to_owned() }));
    assert!(matches!(outbox.take(), Some(Update::Changes(_))));
    assert_eq!(outbox.take(), None);
    outbox.put(Vec::new(), true);
    assert_eq!(outbox.take(), Some(Update::Synced));
}
