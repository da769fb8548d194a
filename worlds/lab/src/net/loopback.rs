//! Everything on the loopback interface: the lab answers midplane probes in the place of a DPU's network stack.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use schema::LinkState;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::hardware::Hardware;
use crate::topology::{DpuId, Topology};

/// The midplane of each DPU.
#[derive(Debug)]
pub struct Loopback {
    block: String,
    probes: BTreeMap<DpuId, SocketAddr>,
    hardware: Hardware,
    answering: Mutex<BTreeMap<DpuId, Task>>,
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(JoinHandle<io::Result<()>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Loopback {
    pub(super) fn new(topology: &Topology, hardware: &Hardware) -> Self {
        let probes = topology.dpus().map(|dpu| (dpu, topology.probe(dpu))).collect();
        Self { block: topology.block(), probes, hardware: hardware.clone(), answering: Mutex::default() }
    }

    pub(super) fn block(&self) -> &str {
        &self.block
    }

    /// Probes of the DPU are answered from now on, or not.
    pub(super) async fn answer_probes(&self, dpu: DpuId, state: LinkState) -> io::Result<()> {
        // The old socket goes before the new one comes; the lock is never held across a wait.
        let old = self.tasks().remove(&dpu);
        if let Some(Task(task)) = &old {
            task.abort();
        }
        if let Some(mut old) = old
            && let Err(ended) = (&mut old.0).await
        {
            tracing::trace!(%dpu, %ended, "probes are not answered any more");
        }
        let Some(address) = self.probes.get(&dpu).filter(|_| state == LinkState::Up) else { return Ok(()) };
        let socket = std::net::UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        if let Some(task) = self.hardware.spawn(echo(socket)) {
            self.tasks().insert(dpu, Task(task));
        }
        Ok(())
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, BTreeMap<DpuId, Task>> {
        // Nothing that holds the lock can leave the map half changed.
        self.answering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers the midplane probe in the DPU's place, as its network stack would.
async fn echo(socket: std::net::UdpSocket) -> io::Result<()> {
    let socket = UdpSocket::from_std(socket)?;
    let mut packet = [0u8; 2048];
    loop {
        let answered = match socket.recv_from(&mut packet).await {
            Ok((length, from)) => {
                socket.send_to(packet.get(..length).unwrap_or_default(), from).await.map(|_| ())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = answered {
            // The prober may be gone; that is its business.
            tracing::debug!(%error, "midplane probe not answered");
        }
    }
}
