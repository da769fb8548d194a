//! SONiC's database configuration files (`reference/swss-wire.md` 1, `reference/pmon.md` 2.3-2.5).
//!
//! Turns a database's name, and the container that hosts it, into an [`Endpoint`]. It knows files and
//! names; it never connects to anything.
//!
//! ```no_run
//! # use std::{path::Path, time::Duration};
//! # use schema::Db;
//! # async fn example() -> Result<(), swss::ConfigError> {
//! let config = Path::new("/var/run/redis/sonic-db/database_config.json");
//! let global = Path::new("/var/run/redis/sonic-db/database_global.json");
//! let databases = swss::DatabaseConfig::wait(config, global, "dpu0", Duration::from_secs(30)).await?;
//! let endpoint = databases.endpoint("dpu0", Db::DpuApplDb)?;
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schema::Db;
use serde::Deserialize;

use crate::{Address, Endpoint, NamedEndpoint};

/// How often [`DatabaseConfig::wait`] looks again; SONiC's own waiters use 200 ms.
const LOOK_AGAIN_MS: u64 = 100;

/// Why a database cannot be found in the configuration files. Each message says what to look at.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The host's file is not there.
    #[error("{} does not exist: is the database service up, and is --database-config right?", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file is there and cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not have the form of a database configuration.
    #[error("{} is malformed: correct the file, or restart the database service that generates it", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and how.
        #[source]
        source: serde_json::Error,
    },
    /// No file names the container.
    #[error(
        "container {container:?} is in no configuration file (looked at {}; known: {known}): \
         is the DPU's number right, and was database_global.json generated for it?",
        looked_at.display()
    )]
    UnknownContainer {
        /// The container asked for.
        container: String,
        /// The global file, or the conventional file of a 1-DPU system.
        looked_at: PathBuf,
        /// The containers that are known.
        known: String,
    },
    /// A container is named, but its file is not there.
    #[error(
        "{} of container {container:?} does not exist: is its database service (database@{container}) up, \
         and is its directory mounted here?",
        path.display()
    )]
    ContainerMissing {
        /// The container asked for.
        container: String,
        /// Its file.
        path: PathBuf,
    },
    /// A container is named, but its file is of no use.
    #[error("the configuration of container {container:?} is of no use")]
    ContainerBroken {
        /// The container asked for.
        container: String,
        /// Why.
        #[source]
        source: Arc<ConfigError>,
    },
    /// The file does not name the database.
    #[error("{db} is not among the databases of {} ({known}){hint}", path.display())]
    UnknownDatabase {
        /// The database asked for.
        db: String,
        /// The file.
        path: PathBuf,
        /// The databases of the file.
        known: String,
        /// What is usually the cause.
        hint: &'static str,
    },
    /// The database is on an instance that the file does not name.
    #[error("{db} is on instance {instance:?}, which {} does not name (it names {known}): correct the file", path.display())]
    UnknownInstance {
        /// The database asked for.
        db: String,
        /// Its instance.
        instance: String,
        /// The file.
        path: PathBuf,
        /// The instances of the file.
        known: String,
    },
    /// The database's instance has no address.
    #[error(
        "{db} is on instance {instance:?}, which has neither a unix_socket_path nor a hostname and a port in {}: \
         correct the file, or restart the database service that generates it",
        path.display()
    )]
    NoAddress {
        /// The database asked for.
        db: String,
        /// Its instance.
        instance: String,
        /// The file.
        path: PathBuf,
    },
    /// The database's separator is none that tables can be built with.
    #[error("{db} has separator {found:?} in {}, and only \":\" and \"|\" separate tables from keys: correct the file", path.display())]
    NoSeparator {
        /// The database asked for.
        db: String,
        /// The file.
        path: PathBuf,
        /// The file's separator.
        found: String,
    },
    /// The database's separator is not the one that its keys are built with.
    #[error("{db} has separator {found:?} in {}, expected {expected:?}: correct the file", path.display())]
    Separator {
        /// The database asked for.
        db: Db,
        /// The file.
        path: PathBuf,
        /// The file's separator.
        found: String,
        /// SONiC's separator.
        expected: char,
    },
    /// The wait was in vain.
    #[error("no usable database configuration after {waited_ms} ms")]
    TimedOut {
        /// How long was waited.
        waited_ms: u128,
        /// What was wrong to the last.
        #[source]
        source: Box<ConfigError>,
    },
}

