//! The same work by hand: the redis client, pipelines, and maps of texts.

use std::collections::{BTreeMap, BTreeSet};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, PushInfo, PushKind, Script, Value};
use schema::Fields;
use swss::testing::RedisServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use zmq::message::Writer;

use crate::pace::Side;
use crate::rows::{self, PIPELINE};

/// As long as ours, so that both write the same number of bytes.
const TABLE: &str = "DASH_HA_SCOPE_STATE_TABLX";
/// The one that the initial read of both is of.
const SHARED: &str = "DASH_HA_SCOPE_STATE_TABLE";
const KEYSPACE: &str = "__keyspace@17__:";

type Row = BTreeMap<String, Vec<u8>>;

/// A connection whose pushes come out of a channel.
async fn with_pushes(server: &RedisServer) -> (MultiplexedConnection, UnboundedReceiver<PushInfo>) {
    let (sender, pushes) = unbounded_channel();
    let connection = rows::connect(server, AsyncConnectionConfig::new().set_push_sender(sender)).await;
    (connection, pushes)
}

fn channel(push: &PushInfo) -> Option<&[u8]> {
    match (&push.kind, push.data.as_slice()) {
        (PushKind::PMessage, [_, Value::BulkString(channel), _])
        | (PushKind::Message, [Value::BulkString(channel), _]) => Some(channel),
        _ => None,
    }
}

/// Reads rows in pipelines.
async fn read(connection: &mut MultiplexedConnection, keys: &[Vec<u8>]) -> Vec<Row> {
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(PIPELINE) {
        let mut pipeline = Pipeline::new();
        for key in keys {
            pipeline.cmd("HGETALL").arg(key);
        }
        let rows: Vec<Row> = pipeline.query_async(connection).await.unwrap();
        found.extend(rows);
    }
    found
}

fn is_of(row: &Row, round: usize) -> bool {
    row.get("last_updated_time").is_some_and(|time| *time == (1_700_000_000 + round).to_string().into_bytes())
}

/// PSUBSCRIBE, and HGETALL of what changed, each key once per pipeline.
pub struct Follow {
    writer: MultiplexedConnection,
    reader: MultiplexedConnection,
    pushes: UnboundedReceiver<PushInfo>,
}

impl Follow {
    pub async fn new(server: &RedisServer) -> Self {
        let writer = rows::connect(server, AsyncConnectionConfig::new()).await;
        let (mut reader, pushes) = with_pushes(server).await;
        reader.psubscribe(format!("{KEYSPACE}{TABLE}|*")).await.unwrap();
        Self { writer, reader, pushes }
    }
}

impl Side for Follow {
    async fn prepare(&mut self, _count: usize, _round: usize) {}

    async fn run(&mut self, count: usize, round: usize) {
        let follow = async {
            let mut left = count;
            while left > 0 {
                let mut keys = BTreeSet::new();
                let mut next = self.pushes.recv().await;
                while let Some(push) = next {
                    keys.extend(
                        channel(&push)
                            .and_then(|channel| channel.strip_prefix(KEYSPACE.as_bytes()))
                            .map(<[u8]>::to_vec),
                    );
                    next = self.pushes.try_recv().ok();
                }
                let keys: Vec<Vec<u8>> = keys.into_iter().collect();
                let rows = read(&mut self.reader, &keys).await;
                left -= rows.iter().filter(|row| is_of(row, round)).count().min(left);
            }
        };
        tokio::join!(rows::hset(&mut self.writer, TABLE, count, round), follow);
    }
}

/// HSET in pipelines.
pub struct Write {
    writer: MultiplexedConnection,
}

impl Write {
    pub async fn new(server: &RedisServer) -> Self {
        Self { writer: rows::connect(server, AsyncConnectionConfig::new()).await }
    }
}

impl Side for Write {
    async fn prepare(&mut self, _count: usize, _round: usize) {}

