//! Answers of Redis as rows.

use redis::{RedisError, RedisResult, Value};
use schema::{Fields, Value as FieldValue};

/// What is at a Redis key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Hash {
    /// The fields of a hash; `None` where there is nothing.
    Row(Option<Fields>),
    /// Something else than a hash, with the server's words.
    NotAHash(String),
}

/// The answer to `HGETALL`, or a list of names and values from a script.
pub(crate) fn hash(answer: Value) -> RedisResult<Hash> {
    // Put into order at the end and at once: that is quicker than one by one.
    let mut fields: Vec<(String, FieldValue)> = Vec::new();
    match answer {
        Value::Map(pairs) => {
            fields.reserve(pairs.len());
            for (name, value) in pairs {
                fields.push(field(name, value)?);
            }
        }
        Value::Array(items) => {
            fields.reserve(items.len() / 2);
            let mut items = items.into_iter();
            while let (Some(name), Some(value)) = (items.next(), items.next()) {
                fields.push(field(name, value)?);
            }
        }
        Value::Nil => {}
        Value::ServerError(error) => return Ok(Hash::NotAHash(RedisError::from(error).to_string())),
        other => return Err(unexpected("a hash", Some(&other))),
    }
    Ok(Hash::Row((!fields.is_empty()).then(|| fields.into_iter().collect())))
}

/// A field whose name is not UTF-8 is there under its name escaped: its row is another one than without it.
fn field(name: Value, value: Value) -> RedisResult<(String, FieldValue)> {
    let (name, value) = (bytes(name)?, bytes(value)?);
    let name = String::from_utf8(name).unwrap_or_else(|error| error.as_bytes().escape_ascii().to_string());
    Ok((name, FieldValue::from(value)))
}

/// A string of any bytes.
pub(crate) fn bytes(value: Value) -> RedisResult<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text.into_bytes()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        other => Err(unexpected("a string", Some(&other))),
    }
}

/// A list or a set.
pub(crate) fn items(value: Value) -> RedisResult<Vec<Value>> {
    match value {
        Value::Array(items) | Value::Set(items) => Ok(items),
        Value::Nil => Ok(Vec::new()),
        other => Err(unexpected("a list", Some(&other))),
    }
}

/// The answer to `CONFIG GET` of one parameter.
pub(crate) fn config_value(answer: &Value) -> String {
    let value = match answer {
        Value::Map(pairs) => pairs.first().map(|(_, value)| value),
        Value::Array(items) => items.get(1),
        _ => None,
    };
    match value {
        Some(Value::BulkString(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Some(Value::SimpleString(text)) => text.clone(),
        _ => String::new(),
    }
}

/// How often databases were swapped, as `INFO commandstats` says: a command that was never called is not listed.
pub(crate) fn swaps(stats: &[u8]) -> u64 {
    let stats = String::from_utf8_lossy(stats);
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_swapdb:calls="));
    let count = calls.and_then(|calls| calls.split(',').next()).and_then(|count| count.parse().ok());
    count.unwrap_or(0)
}

/// The server answered in a form that it never should.
pub(crate) fn unexpected(expected: &str, found: Option<&Value>) -> RedisError {
    let detail = match found {
        Some(value) => format!("expected {expected}, found {value:?}"),
        None => format!("expected {expected}, found nothing"),
    };
    (redis::ErrorKind::UnexpectedReturnType, "unexpected answer", detail).into()
}
