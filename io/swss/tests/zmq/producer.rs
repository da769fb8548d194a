//! A store against a scripted consumer.

use std::time::Instant;

use reconcile::{Op, RowWrite, StoreUpdate};
use schema::Fields;
use swss::{ZmqAddress, ZmqPeer};
use tokio::io::AsyncReadExt;
use zmq::limits::MESSAGE_BYTES_MAX;
use zmq::wire::{Command, greeting};

use crate::peer::{Link, Peer};
use crate::support::*;

/// A store that is linked to its consumer.
async fn linked() -> (Peer, Bench, Link) {
    let peer = Peer::new().await;
    let bench = Bench::new(Some(peer.address())).await;
    let link = peer.link().await;
    (peer, bench, link)
}

/// The same; the consumer has taken row `a`.
async fn delivered() -> (Peer, Bench, Link) {
    let (peer, mut bench, mut link) = linked().await;
    bench.write(&[set(SET, "a", &[("v", "1")])]);
    link.rows(1).await;
    link.answer_until(bench.until_consumed(&["a"])).await;
    (peer, bench, link)
}

#[tokio::test]
async fn rows_written_before_anybody_listens_arrive_once_somebody_does() {
    let peer = Peer::new().await;
    let address = peer.address();
    let ZmqAddress::Tcp { port, .. } = address else { panic!() };
    // The port stays ours for the while: 127.0.0.1 holds it, nobody listens at 127.9.9.9.
    let late = ZmqAddress::Tcp { host: "127.9.9.9".to_owned(), port };
    let mut bench = Bench::new(Some(late)).await;
    bench.write(&[set(SET, "a", &[("v", "1")])]);
    assert!(bench.until_written(&set(SET, "a", &[("v", "1")])).await);
    bench.until_link("attempts fail", |link| link.failures() > 2).await;
    assert_eq!(bench.stored(SET, "a").await, Some(fields(&[("v", "1")])));

    let late = Peer::at(&format!("127.9.9.9:{port}")).await;
    let mut link = late.link().await;
    assert_eq!(link.rows(1).await, ["a=1"]);
    link.answer_until(bench.until_consumed(&["a"])).await;
}

#[tokio::test]
async fn a_row_is_consumed_once_its_ping_is_answered_and_not_before() {
    let (_peer, mut bench, mut link) = linked().await;
    let write = set(SET, "a", &[("v", "1")]);
    bench.write(std::slice::from_ref(&write));
    assert!(bench.until_written(&write).await);
    let context = link.ping().await;
    bench.write(&[set(SET, "b", &[("v", "1")])]);
    assert!(bench.until_written(&set(SET, "b", &[("v", "1")])).await);
    link.ping().await;
    assert!(bench.rows.values().all(|row| !row.consumed), "{:?}", bench.rows);
    link.pong(context).await;
    bench.until_consumed(&["a"]).await;
    assert!(!bench.rows["b"].consumed);
}

#[tokio::test]
async fn what_was_not_acknowledged_when_the_connection_broke_is_sent_again() {
    let (peer, mut bench, mut link) = linked().await;
    bench.write(&[set(SET, "a", &[("v", "1")])]);
    assert_eq!(link.rows(1).await, ["a=1"]);
    bench.until_consumed(&["a"]).await;
    link.answers = false;
    bench.write(&[set(SET, "b", &[("v", "1")])]);
    assert_eq!(link.rows(1).await, ["b=1"]);
    link.reset();
    bench.until("nothing is consumed any more", |_, rows| rows.values().all(|row| !row.consumed)).await;

    let mut link = peer.link().await;
    assert_eq!(link.rows(2).await, ["a=1", "b=1"]);
    link.answer_until(bench.until_consumed(&["a", "b"])).await;
}

