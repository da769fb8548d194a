//! What can go wrong with a request, and whether trying again helps.

use redis::{RedisError, ServerErrorKind};

/// Why a request to a database failed. The text does not repeat the source: log the whole chain.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached, or did not answer in time. Whether the request was carried out is
    /// unknown.
    #[error("{endpoint} is out of reach")]
    Unreachable {
        /// The database.
        endpoint: String,
        /// Why.
        #[source]
        source: RedisError,
    },
    /// The database answers, but cannot serve for now: it is loading, busy, read-only or out of memory.
    #[error("{endpoint} cannot serve for now")]
    NotNow {
        /// The database.
        endpoint: String,
        /// Its answer.
        #[source]
        source: RedisError,
    },
    /// The database refused the request, and would refuse it again.
    #[error("{endpoint} refused the request")]
    Refused {
        /// The database.
        endpoint: String,
        /// Its answer.
        #[source]
        source: RedisError,
    },
}

impl Error {
    pub(crate) fn new(endpoint: &impl std::fmt::Display, source: RedisError) -> Self {
        let endpoint = endpoint.to_string();
        match severity(&source) {
            Severity::Unreachable => Error::Unreachable { endpoint, source },
            Severity::NotNow => Error::NotNow { endpoint, source },
            Severity::Refused => Error::Refused { endpoint, source },
        }
    }
}

/// What a failure says about the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The connection is of no use any more.
    Unreachable,
    /// Later, the same request may be served.
    NotNow,
    /// The same request would be refused again.
    Refused,
}

/// Answers of a server that cannot serve for now. The last four have no kind of their own in the redis crate.
const NOT_NOW: [&str; 11] = [
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "EXECABORT",
    "NOSCRIPT",
    "BUSY",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
];

/// Whether the text of a server's error says that it cannot serve for now. Lua puts words before the code.
pub(crate) fn is_not_now(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_uppercase()).any(|word| NOT_NOW.contains(&word))
}

pub(crate) fn severity(error: &RedisError) -> Severity {
    match error.kind() {
        redis::ErrorKind::Server(kind) => match kind {
            ServerErrorKind::BusyLoading
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::MasterDown
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::ExecAbort
            | ServerErrorKind::NoScript => Severity::NotNow,
            _ => by_code(error.code()),
        },
        redis::ErrorKind::Extension => by_code(error.code()),
        _ => Severity::Unreachable,
    }
}

fn by_code(code: Option<&str>) -> Severity {
    if code.is_some_and(is_not_now) { Severity::NotNow } else { Severity::Refused }
}

/// An error with all its causes, for a log line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
