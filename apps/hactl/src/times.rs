//! Times and durations for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use schema::WallMs;

/// Now.
pub fn now() -> WallMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// `2026-11-22 23:59:01 UTC`.
pub fn date(at: WallMs) -> String {
    match Timestamp::from_millisecond(at.0) {
        Ok(timestamp) => timestamp.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => format!("{at} ms"),
    }
}

/// `12:59:01.250 UTC`, for what happens now.
pub fn clock(at: WallMs) -> String {
    match Timestamp::from_millisecond(at.0) {
        Ok(timestamp) => timestamp.strftime("%H:%M:%S%.3f").to_string(),
        Err(_) => format!("{at} ms"),
    }
}

/// `3 min 5 s`: the two largest units that count.
pub fn span(span: Duration) -> String {
    let s = span.as_secs();
    match s {
        0 => format!("{} ms", span.as_millis()),
        1..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

/// How long ago, as far as the clocks agree.
pub fn ago(at: WallMs, now: WallMs) -> String {
    span(Duration::from_millis(u64::try_from(now.0.saturating_sub(at.0)).unwrap_or_default()))
}
