//! How the controller reaches switches.

use std::collections::BTreeMap;

use controller::SwitchName;
use reconcile::Write;

use crate::fleet_file::Target;

/// The way to the switches. What is seen there comes back as [`controller::Input`]s through the queue that an
/// implementation was made with; a switch that cannot be reached is reported as unsynced and never keeps the
/// others waiting. Part 1 has direct Redis; gNMI comes later.
pub trait Southbound {
    /// Makes these the switches that are watched and written: connects to new ones, and to those that are to be
    /// reached in another way, and leaves the others alone.
    fn attach(&mut self, targets: &BTreeMap<SwitchName, Target>);

    /// Sends writes on their way, each switch's in order. Never blocks; what becomes of each is reported.
    fn write(&self, writes: Vec<Write<SwitchName>>);
}
