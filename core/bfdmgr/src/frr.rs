//! What to say to FRR's `bfdd`, given what it says: BfdMgr's commands (`reference/dpu-side.md` 2.3), derived anew from
//! `show bfd peers json` each time.
//!
//! A session that is to go is shut down first, so that its peer hears AdminDown (`no peer` alone sends nothing), and removed
//! once `bfdd` shows it as shut down.

use std::collections::BTreeSet;
use std::net::IpAddr;

use bfd::Role;
use schema::dpu_appl_db::BfdKey;
use serde::Deserialize;
use thiserror::Error;

use crate::io::Peer;
use crate::session::{Session, Sessions};

/// What shows the peers.
pub const SHOW: [&str; 2] = ["-c", "show bfd peers json"];

/// The word for no VRF and no interface.
const DEFAULT: &str = "default";

/// A peer's session as `bfdd` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrrPeer {
    /// VRF, interface, peer.
    pub key: BfdKey,
    /// Over many hops.
    pub multihop: bool,
    /// Our address, if configured.
    pub local: Option<IpAddr>,
    /// Whether it waits for the peer to speak first.
    pub passive: bool,
    /// `minimum-ttl`, of multihop sessions.
    pub minimum_ttl: Option<u32>,
    /// `transmit-interval`, ms.
    pub transmit_ms: u32,
    /// `receive-interval`, ms.
    pub receive_ms: u32,
    /// `detect-multiplier`.
    pub detect_multiplier: u32,
    /// `status`.
    pub status: Status,
}

/// A session's state as `bfdd` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Up.
    Up,
    /// Init.
    Init,
    /// AdminDown.
    Shutdown,
    /// Down, and all else.
    #[serde(other)]
    Down,
}

impl FrrPeer {
    /// Whether it is ours to remove: we have added it (`ours`), or it is passive. Nobody else in SONiC makes those, so they
    /// were left by an earlier process.
    fn is_ours(&self, ours: &BTreeSet<BfdKey>) -> bool {
        self.passive || ours.contains(&self.key)
    }

    /// What the manager is told of it.
    pub fn report(&self, ours: &BTreeSet<BfdKey>) -> Peer {
        let is_open = match self.status {
            Status::Up | Status::Init | Status::Down => self.is_ours(ours),
            Status::Shutdown => false,
        };
        Peer { key: self.key.clone(), is_up: self.status == Status::Up, is_open }
    }
}

/// What `bfdd` answered is not what it should be.
#[derive(Debug, Error)]
#[error("show bfd peers json: {0}")]
pub struct BadAnswer(#[from] serde_json::Error);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    #[serde(default)]
    multihop: bool,
    peer: IpAddr,
    local: Option<IpAddr>,
    #[serde(default = "default_name")]
    vrf: String,
    #[serde(default = "default_name")]
    interface: String,
    #[serde(default)]
    passive_mode: bool,
    minimum_ttl: Option<u32>,
    status: Status,
    #[serde(default)]
    receive_interval: u32,
    #[serde(default)]
    transmit_interval: u32,
    #[serde(default)]
    detect_multiplier: u32,
}

fn default_name() -> String {
    DEFAULT.to_owned()
}

/// Reads the answer to [`SHOW`].
///
/// # Errors
/// It is not JSON of that shape.
pub fn parse(json: &str) -> Result<Vec<FrrPeer>, BadAnswer> {
    let shown: Vec<Shown> = serde_json::from_str(json)?;
    let peer = |shown: Shown| FrrPeer {
        key: BfdKey { vrf: shown.vrf, interface: shown.interface, peer: shown.peer },
        multihop: shown.multihop,
        local: shown.local,
        passive: shown.passive_mode,
        minimum_ttl: shown.minimum_ttl,
        transmit_ms: shown.transmit_interval,
        receive_ms: shown.receive_interval,
        detect_multiplier: shown.detect_multiplier,
        status: shown.status,
    };
    Ok(shown.into_iter().map(peer).collect())
}

