//! Rows whose one field `pb` is a protobuf message, as JSON and back.

use schema::appl_db::{HaScopeConfig, HaSetConfig};
use schema::{Fields, Row, Table};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

/// The field of the message.
pub const PB: &str = "pb";

/// Members of a message by name.
pub type Members = Map<String, Json>;

type Encode = fn(&str, Option<&Fields>, &Members) -> Result<Fields, String>;

/// How the messages of a table are read and written.
#[derive(Clone, Copy)]
pub struct Message {
    /// The message of a row as JSON.
    pub decode: fn(&str, &Fields) -> Result<Json, String>,
    /// The fields of a row, from JSON laid over a present row, or over defaults.
    pub encode: Encode,
}

/// The messages of a table; `None` for tables of plain fields, and for those that we do not know.
pub fn message(database: &str, table: &str) -> Option<Message> {
    fn of<R: Row + Serialize + DeserializeOwned>() -> (Table, Message) {
        (R::TABLE, Message { decode: decode::<R>, encode: encode::<R> })
    }
    let known = [of::<HaSetConfig>(), of::<HaScopeConfig>()];
    let is_it = |here: &Table| here.name() == table && here.db().name() == database;
    known.into_iter().find(|(here, _)| is_it(here)).map(|(_, message)| message)
}

fn decode<R: Row + Serialize>(key: &str, fields: &Fields) -> Result<Json, String> {
    let row = R::from_fields(key, fields).map_err(|error| error.to_string())?;
    serde_json::to_value(row).map_err(|error| error.to_string())
}

fn encode<R: Row + Serialize + DeserializeOwned>(
    key: &str,
    present: Option<&Fields>,
    members: &Members,
) -> Result<Fields, String> {
    R::parse_key(key).map_err(|error| error.to_string())?;
    let defaults: Fields = [(PB, "")].into_iter().collect();
    let mut json = decode::<R>(key, present.unwrap_or(&defaults))
        .map_err(|error| format!("the present message is not understood (--replace ignores it): {error}"))?;
    for (name, value) in members {
        let known: Vec<String> =
            json.as_object().map(|members| members.keys().cloned().collect()).unwrap_or_default();
        let Some(member) = json.get_mut(name) else {
            return Err(format!("no member {name:?}; there are {}", known.join(", ")));
        };
        *member = value.clone();
        // One by one, so that the error names the member.
        R::deserialize(&json).map_err(|error| format!("member {name:?}: {error}"))?;
    }
    let row = R::deserialize(&json).map_err(|error| error.to_string())?;
    let fields = row.to_fields();
    match R::from_fields(key, &fields) {
        Ok(read) if read == row => Ok(fields),
        Ok(read) => Err(format!("this would be read as another message: {read:?}")),
        Err(error) => Err(error.to_string()),
    }
}
