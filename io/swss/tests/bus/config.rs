//! Configuration files: `reference/swss-wire.md` 1.2-1.4, `reference/pmon.md` 2.3-2.5.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schema::Db;
use swss::{Address, ConfigError, DatabaseConfig, Endpoint};

const NPU: &str = r#"{"INSTANCES": {
    "redis": {"hostname": "127.0.0.1", "port": 6379, "unix_socket_path": "/var/run/redis/redis.sock",
              "persistence_for_warm_boot": "yes", "unknown": [1, 2]},
    "redis_chassis": {"hostname": "redis_chassis.server", "port": 6380}},
  "DATABASES": {
    "APPL_DB": {"id": 0, "separator": ":", "instance": "redis", "format": "proto"},
    "STATE_DB": {"id": 6, "separator": "|", "instance": "gone"},
    "CONFIG_DB": {"id": 4, "separator": ":", "instance": "redis"},
    "CHASSIS_STATE_DB": {"id": 13, "separator": "|", "instance": "redis_chassis"}},
  "VERSION": "1.0"}"#;

const DPU0: &str = r#"{"INSTANCES": {
    "redis": {"hostname": "169.254.200.254", "port": 6381, "unix_socket_path": "/var/run/redisdpu0/redis.sock",
              "database_type": "dpudb"}},
  "DATABASES": {"DPU_APPL_DB": {"id": 15, "separator": ":", "instance": "redis"}}}"#;

const GLOBAL: &str = r#"{"INCLUDES": [
    {"include": "../../redis/sonic-db/database_config.json"},
    {"namespace": "asic0", "include": "../../redis0/sonic-db/database_config.json"},
    {"container_name": "dpu0", "include": "../../redisdpu0/sonic-db/database_config.json"},
    {"container_name": "dpu1", "include": "../../redisdpu1/sonic-db/database_config.json"},
    {"container_name": "dpu2", "include": "../../redisdpu2/sonic-db/database_config.json"}],
  "VERSION": "1.0"}"#;

struct Files {
    root: tempfile::TempDir,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let files_ = Self { root: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            files_.put(path, text);
        }
        files_
    }

    /// As SONiC does it: written aside, then renamed.
    fn put(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let aside = path.with_extension("tmp");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(aside, path).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.root.path().join("redis/sonic-db/database_config.json")
    }

    fn global(&self) -> PathBuf {
        self.root.path().join("redis/sonic-db/database_global.json")
    }

    fn load(&self) -> Result<DatabaseConfig, ConfigError> {
        DatabaseConfig::load(&self.config(), &self.global())
    }
}

const CONFIG_FILE: &str = "redis/sonic-db/database_config.json";
const GLOBAL_FILE: &str = "redis/sonic-db/database_global.json";
const DPU0_FILE: &str = "redisdpu0/sonic-db/database_config.json";
const DPU1_FILE: &str = "redisdpu1/sonic-db/database_config.json";

fn dpu0() -> Endpoint {
    let address = Address::Unix(PathBuf::from("/var/run/redisdpu0/redis.sock"));
    Endpoint { db: Db::DpuApplDb, address, index: 15, separator: ':' }
}

#[test]
fn databases_are_found_by_socket_and_else_by_tcp() {
    let files = Files::new(&[(CONFIG_FILE, NPU), (GLOBAL_FILE, GLOBAL), (DPU0_FILE, DPU0)]);
    let databases = files.load().unwrap();
    let socket = Address::Unix(PathBuf::from("/var/run/redis/redis.sock"));
    let appl = Endpoint { db: Db::ApplDb, address: socket, index: 0, separator: ':' };
    assert_eq!(databases.endpoint("", Db::ApplDb).unwrap(), appl);
    let chassis = databases.endpoint("", Db::ChassisStateDb).unwrap();
    assert_eq!(chassis.address, Address::Tcp { host: "redis_chassis.server".into(), port: 6380 });
    assert_eq!((chassis.index, chassis.separator), (13, '|'));
    assert_eq!(databases.endpoint("dpu0", Db::DpuApplDb).unwrap(), dpu0());
    assert_eq!(databases.containers(), ["dpu0", "dpu1", "dpu2"]);
}

#[test]
fn a_dpu_finds_its_remote_databases_by_tcp() {
    let dpu = r#"{"INSTANCES": {"remote_redis":
          {"hostname": "169.254.200.254", "port": 6381, "unix_socket_path": ""}},
        "DATABASES": {"DPU_STATE_DB": {"id": 17, "separator": "|", "instance": "remote_redis"}}}"#;
    let databases = Files::new(&[(CONFIG_FILE, dpu)]).load().unwrap();
    let endpoint = databases.endpoint("", Db::DpuStateDb).unwrap();
    assert_eq!(endpoint.address, Address::Tcp { host: "169.254.200.254".into(), port: 6381 });
    assert_eq!(databases.containers(), Vec::<String>::new());
}

