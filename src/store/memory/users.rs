//! Which sessions are bound to which user.

use std::{
    collections::{BTreeSet, hash_map::RandomState},
    hash::BuildHasher,
    ops::Bound,
};

use super::lock;
use crate::{
    sync::{Mutex, MutexGuard},
    token::SessionKey,
    user::UserId,
};

const SHARDS: usize = 64;

/// The hash of a user, with a random key: nobody can choose ids that collide. Where two users share
/// one, each finds the other's sessions too, so whoever looks here compares the record's user.
type UserHash = u32;

type Entries = BTreeSet<(UserHash, SessionKey)>;

/// The keys of all bound sessions, in the order of their users' hashes.
///
/// A session is in it as long as its record is in the map and bound: whoever changes that holds the
/// user's lock.
pub(super) struct UserIndex {
    random: RandomState,
    shards: [Mutex<Entries>; SHARDS],
}

impl UserIndex {
    pub(super) fn new() -> Self {
        Self { random: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// The sessions of one user; nobody else changes them until the answer is dropped.
    pub(super) fn lock(&self, user: &UserId) -> UserSessions<'_> {
        let hash = self.random.hash_one(user);
        UserSessions {
            user: (hash >> 32) as UserHash,
            entries: lock(&self.shards[hash as usize % SHARDS]),
        }
    }
}

#[cfg(test)]
impl UserIndex {
    pub(super) fn all_keys(&self) -> Vec<SessionKey> {
        let keys =
            |shard: &Mutex<Entries>| lock(shard).iter().map(|(_, key)| *key).collect::<Vec<_>>();
        self.shards.iter().flat_map(keys).collect()
    }
}

/// The sessions of one user, locked.
pub(super) struct UserSessions<'a> {
    user: UserHash,
    entries: MutexGuard<'a, Entries>,
}

impl UserSessions<'_> {
    pub(super) fn insert(&mut self, key: SessionKey) {
        self.entries.insert((self.user, key));
    }

    pub(super) fn remove(&mut self, key: SessionKey) {
        self.entries.remove(&(self.user, key));
    }

    /// The keys in their order, beginning behind `after`.
    pub(super) fn keys(&self, after: Option<SessionKey>) -> impl Iterator<Item = SessionKey> {
        let first = match after {
            Some(after) => Bound::Excluded((self.user, after)),
            None => Bound::Included((self.user, SessionKey::from_bytes([0; 16]))),
        };
        let last = Bound::Included((self.user, SessionKey::from_bytes([u8::MAX; 16])));
        self.entries.range((first, last)).map(|(_, key)| *key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn users_of_one_shard_are_told_apart() {
        let index = UserIndex::new();
        let hashes: HashSet<_> =
            (0..100_u32).map(|user| index.lock(&UserId::from(user)).user).collect();
        assert!(hashes.len() > 90, "{}", hashes.len());
    }
}
