//! One connection: commands, and pushes into an [`Inbox`].
//!
//! It knows Redis and nothing of tables or rows. It never connects again by itself: whoever holds it must read
//! everything anew then, so the holder opens a new one.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, IntoConnectionInfo, Pipeline, ProtocolVersion,
    RedisConnectionInfo, RedisError, RedisResult, Value,
};

use crate::error::{Severity, severity};
use crate::inbox::{Inbox, Sender};
use crate::{Address, NamedEndpoint, wire};

/// How long connecting may take.
const CONNECT_TIMEOUT_MS: u64 = 3000;
/// How long an answer may take.
const COMMAND_TIMEOUT_MS: u64 = 5000;
/// How long a connection may be silent before it is tested.
pub(crate) const KEEPALIVE_MS: u64 = 5000;
/// A prefix that no key has: only flushes are to be pushed (`reference/swss-wire.md` 9.4).
const NO_KEY: &str = "\u{1}smartswitch-ha flush watch";

/// One connection to one database.
pub(crate) struct Link {
    connection: MultiplexedConnection,
    pub(crate) inbox: Arc<Inbox>,
    endpoint: NamedEndpoint,
    may_configure: bool,
    /// How often the server had swapped databases; `None` if it does not say.
    swaps: Option<u64>,
}

impl Link {
    /// Connects and selects the database.
    pub(crate) async fn open(endpoint: impl Into<NamedEndpoint>) -> RedisResult<Self> {
        let endpoint = endpoint.into();
        let inbox = Arc::new(Inbox::new(bus::event_prefix(endpoint.index)));
        let address = match &endpoint.address {
            Address::Unix(path) => ConnectionAddr::Unix(path.clone()),
            Address::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        };
        let settings = RedisConnectionInfo::default()
            .set_db(i64::from(endpoint.index))
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name();
        let info = address
            .into_connection_info()?
            .set_redis_settings(settings)
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_millis(CONNECT_TIMEOUT_MS)))
            .set_response_timeout(Some(Duration::from_millis(COMMAND_TIMEOUT_MS)))
            .set_push_sender(Sender(inbox.clone()));
        let client = Client::open(info)?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Self { connection, inbox, endpoint, may_configure: true, swaps: None })
    }

    /// The connection, for [`redis::Script`].
    pub(crate) fn connection(&mut self) -> &mut MultiplexedConnection {
        &mut self.connection
    }

    /// One command; an error answer is an error.
    pub(crate) async fn query(&mut self, command: &Cmd) -> RedisResult<Value> {
        self.connection.req_packed_command(command).await?.extract_error()
    }

    /// Several commands in one round trip. The answers that are errors for good stand among the others; one that
    /// says "not now" fails them all.
    pub(crate) async fn pipeline(&mut self, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        checked(self.answers(commands).await?)
    }

    /// As [`Link::pipeline`], one round trip after the other.
    pub(crate) async fn pipelines(&mut self, pipelines: Vec<Pipeline>) -> RedisResult<Vec<Value>> {
        let mut answers = Vec::with_capacity(pipelines.iter().map(Pipeline::len).sum());
        for pipeline in pipelines {
            answers.extend(self.pipeline(&pipeline).await?);
        }
        Ok(answers)
    }

    /// Several commands in one round trip, and the answers, errors or not.
    pub(crate) async fn answers(&mut self, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        self.connection.req_packed_commands(commands, 0, commands.len()).await
    }

    /// As [`Link::pipeline`], all at one instant.
    pub(crate) async fn at_once(&mut self, mut commands: Pipeline) -> RedisResult<Vec<Value>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        commands.atomic();
        let mut answers = self.connection.req_packed_commands(&commands, commands.len() + 1, 1).await?;
        match answers.pop() {
            Some(Value::Array(answers)) => checked(answers),
            Some(Value::ServerError(error)) => Err(error.into()),
            other => Err(wire::unexpected("an array from EXEC", other.as_ref())),
        }
    }

    /// Subscribes to patterns and channels, waits for the confirmations, and asks to be told of flushes.
    ///
    /// What happens from here on shows in the inbox, but for `SWAPDB`, which [`Link::missed`] looks for.
    pub(crate) async fn listen(&mut self, patterns: &[String], channels: &[String]) -> RedisResult<()> {
        self.swaps = self.count_swaps().await?;
        if !patterns.is_empty() {
            self.connection.psubscribe(patterns).await?;
        }
        if !channels.is_empty() {
            self.connection.subscribe(channels).await?;
        }
        let tracking =
            self.query(redis::cmd("CLIENT").arg(&["TRACKING", "ON", "BCAST", "PREFIX", NO_KEY])).await;
        unless_refused(tracking.map(|_| ()), |error| {
            tracing::warn!(endpoint = %self.endpoint, %error, "flushes of this database will go unnoticed");
        })
    }

    /// Makes sure that the connection serves; returns whether something may have changed without a notification.
    pub(crate) async fn missed(&mut self) -> RedisResult<bool> {
        let were_sent = self.ensure_events().await?;
        let swaps = self.count_swaps().await?;
        let swapped = swaps != std::mem::replace(&mut self.swaps, swaps);
        if swapped {
            tracing::warn!(endpoint = %self.endpoint, "databases of this server were swapped: reading everything again");
        }
        Ok(!were_sent || swapped)
    }

    /// How often the server has swapped databases, of which it sends no notification (`reference/swss-wire.md` 2.6).
    async fn count_swaps(&mut self) -> RedisResult<Option<u64>> {
        match self.query(redis::cmd("INFO").arg("commandstats")).await {
            Ok(answer) => Ok(Some(wire::swaps(&wire::bytes(answer)?))),
            Err(error) => {
                unless_refused(Err(error), |error| {
                    tracing::debug!(endpoint = %self.endpoint, %error, "SWAPDB will go unnoticed");
                })?;
                Ok(None)
            }
        }
    }

    /// Makes sure that the server sends keyspace events; returns whether it did so all along.
    ///
    /// Without `K` and the classes of `A` it silently sends none (`reference/swss-wire.md` 2.6).
    pub(crate) async fn ensure_events(&mut self) -> RedisResult<bool> {
        const NAME: &str = "notify-keyspace-events";
        if !self.may_configure {
            self.query(&redis::cmd("PING")).await?;
            return Ok(true);
        }
        let present = match self.query(redis::cmd("CONFIG").arg(&["GET", NAME])).await {
            Ok(answer) => wire::config_value(&answer),
            Err(error) => {
                self.may_configure = false;
                self.warn_of_events(error)?;
                return Ok(true);
            }
        };
        if sends_events(&present) {
            return Ok(true);
        }
        let wanted: String = ['A', 'K']
            .into_iter()
            .chain(present.chars().filter(|class| matches!(class, 'E' | 'm' | 'n')))
            .collect();
        match self.query(redis::cmd("CONFIG").arg(&["SET", NAME, wanted.as_str()])).await {
            Ok(_) => {
                tracing::warn!(endpoint = %self.endpoint, was = present, now = wanted, "set {NAME}");
                Ok(false)
            }
            Err(error) => {
                self.may_configure = false;
                self.warn_of_events(error)?;
                Ok(true)
            }
        }
    }

    fn warn_of_events(&self, error: RedisError) -> RedisResult<()> {
        unless_refused(Err(error), |error| {
            tracing::warn!(endpoint = %self.endpoint, %error,
                "cannot make sure that notify-keyspace-events is AK: changes may go unnoticed");
        })
    }
}

