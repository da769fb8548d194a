//! What goes into [`crate::Sessions`] and what comes out.

use std::net::IpAddr;
use std::num::NonZeroU8;

use reconcile::Time;
use serde::{Deserialize, Serialize};

use crate::counters::DropReason;
use crate::packet::{DecodeError, Decoded, Packet, decode};
use crate::path::{Hops, Link, Path};
use crate::values::{Diagnostic, Interval, Role, State};

/// A session's name, given by whoever configures it. On the wire it has a [`crate::Discriminator`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u32);

/// What a session is asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Where it runs.
    pub path: Path,
    /// Who speaks first.
    pub role: Role,
    /// How fast we would like to send while up (bfd.DesiredMinTxInterval).
    pub desired_min_tx: Interval,
    /// How fast we can receive (bfd.RequiredMinRxInterval).
    pub required_min_rx: Interval,
    /// How many of our packets the peer may miss (bfd.DetectMult).
    pub detect_multiplier: NonZeroU8,
    /// The least TTL of a multihop packet that is taken. SONiC asks for 1 (`reference/dpu-side.md` 2.3).
    pub min_ttl: u8,
}

/// A datagram that came to one of BFD's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// When it reached this host: the kernel's timestamp where there is one, else when it was read. A packet that
    /// waited in a socket while the process was starved is thereby not taken for a silence of the peer. Counts as
    /// `now` if later than that.
    pub at: Time,
    /// Where it came from and to; exact, nothing unspecified.
    pub path: Path,
    /// TTL or hop limit.
    pub ttl: u8,
    /// What it says.
    pub content: Result<Decoded, DecodeError>,
}

impl Arrival {
    /// Reads the payload of a datagram that came to the port of `hops`.
    pub fn read(at: Time, from: IpAddr, to: IpAddr, link: Link, hops: Hops, ttl: u8, payload: &[u8]) -> Self {
        let path = Path { peer: from, local: to, link, hops };
        Self { at, path, ttl, content: decode(payload) }
    }
}

/// What can happen to the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A datagram arrived.
    Received(Arrival),
    /// A session is wanted so: it is created, or its parameters change. The same again changes nothing. Another path
    /// makes it another session. It does not end [`Input::AdminDown`].
    Configure {
        /// Which.
        session: SessionId,
        /// What is wanted.
        config: Config,
    },
    /// A session is to be held down, and the peer told why: [`Diagnostic::ADMINISTRATIVELY_DOWN`], or
    /// [`Diagnostic::PATH_DOWN`] and its kin for what was learned outside of BFD.
    AdminDown {
        /// Which.
        session: SessionId,
        /// Why.
        diagnostic: Diagnostic,
    },
    /// A session is no longer to be held down.
    AdminUp {
        /// Which.
        session: SessionId,
    },
    /// A session is no longer wanted. The peer, if there is one, is told AdminDown until it has answered or for as long as
    /// it needs to notice by itself; [`Note::Removed`] says when the session is gone.
    Remove {
        /// Which.
        session: SessionId,
    },
}

/// Why a session changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The peer was not heard for its Detection Time.
    DetectionTimeExpired,
    /// The peer said so.
    PeerIs {
        /// The peer's state.
        state: State,
        /// Why the peer's session last changed.
        diagnostic: Diagnostic,
    },
    /// [`Input::AdminDown`].
    AdminDown,
    /// [`Input::AdminUp`], or a removed session that is wanted again.
    AdminUp,
    /// [`Input::Remove`], or another path in [`Input::Configure`].
    Removed,
}

/// What the sessions ask for, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Send a packet: UDP to [`Hops::port`], TTL [`crate::TTL`], a source port of [`crate::SOURCE_PORTS`] that the session
    /// keeps. Twice is what the network itself may do. A packet that cannot be sent is lost, and not tried again.
    Send {
        /// Whose.
        session: SessionId,
        /// From where to where; an unspecified local address is the host's choice.
        path: Path,
        /// The packet.
        packet: Packet,
    },
    /// A session changed its state.
    StateChanged {
        /// Which.
        session: SessionId,
        /// The state before.
        from: State,
        /// The state now.
        to: State,
        /// The diagnostic that our packets carry from now on.
        diagnostic: Diagnostic,
        /// Why.
        cause: Cause,
    },
    /// Something for the log.
    Note(Note),
}

/// Something for the log. Bounded: at most one per input or deadline, drops only as their number doubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// The timers of a session that is up are others now.
    Negotiated {
        /// Which.
        session: SessionId,
        /// What is in force.
        timing: Timing,
    },
    /// The peer asked us to be silent while both are up (RFC 5880 6.6), or takes that back.
    PeerDemand {
        /// Which.
        session: SessionId,
        /// Whether we are to be silent.
        silent: bool,
    },
    /// Packets are dropped; said for the 1st, 2nd, 4th, 8th… of a reason.
    Dropped {
        /// Whose they were, if that is known; the count is of that session, or of those of no session.
        session: Option<SessionId>,
        /// Who sent the last one.
        peer: IpAddr,
        /// Why.
        reason: DropReason,
        /// How many so far.
        count: u64,
    },
    /// An input asked for something that cannot be.
    Refused {
        /// Which session it named.
        session: SessionId,
        /// Why.
        refusal: Refusal,
    },
    /// A removed session is gone; nothing of it follows.
    Removed {
        /// Which.
        session: SessionId,
    },
}

/// The timers in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// What we send at, before jitter, us; `None` while nothing is sent periodically.
    pub transmit_us: Option<u32>,
    /// How long the peer may be silent, us; `None` while the peer is not known.
    pub detection_us: Option<u64>,
}

/// Why an input was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// There is no such session.
    Unknown,
    /// Another session runs on that path.
    PathTaken {
        /// That session.
        by: SessionId,
    },
    /// Our address and the peer's are of different families.
    MixedFamilies,
    /// The peer's address is unspecified or multicast.
    BadPeer,
    /// There are [`crate::SESSIONS_MAX`] sessions.
    TooMany,
}
