//! How many sessions there may be.

use std::collections::VecDeque;

use super::lock;
use crate::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    token::SessionKey,
};

/// The queue is never searched for stale keys below this number.
const MIN_STALE: usize = 64;

/// A bound on the number of sessions. Each has its place, taken before it is stored.
pub(super) struct Bound {
    max: usize,
    taken: AtomicUsize,
    anonymous: Mutex<Anonymous>,
}

/// The sessions that were created without a user, in that order; some have ended or been bound
/// since.
struct Anonymous {
    keys: VecDeque<SessionKey>,
    // How many keys there may be before the stale ones are dropped.
    allowed: usize,
}

impl Bound {
    pub(super) fn new(max: usize) -> Self {
        let anonymous = Anonymous { keys: VecDeque::new(), allowed: MIN_STALE };
        Self { max, taken: AtomicUsize::new(0), anonymous: Mutex::new(anonymous) }
    }

    /// Takes a place, if there is one.
    pub(super) fn take(&self) -> bool {
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < self.max).then_some(taken + 1)
            })
            .is_ok()
    }

    /// Gives a place back.
    pub(super) fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// Adds an anonymous session, the newest.
    pub(super) fn push_anonymous(
        &self,
        key: SessionKey,
        is_anonymous: impl Fn(&SessionKey) -> bool,
    ) {
        let mut anonymous = lock(&self.anonymous);
        let Anonymous { keys, allowed } = &mut *anonymous;
        if keys.len() >= *allowed {
            keys.retain(is_anonymous);
            *allowed = 2 * keys.len() + MIN_STALE;
            keys.shrink_to(*allowed);
        }
        keys.push_back(key);
    }

    /// Takes the oldest of what may be anonymous sessions.
    pub(super) fn pop_anonymous(&self) -> Option<SessionKey> {
        lock(&self.anonymous).keys.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn stale_keys_are_searched_for_when_there_are_twice_as_many_and_some_more() {
        let bound = Bound::new(usize::MAX);
        let mut searched = Vec::new();
        for pushed in 0..=7 * MIN_STALE {
            let looks = Cell::new(0);
            bound.push_anonymous(SessionKey::from_bytes([0; 16]), |_| {
                looks.set(looks.get() + 1);
                true
            });
            if looks.get() > 0 {
                searched.push(pushed);
            }
        }
        assert_eq!(searched, [MIN_STALE, 3 * MIN_STALE, 7 * MIN_STALE]);
    }
}
