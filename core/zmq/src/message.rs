//! Rows as one message, and back: SONiC's `BinarySerializer` (`reference/swss-wire.md` 5.2).
//!
//! A message is for one table and holds any number of rows; a row without fields is one that is deleted. A byte too
//! much or too little makes SONiC's consumer abort (5.3), so [`Writer`] is exact; [`decode`] takes nothing on trust.

use schema::Fields;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::MESSAGE_BYTES_MAX;

/// Bytes of a length.
const LENGTH_BYTES: usize = 8;
/// Bytes that a pair takes at least.
const PAIR_BYTES_MIN: u64 = 2 * LENGTH_BYTES as u64;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Name of the database.
    pub db: String,
    /// Name of the table.
    pub table: String,
    /// The rows, in order.
    pub rows: Vec<MessageRow>,
    /// How many rows were left out because their key or a field's name is not UTF-8.
    pub unreadable_rows: usize,
}

/// A row of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRow {
    /// The key within the table.
    pub key: String,
    /// The whole row, never empty; `None` deletes it.
    pub fields: Option<Fields>,
}

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MessageError {
    /// It is longer than allowed.
    #[error("message of {length} bytes: at most {max} are allowed", max = MESSAGE_BYTES_MAX)]
    TooLong {
        /// Its length, bytes.
        length: u64,
    },
    /// It says that it holds nothing, not even the table's name.
    #[error("message without database and table")]
    Empty,
    /// It ends within what it says that it holds.
    #[error("message of {length} bytes ends within {what}")]
    Short {
        /// Within what.
        what: &'static str,
        /// Its length, bytes.
        length: usize,
    },
    /// It goes on after what it says that it holds.
    #[error("message of {length} bytes has {rest} bytes too many")]
    Rest {
        /// How many bytes are left.
        rest: usize,
        /// Its length, bytes.
        length: usize,
    },
    /// The name of the database or the table is not UTF-8.
    #[error("message whose database or table is not UTF-8: {name}")]
    Name {
        /// The name, escaped.
        name: String,
    },
    /// A row's number of fields is not a number, or there are not as many.
    #[error("row {key}: number of fields {count:?}, of which {left} can be left")]
    Count {
        /// The row's key, escaped.
        key: String,
        /// The number, escaped.
        count: String,
        /// How many pairs are left in the message.
        left: u64,
    },
}

/// Makes a message, row by row.
#[derive(Clone, Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    pairs: u64,
}

impl Writer {
    /// A message without rows.
    pub fn new(db: &str, table: &str) -> Self {
        let mut writer = Self { bytes: vec![0; LENGTH_BYTES], pairs: 0 };
        writer.pair(db.as_bytes(), table.as_bytes());
        writer
    }

    /// How long the message is, bytes.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// By how many bytes a row makes it longer.
    pub fn row_length(key: &str, fields: Option<&Fields>) -> usize {
        let pair = |one: usize, other: usize| one.saturating_add(other).saturating_add(2 * LENGTH_BYTES);
        let count = fields.map_or(0, Fields::len);
        let lengths = fields.into_iter().flat_map(Fields::iter);
        let fields = lengths.map(|(field, value)| pair(field.len(), value.as_bytes().len()));
        fields.fold(pair(key.len(), count.to_string().len()), usize::saturating_add)
    }

    /// Appends a row; `None`, or no fields, deletes it.
    pub fn row(&mut self, key: &str, fields: Option<&Fields>) {
        let count = fields.map_or(0, Fields::len);
        self.pair(key.as_bytes(), count.to_string().as_bytes());
        for (field, value) in fields.into_iter().flat_map(Fields::iter) {
            self.pair(field.as_bytes(), value.as_bytes());
        }
    }

    /// The message.
    pub fn finish(mut self) -> Vec<u8> {
        for (to, from) in self.bytes.iter_mut().zip(self.pairs.to_le_bytes()) {
            *to = from;
        }
        self.bytes
    }

    fn pair(&mut self, one: &[u8], other: &[u8]) {
        for text in [one, other] {
            self.bytes.extend((text.len() as u64).to_le_bytes());
            self.bytes.extend_from_slice(text);
        }
        self.pairs += 1;
    }
}

/// How long the message is that carries just this row, bytes: more than [`MESSAGE_BYTES_MAX`] cannot be sent.
pub fn length_alone(table: schema::Table, key: &str, fields: Option<&Fields>) -> usize {
    let head = 3 * LENGTH_BYTES + table.db().name().len() + table.name().len();
    head.saturating_add(Writer::row_length(key, fields))
}

/// Reads a message.
///
/// # Errors
/// It does not have the form of a message, or is longer than allowed.
pub fn decode(bytes: &[u8]) -> Result<Message, MessageError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(MessageError::TooLong { length: bytes.len() as u64 });
    }
    let mut reader = Reader { bytes, rest: bytes };
    let mut pairs = reader.number("the number of pairs")?;
    if pairs == 0 {
        return Err(MessageError::Empty);
    }
    if pairs > reader.rest.len() as u64 / PAIR_BYTES_MIN {
        return Err(reader.short("the pairs that it announces"));
    }
    let (db, table) = reader.pair("database and table")?;
    let name = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(name) => Ok(name.to_owned()),
        Err(_) => Err(MessageError::Name { name: bytes.escape_ascii().to_string() }),
    };
    let mut message = Message { db: name(db)?, table: name(table)?, rows: Vec::new(), unreadable_rows: 0 };
    pairs -= 1;
    while pairs > 0 {
        let (key, count) = reader.pair("a row's key")?;
        pairs -= 1;
        let count = decimal(count).filter(|count| *count <= pairs).ok_or_else(|| MessageError::Count {
            key: key.escape_ascii().to_string(),
            count: count.escape_ascii().to_string(),
            left: pairs,
        })?;
        pairs -= count;
        // There are as many pairs as that, so this is not more than what came. In order at the end: that is quicker.
        let mut fields = Some(Vec::with_capacity(usize::try_from(count).unwrap_or_default()));
        for _ in 0..count {
            let (field, value) = reader.pair("a row's fields")?;
            match std::str::from_utf8(field) {
                Ok(field) => fields.iter_mut().for_each(|fields| fields.push((field, value.to_vec()))),
                Err(_) => fields = None,
            }
        }
        match (std::str::from_utf8(key), fields) {
            (Ok(key), Some(fields)) => {
                let fields = (!fields.is_empty()).then(|| fields.into_iter().collect());
                message.rows.push(MessageRow { key: key.to_owned(), fields });
            }
            (Err(_), _) | (_, None) => message.unreadable_rows += 1,
        }
    }
    match reader.rest.len() {
        0 => Ok(message),
        rest => Err(MessageError::Rest { rest, length: bytes.len() }),
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    // `parse` alone would take a sign.
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

struct Reader<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn short(&self, what: &'static str) -> MessageError {
        MessageError::Short { what, length: self.bytes.len() }
    }

    fn number(&mut self, what: &'static str) -> Result<u64, MessageError> {
        let (number, rest) = self.rest.split_first_chunk::<LENGTH_BYTES>().ok_or_else(|| self.short(what))?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*number))
    }

    fn text(&mut self, what: &'static str) -> Result<&'a [u8], MessageError> {
        let length = usize::try_from(self.number(what)?).unwrap_or(usize::MAX);
        let (text, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.short(what))?;
        self.rest = rest;
        Ok(text)
    }

    fn pair(&mut self, what: &'static str) -> Result<(&'a [u8], &'a [u8]), MessageError> {
        Ok((self.text(what)?, self.text(what)?))
    }
}
