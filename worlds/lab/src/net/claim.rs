//! The number of a lab that has namespaces: it is part of their names, and a lock says whether its lab still runs.
//!
//! The kernel frees the lock with the process, however that ends. So whoever can take the lock of a number may remove every
//! namespace of that number: its lab is gone.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use super::NetError;

/// Where the locks are. Empty files, and they stay: a lock file that is removed could be held by two.
const LOCKS: &str = "/run/halab";
/// The most labs with namespaces on one machine.
const LABS_MAX: u16 = 100;

/// A lab's own number, for as long as this lives.
#[derive(Debug)]
pub(super) struct Claim {
    pub number: u16,
    _lock: File,
}

impl Claim {
    /// The first number that is free. What a dead lab left behind under it is removed.
    pub fn take() -> Result<Self, NetError> {
        make_locks().map_err(NetError::Namespaces)?;
        for number in 0..LABS_MAX {
            let Some(claim) = Self::of(number).map_err(NetError::Namespaces)? else { continue };
            claim.clean().map_err(NetError::Namespaces)?;
            return Ok(claim);
        }
        Err(NetError::Full(LABS_MAX))
    }

    /// That number, unless a lab that runs has it.
    fn of(number: u16) -> io::Result<Option<Self>> {
        let path = Path::new(LOCKS).join(format!("{number}.lock"));
        let lock = OpenOptions::new().create(true).append(true).open(path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { number, _lock: lock })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Removes the namespaces of this number; how many there were.
    fn clean(&self) -> io::Result<usize> {
        let mut removed = 0;
        for name in netns::names()?.iter().filter(|name| number(name) == Some(self.number)) {
            netns::remove(name)?;
            removed += 1;
        }
        Ok(removed)
    }

    /// The name of a namespace of this lab.
    pub fn name(&self, device: &str) -> String {
        format!("halab{}-{device}", self.number)
    }
}

fn make_locks() -> io::Result<()> {
    std::fs::create_dir_all(LOCKS).map_err(|error| io::Error::new(error.kind(), format!("{LOCKS}: {error}")))
}

/// The number in the name of a namespace, where it is one of a lab.
fn number(name: &str) -> Option<u16> {
    name.strip_prefix("halab")?.split_once('-')?.0.parse().ok()
}

/// Removes the namespaces of labs that do not run any more; how many there were.
///
/// # Errors
/// One cannot be removed. Without any there is nothing to do, and that takes no privilege.
pub fn sweep() -> io::Result<usize> {
    let numbers: BTreeSet<u16> = netns::names()?.iter().filter_map(|name| number(name)).collect();
    if numbers.is_empty() {
        return Ok(0);
    }
    make_locks()?;
    let mut removed = 0;
    for number in numbers {
        if let Some(claim) = Claim::of(number)? {
            removed += claim.clean()?;
        }
    }
    Ok(removed)
}
