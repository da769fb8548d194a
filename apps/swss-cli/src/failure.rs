//! What can go wrong, and the exit code that tells it.

use std::error::Error;
use std::io;

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was looked for is not there, or not what was expected.
    #[error("{0}")]
    NotWell(String),
    /// The command line asks for something that makes no sense.
    #[error("{0}")]
    Use(String),
    /// The configuration files do not tell where the database is.
    #[error(transparent)]
    Config(#[from] swss::ConfigError),
    /// The database.
    #[error(transparent)]
    Database(#[from] swss::Error),
    /// Standard output.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

impl Failure {
    /// 1 not well, 2 wrong use, 3 out of reach.
    pub fn exit_code(&self) -> u8 {
        use swss::{ConfigError as Config, Error as Database};
        match self {
            Failure::NotWell(_) | Failure::Database(Database::Refused { .. }) => 1,
            Failure::Use(_)
            | Failure::Config(Config::UnknownContainer { .. } | Config::UnknownDatabase { .. }) => 2,
            Failure::Config(_)
            | Failure::Database(Database::Unreachable { .. } | Database::NotNow { .. })
            | Failure::Output(_) => 3,
        }
    }

    /// Whether the reader of the output went away.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The text with all causes.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
