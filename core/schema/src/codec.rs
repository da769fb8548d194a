//! How one field becomes a typed value and back. A row's declaration names one of the modules here
//! for each field.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{FieldProblem, Problem};
use crate::{Fields, Value};

/// The longest value of a field that is understood. A longer one is a bad value.
pub const FIELD_BYTES_MAX: usize = 64 * 1024;

/// The most items that a list field may have.
pub const LIST_ITEMS_MAX: usize = 1024;

/// A value that is one piece of text on the wire.
pub trait Scalar: Sized {
    /// What a reader of an error message is told to write instead.
    const EXPECTED: &'static str;

    /// The text as SONiC writes it.
    fn to_text(&self) -> String;

    /// Reads the text; `None` where it is not a value of this type.
    fn from_text(text: &str) -> Option<Self>;
}

macro_rules! scalar_from_str {
    ($($ty:ty: $expected:literal;)*) => {$(
        impl Scalar for $ty {
            const EXPECTED: &'static str = $expected;
            fn to_text(&self) -> String {
                self.to_string()
            }
            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )*};
}

scalar_from_str! {
    u8: "a number from 0 to 255";
    u16: "a number from 0 to 65535";
    u32: "a number from 0 to 4294967295";
    u64: "a non-negative number";
    i64: "a whole number";
    Ipv4Addr: "an IPv4 address";
    Ipv6Addr: "an IPv6 address";
    IpAddr: "an IP address";
}

impl Scalar for String {
    const EXPECTED: &'static str = "text";
    fn to_text(&self) -> String {
        self.clone()
    }
    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

/// `true` or `false`; SONiC's DPU side also takes `1` for true (`reference/dpu-side.md` 1.1.2).
impl Scalar for bool {
    const EXPECTED: &'static str = "true or false";
    fn to_text(&self) -> String {
        if *self { "true" } else { "false" }.to_owned()
    }
    fn from_text(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }
}

/// The text of a field: absent, or UTF-8 of a bounded length.
fn text<'a>(fields: &'a Fields, name: &str, expected: &str) -> Result<Option<&'a str>, FieldProblem> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    if value.as_bytes().len() > FIELD_BYTES_MAX {
        let expected = format!("{expected} of at most {FIELD_BYTES_MAX} bytes");
        return Err(Problem::new(expected, Some(value)).of(name));
    }
    match value.as_str() {
        Some(text) => Ok(Some(text)),
        None => Err(Problem::new(expected, Some(value)).of(name)),
    }
}

fn parse<T: Scalar>(text: &str, name: &str) -> Result<T, FieldProblem> {
    T::from_text(text).ok_or_else(|| Problem::new(T::EXPECTED, Some(&Value::from(text))).of(name))
}

/// A field that must be there.
pub(crate) mod required {
    use super::*;

    pub(crate) fn get<T: Scalar>(fields: &Fields, name: &str) -> Result<T, FieldProblem> {
        match text(fields, name, T::EXPECTED)? {
            Some(text) => parse(text, name),
            None => Err(Problem::new(T::EXPECTED, None).of(name)),
        }
    }

    pub(crate) fn put<T: Scalar>(fields: &mut Fields, name: &str, value: &T) {
        fields.set(name, value.to_text());
    }
}

/// A field that may be absent. Empty text and `none` mean absent too (`reference/swss-wire.md` 7.1).
pub(crate) mod optional {
    use super::*;

    pub(crate) fn get<T: Scalar>(fields: &Fields, name: &str) -> Result<Option<T>, FieldProblem> {
        match text(fields, name, T::EXPECTED)? {
            None | Some("" | "none") => Ok(None),
            Some(text) => parse(text, name).map(Some),
        }
    }

    pub(crate) fn put<T: Scalar>(fields: &mut Fields, name: &str, value: &Option<T>) {
        if let Some(value) = value {
            fields.set(name, value.to_text());
        }
    }
}

/// The state of a plane: absent means unknown, and so does the word `unknown`, which hamgrd reads too.
pub(crate) mod plane {
    use super::*;
    use crate::LinkState;

    pub(crate) const UNKNOWN: &str = "unknown";

    pub(crate) fn get(fields: &Fields, name: &str) -> Result<Option<LinkState>, FieldProblem> {
        match fields.text(name) {
            Some(text) if text.eq_ignore_ascii_case(UNKNOWN) => Ok(None),
            Some(_) | None => optional::get(fields, name),
        }
    }