    async fn run(&mut self, count: usize, round: usize) {
        rows::hset(&mut self.writer, TABLE, count, round).await;
    }
}

/// The commands that a store's write and reading back consist of, in pipelines: HLEN, HSET, HLEN per row while one's own
/// keyspace events come in; then HGETALL per row.
pub struct WriteBack {
    writer: MultiplexedConnection,
    pushes: UnboundedReceiver<PushInfo>,
}

impl WriteBack {
    pub async fn new(server: &RedisServer) -> Self {
        let (mut writer, pushes) = with_pushes(server).await;
        writer.psubscribe(format!("{KEYSPACE}{TABLE}|*")).await.unwrap();
        Self { writer, pushes }
    }
}

impl WriteBack {
    async fn write(&mut self, rows: std::ops::Range<usize>, fields: &Fields) {
        for first in rows.clone().step_by(PIPELINE) {
            let mut pipeline = Pipeline::new();
            for at in first..rows.end.min(first + PIPELINE) {
                let key = format!("{TABLE}|{}", rows::key(at));
                pipeline.cmd("HLEN").arg(&key).ignore();
                pipeline.cmd("HSET").arg(&key);
                for (name, value) in fields.iter() {
                    pipeline.arg(name).arg(value.as_bytes());
                }
                pipeline.ignore().cmd("HLEN").arg(&key).ignore();
            }
            let () = pipeline.query_async(&mut self.writer).await.unwrap();
        }
    }

    async fn read(&mut self, rows: std::ops::Range<usize>, round: usize) {
        let keys: Vec<Vec<u8>> = rows.map(|at| format!("{TABLE}|{}", rows::key(at)).into_bytes()).collect();
        let read = read(&mut self.writer, &keys).await;
        assert!(read.iter().all(|row| is_of(row, round)));
        while self.pushes.try_recv().is_ok() {}
    }
}

impl Side for WriteBack {
    async fn prepare(&mut self, _count: usize, _round: usize) {}

    async fn run(&mut self, count: usize, round: usize) {
        self.write(0..count, &rows::fields(round)).await;
        self.read(0..count, round).await;
    }
}

/// SONiC's scripts (`reference/swss-wire.md` 3.2, 3.5): one EVALSHA per row in pipelines; pops of 128.
pub struct Produce {
    writer: MultiplexedConnection,
    reader: MultiplexedConnection,
    pushes: UnboundedReceiver<PushInfo>,
    set: Script,
    pop: Script,
}

const SET: &str = r"
    local added = redis.call('SADD', KEYS[2], ARGV[2])
    for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
    if added > 0 then redis.call('PUBLISH', KEYS[1], ARGV[1]) end";
const POP: &str = r"
    local result = {}
    for i, key in ipairs(redis.call('SPOP', KEYS[1], ARGV[1])) do
        if redis.call('SREM', KEYS[3], key) == 1 then redis.call('DEL', KEYS[2] .. key) end
        local pending = ARGV[2] .. KEYS[2] .. key
        local fields = redis.call('HGETALL', pending)
        for f = 1, #fields, 2 do redis.call('HSET', KEYS[2] .. key, fields[f], fields[f + 1]) end
        redis.call('DEL', pending)
        result[i] = {key, fields}
    end
    return result";

impl Produce {
    pub async fn new(server: &RedisServer) -> Self {
        let mut writer = rows::connect(server, AsyncConnectionConfig::new()).await;
        let (mut reader, pushes) = with_pushes(server).await;
        reader.subscribe(format!("{TABLE}_CHANNEL@17")).await.unwrap();
        let (set, pop) = (Script::new(SET), Script::new(POP));
        for script in [SET, POP] {
            let () = redis::cmd("SCRIPT").arg("LOAD").arg(script).query_async(&mut writer).await.unwrap();
        }
        Self { writer, reader, pushes, set, pop }
    }
}

impl Side for Produce {
    async fn prepare(&mut self, _count: usize, _round: usize) {}

