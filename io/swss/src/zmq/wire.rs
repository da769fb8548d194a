//! A connection as bytes in and bytes out.

use std::future::pending;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::zmq::socket::Stream;

const READ_BYTES: usize = 64 * 1024;

/// A connection, and what waits to be written to it.
pub(super) struct Wire {
    read: ReadHalf<Box<dyn Stream>>,
    write: WriteHalf<Box<dyn Stream>>,
    input: Vec<u8>,
    output: Vec<u8>,
    /// How much of `output` is written.
    written: usize,
}

/// What happened on a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// Bytes came.
    In(Vec<u8>),
    /// So many bytes went.
    Out(usize),
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        let (read, write) = tokio::io::split(stream);
        Self { read, write, input: vec![0; READ_BYTES], output: Vec::new(), written: 0 }
    }

    /// Adds bytes to be written. What is added is bounded by whoever adds it: the link sends no more than may be
    /// unacknowledged, a session answers what it was asked.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
        self.output.extend_from_slice(bytes);
    }

    /// How many bytes wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.output.len() - self.written
    }

    async fn move_some(&mut self) -> io::Result<Moved> {
        let has_output = self.waiting() > 0;
        tokio::select! {
            read = self.read.read(&mut self.input) => match read? {
                0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed the connection")),
                count => Ok(Moved::In(self.input.get(..count).unwrap_or_default().to_vec())),
            },
            written = self.write.write(self.output.get(self.written..).unwrap_or_default()), if has_output => {
                let count = written?;
                self.written += count;
                Ok(Moved::Out(count))
            }
        }
    }
}

/// Reads or writes some; waits for ever without a connection. Cancel-safe.
pub(super) async fn moved(wire: &mut Option<Wire>) -> io::Result<Moved> {
    match wire {
        Some(wire) => wire.move_some().await,
        None => pending().await,
    }
}
