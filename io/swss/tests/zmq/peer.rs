//! A consumer by script: it says what the test says.

use std::collections::VecDeque;

use swss::ZmqAddress;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zmq::message::{self, Message};
use zmq::wire::{Command, Decoder, Item, greeting};

use crate::support::in_time;

/// Listens, and lets the test deal with each connection.
pub struct Peer {
    listener: TcpListener,
}

impl Peer {
    pub async fn new() -> Self {
        Self::at("127.0.0.1:0").await
    }

    pub async fn at(address: &str) -> Self {
        Self { listener: TcpListener::bind(address).await.unwrap() }
    }

    pub fn address(&self) -> ZmqAddress {
        let address = self.listener.local_addr().unwrap();
        ZmqAddress::Tcp { host: address.ip().to_string(), port: address.port() }
    }

    /// The next connection, nothing said yet.
    pub async fn accept(&self) -> Link {
        let (stream, _) = in_time("a producer connects", self.listener.accept()).await.unwrap();
        Link { stream, decoder: Decoder::new(), items: VecDeque::new(), answers: true }
    }

    /// The next connection, the handshake done.
    pub async fn link(&self) -> Link {
        let mut link = self.accept().await;
        link.shake_hands("PULL").await;
        link
    }
}

/// A connection of a producer.
pub struct Link {
    pub stream: TcpStream,
    decoder: Decoder,
    items: VecDeque<Item>,
    /// Whether PINGs are answered as they come.
    pub answers: bool,
}

impl Link {
    pub async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub async fn shake_hands(&mut self, socket_type: &str) {
        self.say(&greeting()).await;
        self.say(&Command::Ready { socket_type: socket_type.to_owned() }.frame()).await;
        assert_eq!(self.next().await, Some(Item::Greeting));
        let ready = Command::Ready { socket_type: "PUSH".to_owned() };
        assert_eq!(self.next().await, Some(Item::Command(ready)));
    }

    /// What comes next; `None` if the producer closes.
    pub async fn next(&mut self) -> Option<Item> {
        let mut buffer = vec![0; 65536];
        loop {
            if let Some(item) = self.items.pop_front() {
                return Some(item);
            }
            let count = in_time("the producer says something", self.stream.read(&mut buffer)).await;
            match count {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.decoder.push(&buffer[..count]),
            }
            while let Some(item) = self.decoder.next().unwrap() {
                self.items.push_back(item);
            }
        }
    }

    /// The next message; PINGs on the way are answered, if that is wanted.
    pub async fn message(&mut self) -> Option<Message> {
        loop {
            match self.next().await? {
                Item::Message(bytes) => return Some(message::decode(&bytes).unwrap()),
                Item::Command(Command::Ping { context, .. }) => {
                    if self.answers {
                        self.say(&Command::Pong { context }.frame()).await;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// The rows that come next, as `key=v` or `key gone`; acknowledged, if that is wanted.
    pub async fn rows(&mut self, count: usize) -> Vec<String> {
        let mut rows = Vec::new();
        while rows.len() < count {
            let message = self.message().await.expect("more rows");
            for row in message.rows {
                rows.push(match &row.fields {
                    Some(fields) => format!("{}={}", row.key, fields.text("v").unwrap_or("?")),
                    None => format!("{} gone", row.key),
                });
            }
        }
        if self.answers {
            let context = self.ping().await;
            self.pong(context).await;
        }
        rows
    }

    /// The next PING, which is not answered.
    pub async fn ping(&mut self) -> Vec<u8> {
        loop {
            match self.next().await.expect("a PING") {
                Item::Command(Command::Ping { context, .. }) => return context,
                Item::Message(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn pong(&mut self, context: Vec<u8>) {
        self.say(&Command::Pong { context }.frame()).await;
    }

    /// Waits for PINGs, and answers them, until the producer closes or `future` is done.
    pub async fn answer_until<T>(&mut self, future: impl Future<Output = T>) -> T {
        tokio::pin!(future);
        loop {
            tokio::select! {
                done = &mut future => return done,
                item = self.next() => match item {
                    Some(Item::Command(Command::Ping { context, .. })) => self.pong(context).await,
                    Some(_) => {}
                    None => return future.await,
                },
            }
        }
    }

    /// Breaks the connection with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}
