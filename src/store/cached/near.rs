//! What all handles of a near cache, and all questions that are under way, share.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{sync::Notify, time::Instant};

use super::{
    copies::{Answer, Asked, Copies, Kept, Registration},
    freshness::Freshness,
    users::{Slot, UserEnds},
};
use crate::{
    clock::Timestamp,
    record::Record,
    store::{FeedEvent, SessionStore, Stamp, StoreFuture, fanout::Fanout},
    sync::atomic::{AtomicU64, Ordering},
    token::{Proof, SessionKey},
};

/// For so long others may wait for the answer to a question that was asked before theirs: one that
/// takes longer is perhaps never answered.
const JOINED_FOR: Duration = Duration::from_millis(500);

pub(super) struct Near {
    pub(super) store: Arc<dyn SessionStore>,
    pub(super) copies: Copies,
    pub(super) user_ends: UserEnds,
    /// How old the freshness may be; without a feed, how old a copy.
    pub(super) limit: Duration,
    /// `None` without a feed.
    pub(super) freshness: Option<Freshness>,
    /// Woken when the feed has proved that it is fresh.
    pub(super) refreshed: Notify,
    pub(super) changes: Fanout,
    pub(super) counts: Counts,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) misses: AtomicU64,
    pub(super) bypasses: AtomicU64,
    pub(super) invalidations: AtomicU64,
    pub(super) gaps: AtomicU64,
}

impl Near {
    /// This moment, in an operation whose `now` is this.
    pub(super) fn moment(now: Timestamp) -> Stamp {
        Stamp { instant: Instant::now(), timestamp: now }
    }

    /// Whether copies may be used at this moment, as far as the feed is concerned.
    pub(super) fn is_fresh(&self, at: Stamp) -> bool {
        match &self.freshness {
            Some(freshness) => freshness.stamp().is_some_and(|stamp| self.is_recent(stamp, at)),
            None => true,
        }
    }

    /// By both clocks, of which the wall clock may have been set back.
    fn is_recent(&self, earlier: Stamp, later: Stamp) -> bool {
        later.instant.saturating_duration_since(earlier.instant) <= self.limit
            && self.is_within_limit(earlier.timestamp, later.timestamp)
    }

    /// Fractions of a millisecond are cut off: less than the limit is what is surely not more.
    pub(super) fn is_within_limit(&self, one: Timestamp, other: Timestamp) -> bool {
        one.saturating_since(other).max(other.saturating_since(one)) < self.limit
    }

    /// The copy of the session's record, if it will do.
    pub(super) fn find(&self, key: SessionKey, proof: Proof, at: Stamp) -> Option<Record> {
        let kept = self.copies.get(key)?;
        let will_do = self.is_usable(&kept.asked, at)
            && !kept.user.is_some_and(|slot| self.has_ended(slot, &kept.asked))
            && will_do(&kept.record, proof, at.timestamp);
        will_do.then(|| {
            self.copies.count_hit(key);
            kept.record.clone()
        })
    }

    /// Asks the store for the record, or waits for the answer to a question that is under way.
    pub(super) fn ask(
        self: &Arc<Self>,
        key: SessionKey,
        proof: Proof,
        at: Stamp,
    ) -> StoreFuture<Option<Record>> {
        self.counts.misses.fetch_add(1, Ordering::Relaxed);
        // Counted before the store is asked.
        let asked = Asked { at, user_ends: self.user_ends.count() };
        let may_join = |joined: &Asked| {
            at.instant.saturating_duration_since(joined.at.instant) <= JOINED_FOR
                && self.is_recent(joined.at, at)
        };
        let (question, joined) = self.copies.join_or_ask(key, may_join, asked, |registration| {
            let asking = Asking { near: Arc::clone(self), registration };
            async move {
                let answer = asking.near.store.load(key, proof, at.timestamp).await;
                if let Ok(Some(record)) = &answer {
                    asking.keep(record, asked);
                }
                answer
            }
            .boxed()
        });
        let Some(joined) = joined else { return StoreFuture::boxed(question) };
        let near = Arc::clone(self);
        StoreFuture::boxed(async move {
            let answer = question.await;
            if near.is_answer(&answer, &joined, proof, at.timestamp) {
                return answer;
            }
            near.store.load(key, proof, at.timestamp).await
        })
    }