#[tokio::test]
async fn a_connection_that_breaks_within_a_message_hurts_nothing() {
    let (peer, mut bench, mut link) = linked().await;
    let long = "x".repeat(3_000_000);
    bench.write(&[set(SET, "long", &[("v", &long)])]);
    let mut some = [0; 1000];
    link.stream.read_exact(&mut some).await.unwrap();
    link.reset();
    let mut link = peer.link().await;
    assert_eq!(link.message().await.unwrap().rows[0].fields, Some(fields(&[("v", &long)])));
    link.answer_until(bench.until_consumed(&["long"])).await;
}

#[tokio::test]
async fn a_peer_that_never_answers_is_left_within_seconds() {
    let (peer, mut bench, mut link) = linked().await;
    link.answers = false;
    bench.write(&[set(SET, "a", &[("v", "1")]), set(SET, "b", &[("v", "1")])]);
    let start = Instant::now();
    bench.write(&[del(SET, "b")]);
    // A deletion waits for the peer, and not longer than that.
    assert!(bench.until_written(&del(SET, "b")).await);
    let waited = start.elapsed();
    assert!((4..15).contains(&waited.as_secs()), "{waited:?}");
    assert!(!bench.store.zmq().unwrap().is_up() || bench.store.zmq().unwrap().connections() > 1);
    let mut link = peer.link().await;
    assert_eq!(link.rows(2).await, ["b gone", "a=1"]);
}

#[tokio::test]
async fn a_peer_that_takes_the_connection_and_says_nothing_is_left() {
    let peer = Peer::new().await;
    let mut bench = Bench::new(Some(peer.address())).await;
    bench.write(&[set(SET, "a", &[("v", "1")])]);
    assert!(bench.until_written(&set(SET, "a", &[("v", "1")])).await, "the database does not wait for it");
    let mut silent = peer.accept().await;
    while silent.next().await.is_some() {}
    let mut link = peer.link().await;
    assert_eq!(link.rows(1).await, ["a=1"]);
    link.answer_until(bench.until_consumed(&["a"])).await;
}

#[tokio::test]
async fn a_peer_that_closes_within_what_it_says_is_tried_again() {
    let peer = Peer::new().await;
    let mut bench = Bench::new(Some(peer.address())).await;
    bench.write(&[set(SET, "a", &[("v", "1")])]);
    let greeting = greeting();
    let ready = Command::Ready { socket_type: "PULL".to_owned() }.frame();
    // In order: by FIN, not by a reset.
    for said in [&greeting[..30], &[&greeting[..], &ready[..7]].concat()] {
        let mut link = peer.accept().await;
        link.say(said).await;
    }
    let mut link = peer.link().await;
    let context = link.ping().await;
    let pong = Command::Pong { context }.frame();
    link.say(&pong[..pong.len() - 1]).await;
    drop(link);
    let mut link = peer.link().await;
    assert_eq!(link.rows(1).await, ["a=1"], "half a PONG acknowledges nothing");
    link.answer_until(bench.until_consumed(&["a"])).await;
}

#[tokio::test]
async fn a_stalled_peer_blocks_nobody_and_gets_the_latest() {
    let (_peer, mut bench, mut link) = linked().await;
    let long = "x".repeat(200_000);
    let keys: Vec<String> = (0..40).map(|i| format!("k{i}")).collect();
    for round in 0..5 {
        let value = format!("{round}{long}");
        let writes: Vec<RowWrite> = keys.iter().map(|key| set(SET, key, &[("v", &value)])).collect();
        let last = writes[39].clone();
        bench.store.write(writes);
        assert!(bench.until_written(&last).await);
    }
    let stats = bench.store.zmq().unwrap().clone();
    assert!(stats.waiting() <= 40, "{} rows wait", stats.waiting());
    assert!(stats.waiting() > 0, "the kernel cannot have taken all of it");
    let mut latest = std::collections::BTreeMap::new();
    let reading = async {
        loop {
            let message = link.message().await.unwrap();
            for row in message.rows {
                latest.insert(row.key, row.fields.unwrap().text("v").unwrap()[..1].to_owned());
            }
            if latest.len() == 40 && latest.values().all(|value| value == "4") {
                break;
            }
        }
    };
    in_time("the latest of every row", reading).await;
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    link.answer_until(bench.until_consumed(&keys)).await;
}

