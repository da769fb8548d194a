//! A reader against a scripted producer.

use std::path::PathBuf;

use schema::{Db, Fields, Table};
use swss::testing::RedisServer;
use swss::{Change, Connection, Endpoint, Reader, Update, ZmqAddress};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use zmq::message::Writer;
use zmq::wire::{Command, Decoder, Item, greeting, message_frame};

use crate::support::*;

struct Bench {
    _server: RedisServer,
    _directory: tempfile::TempDir,
    path: PathBuf,
    endpoint: Endpoint,
    reader: Reader,
}

impl Bench {
    async fn new() -> Self {
        let server = RedisServer::start().await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("zmq");
        let endpoint = server.endpoint(Db::DpuApplDb);
        let mut reader = Reader::serve_zmq(&ZmqAddress::Ipc(path.clone()), &endpoint, TABLES);
        assert_eq!(in_time("it listens", reader.next()).await, Update::Synced);
        Self { _server: server, _directory: directory, path, endpoint, reader }
    }

    async fn producer(&self) -> Producer {
        let mut producer = self.stranger().await;
        let ready = Command::Ready { socket_type: "PUSH".to_owned() }.frame();
        producer.say(&[&greeting()[..], &ready].concat()).await;
        assert_eq!(producer.next().await, Some(Item::Greeting));
        let ready = Command::Ready { socket_type: "PULL".to_owned() };
        assert_eq!(producer.next().await, Some(Item::Command(ready)));
        producer
    }

    async fn stranger(&self) -> Producer {
        let stream = UnixStream::connect(&self.path).await.unwrap();
        Producer { stream, decoder: Decoder::new() }
    }

    /// The next changes, as `key=v` or `key gone`.
    async fn changes(&mut self, count: usize) -> Vec<String> {
        let mut told = Vec::new();
        while told.len() < count {
            match in_time("changes", self.reader.next()).await {
                Update::Changes(changes) => told.extend(changes.iter().map(text)),
                other => panic!("{other:?}"),
            }
        }
        told
    }
}

fn text(change: &Change) -> String {
    match &change.fields {
        Some(fields) => format!("{}={}", change.key, fields.text("v").unwrap_or("?")),
        None => format!("{} gone", change.key),
    }
}

struct Producer {
    stream: UnixStream,
    decoder: Decoder,
}

impl Producer {
    async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.decoder.next().unwrap() {
                return Some(item);
            }
            let mut buffer = [0; 4096];
            match in_time("the consumer says something", self.stream.read(&mut buffer)).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.decoder.push(&buffer[..count]),
            }
        }
    }

    async fn rows(&mut self, table: Table, rows: &[(&str, Option<&str>)]) {
        let mut writer = Writer::new(table.db().name(), table.name());
        for (key, value) in rows {
            let row: Option<Fields> = value.map(|value| fields(&[("v", value)]));
            writer.row(key, row.as_ref());
        }
        self.say(&message_frame(&writer.finish())).await;
    }

    /// Everything before this was taken.
    async fn ping(&mut self) {
        self.say(&Command::Ping { ttl_ds: 0, context: b"here".to_vec() }.frame()).await;
        assert_eq!(self.next().await, Some(Item::Command(Command::Pong { context: b"here".to_vec() })));
    }
}

#[tokio::test]
async fn rows_come_as_changes_and_deletions_too() {
    let mut bench = Bench::new().await;
    let mut producer = bench.producer().await;
    producer.rows(SET, &[("a", Some("1")), ("b", Some("1"))]).await;
    assert_eq!(bench.changes(2).await, ["a=1", "b=1"]);
    producer.rows(SET, &[("a", None), ("b", Some("2"))]).await;
    assert_eq!(bench.changes(2).await, ["a gone", "b=2"]);
    producer.rows(SET, &[("b", None), ("b", Some("3"))]).await;
    assert_eq!(bench.changes(2).await, ["b gone", "b=3"]);
}

#[tokio::test]
async fn a_pong_means_that_the_row_is_there_to_be_read() {
    let mut bench = Bench::new().await;
    let mut producer = bench.producer().await;
    for i in 0..50 {
        let value = i.to_string();
        producer.rows(SET, &[("a", Some(&value))]).await;
        producer.ping().await;
        let now = std::pin::pin!(bench.reader.next());
        let update = futures_now(now);
        assert_eq!(
            update,
            Some(Update::Changes(vec![Change {
                table: SET,
                key: "a".to_owned(),
                fields: Some(fields(&[("v", &value)])),
            }]))
        );
    }
}