#[test]
fn a_system_with_one_dpu_has_no_global_file() {
    let files = Files::new(&[(CONFIG_FILE, NPU), (DPU0_FILE, DPU0)]);
    let databases = files.load().unwrap();
    assert_eq!(databases.containers(), ["dpu0"]);
    assert_eq!(databases.endpoint("dpu0", Db::DpuApplDb).unwrap(), dpu0());
}

#[test]
fn missing_sections_count_as_empty() {
    let databases = Files::new(&[(CONFIG_FILE, "{}"), (GLOBAL_FILE, "{}")]).load().unwrap();
    assert!(matches!(databases.endpoint("", Db::ApplDb), Err(ConfigError::UnknownDatabase { .. })));
    assert_eq!(databases.containers(), Vec::<String>::new());
}

#[test]
fn a_malformed_file_is_an_error_as_a_whole() {
    let cases = [
        r#"{"INSTANCES": {"redis": {"port": 6379}}}"#,
        r#"{"INSTANCES": {"redis": {"hostname": "h"}}}"#,
        r#"{"INSTANCES": {"redis": {"hostname": "h", "port": "6379"}}}"#,
        r#"{"INSTANCES": {"redis": {"hostname": "h", "port": 65536}}}"#,
        r#"{"DATABASES": {"APPL_DB": {"separator": ":", "instance": "redis"}}}"#,
        r#"{"DATABASES": {"APPL_DB": {"id": 0, "instance": "redis"}}}"#,
        r#"{"DATABASES": {"APPL_DB": {"id": 0, "separator": ":"}}}"#,
        "",
        r#"{"INSTANCES""#,
    ];
    for text in cases {
        let error = Files::new(&[(CONFIG_FILE, text)]).load().unwrap_err();
        assert!(matches!(error, ConfigError::Malformed { .. }), "{text}: {error}");
    }
    let error = Files::new(&[(CONFIG_FILE, NPU), (GLOBAL_FILE, "[")]).load().unwrap_err();
    assert!(matches!(error, ConfigError::Malformed { .. }), "{error}");
}

#[test]
fn every_error_says_what_to_look_at() {
    let files = Files::new(&[(CONFIG_FILE, NPU), (GLOBAL_FILE, GLOBAL), (DPU0_FILE, DPU0), (DPU1_FILE, "{")]);
    let databases = files.load().unwrap();
    let says = |error: ConfigError, words: &[&str]| {
        let text = error.to_string();
        for word in words {
            assert!(text.contains(word), "{text:?} does not say {word:?}");
        }
    };
    let error = |container: &str, db| databases.endpoint(container, db).unwrap_err();
    says(error("dpu7", Db::DpuApplDb), &["dpu7", "database_global.json", "dpu0, dpu1, dpu2"]);
    says(error("dpu1", Db::DpuApplDb), &["dpu1"]);
    says(error("dpu2", Db::DpuApplDb), &["redisdpu2/sonic-db/database_config.json", "database@dpu2"]);
    says(error("", Db::DpuApplDb), &["DPU_APPL_DB", "APPL_DB, CHASSIS_STATE_DB", "eth0-midplane"]);
    says(error("", Db::StateDb), &["STATE_DB", "\"gone\"", "redis, redis_chassis"]);
    says(error("", Db::ConfigDb), &["CONFIG_DB", "\":\"", "'|'"]);
    let missing = DatabaseConfig::load(Path::new("/nowhere/config.json"), &files.global()).unwrap_err();
    says(missing, &["/nowhere/config.json", "--database-config"]);
    let directory = DatabaseConfig::load(files.root.path(), &files.global()).unwrap_err();
    assert!(matches!(directory, ConfigError::Unreadable { .. }), "{directory}");
}

#[tokio::test]
async fn files_that_appear_late_are_waited_for() {
    let files = Files::new(&[]);
    let (config, global) = (files.config(), files.global());
    let late = async {
        files.put(CONFIG_FILE, NPU);
        tokio::task::yield_now().await;
        files.put(GLOBAL_FILE, GLOBAL);
        tokio::task::yield_now().await;
        files.put(DPU0_FILE, DPU0);
    };
    let wait = DatabaseConfig::wait(&config, &global, "dpu0", Duration::from_secs(30));
    let (databases, ()) = tokio::join!(wait, late);
    assert_eq!(databases.unwrap().endpoint("dpu0", Db::DpuApplDb).unwrap(), dpu0());
}

#[tokio::test]
async fn a_wait_in_vain_says_what_was_wrong() {
    let files = Files::new(&[(CONFIG_FILE, NPU)]);
    let (config, global) = (files.config(), files.global());
    let wait = DatabaseConfig::wait(&config, &global, "dpu3", Duration::from_millis(1));
    let error = wait.await.unwrap_err();
    let ConfigError::TimedOut { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, ConfigError::UnknownContainer { .. }), "{source}");
}

