//! Rounding and jitter.

use proptest::prelude::*;

use crate::timing::{detection_deadline, jittered_ms};

use super::*;

#[test]
fn detection_is_rounded_up_and_never_early() {
    for (detection_us, deadline_ms) in [(0, 1), (1, 2), (999, 2), (1000, 2), (1001, 3), (300_000, 301)] {
        assert_eq!(detection_deadline(Time(50), detection_us), Time(50 + deadline_ms), "{detection_us} us");
    }
    assert_eq!(detection_deadline(Time(u64::MAX), 300_000), Time(u64::MAX));
}

#[test]
fn jitter_reaches_both_ends_of_its_range() {
    let mut ids = IdSource::new(3);
    let mut draws = |multiplier| -> (u64, u64) {
        let drawn: Vec<u64> = (0..5000).map(|_| jittered_ms(100_000, times(multiplier), &mut ids)).collect();
        (*drawn.iter().min().unwrap(), *drawn.iter().max().unwrap())
    };
    assert_eq!(draws(3), (76, 100));
    assert_eq!(draws(1), (76, 90));
}

proptest! {
    #[test]
    fn a_packet_is_never_late_and_early_by_a_quarter_at_most(interval_us in 10_000u32.., multiplier in 1u8..10, seed: u64) {
        let drawn_us = jittered_ms(interval_us, times(multiplier), &mut IdSource::new(seed)) * 1000;
        let interval_us = u64::from(interval_us);
        let percent_max = if multiplier == 1 { 90 } else { 100 };
        prop_assert!(drawn_us * 100 <= interval_us * percent_max);
        if interval_us >= 14_000 {
            // The last packet may have been up to 1 ms later than its time says.
            prop_assert!((drawn_us - 1000) * 100 >= interval_us * 75);
        }
    }
}
