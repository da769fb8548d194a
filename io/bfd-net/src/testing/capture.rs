//! A capture of every BFD packet, judged by `tshark`.

use std::io;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use netns::{Namespace, run};

use super::wait_until;

/// A running capture; ends when dropped.
#[derive(Debug)]
pub struct Capture {
    process: Child,
    file: tempfile::NamedTempFile,
}

impl Capture {
    /// Captures on interfaces of a namespace from now on.
    ///
    /// # Errors
    /// `dumpcap` (Debian: package `tshark`) cannot be started, or does not begin.
    pub fn start(namespace: &Namespace, interfaces: &[&str]) -> io::Result<Self> {
        let file = tempfile::NamedTempFile::new()?;
        let mut command = namespace.command("dumpcap");
        // Before the interfaces, so that it holds for all of them.
        command.args(["-q", "-f", "udp port 3784 or udp port 4784"]);
        for interface in interfaces {
            command.args(["-i", interface]);
        }
        command.arg("-w").arg(file.path());
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let capture = Self { process, file };
        wait_until("the capture begins", || {
            capture.file.path().metadata().is_ok_and(|metadata| metadata.len() > 0)
        })?;
        Ok(capture)
    }

    /// Ends the capture. How many packets there were, and what `tshark` has to say against any of them: packets that are not
    /// BFD to it, and expert informations of level warning or error.
    ///
    /// # Errors
    /// `tshark` fails.
    pub fn judge(mut self) -> io::Result<(usize, Vec<String>)> {
        self.stop()?;
        let read = |filter: &str, fields: &[&str]| {
            let mut command = Command::new("tshark");
            command.arg("-r").arg(self.file.path()).args(["-Y", filter, "-T", "fields"]);
            for field in fields {
                command.args(["-e", field]);
            }
            let lines = run(&mut command)?;
            Ok::<Vec<String>, io::Error>(lines.lines().map(str::to_owned).collect())
        };
        let packets = read("frame", &["frame.number"])?.len();
        let warning = "_ws.expert.severity >= 0x600000";
        let mut complaints = read(warning, &["frame.number", "_ws.expert.message"])?;
        complaints.extend(read("!bfd || _ws.malformed", &["frame.number", "frame.protocols"])?);
        Ok((packets, complaints))
    }

    fn stop(&mut self) -> io::Result<()> {
        if self.process.try_wait()?.is_none() {
            let pid = i32::try_from(self.process.id()).map_err(io::Error::other)?;
            kill(Pid::from_raw(pid), Signal::SIGINT)?;
            self.process.wait()?;
        }
        Ok(())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "a capture is left behind");
        }
    }
}
