//! Copies of records, and the questions to the store that they come from.
//!
//! A copy enters, and a session's copy and question are forgotten, under one lock. So what was
//! asked before an invalidation can't enter after it.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use quick_cache::{OptionsBuilder, Weighter, sync::Cache};

use super::{builder::Limits, users::Slot};
use crate::{
    error::StoreError,
    record::Record,
    store::{Stamp, keys::HashKeys},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    token::SessionKey,
};

const SHARDS: usize = 64;

/// What a copy takes beside its contents: the key, links, its share of the tables, and of the
/// memory of what was dropped lately.
const COPY_OVERHEAD: usize = 160;

/// What a field takes beside name and value.
const FIELD_OVERHEAD: usize = 80;

pub(super) type Answer = Result<Option<Record>, StoreError>;

/// A question to the store that several may wait for.
pub(super) type Question = Shared<BoxFuture<'static, Answer>>;

/// When a question was asked.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// By the clocks; the timestamp is the `now` of the question.
    pub(super) at: Stamp,
    /// How many times a user's sessions had been ended.
    pub(super) user_ends: u64,
}

/// A record as it was in the store some time after it was asked for.
pub(super) struct Kept {
    pub(super) record: Record,
    pub(super) user: Option<Slot>,
    pub(super) asked: Asked,
    bytes: u64,
}

impl Kept {
    pub(super) fn new(record: Record, user: Option<Slot>, asked: Asked) -> Self {
        let fields = record.fields().map(|(name, json)| FIELD_OVERHEAD + name.len() + json.len());
        let texts = record.user().map_or(0, |user| user.as_str().len())
            + record.label().map_or(0, str::len);
        let bytes = size_of::<Self>() + COPY_OVERHEAD + texts + fields.sum::<usize>();
        Self { record, user, asked, bytes: bytes as u64 }
    }
}

/// The larger of the bytes that a copy takes, and its share if each of the most that there may be
/// takes the same: so one bound is both.
#[derive(Clone)]
struct Weight {
    share: u64,
}

impl Weighter<SessionKey, Arc<Kept>> for Weight {
    fn weight(&self, _: &SessionKey, kept: &Arc<Kept>) -> u64 {
        kept.bytes.max(self.share)
    }
}

pub(super) struct Copies {
    // Behind pointers, so that the tables, which grow by doubling, are small.
    kept: Cache<SessionKey, Arc<Kept>, Weight, HashKeys>,
    shards: [Shard; SHARDS],
    next_question: AtomicU64,
}

// Counts of two shards in one line of the processor's cache would slow each other down.
#[repr(align(128))]
#[derive(Default)]
struct Shard {
    // Keys that clients choose: its hashes are seeded.
    asked: Mutex<HashMap<SessionKey, Open>>,
    hits: AtomicU64,
}

/// A question whose answer may enter.
struct Open {
    number: u64,
    asked: Asked,
    question: WeakShared<BoxFuture<'static, Answer>>,
}

/// What lets the answer to a question enter.
pub(super) struct Registration {
    key: SessionKey,
    number: u64,
}

impl Copies {
    pub(super) fn new(limits: &Limits) -> Self {
        let smallest = (size_of::<Kept>() + COPY_OVERHEAD) as u64;
        let most = usize::try_from(limits.max_bytes / smallest).unwrap_or(usize::MAX);
        let entries = limits.max_entries.min(most).max(1);
        // A multiple of the number of the cache's parts, among which it is split.
        let shards = SHARDS.min(entries.div_ceil(32).next_power_of_two());
        let bytes = limits.max_bytes - limits.max_bytes % shards as u64;
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity(entries)
            .weight_capacity(bytes)
            .build()
            .expect("both capacities are given");
        let share = limits.max_bytes.div_ceil(limits.max_entries as u64);
        Self {
            kept: Cache::with_options(
                options,
                Weight { share },
                HashKeys::default(),
                Default::default(),
            ),
            shards: std::array::from_fn(|_| Shard::default()),
            next_question: AtomicU64::new(0),
        }
    }

    pub(super) fn get(&self, key: SessionKey) -> Option<Arc<Kept>> {
        self.kept.get(&key)
    }

    pub(super) fn count_hit(&self, key: SessionKey) {
        self.shard(key).hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn hits(&self) -> u64 {
        self.shards.iter().map(|shard| shard.hits.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.kept.weight()
    }

    /// The question of this session that is under way, if it may be joined; otherwise a new one,
    /// made with what lets its answer enter.
    pub(super) fn join_or_ask(
        &self,
        key: SessionKey,
        may_join: impl FnOnce(&Asked) -> bool,
        asked: Asked,
        ask: impl FnOnce(Registration) -> BoxFuture<'static, Answer>,
    ) -> (Question, Option<Asked>) {
        let mut open = lock(&self.shard(key).asked);
        if let Some(joined) = open.get(&key)
            && may_join(&joined.asked)
            && let Some(question) = joined.question.upgrade()
        {
            return (question, Some(joined.asked));
        }
        let number = self.next_question.fetch_add(1, Ordering::Relaxed);
        let question = ask(Registration { key, number }).shared();
        let weak = question.downgrade().expect("it has not been polled");
        open.insert(key, Open { number, asked, question: weak });
        (question, None)
    }

    /// Keeps the answer to a question, unless the question has been forgotten since.
    pub(super) fn enter(&self, registration: &Registration, kept: Kept) {
        let mut open = lock(&self.shard(registration.key).asked);
        if registration.take(&mut open) {
            self.kept.insert(registration.key, Arc::new(kept));
        }
    }

    /// The question needs no longer be joined: it is answered, or nobody waits for it.
    pub(super) fn close(&self, registration: &Registration) {
        registration.take(&mut lock(&self.shard(registration.key).asked));
    }

    /// Forgets the session's copy and question. Answers whether there was a copy.
    pub(super) fn forget(&self, key: SessionKey) -> bool {
        let mut open = lock(&self.shard(key).asked);
        open.remove(&key);
        self.kept.remove(&key).is_some()
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        for shard in &self.shards {
            lock(&shard.asked).clear();
        }
        // What entered since was asked for since.
        self.kept.clear();
    }

    fn shard(&self, key: SessionKey) -> &Shard {
        // Keys are random; one that a client makes up is only ever a question.
        &self.shards[usize::from(key.as_bytes()[0]) % SHARDS]
    }
}

#[cfg(test)]
impl Copies {
    /// How many questions may be joined.
    pub(super) fn questions(&self) -> usize {
        self.shards.iter().map(|shard| lock(&shard.asked).len()).sum()
    }
}

impl Registration {
    fn take(&self, open: &mut HashMap<SessionKey, Open>) -> bool {
        let is_open = open.get(&self.key).is_some_and(|open| open.number == self.number);
        if is_open {
            open.remove(&self.key);
        }
        is_open
    }
}

/// No code that holds the lock panics, and were it to, the data would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_keys_are_spread_over_all_shards() {
        let copies = Copies::new(&Limits { max_entries: 100, max_bytes: 1 << 20 });
        let mut used: Vec<_> = (0..=255)
            .map(|byte| std::ptr::from_ref(copies.shard(SessionKey::from_bytes([byte; 16]))))
            .collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), SHARDS);
    }
}
