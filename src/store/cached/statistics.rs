//! What a near cache has done.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::near::Near;

/// What a [`CachedStore`](super::CachedStore) has done so far, and what it holds.
///
/// The counts are taken one after the other, while others go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStatistics {
    /// Loads that a copy has answered.
    pub hits: u64,
    /// Loads that asked the store, or waited for another's question.
    pub misses: u64,
    /// Loads that asked the store because the feed had not proved in time that it was fresh.
    pub bypasses: u64,
    /// Copies that were dropped because their session was written to.
    pub invalidations: u64,
    /// How often everything was dropped, because the feed may have missed something.
    pub gaps: u64,
    /// How many copies there are.
    pub entries: usize,
    /// How many bytes they take, each counted as its share of
    /// [`max_bytes`](super::CachedStoreBuilder::max_bytes) at least.
    pub bytes: u64,
    /// How long ago it was, by the monotonic clock, up to when the feed has told everything. `None`
    /// if it has not, or there is no feed.
    pub freshness: Option<Duration>,
}

impl CacheStatistics {
    pub(super) fn of(near: &Near) -> Self {
        let stamp = near.freshness.as_ref().and_then(|freshness| freshness.stamp());
        let counts = &near.counts;
        Self {
            hits: near.copies.hits(),
            misses: counts.misses.load(Ordering::Relaxed),
            bypasses: counts.bypasses.load(Ordering::Relaxed),
            invalidations: counts.invalidations.load(Ordering::Relaxed),
            gaps: counts.gaps.load(Ordering::Relaxed),
            entries: near.copies.len(),
            bytes: near.copies.bytes(),
            freshness: stamp.map(|stamp| Instant::now().saturating_duration_since(stamp.instant)),
        }
    }
}
