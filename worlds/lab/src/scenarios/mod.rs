//! What can happen to a pair of SmartSwitches. One module per family.

mod crashes;
mod links;
mod planes;
mod restarts;

use crate::lab::{Lab, LabError};
use crate::net::Kind;
use crate::report::Report;
use crate::session::Chaos;

macro_rules! scenarios {
    ($( $variant:ident = $name:literal, $dpus:literal, $network:ident, $summary:literal; )*) => {
        /// A scenario.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Scenario { $( #[doc = $summary] $variant, )* }

        impl Scenario {
            /// Every scenario, in the order of the list.
            pub const ALL: &'static [Scenario] = &[$( Scenario::$variant, )*];

            /// Its name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $( Scenario::$variant => $name, )* }
            }

            /// What happens in it.
            pub const fn summary(self) -> &'static str {
                match self { $( Scenario::$variant => $summary, )* }
            }

            /// DPUs per switch unless told otherwise.
            pub const fn dpus(self) -> u8 {
                match self { $( Scenario::$variant => $dpus, )* }
            }

            /// The simplest network that has what it is about.
            pub const fn network(self) -> Kind {
                match self { $( Scenario::$variant => Kind::$network, )* }
            }
        }
    };
}

scenarios! {
    Restart = "restart", 1, Loopback, "kill -9 of all that runs on the active DPU, boot after a delay";
    Planned = "planned", 1, Loopback, "desired state dead, orderly shutdown, boot, rejoin";
    Standby = "standby", 1, Loopback, "the standby side restarts";
    Flap = "flap", 1, Loopback, "midplane down and up again quicker than the controller's debounce: no procedure";
    Missed = "missed", 1, Loopback, "a restart that nobody saw go down";
    SwssRestart = "swss-restart", 1, Loopback, "the DPU's swss restarts and empties the databases; the DPU never reports down";
    Both = "both", 1, Loopback, "both DPUs of the HA set restart at once";
    Switch = "switch", 2, Loopback, "every DPU of a switch restarts at once";
    ControllerCrash = "controller-crash", 1, Loopback, "restarts with ha-controller killed at each step in turn";
    HamgrdCrash = "hamgrd-crash", 1, Loopback, "restarts with hamgrd killed at each step in turn";
    RedisRestart = "redis-restart", 1, Loopback, "each Redis server of a switch restarts empty in turn";
    ControlPlane = "control-plane", 1, Loopback, "only the control plane goes down and up: procedure, same life";
    Midplane = "midplane", 1, Loopback, "only the midplane goes down and up: procedure, same life";
    DpuLink = "dpu-link", 1, Netns, "the front-panel link of the active DPU goes down and up: BFD falls, traffic moves and returns";
    MidplaneLink = "midplane-link", 1, Netns, "the midplane link of the active DPU goes down and up: procedure, same life";
    Partition = "partition", 1, Netns, "nothing passes between the DPUs of a pair: split brain, ended by the controller";
    NpuLoss = "npu-loss", 1, Netns, "a whole switch is lost with its DPUs, and comes back empty";
    DataPlane = "data-plane", 1, Loopback, "only the data plane goes down and up: no procedure";
}

impl Scenario {
    /// The scenario of that name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|scenario| scenario.name() == name)
    }

    /// The controller's down debounce, where the scenario needs another one than usual, in milliseconds.
    pub const fn down_debounce_ms(self) -> Option<u64> {
        match self {
            // Longer than a flap may take even on a slow machine.
            Scenario::Flap => Some(5_000),
            Scenario::Restart
            | Scenario::Planned
            | Scenario::Standby
            | Scenario::Missed
            | Scenario::SwssRestart
            | Scenario::Both
            | Scenario::Switch
            | Scenario::ControllerCrash
            | Scenario::HamgrdCrash
            | Scenario::RedisRestart
            | Scenario::ControlPlane
            | Scenario::Midplane
            | Scenario::DpuLink
            | Scenario::MidplaneLink
            | Scenario::Partition
            | Scenario::NpuLoss
            | Scenario::DataPlane => None,
        }
    }

    /// Performs the scenario on a pair that is at rest. What is not well is in the report.
    ///
    /// # Errors
    /// The lab itself fails.
    pub async fn run(
        self,
        lab: &mut Lab,
        report: &mut Report,
        chaos: Option<&Chaos>,
    ) -> Result<(), LabError> {
        match self {
            Scenario::Restart => restarts::restart(lab, report, chaos).await,
            Scenario::Planned => restarts::planned(lab, report, chaos).await,
            Scenario::Standby => restarts::standby(lab, report, chaos).await,
            Scenario::Missed => restarts::missed(lab, report, chaos).await,
            Scenario::SwssRestart => restarts::swss_restart(lab, report, chaos).await,
            Scenario::Both => restarts::both(lab, report, chaos).await,
            Scenario::Switch => restarts::switch(lab, report, chaos).await,
            Scenario::ControllerCrash => crashes::at_each_step(lab, report, "ha-controller").await,
            Scenario::HamgrdCrash => crashes::at_each_step(lab, report, "hamgrd").await,
            Scenario::RedisRestart => crashes::redis_restart(lab, report, chaos).await,
            Scenario::Flap => planes::flap(lab, report, chaos).await,
            Scenario::ControlPlane => planes::control_plane(lab, report, chaos).await,
            Scenario::Midplane => planes::midplane(lab, report, chaos).await,
            Scenario::DpuLink => links::dpu_link(lab, report, chaos).await,
            Scenario::MidplaneLink => links::midplane_link(lab, report, chaos).await,
            Scenario::Partition => links::partition(lab, report, chaos).await,
            Scenario::NpuLoss => links::npu_loss(lab, report, chaos).await,
            Scenario::DataPlane => planes::data_plane(lab, report, chaos).await,
        }
    }
}

/// All 16 steps.
const ALL_STEPS: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_found_by_its_name() {
        for scenario in Scenario::ALL {
            assert_eq!(Scenario::find(scenario.name()), Some(*scenario));
        }
        assert_eq!(Scenario::ALL.len(), 18);
        assert_eq!(Scenario::find("nonsense"), None);
    }
}