/// What a future gives without waiting.
fn futures_now<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn bad_messages_are_counted_and_dropped() {
    let mut bench = Bench::new().await;
    let mut producer = bench.producer().await;
    producer.say(&message_frame(b"")).await;
    producer.say(&message_frame(b"[\"json\"]")).await;
    producer.say(&message_frame(&[0xff; 600])).await;
    let mut oversize = vec![2];
    oversize.extend(20_000_000_u64.to_be_bytes());
    oversize.resize(20_000_009, 1);
    producer.say(&oversize).await;
    producer.rows(Table::DashHaSetConfig, &[("a", Some("1"))]).await;
    producer.rows(SET, &[("a", Some("1"))]).await;
    producer.ping().await;
    assert_eq!(bench.changes(1).await, ["a=1"]);
    let stats = bench.reader.zmq().unwrap();
    assert_eq!((stats.refused(), stats.unknown(), stats.messages(), stats.producers()), (4, 1, 2, 1));
}

#[tokio::test]
async fn strangers_and_broken_connections_hurt_nobody_else() {
    let mut bench = Bench::new().await;
    let mut producer = bench.producer().await;
    producer.rows(SET, &[("a", Some("1"))]).await;
    assert_eq!(bench.changes(1).await, ["a=1"]);

    let mut http = bench.stranger().await;
    http.say(b"GET /metrics HTTP/1.1\r\n\r\n").await;
    assert_eq!(http.next().await, Some(Item::Greeting));
    while http.next().await.is_some() {}

    let mut subscriber = bench.stranger().await;
    let ready = Command::Ready { socket_type: "SUB".to_owned() }.frame();
    subscriber.say(&[&greeting()[..], &ready].concat()).await;
    let mut told = Vec::new();
    while let Some(item) = subscriber.next().await {
        told.push(item);
    }
    let error = Command::Error { reason: "Invalid socket type".to_owned() };
    assert_eq!(told.last(), Some(&Item::Command(error)));

    let mut torn = bench.producer().await;
    torn.say(&message_frame(&[0; 10_000])[..5000]).await;
    drop(torn);

    producer.rows(SET, &[("a", Some("2"))]).await;
    assert_eq!(bench.changes(1).await, ["a=2"]);
}

#[tokio::test]
async fn a_deletion_that_died_with_its_producer_is_found_out() {
    let mut bench = Bench::new().await;
    let db = Connection::open_within(&bench.endpoint, PATIENCE).await.unwrap();
    let mut producer = bench.producer().await;
    for key in ["kept", "lost"] {
        db.hset(&SET.redis_key(key), &fields(&[("v", "1")])).await.unwrap();
    }
    producer.rows(SET, &[("kept", Some("1")), ("lost", Some("1"))]).await;
    assert_eq!(bench.changes(2).await, ["kept=1", "lost=1"]);
    // It deletes the row and dies before it says so.
    drop(producer);
    db.del(&SET.redis_key("lost")).await.unwrap();
    let mut producer = bench.producer().await;
    producer.rows(SET, &[("new", Some("1"))]).await;
    assert_eq!(bench.changes(2).await, ["new=1", "lost gone"]);
    producer.ping().await;
}

#[tokio::test]
async fn it_listens_once_it_can() {
    let server = RedisServer::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let late = directory.path().join("late");
    let address = ZmqAddress::Ipc(late.join("zmq"));
    let mut reader = Reader::serve_zmq(&address, &server.endpoint(Db::DpuApplDb), TABLES);
    let too_early = tokio::time::timeout(std::time::Duration::from_millis(300), reader.next()).await;
    assert!(too_early.is_err(), "{too_early:?}");
    std::fs::create_dir(&late).unwrap();
    assert_eq!(in_time("it listens", reader.next()).await, Update::Synced);
}

#[tokio::test]
async fn it_listens_at_all_addresses_of_both_families() {
    let server = RedisServer::start().await.unwrap();
    let any = ZmqAddress::Tcp { host: "*".to_owned(), port: 0 };
    let mut reader = Reader::serve_zmq(&any, &server.endpoint(Db::DpuApplDb), TABLES);
    assert_eq!(in_time("it listens", reader.next()).await, Update::Synced);
    let Some(ZmqAddress::Tcp { port, .. }) = reader.zmq().unwrap().address().cloned() else { panic!() };
    for host in ["127.0.0.1", "::1"] {
        tokio::net::TcpStream::connect((host, port)).await.unwrap();
    }
    let lo = ZmqAddress::Tcp { host: "lo".to_owned(), port: 0 };
    let mut reader = Reader::serve_zmq(&lo, &server.endpoint(Db::DpuApplDb), TABLES);
    assert_eq!(in_time("it listens", reader.next()).await, Update::Synced);
    let Some(ZmqAddress::Tcp { host, .. }) = reader.zmq().unwrap().address() else { panic!() };
    assert!(host.parse::<std::net::IpAddr>().unwrap().is_loopback(), "{host}");
}
