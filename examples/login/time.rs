//! Times as people and programs read them.

use std::time::SystemTime;

use tower_wristband::Timestamp;

/// Such as `2026-01-31T18:05:00.123Z`.
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    instant(moment).to_string()
}

/// Such as “31 Jan 2026, 18:05 UTC”.
pub(crate) fn readable(moment: Timestamp) -> String {
    instant(moment).strftime("%-d %b %Y, %H:%M UTC").to_string()
}

fn instant(moment: Timestamp) -> jiff::Timestamp {
    // Fails for what is beyond the year 9999.
    SystemTime::from(moment).try_into().unwrap_or(jiff::Timestamp::MAX)
}