/// Commands for one round trip.
pub(crate) fn pipeline_of(commands: impl Iterator<Item = Cmd>) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline
}

/// Commands for as many round trips as it takes, `limit` for each.
pub(crate) fn pipelines_of(commands: impl Iterator<Item = Cmd>, limit: usize) -> Vec<Pipeline> {
    let mut commands = commands.peekable();
    let mut pipelines = Vec::new();
    while commands.peek().is_some() {
        pipelines.push(pipeline_of(commands.by_ref().take(limit)));
    }
    pipelines
}

fn unless_refused(result: RedisResult<()>, refused: impl FnOnce(RedisError)) -> RedisResult<()> {
    match result {
        Err(error) if severity(&error) == Severity::Refused => {
            refused(error);
            Ok(())
        }
        other => other,
    }
}

/// `A`, which Redis also says where each class is set by itself: a row may be replaced by anything.
fn sends_events(classes: &str) -> bool {
    classes.contains('K') && classes.contains('A')
}

fn checked(answers: Vec<Value>) -> RedisResult<Vec<Value>> {
    for answer in &answers {
        if let Value::ServerError(error) = answer {
            let error = RedisError::from(error.clone());
            if severity(&error) != Severity::Refused {
                return Err(error);
            }
        }
    }
    Ok(answers)
}

/// The error of a connection that its server closed.
pub(crate) fn disconnected() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, "the server closed the connection").into()
}
