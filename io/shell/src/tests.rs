//! The shell's own promises.

use std::net::SocketAddr;
use std::sync::Arc;

use reconcile::{Batch, Core, Time};
use schema::chassis_state_db::DpuState;
use schema::{Fields, Slot, Table, Value, WallMs};
use serde::Serialize;
use swss::Change;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::{DaemonArgs, DatabaseArgs, Decoded, Farewell, LogFormat, Metrics, Recorder, RowDecoder, Shell};

fn change(fields: &[(&str, &str)]) -> Change {
    Change {
        table: Table::DpuState,
        key: "DPU0".to_owned(),
        fields: Some(fields.iter().map(|(name, value)| (*name, Value::from(*value))).collect::<Fields>()),
    }
}

#[test]
fn a_bad_row_is_counted_each_time_and_says_nothing() {
    let metrics = Metrics::new();
    let mut decoder = RowDecoder::new(metrics.clone());
    let bad = change(&[("dpu_midplane_link_state", "sideways")]);
    for count in 1..=2 {
        assert_eq!(decoder.decode::<DpuState>(&bad), Decoded::Bad(Slot(0)));
        assert_eq!(metrics.bad_rows(Table::DpuState), count);
    }
    assert_eq!(Decoded::<DpuState>::Bad(Slot(0)).or_nothing(), Some((Slot(0), None)));
    assert_eq!(Decoded::<DpuState>::Bad(Slot(0)).or_last_good(), None);
}

#[test]
fn a_bad_time_is_counted_and_the_state_beside_it_is_read() {
    let metrics = Metrics::new();
    let mut decoder = RowDecoder::new(metrics.clone());
    let row = change(&[("dpu_midplane_link_state", "up"), ("dpu_midplane_link_time", "yesterday")]);
    let Decoded::Present(Slot(0), row) = decoder.decode::<DpuState>(&row) else { panic!("not read") };
    assert_eq!(row.midplane_link_state, Some(schema::LinkState::Up));
    assert_eq!(metrics.bad_rows(Table::DpuState), 1);
}

#[test]
fn a_bad_key_is_counted_and_nothing_else() {
    let metrics = Metrics::new();
    let mut decoder = RowDecoder::new(metrics.clone());
    let row = Change { key: "NPU".to_owned(), ..change(&[("dpu_midplane_link_state", "up")]) };
    assert_eq!(decoder.decode::<DpuState>(&row), Decoded::BadKey);
    assert_eq!(metrics.bad_rows(Table::DpuState), 1);
}

#[test]
fn the_metrics_name_database_and_table() {
    let metrics = Metrics::new();
    metrics.write(Table::DpuState, true);
    let text = metrics.encode();
    let line = "smartswitch_ha_writes_total{db=\"CHASSIS_STATE_DB\",table=\"DPU_STATE\"} 1";
    assert!(text.lines().any(|l| l == line), "{text}");
}

#[test]
fn links_to_dpus_are_metrics_of_each_dpu() {
    let metrics = Metrics::new();
    assert!(!metrics.encode().contains("zmq"));
    metrics.zmq_link("dpu0".to_owned(), Arc::default());
    metrics.zmq_link("dpu1".to_owned(), Arc::default());
    metrics.zmq_server(Arc::default());
    let text = metrics.encode();
    for line in [
        "smartswitch_ha_zmq_link_up{dpu=\"dpu0\"} 0",
        "smartswitch_ha_zmq_link_up{dpu=\"dpu1\"} 0",
        "smartswitch_ha_zmq_acknowledged_rows_total{dpu=\"dpu1\"} 0",
        "smartswitch_ha_zmq_refused_messages_total 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert_eq!(text.matches("# TYPE smartswitch_ha_zmq_link_up").count(), 1);
}

/// Counts what it is given; asks for one more call, and remembers that it came.
#[derive(Default, Serialize)]
struct Counting {
    inputs: Vec<u32>,
    deadline: Option<Time>,
    woken: bool,
}

impl Core for Counting {
    type Input = u32;
    type Effect = u32;

    fn handle(&mut self, now: Time, batch: Batch<u32>, out: &mut Vec<u32>) {
        if let Some(deadline) = self.deadline
            && deadline <= now
        {
            self.deadline = None;
            self.woken = true;
            out.push(0);
        }
        for input in batch.inputs {
            self.inputs.push(input);
            out.push(input);
        }
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        self.deadline.map(|time| (time, "test"))
    }
}

fn args() -> DaemonArgs {
    DaemonArgs { log_format: LogFormat::Text, admin_listen: None, record: None }
}

#[test]
fn the_global_file_is_expected_beside_the_database_configuration() {
    let args =
        DatabaseArgs { database_config: "/nowhere/database_config.json".into(), database_global: None };
    assert_eq!(args.global_path(), std::path::Path::new("/nowhere/database_global.json"));
}

#[tokio::test]
async fn inputs_and_deadlines_reach_the_core_and_the_record() {
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("record.jsonl");
    let shell = Shell::start(&DaemonArgs { record: Some(record.clone()), ..args() }).await.unwrap();
    let mut core = Counting { deadline: Some(Time(1)), ..Counting::default() };
    let (sender, inputs) = mpsc::channel(8);
    let (done, mut effects) = mpsc::unbounded_channel();
    let feeder = tokio::spawn(async move {
        sender.send(7).await.unwrap();
        // The queue ends, and with it the run, only when the deadline has been served too.
        while effects.recv().await != Some(0) {}
    });
    let apply = |batch: Vec<u32>| batch.into_iter().for_each(|effect| done.send(effect).unwrap());
    shell.run(&mut core, inputs, apply, None::<Farewell<Counting>>).await.unwrap();
    feeder.await.unwrap();
    assert_eq!(core.inputs, [7]);
    assert!(core.woken);
    let text = std::fs::read_to_string(record).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["inputs"] == serde_json::json!([7])), "{text}");
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_admin_endpoint_tells_metrics_health_and_state() {
    let any_port = Some("127.0.0.1:0".parse().unwrap());
    let shell = Shell::start(&DaemonArgs { admin_listen: any_port, ..args() }).await.unwrap();
    let address = shell.admin_address().unwrap();
    let (sender, inputs) = mpsc::channel(8);
    sender.send(5).await.unwrap();
    let client = tokio::spawn(async move {
        let answers =
            [get(address, "/healthz").await, get(address, "/metrics").await, get(address, "/state").await];
        drop(sender);
        answers
    });
    let mut core = Counting::default();
    shell.run(&mut core, inputs, |_| {}, None::<Farewell<Counting>>).await.unwrap();
    let [health, metrics, state] = client.await.unwrap();
    assert!(health.ends_with("ok\n"), "{health}");
    assert!(metrics.contains("smartswitch_ha_inputs_total"), "{metrics}");
    assert!(state.contains("\"inputs\""), "{state}");
}

#[test]
fn a_recorder_that_is_off_writes_nothing_and_a_bad_path_is_named() {
    Recorder::off().record(Time(0), &Batch { wall: WallMs(0), inputs: vec![1_u32] });
    let error = Recorder::create(std::path::Path::new("/nowhere/at/all")).unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all"));
}
