//! Writes as arguments of the write script, and its answer.

use bus::Keyspace;
use reconcile::{Op, RowWrite};
use redis::{Cmd, RedisError, RedisResult, Script, Value};
use schema::{Fields, Table};

use crate::error::is_not_now;
use crate::{Mode, wire};

/// A call of the script that carries out writes.
pub(super) fn call(
    script: &Script,
    keyspace: &Keyspace,
    mode: impl Fn(Table) -> Mode,
    writes: &[RowWrite],
) -> Cmd {
    let mut call = redis::cmd("EVALSHA");
    let key_count: usize = writes.iter().map(|write| key_count(mode(write.table))).sum();
    call.arg(script.get_hash()).arg(key_count);
    for RowWrite { table, key, .. } in writes {
        call.arg(keyspace.redis_key(*table, key));
        match mode(*table) {
            Mode::Table => {}
            Mode::ProducerState => {
                call.arg(keyspace.pending_key(*table, key));
                call.arg(Keyspace::key_set(*table))
                    .arg(Keyspace::del_set(*table))
                    .arg(keyspace.channel(*table));
            }
        }
    }
    let no_fields = Fields::new();
    for RowWrite { table, key, op } in writes {
        let (name, fields) = match (mode(*table), op) {
            (Mode::Table, Op::Set(fields)) => ("set", fields),
            (Mode::Table, Op::Merge(fields)) => ("merge", fields),
            (Mode::Table, Op::Del) => ("del", &no_fields),
            (Mode::ProducerState, Op::Set(fields)) => ("produce_set", fields),
            (Mode::ProducerState, Op::Merge(fields)) => ("produce_merge", fields),
            (Mode::ProducerState, Op::Del) => ("produce_del", &no_fields),
        };
        call.arg(name).arg(key).arg(fields.len());
        for (field, value) in fields.iter() {
            call.arg(field).arg(value.as_bytes());
        }
    }
    call
}

fn key_count(mode: Mode) -> usize {
    match mode {
        Mode::Table => 1,
        Mode::ProducerState => 5,
    }
}

/// Per write nothing, or why the server refused it.
///
/// # Errors
/// The server cannot serve for now.
pub(super) fn outcomes(count: usize, answer: Value) -> RedisResult<Vec<Option<String>>> {
    let mut outcomes = vec![None; count];
    for failure in wire::items(answer)? {
        let mut failure = wire::items(failure)?.into_iter();
        let (Some(Value::Int(number)), Some(text)) = (failure.next(), failure.next()) else {
            return Err(wire::unexpected("the number of a write and an error", None));
        };
        let text = String::from_utf8_lossy(&wire::bytes(text)?).into_owned();
        if is_not_now(&text) {
            return Err(RedisError::from((redis::ErrorKind::Extension, "cannot serve for now", text)));
        }
        let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        match at.and_then(|at| outcomes.get_mut(at)) {
            Some(outcome) => *outcome = Some(text),
            None => return Err(wire::unexpected("the number of a write", Some(&Value::Int(number)))),
        }
    }
    Ok(outcomes)
}
