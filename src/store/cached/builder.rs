//! The options of a near cache.

use std::{fmt, sync::Arc, time::Duration};

use super::CachedStore;
use crate::{
    clock::{Clock, SystemClock},
    error::{ConfigError, ConfigErrorKind},
    store::{Heartbeat, SessionStore},
};

const MEBIBYTE: u64 = 1024 * 1024;

/// How often a feed is to prove that it is fresh, in the time for which it is taken at its word.
const BEATS_PER_STALENESS: u32 = 4;

/// How much is kept.
pub(super) struct Limits {
    pub(super) max_entries: usize,
    pub(super) max_bytes: u64,
}

/// The options of a [`CachedStore`], made by [`CachedStore::builder`].
#[must_use]
pub struct CachedStoreBuilder {
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    max_staleness: Duration,
    heartbeat: Option<Duration>,
    within: Option<Duration>,
}

impl CachedStoreBuilder {
    pub(super) fn new(store: Arc<dyn SessionStore>) -> Self {
        Self {
            store,
            clock: Arc::new(SystemClock),
            limits: Limits { max_entries: 100_000, max_bytes: 64 * MEBIBYTE },
            max_staleness: Duration::from_secs(2),
            heartbeat: None,
            within: None,
        }
    }

    /// How many records are kept at most. Defaults to 100,000.
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.limits.max_entries = entries;
        self
    }

    /// How many bytes the records that are kept take at most, by a close estimate. A record that
    /// takes more than a few per cent of that is not kept. Defaults to 64 MiB.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.limits.max_bytes = bytes;
        self
    }

    /// For how long after its last proof of freshness the feed is taken at its word; then every
    /// load asks the store. Defaults to two seconds.
    pub fn max_staleness(mut self, duration: Duration) -> Self {
        self.max_staleness = duration;
        self
    }

    /// How often the feed is to prove that it is fresh. Defaults to a quarter of
    /// [`max_staleness`](Self::max_staleness). A proof may be told a beat later, so with less than
    /// two beats in that time some loads ask the store.
    pub fn heartbeat(mut self, period: Duration) -> Self {
        self.heartbeat = Some(period);
        self
    }

    /// The wall clock by which freshness is judged, too. It has to be the layer's. Defaults to
    /// [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Needs no feed: a copy is used for so long, whatever happens to the session elsewhere. See
    /// [`CachedStore::within`].
    pub fn within(mut self, ttl: Duration) -> Self {
        self.within = Some(ttl);
        self
    }

    /// The near cache, if the options go together.
    ///
    /// # Errors
    ///
    /// [`ConfigErrorKind::Feed`] if the store has no feed and no [`within`](Self::within) was
    /// chosen, [`ConfigErrorKind::Limit`] if a limit is zero, or the heartbeat not shorter than
    /// `max_staleness`.
    pub fn build(self) -> Result<CachedStore, ConfigError> {
        let refuse_limit = |message| Err(ConfigError::new(ConfigErrorKind::Limit, message));
        if self.limits.max_entries == 0 || self.limits.max_bytes == 0 {
            return refuse_limit("a cache that may keep nothing is of no use");
        }
        if let Some(ttl) = self.within {
            return Ok(CachedStore::from_parts(self.store, self.limits, ttl, None));
        }
        if self.max_staleness.is_zero() {
            return refuse_limit("with a `max_staleness` of zero every load asks the store");
        }
        let period = self.heartbeat.unwrap_or(self.max_staleness / BEATS_PER_STALENESS);
        if period.is_zero() || period >= self.max_staleness {
            return refuse_limit(
                "the heartbeat is longer than zero and shorter than `max_staleness`",
            );
        }
        let heartbeat = Heartbeat::new(period).with_clock(self.clock);
        // It does nothing before it is polled.
        if self.store.feed(heartbeat.clone()).is_none() {
            return Err(ConfigError::new(
                ConfigErrorKind::Feed,
                "the store can't tell what changes in it: `CachedStore::within(store, ttl)` names \
                 how long a session that was ended elsewhere may be let in",
            ));
        }
        Ok(CachedStore::from_parts(self.store, self.limits, self.max_staleness, Some(heartbeat)))
    }
}

impl fmt::Debug for CachedStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStoreBuilder")
            .field("max_entries", &self.limits.max_entries)
            .field("max_bytes", &self.limits.max_bytes)
            .field("max_staleness", &self.max_staleness)
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn by_default_100_000_records_of_64_mebibytes_in_all_are_kept() {
        let limits = CachedStoreBuilder::new(Arc::new(MemoryStore::new())).limits;
        assert_eq!((limits.max_entries, limits.max_bytes), (100_000, 67_108_864));
    }
}
