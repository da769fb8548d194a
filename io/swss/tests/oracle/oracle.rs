//! A Python process on the other side.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value as Json, json};
use swss::Endpoint;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::PATIENCE;

/// Debian's, which has the Debian packages, whatever else is in the path.
const PYTHON: &str = "/usr/bin/python3";

/// One side of the bus, in Python.
pub struct Oracle {
    script: &'static str,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Oracle {
    /// `bus.py` on a database.
    pub fn bus(endpoint: &Endpoint) -> Self {
        let swss::Address::Unix(socket) = &endpoint.address else { panic!("a unix socket") };
        let words =
            [socket.display().to_string(), endpoint.index.to_string(), endpoint.separator.to_string()];
        Self::start("bus.py", &words)
    }

    /// A script of this directory.
    pub fn start(script: &'static str, words: &[String]) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(script);
        let mut child = Command::new(PYTHON)
            .arg("-B")
            .arg(path)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{PYTHON}: {error}: install python3-redis and python3-zmq"));
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { script, input, output, _child: child }
    }

    /// Asks for one thing and waits for the answer.
    pub async fn ask(&mut self, name: &str, arguments: Json) -> Json {
        let request = format!("{}\n", json!([name, arguments]));
        let answer = async {
            self.input.write_all(request.as_bytes()).await.unwrap();
            self.output.next_line().await.unwrap()
        };
        let line = tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time");
        let script = self.script;
        let line = line.unwrap_or_else(|| {
            panic!("{script} died at {name} {arguments}: see above; python3-redis there?")
        });
        serde_json::from_str(&line).unwrap()
    }
}