/// `database_config.json`. Unknown members are ignored; missing sections count as empty.
#[derive(Clone, Debug, Deserialize)]
struct ConfigFile {
    #[serde(rename = "INSTANCES", default)]
    instances: BTreeMap<String, Instance>,
    #[serde(rename = "DATABASES", default)]
    databases: BTreeMap<String, Database>,
    #[serde(skip)]
    path: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
struct Instance {
    hostname: String,
    port: u16,
    #[serde(default)]
    unix_socket_path: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Database {
    id: u32,
    separator: String,
    instance: String,
}

/// `database_global.json`.
#[derive(Debug, Deserialize)]
struct GlobalFile {
    #[serde(rename = "INCLUDES", default)]
    includes: Vec<Include>,
}

#[derive(Debug, Deserialize)]
struct Include {
    include: String,
    #[serde(default)]
    container_name: String,
    #[serde(default)]
    namespace: String,
}

/// A container and what became of its file.
#[derive(Clone, Debug)]
enum Container {
    Loaded(ConfigFile),
    Missing(PathBuf),
    Broken(Arc<ConfigError>),
}

/// The databases of this device: its own, and those that it hosts for DPUs.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    host: ConfigFile,
    containers: BTreeMap<String, Container>,
    looked_at: PathBuf,
}

impl DatabaseConfig {
    /// Loads the host's file and what the global file includes.
    ///
    /// A missing global file is fine: on a system with one DPU SONiC does not generate it, and `dpu0` is then
    /// found at its conventional place. An included file that is missing or malformed spoils only its own
    /// container, and shows when that is asked for.
    ///
    /// # Errors
    /// One of the two files is missing (the host's only), unreadable or malformed.
    pub fn load(config: &Path, global: &Path) -> Result<Self, ConfigError> {
        let host = ConfigFile::load(config)?;
        let mut containers = BTreeMap::new();
        let mut looked_at = global.to_owned();
        match read(global) {
            Ok(text) => {
                let includes = parse::<GlobalFile>(global, &text)?.includes;
                for Include { include, container_name, namespace } in includes {
                    // The host is loaded already, and namespaces are the ASICs of a chassis, not DPUs.
                    if container_name.is_empty() || !namespace.is_empty() {
                        continue;
                    }
                    containers.insert(container_name, Container::load(&beside(global, &include)));
                }
            }
            Err(ConfigError::Missing { .. }) => {
                looked_at = beside(config, "../../redisdpu0/sonic-db/database_config.json");
                match Container::load(&looked_at) {
                    Container::Missing(_) => {}
                    dpu0 @ (Container::Loaded(_) | Container::Broken(_)) => {
                        containers.insert("dpu0".to_owned(), dpu0);
                    }
                }
            }
            Err(error) => return Err(error),
        }
        Ok(Self { host, containers, looked_at })
    }

    /// As [`DatabaseConfig::load`], but waits until the files are there and usable, and name `container`
    /// (`""` = the host).
    ///
    /// # Errors
    /// [`ConfigError::TimedOut`], with what was wrong to the last.
    pub async fn wait(
        config: &Path,
        global: &Path,
        container: &str,
        timeout: Duration,
    ) -> Result<Self, ConfigError> {
        let start = tokio::time::Instant::now();
        let mut said = false;
        loop {
            let loaded = Self::load(config, global)
                .and_then(|databases| databases.file_of(container).map(|_| ()).map(|()| databases));
            let error = match loaded {
                Ok(databases) => return Ok(databases),
                Err(error) => error,
            };
            if start.elapsed() >= timeout {
                let waited_ms = start.elapsed().as_millis();
                return Err(ConfigError::TimedOut { waited_ms, source: Box::new(error) });
            }
            if !said {
                tracing::info!(container, %error, "waiting for the database configuration");
                said = true;
            }
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await;
        }
    }

    /// Where a database of the host (`""`) or of a container (`dpu0`) is: at the unix socket if the file
    /// gives one, else at the TCP address.
    ///
    /// # Errors
    /// The container, the database or its instance is unknown, the container's file is missing or malformed, or
    /// the separator is not SONiC's.
    pub fn endpoint(&self, container: &str, db: Db) -> Result<Endpoint, ConfigError> {
        self.file_of(container)?.endpoint(db)
    }

    /// Where a database is, by name: any that the files name, known to [`schema`] or not.
    ///
    /// # Errors
    /// As [`DatabaseConfig::endpoint`], but any separator that SONiC's tables accept will do.
    pub fn named(&self, container: &str, database: &str) -> Result<NamedEndpoint, ConfigError> {
        self.file_of(container)?.named(database)
    }

