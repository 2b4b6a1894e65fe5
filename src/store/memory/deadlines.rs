//! When to look whether a session has expired.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{keys::Fingerprint, lock};
use crate::{
    clock::Timestamp,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

const SHARDS: usize = 64;

/// A shard is never searched for stale hints below this number.
const MIN_STALE: usize = 64;

/// A hint that a session may have expired. It may be stale: the session has been seen since, or has
/// ended. It is less than a second later than the deadline, unless a shorter lifetime was set.
///
/// It takes 12 bytes, and there is at least one for each session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hint {
    // Whole seconds, rounded up: one that was due before the deadline would be put back for the
    // same second, again and again.
    due: u32,
    pub(super) session: Fingerprint,
}

impl Hint {
    pub(super) fn new(deadline: Timestamp, session: Fingerprint) -> Self {
        let seconds = deadline.as_unix_millis().div_ceil(1000);
        Self { due: u32::try_from(seconds).unwrap_or(u32::MAX), session }
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        u64::from(self.due) <= now.as_unix_seconds()
    }
}

/// One hint, at least, for each session in the map.
pub(super) struct Deadlines {
    shards: [Mutex<Shard>; SHARDS],
    next: AtomicUsize,
}

struct Shard {
    hints: BinaryHeap<Reverse<Hint>>,
    // How many hints there may be before the stale ones are dropped.
    allowed: usize,
}

impl Deadlines {
    pub(super) fn new() -> Self {
        let shard = || Shard { hints: BinaryHeap::new(), allowed: MIN_STALE };
        Self { shards: std::array::from_fn(|_| Mutex::new(shard())), next: AtomicUsize::new(0) }
    }

    /// Adds a hint, and drops the stale ones if they may be more than the others: then at least as
    /// many hints were added since it was done last.
    pub(super) fn push(&self, hint: Hint, is_stored: impl Fn(Fingerprint) -> bool) {
        let mut shard = lock(&self.shards[hint.session.part(SHARDS)]);
        let Shard { hints, allowed } = &mut *shard;
        if hints.len() >= *allowed {
            hints.retain(|Reverse(hint)| is_stored(hint.session));
            *allowed = 2 * hints.len() + MIN_STALE;
            hints.shrink_to(hints.len() + hints.len() / 8);
        }
        if hints.len() == hints.capacity() {
            // An eighth rather than the double: there are as many hints as sessions.
            hints.reserve_exact(hints.len() / 8 + 4);
        }
        hints.push(Reverse(hint));
    }

    /// Takes a hint that is due at `now` from the shard.
    pub(super) fn pop_due(&self, shard: usize, now: Timestamp) -> Option<Hint> {
        let hints = &mut lock(&self.shards[shard]).hints;
        hints.peek().filter(|Reverse(hint)| hint.is_due(now))?;
        let hint = hints.pop();
        if hints.len() < hints.capacity() / 4 {
            hints.shrink_to(hints.len() * 2);
        }
        hint.map(|Reverse(hint)| hint)
    }

    /// The shards one after the other, round and round.
    pub(super) fn next_shard(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % SHARDS
    }

    /// Each shard once, beginning with another each time.
    pub(super) fn shards(&self) -> impl Iterator<Item = usize> + use<> {
        let first = self.next_shard();
        (first..SHARDS).chain(0..first)
    }
}

#[cfg(test)]
impl Deadlines {
    pub(super) fn hints(&self, condition: impl Fn(&Hint) -> bool) -> usize {
        let count = |shard: &Shard| shard.hints.iter().filter(|hint| condition(&hint.0)).count();
        self.shards.iter().map(|shard| count(&lock(shard))).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::token::SessionKey;

    #[test]
    fn stale_hints_are_searched_for_when_there_are_twice_as_many_and_some_more() {
        let deadlines = Deadlines::new();
        let session = Fingerprint::of(&SessionKey::from_bytes([0; 16]));
        let hint = Hint::new(Timestamp::from_unix_millis(0), session);
        let mut searched = Vec::new();
        for pushed in 0..=7 * MIN_STALE {
            let looks = Cell::new(0);
            deadlines.push(hint, |_| {
                looks.set(looks.get() + 1);
                true
            });
            if looks.get() > 0 {
                searched.push(pushed);
            }
        }
        assert_eq!(searched, [MIN_STALE, 3 * MIN_STALE, 7 * MIN_STALE]);
    }

    #[test]
    fn room_grows_by_an_eighth_and_is_given_back() {
        let deadlines = Deadlines::new();
        let session = Fingerprint::of(&SessionKey::from_bytes([0; 16]));
        let shard = session.part(SHARDS);
        let room = || {
            let hints = &lock(&deadlines.shards[shard]).hints;
            (hints.len(), hints.capacity())
        };
        for second in 0..1000 {
            let (len, mut capacity) = room();
            let searched = Cell::new(false);
            let hint = Hint::new(Timestamp::from_unix_millis(1000 * second), session);
            deadlines.push(hint, |_| {
                searched.set(true);
                true
            });
            if searched.get() {
                capacity = capacity.min(len + len / 8);
            }
            if len == capacity {
                capacity = len + len / 8 + 4;
            }
            assert_eq!(room(), (len + 1, capacity));
        }
        let late = Timestamp::from_unix_millis(1_000_000);
        while let (1.., mut capacity) = room() {
            assert!(deadlines.pop_due(shard, late).is_some());
            let (len, now) = room();
            if len < capacity / 4 {
                capacity = 2 * len;
            }
            assert_eq!(now, capacity, "{len}");
        }
    }

    #[test]
    fn the_room_of_stale_hints_is_given_back() {
        let deadlines = Deadlines::new();
        let session = Fingerprint::of(&SessionKey::from_bytes([0; 16]));
        let hint = Hint::new(Timestamp::from_unix_millis(0), session);
        for pushed in 0..=7 * MIN_STALE {
            // All are stored but most of those that the last search finds.
            let found = Cell::new(0);
            deadlines.push(hint, |_| {
                found.set(found.get() + 1);
                pushed < 7 * MIN_STALE || found.get() <= 64
            });
        }
        let hints = &lock(&deadlines.shards[session.part(SHARDS)]).hints;
        assert_eq!((hints.len(), hints.capacity()), (64 + 1, 64 + 8));
    }
}
