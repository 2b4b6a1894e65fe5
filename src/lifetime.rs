//! How long a session lives: pure arithmetic that saturates.

use std::{fmt, time::Duration};

use crate::{
    clock::Timestamp,
    error::{ConfigError, ConfigErrorKind},
};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Browsers cap a cookie's life at 400 days (RFC 6265bis, section 5.5).
pub(crate) const LONGEST_COOKIE_LIFE: Duration = Duration::from_secs(400 * DAY);

/// The touch interval is this part of the idle timeout, unless another is chosen.
const TOUCHES_PER_IDLE_TIMEOUT: u32 = 20;

/// How long a session lives without activity (idle) and in all (absolute), in whole seconds.
///
/// Both limits are enforced by the server; the cookie's `Max-Age` only helps the browser to forget.
/// The presets are those of NIST SP 800-63B-4, sections 2.1.3, 2.2.3 and 2.3.3. The default is
/// [`Lifetime::AAL2`].
///
/// Fractions of a second are dropped. A lifetime is checked where it is used:
/// [`SessionLayerBuilder::build`](crate::SessionLayerBuilder::build) and
/// [`Session::set_lifetime`](crate::Session::set_lifetime) refuse zero, an idle timeout longer than
/// the absolute one, and more than 400 days.
///
/// ```
/// use std::time::Duration;
/// use tower_wristband::Lifetime;
///
/// const REMEMBER_ME: Lifetime = Lifetime::AAL1;
/// let short = Lifetime::new(Duration::from_secs(600), Duration::from_secs(3600));
/// assert_eq!(short.touch_interval(), Duration::from_secs(30));
/// # assert_eq!(REMEMBER_ME.absolute(), Duration::from_secs(30 * 86_400));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lifetime {
    // Seconds: 400 days fit, and a record keeps all three.
    idle: u32,
    absolute: u32,
    touch: TouchInterval,
}

impl Lifetime {
    /// 30 days, however idle: NIST's authentication assurance level 1.
    pub const AAL1: Self = Self::new(Duration::from_secs(30 * DAY), Duration::from_secs(30 * DAY));

    /// 24 hours, 1 hour idle: NIST's authentication assurance level 2.
    pub const AAL2: Self = Self::new(Duration::from_secs(HOUR), Duration::from_secs(24 * HOUR));

    /// 12 hours, 15 minutes idle: NIST's authentication assurance level 3.
    pub const AAL3: Self =
        Self::new(Duration::from_secs(15 * MINUTE), Duration::from_secs(12 * HOUR));

    /// A session that ends after `idle` without a request, and after `absolute` in all.
    #[must_use]
    pub const fn new(idle: Duration, absolute: Duration) -> Self {
        let idle = whole_seconds(idle);
        Self {
            idle,
            absolute: whole_seconds(absolute),
            touch: TouchInterval::new(idle / TOUCHES_PER_IDLE_TIMEOUT, false),
        }
    }

    /// How much time may pass before a request's activity is written to the store again; zero
    /// writes at every request. Defaults to 1/20 of the idle timeout.
    ///
    /// A session ends after between `idle - interval` and `idle` without a request, never later.
    #[must_use]
    pub const fn with_touch_interval(mut self, interval: Duration) -> Self {
        self.touch = TouchInterval::new(whole_seconds(interval), self.ends_with_browser());
        self
    }

    /// The cookie gets no `Max-Age`: the browser forgets it when it is closed (some restore it).
    /// The server's limits stay.
    #[must_use]
    pub const fn until_browser_closes(mut self) -> Self {
        self.touch = TouchInterval::new(self.touch.seconds(), true);
        self
    }

    /// The longest time without a request.
    #[must_use]
    pub const fn idle(&self) -> Duration {
        Duration::from_secs(self.idle as u64)
    }

    /// The longest time in all, from the login (or the creation of an anonymous session).
    #[must_use]
    pub const fn absolute(&self) -> Duration {
        Duration::from_secs(self.absolute as u64)
    }

    /// See [`with_touch_interval`](Self::with_touch_interval).
    #[must_use]
    pub const fn touch_interval(&self) -> Duration {
        Duration::from_secs(self.touch.seconds() as u64)
    }

