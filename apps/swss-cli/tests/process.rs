//! `swss-cli` as a process, on real Redis servers: a host and a DPU's container.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use schema::{Db, Fields, Table};
use serde_json::{Value as Json, json};
use swss::testing::RedisServer;
use swss::{Change, Connection, Reader, Update};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    directory: tempfile::TempDir,
    host: RedisServer,
    dpu0: RedisServer,
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().copied().collect()
}

impl World {
    async fn new() -> Self {
        let world = Self {
            directory: tempfile::tempdir().unwrap(),
            host: RedisServer::start().await.unwrap(),
            dpu0: RedisServer::start().await.unwrap(),
        };
        let instance = |server: &RedisServer| json!({"redis": {"hostname": "127.0.0.1", "port": 6379, "unix_socket_path": server.socket()}});
        let host = json!({"INSTANCES": instance(&world.host), "DATABASES": {
            "APPL_DB": {"id": 0, "separator": ":", "instance": "redis"},
            "COUNTERS_DB": {"id": 2, "separator": ":", "instance": "redis"},
            "STATE_DB": {"id": 6, "separator": "|", "instance": "redis"}}});
        let dpu0 = json!({"INSTANCES": instance(&world.dpu0), "DATABASES": {
            "DPU_APPL_DB": {"id": 15, "separator": ":", "instance": "redis"}}});
        let global = json!({"INCLUDES": [{"container_name": "dpu0", "include": "dpu0.json"}]});
        for (file, text) in [("config.json", host), ("dpu0.json", dpu0), ("global.json", global)] {
            std::fs::write(world.path(file), text.to_string()).unwrap();
        }
        world
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swss-cli"));
        command.arg("--database-config").arg(self.path("config.json"));
        command.arg("--database-global").arg(self.path("global.json"));
        command.args(words).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn run(&self, words: &[&str]) -> Output {
        tokio::time::timeout(PATIENCE, self.command(words).output()).await.expect("it ends").unwrap()
    }

    /// Standard output of a command that is well.
    async fn well(&self, words: &[&str]) -> String {
        let output = self.run(words).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    async fn json(&self, words: &[&str]) -> Json {
        serde_json::from_str(&self.well(words).await).unwrap()
    }

    /// Standard error of a command that ends with `code`.
    async fn fails(&self, words: &[&str], code: i32) -> String {
        let output = self.run(words).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {error}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{words:?}");
        error
    }

    fn watch(&self, words: &[&str]) -> Watching {
        let mut command = self.command(&[&["watch"], words].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Watching { child, lines }
    }
}

struct Watching {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    /// The next line without its time, which is checked.
    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("watch says something").unwrap().expect("watch goes on");
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time:?}");
        rest.to_owned()
    }

    async fn json(&mut self) -> Json {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        let mut line: Json =
            serde_json::from_str(&line.expect("watch says something").unwrap().expect("watch goes on"))
                .unwrap();
        assert!(line.as_object_mut().unwrap().remove("time").unwrap().is_string());
        line
    }
}

#[tokio::test]
async fn rows_of_any_table_are_written_shown_and_removed() {
    let world = World::new().await;
    let row = ["STATE_DB", "SOME_TABLE_WE_DO_NOT_KNOW", "a|b"];
    let set = |more: &[&'static str]| [&["set"][..], &row, more].concat();
    let told = world.well(&set(&["f=1", "text=two words"])).await;
    assert_eq!(told, "SOME_TABLE_WE_DO_NOT_KNOW|a|b created\n");
    assert_eq!(
        world.well(&[&["get"][..], &row].concat()).await,
        "SOME_TABLE_WE_DO_NOT_KNOW|a|b\n  f     1\n  text  two words\n"
    );
    world.well(&set(&["f=2"])).await;
    assert_eq!(world.well(&[&["get", "--field", "f"][..], &row].concat()).await, "2\n");
    assert_eq!(
        world.json(&[&["get", "--json"][..], &row].concat()).await,
        json!({"f": "2", "text": "two words"})
    );
    world.well(&set(&["--replace", "g==3"])).await;
    assert_eq!(world.json(&[&["get", "--json"][..], &row].concat()).await, json!({"g": "=3"}));
    world.well(&set(&["f=1"])).await;
    world.well(&[&["del", "--field", "g"][..], &row].concat()).await;
    let dumped = world.json(&["dump", "STATE_DB", "--json"]).await;
    assert_eq!(dumped, json!({"SOME_TABLE_WE_DO_NOT_KNOW": {"a|b": {"f": "1"}}}));
    assert_eq!(world.well(&[&["del"][..], &row].concat()).await, "SOME_TABLE_WE_DO_NOT_KNOW|a|b deleted\n");
    assert!(world.fails(&[&["get"][..], &row].concat(), 1).await.contains("is not there"));
    assert!(world.fails(&[&["del"][..], &row].concat(), 1).await.contains("is not there"));
}

#[tokio::test]
async fn rows_without_a_key_are_asked_for_by_name() {
    let world = World::new().await;
    world.well(&["set", "COUNTERS_DB", "COUNTERS_ENI_NAME_MAP", "--keyless", "eni0=oid:0x1"]).await;
    let row = world.json(&["get", "COUNTERS_DB", "COUNTERS_ENI_NAME_MAP", "--keyless", "--json"]).await;
    assert_eq!(row, json!({"eni0": "oid:0x1"}));
    let counters = Connection::open(&world.host.endpoint(Db::ApplDb)).await.unwrap();
    counters.command(&["SELECT", "2"]).await.unwrap();
    assert_eq!(counters.hgetall("COUNTERS_ENI_NAME_MAP").await.unwrap(), fields(&[("eni0", "oid:0x1")]));
    world.well(&["del", "COUNTERS_DB", "COUNTERS_ENI_NAME_MAP", "--keyless"]).await;
}

#[tokio::test]
async fn protobuf_rows_are_json_in_both_directions() {
    let world = World::new().await;
    let row = ["APPL_DB", "DASH_HA_SET_CONFIG_TABLE", "haset0"];
    let set = |more: &[&'static str]| [&["set"][..], &row, more].concat();
    let message =
        r#"{"version": "1", "vip_v4": "10.3.0.1", "vdpu_ids": ["vdpu0_0", "vdpu1_0"], "scope": "dpu"}"#;
    world.well(&set(&["--pb", message])).await;

    let appl = Connection::open(&world.host.endpoint(Db::ApplDb)).await.unwrap();
    let stored = appl.row(Table::DashHaSetConfig, "haset0").await.unwrap().unwrap();
    let wire =
        [&b"\x0a\x011"[..], b"\x12\x05\x0d\x0a\x03\x00\x01", b"\x22\x07vdpu0_0\x22\x07vdpu1_0", b"\x28\x01"];
    assert_eq!(stored.get("pb").unwrap().as_bytes(), wire.concat());

    world.well(&set(&["--pb", r#"{"version": "2"}"#])).await;
    let shown = world.json(&[&["get", "--json"][..], &row].concat()).await;
    let members = &shown["pb"];
    assert_eq!((&members["version"], &members["vip_v4"]), (&json!("2"), &json!("10.3.0.1")));
    let text = world.well(&[&["get"][..], &row].concat()).await;
    assert!(text.contains("pb.vdpu_ids") && text.contains("vdpu0_0, vdpu1_0"), "{text}");
    assert!(world.well(&[&["get", "--raw"][..], &row].concat()).await.contains("pb"));

    world
        .well(&[
            "set",
            "APPL_DB",
            "DASH_HA_SCOPE_CONFIG_TABLE",
            "vdpu0_0:haset0",
            "--pb",
            r#"{"owner": "dpu"}"#,
        ])
        .await;
    let dumped = world.json(&["dump", "APPL_DB", "--json", "DASH_HA_SCOPE_CONFIG_TABLE"]).await;
    assert_eq!(dumped["DASH_HA_SCOPE_CONFIG_TABLE"]["vdpu0_0:haset0"]["pb"]["owner"], "dpu");

    for (message, says) in [
        (r#"{"vipv4": "10.3.0.1"}"#, "no member \"vipv4\"; there are"),
        (r#"{"vip_v4": "10.3.0"}"#, "member \"vip_v4\""),
        (r#"{"version": 3}"#, "member \"version\""),
        ("[]", "must be a JSON object"),
        ("{", "is not JSON"),
    ] {
        let error = world.fails(&[&["set"][..], &row, &["--pb", message]].concat(), 2).await;
        assert!(error.contains(says), "{error}");
    }
    assert!(world.fails(&set(&["pb=text"]), 2).await.contains("--pb"));
    let error = world.fails(&["set", "STATE_DB", "T", "k", "--pb", "{}"], 2).await;
    assert!(error.contains("no protobuf messages"), "{error}");

    appl.hset("DASH_HA_SET_CONFIG_TABLE:broken", &fields(&[("pb", "not protobuf")])).await.unwrap();
    let output = world.run(&["get", "APPL_DB", "DASH_HA_SET_CONFIG_TABLE", "broken"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("not protobuf"), "the bytes are shown");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("protobuf message"),
        "and what is wrong with them"
    );
}

#[tokio::test]
async fn a_producer_wakes_the_tables_consumer() {
    let world = World::new().await;
    let endpoint = world.dpu0.endpoint(Db::DpuApplDb);
    let mut consumer = Reader::consume(&endpoint, &[Table::DashHaSet]);
    let mut next =
        async || tokio::time::timeout(PATIENCE, consumer.next()).await.expect("something is reported");
    assert_eq!(next().await, Update::Synced);
    let row = ["-n", "dpu0", "DPU_APPL_DB", "DASH_HA_SET_TABLE", "haset0"];
    let change =
        |fields| Update::Changes(vec![Change { table: Table::DashHaSet, key: "haset0".to_owned(), fields }]);
    let told = world.well(&[&["set", "--producer"][..], &row, &["a=1", "b=2"]].concat()).await;
    assert!(told.contains("pending for the table's consumer"), "{told}");
    assert_eq!(next().await, change(Some(fields(&[("a", "1"), ("b", "2")]))));
    world.well(&[&["set", "--producer", "--replace"][..], &row, &["a=3"]].concat()).await;
    assert_eq!(next().await, change(Some(fields(&[("a", "3")]))));
    world.well(&[&["del", "--producer"][..], &row].concat()).await;
    assert_eq!(next().await, change(None));
}

#[tokio::test]
async fn mistakes_are_refused_and_say_what_to_write() {
    let world = World::new().await;
    let cases: [(&[&str], &str); 12] = [
        (&["get", "APPLDB", "T", "k"], "APPL_DB, COUNTERS_DB, STATE_DB"),
        (&["-n", "dpu7", "get", "DPU_APPL_DB", "T", "k"], "dpu7"),
        (&["get", "DPU_APPL_DB", "T", "k"], "name the DPU's container"),
        (&["get", "APPL_DB", "T"], "--keyless"),
        (&["get", "APPL_DB", "T", ""], "shell variable"),
        (&["del", "APPL_DB", "", "k"], "shell variable"),
        (&["del", "APPL_DB", "T:k"], "write T k"),
        (&["dump", "STATE_DB", "T|k"], "write T k"),
        (&["del", "APPL_DB", "T", "k", "l"], "nothing after it"),
        (&["set", "APPL_DB", "T", "k"], "NAME=VALUE"),
        (&["set", "APPL_DB", "T", "k", "f"], "NAME=VALUE"),
        (&["set", "APPL_DB", "T", "k", "f=1", "f=2"], "twice"),
    ];
    for (words, says) in cases {
        let error = world.fails(words, 2).await;
        assert!(error.contains(says), "{words:?}: {error}");
    }
    let appl = Connection::open(&world.host.endpoint(Db::ApplDb)).await.unwrap();
    appl.command(&["SET", "T:k", "text"]).await.unwrap();
    for words in [
        &["set", "APPL_DB", "T", "k", "f=1"][..],
        &["del", "APPL_DB", "T", "k"],
        &["get", "APPL_DB", "T", "k"],
    ] {
        assert!(world.fails(words, 1).await.contains("is a Redis string"));
    }
    assert!(appl.exists("T:k").await.unwrap(), "what is no row is left alone");
}

#[tokio::test]
async fn a_database_out_of_reach_is_exit_code_3() {
    let mut world = World::new().await;
    world.host.kill().unwrap();
    for words in [&["get", "APPL_DB", "T", "k"][..], &["dump", "APPL_DB"], &["watch", "APPL_DB"]] {
        assert!(world.fails(words, 3).await.contains("APPL_DB"));
    }
    std::fs::remove_file(world.path("config.json")).unwrap();
    assert!(world.fails(&["dump", "APPL_DB"], 3).await.contains("config.json does not exist"));
}

#[tokio::test]
async fn a_watch_shows_all_rows_and_then_what_happens_to_them() {
    let world = World::new().await;
    let state = Connection::open(&world.host.endpoint(Db::StateDb)).await.unwrap();
    state.hset("T|old", &fields(&[("f", "1"), ("g", "1")])).await.unwrap();
    state.hset("OTHER|k", &fields(&[("f", "1")])).await.unwrap();
    let mut watch = world.watch(&["STATE_DB", "T"]);
    assert_eq!(watch.line().await, "row T|old f=1 g=1");
    assert_eq!(watch.line().await, "-- synced: this is all there is");
    state.hset("T|new", &fields(&[("f", "a\nb")])).await.unwrap();
    assert_eq!(watch.line().await, r"new T|new f=a\nb");
    state.hset("T|old", &fields(&[("f", "2")])).await.unwrap();
    assert_eq!(watch.line().await, "set T|old f=2 (was 1)");
    state.hdel("T|old", &["g"]).await.unwrap();
    assert_eq!(watch.line().await, "set T|old -g");
    state.command(&["RENAME", "T|old", "T|moved"]).await.unwrap();
    let mut both = [watch.line().await, watch.line().await];
    both.sort();
    assert_eq!(both, ["del T|old", "new T|moved f=2"]);
    state.hset("T", &fields(&[("keyless", "1")])).await.unwrap();
    assert_eq!(watch.line().await, "new T keyless=1");
    state.flushdb().await.unwrap();
    let mut gone = [watch.line().await, watch.line().await, watch.line().await];
    gone.sort();
    assert_eq!(gone, ["del T", "del T|moved", "del T|new"]);
    assert_eq!(watch.line().await, "-- synced: this is all there is");
    watch.child.kill().await.unwrap();
}

#[tokio::test]
async fn a_watch_survives_a_restart_of_the_server_and_says_so() {
    let mut world = World::new().await;
    let endpoint = world.host.endpoint(Db::ApplDb);
    let appl = Connection::open(&endpoint).await.unwrap();
    appl.hset("T:stays", &fields(&[("f", "1")])).await.unwrap();
    appl.hset("T:goes", &fields(&[("f", "1")])).await.unwrap();
    let mut watch = world.watch(&["--json", "APPL_DB", "T", "--changes", "3"]);
    let row =
        |event: &str, key: &str| json!({"event": event, "table": "T", "key": key, "fields": {"f": "1"}});
    assert_eq!(watch.json().await, row("row", "goes"));
    assert_eq!(watch.json().await, row("row", "stays"));
    assert_eq!(watch.json().await["event"], "synced");
    world.host.kill().unwrap();
    assert_eq!(watch.json().await["event"], "lost");
    world.host.restart().await.unwrap();
    let appl = Connection::open(&endpoint).await.unwrap();
    appl.hset("T:stays", &fields(&[("f", "1")])).await.unwrap();
    // The server was empty for a moment, which the watch may or may not have seen.
    let mut present = std::collections::BTreeSet::from(["goes".to_owned(), "stays".to_owned()]);
    let mut synced = false;
    while !synced || present.len() != 1 || !present.contains("stays") {
        let line = watch.json().await;
        match line["event"].as_str().unwrap() {
            "del" => assert!(present.remove(line["key"].as_str().unwrap())),
            "new" => assert!(present.insert(line["key"].as_str().unwrap().to_owned())),
            "synced" => synced = true,
            other => panic!("{other}"),
        }
    }
    // Whatever was seen of it, these are more than enough: after its third change it leaves.
    for i in 0..3 {
        appl.hset(&format!("T:more{i}"), &fields(&[("f", "1")])).await.unwrap();
    }
    let left = tokio::time::timeout(PATIENCE, watch.child.wait()).await.expect("it leaves").unwrap();
    assert!(left.success());
}

#[tokio::test]
async fn what_is_not_there_is_answered_with_what_is() {
    let world = World::new().await;
    let error = world.fails(&["get", "STATE_DB", "SOME_TABLE", "k"], 1).await;
    assert!(error.contains("STATE_DB has no rows at all"), "{error}");
    world.well(&["set", "state_db", "SOME_TABLE", "k", "f=1", "g=2"]).await;
    world.well(&["set", "STATE_DB", "KEYLESS", "--keyless", "f=1"]).await;
    let error = world.fails(&["get", "STATE_DB", "SOME_TABLE", "K"], 1).await;
    assert!(error.contains("SOME_TABLE|K is not there; rows of SOME_TABLE are k"), "{error}");
    let error = world.fails(&["del", "STATE_DB", "SOME_TABEL", "k"], 1).await;
    assert!(error.contains("nor any row of SOME_TABEL; STATE_DB has rows of KEYLESS, SOME_TABLE"), "{error}");
    let error = world.fails(&["get", "STATE_DB", "SOME_TABLE", "k", "--field", "h"], 1).await;
    assert!(error.contains("has no field \"h\"; there are f, g"), "{error}");
    let error = world.fails(&["get", "STATE_DB", "KEYLESS", "k"], 1).await;
    assert!(error.contains("rows of KEYLESS are --keyless"), "{error}");
    let output = world.run(&["dump", "STATE_DB", "SOME_TABEL"]).await;
    assert_eq!((output.status.code(), output.stdout), (Some(0), Vec::new()));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("STATE_DB has no rows of SOME_TABEL"), "{error}");
}

#[tokio::test]
async fn a_member_of_a_message_is_a_field_too() {
    let world = World::new().await;
    let row = ["APPL_DB", "DASH_HA_SET_CONFIG_TABLE", "haset0"];
    world.well(&[&["set"][..], &row, &["--pb", r#"{"version": "1", "vip_v4": "10.3.0.1"}"#]].concat()).await;
    let get = |more: &[&'static str]| [&["get"][..], &row, more].concat();
    assert_eq!(world.well(&get(&["--field", "pb.vip_v4"])).await, "10.3.0.1\n");
    assert_eq!(world.well(&get(&["--json", "--field", "pb.vip_v4"])).await, "\"10.3.0.1\"\n");
    let error = world.fails(&get(&["--field", "vip_v4"]), 1).await;
    assert!(error.contains("pb.vip_v4"), "{error}");
}