    /// Whether the answer to another's question is one to this, too: never a refusal that the store
    /// itself might not give.
    fn is_answer(&self, answer: &Answer, joined: &Asked, proof: Proof, now: Timestamp) -> bool {
        match answer {
            Ok(Some(record)) => {
                let slot = record.user().map(|user| self.user_ends.slot(user));
                !slot.is_some_and(|slot| self.has_ended(slot, joined))
                    && will_do(record, proof, now)
            }
            // What has expired then has expired now.
            Ok(None) => joined.at.timestamp <= now,
            Err(_) => true,
        }
    }

    /// Without a feed, a copy is used for as long as the limit. With one, it is right as long as
    /// that is fresh.
    fn is_usable(&self, asked: &Asked, at: Stamp) -> bool {
        self.freshness.is_some() || self.is_recent(asked.at, at)
    }

    fn has_ended(&self, slot: Slot, asked: &Asked) -> bool {
        self.user_ends.ended_since(slot, asked.user_ends)
    }

    /// Takes note of what the feed tells, then passes it on.
    pub(super) fn hear(&self, freshness: &Freshness, event: FeedEvent) {
        match event {
            FeedEvent::Changed(key) | FeedEvent::Ended(key) => self.forget(key),
            FeedEvent::Gap => {
                freshness.lose();
                self.copies.clear();
                self.counts.gaps.fetch_add(1, Ordering::Relaxed);
            }
            FeedEvent::Fresh(stamp) => {
                freshness.set(stamp);
                self.refreshed.notify_waiters();
            }
        }
        self.changes.send(event);
    }

    pub(super) fn forget(&self, key: SessionKey) {
        if self.copies.forget(key) {
            self.counts.invalidations.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What this node writes is not seen in a copy: neither while it is written, nor when it has
    /// been, nor when nobody waits for it any more. Names the session that is written to, and the
    /// user of whom others may end.
    pub(super) fn writes(self: &Arc<Self>, key: Option<SessionKey>, user: Option<Slot>) -> Writing {
        let writing = Writing { near: Arc::clone(self), key, user };
        writing.forget();
        writing
    }
}

/// Whether the record answers a load: that it doesn't never means that there is no session.
fn will_do(record: &Record, proof: Proof, now: Timestamp) -> bool {
    record.is_alive(now) && record.proof() == proof
}

/// A question to the store. When it is answered, or nobody waits for it any more, it can't be
/// joined.
struct Asking {
    near: Arc<Near>,
    registration: Registration,
}

impl Asking {
    fn keep(&self, record: &Record, asked: Asked) {
        let user = record.user().map(|user| self.near.user_ends.slot(user));
        self.near.copies.enter(&self.registration, Kept::new(record.clone(), user, asked));
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.near.copies.close(&self.registration);
    }
}

/// A write that is under way.
pub(super) struct Writing {
    near: Arc<Near>,
    key: Option<SessionKey>,
    user: Option<Slot>,
}

impl Writing {
    fn forget(&self) {
        if let Some(key) = self.key {
            self.near.forget(key);
        }
        if let Some(slot) = self.user {
            self.near.user_ends.end(slot);
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, cached::builder::Limits};

    #[test]
    fn a_question_that_is_answered_or_that_nobody_waits_for_takes_no_room() {
        let near = Arc::new(Near {
            store: Arc::new(MemoryStore::new()),
            copies: Copies::new(&Limits { max_entries: 100, max_bytes: 1 << 20 }),
            user_ends: UserEnds::new(),
            limit: Duration::from_secs(2),
            freshness: None,
            refreshed: Notify::new(),
            changes: Fanout::default(),
            counts: Counts::default(),
        });
        let at = Near::moment(Timestamp::from_unix_millis(0));
        let proof = Proof::from_bytes([0; 32]);
        let mut questions: Vec<_> =
            (0..100).map(|key| near.ask(SessionKey::from_bytes([key; 16]), proof, at)).collect();
        assert_eq!(near.copies.questions(), 100);
        for question in questions.drain(..50) {
            assert!(matches!(question.now_or_never(), Some(Ok(None))));
        }
        assert_eq!(near.copies.questions(), 50);
        drop(questions);
        assert_eq!(near.copies.questions(), 0);
    }
}
