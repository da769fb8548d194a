//! Which sessions are wanted, which there are, and the difference: what to tell [`crate::Sessions`].

use std::collections::BTreeMap;
use std::num::NonZeroU8;

use crate::io::{Config, Input, SessionId};
use crate::path::Path;
use crate::values::{Diagnostic, Interval, Role};

/// What a session is asked to be; where it runs is the key of [`Wanted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Who speaks first.
    pub role: Role,
    /// How fast to send while up.
    pub desired_min_tx: Interval,
    /// How fast packets can be received.
    pub required_min_rx: Interval,
    /// How many of our packets the peer may miss.
    pub detect_multiplier: NonZeroU8,
    /// The least TTL of a multihop packet that is taken; FRR's `minimum-ttl`.
    pub min_ttl: u8,
    /// Held down by the administrator, and what the peer is told about it.
    pub held_down: Option<Diagnostic>,
}

impl Spec {
    fn config(&self, path: Path) -> Config {
        Config {
            path,
            role: self.role,
            desired_min_tx: self.desired_min_tx,
            required_min_rx: self.required_min_rx,
            detect_multiplier: self.detect_multiplier,
            min_ttl: self.min_ttl,
        }
    }
}

/// All sessions that ought to be. [`crate::Link`] is the index of an interface, or [`crate::Link::ANY`].
pub type Wanted = BTreeMap<Path, Spec>;

/// A session that there is, by our number of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    id: SessionId,
    /// As it was last configured; `None`: it is leaving.
    given: Option<Spec>,
}

/// The sessions by path and by number.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    by_path: BTreeMap<Path, Entry>,
    by_id: BTreeMap<SessionId, Path>,
    next_id: u32,
}

impl Registry {
    /// What makes the sessions as wanted. Doing it twice changes nothing the second time.
    pub fn diff(&mut self, wanted: &Wanted, inputs: &mut Vec<Input>) {
        // Those that leave go first: they make room.
        for (path, entry) in &mut self.by_path {
            if !wanted.contains_key(path) && entry.given.take().is_some() {
                inputs.push(Input::Remove { session: entry.id });
            }
        }
        for (path, spec) in wanted {
            let before = match self.by_path.get(path) {
                Some(entry) if entry.given == Some(*spec) => continue,
                Some(entry) => *entry,
                None => Entry { id: self.new_id(), given: None },
            };
            let session = before.id;
            self.by_path.insert(*path, Entry { id: session, given: Some(*spec) });
            self.by_id.insert(session, *path);
            inputs.push(Input::Configure { session, config: spec.config(*path) });
            let was_held = before.given.and_then(|spec| spec.held_down);
            match spec.held_down {
                Some(diagnostic) if was_held != Some(diagnostic) => {
                    inputs.push(Input::AdminDown { session, diagnostic });
                }
                None if was_held.is_some() => inputs.push(Input::AdminUp { session }),
                Some(_) | None => {}
            }
        }
    }

    /// The session is gone, or never came to be.
    pub fn forget(&mut self, id: SessionId) -> Option<Path> {
        let path = self.by_id.remove(&id)?;
        self.by_path.remove(&path);
        Some(path)
    }

    /// Where a session runs.
    pub fn path(&self, id: SessionId) -> Option<Path> {
        self.by_id.get(&id).copied()
    }

    /// All sessions, those that are leaving included.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.by_path.keys()
    }

    fn new_id(&mut self) -> SessionId {
        // There are far fewer sessions than numbers.
        loop {
            let id = SessionId(self.next_id);
            self.next_id = self.next_id.wrapping_add(1);
            if !self.by_id.contains_key(&id) {
                return id;
            }
        }
    }
}