    /// Whether the cookie has no `Max-Age`.
    #[must_use]
    pub const fn ends_with_browser(&self) -> bool {
        self.touch.ends_with_browser()
    }

    /// When a session that began at `start` ends at the latest.
    pub(crate) fn absolute_deadline(&self, start: Timestamp) -> Timestamp {
        start + self.absolute()
    }

    /// When a session that began at `start` and was last seen at `last_seen` ends.
    pub(crate) fn deadline(&self, start: Timestamp, last_seen: Timestamp) -> Timestamp {
        self.absolute_deadline(start).min(last_seen + self.idle())
    }

    /// Whether the activity at `now` is to be written, the last written being at `last_seen`.
    pub(crate) fn touch_is_due(&self, last_seen: Timestamp, now: Timestamp) -> bool {
        now > last_seen && now.saturating_since(last_seen) >= self.touch_interval()
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |message: &str| Err(ConfigError::new(ConfigErrorKind::Lifetime, message));
        if self.idle == 0 || self.absolute == 0 {
            return refuse("the idle and the absolute timeout are at least one second");
        }
        if self.idle > self.absolute {
            return refuse("the idle timeout is longer than the absolute one");
        }
        if self.absolute() > LONGEST_COOKIE_LIFE {
            return refuse("browsers keep no cookie longer than 400 days");
        }
        if self.touch.seconds() >= self.idle {
            return refuse("the touch interval is not shorter than the idle timeout");
        }
        Ok(())
    }
}

impl fmt::Debug for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifetime")
            .field("idle", &self.idle())
            .field("absolute", &self.absolute())
            .field("touch_interval", &self.touch_interval())
            .field("ends_with_browser", &self.ends_with_browser())
            .finish()
    }
}

impl Default for Lifetime {
    fn default() -> Self {
        Self::AAL2
    }
}

/// Seconds, and in the highest bit whether the cookie has no `Max-Age`: so a lifetime takes 12
/// bytes of each record.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct TouchInterval(u32);

impl TouchInterval {
    const ENDS_WITH_BROWSER: u32 = 1 << 31;

    /// An interval that takes the highest bit for itself is far too long for any lifetime.
    const fn new(seconds: u32, ends_with_browser: bool) -> Self {
        let longest = Self::ENDS_WITH_BROWSER - 1;
        let seconds = if seconds > longest { longest } else { seconds };
        Self(if ends_with_browser { seconds | Self::ENDS_WITH_BROWSER } else { seconds })
    }

    const fn seconds(self) -> u32 {
        self.0 & !Self::ENDS_WITH_BROWSER
    }

    const fn ends_with_browser(self) -> bool {
        self.0 & Self::ENDS_WITH_BROWSER != 0
    }
}

const fn whole_seconds(duration: Duration) -> u32 {
    let seconds = duration.as_secs();
    if seconds > u32::MAX as u64 { u32::MAX } else { seconds as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_are_those_of_nist() {
        let presets = [
            (Lifetime::AAL1, 2_592_000, 2_592_000),
            (Lifetime::AAL2, 3_600, 86_400),
            (Lifetime::AAL3, 900, 43_200),
        ];
        for (preset, idle, absolute) in presets {
            assert_eq!(preset.idle(), Duration::from_secs(idle));
            assert_eq!(preset.absolute(), Duration::from_secs(absolute));
        }
        assert_eq!(LONGEST_COOKIE_LIFE, Duration::from_secs(34_560_000));
    }

    #[test]
    fn seconds_are_cut_off_where_they_no_longer_fit() {
        let seconds = |seconds, nanos| whole_seconds(Duration::new(seconds, nanos));
        assert_eq!(seconds(0, 999_999_999), 0);
        assert_eq!(seconds(7, 1), 7);
        assert_eq!(seconds(u64::from(u32::MAX), 0), u32::MAX);
        assert_eq!(seconds(u64::from(u32::MAX) + 8, 0), u32::MAX);
        assert_eq!(seconds(u64::MAX, 0), u32::MAX);
    }
}
