//! What a consumer keeps when its producers come and go.

use std::collections::BTreeSet;

use reconcile::Time;

use super::{SCOPE, SET, fields, row};
use crate::message::{Message, MessageRow};
use crate::{Holdings, NotTaken};

fn message(table: schema::Table, key: &str, value: Option<&str>) -> Message {
    let fields = value.map(|value| fields(&[("v", value)]));
    Message {
        db: table.db().name().to_owned(),
        table: table.name().to_owned(),
        rows: vec![MessageRow { key: key.to_owned(), fields }],
        unreadable_rows: 0,
    }
}

fn ask(holdings: &mut Holdings, present: &[crate::RowId]) -> Vec<crate::RowId> {
    let present: BTreeSet<_> = present.iter().cloned().collect();
    let at = holdings.ask_at().expect("the database is to be asked");
    holdings.asked(at, Some(&present)).into_iter().map(|gone| gone.row).collect()
}

#[test]
fn a_row_whose_deletion_died_with_its_producer_is_dropped() {
    let mut holdings = Holdings::new([SET, SCOPE]);
    holdings.opened(Time(0), 1);
    for (table, key) in [(SET, "kept"), (SET, "lost"), (SCOPE, "lost"), (SET, "again")] {
        holdings.take(1, message(table, key, Some("1"))).unwrap();
    }
    assert_eq!(ask(&mut holdings, &[]), [], "nothing is an orphan");
    assert_eq!(holdings.ask_at(), None);

    holdings.closed(Time(0), 1);
    holdings.opened(Time(1000), 2);
    holdings.take(2, message(SET, "again", Some("1"))).unwrap();
    assert_eq!(ask(&mut holdings, &[row(SET, "kept")]), [], "asked once is not enough");
    assert_eq!(ask(&mut holdings, &[row(SET, "kept")]), [row(SCOPE, "lost"), row(SET, "lost")]);
    assert_eq!(holdings.rows().map(|(row, _)| row.1.as_str()).collect::<Vec<_>>(), ["again", "kept"]);
}

/// Its producer had not read the database yet when it was asked, and will never hear of the row.
#[test]
fn a_row_that_vanishes_after_the_database_was_asked_is_dropped() {
    let mut holdings = Holdings::new([SET]);
    holdings.opened(Time(0), 1);
    for key in ["early", "late", "kept"] {
        holdings.take(1, message(SET, key, Some("1"))).unwrap();
    }
    holdings.closed(Time(0), 1);
    holdings.opened(Time(0), 2);
    assert_eq!(ask(&mut holdings, &[row(SET, "early"), row(SET, "late"), row(SET, "kept")]), []);
    assert_eq!(ask(&mut holdings, &[row(SET, "late"), row(SET, "kept")]), []);
    assert_eq!(ask(&mut holdings, &[row(SET, "kept")]), [row(SET, "early")]);
    assert_eq!(ask(&mut holdings, &[row(SET, "kept")]), [row(SET, "late")]);
    holdings.take(2, message(SET, "kept", Some("1"))).unwrap();
    assert_eq!(ask(&mut holdings, &[row(SET, "kept")]), []);
    assert_eq!(holdings.ask_at(), None, "nothing is an orphan any more");
}

#[test]
fn while_rows_are_left_over_the_database_is_asked_ever_less_often() {
    let mut holdings = Holdings::new([SET]);
    holdings.opened(Time(0), 1);
    holdings.take(1, message(SET, "k", Some("1"))).unwrap();
    holdings.closed(Time(0), 1);
    holdings.opened(Time(0), 2);
    let present = BTreeSet::from([row(SET, "k")]);
    let mut waits = Vec::new();
    let mut now = Time(0);
    for _ in 0..8 {
        let at = holdings.ask_at().unwrap();
        waits.push(at.0 - now.0);
        now = at;
        assert_eq!(holdings.asked(now, Some(&present)), []);
    }
    assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
    holdings.closed(Time(0), 2);
    assert_eq!(holdings.asked(now, Some(&present)), []);
    assert_eq!(holdings.ask_at(), None, "nobody is there: rows stay until somebody is");
}

