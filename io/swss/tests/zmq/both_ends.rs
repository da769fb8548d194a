//! Our producer and our consumer.

use std::collections::BTreeMap;

use reconcile::RowWrite;
use schema::Fields;
use swss::{Reader, Update, ZmqAddress, ZmqPeer};

use crate::support::*;

/// A reader at a free port, and where that is.
pub async fn reader_at(address: &ZmqAddress, bench: &Bench) -> (Reader, ZmqAddress) {
    let mut reader = Reader::serve_zmq(address, &bench.endpoint, TABLES);
    assert_eq!(in_time("it listens", reader.next()).await, Update::Synced);
    let address = reader.zmq().unwrap().address().cloned().unwrap();
    (reader, address)
}

pub fn anywhere() -> ZmqAddress {
    ZmqAddress::Tcp { host: "127.0.0.1".to_owned(), port: 0 }
}

/// Takes in changes until the rows are these.
async fn until_rows(
    reader: &mut Reader,
    rows: &mut BTreeMap<String, Fields>,
    wanted: &BTreeMap<String, Fields>,
) {
    in_time("the reader has the rows", async {
        while rows != wanted {
            match reader.next().await {
                Update::Changes(changes) => {
                    for change in changes {
                        match change.fields {
                            Some(fields) => rows.insert(change.key, fields),
                            None => rows.remove(&change.key),
                        };
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_rows_go_through() {
    let mut bench = Bench::new(None).await;
    let (mut reader, address) = reader_at(&anywhere(), &bench).await;
    bench.peer.send_replace(Some(ZmqPeer::from(address)));
    bench.until_link("the link is up", |link| link.is_up()).await;
    let writes: Vec<RowWrite> = (0..10_000).map(|i| set(SET, &i.to_string(), &[("v", "1")])).collect();
    let wanted: BTreeMap<String, Fields> =
        writes.iter().map(|write| (write.key.clone(), fields(&[("v", "1")]))).collect();
    bench.write(&writes);
    until_rows(&mut reader, &mut BTreeMap::new(), &wanted).await;
    bench
        .until("all are consumed", |_, rows| rows.len() == 10_000 && rows.values().all(|row| row.consumed))
        .await;
    assert_eq!(bench.store.zmq().unwrap().rows_acknowledged(), bench.store.zmq().unwrap().rows_sent());
}

#[tokio::test]
async fn a_consumer_that_dies_and_comes_again_gets_everything() {
    let mut bench = Bench::new(None).await;
    let (mut reader, address) = reader_at(&anywhere(), &bench).await;
    bench.peer.send_replace(Some(ZmqPeer::from(address.clone())));
    bench.write(&[set(SET, "a", &[("v", "1")]), set(SCOPE, "b", &[("v", "1")])]);
    let mut wanted: BTreeMap<String, Fields> =
        ["a", "b"].into_iter().map(|key| (key.to_owned(), fields(&[("v", "1")]))).collect();
    until_rows(&mut reader, &mut BTreeMap::new(), &wanted).await;
    bench.until_consumed(&["a", "b"]).await;
    drop(reader);
    bench.until("nothing is consumed", |_, rows| rows.values().all(|row| !row.consumed)).await;
    bench.write(&[del(SCOPE, "b")]);
    assert!(bench.until_written(&del(SCOPE, "b")).await);
    wanted.remove("b");
    let (mut reader, _) = reader_at(&address, &bench).await;
    until_rows(&mut reader, &mut BTreeMap::new(), &wanted).await;
    bench.until_consumed(&["a"]).await;
}

#[tokio::test]
async fn a_producer_that_dies_and_comes_again_leaves_nothing_behind() {
    let mut bench = Bench::new(None).await;
    let (mut reader, address) = reader_at(&anywhere(), &bench).await;
    bench.peer.send_replace(Some(ZmqPeer::from(address.clone())));
    bench.write(&[set(SET, "a", &[("v", "1")]), set(SET, "b", &[("v", "1")])]);
    bench.until_consumed(&["a", "b"]).await;
    let mut rows = BTreeMap::new();
    let both = ["a", "b"].into_iter().map(|key| (key.to_owned(), fields(&[("v", "1")]))).collect();
    until_rows(&mut reader, &mut rows, &both).await;
    // It takes the deletion of `b` to its grave.
    bench.peer.send_replace(None);
    bench.write(&[del(SET, "b")]);
    assert!(bench.until_written(&del(SET, "b")).await);
    let (peer, known) = tokio::sync::watch::channel(Some(ZmqPeer::from(address)));
    bench.store = swss::Store::open_zmq(&bench.endpoint, TABLES, known);
    bench.peer = peer;
    let one = [("a".to_owned(), fields(&[("v", "1")]))].into_iter().collect();
    until_rows(&mut reader, &mut rows, &one).await;
}
