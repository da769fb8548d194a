//! Private Redis servers with SONiC's settings, for tests and for the lab; and waiting without sleeping.
//!
//! Each server lives in a directory of its own, on a unix socket and if wanted on TCP, so any number of them
//! run in parallel. A server dies with its handle.
//!
//! ```no_run
//! # use schema::{Db, Table};
//! # use swss::{Connection, testing::RedisServer};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut server = RedisServer::start().await?;
//! let connection = Connection::open(&server.endpoint(Db::DpuApplDb)).await?;
//! connection.hset("DASH_HA_SET_TABLE:haset0", &[("version", "1")].into_iter().collect()).await?;
//! server.kill()?;
//! server.restart().await?;
//! # Ok(()) }
//! ```

mod server;

use std::time::Duration;

use serde_json::{Map, json};

use crate::{Address, Endpoint};

pub use server::{RedisServer, ServerOptions, TestingError, endpoint};

/// How often [`wait_until`] looks.
const LOOK_AGAIN_MS: u64 = 5;

/// The text of a `database_config.json` with these databases (`reference/swss-wire.md` 1.1). Those at one address share
/// an instance.
pub fn database_config(databases: impl IntoIterator<Item = Endpoint>) -> String {
    let mut addresses: Vec<Address> = Vec::new();
    let (mut instances, mut entries) = (Map::new(), Map::new());
    for Endpoint { db, address, index, separator } in databases {
        let known = addresses.iter().position(|other| *other == address);
        let name = format!("redis{}", known.unwrap_or(addresses.len()));
        if known.is_none() {
            let instance = match &address {
                Address::Unix(path) => {
                    json!({ "hostname": "127.0.0.1", "port": 6379, "unix_socket_path": path })
                }
                Address::Tcp { host, port } => {
                    json!({ "hostname": host, "port": port, "unix_socket_path": "" })
                }
            };
            instances.insert(name.clone(), instance);
            addresses.push(address);
        }
        let entry = json!({ "id": index, "separator": separator.to_string(), "instance": name });
        entries.insert(db.name().to_owned(), entry);
    }
    json!({ "INSTANCES": instances, "DATABASES": entries, "VERSION": "1.0" }).to_string()
}

/// Asks again and again until `check` gives something.
///
/// # Errors
/// [`TestingError::NeverTrue`] with `what` after `timeout`.
pub async fn wait_until<T>(
    what: &str,
    timeout: Duration,
    mut check: impl AsyncFnMut() -> Option<T>,
) -> Result<T, TestingError> {
    let start = tokio::time::Instant::now();
    loop {
        if let Some(found) = check().await {
            return Ok(found);
        }
        if start.elapsed() >= timeout {
            return Err(TestingError::NeverTrue { what: what.to_owned(), waited_ms: timeout.as_millis() });
        }
        tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await;
    }
}
