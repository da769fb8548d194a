//! The BFD Control packet (RFC 5880 4.1): bytes to values and back, no panic for any bytes.
//!
//! [`decode`] makes every check of RFC 5880 6.8.6 that needs no session. What it returns cannot hold a value that
//! those checks refuse. This module must never know sessions, addresses or time.

use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::auth::{AuthError, AuthSection};
use crate::values::{Diagnostic, Discriminator, State};

/// The protocol's version (RFC 5880 4.1: "This document defines protocol version 1").
pub const VERSION: u8 = 1;

/// Bytes of the mandatory section; every packet that we send has this length.
pub const PACKET_BYTES: usize = 24;

/// The least Length of a packet with an authentication section: its type and length come on top.
const AUTHENTICATED_BYTES_MIN: u8 = 26;

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
const AUTHENTICATION_PRESENT: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// The Poll and Final bits.
///
/// RFC 5880 6.5: "A BFD Control packet MUST NOT have both the Poll (P) and Final (F) bits set."
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handshake {
    /// Neither bit.
    #[default]
    None,
    /// P: the receiver is to answer with F.
    Poll,
    /// F: the answer to P.
    Final,
}

/// The mandatory section of a packet (RFC 5880 4.1), and so all of a packet that we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// Diag: why the sender's session last changed.
    pub diagnostic: Diagnostic,
    /// Sta: the sender's state.
    pub state: State,
    /// P and F.
    pub handshake: Handshake,
    /// C: whether the sender's BFD survives its control plane.
    pub control_plane_independent: bool,
    /// D: whether the sender asks us to be silent while both are up. We never ask.
    pub demand: bool,
    /// Detect Mult.
    pub detect_multiplier: NonZeroU8,
    /// My Discriminator: the sender's.
    pub my_discriminator: Discriminator,
    /// Your Discriminator: the receiver's, as far as the sender knows it.
    pub your_discriminator: Option<Discriminator>,
    /// Desired Min TX Interval, us: the sender would like to send no faster.
    pub desired_min_tx_us: u32,
    /// Required Min RX Interval, us: the sender can receive no faster; 0: wants no periodic packets.
    pub required_min_rx_us: u32,
    /// Required Min Echo RX Interval, us; 0: no echo.
    pub required_min_echo_rx_us: u32,
}

/// A packet as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decoded {
    /// The mandatory section.
    pub packet: Packet,
    /// The authentication section, if the A bit was set.
    pub auth: Option<AuthSection>,
}

/// Why bytes are no packet: the checks of RFC 5880 6.8.6 in their order, up to the first that needs a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum DecodeError {
    /// The payload has no room for the mandatory section.
    #[error("payload of {0} bytes is shorter than the {PACKET_BYTES} bytes of a packet")]
    TooShort(usize),
    /// "If the version number is not correct (1), the packet MUST be discarded."
    #[error("version {0} is not {VERSION}")]
    Version(u8),
    /// "If the Length field is less than the minimum correct value (24 if the A bit is clear, or 26 if the A bit
    /// is set), the packet MUST be discarded."
    #[error("length field {0} is below the minimum")]
    LengthTooSmall(u8),
    /// "If the Length field is greater than the payload of the encapsulating protocol, the packet MUST be
    /// discarded."
    #[error("length field {length} is greater than the payload of {payload} bytes")]
    LengthBeyondPayload {
        /// The Length field.
        length: u8,
        /// The payload, bytes.
        payload: usize,
    },
    /// "If the Detect Mult field is zero, the packet MUST be discarded."
    #[error("detect multiplier is zero")]
    DetectMultiplierZero,
    /// "If the Multipoint (M) bit is nonzero, the packet MUST be discarded."
    #[error("multipoint bit is set")]
    Multipoint,
    /// "If the My Discriminator field is zero, the packet MUST be discarded."
    #[error("my discriminator is zero")]
    MyDiscriminatorZero,
    /// Against RFC 5880 6.5.
    #[error("poll and final bits are both set")]
    PollAndFinal,
    /// The A bit promises a section that is none.
    #[error("bad authentication section")]
    Auth(#[source] AuthError),
}