#[test]
fn a_row_that_comes_or_is_stored_in_between_stays() {
    let mut holdings = Holdings::new([SET]);
    holdings.opened(Time(0), 1);
    for key in ["comes", "stored"] {
        holdings.take(1, message(SET, key, Some("1"))).unwrap();
    }
    holdings.closed(Time(0), 1);
    holdings.opened(Time(0), 2);
    assert_eq!(ask(&mut holdings, &[]), []);
    holdings.take(2, message(SET, "comes", Some("1"))).unwrap();
    assert_eq!(ask(&mut holdings, &[row(SET, "stored")]), []);
}

/// hamgrd dies with its midplane cut, and the next one has sent everything when the end of the first comes out of the network.
#[test]
fn what_a_dead_producer_had_sent_is_not_taken_once_the_next_has_spoken() {
    let mut holdings = Holdings::new([SET, SCOPE]);
    holdings.opened(Time(0), 1);
    for table in [SET, SCOPE] {
        holdings.take(1, message(table, "k", Some("1"))).unwrap();
    }
    holdings.opened(Time(0), 2);
    holdings.take(2, message(SET, "k", Some("2"))).unwrap();
    for late in [None, Some("1")] {
        assert_eq!(holdings.take(1, message(SET, "k", late)), Err(NotTaken::Superseded));
    }
    assert_eq!(holdings.get(&row(SET, "k")), Some(&fields(&[("v", "2")])));
    // Of a table that the next has not spoken of, the first is still the one who knows.
    assert!(holdings.take(1, message(SCOPE, "k", None)).is_ok());
    // A later one than both may be the first again, connected anew.
    holdings.opened(Time(0), 3);
    assert!(holdings.take(3, message(SET, "k", Some("3"))).is_ok());
    assert_eq!(holdings.take(2, message(SET, "k", None)), Err(NotTaken::Superseded));
}

#[test]
fn a_row_is_missed_though_its_producer_is_found_to_be_gone_only_after_the_next_has_spoken() {
    for has_spoken in [false, true] {
        let mut holdings = Holdings::new([SET]);
        holdings.opened(Time(0), 1);
        for key in ["lost", "again"] {
            holdings.take(1, message(SET, key, Some("1"))).unwrap();
        }
        holdings.opened(Time(0), 2);
        let present: &[_] = if has_spoken {
            holdings.take(2, message(SET, "again", Some("1"))).unwrap();
            &[row(SET, "again")]
        } else {
            assert_eq!(ask(&mut holdings, &[]), [], "as far as is known, the first is there");
            assert_eq!(holdings.ask_at(), None);
            holdings.closed(Time(5000), 1);
            &[]
        };
        let mut gone = ask(&mut holdings, present);
        gone.extend(ask(&mut holdings, present));
        assert!(gone.contains(&row(SET, "lost")), "{has_spoken}: {gone:?}");
        assert_eq!(gone.contains(&row(SET, "again")), !has_spoken);
    }
}

#[test]
fn rows_of_a_producer_that_is_still_there_are_nobody_elses_business() {
    // SONiC's hamgrd has a connection per table.
    let mut holdings = Holdings::new([SET]);
    holdings.opened(Time(0), 1);
    holdings.take(1, message(SET, "k", Some("1"))).unwrap();
    holdings.opened(Time(0), 2);
    assert_eq!(ask(&mut holdings, &[]), []);
    assert_eq!(holdings.ask_at(), None);
}

#[test]
fn a_database_that_cannot_be_asked_is_asked_later() {
    let mut holdings = Holdings::new([SET]);
    holdings.opened(Time(0), 1);
    holdings.take(1, message(SET, "k", Some("1"))).unwrap();
    holdings.closed(Time(0), 1);
    holdings.opened(Time(0), 2);
    let at = holdings.ask_at().unwrap();
    assert_eq!(holdings.asked(at, None), []);
    assert!(holdings.ask_at().unwrap() > at);
    assert_eq!(ask(&mut holdings, &[]), []);
    assert_eq!(ask(&mut holdings, &[]), [row(SET, "k")]);
}

#[test]
fn a_table_that_is_not_ours_is_none() {
    let mut holdings = Holdings::new([SET]);
    assert_eq!(holdings.take(1, message(SCOPE, "k", Some("1"))), Err(NotTaken::Unknown));
    let mut other_db = message(SET, "k", Some("1"));
    other_db.db = "APPL_DB".to_owned();
    assert_eq!(holdings.take(1, other_db), Err(NotTaken::Unknown));
}