    async fn run(&mut self, count: usize, round: usize) {
        let fields = rows::fields(round);
        let produce = async {
            for first in (0..count).step_by(PIPELINE) {
                let mut pipeline = Pipeline::new();
                for at in first..count.min(first + PIPELINE) {
                    let key = rows::key(at);
                    pipeline.cmd("EVALSHA").arg(self.set.get_hash()).arg(3);
                    pipeline.arg(format!("{TABLE}_CHANNEL@17")).arg(format!("{TABLE}_KEY_SET"));
                    pipeline.arg(format!("_{TABLE}|{key}")).arg("G").arg(key);
                    for (name, value) in fields.iter() {
                        pipeline.arg(name).arg(value.as_bytes());
                    }
                    pipeline.ignore();
                }
                let () = pipeline.query_async(&mut self.writer).await.unwrap();
            }
        };
        let consume = async {
            let mut left = count;
            while left > 0 {
                self.pushes.recv().await.unwrap();
                while self.pushes.try_recv().is_ok() {}
                loop {
                    let mut pop = self.pop.key(format!("{TABLE}_KEY_SET"));
                    pop.key(format!("{TABLE}|")).key(format!("{TABLE}_DEL_SET")).arg(128).arg("_");
                    let rows: Vec<(String, Row)> = pop.invoke_async(&mut self.reader).await.unwrap();
                    left -= rows.iter().filter(|(_, row)| is_of(row, round)).count().min(left);
                    if rows.len() < 128 {
                        break;
                    }
                }
            }
        };
        tokio::join!(produce, consume);
    }
}

/// PSUBSCRIBE, SCAN, HGETALL in pipelines, into a map.
pub struct Initial {
    url: String,
}

impl Initial {
    pub async fn new(server: &RedisServer) -> Self {
        Self { url: format!("redis+unix://{}?db=17&protocol=resp3", server.socket().display()) }
    }
}

impl Side for Initial {
    async fn prepare(&mut self, _count: usize, _round: usize) {}

    async fn run(&mut self, count: usize, _round: usize) {
        let (sender, _pushes) = unbounded_channel();
        let config = AsyncConnectionConfig::new().set_push_sender(sender);
        let client = redis::Client::open(self.url.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        connection.psubscribe(format!("{KEYSPACE}{SHARED}|*")).await.unwrap();
        let mut keys = BTreeSet::new();
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{SHARED}|*")).arg("COUNT").arg(1000);
            let (next, found): (u64, Vec<Vec<u8>>) = scan.query_async(&mut connection).await.unwrap();
            keys.extend(found);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        let keys: Vec<Vec<u8>> = keys.into_iter().collect();
        let rows = read(&mut connection, &keys).await;
        let all: BTreeMap<Vec<u8>, Row> = keys.into_iter().zip(rows).collect();
        assert_eq!(all.len(), count);
    }
}

/// The work of ours by hand: rows are persisted and read back, as [`WriteBack`] does, in pipelines; each pipeline's rows
/// then go as SONiC's messages over TCP, are decoded into maps at the other end, and are answered by a byte.
pub struct Zmq {
    back: WriteBack,
    wire: Wire,
}

/// Just the messages over TCP: not decoded, nothing persisted, one byte back when all are there.
pub struct Wire {
    producer: TcpStream,
    consumer: TcpStream,
}

impl Wire {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let producer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (consumer, _) = listener.accept().await.unwrap();
        producer.set_nodelay(true).unwrap();
        consumer.set_nodelay(true).unwrap();
        Self { producer, consumer }
    }
}

/// The message of some rows, framed.
fn message(rows: std::ops::Range<usize>, fields: &Fields) -> Vec<u8> {
    let mut writer = Writer::new("DPU_APPL_DB", "DASH_HA_SCOPE_TABLE");
    for at in rows {
        writer.row(&rows::key(at), Some(fields));
    }
    zmq::wire::message_frame(&writer.finish())
}

