//! The command line (DESIGN 8).

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use schema::Slot;
use shell::{DaemonArgs, DatabaseArgs};
use swss::ZmqAddress;

/// HA agent of a DPU: programs the ASIC and BFD, reports state
#[derive(Parser, Debug)]
#[command(name = "haorchd", version)]
pub struct Args {
    /// The number of this DPU
    #[arg(long, value_name = "N", value_parser = slot)]
    pub dpu_id: Slot,

    /// What carries out the SAI calls
    #[arg(long, value_name = "ASIC", value_enum, default_value = "model")]
    pub asic: AsicKind,

    /// Model: how long to look for the peer DPU before asking to be standalone, in ms
    #[arg(long, value_name = "MS", default_value_t = asic_model::ModelConfig::default().peer_wait_ms,
        value_parser = clap::value_parser!(u64).range(10..))]
    pub peer_wait_ms: u64,

    /// Model: where packets for VIPs come in, as those of the lab's NPUs do; repeatable
    #[arg(long, value_name = "ADDR:PORT")]
    pub vip_listen: Vec<SocketAddr>,

    /// What runs the BFD sessions
    #[arg(long, value_name = "BACKEND", value_enum, default_value = "lite")]
    pub bfd: BfdKind,

    /// FRR: where bfdd has its sockets
    #[arg(long, value_name = "DIR", default_value = "/var/run/frr")]
    pub frr_dir: PathBuf,

    /// Listen for hamgrd here, as orchagent does, at port 8100 if none is named; without it, consume DPU_APPL_DB as a
    /// ConsumerStateTable
    #[arg(short = 'q', long, value_name = "tcp://ADDRESS|INTERFACE[:PORT]")]
    pub zmq_endpoint: Option<ZmqAddress>,

    #[command(flatten)]
    pub databases: DatabaseArgs,

    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// What carries out the SAI calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AsicKind {
    /// A model of the DPU-driven HA state machine, which talks to its peer over UDP
    Model,
}

/// What runs the BFD sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BfdKind {
    /// Built in
    Lite,
    /// FRR's bfdd, which somebody else starts
    Frr,
}

fn slot(text: &str) -> Result<Slot, std::num::ParseIntError> {
    text.parse().map(Slot)
}
