//! Up to which moment everything is known.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    clock::Timestamp,
    store::Stamp,
    sync::atomic::{AtomicU64, Ordering},
};

/// The latest stamp of a feed. Readers take no lock.
pub(super) struct Freshness {
    origin: Instant,
    /// Nanoseconds from the origin to the stamp, and one more; zero if there is none.
    instant: AtomicU64,
    /// Milliseconds from the Unix epoch to the stamp.
    timestamp: AtomicU64,
}

impl Freshness {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), instant: AtomicU64::new(0), timestamp: AtomicU64::new(0) }
    }

    /// Everything up to this moment is known.
    pub(super) fn set(&self, stamp: Stamp) {
        // In this order, and read in the other: who sees this instant sees this timestamp, or one
        // that came after it.
        self.timestamp.store(stamp.timestamp.as_unix_millis(), Ordering::Release);
        self.instant.store(self.nanos(stamp.instant) + 1, Ordering::Release);
    }

    /// Anything may have been missed.
    pub(super) fn lose(&self) {
        self.instant.store(0, Ordering::Release);
    }

    /// The latest stamp.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let nanos = self.instant.load(Ordering::Acquire).checked_sub(1)?;
        let millis = self.timestamp.load(Ordering::Acquire);
        Some(Stamp {
            instant: self.origin + Duration::from_nanos(nanos),
            timestamp: Timestamp::from_unix_millis(millis),
        })
    }

    /// Rounded down to the origin, and to what fits: half a millennium.
    fn nanos(&self, instant: Instant) -> u64 {
        let nanos = instant.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX - 1)
    }
}

// Not where `tests/explore` compiles this: its atomics are those of a model.
#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_moment_that_is_further_away_than_fits_is_the_last_one_that_does() {
        let freshness = Freshness::new();
        let instant = freshness.origin + Duration::from_secs(600 * 366 * 24 * 60 * 60);
        freshness.set(Stamp { instant, timestamp: Timestamp::from_unix_millis(7) });
        let stamp = freshness.stamp().expect("it has been set");
        assert_eq!(stamp.instant, freshness.origin + Duration::from_nanos(u64::MAX - 1));
        assert_eq!(stamp.timestamp, Timestamp::from_unix_millis(7));
    }
}
