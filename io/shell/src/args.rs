//! The command line that all daemons share (DESIGN 8).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use schema::Db;
use swss::{ConfigError, DatabaseConfig, Endpoint};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the databases of this device are.
#[derive(Args, Clone, Debug)]
pub struct DatabaseArgs {
    /// SONiC's database configuration of this device
    #[arg(long, value_name = "PATH", default_value = "/var/run/redis/sonic-db/database_config.json")]
    pub database_config: PathBuf,

    /// SONiC's list of further database containers, such as those of the DPUs [default: database_global.json
    /// beside the database configuration]
    #[arg(long, value_name = "PATH")]
    pub database_global: Option<PathBuf>,
}

/// Flags of every daemon.
#[derive(Args, Clone, Debug)]
pub struct DaemonArgs {
    /// How log lines look; RUST_LOG selects them
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// Serve /metrics, /healthz and /state here, for example 127.0.0.1:9100 [default: off]
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,

    /// Write every input to this JSON-lines file, for replay at the desk
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// How long to wait before a database configuration that is not understood is looked at again.
const LOOK_AGAIN_DELAY: Duration = Duration::from_secs(5);

/// How long a daemon waits at start for the files of the database configuration to appear.
const DATABASE_CONFIG_TIMEOUT: Duration = Duration::from_secs(60);

impl DatabaseArgs {
    /// The list of database containers: as given, or beside the database configuration.
    pub fn global_path(&self) -> PathBuf {
        self.database_global
            .clone()
            .unwrap_or_else(|| self.database_config.with_file_name("database_global.json"))
    }

    /// Loads the database configuration, waiting up to 60 s for the files to appear: at boot they may be late.
    ///
    /// # Errors
    /// The files are still missing, or one of them is not understood.
    pub async fn load(&self, container: &str) -> Result<DatabaseConfig, ConfigError> {
        DatabaseConfig::wait(&self.database_config, &self.global_path(), container, DATABASE_CONFIG_TIMEOUT)
            .await
    }

    /// A database in a container, as soon as the files tell where it is: the databases of a DPU may come long
    /// after those of the host. Says so while it waits.
    pub async fn endpoint_when_known(&self, container: String, db: Db) -> Endpoint {
        loop {
            let found = self.load(&container).await.and_then(|databases| databases.endpoint(&container, db));
            match found {
                Ok(endpoint) => return endpoint,
                Err(error) => tracing::warn!(container, %db, "waiting for this database: {error}"),
            }
            tokio::time::sleep(LOOK_AGAIN_DELAY).await;
        }
    }
}
