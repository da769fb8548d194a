//! Which sessions are wanted, which there are, and the difference: what to tell `core/bfd`.

use std::collections::BTreeMap;

use bfd::{Input, Path, SessionId};

use crate::spec::{Spec, Wanted};

/// A session that `core/bfd` has, by our number of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    id: SessionId,
    /// As it was last configured; `None`: it is leaving.
    given: Option<Spec>,
}

/// The sessions by path and by number.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    by_path: BTreeMap<Path, Entry>,
    by_id: BTreeMap<SessionId, Path>,
    next_id: u32,
}

impl Registry {
    /// What makes the sessions as wanted. Doing it twice changes nothing the second time.
    pub(crate) fn diff(&mut self, wanted: &Wanted, inputs: &mut Vec<Input>) {
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
    pub(crate) fn forget(&mut self, id: SessionId) -> Option<Path> {
        let path = self.by_id.remove(&id)?;
        self.by_path.remove(&path);
        Some(path)
    }

    pub(crate) fn path(&self, id: SessionId) -> Option<Path> {
        self.by_id.get(&id).copied()
    }

    /// All sessions, those that are leaving included.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
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
