//! What two models tell each other: one small datagram that holds a side's whole state, so that losing one loses
//! nothing.
//!
//! ```text
//!  0      4       5      6     7     8        16     24    32    40    44    48              56          60
//!  "SSHA" version state  role  0     session  seen   seq   ack   term  init  synced_session  synced_init
//! ```
//!
//! All numbers are big endian.

use schema::{AsicHaRole, AsicHaState};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 4] = b"SSHA";
const VERSION: u8 = 1;

/// The length of every datagram, bytes.
pub const DATAGRAM_BYTES: usize = 60;

/// One side's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Datagram {
    /// The sender's life. A greater one is a newer one.
    pub(crate) session: u64,
    /// The session of the peer that the sender hears; 0 for none.
    pub(crate) seen: u64,
    /// Rises with each datagram of a session.
    pub(crate) seq: u64,
    /// The greatest `seq` that the sender has heard of the session `seen`.
    pub(crate) ack: u64,
    /// The sender's state.
    pub(crate) state: AsicHaState,
    /// The role that the sender was given.
    pub(crate) role: AsicHaRole,
    /// The sender's flow version.
    pub(crate) term: u32,
    /// Counts the sender's requests for a bulk sync.
    pub(crate) init: u32,
    /// The peer session, and its request, that the sender has brought in sync; 0 for none.
    pub(crate) synced: (u64, u32),
}

/// A datagram that is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("length is not {DATAGRAM_BYTES}")]
    Length,
    #[error("unknown magic or version")]
    Version,
    #[error("unknown state or role, or session 0")]
    Value,
}

impl Datagram {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(DATAGRAM_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, state_number(self.state), role_number(self.role), 0]);
        for number in [self.session, self.seen, self.seq, self.ack] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.term.to_be_bytes());
        bytes.extend_from_slice(&self.init.to_be_bytes());
        bytes.extend_from_slice(&self.synced.0.to_be_bytes());
        bytes.extend_from_slice(&self.synced.1.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let bytes: &[u8; DATAGRAM_BYTES] = bytes.try_into().map_err(|_| WireError::Length)?;
        let [m0, m1, m2, m3, version, state, role, ..] = *bytes;
        if [m0, m1, m2, m3] != *MAGIC || version != VERSION {
            return Err(WireError::Version);
        }
        let u64_at = |at: usize| bytes.iter().skip(at).take(8).fold(0, |n, byte| n << 8 | u64::from(*byte));
        let u32_at = |at: usize| bytes.iter().skip(at).take(4).fold(0, |n, byte| n << 8 | u32::from(*byte));
        let session = u64_at(8);
        let state = state_of(state).ok_or(WireError::Value)?;
        let role = role_of(role).ok_or(WireError::Value)?;
        if session == 0 {
            return Err(WireError::Value);
        }
        Ok(Self {
            session,
            seen: u64_at(16),
            seq: u64_at(24),
            ack: u64_at(32),
            state,
            role,
            term: u32_at(40),
            init: u32_at(44),
            synced: (u64_at(48), u32_at(56)),
        })
    }
}

/// `SAI_DASH_HA_STATE_*` (`reference/dpu-side.md` 5.2).
const fn state_number(state: AsicHaState) -> u8 {
    match state {
        AsicHaState::Dead => 0,
        AsicHaState::Connecting => 1,
        AsicHaState::Connected => 2,
        AsicHaState::InitializingToActive => 3,
        AsicHaState::InitializingToStandby => 4,
        AsicHaState::PendingStandaloneActivation => 5,
        AsicHaState::PendingActiveActivation => 6,
        AsicHaState::PendingStandbyActivation => 7,
        AsicHaState::Standalone => 8,
        AsicHaState::Active => 9,
        AsicHaState::Standby => 10,
        AsicHaState::Destroying => 11,
        AsicHaState::SwitchingToStandalone => 12,
    }
}

/// `SAI_DASH_HA_ROLE_*` (`reference/dpu-side.md` 5.1).
const fn role_number(role: AsicHaRole) -> u8 {
    match role {
        AsicHaRole::Dead => 0,
        AsicHaRole::Active => 1,
        AsicHaRole::Standby => 2,
        AsicHaRole::Standalone => 3,
        AsicHaRole::SwitchingToActive => 4,
    }
}

fn state_of(number: u8) -> Option<AsicHaState> {
    AsicHaState::ALL.iter().copied().find(|state| state_number(*state) == number)
}

fn role_of(number: u8) -> Option<AsicHaRole> {
    AsicHaRole::ALL.iter().copied().find(|role| role_number(*role) == number)
}
