//! The authentication section (RFC 5880 4.2 to 4.4), read far enough to say what it is.
//!
//! No session of ours uses authentication, so every authenticated packet is refused; this says with which reason.
//! Passwords and digests are not kept: nothing compares them, and a recording must not hold them.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Authentication Type and what identifies the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthSection {
    /// Type 1: a password of 1 to 16 bytes.
    SimplePassword {
        /// Auth Key ID.
        key_id: u8,
        /// Bytes of the password.
        password_bytes: u8,
    },
    /// Type 2, or 3 if meticulous: keyed MD5.
    KeyedMd5 {
        /// Whether the sequence number grows with every packet.
        meticulous: bool,
        /// Auth Key ID.
        key_id: u8,
        /// Sequence Number.
        sequence: u32,
    },
    /// Type 4, or 5 if meticulous: keyed SHA1.
    KeyedSha1 {
        /// Whether the sequence number grows with every packet.
        meticulous: bool,
        /// Auth Key ID.
        key_id: u8,
        /// Sequence Number.
        sequence: u32,
    },
}

/// Why bytes are no authentication section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum AuthError {
    /// The packet ends before the section does, or the section is too short to say what it is.
    #[error("authentication length {length} does not fit the {available} bytes there are")]
    Truncated {
        /// The Auth Len field, or 0 if there was none.
        length: u8,
        /// Bytes between the mandatory section and the end of the packet.
        available: usize,
    },
    /// Type 0 or one from 6 on.
    #[error("authentication type {0} is reserved")]
    ReservedType(u8),
    /// Auth Len is not what the type prescribes.
    #[error("authentication length {length} is wrong for type {auth_type}")]
    Length {
        /// Auth Type.
        auth_type: u8,
        /// Auth Len.
        length: u8,
    },
}

/// Bytes of a keyed MD5 section (RFC 5880 4.3).
const MD5_BYTES: u8 = 24;

/// Bytes of a keyed SHA1 section (RFC 5880 4.4).
const SHA1_BYTES: u8 = 28;

impl AuthSection {
    /// Reads the bytes that follow the mandatory section, up to the packet's Length.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, AuthError> {
        let [auth_type, length, key_id, rest @ ..] = bytes else {
            let length = bytes.get(1).copied().unwrap_or(0);
            return Err(AuthError::Truncated { length, available: bytes.len() });
        };
        let (auth_type, length, key_id) = (*auth_type, *length, *key_id);
        if usize::from(length) > bytes.len() {
            return Err(AuthError::Truncated { length, available: bytes.len() });
        }
        let wrong_length = AuthError::Length { auth_type, length };
        let sequence = |bytes_wanted: u8| match rest {
            [_reserved, s0, s1, s2, s3, ..] if length == bytes_wanted => {
                Ok(u32::from_be_bytes([*s0, *s1, *s2, *s3]))
            }
            [..] => Err(wrong_length),
        };
        match auth_type {
            // "the password is a binary string, and MUST be from 1 to 16 bytes in length" (RFC 5880 4.2),
            // after three bytes of type, length and key.
            1 if (4..=19).contains(&length) => {
                Ok(AuthSection::SimplePassword { key_id, password_bytes: length - 3 })
            }
            1 => Err(wrong_length),
            2 | 3 => {
                let sequence = sequence(MD5_BYTES)?;
                Ok(AuthSection::KeyedMd5 { meticulous: auth_type == 3, key_id, sequence })
            }
            4 | 5 => {
                let sequence = sequence(SHA1_BYTES)?;
                Ok(AuthSection::KeyedSha1 { meticulous: auth_type == 5, key_id, sequence })
            }
            reserved => Err(AuthError::ReservedType(reserved)),
        }
    }
}