/// Takes messages until rows were `count`; `take` says how many a message held.
async fn receive(consumer: &mut TcpStream, count: usize, mut take: impl FnMut(&[u8]) -> usize) {
    let mut seen = 0;
    let mut bytes = vec![0; 1 << 20];
    let (mut held, mut at) = (Vec::new(), 0);
    while seen < count {
        let length = consumer.read(&mut bytes).await.unwrap();
        held.extend_from_slice(&bytes[..length]);
        while let Some((head, length)) = frame(&held[at..]) {
            seen += take(&held[at + head..at + head + length]);
            at += head + length;
        }
        if at == held.len() {
            (held, at) = (Vec::new(), 0);
        }
    }
    consumer.write_u8(1).await.unwrap();
}

impl Side for Wire {
    async fn prepare(&mut self, _count: usize, _round: usize) {}

    async fn run(&mut self, count: usize, round: usize) {
        let fields = rows::fields(round);
        let batch = zmq::limits::BATCH_ROWS_MAX;
        let produce = async {
            for first in (0..count).step_by(batch) {
                let frame = message(first..count.min(first + batch), &fields);
                self.producer.write_all(&frame).await.unwrap();
            }
            self.producer.read_u8().await.unwrap()
        };
        let mut left = count;
        let consume = receive(&mut self.consumer, count, |_| {
            // No look inside: it holds as many as the sender put into it.
            let held = left.min(batch);
            left -= held;
            held
        });
        tokio::join!(produce, consume);
    }
}

impl Zmq {
    pub async fn new(server: &RedisServer) -> Self {
        Self { back: WriteBack::new(server).await, wire: Wire::new().await }
    }
}

impl Side for Zmq {
    async fn prepare(&mut self, _count: usize, _round: usize) {}

    async fn run(&mut self, count: usize, round: usize) {
        let fields = rows::fields(round);
        let Self { back, wire } = self;
        let Wire { producer, consumer } = wire;
        let produce = async {
            for first in (0..count).step_by(PIPELINE) {
                let rows = first..count.min(first + PIPELINE);
                back.write(rows.clone(), &fields).await;
                producer.write_all(&message(rows.clone(), &fields)).await.unwrap();
                back.read(rows, round).await;
            }
            producer.read_u8().await.unwrap()
        };
        let mut table: BTreeMap<String, Row> = BTreeMap::new();
        let consume = receive(consumer, count, |message| {
            let rows = decode(message);
            let count = rows.len();
            table.extend(rows);
            count
        });
        tokio::join!(produce, consume);
        assert!(table.values().all(|row| is_of(row, round)));
    }
}

/// Head and length of the frame that `held` begins with, if it is whole.
fn frame(held: &[u8]) -> Option<(usize, usize)> {
    let (head, length) = match held.first()? {
        0 => (2, usize::from(*held.get(1)?)),
        _ => (9, usize::try_from(u64::from_be_bytes(*held.get(1..)?.first_chunk()?)).unwrap()),
    };
    (held.len() >= head + length).then_some((head, length))
}

/// The rows of a message that is known to be well made.
fn decode(mut rest: &[u8]) -> Vec<(String, Row)> {
    let number = |rest: &mut &[u8]| {
        let (number, after) = rest.split_first_chunk().unwrap();
        *rest = after;
        usize::try_from(u64::from_le_bytes(*number)).unwrap()
    };
    number(&mut rest);
    let text = |rest: &mut &[u8]| {
        let length = number(rest);
        let (text, after) = rest.split_at(length);
        *rest = after;
        text.to_vec()
    };
    text(&mut rest);
    text(&mut rest);
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let key = String::from_utf8(text(&mut rest)).unwrap();
        let count: usize = String::from_utf8(text(&mut rest)).unwrap().parse().unwrap();
        let row =
            (0..count).map(|_| (String::from_utf8(text(&mut rest)).unwrap(), text(&mut rest))).collect();
        rows.push((key, row));
    }
    rows
}
