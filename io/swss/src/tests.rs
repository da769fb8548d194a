//! Small parts alone.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::error::is_not_now;
use crate::testing::sonic_index;
use crate::{Address, Endpoint};

#[test]
fn what_passes_is_told_from_what_stays() {
    let passing = [
        "LOADING Redis is loading the dataset in memory",
        "READONLY You can't write against a read only replica. script: 5f1c, on @user_script:10.",
        "-READONLY You can't write against a read only replica.",
        "ERR Error running script (call to f_5f1c): @user_script:1: -OOM command not allowed",
        "BUSY Redis is busy running a script.",
        "MISCONF Redis is configured to save RDB snapshots",
        "NOSCRIPT No matching script. Please use EVAL.",
    ];
    for text in passing {
        assert!(is_not_now(text), "{text}");
    }
    let staying = [
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "ERR unknown command 'X'",
        "NOPERM this user has no permissions to run the 'hset' command",
        "ERR DB index is out of range",
        "",
    ];
    for text in staying {
        assert!(!is_not_now(text), "{text}");
    }
}

#[test]
fn waits_double_up_to_a_second_and_start_over_after_a_connection_that_lived() {
    let mut backoff = Backoff::new();
    let waits: Vec<u128> = (0..8).map(|_| backoff.after(Duration::ZERO).as_millis()).collect();
    assert_eq!(waits, [20, 40, 80, 160, 320, 640, 1000, 1000]);
    assert_eq!(backoff.after(Duration::from_secs(1)).as_millis(), 20);
}

#[test]
fn keys_and_channels_are_those_of_sonic() {
    let db = schema::Db::DpuApplDb;
    let address = Address::Tcp { host: "h".to_owned(), port: 1 };
    let endpoint = Endpoint { db, address, index: sonic_index(db), separator: db.separator() };
    let table = schema::Table::DashHaSet;
    assert_eq!(endpoint.redis_key(table, "a:b"), "DASH_HA_SET_TABLE:a:b");
    assert_eq!(endpoint.redis_key(table, ""), "DASH_HA_SET_TABLE");
    assert_eq!(endpoint.pending_key(table, "k"), "_DASH_HA_SET_TABLE:k");
    assert_eq!(endpoint.channel(table), "DASH_HA_SET_TABLE_CHANNEL@15");
    assert_eq!(
        endpoint.keyspace_channel(&endpoint.pattern("_", table)),
        "__keyspace@15__:_DASH_HA_SET_TABLE:*"
    );
}
