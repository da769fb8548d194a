//! What is counted.

use std::collections::BTreeMap;

use reconcile::as_pairs;
use serde::{Deserialize, Serialize};

use crate::packet::DecodeError;

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DropReason {
    /// [`DecodeError::TooShort`].
    TooShort,
    /// [`DecodeError::Version`].
    Version,
    /// [`DecodeError::LengthTooSmall`].
    LengthTooSmall,
    /// [`DecodeError::LengthBeyondPayload`].
    LengthBeyondPayload,
    /// [`DecodeError::DetectMultiplierZero`].
    DetectMultiplierZero,
    /// [`DecodeError::Multipoint`].
    Multipoint,
    /// [`DecodeError::MyDiscriminatorZero`].
    MyDiscriminatorZero,
    /// [`DecodeError::PollAndFinal`].
    PollAndFinal,
    /// [`DecodeError::Auth`].
    AuthMalformed,
    /// It names a discriminator that no session has.
    UnknownDiscriminator,
    /// It names no discriminator, and no session runs on its path.
    NoSession,
    /// It names no discriminator, in a state in which its sender must know it.
    DiscriminatorMissing,
    /// It came to the port of the other kind of session.
    WrongPort,
    /// It came from too far away.
    Ttl,
    /// It is authenticated, and the session is not.
    AuthNotInUse,
    /// The session is held down by its administrator. Its timers were still learned.
    AdminDown,
}

impl DropReason {
    /// All reasons, in their order.
    pub const ALL: [DropReason; 16] = [
        DropReason::TooShort,
        DropReason::Version,
        DropReason::LengthTooSmall,
        DropReason::LengthBeyondPayload,
        DropReason::DetectMultiplierZero,
        DropReason::Multipoint,
        DropReason::MyDiscriminatorZero,
        DropReason::PollAndFinal,
        DropReason::AuthMalformed,
        DropReason::UnknownDiscriminator,
        DropReason::NoSession,
        DropReason::DiscriminatorMissing,
        DropReason::WrongPort,
        DropReason::Ttl,
        DropReason::AuthNotInUse,
        DropReason::AdminDown,
    ];

    /// The reason's name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::TooShort => "too_short",
            DropReason::Version => "version",
            DropReason::LengthTooSmall => "length_too_small",
            DropReason::LengthBeyondPayload => "length_beyond_payload",
            DropReason::DetectMultiplierZero => "detect_multiplier_zero",
            DropReason::Multipoint => "multipoint",
            DropReason::MyDiscriminatorZero => "my_discriminator_zero",
            DropReason::PollAndFinal => "poll_and_final",
            DropReason::AuthMalformed => "auth_malformed",
            DropReason::UnknownDiscriminator => "unknown_discriminator",
            DropReason::NoSession => "no_session",
            DropReason::DiscriminatorMissing => "discriminator_missing",
            DropReason::WrongPort => "wrong_port",
            DropReason::Ttl => "ttl",
            DropReason::AuthNotInUse => "auth_not_in_use",
            DropReason::AdminDown => "admin_down",
        }
    }
}

impl From<DecodeError> for DropReason {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooShort(_) => DropReason::TooShort,
            DecodeError::Version(_) => DropReason::Version,
            DecodeError::LengthTooSmall(_) => DropReason::LengthTooSmall,
            DecodeError::LengthBeyondPayload { .. } => DropReason::LengthBeyondPayload,
            DecodeError::DetectMultiplierZero => DropReason::DetectMultiplierZero,
            DecodeError::Multipoint => DropReason::Multipoint,
            DecodeError::MyDiscriminatorZero => DropReason::MyDiscriminatorZero,
            DecodeError::PollAndFinal => DropReason::PollAndFinal,
            DecodeError::Auth(_) => DropReason::AuthMalformed,
        }
    }
}

/// Dropped packets by reason. Takes no memory beyond itself until one is dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Drops {
    #[serde(with = "as_pairs")]
    by_reason: BTreeMap<DropReason, u64>,
}

impl Drops {
    /// How many were dropped for that reason.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.by_reason.get(&reason).copied().unwrap_or(0)
    }

    /// Reasons that occurred, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> {
        self.by_reason.iter().map(|(reason, count)| (*reason, *count))
    }

    /// How many were dropped.
    pub fn total(&self) -> u64 {
        self.by_reason.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Counts one more, and says how many there are of its reason.
    pub(crate) fn count(&mut self, reason: DropReason) -> u64 {
        let count = self.by_reason.entry(reason).or_default();
        *count = count.saturating_add(1);
        *count
    }
}

/// What a session counts, since it was created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Packets sent.
    pub sent: u64,
    /// Packets received and not dropped.
    pub received: u64,
    /// Times it came up.
    pub ups: u64,
    /// Times it left the state Up.
    pub downs: u64,
    /// Times the peer fell silent, up or not.
    pub expirations: u64,
    /// Packets dropped once they were known to be this session's.
    pub drops: Drops,
}