    /// The names of the databases of the host (`""`) or of a container, in order.
    ///
    /// # Errors
    /// The container is unknown, or its file is missing or malformed.
    pub fn databases(&self, container: &str) -> Result<Vec<String>, ConfigError> {
        Ok(self.file_of(container)?.databases.keys().cloned().collect())
    }

    /// The containers of DPUs, in order: those of the global file, whether their own file is there yet or not;
    /// without a global file `dpu0`, if its file is at its conventional place.
    pub fn containers(&self) -> Vec<String> {
        self.containers.keys().cloned().collect()
    }

    fn file_of(&self, container: &str) -> Result<&ConfigFile, ConfigError> {
        if container.is_empty() {
            return Ok(&self.host);
        }
        let name = || container.to_owned();
        match self.containers.get(container) {
            Some(Container::Loaded(file)) => Ok(file),
            Some(Container::Missing(path)) => {
                Err(ConfigError::ContainerMissing { container: name(), path: path.clone() })
            }
            Some(Container::Broken(source)) => {
                Err(ConfigError::ContainerBroken { container: name(), source: source.clone() })
            }
            None => Err(ConfigError::UnknownContainer {
                container: name(),
                looked_at: self.looked_at.clone(),
                known: listed(self.containers.keys()),
            }),
        }
    }
}

impl Container {
    fn load(path: &Path) -> Self {
        match ConfigFile::load(path) {
            Ok(file) => Container::Loaded(file),
            Err(ConfigError::Missing { path }) => Container::Missing(path),
            Err(error) => Container::Broken(Arc::new(error)),
        }
    }
}

impl ConfigFile {
    fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = parse::<ConfigFile>(path, &read(path)?)?;
        Ok(Self { path: path.to_owned(), ..file })
    }

    fn endpoint(&self, db: Db) -> Result<Endpoint, ConfigError> {
        let NamedEndpoint { name: _, address, index, separator } = self.named(db.name())?;
        if separator != db.separator() {
            let (found, expected) = (separator.to_string(), db.separator());
            return Err(ConfigError::Separator { db, path: self.path.clone(), found, expected });
        }
        Ok(Endpoint { db, address, index, separator })
    }

    fn named(&self, name: &str) -> Result<NamedEndpoint, ConfigError> {
        let path = || self.path.clone();
        let database = self.databases.get(name).ok_or_else(|| ConfigError::UnknownDatabase {
            db: name.to_owned(),
            path: path(),
            known: listed(self.databases.keys()),
            hint: hint(name),
        })?;
        let instance =
            self.instances.get(&database.instance).ok_or_else(|| ConfigError::UnknownInstance {
                db: name.to_owned(),
                instance: database.instance.clone(),
                path: path(),
                known: listed(self.instances.keys()),
            })?;
        let address = match (instance.unix_socket_path.as_str(), instance.hostname.as_str(), instance.port) {
            ("", "", _) | ("", _, 0) => {
                let instance = database.instance.clone();
                return Err(ConfigError::NoAddress { db: name.to_owned(), instance, path: path() });
            }
            ("", host, port) => Address::Tcp { host: host.to_owned(), port },
            (socket, _, _) => Address::Unix(PathBuf::from(socket)),
        };
        let separator = match database.separator.as_str() {
            ":" => ':',
            "|" => '|',
            found => {
                let found = found.to_owned();
                return Err(ConfigError::NoSeparator { db: name.to_owned(), path: path(), found });
            }
        };
        Ok(NamedEndpoint { name: name.to_owned(), address, index: database.id, separator })
    }
}

/// What is usually the cause where a database is missing.
fn hint(name: &str) -> &'static str {
    if name.starts_with("DPU_") {
        ": on the NPU name the DPU's container; on a DPU, eth0-midplane had no IPv4 address when its database \
         service started, so restart that"
    } else if name.starts_with("CHASSIS_") {
        ": does the platform have a chassisdb.conf with start_chassis_db=1?"
    } else {
        ""
    }
}

/// The path is appended textually to the file's directory, as SONiC does it.
fn beside(file: &Path, relative: &str) -> PathBuf {
    let directory = file.parent().unwrap_or(Path::new(""));
    directory.join(relative.trim_start_matches('/'))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ConfigError::Missing { path: path.to_owned() },
        _ => ConfigError::Unreadable { path: path.to_owned(), source },
    })
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path, text: &str) -> Result<T, ConfigError> {
    serde_json::from_str(text).map_err(|source| ConfigError::Malformed { path: path.to_owned(), source })
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
