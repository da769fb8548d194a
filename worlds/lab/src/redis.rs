//! The Redis servers of a switch, with SONiC's settings (`reference/swss-wire.md` 1.6).

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use schema::Db;
use swss::{Address, Connection, Endpoint};

use crate::files::{ConfigRow, socket};
use crate::net::{Device, Network};
use crate::process::{Places, ProcessError, Program, Spec, Unit};

/// How long a server may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a server is of no use.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// It cannot be started.
    #[error("a Redis server does not start")]
    Process(#[from] ProcessError),
    /// It does not answer, or refuses a command.
    #[error("{name} does not do as it is told")]
    Command {
        /// The server.
        name: String,
        /// Why.
        #[source]
        source: swss::Error,
    },
}

/// Where a server runs.
#[derive(Clone, Debug)]
pub struct Host {
    /// On which device.
    pub device: Device,
    /// On which network.
    pub network: Network,
    /// Where it leaves its traces.
    pub places: Places,
}

/// One server. Its address and its socket stay the same over restarts; its data does not.
#[derive(Debug)]
pub struct Redis {
    name: String,
    dir: PathBuf,
    address: Ipv4Addr,
    port: u16,
    host: Host,
    unit: Option<Unit>,
}

impl Redis {
    /// A server that does not run yet.
    pub fn new(name: impl Into<String>, dir: PathBuf, address: Ipv4Addr, port: u16, host: &Host) -> Self {
        Self { name: name.into(), dir, address, port, host: host.clone(), unit: None }
    }

    /// The server's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A database of this server, by its unix socket.
    pub fn endpoint(&self, db: Db) -> Endpoint {
        endpoint(&self.dir, db)
    }

    /// Starts it, empty, and waits until it answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn start(&mut self) -> Result<(), RedisError> {
        let socket = socket(&self.dir);
        let text = |path: &Path| path.display().to_string();
        let args: Vec<String> = [
            ["--port", &self.port.to_string()],
            ["--bind", &self.address.to_string()],
            ["--unixsocket", &text(&socket)],
            ["--dir", &text(&self.dir)],
            ["--databases", "100"],
            ["--notify-keyspace-events", "AKE"],
            ["--save", ""],
            ["--appendonly", "no"],
            ["--protected-mode", "no"],
            ["--daemonize", "no"],
        ]
        .into_iter()
        .flatten()
        .map(str::to_owned)
        .chain(["--client-output-buffer-limit", "pubsub", "0", "0", "0"].map(str::to_owned))
        .collect();
        let main = self.host.network.on(self.host.device, Program { path: "redis-server".into(), args });
        let spec = Spec {
            name: self.name.clone(),
            before: None,
            main,
            notifies: false,
            // A server that dies is the scenario's business.
            restarts: false,
            env: Vec::new(),
        };
        self.unit = Some(Unit::start(spec, &self.host.places)?);
        self.connect(Db::StateDb, START_TIMEOUT).await?;
        Ok(())
    }

    /// A connection to one of its databases.
    ///
    /// # Errors
    /// The server does not answer in time.
    pub async fn connect(&self, db: Db, within: Duration) -> Result<Connection, RedisError> {
        let connection = Connection::open_within(&self.endpoint(db), within).await;
        connection.map_err(|source| RedisError::Command { name: self.name.clone(), source })
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        if let Some(unit) = self.unit.take() {
            unit.stop(Signal::SIGKILL).await;
        }
    }

    /// Loads rows as `config-setup` does: the rows, then the mark that says they are complete.
    ///
    /// # Errors
    /// The server does not take them.
    pub async fn load_config(&self, rows: &[ConfigRow]) -> Result<(), RedisError> {
        let failed = |source| RedisError::Command { name: self.name.clone(), source };
        let connection = self.connect(Db::ConfigDb, START_TIMEOUT).await?;
        for (key, fields) in rows {
            connection.hset(key, fields).await.map_err(failed)?;
        }
        connection.command(&["SET", "CONFIG_DB_INITIALIZED", "1"]).await.map_err(failed)?;
        Ok(())
    }
}

/// A database of the server in that directory.
pub fn endpoint(dir: &Path, db: Db) -> Endpoint {
    Endpoint { db, address: Address::Unix(socket(dir)), index: db.default_index(), separator: db.separator() }
}
