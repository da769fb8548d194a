//! Names, waits, queues.

use reconcile::{Op, RowWrite, StoreUpdate};
use schema::{Db, Fields, Table};

use crate::{Backoff, Keyspace, Located, Queue};

const TABLE: Table = Table::DashHaSet;

fn keyspace() -> Keyspace {
    Keyspace::new(Db::DpuApplDb, 15, ':', [TABLE, Table::DashHaScope, Table::DpuState])
}

#[test]
fn keys_and_channels_are_those_of_sonic() {
    let keyspace = keyspace();
    assert_eq!(keyspace.redis_key(TABLE, "a:b"), "DASH_HA_SET_TABLE:a:b");
    assert_eq!(keyspace.redis_key(TABLE, ""), "DASH_HA_SET_TABLE");
    assert_eq!(keyspace.pending_key(TABLE, "k"), "_DASH_HA_SET_TABLE:k");
    assert_eq!(keyspace.channel(TABLE), "DASH_HA_SET_TABLE_CHANNEL@15");
    let (patterns, channels) = keyspace.event_channels(|table| table == TABLE);
    for pattern in ["DASH_HA_SET_TABLE:*", "_DASH_HA_SET_TABLE:*", "DASH_HA_SCOPE_TABLE:*"] {
        assert!(patterns.contains(&format!("__keyspace@15__:{pattern}")), "{pattern}");
    }
    for channel in ["DASH_HA_SET_TABLE", "_DASH_HA_SET_TABLE", "DASH_HA_SET_TABLE_KEY_SET"] {
        assert!(channels.contains(&format!("__keyspace@15__:{channel}")), "{channel}");
    }
    assert!(!patterns.iter().any(|pattern| pattern.contains("_DASH_HA_SCOPE_TABLE")));
}

#[test]
fn a_key_is_located_by_what_stands_before_its_first_separator() {
    let keyspace = keyspace();
    let row = |table, key: &str| Some(Located::Row((table, key.to_owned())));
    let cases: [(&[u8], Option<Located>); 9] = [
        (b"DASH_HA_SET_TABLE:a:b", row(TABLE, "a:b")),
        (b"_DASH_HA_SET_TABLE:a", row(TABLE, "a")),
        (b"DASH_HA_SET_TABLE", row(TABLE, "")),
        (b"DASH_HA_SCOPE_TABLE:a", row(Table::DashHaScope, "a")),
        (b"DASH_HA_SET_TABLE_KEY_SET", Some(Located::Set(TABLE))),
        (b"DASH_HA_SET_TABLE_DEL_SET", Some(Located::Set(TABLE))),
        (b"DASH_HA_SET_TABLE:\xff", Some(Located::NotText(TABLE, b"\xff"))),
        (b"DASH_HA_SET_TABLE2:a", None),
        (b"", None),
    ];
    for (redis_key, expected) in cases {
        assert_eq!(keyspace.locate(redis_key), expected, "{}", redis_key.escape_ascii());
    }
    assert!(keyspace.tables().all(|table| table.db() == Db::DpuApplDb));
}

#[test]
fn waits_double_up_to_a_second_and_start_over_after_a_connection_that_lived() {
    let mut backoff = Backoff::new();
    let waits: Vec<u64> = (0..8).map(|_| backoff.after_ms(0)).collect();
    assert_eq!(waits, [20, 40, 80, 160, 320, 640, 1000, 1000]);
    assert_eq!(backoff.after_ms(1000), 20);
}

fn del(key: &str) -> RowWrite {
    RowWrite { table: TABLE, key: key.to_owned(), op: Op::Del }
}

#[test]
fn writes_of_one_who_does_not_know_of_a_loss_are_forgotten() {
    let mut queue = Queue::default();
    assert!(queue.write([del("before")]));
    queue.report(StoreUpdate::Lost);
    assert!(!queue.write([del("unaware")]));
    assert_eq!(queue.take_update(), Some(StoreUpdate::Lost));
    assert!(queue.write([del("after")]));
    assert_eq!(queue.take_writes(10), [del("after")]);
}

#[test]
fn of_two_snapshots_in_a_row_the_later_is_read() {
    let mut queue = Queue::default();
    let row = |version: &str| reconcile::OwnedRow {
        table: TABLE,
        key: "k".to_owned(),
        fields: [("version", version)].into_iter().collect::<Fields>(),
        consumed: true,
    };
    let written = StoreUpdate::Written { write: del("k"), done: true };
    for update in [
        StoreUpdate::Snapshot(vec![row("1")]),
        StoreUpdate::Snapshot(vec![row("2")]),
        written.clone(),
        StoreUpdate::Snapshot(vec![row("3")]),
        StoreUpdate::Lost,
        StoreUpdate::Lost,
    ] {
        queue.report(update);
    }
    let read: Vec<StoreUpdate> = std::iter::from_fn(|| queue.take_update()).collect();
    assert_eq!(read, [StoreUpdate::Snapshot(vec![row("2")]), written, StoreUpdate::Lost]);
}
