//! `dpu-dbclean`: empties this DPU's databases on the NPU at boot, before anything on the DPU reads them
//! (`reference/pmon.md` 3, DESIGN 3 steps 8 and 9).
//!
//! One shot. It succeeds only if each of the four databases was emptied *in this run*; whatever is missing or out of
//! reach, a database absent from the configuration included, is tried again until the time is up. SONiC's own
//! clean-up skips what it cannot reach, and the DPU then starts on the rows of its previous life (R5).
//!
//! Every key is deleted before the database is flushed, in one step on the server, so that subscribers learn of each
//! row; a bare `FLUSHDB` tells nobody (R4).
//!
//! Exit codes: 0 clean, 2 wrong use, 3 not clean in time.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use schema::{Db, Slot};
use shell::LogFormat;
use swss::{ConfigError, Connection, DatabaseConfig, Reply};
use tokio::time::{Instant, sleep, timeout_at};

/// Empties DPU_APPL_DB, DPU_STATE_DB, DPU_APPL_STATE_DB and DPU_COUNTERS_DB of this DPU, on the NPU.
#[derive(Debug, Parser)]
#[command(name = "dpu-dbclean", version)]
struct Args {
    /// The number of this DPU
    #[arg(long, value_name = "N", value_parser = slot)]
    dpu_id: Slot,

    /// How long to try, in seconds
    #[arg(long, value_name = "S", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,

    /// SONiC's database configuration of this DPU
    #[arg(long, value_name = "PATH", default_value = "/var/run/redis/sonic-db/database_config.json")]
    database_config: PathBuf,

    /// SONiC's list of further database containers [default: database_global.json beside the database
    /// configuration]
    #[arg(long, value_name = "PATH")]
    database_global: Option<PathBuf>,

    /// How log lines look; RUST_LOG selects them
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
}

fn slot(text: &str) -> Result<Slot, std::num::ParseIntError> {
    text.parse().map(Slot)
}

/// Why a database is not clean yet.
#[derive(Debug, thiserror::Error)]
enum CleanError {
    #[error("the configuration does not say where it is")]
    Config(#[from] ConfigError),
    #[error("it cannot be emptied")]
    Database(#[from] swss::Error),
    #[error("it did not answer in time")]
    TooLate,
}

/// The first pause between two tries, and the longest.
const BACKOFF_MS: u64 = 50;
const BACKOFF_MS_MAX: u64 = 2000;

/// How long one try may take: a server that hangs must not cost the whole time.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    shell::init_logging(args.log_format);
    let dpu = args.dpu_id;
    let unclean = clean_all(&args).await;
    if unclean.is_empty() {
        tracing::info!(%dpu, "all databases of this DPU are clean");
        return ExitCode::SUCCESS;
    }
    for (db, error) in &unclean {
        let error = chain(error);
        tracing::error!(%dpu, %db, timeout_s = args.timeout, "not clean: {error}");
    }
    tracing::error!(%dpu, "gave up: nothing may start on this DPU, it would read the rows of its previous life");
    ExitCode::from(3)
}

/// Empties the databases, each once. What is left over is what could not be emptied in time.
async fn clean_all(args: &Args) -> BTreeMap<Db, CleanError> {
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    let mut unclean: Vec<Db> = Db::OF_A_DPU.to_vec();
    let mut backoff_ms = BACKOFF_MS;
    let mut told: BTreeMap<Db, String> = BTreeMap::new();
    loop {
        let mut errors = BTreeMap::new();
        for db in std::mem::take(&mut unclean) {
            match clean(args, db, deadline).await {
                Ok(removed) => report(db, removed),
                Err(error) => {
                    let text = chain(&error);
                    if told.get(&db) != Some(&text) {
                        tracing::warn!(dpu = %args.dpu_id, %db, "not clean yet: {text}");
                        told.insert(db, text);
                    }
                    unclean.push(db);
                    errors.insert(db, error);
                }
            }
        }
        let pause = Duration::from_millis(backoff_ms);
        if errors.is_empty() || Instant::now() + pause >= deadline {
            return errors;
        }
        sleep(pause).await;
        backoff_ms = (backoff_ms * 2).min(BACKOFF_MS_MAX);
    }
}

fn report(db: Db, removed: u64) {
    if let Err(error) = writeln!(std::io::stdout(), "{db}: {removed} keys removed") {
        tracing::warn!(%db, removed, %error, "cannot print what was removed");
    }
}

/// Empties one database; how many keys it held. The configuration is read anew: on a DPU that boots it may come late,
/// and come without these databases first (`reference/pmon.md` 2.5).
async fn clean(args: &Args, db: Db, deadline: Instant) -> Result<u64, CleanError> {
    let global = args.database_global.clone();
    let global = global.unwrap_or_else(|| args.database_config.with_file_name("database_global.json"));
    let endpoint = DatabaseConfig::load(&args.database_config, &global)?.endpoint("", db)?;
    let work = async {
        let connection = Connection::open(&endpoint).await?;
        let removed = connection.delete_all().await?;
        // The emptying is one step on the server; who writes after it writes in this life.
        match connection.command(&["DBSIZE"]).await? {
            Reply::Int(0) => tracing::debug!(%endpoint, "empty"),
            after => tracing::warn!(%endpoint, ?after, "somebody wrote right after the clean-up"),
        }
        Ok(removed)
    };
    timeout_at(deadline.min(Instant::now() + TRY_TIMEOUT), work).await.unwrap_or(Err(CleanError::TooLate))
}

/// The error and its causes in one line.
fn chain(error: &CleanError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
