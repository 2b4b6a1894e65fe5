//! A clock that stands still until it is moved.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::clock::{Clock, Timestamp};

/// 2026-01-01T00:00:00Z, in milliseconds since the Unix epoch.
const START: u64 = 1_767_225_600_000;

/// A [`Clock`] that stands still until it is moved. Clones share one time.
///
/// ```
/// use std::time::Duration;
/// use tower_wristband::{Clock, testing::ManualClock};
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.clone().advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), before + Duration::from_secs(60));
/// ```
#[derive(Clone)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that stands at the beginning of 2026 (UTC).
    #[must_use]
    pub fn new() -> Self {
        Self::at(Timestamp::from_unix_millis(START))
    }

    /// A clock that stands at this moment.
    #[must_use]
    pub fn at(moment: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(moment.as_unix_millis())))
    }

    /// Moves it forward.
    pub fn advance(&self, duration: Duration) {
        let later =
            |millis| Some((Timestamp::from_unix_millis(millis) + duration).as_unix_millis());
        // The closure never refuses, so there is no failure to speak of.
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
    }

    /// Moves it to this moment, which may be an earlier one.
    pub fn set(&self, moment: Timestamp) {
        self.0.store(moment.as_unix_millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.now()).finish()
    }
}
