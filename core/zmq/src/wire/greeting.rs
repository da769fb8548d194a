//! The first 64 bytes of each side.

use crate::wire::ProtocolError;

/// The length of a greeting, bytes.
pub const GREETING_BYTES: usize = 64;

const VERSION_MAJOR: usize = 10;
const MECHANISM: std::ops::Range<usize> = 12..32;
const MECHANISM_NULL: &[u8] = b"NULL";

/// Our greeting: version 3.1, mechanism `NULL`.
pub fn greeting() -> [u8; GREETING_BYTES] {
    let mut bytes = [0; GREETING_BYTES];
    let head: [u8; 16] = *b"\xff\0\0\0\0\0\0\0\0\x7f\x03\x01NULL";
    for (to, from) in bytes.iter_mut().zip(head) {
        *to = from;
    }
    bytes
}

/// Checks as much of a peer's greeting as has come. The length within the signature is anybody's.
pub(super) fn check(bytes: &[u8]) -> Result<(), ProtocolError> {
    let wrong = |at: usize, is_right: fn(u8) -> bool| {
        let byte = bytes.get(at).copied().filter(|byte| !is_right(*byte))?;
        Some(ProtocolError::Signature { at, byte })
    };
    if let Some(error) = wrong(0, |byte| byte == 0xff).or_else(|| wrong(9, |byte| byte & 1 == 1)) {
        return Err(error);
    }
    if let Some(&major) = bytes.get(VERSION_MAJOR)
        && major < 3
    {
        return Err(ProtocolError::Version { major });
    }
    let Some(mechanism) = bytes.get(MECHANISM) else { return Ok(()) };
    let name = mechanism.split(|byte| *byte == 0).next().unwrap_or_default();
    if name != MECHANISM_NULL {
        return Err(ProtocolError::Mechanism { name: name.escape_ascii().to_string() });
    }
    Ok(())
}
