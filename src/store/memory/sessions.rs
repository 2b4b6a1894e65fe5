//! The map of records, and what has to agree with it.
//!
//! A record changes only in one atomic `compute` on its key, so readers need no lock. No two locks
//! are ever held at a time.

use std::sync::Arc;

use papaya::{Compute, Guard, HashMap, Operation};
use seize::Collector;

use super::{
    bound::Bound,
    deadlines::{Deadlines, Hint},
    keys::Fingerprint,
    users::{UserIndex, UserSessions},
};
use crate::{
    clock::Timestamp,
    error::{StoreError, StoreErrorKind},
    record::Record,
    store::{
        Feed, FeedEvent, Heartbeat,
        fanout::{self, Fanout},
        keys::HashKeys,
    },
    token::SessionKey,
    user::UserId,
};

/// How many hints each `create` looks at. More than the one it adds, so that they don't pile up.
const HINTS_PER_CREATE: usize = 4;

/// How many expired sessions a `create` removes from a full store.
const ROOM_TO_MAKE: usize = 64;

/// A sweep looks at so many hints for each session that it may remove, and at so many more.
const HINTS_PER_REMOVAL: usize = 4;
const MORE_HINTS: usize = 64;

/// So many records that were replaced or removed are freed at a time, by each thread. For each
/// batch all threads are interrupted, which costs a read that is under way some microseconds.
const FREED_AT_A_TIME: usize = 128;

/// How many keys of a user are read under the lock at a time.
const PAGE: usize = 128;

pub(super) struct Sessions {
    records: HashMap<SessionKey, Record, HashKeys>,
    users: UserIndex,
    deadlines: Deadlines,
    bound: Option<Bound>,
    changes: Fanout,
}

