//! The state machine of RFC 5880 6.8.6 and nothing else: two states in, one step out.

use crate::values::{Diagnostic, State};

/// What a received state does to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The session takes no packets now: the rest of the packet is not looked at.
    Discard,
    /// The state stays; why it may.
    Stay(&'static str),
    /// The session enters a state, with the diagnostic that says why; `None` leaves the last one, so that the peer
    /// can still learn why the previous session failed.
    Enter(State, Option<Diagnostic>),
}

/// The step of a session in `local` when a packet says that its sender is in `received`.
///
#[doc = include_str!("machine.md")]
///
/// (3) is the diagnostic Neighbor Signaled Session Down. The table is checked against the code.
pub fn step(local: State, received: State) -> Step {
    let signaled_down = Step::Enter(State::Down, Some(Diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN));
    let up = Step::Enter(State::Up, Some(Diagnostic::NONE));
    match (local, received) {
        // "If bfd.SessionState is AdminDown, discard the packet"
        (State::AdminDown, State::AdminDown | State::Down | State::Init | State::Up) => Step::Discard,

        // "If received state is AdminDown: If bfd.SessionState is not Down: Set bfd.LocalDiag to 3 (Neighbor
        // signaled session down), Set bfd.SessionState to Down"
        (State::Down, State::AdminDown) => Step::Stay("the peer is held down by its administrator"),
        (State::Init | State::Up, State::AdminDown) => signaled_down,

        // "If bfd.SessionState is Down: If received State is Down, set bfd.SessionState to Init; Else if received
        // State is Init, set bfd.SessionState to Up"
        (State::Down, State::Down) => Step::Enter(State::Init, None),
        (State::Down, State::Init) => up,
        (State::Down, State::Up) => Step::Stay("the peer has yet to learn that this session fell"),

        // "Else if bfd.SessionState is Init: If received State is Init or Up, set bfd.SessionState to Up"
        (State::Init, State::Down) => Step::Stay("the peer has yet to hear this session"),
        (State::Init, State::Init | State::Up) => up,

        // "Else (bfd.SessionState is Up): If received State is Down: Set bfd.LocalDiag to 3 (Neighbor signaled
        // session down), Set bfd.SessionState to Down"
        (State::Up, State::Down) => signaled_down,
        (State::Up, State::Init) => Step::Stay("the peer has yet to learn that this session is up"),
        (State::Up, State::Up) => Step::Stay("both are up"),
    }
}
