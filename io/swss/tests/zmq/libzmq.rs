//! libzmq on the other side (Debian's `python3-zmq`): it takes our messages, and we take its.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use swss::{Update, ZmqAddress};

use crate::both_ends::{anywhere, reader_at};
use crate::support::*;

/// Binds a PULL socket, says where, and prints each message in hex.
const PULL: &str = "
import sys, zmq
s = zmq.Context().socket(zmq.PULL)
print(s.bind_to_random_port('tcp://127.0.0.1'), flush=True)
while True:
    print(s.recv().hex(), flush=True)
";

/// Connects a PUSH socket, and sends each line of hex that it reads.
const PUSH: &str = "
import sys, zmq
s = zmq.Context().socket(zmq.PUSH)
s.connect(sys.argv[1])
for line in sys.stdin:
    s.send(bytes.fromhex(line))
";

/// The process, killed at the end.
struct Python(Child);

impl Drop for Python {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn python(script: &str, argument: &str) -> Option<Python> {
    let can = Command::new("/usr/bin/python3").args(["-c", "import zmq"]).stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: /usr/bin/python3 with the module zmq is needed (Debian: python3-zmq)");
        return None;
    }
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", script, argument]).stdin(Stdio::piped()).stdout(Stdio::piped());
    Some(Python(command.spawn().unwrap()))
}

async fn lines(python: &mut Python) -> tokio::sync::mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let stdout = std::io::BufReader::new(python.0.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(stdout).map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

#[tokio::test]
async fn libzmq_takes_our_messages_and_acknowledges_them() {
    let Some(mut pull) = python(PULL, "") else { return };
    let mut lines = lines(&mut pull).await;
    let port = in_time("it listens", lines.recv()).await.unwrap().trim().parse().unwrap();
    let address = ZmqAddress::Tcp { host: "127.0.0.1".to_owned(), port };
    let mut bench = Bench::new(Some(address)).await;
    bench.write(&[set(SET, "haset0_0", &[("version", "1"), ("vip_v4", "3.2.1.0")])]);
    bench.until_consumed(&["haset0_0"]).await;
    // The golden bytes (swss-wire 5.2).
    let golden = "04000000000000000b000000000000004450555f4150504c5f44421100000000000000\
        444153485f48415f5345545f5441424c4508000000000000006861736574305f3001000000000000003207000000000000\
        0076657273696f6e01000000000000003106000000000000007669705f76340700000000000000332e322e312e30";
    assert_eq!(in_time("the message", lines.recv()).await.unwrap(), golden);
    let many: Vec<_> = (0..5000).map(|i| set(SET, &i.to_string(), &[("v", "1")])).collect();
    bench.write(&many);
    bench
        .until("all are consumed", |_, rows| rows.len() == 5001 && rows.values().all(|row| row.consumed))
        .await;
    // A heartbeat is answered too: the link stays up.
    bench.write(&[del(SET, "haset0_0")]);
    assert!(bench.until_written(&del(SET, "haset0_0")).await);
    assert_eq!(bench.store.zmq().unwrap().connections(), 1);
}

#[tokio::test]
async fn we_take_what_libzmq_sends() {
    let bench = Bench::new(None).await;
    let (mut reader, address) = reader_at(&anywhere(), &bench).await;
    let Some(mut push) = python(PUSH, &address.to_string()) else { return };
    let mut stdin = push.0.stdin.take().unwrap();
    for (key, value) in [("a", Some("1")), ("b", Some("1")), ("a", None), ("c", Some("1"))] {
        let mut writer = zmq::message::Writer::new("DPU_APPL_DB", SET.name());
        writer.row(key, value.map(|value| fields(&[("v", value)])).as_ref());
        let hex: String = writer.finish().iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(stdin, "{hex}").unwrap();
    }
    stdin.flush().unwrap();
    let mut rows = std::collections::BTreeMap::new();
    while !rows.contains_key("c") {
        let Update::Changes(changes) = in_time("changes", reader.next()).await else { panic!() };
        for change in changes {
            match change.fields {
                Some(fields) => rows.insert(change.key, fields),
                None => rows.remove(&change.key),
            };
        }
    }
    let wanted = ["b", "c"].into_iter().map(|key| (key.to_owned(), fields(&[("v", "1")]))).collect();
    assert_eq!(rows, wanted);
    drop(push);
    let stats = reader.zmq().unwrap().clone();
    let gone =
        swss::testing::wait_until("it is gone", PATIENCE, async || (stats.producers() == 0).then_some(()));
    gone.await.unwrap();
    assert_eq!(stats.refused(), 0);
}