impl Sessions {
    pub(super) fn new(bound: Option<Bound>) -> Self {
        Self {
            records: HashMap::builder()
                .hasher(HashKeys::default())
                .collector(Collector::new().batch_size(FREED_AT_A_TIME))
                .build(),
            users: UserIndex::new(),
            deadlines: Deadlines::new(),
            bound,
            changes: Fanout::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn find(&self, key: SessionKey, now: Timestamp) -> Option<Record> {
        self.records.pin().get(&key).filter(|record| record.is_alive(now)).cloned()
    }

    pub(super) fn create(
        &self,
        key: SessionKey,
        record: Record,
        cap: Option<usize>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.sweep_a_little(now);
        if !self.take_place(&record, now) {
            return Err(StoreError::new(StoreErrorKind::Full));
        }
        let hint = Hint::new(record.expires_at(), Fingerprint::of(&key));
        let is_anonymous = record.user.is_none();
        let mut ended = Vec::new();
        {
            let mut sessions = record.user().map(|user| self.users.lock(user));
            let records = self.records.pin();
            let Ok(record) = records.try_insert(key, record) else {
                self.give_place_back();
                return Err(StoreError::new(StoreErrorKind::Collision));
            };
            if let Some((user, sessions)) = record.user().zip(sessions.as_mut()) {
                sessions.insert(key);
                ended = self.enforce(cap, user, sessions, key, now);
            }
        }
        self.tell_ended(ended);
        self.deadlines.push(hint, |session| self.records.pin().contains_key(&session));
        if is_anonymous && let Some(bound) = &self.bound {
            bound.push_anonymous(key, |key| {
                self.records.pin().get(key).is_some_and(|record| record.user.is_none())
            });
        }
        Ok(())
    }

    /// Replaces a record by what `change` makes of it, or answers what `change` answers instead. It
    /// is called again if others are faster, and gets `None` if there is no living record. `binds`
    /// names the user that it may bind the record to.
    pub(super) fn change<T>(
        &self,
        key: SessionKey,
        binds: Option<&UserId>,
        cap: Option<usize>,
        now: Timestamp,
        change: impl Fn(Option<&Record>) -> Result<Record, T>,
    ) -> Result<(), T> {
        let sessions = binds.map(|user| self.users.lock(user));
        let records = self.records.pin();
        let computed = records.compute(key, |entry| {
            let record = entry.map(|(_, record)| record);
            match change(record.filter(|record| record.is_alive(now))) {
                Ok(changed) => Operation::Insert(changed),
                Err(answer) => Operation::Abort(answer),
            }
        });
        if let Compute::Aborted(answer) = computed {
            return Err(answer);
        }
        if let Some((user, mut sessions)) = binds.zip(sessions) {
            sessions.insert(key);
            let ended = self.enforce(cap, user, &mut sessions, key, now);
            drop(sessions);
            self.tell_ended(ended);
        }
        Ok(())
    }

    /// Removes a record on which the condition holds, tells of it, and answers it.
    pub(super) fn end(
        &self,
        key: SessionKey,
        condition: impl Fn(&Record) -> bool,
    ) -> Option<Record> {
        let ended = self.remove(key, condition)?;
        self.changes.send(FeedEvent::Ended(key));
        Some(ended)
    }

    /// Removes a record on which the condition holds, and answers it.
    fn remove(&self, key: SessionKey, condition: impl Fn(&Record) -> bool) -> Option<Record> {
        let records = self.records.pin();
        loop {
            let record = records.get(&key).filter(|record| condition(record))?;
            let mut sessions = record.user().map(|user| self.users.lock(user));
            let is_same = |current: &Record| current.user == record.user && condition(current);
            if let Some(removed) = self.remove_locked(key, sessions.as_mut(), is_same) {
                return Some(removed);
            }
            // It has been changed since it was read: perhaps bound, which needs the lock.
        }
    }

    /// Removes a record on which the condition holds: it is bound to the user whose sessions are
    /// given, or to none if none are.
    fn remove_locked(
        &self,
        key: SessionKey,
        sessions: Option<&mut UserSessions<'_>>,
        condition: impl Fn(&Record) -> bool,
    ) -> Option<Record> {
        let records = self.records.pin();
        let computed = records.compute(key, |entry| match entry {
            Some((_, record)) if condition(record) => Operation::Remove,
            _ => Operation::Abort(()),
        });
        let Compute::Removed(_, record) = computed else { return None };
        if let Some(sessions) = sessions {
            sessions.remove(key);
        }
        self.give_place_back();
        Some(record.clone())
    }

    /// Ends the user's oldest living sessions beyond the cap, but never the one just bound. Answers
    /// their keys.
    fn enforce(
        &self,
        cap: Option<usize>,
        user: &UserId,
        sessions: &mut UserSessions<'_>,
        bound: SessionKey,
        now: Timestamp,
    ) -> Vec<SessionKey> {
        let Some(cap) = cap else { return Vec::new() };
        let records = self.records.pin();
        let is_users = |record: &Record| record.user() == Some(user);
        let mut others: Vec<_> = sessions
            .keys(None)
            .filter(|key| *key != bound)
            .filter_map(|key| Some((records.get(&key)?, key)))
            .filter(|(record, _)| is_users(record) && record.is_alive(now))
            .map(|(record, key)| (record.started_at(), key))
            .collect();
        others.sort_unstable();
        let beyond = (others.len() + 1).saturating_sub(cap.max(1));
        others.truncate(beyond);
        others
            .into_iter()
            .map(|(_, key)| key)
            .filter(|key| self.remove_locked(*key, Some(sessions), is_users).is_some())
            .collect()
    }

    /// Tells of a session that was written to.
    pub(super) fn tell_changed(&self, key: SessionKey) {
        self.changes.send(FeedEvent::Changed(key));
    }

    fn tell_ended(&self, keys: Vec<SessionKey>) {
        keys.into_iter().for_each(|key| self.changes.send(FeedEvent::Ended(key)));
    }

    pub(super) fn feed(self: &Arc<Self>, heartbeat: Heartbeat) -> Feed {
        let sessions = Arc::clone(self);
        fanout::feed(move || sessions.changes.listen(), heartbeat)
    }

    /// The user's living sessions in the order of their keys, beginning behind `after`. The lock is
    /// held for a page at a time.
    pub(super) fn of_user(
        &self,
        user: &UserId,
        after: Option<SessionKey>,
        now: Timestamp,
    ) -> impl Iterator<Item = (SessionKey, Record)> {
        let mut after = after;
        std::iter::from_fn(move || {
            let page: Vec<_> = self.users.lock(user).keys(after).take(PAGE).collect();
            after = Some(*page.last()?);
            Some(page)
        })
        .flatten()
        .filter_map(move |key| Some((key, self.find(key, now)?)))
        .filter(|(_, record)| record.user() == Some(user))
    }

    /// Removes at most `limit` expired records, and answers how many. Where most sessions have been
    /// seen since their hints were added, it stops when it has looked at some times as many.
    ///
    /// All who ask are of one machine and go by one clock: what has ended for one has for all.
    pub(super) fn sweep(&self, limit: usize, now: Timestamp) -> usize {
        let frees = self.frees_what_is_removed();
        let removed = self
            .deadlines
            .shards()
            .flat_map(|shard| std::iter::from_fn(move || self.deadlines.pop_due(shard, now)))
            .take(limit.saturating_mul(HINTS_PER_REMOVAL).saturating_add(MORE_HINTS))
            .filter(|hint| self.remove_expired(*hint, now))
            .take(limit)
            .count();
        if removed > 0 {
            frees.flush();
        }
        removed
    }

    /// As long as it is held, what is removed is not freed. The last one frees it who may have seen
    /// it in the map: with this, whoever removes, and seldom a reader in the middle of a request.
    fn frees_what_is_removed(&self) -> impl Guard + '_ {
        self.records.guard()
    }

    /// What each `create` does of a sweep.
    fn sweep_a_little(&self, now: Timestamp) {
        let frees = self.frees_what_is_removed();
        let shard = self.deadlines.next_shard();
        std::iter::from_fn(|| self.deadlines.pop_due(shard, now))
            .take(HINTS_PER_CREATE)
            .for_each(|hint| _ = self.remove_expired(hint, now));
        if shard == 0 {
            // The map frees in batches what was replaced. Creating replaces little, but among it
            // are whole tables that were outgrown.
            frees.flush();
        }
    }

    /// Whether the hint was right; the session is looked at again when it may really have expired.
    fn remove_expired(&self, hint: Hint, now: Timestamp) -> bool {
        let records = self.records.pin();
        while let Some((key, record)) = records.get_key_value(&hint.session) {
            if record.is_alive(now) {
                let later = Hint::new(record.expires_at(), hint.session);
                self.deadlines.push(later, |session| records.contains_key(&session));
                return false;
            }
            if self.remove(*key, |record| !record.is_alive(now)).is_some() {
                return true;
            }
        }
        false
    }

    /// Takes the place of a new session. A full store makes room for a login by ending the oldest
    /// anonymous session.
    fn take_place(&self, record: &Record, now: Timestamp) -> bool {
        let Some(bound) = &self.bound else { return true };
        if bound.take() {
            return true;
        }
        self.sweep(ROOM_TO_MAKE, now);
        loop {
            if bound.take() {
                return true;
            }
            if record.user.is_none() || !self.end_oldest_anonymous(bound) {
                return false;
            }
        }
    }

    /// Some keys that it looks at are stale. Each was put there by a `create` and is looked at
    /// once.
    fn end_oldest_anonymous(&self, bound: &Bound) -> bool {
        std::iter::from_fn(|| bound.pop_anonymous())
            .any(|key| self.end(key, |record| record.user.is_none()).is_some())
    }

    fn give_place_back(&self) {
        if let Some(bound) = &self.bound {
            bound.give_back();
        }
    }
}

#[cfg(test)]
impl Sessions {
    pub(super) fn bound_keys(&self) -> Vec<SessionKey> {
        let records = self.records.pin();
        records.iter().filter(|(_, record)| record.user.is_some()).map(|(key, _)| *key).collect()
    }

    /// The keys in the index, each of which has to be that of a record of the user it is under.
    pub(super) fn indexed_keys(&self) -> Vec<SessionKey> {
        self.users.all_keys()
    }

    pub(super) fn hints(&self) -> usize {
        self.deadlines.hints(|_| true)
    }

    /// How many hints are to be looked at. Each look makes it one less: what lives is due later.
    pub(super) fn due_hints(&self, now: Timestamp) -> usize {
        self.deadlines.hints(|hint| hint.is_due(now))
    }
}
