//! What every row type must pass: one golden row each, and every way to spoil it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Fields, HaScopeId, HaSetId, OperationId, Row, RowError, Value, VdpuId};

/// The `NULL:NULL` placeholder, an unknown field like any other.
const STRANGE_FIELDS: [(&str, &[u8]); 3] =
    [("NULL", b"NULL"), ("gnmi_port", b"50052"), ("binary", b"\xff\xfe")];

/// The longest message that a bad row may cause.
pub(super) const ERROR_CHARS_MAX: usize = 400;

/// A row, where it lies and what it looks like there.
pub(super) struct Golden<R: Row> {
    row: R,
    key: R::Key,
    redis_key: &'static str,
    fields: &'static [(&'static str, &'static str)],
    required: &'static [&'static str],
    free_text: &'static [&'static str],
    ids: &'static [&'static str],
    lists: &'static [&'static str],
}

impl<R: Row + Serialize + DeserializeOwned> Golden<R> {
    /// A full row; its Redis key as `redis-cli` shows it; every field with its value, none left out.
    pub(super) fn new(
        row: R,
        key: R::Key,
        redis_key: &'static str,
        fields: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { row, key, redis_key, fields, required: &[], free_text: &[], ids: &[], lists: &[] }
    }

    /// Fields without which there is no row.
    pub(super) fn required(self, required: &'static [&'static str]) -> Self {
        Self { required, ..self }
    }

    /// Fields that take any text.
    pub(super) fn free_text(self, free_text: &'static [&'static str]) -> Self {
        Self { free_text, ..self }
    }

    /// Fields that take any single word.
    pub(super) fn ids(self, ids: &'static [&'static str]) -> Self {
        Self { ids, ..self }
    }

    /// Fields that are lists, for which the text `none` is not the empty list.
    pub(super) fn lists(self, lists: &'static [&'static str]) -> Self {
        Self { lists, ..self }
    }

    /// Runs every check that holds for all rows.
    pub(super) fn check(&self) {
        self.key_and_fields_are_those_of_sonic();
        self.json_brings_the_row_back();
        self.strange_fields_are_ignored();
        self.only_required_fields_must_be_there();
        self.empty_and_none_mean_absent();
        self.a_bad_value_is_named();
        self.a_bad_value_of_a_forgiven_field_leaves_the_row_readable();
    }

    fn wire(&self) -> Fields {
        self.fields.iter().copied().collect()
    }

    fn key_text(&self) -> String {
        R::key_text(&self.key)
    }

    fn read(&self, fields: &Fields) -> Result<R, RowError> {
        R::from_fields(&self.key_text(), fields)
    }

    fn key_and_fields_are_those_of_sonic(&self) {
        assert_eq!(R::TABLE.redis_key(&self.key_text()), self.redis_key);
        assert_eq!(self.row.to_fields(), self.wire());
        assert_eq!(R::parse(&self.key_text(), &self.wire()), Ok((self.key.clone(), self.row.clone())));
    }

    fn json_brings_the_row_back(&self) {
        let json = serde_json::to_string(&self.row).unwrap();
        assert_eq!(serde_json::from_str::<R>(&json).unwrap(), self.row, "{json}");
    }

    fn strange_fields_are_ignored(&self) {
        let mut fields = self.wire();
        for (name, value) in STRANGE_FIELDS {
            fields.set(name, value.to_vec());
        }
        fields.set("huge", vec![b'x'; 1 << 20]);
        assert_eq!(self.read(&fields), Ok(self.row.clone()));
    }

    fn only_required_fields_must_be_there(&self) {
        for (name, _) in self.fields {
            let mut fields = self.wire();
            fields.remove(name);
            let read = self.read(&fields);
            if self.required.contains(name) {
                let error = read.expect_err(name);
                self.assert_names(&error, name);
                assert_eq!(error.value, "nothing");
            } else {
                assert!(read.is_ok(), "{name} is optional: {read:?}");
            }
        }
        let mut fields = Fields::placeholder();
        for name in self.required {
            fields.set(*name, self.wire().get(name).unwrap().clone());
        }
        assert!(self.read(&fields).is_ok(), "the required fields suffice");
    }

    fn empty_and_none_mean_absent(&self) {
        for (name, _) in
            self.fields.iter().filter(|(name, _)| !self.required.contains(name) && *name != "NULL")
        {
            let mut absent = self.wire();
            absent.remove(name);
            let words: &[&str] = if self.lists.contains(name) { &[""] } else { &["", "none"] };
            for word in words {
                let mut fields = self.wire();
                fields.set(*name, *word);
                assert_eq!(self.read(&fields), self.read(&absent), "{name} = {word:?}");
            }
        }
    }

    fn a_bad_value_is_named(&self) {
        for (name, _) in self.fields.iter().filter(|(name, _)| *name != "NULL") {
            for (value, form) in bad_values() {
                let mut fields = self.wire();
                fields.set(*name, value.clone());
                let welcome = match form {
                    Form::Garbage => false,
                    Form::Text => self.free_text.contains(name),
                    Form::Word => self.free_text.contains(name) || self.ids.contains(name),
                };
                match self.read(&fields) {
                    Ok(_) => assert!(welcome, "{name} took {value:?}"),
                    Err(error) => {
                        assert!(!welcome, "{error}");
                        self.assert_names(&error, name);
                    }
                }
            }
        }
    }

    fn a_bad_value_of_a_forgiven_field_leaves_the_row_readable(&self) {
        let mut fields = self.wire();
        for name in R::FORGIVEN {
            assert!(fields.get(name).is_some(), "{name} is no field of the row");
            fields.set(*name, vec![0xff]);
        }
        let (read, errors) = R::parse_reporting(&self.key_text(), &fields);
        let mut without = self.wire();
        R::FORGIVEN.iter().for_each(|name| without.remove(name));
        assert_eq!(read.map(|(_, row)| row), self.read(&without).ok());
        let mut reported: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        let mut forgiven = R::FORGIVEN.to_vec();
        reported.sort_unstable();
        forgiven.sort_unstable();
        assert_eq!(reported, forgiven, "each is reported once");
    }

    fn assert_names(&self, error: &RowError, field: &str) {
        assert_eq!(
            (error.table, error.key.as_str(), error.field.as_str()),
            (R::TABLE, &*self.key_text(), field)
        );
        let text = error.to_string();
        for part in
            [R::TABLE.db().name(), R::TABLE.name(), &self.key_text(), field, &error.expected, &error.value]
        {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
        assert!(text.chars().count() < ERROR_CHARS_MAX, "{text}");
    }
}

