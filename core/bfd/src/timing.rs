//! Intervals of microseconds on a clock of milliseconds.
//!
//! [`Time`] is the floor of the true time: what is seen at `now` happened in `[now, now + 1)` ms, and what is due at
//! `d` is done at a true time of `d` or later. Two roundings follow, each on the safe side:
//!
//! - **Detection is never early.** The packet may have arrived just before `now + 1`, so the deadline is `now + 1` plus
//!   the Detection Time rounded up. It is late by less than 2 ms.
//! - **Transmission is never late.** The interval is drawn in whole milliseconds and its upper end is rounded down. Its
//!   lower end is rounded up, plus the 1 ms that the last packet may have been later than its time says. Where no
//!   whole millisecond lies between the two (intervals below 14 ms), the upper end counts.

use std::num::NonZeroU8;

use reconcile::{IdSource, Time};

/// Why a session that is not up is slow, us.
///
/// RFC 5880 6.8.3: "When bfd.SessionState is not Up, the system MUST set bfd.DesiredMinTxInterval to a value of not
/// less than one second (1,000,000 microseconds). This is intended to ensure that the bandwidth consumed by BFD
/// sessions that are not Up is negligible, particularly in the case where a neighbor may not be running BFD."
pub const SLOW_TX_US: u32 = 1_000_000;

/// When a peer last heard at `received_at` has been silent for its Detection Time.
pub(crate) fn detection_deadline(received_at: Time, detection_us: u64) -> Time {
    received_at.after_ms(detection_us.div_ceil(1000)).after_ms(1)
}

/// How long after one periodic packet the next is due, ms; at least 1.
///
/// RFC 5880 6.8.7: "The periodic transmission of BFD Control packets MUST be jittered on a per-packet basis by up to
/// 25%, that is, the interval MUST be reduced by a random value of 0 to 25%, in order to avoid self-synchronization
/// with other systems on the same subnetwork. [...] If bfd.DetectMult is equal to 1, the interval between transmitted
/// BFD Control packets MUST be no more than 90% of the negotiated transmission interval, and MUST be no less than 75%
/// of the negotiated transmission interval. This is to ensure that, on the remote system, the calculated Detection
/// Time does not pass prior to the receipt of the next BFD Control packet."
pub(crate) fn jittered_ms(interval_us: u32, own_multiplier: NonZeroU8, ids: &mut IdSource) -> u64 {
    let interval_us = u64::from(interval_us);
    let percent_max = if own_multiplier == NonZeroU8::MIN { 90 } else { 100 };
    let latest = (interval_us * percent_max / 100 / 1000).max(1);
    let earliest = ((interval_us * 75).div_ceil(100 * 1000) + 1).min(latest);
    earliest + ids.next_u64() % (latest - earliest + 1)
}
