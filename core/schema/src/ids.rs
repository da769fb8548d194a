//! Names of things. Parsed at the border, so that one cannot be taken for another.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codec::Scalar;
use crate::row::RowKey;

/// The longest id, in bytes.
const ID_BYTES_MAX: usize = 255;

/// What a row's field can hold alone and in a list: no blanks, commas or quotes, and not the word that
/// means absent (`reference/swss-wire.md` 7.1-7.2).
fn is_id(text: &str, forbidden: &[char]) -> bool {
    let reserved = |c: char| matches!(c, ',' | '"' | '\'') || forbidden.contains(&c);
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !reserved(c);
    !text.is_empty() && text != "none" && text.len() <= ID_BYTES_MAX && text.chars().all(plain)
}

macro_rules! id {
    ($( $(#[$meta:meta])* $name:ident, $what:literal, forbids $forbidden:expr; )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes the text if it is well formed.
            pub fn new(text: impl Into<String>) -> Option<Self> {
                let text = text.into();
                is_id(&text, $forbidden).then_some(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                Self::new(text).ok_or_else(|| format!("expected {}", $what))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Scalar for $name {
            const EXPECTED: &'static str = $what;
            fn to_text(&self) -> String {
                self.0.clone()
            }
            fn from_text(text: &str) -> Option<Self> {
                Self::new(text)
            }
        }

        impl RowKey for $name {
            const EXPECTED: &'static str = $what;
            fn to_text(&self, _separator: char) -> String {
                self.0.clone()
            }
            fn from_text(text: &str, _separator: char) -> Option<Self> {
                Self::new(text)
            }
        }
    )*};
}

id! {
    /// The name of a DPU: the key of its `DPU` or `REMOTE_DPU` row, unique in the cluster.
    DpuName, "the name of a DPU", forbids &['|'];
    /// A virtual DPU: the key of its `VDPU` row.
    VdpuId, "the id of a vDPU", forbids &['|', ':'];
    /// A HA set.
    HaSetId, "the id of a HA set", forbids &['|'];
    /// A HA scope: the HA set's id in DPU scope, an ENI's id in ENI scope.
    HaScopeId, "the id of a HA scope", forbids &['|'];
    /// A pending operation, a UUID. Unique over all lives of a DPU.
    OperationId, "the id of a pending operation", forbids &['|'];
}

impl OperationId {
    /// The UUID of these 128 bits, in the text form of RFC 9562 section 4.
    pub fn from_uuid_parts(high: u64, low: u64) -> Self {
        Self(format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff,
        ))
    }
}

impl From<HaSetId> for HaScopeId {
    fn from(id: HaSetId) -> Self {
        Self(id.0)
    }
}

/// The number of a DPU in its switch, 0 to 7 on today's hardware.
///
/// As a key it is `DPU<n>` (`DPU_STATE`, `DPU_RESET_INFO`); [`Slot::container`] is the name in
/// `database_global.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u8);

impl Slot {
    /// `dpu<n>`: the container key of this DPU's databases (`reference/swss-wire.md` 1.3).
    pub fn container(self) -> String {
        format!("dpu{}", self.0)
    }

    /// Reads `dpu<n>`.
    pub fn from_container(text: &str) -> Option<Self> {
        text.strip_prefix("dpu").and_then(slot_number)
    }
}

/// One spelling per slot, so that `DPU01` is not taken for `DPU1`.
fn slot_number(digits: &str) -> Option<Slot> {
    let number: u8 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(Slot(number))
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DPU{}", self.0)
    }
}

impl Scalar for Slot {
    const EXPECTED: &'static str = "the number of a DPU, 0 to 255";
    fn to_text(&self) -> String {
        self.0.to_string()
    }
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl RowKey for Slot {
    const EXPECTED: &'static str = "DPU and a number, like DPU0";
    fn to_text(&self, _separator: char) -> String {
        self.to_string()
    }
    fn from_text(text: &str, _separator: char) -> Option<Self> {
        text.strip_prefix("DPU").and_then(slot_number)
    }
}
