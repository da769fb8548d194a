//! FRR's `bfdd`, without zebra, in a namespace.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use netns::{Namespace, run};

use super::wait_until;

/// A running `bfdd`; ends when dropped.
#[derive(Debug)]
pub struct Bfdd {
    process: Child,
    directory: tempfile::TempDir,
}

impl Bfdd {
    /// Starts one without configuration, and waits until it can be spoken to.
    ///
    /// # Errors
    /// It cannot be started (Debian: package `frr`), or does not answer.
    pub fn start(namespace: &Namespace) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let at = directory.path();
        run(Command::new("chown").arg("frr:frr").arg(at))?;
        let process = Self::spawn(namespace, at)?;
        let bfdd = Self { process, directory };
        bfdd.wait()?;
        Ok(bfdd)
    }

    fn spawn(namespace: &Namespace, at: &Path) -> io::Result<Child> {
        let mut command = namespace.command("/usr/lib/frr/bfdd");
        command.args(["-f", "/dev/null", "-P", "0", "-u", "frr", "-g", "frr", "-A", "127.0.0.1"]);
        command.arg("-i").arg(at.join("bfdd.pid")).arg("-z").arg(at.join("zserv.api"));
        command.arg("--vty_socket").arg(at).arg("--bfdctl").arg(at.join("bfdd.sock"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }

    fn wait(&self) -> io::Result<()> {
        wait_until("bfdd answers", || self.vtysh(&["show bfd peers json"]).is_ok())
    }

    /// Where its sockets are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Says something to it.
    ///
    /// # Errors
    /// It refuses; the error holds what it said.
    pub fn vtysh(&self, words: &[&str]) -> io::Result<String> {
        let mut command = Command::new("vtysh");
        command.arg("--vty_socket").arg(self.directory.path());
        for words in words {
            command.args(["-c", words]);
        }
        run(&mut command)
    }

    /// Kills it: its sessions end without a word.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts it again after [`Bfdd::kill`], without configuration, at the same place.
    ///
    /// # Errors
    /// As [`Bfdd::start`].
    pub fn start_again(&mut self, namespace: &Namespace) -> io::Result<()> {
        self.process = Self::spawn(namespace, self.directory.path())?;
        self.wait()
    }
}

impl Drop for Bfdd {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(%error, "bfdd is left behind");
        }
    }
}
