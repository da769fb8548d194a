//! What a row is, and the declaration that makes one.

use std::fmt::Debug;

use crate::{Fields, RowError, Table};

/// The key of a row: text on the wire, a type here.
pub trait RowKey: Clone + Debug + PartialEq + Eq + PartialOrd + Ord + Sized {
    /// What a reader of an error message is told the key should look like.
    const EXPECTED: &'static str;

    /// The key as it stands after `TABLE<separator>`; `separator` also joins the key's own parts.
    fn to_text(&self, separator: char) -> String;

    /// Reads the key; `None` where it does not have the form.
    fn from_text(text: &str, separator: char) -> Option<Self>;
}

/// A typed row of one table.
pub trait Row: Clone + Debug + PartialEq + Sized {
    /// The table that holds such rows.
    const TABLE: Table;
    /// The type of the table's keys.
    type Key: RowKey;

    /// All fields, as SONiC writes them. Never empty.
    fn to_fields(&self) -> Fields;

    /// Reads the fields that are known and ignores the others.
    ///
    /// # Errors
    /// A required field is missing, or a known field has a value that is not of its type.
    fn from_fields(key: &str, fields: &Fields) -> Result<Self, RowError>;

    /// Fields whose bad value does not spoil the row: it is reported and counts as absent.
    const FORGIVEN: &'static [&'static str] = &[];

    /// Reads a row as far as it can be understood, and reports what could not be: a bad [`Row::FORGIVEN`]
    /// field counts as absent, any other bad field spoils the row.
    fn parse_reporting(key: &str, fields: &Fields) -> (Option<(Self::Key, Self)>, Vec<RowError>) {
        let mut fields = fields.clone();
        let mut errors = Vec::new();
        loop {
            match Self::parse(key, &fields) {
                Ok(row) => return (Some(row), errors),
                Err(error)
                    if Self::FORGIVEN.contains(&error.field.as_str())
                        && fields.get(&error.field).is_some() =>
                {
                    fields.remove(&error.field);
                    errors.push(error);
                }
                Err(error) => {
                    errors.push(error);
                    return (None, errors);
                }
            }
        }
    }

    /// The key as text, with the separator of the table's database.
    fn key_text(key: &Self::Key) -> String {
        key.to_text(Self::TABLE.db().separator())
    }

    /// Reads a key of this table.
    ///
    /// # Errors
    /// The text does not have the form of the table's keys.
    fn parse_key(text: &str) -> Result<Self::Key, RowError> {
        Self::Key::from_text(text, Self::TABLE.db().separator())
            .ok_or_else(|| RowError::key(Self::TABLE, text, Self::Key::EXPECTED))
    }

    /// Reads key and fields together.
    ///
    /// # Errors
    /// As [`Row::parse_key`] and [`Row::from_fields`].
    fn parse(key: &str, fields: &Fields) -> Result<(Self::Key, Self), RowError> {
        Ok((Self::parse_key(key)?, Self::from_fields(key, fields)?))
    }
}

/// Declares a row of plain fields: name, type, and how the field is encoded on the wire (a module of
/// `codec`).
macro_rules! row {
    (
        $(#[$meta:meta])*
        $name:ident = $table:ident, key $key:ty $(, forgives $forgiven:expr)?;
        $( $(#[$field_meta:meta])* $field:ident: $ty:ty = $codec:ident $wire:literal; )*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $ty, )*
        }

        impl crate::Row for $name {
            const TABLE: crate::Table = crate::Table::$table;
            type Key = $key;
            $( const FORGIVEN: &'static [&'static str] = $forgiven; )?

            fn to_fields(&self) -> crate::Fields {
                #[allow(unused_mut)]
                let mut fields = crate::Fields::new();
                $( crate::codec::$codec::put(&mut fields, $wire, &self.$field); )*
                if fields.is_empty() { crate::Fields::placeholder() } else { fields }
            }

            #[allow(unused_variables)]
            fn from_fields(key: &str, fields: &crate::Fields) -> Result<Self, crate::RowError> {
                let read = || -> Result<Self, crate::error::FieldProblem> {
                    Ok(Self { $( $field: crate::codec::$codec::get(fields, $wire)?, )* })
                };
                read().map_err(|problem| problem.at(<Self as crate::Row>::TABLE, key))
            }
        }
    };
}

/// A key without a form of its own.
impl RowKey for String {
    const EXPECTED: &'static str = "text";
    fn to_text(&self, _separator: char) -> String {
        self.clone()
    }
    fn from_text(text: &str, _separator: char) -> Option<Self> {
        Some(text.to_owned())
    }
}