/// What a value looks like to a field that takes anything.
enum Form {
    /// Not UTF-8, or far too long.
    Garbage,
    /// Text of several words or strange characters.
    Text,
    /// Could be an id.
    Word,
}

fn bad_values() -> Vec<(Value, Form)> {
    vec![
        (Value::from(vec![0xff, 0xfe, 0x00]), Form::Garbage),
        (Value::from(vec![b'7'; 1 << 20]), Form::Garbage),
        (Value::from(vec![0xf0; 1 << 20]), Form::Garbage),
        (Value::from("!no such value!"), Form::Text),
        (Value::from("1 2"), Form::Text),
        (Value::from("\u{1}\n\u{10ffff}"), Form::Text),
        (Value::from("99999999999999999999999999"), Form::Word),
        (Value::from("-1e3"), Form::Word),
        (Value::from("upp"), Form::Word),
        (Value::from("u"), Form::Word),
    ]
}

pub(super) fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(super) fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub(super) fn vdpu(text: &str) -> VdpuId {
    VdpuId::new(text).unwrap()
}

pub(super) fn ha_set(text: &str) -> HaSetId {
    HaSetId::new(text).unwrap()
}

pub(super) fn scope(text: &str) -> HaScopeId {
    HaScopeId::new(text).unwrap()
}

pub(super) fn operation(text: &str) -> OperationId {
    OperationId::new(text).unwrap()
}