/// Reads the payload of a UDP datagram. Bytes beyond the Length field are not looked at.
pub fn decode(payload: &[u8]) -> Result<Decoded, DecodeError> {
    let Some((header, _)) = payload.split_first_chunk::<PACKET_BYTES>() else {
        return Err(DecodeError::TooShort(payload.len()));
    };
    #[rustfmt::skip]
    let [
        version_diag, flags, multiplier, length,
        m0, m1, m2, m3, y0, y1, y2, y3,
        t0, t1, t2, t3, r0, r1, r2, r3, e0, e1, e2, e3,
    ] = *header;

    let version = version_diag >> 5;
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    let authenticated = flags & AUTHENTICATION_PRESENT != 0;
    let length_min = if authenticated { AUTHENTICATED_BYTES_MIN } else { PACKET_BYTES as u8 };
    if length < length_min {
        return Err(DecodeError::LengthTooSmall(length));
    }
    let Some(body) = payload.get(PACKET_BYTES..usize::from(length)) else {
        return Err(DecodeError::LengthBeyondPayload { length, payload: payload.len() });
    };
    let detect_multiplier = NonZeroU8::new(multiplier).ok_or(DecodeError::DetectMultiplierZero)?;
    if flags & MULTIPOINT != 0 {
        return Err(DecodeError::Multipoint);
    }
    let my_discriminator = Discriminator::new(u32::from_be_bytes([m0, m1, m2, m3]));
    let my_discriminator = my_discriminator.ok_or(DecodeError::MyDiscriminatorZero)?;
    let handshake = match (flags & POLL != 0, flags & FINAL != 0) {
        (false, false) => Handshake::None,
        (true, false) => Handshake::Poll,
        (false, true) => Handshake::Final,
        (true, true) => return Err(DecodeError::PollAndFinal),
    };
    let auth = if authenticated { Some(AuthSection::decode(body).map_err(DecodeError::Auth)?) } else { None };

    let packet = Packet {
        diagnostic: Diagnostic::from_code(version_diag),
        state: State::from_code(flags >> 6),
        handshake,
        control_plane_independent: flags & CONTROL_PLANE_INDEPENDENT != 0,
        demand: flags & DEMAND != 0,
        detect_multiplier,
        my_discriminator,
        your_discriminator: Discriminator::new(u32::from_be_bytes([y0, y1, y2, y3])),
        desired_min_tx_us: u32::from_be_bytes([t0, t1, t2, t3]),
        required_min_rx_us: u32::from_be_bytes([r0, r1, r2, r3]),
        required_min_echo_rx_us: u32::from_be_bytes([e0, e1, e2, e3]),
    };
    Ok(Decoded { packet, auth })
}

impl Packet {
    /// The bytes to send. The A and M bits are always clear.
    pub fn encode(&self) -> [u8; PACKET_BYTES] {
        let mut flags = self.state.code() << 6;
        flags |= match self.handshake {
            Handshake::None => 0,
            Handshake::Poll => POLL,
            Handshake::Final => FINAL,
        };
        if self.control_plane_independent {
            flags |= CONTROL_PLANE_INDEPENDENT;
        }
        if self.demand {
            flags |= DEMAND;
        }
        let [m0, m1, m2, m3] = self.my_discriminator.get().to_be_bytes();
        let [y0, y1, y2, y3] = self.your_discriminator.map_or(0, Discriminator::get).to_be_bytes();
        let [t0, t1, t2, t3] = self.desired_min_tx_us.to_be_bytes();
        let [r0, r1, r2, r3] = self.required_min_rx_us.to_be_bytes();
        let [e0, e1, e2, e3] = self.required_min_echo_rx_us.to_be_bytes();
        #[rustfmt::skip]
        let bytes = [
            VERSION << 5 | self.diagnostic.code(), flags, self.detect_multiplier.get(), PACKET_BYTES as u8,
            m0, m1, m2, m3, y0, y1, y2, y3,
            t0, t1, t2, t3, r0, r1, r2, r3, e0, e1, e2, e3,
        ];
        bytes
    }
}
