//! Sessions in this process's memory.

mod bound;
mod deadlines;
mod keys;
mod sessions;
#[cfg(test)]
mod tests;
mod users;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fmt,
    sync::{Arc, PoisonError},
};

use self::{bound::Bound, sessions::Sessions};
use super::{Feed, Heartbeat, Rotated, SessionStore, StoreFuture, Updated};
use crate::{
    clock::Timestamp,
    record::{Change, Record, SessionSummary},
    sync::{Mutex, MutexGuard},
    token::{Proof, SessionKey},
    user::UserId,
};

/// Sessions in this process's memory: they end with the process, and no other node sees them.
///
/// A clone is a handle to the same sessions. Every answer is there at once, without a runtime.
/// Reads take no lock, and what has no user is changed without one.
///
/// What changes is told to those who listen to its [feed](SessionStore::feed); where nobody does, a
/// write is hardly slower for it and a read not at all.
///
/// Nothing is spawned: each `create` removes a few expired sessions, so that they don't pile up.
/// Where the memory is to be freed in idle times as well, add a [`Sweeper`](crate::Sweeper).
///
/// ```
/// use tower_wristband::MemoryStore;
///
/// let store = MemoryStore::with_max_sessions(100_000);
/// assert!(store.is_empty());
/// ```
#[derive(Clone)]
pub struct MemoryStore(Arc<Sessions>);

impl MemoryStore {
    /// A store for as many sessions as there is memory for.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Sessions::new(None)))
    }

    /// A store for at most `max` sessions, so that visitors can't exhaust the memory.
    ///
    /// When it is full, it looks at a few hundred sessions that may have expired a second ago or
    /// earlier, to make room. If none of them has, a new anonymous session is refused as
    /// [`Full`](crate::StoreErrorKind::Full). A new session of a user ends the oldest anonymous
    /// one, and is refused only if there is none. A login on a session that exists needs no room.
    ///
    /// What is replaced or removed is freed in batches: each thread may keep up to 128 records that
    /// are no more.
    #[must_use]
    pub fn with_max_sessions(max: usize) -> Self {
        Self(Arc::new(Sessions::new(Some(Bound::new(max)))))
    }

    /// How many sessions there are, with expired ones that have not been removed yet. It may be
    /// slightly off while others create and end sessions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    /// Only how many sessions there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl SessionStore for MemoryStore {
    fn load(&self, key: SessionKey, _: Proof, now: Timestamp) -> StoreFuture<Option<Record>> {
        StoreFuture::ok(self.0.find(key, now))
    }

    fn create(
        &self,
        key: SessionKey,
        record: Record,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<()> {
        StoreFuture::ready(self.0.create(key, record, cap, now))
    }

    fn update(
        &self,
        key: SessionKey,
        change: Change,
        logins: u32,
        expect: Option<u64>,
        now: Timestamp,
    ) -> StoreFuture<Updated> {
        let updated = self.0.change(key, change.parts().user, None, now, |record| {
            let Some(mut record) = record.cloned() else { return Err(Updated::Gone) };
            match record.update(&change, logins, expect, now) {
                Updated::Stored => Ok(record),
                refused => Err(refused),
            }
        });
        StoreFuture::ok(match updated {
            Ok(()) => {
                self.0.tell_changed(key);
                Updated::Stored
            }
            Err(refused) => refused,
        })
    }

    fn rotate(
        &self,
        key: SessionKey,
        from: Proof,
        to: Proof,
        change: Change,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<Rotated> {
        let rotated = self.0.change(key, change.parts().user, cap, now, |record| {
            let Some(mut record) = record.cloned() else { return Err(Rotated::Gone) };
            let is_repeated = record.proof == to;
            match record.rotate(from, to, &change, now) {
                Rotated::Stored if !is_repeated => Ok(record),
                unchanged => Err(unchanged),
            }
        });
        StoreFuture::ok(match rotated {
            Ok(()) => {
                self.0.tell_changed(key);
                Rotated::Stored
            }
            Err(unchanged) => unchanged,
        })
    }

    fn touch(&self, key: SessionKey, logins: u32, now: Timestamp) -> StoreFuture<bool> {
        let touched = self.0.change(key, None, None, now, |record| {
            let Some(mut record) = record.cloned() else { return Err(false) };
            if record.touch(logins, now) { Ok(record) } else { Err(false) }
        });
        StoreFuture::ok(touched.is_ok())
    }

    fn destroy(&self, key: SessionKey, owner: Option<UserId>, now: Timestamp) -> StoreFuture<bool> {
        let removed = self.0.end(key, |record| owner.is_none() || record.user == owner);
        StoreFuture::ok(removed.is_some_and(|record| record.is_alive(now)))
    }

    fn list(
        &self,
        user: UserId,
        after: Option<SessionKey>,
        limit: usize,
        now: Timestamp,
    ) -> StoreFuture<Vec<SessionSummary>> {
        let sessions = self.0.of_user(&user, after, now).take(limit);
        StoreFuture::ok(sessions.map(|(key, record)| record.summary(key)).collect())
    }

    fn destroy_user(
        &self,
        user: UserId,
        except: Option<SessionKey>,
        keep_newest: usize,
        now: Timestamp,
    ) -> StoreFuture<usize> {
        let mut newest = BinaryHeap::new();
        let mut ended = 0;
        for (key, record) in self.0.of_user(&user, None, now) {
            if Some(key) == except {
                continue;
            }
            newest.push(Reverse((record.started_at(), key)));
            if newest.len() > keep_newest
                && let Some(Reverse((_, oldest))) = newest.pop()
                && let Some(removed) = self.0.end(oldest, |record| record.user() == Some(&user))
            {
                ended += usize::from(removed.is_alive(now));
            }
        }
        StoreFuture::ok(ended)
    }

    fn sweep(&self, limit: usize, now: Timestamp) -> StoreFuture<usize> {
        StoreFuture::ok(self.0.sweep(limit, now))
    }

    fn check(&self, _: Timestamp) -> StoreFuture<()> {
        StoreFuture::ok(())
    }

    fn feed(&self, heartbeat: Heartbeat) -> Option<Feed> {
        Some(self.0.feed(heartbeat))
    }
}

/// No code that holds one of the locks panics, and were it to, the data would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