    pub(crate) fn put(fields: &mut Fields, name: &str, value: &Option<LinkState>) {
        optional::put(fields, name, value);
    }
}

/// The state of a device as sysmonitor writes it: `UP` or `DOWN` (`reference/pmon.md` 1.4).
pub(crate) mod upper_case {
    use super::*;
    use crate::LinkState;

    pub(crate) use super::optional::get;

    pub(crate) fn put(fields: &mut Fields, name: &str, value: &Option<LinkState>) {
        if let Some(value) = value {
            fields.set(name, value.as_str().to_ascii_uppercase());
        }
    }
}

/// The state of a plane in a row for the SDN controller: unknown is written as such.
pub(crate) mod plane_or_unknown {
    use super::*;
    use crate::LinkState;

    pub(crate) use super::plane::get;

    pub(crate) fn put(fields: &mut Fields, name: &str, value: &Option<LinkState>) {
        fields.set(name, value.map_or(plane::UNKNOWN, LinkState::as_str));
    }
}

/// A field whose absence means the type's default, and which is always written.
pub(crate) mod defaulted {
    use super::*;

    pub(crate) fn get<T: Scalar + Default>(fields: &Fields, name: &str) -> Result<T, FieldProblem> {
        optional::get(fields, name).map(Option::unwrap_or_default)
    }

    pub(crate) fn put<T: Scalar>(fields: &mut Fields, name: &str, value: &T) {
        fields.set(name, value.to_text());
    }
}

/// Items joined by commas. Written even when empty; absent reads as empty. Blanks and one pair of
/// quotes around an item are tolerated, empty items are dropped (`reference/swss-wire.md` 7.2).
pub(crate) mod list {
    use super::*;

    pub(crate) fn get<T: Scalar>(fields: &Fields, name: &str) -> Result<Vec<T>, FieldProblem> {
        let expected = format!("a comma list, each {}", T::EXPECTED);
        let Some(text) = text(fields, name, &expected)? else { return Ok(Vec::new()) };
        let items = text.split(',').map(unquoted).filter(|item| !item.is_empty());
        let parsed: Vec<T> = items.map(|item| parse(item, name)).collect::<Result<_, _>>()?;
        if parsed.len() > LIST_ITEMS_MAX {
            let expected = format!("{expected}, at most {LIST_ITEMS_MAX} items");
            return Err(Problem::new(expected, Some(&Value::from(text))).of(name));
        }
        Ok(parsed)
    }

    pub(crate) fn put<T: Scalar>(fields: &mut Fields, name: &str, value: &[T]) {
        let items: Vec<String> = value.iter().map(Scalar::to_text).collect();
        fields.set(name, items.join(","));
    }
}

/// A list as bfdmon writes it: JSON without the outer brackets, `"10.0.0.1", "10.0.0.2"`
/// (`reference/dpu-side.md` 2.4). Read like [`list`].
pub(crate) mod quoted_list {
    use super::*;

    pub(crate) fn get<T: Scalar>(fields: &Fields, name: &str) -> Result<Vec<T>, FieldProblem> {
        list::get(fields, name)
    }

    pub(crate) fn put<T: Scalar>(fields: &mut Fields, name: &str, value: &[T]) {
        let items: Vec<String> = value.iter().map(|item| format!("\"{}\"", item.to_text())).collect();
        fields.set(name, items.join(", "));
    }
}

/// A scalar in double quotes on the wire, as bfdmon writes its times. Read with or without them.
pub(crate) mod quoted {
    use super::*;

    pub(crate) fn get<T: Scalar>(fields: &Fields, name: &str) -> Result<Option<T>, FieldProblem> {
        match text(fields, name, T::EXPECTED)?.map(unquoted) {
            None | Some("" | "none") => Ok(None),
            Some(text) => parse(text, name).map(Some),
        }
    }

    pub(crate) fn put<T: Scalar>(fields: &mut Fields, name: &str, value: &Option<T>) {
        if let Some(value) = value {
            fields.set(name, format!("\"{}\"", value.to_text()));
        }
    }
}

/// `item` without surrounding blanks and without one pair of quotes.
pub(crate) fn unquoted(item: &str) -> &str {
    let item = item.trim();
    ['"', '\'']
        .into_iter()
        .find_map(|quote| item.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(item)
        .trim()
}
