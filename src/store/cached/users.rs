//! Whose sessions were ended all at once.

use std::{collections::hash_map::RandomState, hash::BuildHasher};

use crate::{
    sync::atomic::{AtomicU64, Ordering},
    user::UserId,
};

const SLOTS: usize = 1024;

/// When this node last ended sessions of a user whose keys it was not told: by `destroy_user` or a
/// cap. A copy that was asked for earlier is not to be trusted.
///
/// Users share slots: where others share one with a user whose sessions are ended, their copies are
/// asked for again.
pub(super) struct UserEnds {
    random: RandomState,
    /// Counts the ends.
    latest: AtomicU64,
    /// The number of the latest end of each slot.
    slots: Box<[AtomicU64]>,
}

/// A number that users share, the same as long as the cache lives.
#[derive(Clone, Copy)]
pub(super) struct Slot(u16);

impl UserEnds {
    pub(super) fn new() -> Self {
        Self {
            random: RandomState::new(),
            latest: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(super) fn slot(&self, user: &UserId) -> Slot {
        // Less than 1024.
        Slot((self.random.hash_one(user.as_str()) % SLOTS as u64) as u16)
    }

    /// How many ends there have been.
    pub(super) fn count(&self) -> u64 {
        self.latest.load(Ordering::SeqCst)
    }

    /// Sessions of this slot's users end.
    pub(super) fn end(&self, slot: Slot) {
        let number = self.latest.fetch_add(1, Ordering::SeqCst) + 1;
        self.slots[usize::from(slot.0)].fetch_max(number, Ordering::SeqCst);
    }

    /// Whether there has been an end of this slot since there were `count`.
    pub(super) fn ended_since(&self, slot: Slot, count: u64) -> bool {
        self.slots[usize::from(slot.0)].load(Ordering::Acquire) > count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_seen_by_whoever_has_counted_before_it_and_not_after_it() {
        let ends = UserEnds::new();
        let slot = ends.slot(&UserId::from(1));
        for _ in 0..3 {
            let before = ends.count();
            assert!(!ends.ended_since(slot, before));
            ends.end(slot);
            assert!(ends.ended_since(slot, before));
        }
    }
}
