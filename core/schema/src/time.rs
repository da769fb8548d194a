//! Points in time as rows hold them.

use std::fmt;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::codec::{Scalar, unquoted};

/// Wall-clock time in milliseconds since the epoch. Rows hold it; no decision compares it with a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WallMs(pub i64);

/// A time below this, read as milliseconds, lies in 1973: it must have been meant as seconds.
const SECONDS_BELOW: u64 = 100_000_000_000;

impl WallMs {
    /// Reads an epoch number that may be in seconds. Today's DPUs write seconds where the design says
    /// milliseconds (`reference/dpu-side.md` 6.2 item 8).
    pub fn from_seconds_or_ms(number: i64) -> Self {
        if number.unsigned_abs() < SECONDS_BELOW { Self(number.saturating_mul(1000)) } else { Self(number) }
    }

    /// Whole seconds since the epoch, as SONiC's DPU side writes its times.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

impl fmt::Display for WallMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Scalar for WallMs {
    const EXPECTED: &'static str = "a time in milliseconds since the epoch";
    fn to_text(&self) -> String {
        self.0.to_string()
    }
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

/// A time as pmon writes it, to the second: `Sat Jan 01 12:00:00 AM UTC 2000` (`reference/pmon.md` 1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PmonTime {
    seconds: i64,
}

const PMON_FORMAT: &str = "%a %b %d %I:%M:%S %p UTC %Y";

impl PmonTime {
    /// The time, in milliseconds.
    pub fn wall(self) -> WallMs {
        WallMs(self.seconds.saturating_mul(1000))
    }
}

/// Cuts to the second.
impl From<WallMs> for PmonTime {
    fn from(wall: WallMs) -> Self {
        Self { seconds: wall.seconds() }
    }
}

impl Scalar for PmonTime {
    const EXPECTED: &'static str = "a time like \"Sat Jan 01 12:00:00 AM UTC 2000\"";

    fn to_text(&self) -> String {
        let timestamp = Timestamp::from_second(self.seconds).unwrap_or_default();
        timestamp.to_zoned(TimeZone::UTC).strftime(PMON_FORMAT).to_string()
    }

    fn from_text(text: &str) -> Option<Self> {
        let civil = DateTime::strptime(PMON_FORMAT, unquoted(text)).ok()?;
        let timestamp = civil.to_zoned(TimeZone::UTC).ok()?.timestamp();
        Some(Self { seconds: timestamp.as_second() })
    }
}
