//! What stands for hardware and the network: a thread, and a priority for processes, that are run before everything else.
//!
//! An ASIC, a BFD engine and a network stack are always run at once. On a busy machine a process is not, and then healthy DPUs
//! look dead. Only root may have it so; for others the lab works all the same where there is room for it.

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::process::Program;

/// The niceness of what stands for hardware.
const NICE: &str = "-10";

/// Whether the lab may do what only root may.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// The program, run before others if that is allowed.
pub fn prioritized(program: Program) -> Program {
    if !is_root() {
        return program;
    }
    let wrapped = ["-n".to_owned(), NICE.to_owned(), program.path.display().to_string()];
    Program { path: "nice".into(), args: wrapped.into_iter().chain(program.args).collect() }
}

/// A thread of the lab that is run before its other work. Starts no processes: they would die with it.
#[derive(Clone, Debug)]
pub struct Hardware(Arc<Ends>);

/// A runtime that may be dropped anywhere.
#[derive(Debug)]
struct Ends(Option<Runtime>);

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Hardware {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has none.
    pub fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("hardware")
            .on_thread_start(hurry)
            .enable_all()
            .build()?;
        Ok(Self(Arc::new(Ends(Some(runtime)))))
    }

    /// Does work there; sockets that it opens belong there. `None` only while the lab is being dropped.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        self.0.0.as_ref().map(|runtime| runtime.spawn(work))
    }
}

fn hurry() {
    if !is_root() {
        return;
    }
    let thread = nix::unistd::gettid().to_string();
    let renice = Command::new("renice").args(["-n", NICE, "-p", &thread]).output();
    if !renice.is_ok_and(|done| done.status.success()) {
        tracing::debug!("what stands for hardware runs as any other thread");
    }
}
