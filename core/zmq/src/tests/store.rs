//! A producer's rows, told what happens.

use reconcile::{Op, OwnedRow, RowWrite, StoreUpdate, Time};

use super::{SCOPE, SET, fields, row};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::{ProducerStore, Receipt, SETTLE_MS, StoreInput, StoreOutput};

struct Story {
    store: ProducerStore,
    now: Time,
}

fn set(key: &str, value: &str) -> RowWrite {
    RowWrite { table: SET, key: key.to_owned(), op: Op::Set(fields(&[("v", value)])) }
}

fn del(key: &str) -> RowWrite {
    RowWrite { table: SET, key: key.to_owned(), op: Op::Del }
}

fn snapshot(rows: &[(&str, &str)]) -> StoreInput {
    let owned = rows.iter().map(|(key, value)| OwnedRow {
        table: SET,
        key: (*key).to_owned(),
        fields: fields(&[("v", value)]),
        consumed: true,
    });
    StoreInput::Db(StoreUpdate::Snapshot(owned.collect()))
}

fn written(write: RowWrite) -> StoreInput {
    StoreInput::Db(StoreUpdate::Written { write, done: true })
}

impl Story {
    /// A store that has read these rows.
    fn new(rows: &[(&str, &str)]) -> Self {
        let mut story = Self { store: ProducerStore::new([SET, SCOPE]), now: Time(0) };
        story.tell([snapshot(rows)]);
        story
    }

    /// As [`Story::new`], with a peer that has acknowledged them.
    fn linked(rows: &[(&str, &str)]) -> Self {
        let mut story = Self::new(rows);
        assert_eq!(story.tell([StoreInput::Up { connection: 1 }]), ["reopen"]);
        let mut out = Vec::new();
        story.store.handle(story.now, [snapshot(rows)], &mut out);
        story.acknowledge(&out);
        story
    }

    /// What follows, in words.
    fn tell(&mut self, inputs: impl IntoIterator<Item = StoreInput>) -> Vec<String> {
        let mut out = Vec::new();
        self.store.handle(self.now, inputs, &mut out);
        out.iter().map(text).collect()
    }

    fn acknowledge(&mut self, out: &[StoreOutput]) -> Vec<String> {
        let mut all = Vec::new();
        for output in out {
            if let StoreOutput::Send { connection, rows } = output {
                let receipts: Vec<Receipt> =
                    rows.iter().map(|row| ((row.table, row.key.clone()), row.serial)).collect();
                all.extend(self.tell([StoreInput::Acknowledged { connection: *connection, receipts }]));
            }
        }
        all
    }

    /// Tells it and acknowledges what it sends; what follows from that.
    fn carry_out(&mut self, input: StoreInput) -> Vec<String> {
        let mut out = Vec::new();
        self.store.handle(self.now, [input], &mut out);
        self.acknowledge(&out)
    }

    fn settle(&mut self) -> Vec<String> {
        self.now = self.now.after_ms(SETTLE_MS);
        self.tell([StoreInput::Tick])
    }
}

fn text(output: &StoreOutput) -> String {
    let op = |write: &RowWrite| match &write.op {
        Op::Set(fields) | Op::Merge(fields) => format!("{}={}", write.key, fields.text("v").unwrap_or("?")),
        Op::Del => format!("{} gone", write.key),
    };
    match output {
        StoreOutput::Db(writes) => format!("db {}", writes.iter().map(op).collect::<Vec<_>>().join(" ")),
        StoreOutput::Reopen => "reopen".to_owned(),
        StoreOutput::Send { rows, .. } => {
            let row = |row: &crate::Outgoing| match &row.fields {
                Some(fields) => format!("{}={}", row.key, fields.text("v").unwrap_or("?")),
                None => format!("{} gone", row.key),
            };
            format!("send {}", rows.iter().map(row).collect::<Vec<_>>().join(" "))
        }
        StoreOutput::Report(StoreUpdate::Snapshot(rows)) => {
            let row = |row: &OwnedRow| {
                let mark = if row.consumed { "!" } else { "" };
                format!("{}={}{mark}", row.key, row.fields.text("v").unwrap_or("?"))
            };
            format!("rows {}", rows.iter().map(row).collect::<Vec<_>>().join(" "))
        }
        StoreOutput::Report(StoreUpdate::Written { write, done }) => {
            format!("{} {}", if *done { "done" } else { "not done" }, op(write))
        }
        StoreOutput::Report(StoreUpdate::Lost) => "lost".to_owned(),
        StoreOutput::Refused { write, .. } => format!("refused {}", write.key),
    }
}

#[test]
fn a_row_is_stored_then_sent_and_reported() {
    let mut story = Story::linked(&[]);
    assert_eq!(story.tell([StoreInput::Write(vec![set("a", "1")])]), ["db a=1"]);
    assert_eq!(story.tell([written(set("a", "1"))]), ["done a=1", "send a=1"]);
    assert_eq!(story.tell([snapshot(&[("a", "1")])]), [""; 0]);
}

