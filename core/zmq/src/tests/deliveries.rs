//! What a peer has, connection after connection.

use super::{SCOPE, SET, fields, row};
use crate::{Deliveries, Outgoing};

fn told(rows: &[Outgoing]) -> Vec<(String, Option<String>)> {
    let text = |row: &Outgoing| row.fields.as_ref().map(|fields| format!("{fields:?}"));
    rows.iter().map(|row| (row.key.clone(), text(row))).collect()
}

fn receipt(row: &Outgoing) -> (crate::RowId, u64) {
    ((row.table, row.key.clone()), row.serial)
}

#[test]
fn after_a_handshake_everything_stored_is_told_and_nothing_is_consumed() {
    let mut deliveries = Deliveries::new();
    let stored = fields(&[("v", "1")]);
    let (set, scope) = (row(SET, "s"), row(SCOPE, "s"));
    for connection in 1..3 {
        let sent = deliveries.up(connection, [(&scope, &stored), (&set, &stored)]);
        let tables: Vec<_> = sent.iter().map(|row| row.table).collect();
        assert_eq!(tables, [SET, SCOPE], "a scope never precedes its set");
        assert!(!deliveries.delivery(&set, &stored).consumed);
        deliveries.acknowledged(connection, sent.iter().map(receipt).collect());
        assert!(deliveries.delivery(&set, &stored).consumed);
        deliveries.down();
        assert!(!deliveries.delivery(&set, &stored).consumed);
    }
}

#[test]
fn one_shot_fields_are_told_once_and_never_after_a_handshake() {
    let mut deliveries = Deliveries::new();
    let scope = row(SCOPE, "s");
    let asked = fields(&[("ha_role", "active"), ("activate_role_requested", "true")]);
    let kept = Deliveries::persistent(SCOPE, &asked);
    assert_eq!(kept, fields(&[("ha_role", "active")]));
    assert_eq!(deliveries.up(1, []), []);
    let sent = deliveries.set(&scope, &asked).unwrap();
    assert_eq!(sent.fields.as_ref(), Some(&asked));
    assert_eq!(deliveries.delivery(&scope, &kept).fields, asked);
    deliveries.acknowledged(1, vec![receipt(&sent)]);
    assert!(deliveries.delivery(&scope, &kept).consumed);

    deliveries.down();
    assert_eq!(deliveries.delivery(&scope, &kept).fields, asked, "nothing to decide before there is a peer");
    // SONiC's consumer stores what it was told, requests included: they are not repeated from there either.
    let sent = deliveries.up(2, [(&scope, &asked)]);
    assert_eq!(sent[0].fields.as_ref(), Some(&kept));
    assert_eq!(deliveries.delivery(&scope, &asked).fields, kept);
}

#[test]
fn a_deletion_is_told_if_anybody_is_there_and_remembered_if_not() {
    let mut deliveries = Deliveries::new();
    let set = row(SET, "s");
    assert_eq!(deliveries.del(&set), None, "delete it at once");
    let sent = deliveries.up(1, []);
    assert_eq!(told(&sent), [("s".to_owned(), None)]);
    assert_eq!(deliveries.acknowledged(1, vec![receipt(&sent[0])]), vec![set.clone()]);
    assert_eq!(deliveries.up(2, []), [], "told once is enough");

    let sent = deliveries.del(&set).unwrap();
    assert_eq!(deliveries.acknowledged(1, vec![receipt(&sent)]), [], "another connection's receipt");
    assert_eq!(told(&deliveries.up(3, [])), [("s".to_owned(), None)], "it may not have arrived");
}

#[test]
fn a_row_that_was_deleted_and_came_again_is_seen_to_have_been_gone() {
    let mut deliveries = Deliveries::new();
    let (set, stored) = (row(SET, "s"), fields(&[("v", "1")]));
    deliveries.del(&set);
    assert_eq!(deliveries.set(&set, &stored), None);
    let sent = deliveries.up(1, [(&set, &stored)]);
    let gone: Vec<bool> = sent.iter().map(|row| row.fields.is_none()).collect();
    assert_eq!(gone, [true, false]);
}

#[test]
fn a_row_that_vanished_is_deleted_at_the_peer() {
    let mut deliveries = Deliveries::new();
    let (set, stored) = (row(SET, "s"), fields(&[("v", "1")]));
    deliveries.up(1, [(&set, &stored)]);
    assert_eq!(deliveries.rows().collect::<Vec<_>>(), [&set]);
    assert_eq!(told(deliveries.vanished(&set).as_slice()), [("s".to_owned(), None)]);
    assert_eq!(deliveries.vanished(&set), None, "once");
    deliveries.set(&set, &stored);
    deliveries.down();
    assert_eq!(told(&deliveries.up(2, [])), [("s".to_owned(), None)], "while nobody could be told");
}

#[test]
fn a_receipt_of_an_older_form_says_nothing_of_the_newer() {
    let mut deliveries = Deliveries::new();
    let set = row(SET, "s");
    deliveries.up(1, []);
    let (older, newer) = (fields(&[("v", "1")]), fields(&[("v", "2")]));
    let first = deliveries.set(&set, &older).unwrap();
    let second = deliveries.set(&set, &newer).unwrap();
    deliveries.acknowledged(1, vec![receipt(&first)]);
    assert!(!deliveries.delivery(&set, &newer).consumed);
    deliveries.acknowledged(1, vec![receipt(&second)]);
    assert!(deliveries.delivery(&set, &newer).consumed);
    assert!(!deliveries.delivery(&set, &older).consumed, "somebody else changed what is stored");
}

#[test]
fn what_is_remembered_for_an_absent_peer_is_bounded() {
    let mut deliveries = Deliveries::new();
    for i in 0..crate::limits::UNTOLD_DELETIONS_MAX + 3 {
        deliveries.del(&row(SET, &i.to_string()));
    }
    assert_eq!(deliveries.forgotten(), 3);
}
