//! Every write of a Redis server, as its keyspace notifications tell it: in order, none merged with another, and
//! also those that change nothing. That is what "quiet" is measured with.
//!
//! A subscription needs so little of the protocol that it is read here directly.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schema::Db;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// The longest key that is taken in, in bytes.
const KEY_BYTES_MAX: usize = 1 << 20;
/// The pause before a lost connection is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// Every key of every database.
const PATTERN: &str = "__keyspace@*__:*";

/// What a server tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It answers: the subscription stands.
    Answers,
    /// A key was written.
    Write(KeyWrite),
    /// It closed the connection, or died.
    Silent,
}

/// A write to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyWrite {
    /// The database.
    pub db: Db,
    /// The Redis key.
    pub redis_key: String,
    /// The command.
    pub op: String,
}

/// Follows the server at that socket for ever, through its restarts. `dbs` are the databases of interest.
pub async fn follow(socket: PathBuf, dbs: Vec<Db>, out: mpsc::Sender<Heard>) {
    let mut answered = false;
    loop {
        if let Err(error) = follow_once(&socket, &dbs, &out, &mut answered).await {
            tracing::debug!(socket = %socket.display(), %error, "keyspace notifications are lost");
        }
        if std::mem::take(&mut answered) && out.send(Heard::Silent).await.is_err() {
            return;
        }
        if out.is_closed() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow_once(
    socket: &Path,
    dbs: &[Db],
    out: &mpsc::Sender<Heard>,
    answered: &mut bool,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(UnixStream::connect(socket).await?);
    let subscribe = format!("*2\r\n$10\r\nPSUBSCRIBE\r\n${}\r\n{PATTERN}\r\n", PATTERN.len());
    stream.write_all(subscribe.as_bytes()).await?;
    loop {
        let words = message(&mut stream).await?;
        if words.first().is_some_and(|word| word == "psubscribe") {
            *answered = true;
            if out.send(Heard::Answers).await.is_err() {
                return Ok(());
            }
        }
        let [kind, _, channel, op] = words.as_slice() else { continue };
        if kind != "pmessage" {
            continue;
        }
        let Some(write) = parse(channel, op, dbs) else { continue };
        if out.send(Heard::Write(write)).await.is_err() {
            return Ok(());
        }
    }
}

/// One array of bulk strings; integers among them are kept as text.
async fn message(stream: &mut BufReader<UnixStream>) -> std::io::Result<Vec<String>> {
    let count = header(stream, '*').await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_at_checked(1) {
            Some(("$", length)) => {
                let length: usize = length.parse().map_err(|_| bad(&line))?;
                if length > KEY_BYTES_MAX {
                    return Err(bad("a key that is too long"));
                }
                let mut bytes = vec![0; length + 2];
                stream.read_exact(&mut bytes).await?;
                bytes.truncate(length);
                words.push(String::from_utf8_lossy(&bytes).into_owned());
            }
            Some((":", number)) => words.push(number.to_owned()),
            Some(_) | None => return Err(bad(&line)),
        }
    }
    Ok(words)
}

async fn header(stream: &mut BufReader<UnixStream>, kind: char) -> std::io::Result<usize> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    line.trim_end().strip_prefix(kind).and_then(|count| count.parse().ok()).ok_or_else(|| bad(&line))
}

fn bad(line: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, format!("not a message of a subscription: {line:?}"))
}

/// `__keyspace@<index>__:<key>`.
fn parse(channel: &str, op: &str, dbs: &[Db]) -> Option<KeyWrite> {
    let (index, key) = channel.strip_prefix("__keyspace@")?.split_once("__:")?;
    let index: u32 = index.parse().ok()?;
    let db = dbs.iter().copied().find(|db| db.default_index() == index)?;
    Some(KeyWrite { db, redis_key: key.to_owned(), op: op.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_write_of_a_real_server_is_heard() {
        let server = swss::testing::RedisServer::start().await.unwrap();
        let endpoint = server.endpoint(Db::StateDb);
        let swss::Address::Unix(socket) = endpoint.address.clone() else { panic!("{endpoint}") };
        let (send, mut heard) = mpsc::channel(16);
        let follower = tokio::spawn(follow(socket, vec![Db::StateDb], send));
        assert_eq!(heard.recv().await, Some(Heard::Answers));
        let connection = swss::Connection::open(&endpoint).await.unwrap();
        let row = schema::Fields::placeholder();
        connection.hset("T|k", &row).await.unwrap();
        connection.hset("T|k", &row).await.unwrap();
        connection.delete_all().await.unwrap();
        for op in ["hset", "hset", "del"] {
            let write = KeyWrite { db: Db::StateDb, redis_key: "T|k".to_owned(), op: op.to_owned() };
            assert_eq!(heard.recv().await, Some(Heard::Write(write)));
        }
        follower.abort();
    }

    #[test]
    fn a_notification_names_database_key_and_command() {
        let dbs = [Db::StateDb, Db::ApplDb];
        let write = parse("__keyspace@6__:DPU_RESET_INFO|DPU0", "hset", &dbs).unwrap();
        assert_eq!((write.db, write.redis_key.as_str()), (Db::StateDb, "DPU_RESET_INFO|DPU0"));
        let key = parse("__keyspace@0__:T:default:default:fd00::1", "del", &dbs).unwrap().redis_key;
        assert_eq!(key, "T:default:default:fd00::1");
        assert_eq!(parse("__keyspace@4__:DPU|d", "hset", &dbs), None);
        assert_eq!(parse("__keyevent@6__:hset", "k", &dbs), None);
    }
}