#[test]
fn rows_written_together_go_together() {
    let mut story = Story::linked(&[]);
    story.tell([StoreInput::Write(vec![set("a", "1"), set("b", "1")])]);
    let told = story.tell([written(set("a", "1")), written(set("b", "1"))]);
    assert_eq!(told, ["done a=1", "done b=1", "send a=1 b=1"]);
}

#[test]
fn a_deletion_is_sent_and_then_carried_out() {
    let mut story = Story::linked(&[("a", "1")]);
    let mut out = Vec::new();
    story.store.handle(story.now, [StoreInput::Write(vec![del("a")])], &mut out);
    assert_eq!(out.iter().map(text).collect::<Vec<_>>(), ["send a gone", "rows a=1"]);
    assert_eq!(story.acknowledge(&out), ["db a gone"]);
    assert_eq!(story.tell([written(del("a"))]), ["done a gone"]);
}

#[test]
fn a_deletion_does_not_wait_for_a_peer_that_is_gone() {
    let mut story = Story::linked(&[("a", "1")]);
    story.tell([StoreInput::Write(vec![del("a")])]);
    assert_eq!(story.tell([StoreInput::Down]), ["db a gone"]);
    assert_eq!(story.tell([written(del("a"))]), ["done a gone"]);
    assert_eq!(story.tell([StoreInput::Up { connection: 2 }]), ["reopen"]);
    assert_eq!(story.tell([snapshot(&[])]), ["send a gone"]);
}

#[test]
fn writes_to_a_row_are_carried_out_one_after_the_other() {
    let mut story = Story::linked(&[("a", "1")]);
    story.tell([StoreInput::Write(vec![del("a"), set("a", "2")])]);
    assert_eq!(story.tell([StoreInput::Down]), ["db a gone"]);
    assert_eq!(story.tell([written(del("a"))]), ["done a gone", "db a=2"]);
    assert_eq!(story.tell([written(set("a", "2"))]), ["done a=2"]);
}

#[test]
fn writes_under_way_outlive_the_reading_that_follows_a_handshake() {
    let mut story = Story::new(&[]);
    story.tell([StoreInput::Write(vec![set("b", "1"), set("a", "1")])]);
    assert_eq!(story.tell([StoreInput::Up { connection: 1 }]), ["reopen", "db b=1 a=1"]);
    assert_eq!(story.tell([snapshot(&[("x", "1")])]), ["send x=1", "rows x=1"]);
    assert_eq!(story.tell([written(set("b", "1"))]), ["done b=1", "send b=1"]);
}

#[test]
fn a_lost_database_forgets_writes_and_the_peer_is_told_what_came_of_them() {
    let mut story = Story::linked(&[("a", "1")]);
    // The peer is told that it goes, and it does not.
    story.carry_out(StoreInput::Write(vec![del("a")]));
    assert_eq!(story.tell([StoreInput::Db(StoreUpdate::Lost)]), ["lost"]);
    assert_eq!(story.tell([snapshot(&[("a", "1")])]), ["rows a=1"]);
    assert_eq!(story.settle(), ["send a=1"]);
}

#[test]
fn what_a_stranger_does_counts_once_it_has_stood_and_is_told_if_nobody_puts_it_right() {
    let mut story = Story::linked(&[("a", "1"), ("b", "1")]);
    assert_eq!(story.tell([snapshot(&[("b", "2")])]), [""; 0], "perhaps the peer itself");
    assert_eq!(story.tell([snapshot(&[("b", "1")])]), [""; 0]);
    assert_eq!(story.settle(), ["rows b=1!"]);
    assert_eq!(story.settle(), ["send a gone"]);
    assert_eq!(story.store.next_deadline(), None);
}

#[test]
fn what_a_stranger_does_counts_at_once_while_nobody_is_there() {
    let mut story = Story::new(&[("a", "1")]);
    assert_eq!(story.tell([snapshot(&[])]), ["rows "]);
    let mut story = Story::linked(&[("a", "1")]);
    story.tell([snapshot(&[])]);
    assert_eq!(story.tell([StoreInput::Down]), ["rows "], "nor when it goes");
}

#[test]
fn what_cannot_be_carried_out_is_refused() {
    let long = "x".repeat(MESSAGE_BYTES_MAX);
    let other = RowWrite { table: schema::Table::DpuState, key: "k".to_owned(), op: Op::Del };
    let merge = RowWrite { table: SET, key: "k".to_owned(), op: Op::Merge(fields(&[("v", "1")])) };
    let request = fields(&[("activate_role_requested", "true")]);
    let only_said = RowWrite { table: SCOPE, key: "k".to_owned(), op: Op::Set(request) };
    for write in [other, merge, only_said, set("k", &long)] {
        let mut story = Story::linked(&[]);
        let told = story.tell([StoreInput::Write(vec![write.clone()])]);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0] == "refused k" && told[1].starts_with("not done"), "{told:?}");
        assert!(!story.store.deliveries().is_told(&row(SET, "k"), Some(&fields(&[("v", "1")]))));
    }
}
