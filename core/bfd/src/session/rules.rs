//! Which intervals hold, and whether periodic packets may be sent: RFC 5880 6.8.2 to 6.8.4 and 6.8.7, as questions to a
//! session. Nothing is sent here.

use reconcile::Time;

use super::{Intervals, Remote, Session};
use crate::timing::{SLOW_TX_US, detection_deadline};
use crate::values::{Role, State};

impl Session {
    /// Says in our packets what state and configuration ask for, under a Poll Sequence if there is somebody to ask; a
    /// peer that is not known learns it from the first packet it hears.
    pub(super) fn advertise(&mut self) {
        let desired_min_tx_us = match self.state {
            State::Up => self.config.desired_min_tx.us(),
            State::AdminDown | State::Down | State::Init => self.config.desired_min_tx.us().max(SLOW_TX_US),
        };
        let required_min_rx_us = self.config.required_min_rx.us();
        let wanted = Intervals { desired_min_tx_us, required_min_rx_us };
        if self.advertised != wanted {
            self.advertised = wanted;
            if self.remote.is_some() {
                self.poll.start();
            }
        }
        self.settle();
    }

    /// Puts in force what may be.
    ///
    /// RFC 5880 6.8.3: "If bfd.DesiredMinTxInterval is increased and bfd.SessionState is Up, the actual transmission
    /// interval used MUST NOT change until the Poll Sequence described above has terminated. [...] If
    /// bfd.RequiredMinRxInterval is reduced and bfd.SessionState is Up, the previous value of bfd.RequiredMinRxInterval
    /// MUST be used when calculating the Detection Time for the remote system until the Poll Sequence described above
    /// has terminated."
    pub(super) fn settle(&mut self) {
        let unconfirmed = self.state == State::Up && self.poll.asks();
        if !unconfirmed || self.advertised.desired_min_tx_us < self.in_force.desired_min_tx_us {
            self.in_force.desired_min_tx_us = self.advertised.desired_min_tx_us;
        }
        if !unconfirmed || self.advertised.required_min_rx_us > self.in_force.required_min_rx_us {
            self.in_force.required_min_rx_us = self.advertised.required_min_rx_us;
        }
    }

    /// RFC 5880 6.8.7: the larger of bfd.DesiredMinTxInterval and bfd.RemoteMinRxInterval, less jitter. Of an unknown
    /// peer the latter is 1 (6.8.1).
    pub(super) fn transmit_interval_us(&self) -> u32 {
        self.in_force.desired_min_tx_us.max(self.remote.map_or(1, |remote| remote.min_rx_us))
    }

    /// RFC 5880 6.8.4: "In Asynchronous mode, the Detection Time calculated in the local system is equal to the value of
    /// Detect Mult received from the remote system, multiplied by the agreed transmit interval of the remote system
    /// (the greater of bfd.RequiredMinRxInterval and the last received Desired Min TX Interval)."
    pub(super) fn detection_us(&self, remote: &Remote) -> u64 {
        let interval_us = self.in_force.required_min_rx_us.max(remote.desired_min_tx_us);
        u64::from(remote.detect_multiplier.get()) * u64::from(interval_us)
    }

    pub(super) fn detect_at(&self) -> Option<Time> {
        let remote = self.remote.as_ref()?;
        Some(detection_deadline(remote.received_at, self.detection_us(remote)))
    }

    /// RFC 5880 6.6: Demand mode is active on the remote system "if bfd.RemoteDemandMode is 1, bfd.SessionState is Up, and
    /// bfd.RemoteSessionState is Up".
    pub(super) fn silenced_by_peer(&self) -> bool {
        self.state == State::Up
            && self.remote.is_some_and(|remote| remote.demand && remote.state == State::Up)
    }

    /// The rules of RFC 5880 6.8.7 that forbid periodic packets.
    pub(super) fn transmits_periodically(&self) -> bool {
        let Some(remote) = &self.remote else {
            // "A system MUST NOT transmit BFD Control packets if bfd.RemoteDiscr is zero and the system is taking the
            // Passive role."
            return self.config.role == Role::Active;
        };
        // "A system MUST NOT periodically transmit BFD Control packets if bfd.RemoteMinRxInterval is zero."
        if remote.min_rx_us == 0 {
            return false;
        }
        // "A system MUST NOT periodically transmit BFD Control packets if Demand mode is active on the remote system
        // [...] and a Poll Sequence is not being transmitted."
        !self.silenced_by_peer() || self.poll.asks()
    }
}
