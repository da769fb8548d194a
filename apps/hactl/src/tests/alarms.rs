//! Which looks make news.

use std::time::Duration;

use invariants::{Finding, Invariant};
use schema::{Db, Table};

use crate::alarms::{Alarms, News, Trouble};
use crate::view::Unreachable;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn missing(key: &str, what: &str) -> Trouble {
    Trouble::Finding(Finding {
        invariant: Invariant::P1,
        place: "switch0 DPU0".to_owned(),
        table: Some(Table::DashHaSet),
        key: key.to_owned(),
        what: what.to_owned(),
        since: None,
        repair: None,
    })
}

fn known(_: &Trouble) -> bool {
    false
}

#[test]
fn what_is_repaired_within_the_grace_period_is_no_alarm() {
    let mut alarms = Alarms::new(ms(1000));
    assert_eq!(alarms.look(ms(0), vec![missing("a", "missing")], known), []);
    assert_eq!(alarms.next_deadline(), Some(ms(1000)));
    assert_eq!(alarms.look(ms(999), vec![], known), []);
    assert_eq!(alarms.next_deadline(), None);
    assert_eq!(alarms.standing().count(), 0);
}

#[test]
fn what_lasts_appears_once_and_goes_once_with_how_long_it_was() {
    let mut alarms = Alarms::new(ms(1000));
    let trouble = missing("a", "missing");
    assert_eq!(alarms.look(ms(500), vec![trouble.clone()], known), []);
    let appears = News::Appears { trouble: trouble.clone(), seen_for: ms(1200) };
    assert_eq!(alarms.look(ms(1700), vec![trouble.clone()], known), [appears]);
    assert_eq!(alarms.next_deadline(), None);
    // The words may change while it lasts.
    let changed = missing("a", "of another version");
    assert_eq!(alarms.look(ms(1800), vec![changed.clone()], known), []);
    assert_eq!(alarms.standing().collect::<Vec<_>>(), [&changed]);
    let goes = News::Goes { trouble: changed, lasted: ms(3500) };
    assert_eq!(alarms.look(ms(4000), vec![], known), [goes]);
    assert_eq!(alarms.look(ms(5000), vec![], known), []);
}

#[test]
fn what_cannot_be_judged_now_is_not_gone() {
    let mut alarms = Alarms::new(ms(0));
    let trouble = missing("a", "missing");
    assert_eq!(alarms.look(ms(0), vec![trouble.clone()], known).len(), 1);
    let away = Unreachable { place: "switch0 DPU0".into(), db: Db::DpuApplDb, reason: "no answer".into() };
    let away = Trouble::Unreachable(away);
    let unknown = |trouble: &Trouble| matches!(trouble, Trouble::Finding(_));
    let appears = News::Appears { trouble: away.clone(), seen_for: ms(0) };
    assert_eq!(alarms.look(ms(10), vec![away.clone()], unknown), [appears]);
    assert_eq!(alarms.standing().count(), 2);
    let news = alarms.look(ms(20), vec![], known);
    assert_eq!(news.len(), 2, "{news:?}");
}

#[test]
fn without_a_grace_period_everything_is_told_at_once() {
    let mut alarms = Alarms::new(ms(0));
    let both = vec![missing("a", "missing"), missing("b", "missing"), missing("a", "and more")];
    assert_eq!(alarms.look(ms(7), both, known).len(), 2, "a row is told once");
}
