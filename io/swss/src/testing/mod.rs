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

use schema::Db;

pub use server::{RedisServer, ServerOptions, TestingError};

/// How often [`wait_until`] looks.
const LOOK_AGAIN_MS: u64 = 5;

/// SONiC's number of a database (`reference/swss-wire.md` 1.6).
pub const fn sonic_index(db: Db) -> u32 {
    match db {
        Db::ApplDb => 0,
        Db::ConfigDb => 4,
        Db::StateDb => 6,
        Db::ChassisStateDb => 13,
        Db::DpuApplDb => 15,
        Db::DpuApplStateDb => 16,
        Db::DpuStateDb => 17,
        Db::DpuCountersDb => 18,
    }
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