/// With `/etc/sonic/enable_multidb` the databases of one container are on several servers (1.4.4), and two names
/// may share a number (1.2).
#[test]
fn each_database_is_found_on_its_own_instance() {
    let multi = r#"{"INSTANCES": {
          "redis": {"hostname": "127.0.0.1", "port": 6379, "unix_socket_path": "/var/run/redis/redis.sock"},
          "redis1": {"hostname": "127.0.0.1", "port": 6378, "unix_socket_path": "/var/run/redis1/redis.sock"}},
        "DATABASES": {
          "APPL_DB": {"id": 0, "separator": ":", "instance": "redis1"},
          "STATE_DB": {"id": 6, "separator": "|", "instance": "redis"},
          "PFC_WD_DB": {"id": 5, "separator": ":", "instance": "redis"},
          "FLEX_COUNTER_DB": {"id": 5, "separator": ":", "instance": "redis"}}}"#;
    let databases = Files::new(&[(CONFIG_FILE, multi)]).load().unwrap();
    let socket = |name: &str| Address::Unix(PathBuf::from(format!("/var/run/{name}/redis.sock")));
    assert_eq!(databases.endpoint("", Db::ApplDb).unwrap().address, socket("redis1"));
    assert_eq!(databases.endpoint("", Db::StateDb).unwrap().address, socket("redis"));
    for shared in ["PFC_WD_DB", "FLEX_COUNTER_DB"] {
        let named = databases.named("", shared).unwrap();
        assert_eq!((named.index, named.separator, named.address), (5, ':', socket("redis")), "{shared}");
    }
    assert_eq!(databases.databases("").unwrap(), ["APPL_DB", "FLEX_COUNTER_DB", "PFC_WD_DB", "STATE_DB"]);
    let named = databases.named("", "APPL_DB").unwrap();
    assert_eq!(named, (&databases.endpoint("", Db::ApplDb).unwrap()).into());
}

/// 1.3: the key of an entry is the pair of container and namespace; the later entry of a key counts; `include` is
/// appended to the directory of the global file, whatever it starts with.
#[test]
fn the_global_file_is_read_as_sonic_reads_it() {
    let global = r#"{"INCLUDES": [
        {"container_name": "", "namespace": "", "include": "no/such/host/file.json"},
        {"container_name": "dpu0", "include": "../../elsewhere/database_config.json"},
        {"container_name": "dpu0", "include": "/../../redisdpu0/sonic-db/database_config.json"},
        {"container_name": "dpu0", "namespace": "asic0", "include": "../../other/database_config.json"},
        {"container_name": "", "namespace": "asic1", "include": "no/such/file.json", "unknown": 1}]}"#;
    let files = Files::new(&[(CONFIG_FILE, NPU), (GLOBAL_FILE, global), (DPU0_FILE, DPU0)]);
    let databases = files.load().unwrap();
    assert_eq!(databases.containers(), ["dpu0"]);
    assert_eq!(databases.endpoint("dpu0", Db::DpuApplDb).unwrap(), dpu0());
    databases.endpoint("", Db::ApplDb).unwrap();
}

#[test]
fn an_instance_without_an_address_is_said_to_have_none() {
    for instance in
        [r#"{"hostname": "", "port": 6381}"#, r#"{"hostname": "h", "port": 0, "unix_socket_path": ""}"#]
    {
        let text = format!(
            r#"{{"INSTANCES": {{"remote_redis": {instance}}},
               "DATABASES": {{"DPU_STATE_DB": {{"id": 17, "separator": "|", "instance": "remote_redis"}}}}}}"#
        );
        let files = Files::new(&[(CONFIG_FILE, &text)]);
        let error = files.load().unwrap().endpoint("", Db::DpuStateDb).unwrap_err();
        assert!(matches!(error, ConfigError::NoAddress { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("remote_redis") && text.contains("database_config.json"), "{text}");
    }
}

/// 1.2: what `Table` accepts. Two characters are allowed there and nobody uses them.
#[test]
fn a_separator_that_cannot_separate_is_refused() {
    for separator in ["", ":|", "/", "\u{e9}"] {
        let text = format!(
            r#"{{"INSTANCES": {{"redis": {{"hostname": "h", "port": 1}}}},
               "DATABASES": {{"OWN_DB": {{"id": 60, "separator": "{separator}", "instance": "redis"}}}}}}"#
        );
        let error = Files::new(&[(CONFIG_FILE, &text)]).load().unwrap().named("", "OWN_DB").unwrap_err();
        assert!(error.to_string().contains("only \":\" and \"|\""), "{error}");
    }
}

/// A container's file that is half written, or not there yet, is waited for as the host's is.
#[tokio::test]
async fn a_half_written_file_of_a_container_is_waited_for() {
    let files = Files::new(&[(CONFIG_FILE, NPU), (GLOBAL_FILE, GLOBAL), (DPU0_FILE, "{\"INSTAN")]);
    let (config, global) = (files.config(), files.global());
    let late = async {
        tokio::task::yield_now().await;
        files.put(DPU0_FILE, DPU0);
    };
    let wait = DatabaseConfig::wait(&config, &global, "dpu0", Duration::from_secs(30));
    let (databases, ()) = tokio::join!(wait, late);
    assert_eq!(databases.unwrap().endpoint("dpu0", Db::DpuApplDb).unwrap(), dpu0());
}
