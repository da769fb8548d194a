//! The command line.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use schema::Slot;
use shell::{DaemonArgs, DatabaseArgs};

use crate::probe::ProbeKind;

/// Which half of pmon to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// On the switch: probe the midplane of every DPU.
    Npu,
    /// On a DPU: report its control and data plane.
    Dpu,
}

/// Tells whether the DPUs of a SmartSwitch are up, in CHASSIS_STATE_DB DPU_STATE.
#[derive(Clone, Debug, Parser)]
#[command(name = "pmond", version)]
pub struct Args {
    /// Which half to be
    #[arg(long, value_enum)]
    pub role: Role,

    #[command(flatten)]
    pub databases: DatabaseArgs,

    #[command(flatten)]
    pub daemon: DaemonArgs,

    /// NPU: how to probe a DPU's midplane address: icmp, or udp:PORT, which expects an echo
    #[arg(long, value_name = "PROBE", default_value = "icmp")]
    pub midplane_probe: ProbeKind,

    /// NPU: time between two probes of a DPU, ms
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    pub probe_interval_ms: u64,

    /// NPU: probes lost in a row after which the midplane is down
    #[arg(long, value_name = "N", default_value = "3")]
    pub probe_fail_threshold: NonZeroU32,

    /// DPU: the number of this DPU
    #[arg(long, value_name = "N", required_if_eq("role", "dpu"), value_parser = slot)]
    pub dpu_id: Option<Slot>,

    /// DPU: what tells this boot from the last [default: /proc/sys/kernel/random/boot_id]
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub boot_id: Option<String>,
}

impl Args {
    /// Time between two rounds of probes.
    pub fn probe_interval(&self) -> Duration {
        Duration::from_millis(self.probe_interval_ms)
    }

    /// How long an answer may take: less than the interval, so that rounds do not overlap.
    pub fn probe_timeout(&self) -> Duration {
        self.probe_interval() * 4 / 5
    }
}

fn slot(text: &str) -> Result<Slot, std::num::ParseIntError> {
    text.parse().map(Slot)
}
