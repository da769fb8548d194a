//! Rows as text and as JSON.

use std::fmt::Write as _;

use schema::{Fields, Value};
use serde_json::{Map, Value as Json};

use crate::pb::{self, PB};

/// A row's fields as they are shown: values as JSON, and the message of a `pb` row as what it means.
pub struct Shown {
    /// As JSON.
    pub json: Map<String, Json>,
    /// What could not be decoded, and why.
    pub problem: Option<String>,
}

impl Shown {
    /// What is shown of a row of `table`; `raw` leaves messages as they are.
    pub fn new(database: &str, table: &str, key: &str, fields: &Fields, raw: bool) -> Self {
        let mut json: Map<String, Json> =
            fields.iter().map(|(name, value)| (name.to_owned(), plain(value))).collect();
        let mut problem = None;
        let message = if raw { None } else { pb::message(database, table) };
        if let Some(message) = message.filter(|_| fields.get(PB).is_some()) {
            match (message.decode)(key, fields) {
                Ok(decoded) => {
                    json.insert(PB.to_owned(), decoded);
                }
                Err(error) => problem = Some(error),
            }
        }
        Self { json, problem }
    }

    /// The value of a field, or of `pb.<member>`.
    pub fn value(&self, name: &str) -> Option<&Json> {
        let member = name.strip_prefix(PB).and_then(|rest| rest.strip_prefix('.'));
        let member = member.and_then(|member| self.message()?.get(member));
        self.json.get(name).or(member)
    }

    /// The names that [`Shown::value`] has a value for.
    pub fn names(&self) -> Vec<String> {
        let members = self.message().into_iter().flatten().map(|(member, _)| format!("{PB}.{member}"));
        self.json.keys().map(|name| escaped(name)).chain(members).collect()
    }

    /// The members of the row's message, if it has one that was decoded.
    fn message(&self) -> Option<&Map<String, Json>> {
        let members = self.json.get(PB)?.as_object()?;
        (self.problem.is_none() && !is_hex(members)).then_some(members)
    }

    /// A line per field, and per member of a message.
    pub fn lines(&self, indent: &str) -> String {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in &self.json {
            match self.message().filter(|_| name == PB) {
                Some(members) => pairs
                    .extend(members.iter().map(|(member, value)| (format!("{PB}.{member}"), text(value)))),
                None => pairs.push((escaped(name), text(value))),
            }
        }
        let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut lines = String::new();
        for (name, value) in pairs {
            let line = format!("{indent}{name:width$}  {value}");
            lines.push_str(line.trim_end());
            lines.push('\n');
        }
        if let Some(problem) = &self.problem {
            lines.push_str(&format!("{indent}! {problem}\n"));
        }
        lines
    }

    /// As one JSON value.
    pub fn into_json(self) -> Json {
        let mut json = self.json;
        if let Some(problem) = self.problem {
            json.insert("error".to_owned(), Json::String(problem));
        }
        Json::Object(json)
    }
}

/// A value as JSON: text, or `{"hex": "…"}`.
fn plain(value: &Value) -> Json {
    serde_json::to_value(value).unwrap_or(Json::Null)
}

fn is_hex(members: &Map<String, Json>) -> bool {
    members.len() == 1 && members.contains_key("hex")
}

/// A JSON value for people: text without quotes, bytes as 0x….
pub fn text(value: &Json) -> String {
    match value {
        Json::String(text) => escaped(text),
        Json::Object(members) if is_hex(members) => {
            format!("0x{}", members.get("hex").and_then(Json::as_str).unwrap_or_default())
        }
        Json::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Json::Null => "-".to_owned(),
        Json::Object(_) | Json::Bool(_) | Json::Number(_) => value.to_string(),
    }
}

/// Text that cannot play tricks on a terminal.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            // Writing to a String does not fail.
            write!(escaped, "{}", c.escape_default()).ok();
        } else {
            escaped.push(c);
        }
    }
    escaped
}
