//! Time: the only module that reads a clock.

use std::{
    fmt,
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment, in whole milliseconds since the Unix epoch. All arithmetic saturates.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_wristband::Timestamp;
///
/// let moment = Timestamp::from_unix_millis(1_700_000_000_000);
/// assert_eq!((moment + Duration::from_secs(1)).as_unix_millis(), 1_700_000_001_000);
/// assert_eq!(Timestamp::from(SystemTime::from(moment)), moment);
/// assert_eq!(format!("{moment:?}"), "Timestamp(1700000000000)");
/// ```
///
/// With serde it is the number of milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// One more than the milliseconds, so that an `Option<Timestamp>` takes no more room.
pub struct Timestamp(NonZeroU64);

impl Timestamp {
    /// The moment this many milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_unix_millis(millis: u64) -> Self {
        match NonZeroU64::new(millis.saturating_add(1)) {
            Some(inner) => Self(inner),
            None => Self(NonZeroU64::MAX),
        }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_unix_millis(self) -> u64 {
        self.0.get() - 1
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn as_unix_seconds(self) -> u64 {
        self.as_unix_millis() / 1000
    }

    /// How long after `earlier` this moment is; zero if it is not after it.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.as_unix_millis().saturating_sub(earlier.as_unix_millis()))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timestamp").field(&self.as_unix_millis()).finish()
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let millis =
            duration.as_secs().saturating_mul(1000).saturating_add(duration.subsec_millis().into());
        Self::from_unix_millis(self.as_unix_millis().saturating_add(millis))
    }
}

impl From<SystemTime> for Timestamp {
    /// A time before the epoch becomes the epoch.
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_unix_millis(0) + since_epoch
    }
}

impl From<Timestamp> for SystemTime {
    /// A moment that the platform can't represent becomes the epoch.
    fn from(moment: Timestamp) -> Self {
        UNIX_EPOCH.checked_add(Duration::from_millis(moment.as_unix_millis())).unwrap_or(UNIX_EPOCH)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.as_unix_millis())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self::from_unix_millis)
    }
}

/// Where the crate gets the time from: node time decides when a session ends.
///
/// The default is [`SystemClock`]; tests use `testing::ManualClock`. One that is chosen at run time
/// is an `Arc<dyn Clock>`.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// Forwards to the clock behind a pointer.
macro_rules! forward {
    ($($pointer:ident),*) => {$(
        impl<T: Clock + ?Sized> Clock for $pointer<T> {
            fn now(&self) -> Timestamp {
                (**self).now()
            }
        }
    )*};
}
forward!(Arc, Box);

/// The system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}
