//! The values of RFC 5880 4.1 that a packet and a session share. None can hold a value that the RFC forbids.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The shortest interval that can be configured, ms. Whole milliseconds leave no room for jitter below it;
/// FRR's `bfdd` has the same floor.
pub const INTERVAL_MS_MIN: u32 = 10;

/// The longest interval that can be configured, ms: what fits 32 bits of microseconds.
pub const INTERVAL_MS_MAX: u32 = u32::MAX / 1000;

/// The state of a session (RFC 5880 4.1, Sta).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// Held down by its administrator; says nothing about the path.
    AdminDown,
    /// Does not hear the peer, or has just been told that the peer does not hear us.
    Down,
    /// Hears the peer, and does not know yet whether the peer hears us.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    /// All states, in the order of their codes.
    pub const ALL: [State; 4] = [State::AdminDown, State::Down, State::Init, State::Up];

    /// The two bits of the wire; higher bits are ignored.
    pub fn from_code(code: u8) -> Self {
        match code & 0b11 {
            0 => State::AdminDown,
            1 => State::Down,
            2 => State::Init,
            _ => State::Up,
        }
    }

    /// The code on the wire, 0 to 3.
    pub fn code(self) -> u8 {
        match self {
            State::AdminDown => 0,
            State::Down => 1,
            State::Init => 2,
            State::Up => 3,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::AdminDown => "AdminDown",
            State::Down => "Down",
            State::Init => "Init",
            State::Up => "Up",
        })
    }
}

/// Why a session last changed its state (RFC 5880 4.1, Diag): five bits, codes from 9 on are reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Diagnostic(u8);

/// A diagnostic code of more than five bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("diagnostic code {0} does not fit five bits")]
pub struct DiagnosticTooLarge(u8);

impl Diagnostic {
    /// No Diagnostic.
    pub const NONE: Self = Self(0);
    /// Control Detection Time Expired.
    pub const CONTROL_DETECTION_TIME_EXPIRED: Self = Self(1);
    /// Echo Function Failed.
    pub const ECHO_FUNCTION_FAILED: Self = Self(2);
    /// Neighbor Signaled Session Down.
    pub const NEIGHBOR_SIGNALED_SESSION_DOWN: Self = Self(3);
    /// Forwarding Plane Reset.
    pub const FORWARDING_PLANE_RESET: Self = Self(4);
    /// Path Down.
    pub const PATH_DOWN: Self = Self(5);
    /// Concatenated Path Down.
    pub const CONCATENATED_PATH_DOWN: Self = Self(6);
    /// Administratively Down.
    pub const ADMINISTRATIVELY_DOWN: Self = Self(7);
    /// Reverse Concatenated Path Down.
    pub const REVERSE_CONCATENATED_PATH_DOWN: Self = Self(8);

    /// The low five bits of `bits`.
    pub fn from_code(bits: u8) -> Self {
        Self(bits & 0x1f)
    }

    /// The code on the wire, 0 to 31.
    pub fn code(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Diagnostic {
    type Error = DiagnosticTooLarge;

    fn try_from(code: u8) -> Result<Self, DiagnosticTooLarge> {
        if code <= 0x1f { Ok(Self(code)) } else { Err(DiagnosticTooLarge(code)) }
    }
}

impl From<Diagnostic> for u8 {
    fn from(diagnostic: Diagnostic) -> u8 {
        diagnostic.0
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "No Diagnostic",
            1 => "Control Detection Time Expired",
            2 => "Echo Function Failed",
            3 => "Neighbor Signaled Session Down",
            4 => "Forwarding Plane Reset",
            5 => "Path Down",
            6 => "Concatenated Path Down",
            7 => "Administratively Down",
            8 => "Reverse Concatenated Path Down",
            reserved => return write!(f, "reserved ({reserved})"),
        })
    }
}

/// A session's name in one system; never zero (RFC 5880 4.1: "A unique, nonzero discriminator value").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Discriminator(pub NonZeroU32);

impl Discriminator {
    /// `None` for zero, which on the wire means "not known yet".
    pub fn new(value: u32) -> Option<Self> {
        NonZeroU32::new(value).map(Self)
    }

    /// The value on the wire.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Discriminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// A configured interval: whole milliseconds, [`INTERVAL_MS_MIN`] to [`INTERVAL_MS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Interval {
    ms: u32,
}

/// An interval that cannot be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("interval of {0} ms is not between {INTERVAL_MS_MIN} and {INTERVAL_MS_MAX} ms")]
pub struct IntervalOutOfRange(u32);

impl Interval {
    /// An interval of `ms` milliseconds; fails outside of the range.
    pub fn from_ms(ms: u32) -> Result<Self, IntervalOutOfRange> {
        if (INTERVAL_MS_MIN..=INTERVAL_MS_MAX).contains(&ms) {
            Ok(Self { ms })
        } else {
            Err(IntervalOutOfRange(ms))
        }
    }

    /// In milliseconds.
    pub fn ms(self) -> u32 {
        self.ms
    }

    /// In microseconds, as on the wire.
    pub fn us(self) -> u32 {
        self.ms.saturating_mul(1000)
    }
}

impl TryFrom<u32> for Interval {
    type Error = IntervalOutOfRange;

    fn try_from(ms: u32) -> Result<Self, IntervalOutOfRange> {
        Self::from_ms(ms)
    }
}

impl From<Interval> for u32 {
    fn from(interval: Interval) -> u32 {
        interval.ms
    }
}

/// Who speaks first (RFC 5880 6.1). Both may be active; at least one must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Sends whether or not the peer was heard.
    Active,
    /// Sends only while it knows the peer's discriminator.
    Passive,
}

/// A `type` of SONiC's `BFD_SESSION_TABLE` that cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RoleError {
    /// Demand mode is not for us: nothing would watch the path between polls.
    #[error("demand mode is not supported: type {0:?}")]
    Demand(String),
    /// Not a word of the table.
    #[error("unknown type {0:?}")]
    Unknown(String),
}

impl FromStr for Role {
    type Err = RoleError;

    /// Reads a `type` (`reference/dpu-side.md` 2.1; `passive` is hamgrd's word).
    fn from_str(text: &str) -> Result<Self, RoleError> {
        match text {
            "async_active" => Ok(Role::Active),
            "async_passive" | "passive" => Ok(Role::Passive),
            "demand_active" | "demand_passive" => Err(RoleError::Demand(text.to_owned())),
            other => Err(RoleError::Unknown(other.to_owned())),
        }
    }
}