/// The arguments of one call of `vtysh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command(pub Vec<String>);

impl Command {
    fn new() -> Self {
        Self(Vec::new()).say("conf t").say("bfd")
    }

    fn say(mut self, words: impl Into<String>) -> Self {
        self.0.extend(["-c".to_owned(), words.into()]);
        self
    }
}

/// The calls that bring `bfdd` closer to what is wanted; none if it is there. What they did shows in its next answer.
/// Sessions of others stay; `ours` is what we have added.
pub fn commands(wanted: &Sessions, shown: &[FrrPeer], ours: &BTreeSet<BfdKey>) -> Vec<Command> {
    let mut calls = Vec::new();
    let leaves = |peer: &&FrrPeer| match wanted.get(&peer.key) {
        Some(session) => !is_same_session(session, peer),
        None => peer.is_ours(ours),
    };
    let leaving: Vec<&FrrPeer> = shown.iter().filter(leaves).collect();
    // One call for all of them: traffic waits for it.
    let open: Vec<&&FrrPeer> = leaving.iter().filter(|peer| peer.status != Status::Shutdown).collect();
    if !open.is_empty() {
        let shut = |command: Command, peer: &&&FrrPeer| {
            command.say(name(&peer.key, peer.multihop, peer.local)).say("shutdown").say("exit")
        };
        calls.push(open.iter().fold(Command::new(), shut));
    }
    for peer in leaving.iter().filter(|peer| peer.status == Status::Shutdown) {
        calls.push(Command::new().say(format!("no {}", name(&peer.key, peer.multihop, peer.local))));
    }
    for (key, session) in wanted {
        let present = shown.iter().find(|peer| peer.key == *key);
        match present {
            // It has to go first.
            Some(peer) if !is_same_session(session, peer) => {}
            Some(peer) if is_as_wanted(session, peer) => {}
            Some(peer) => calls.push(set(key, session, peer.status == Status::Shutdown)),
            None => calls.push(set(key, session, false)),
        }
    }
    calls
}

/// BfdMgr's add, which is also its update.
fn set(key: &BfdKey, session: &Session, is_shut: bool) -> Command {
    let mut command = Command::new()
        .say(name(key, session.multihop, session.local))
        .say(format!("detect-multiplier {}", session.detect_multiplier))
        .say(format!("receive-interval {}", session.receive.ms()))
        .say(format!("transmit-interval {}", session.transmit.ms()));
    if session.multihop {
        command = command.say(format!("minimum-ttl {}", session.min_ttl));
    }
    command = command.say(match session.role {
        Role::Passive => "passive-mode",
        Role::Active => "no passive-mode",
    });
    match (session.shutdown, is_shut) {
        (true, false) => command.say("shutdown"),
        (false, true) => command.say("no shutdown"),
        (true, true) | (false, false) => command,
    }
}

fn name(key: &BfdKey, multihop: bool, local: Option<IpAddr>) -> String {
    let BfdKey { vrf, interface, peer } = key;
    let mut name = format!("peer {peer} ");
    if multihop {
        name += "multihop ";
    }
    if let Some(local) = local {
        name += &format!("local-address {local} ");
    }
    if interface != DEFAULT {
        name += &format!("interface {interface} ");
    }
    name + &format!("vrf {vrf}")
}

/// What cannot be changed in place is the same.
fn is_same_session(session: &Session, peer: &FrrPeer) -> bool {
    (session.multihop, session.local) == (peer.multihop, peer.local)
}

fn is_as_wanted(session: &Session, peer: &FrrPeer) -> bool {
    let timers = (session.transmit.ms(), session.receive.ms(), u32::from(session.detect_multiplier.get()));
    let has_ttl = !session.multihop || peer.minimum_ttl == Some(u32::from(session.min_ttl));
    timers == (peer.transmit_ms, peer.receive_ms, peer.detect_multiplier)
        && has_ttl
        && (session.role == Role::Passive) == peer.passive
        && session.shutdown == (peer.status == Status::Shutdown)
}
