//! The configuration files of the databases.

use std::path::Path;

use schema::Db;
use swss::DatabaseConfig;

const DBS: [Db; 8] = [
    Db::ConfigDb,
    Db::ApplDb,
    Db::StateDb,
    Db::ChassisStateDb,
    Db::DpuApplDb,
    Db::DpuApplStateDb,
    Db::DpuStateDb,
    Db::DpuCountersDb,
];

/// Up to three files, with a NUL between them: `database_config.json`, `database_global.json`, and that of
/// container `dpu0` beside them.
///
/// Whatever they hold, every database is found or missed with an error of bounded length that names a file.
///
/// # Panics
/// Something else happens, or the files cannot be written.
pub fn config_files(data: &[u8]) {
    // In memory where it can be had: a fuzzer makes thousands of these a second.
    let memory = Path::new("/dev/shm");
    let root = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let root = root.expect("a temporary directory");
    let directory = root.path().join("redis/sonic-db");
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut put = |path: &Path| {
        if let Some(text) = parts.next() {
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a directory");
            std::fs::write(path, text).expect("a file");
        }
    };
    let (config, global) = (directory.join("database_config.json"), directory.join("database_global.json"));
    put(&config);
    put(&global);
    put(&root.path().join("redisdpu0/sonic-db/database_config.json"));

    let databases = match DatabaseConfig::load(&config, &global) {
        Ok(databases) => databases,
        Err(error) => return says_where(&error.to_string()),
    };
    let mut containers = databases.containers();
    containers.extend([String::new(), "no such container".to_owned()]);
    for container in &containers {
        for db in DBS {
            match databases.endpoint(container, db) {
                Ok(endpoint) => assert_eq!((endpoint.db, endpoint.separator), (db, db.separator())),
                Err(error) => says_where(&error.to_string()),
            }
        }
    }
}

fn says_where(error: &str) {
    assert!(error.contains(".json") || error.contains("container"), "{error}");
}