#[tokio::test]
async fn a_peer_that_is_no_consumer_is_left_and_a_later_one_is_taken() {
    let peer = Peer::new().await;
    let mut bench = Bench::new(Some(peer.address())).await;
    bench.write(&[set(SET, "a", &[("v", "1")])]);

    let mut garbage = peer.accept().await;
    garbage.say(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    while garbage.next().await.is_some() {}

    let mut publisher = peer.accept().await;
    publisher.say(&greeting()).await;
    publisher.say(&Command::Ready { socket_type: "PUB".to_owned() }.frame()).await;
    while publisher.next().await.is_some() {}

    let mut link = peer.link().await;
    assert_eq!(link.rows(1).await, ["a=1"]);
    link.answer_until(bench.until_consumed(&["a"])).await;
    assert_eq!(bench.store.zmq().unwrap().failures(), 2);
}

#[tokio::test]
async fn a_row_that_is_too_long_is_refused_and_the_others_go() {
    let (_peer, mut bench, mut link) = linked().await;
    let too_long = set(SET, "long", &[("v", &"x".repeat(MESSAGE_BYTES_MAX))]);
    bench.write(&[too_long.clone(), set(SET, "a", &[("v", "1")])]);
    assert!(!bench.until_written(&too_long).await);
    assert_eq!(link.rows(1).await, ["a=1"]);
    assert_eq!(bench.stored(SET, "long").await, None);
    assert_eq!(bench.store.zmq().unwrap().rows_refused(), 1);
    let merge = RowWrite { table: SET, key: "a".to_owned(), op: Op::Merge(fields(&[("w", "1")])) };
    bench.write(std::slice::from_ref(&merge));
    assert!(!bench.until_written(&merge).await);
}

#[tokio::test]
async fn requests_are_said_once_and_never_stored() {
    let (peer, mut bench, mut link) = linked().await;
    let asked = fields(&[("v", "1"), ("activate_role_requested", "true")]);
    let kept = fields(&[("v", "1")]);
    bench.write(&[RowWrite { table: SCOPE, key: "s".to_owned(), op: Op::Set(asked.clone()) }]);
    assert_eq!(link.message().await.unwrap().rows[0].fields, Some(asked.clone()));
    link.answer_until(bench.until_consumed(&["s"])).await;
    assert_eq!(bench.rows["s"].fields, asked);
    assert_eq!(bench.stored(SCOPE, "s").await, Some(kept.clone()));
    // As SONiC's consumer does: it stores what it was told.
    bench.db.hset(&SCOPE.redis_key("s"), &asked).await.unwrap();

    link.reset();
    let mut link = peer.link().await;
    assert_eq!(link.message().await.unwrap().rows[0].fields, Some(kept.clone()));
    link.answer_until(bench.until("whoever asked decides anew", |_, rows| rows["s"].fields == kept)).await;
    link.answer_until(bench.until_consumed(&["s"])).await;
}

#[tokio::test]
async fn a_deletion_leaves_the_database_once_it_is_acknowledged() {
    let (_peer, mut bench, mut link) = delivered().await;
    bench.write(&[del(SET, "a")]);
    let context = link.ping().await;
    assert!(bench.stored(SET, "a").await.is_some());
    link.pong(context).await;
    assert!(bench.until_written(&del(SET, "a")).await);
    assert_eq!(bench.stored(SET, "a").await, None);
}

#[tokio::test]
async fn a_deletion_that_nobody_is_there_for_is_done_at_once_and_told_later() {
    let peer = Peer::new().await;
    let mut bench = Bench::new(None).await;
    bench.write(&[set(SET, "a", &[("v", "1")]), set(SET, "b", &[("v", "1")])]);
    assert!(bench.until_written(&set(SET, "b", &[("v", "1")])).await);
    bench.write(&[del(SET, "a")]);
    assert!(bench.until_written(&del(SET, "a")).await);
    assert_eq!(bench.stored(SET, "a").await, None);
    bench.peer.send_replace(Some(ZmqPeer::from(peer.address())));
    let mut link = peer.link().await;
    assert_eq!(link.rows(2).await, ["a gone", "b=1"]);
}

#[tokio::test]
async fn what_was_emptied_while_nobody_was_there_is_reported_and_not_sent_again() {
    let (peer, mut bench, link) = delivered().await;
    link.reset();
    bench.db.flushdb().await.unwrap();
    let mut link = peer.link().await;
    bench.until("the flush is reported", |_, rows| rows.is_empty()).await;
    bench.write(&[set(SET, "new", &[("v", "1")])]);
    assert_eq!(link.rows(2).await, ["a gone", "new=1"]);
}

#[tokio::test]
async fn a_consumer_that_stores_what_it_is_told_disturbs_nobody() {
    let (_peer, mut bench, mut link) = linked().await;
    let write = set(SET, "a", &[("v", "2")]);
    bench.write(&[set(SET, "b", &[("v", "1")]), write.clone()]);
    link.rows(2).await;
    link.answer_until(bench.until_consumed(&["a", "b"])).await;
    // Late, an older form, and in two steps (swss-wire 5.7).
    let key = SET.redis_key("a");
    for value in ["1", "2"] {
        bench.db.del(&key).await.unwrap();
        bench.db.hset(&key, &fields(&[("v", value)])).await.unwrap();
    }
    let last = set(SET, "c", &[("v", "1")]);
    bench.write(std::slice::from_ref(&last));
    let quiet = bench.until("the next write", |update, rows| {
        let a = rows.get("a").map(|row| row.fields.clone());
        assert_eq!(a, Some(fields(&[("v", "2")])));
        matches!(update, StoreUpdate::Written { write, .. } if *write == last)
    });
    link.answer_until(quiet).await;
    // What a stranger really deletes is noticed.
    bench.db.del(&key).await.unwrap();
    link.answer_until(bench.until("the row is gone", |_, rows| !rows.contains_key("a"))).await;
}

#[tokio::test]
async fn a_new_address_is_taken_at_once() {
    let (one, other) = (Peer::new().await, Peer::new().await);
    let mut bench = Bench::new(Some(one.address())).await;
    let mut link = one.link().await;
    bench.write(&[set(SET, "a", &[("v", "1")])]);
    link.rows(1).await;
    bench.peer.send_replace(Some(ZmqPeer::from(other.address())));
    while link.next().await.is_some() {}
    let mut link = other.link().await;
    assert_eq!(link.rows(1).await, ["a=1"]);
    link.answer_until(bench.until_consumed(&["a"])).await;
}

#[tokio::test]
async fn a_redis_that_restarts_empty_gets_nothing_back_by_itself() {
    let (_peer, mut bench, mut link) = delivered().await;
    bench.server.kill().unwrap();
    bench.until("the loss", |update, _| *update == StoreUpdate::Lost).await;
    bench.server.restart().await.unwrap();
    bench.until("an empty snapshot", |update, rows| *update != StoreUpdate::Lost && rows.is_empty()).await;
    // Nobody sets it again: the peer is told.
    assert_eq!(link.rows(1).await, ["a gone"]);
}

#[tokio::test]
async fn a_consumer_at_ipv6_is_reached() {
    let peer = Peer::at("[::1]:0").await;
    let mut bench = Bench::new(Some(peer.address())).await;
    let mut link = peer.link().await;
    bench.write(&[RowWrite { table: SET, key: "a".to_owned(), op: Op::Set(Fields::placeholder()) }]);
    assert_eq!(link.message().await.unwrap().rows[0].fields, Some(Fields::placeholder()));
    link.answer_until(bench.until_consumed(&["a"])).await;
}
