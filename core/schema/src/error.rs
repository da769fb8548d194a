//! The one error of this crate.

use crate::fields::hex;
use crate::{Table, Value};

/// How much of a bad value an error repeats, in characters.
const VALUE_SHOWN_CHARS_MAX: usize = 64;

/// How much of a row's key an error repeats, in characters.
const KEY_SHOWN_CHARS_MAX: usize = 64;

/// A row that cannot be understood. It names everything that an operator needs to find it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {table} key {key:?} field {field:?}: expected {expected}, got {value}", table.db())]
pub struct RowError {
    /// The table of the row.
    pub table: Table,
    /// The row's key within the table, shortened if very long.
    pub key: String,
    /// The field that is wrong; `(key)` where it is the key itself.
    pub field: String,
    /// What was expected, in words.
    pub expected: String,
    /// What is there, shortened; `nothing` for a missing field.
    pub value: String,
}

impl RowError {
    /// The error for a key that does not have the form the table demands.
    pub fn key(table: Table, key: &str, expected: &str) -> Self {
        Problem::new(expected, Some(&Value::from(key))).of("(key)").at(table, key)
    }
}

/// What is wrong with a value, before it is known whose value it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    expected: String,
    value: String,
}

/// A [`Problem`] and the field that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldProblem {
    field: String,
    problem: Problem,
}

impl Problem {
    pub(crate) fn new(expected: impl Into<String>, value: Option<&Value>) -> Self {
        Self { expected: expected.into(), value: value.map_or_else(|| "nothing".to_owned(), shortened) }
    }

    pub(crate) fn of(self, field: &str) -> FieldProblem {
        FieldProblem { field: field.to_owned(), problem: self }
    }
}

impl FieldProblem {
    pub(crate) fn at(self, table: Table, key: &str) -> RowError {
        RowError {
            table,
            key: shortened_key(key),
            field: self.field,
            expected: self.problem.expected,
            value: self.problem.value,
        }
    }
}

/// Looks only at the head of the value: it may be huge.
fn shortened(value: &Value) -> String {
    let bytes = value.as_bytes();
    let head = match value.as_str() {
        Some(text) => format!("{:?}", text.chars().take(VALUE_SHOWN_CHARS_MAX).collect::<String>()),
        None => format!("0x{}", hex(bytes.get(..VALUE_SHOWN_CHARS_MAX).unwrap_or(bytes))),
    };
    if bytes.len() <= VALUE_SHOWN_CHARS_MAX && head.chars().count() <= VALUE_SHOWN_CHARS_MAX {
        return head;
    }
    let shown: String = head.chars().take(VALUE_SHOWN_CHARS_MAX).collect();
    format!("{shown}… ({} bytes)", bytes.len())
}

/// Counts a character as long as the error's text shows it.
fn shortened_key(key: &str) -> String {
    let mut shown = 0;
    let fits = |c: &char| {
        shown += c.escape_debug().count();
        shown <= KEY_SHOWN_CHARS_MAX
    };
    let head: String = key.chars().take_while(fits).collect();
    if head.len() == key.len() { head } else { format!("{head}…") }
}
