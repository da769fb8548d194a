//! Writes as arguments of the write script, and its answer.

use bus::Keyspace;
use reconcile::{Op, RowWrite};
use redis::{RedisError, RedisResult, ScriptInvocation, Value};
use schema::Fields;

use crate::error::is_not_now;
use crate::{Mode, wire};

/// Appends a write to a call of the script.
pub(super) fn add(call: &mut ScriptInvocation<'_>, keyspace: &Keyspace, mode: Mode, write: &RowWrite) {
    let RowWrite { table, key, op } = write;
    let no_fields = Fields::new();
    let (name, fields) = match (mode, op) {
        (Mode::Table, Op::Set(fields)) => ("set", fields),
        (Mode::Table, Op::Merge(fields)) => ("merge", fields),
        (Mode::Table, Op::Del) => ("del", &no_fields),
        (Mode::ProducerState, Op::Set(fields)) => ("produce_set", fields),
        (Mode::ProducerState, Op::Merge(fields)) => ("produce_merge", fields),
        (Mode::ProducerState, Op::Del) => ("produce_del", &no_fields),
    };
    call.key(keyspace.redis_key(*table, key));
    match mode {
        Mode::Table => {}
        Mode::ProducerState => {
            call.key(keyspace.pending_key(*table, key));
            call.key(Keyspace::key_set(*table)).key(Keyspace::del_set(*table)).key(keyspace.channel(*table));
        }
    }
    call.arg(name).arg(key).arg(fields.len());
    for (field, value) in fields.iter() {
        call.arg(field).arg(value.as_bytes());
    }
}

/// Per write nothing, or why the server refused it.
///
/// # Errors
/// The server cannot serve for now.
pub(super) fn outcomes(answer: Value) -> RedisResult<Vec<Option<String>>> {
    let mut outcomes = Vec::new();
    for item in wire::items(answer)? {
        let text = String::from_utf8_lossy(&wire::bytes(item)?).into_owned();
        if text == "OK" {
            outcomes.push(None);
        } else if is_not_now(&text) {
            return Err(RedisError::from((redis::ErrorKind::Extension, "cannot serve for now", text)));
        } else {
            outcomes.push(Some(text));
        }
    }
    Ok(outcomes)
}
