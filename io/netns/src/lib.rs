//! Network namespaces, through `iproute2`.
//!
//! This crate owns how a namespace is made, entered and removed. It must never know what runs in one.
//!
//! A [`Namespace`] is removed when it is dropped. What a process that was killed left behind is found by its names
//! ([`names`]) and removed by them ([`remove`]). Making one takes root.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where `iproute2` keeps named namespaces.
const RUN: &str = "/run/netns";

/// A network namespace of our own; removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one of that name, with its loopback interface up.
    ///
    /// # Errors
    /// It takes root, the kernel's support and `iproute2`; the error says what is missing. The name may be taken.
    pub fn create(name: impl Into<String>) -> io::Result<Self> {
        let name = name.into();
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `ip` in the namespace, with words parted by blanks.
    ///
    /// # Errors
    /// `ip` refuses; the error holds what it said.
    pub fn ip(&self, words: &str) -> io::Result<String> {
        run(Command::new("ip").args(["-n", &self.name]).args(words.split(' ')))
    }

    /// Several commands of `ip`, one a line, by one process. It stops at the first that fails.
    ///
    /// # Errors
    /// `ip` refuses; the error holds what it said.
    pub fn ip_batch(&self, lines: &str) -> io::Result<String> {
        run_with(Command::new("ip").args(["-n", &self.name, "-batch", "-"]), lines)
    }

    /// `nft` in the namespace, with a ruleset file as its input.
    ///
    /// # Errors
    /// `nft` (Debian: package `nftables`) is not there or refuses; the error holds what it said.
    pub fn nft(&self, rules: &str) -> io::Result<String> {
        run_with(self.command("nft").args(["-f", "-"]), rules)
    }

    /// Sets kernel parameters below `net`, as `ipv4/ip_forward`.
    ///
    /// # Errors
    /// One is not there or does not take the value; the error names it.
    pub fn sysctl(&self, parameters: &[(&str, &str)]) -> io::Result<()> {
        // The kernel shows each thread the parameters of the thread's own namespace.
        self.enter(|| {
            for (name, value) in parameters {
                let path = Path::new("/proc/sys/net").join(name);
                std::fs::write(&path, value)
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
            }
            Ok(())
        })?
    }

    /// What turns a command line into one that runs in the namespace, when put before it.
    pub fn prefix(&self) -> [String; 4] {
        ["ip", "netns", "exec", &self.name].map(str::to_owned)
    }

    /// A program that is to run in the namespace. It becomes the process itself, so killing that kills it.
    pub fn command(&self, program: &str) -> Command {
        let [ip, words @ ..] = self.prefix();
        let mut command = Command::new(ip);
        command.args(words).arg(program);
        command
    }

    /// Does something on a thread of its own in the namespace; threads that it starts are there as well. A socket that it
    /// opens stays there, whoever uses it later.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    ///
    /// # Panics
    /// If the thread panics, as a test does that fails.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> io::Result<T> {
        let file = File::open(path(&self.name))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET)?;
                Ok(act())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("ip").args(["netns", "del", &self.name])) {
            tracing::warn!(%error, "a network namespace is left behind");
        }
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(RUN).join(name)
}

/// The names of all namespaces of this machine that have one.
///
/// # Errors
/// They cannot be listed.
pub fn names() -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(RUN) {
        Ok(entries) => entries,
        // Nobody ever made one.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

/// Removes a namespace that nobody owns any more, with every process and every link in it.
///
/// # Errors
/// It cannot be removed.
pub fn remove(name: &str) -> io::Result<()> {
    // A namespace lives on, without a name, for as long as a process is in it.
    for pid in run(Command::new("ip").args(["netns", "pids", name]))?.split_whitespace() {
        let pid = Pid::from_raw(pid.parse().map_err(io::Error::other)?);
        if let Err(error) = kill(pid, Signal::SIGKILL) {
            tracing::debug!(%pid, %error, "gone already");
        }
    }
    run(Command::new("ip").args(["netns", "del", name])).map(|_| ())
}

/// Runs a program to its end; its output, or an error that holds what it said.
///
/// # Errors
/// It cannot be run, or fails.
pub fn run(command: &mut Command) -> io::Result<String> {
    run_with(command, "")
}

/// The same, with an input.
fn run_with(command: &mut Command, input: &str) -> io::Result<String> {
    let mut run = || {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn()?;
        if let Some(mut stdin) = child.stdin.take()
            && let Err(error) = stdin.write_all(input.as_bytes())
        {
            // It ended before it had read everything: what it said tells why.
            tracing::debug!(%error, "input not read");
        }
        child.wait_with_output()
    };
    let Output { status, stdout, stderr } = run().map_err(|error: io::Error| {
        io::Error::new(error.kind(), format!("{}: {error}", command.get_program().to_string_lossy()))
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if status.success() {
        return Ok(text(&stdout));
    }
    Err(io::Error::other(format!("{command:?} failed ({status}): {} {}", text(&stdout), text(&stderr))))
}

#[cfg(test)]
mod tests;
