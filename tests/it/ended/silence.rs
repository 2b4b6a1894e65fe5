//! Waiting for the end of sessions while a part of the store has fallen silent, as one master of a
//! Cluster may.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};
use tower_wristband::{
    Clock, EndReason, MemoryStore, Session, SessionKey, SessionSummary, Timestamp, UserId,
    future::Ended,
    store::{Change, FeedEvent, Proof, Record, Rotated, SessionStore, StoreFuture, Updated},
    testing::{Fault, Operation},
};

use super::{
    RECHECK, SECOND,
    looks::{a_hundred_streams, scripted},
    stream,
};
use crate::support::{World, world_on};

/// A store that tells nothing by itself. When it is told to, one half of it never answers a load.
#[derive(Clone, Default)]
struct Halves {
    inner: MemoryStore,
    one_is_silent: Arc<AtomicBool>,
}

/// Whether the session is in the half that may fall silent.
fn is_in_silent_half(key: SessionKey) -> bool {
    key.as_bytes()[15].is_multiple_of(2)
}

impl SessionStore for Halves {
    fn load(&self, key: SessionKey, proof: Proof, now: Timestamp) -> StoreFuture<Option<Record>> {
        if self.one_is_silent.load(Ordering::SeqCst) && is_in_silent_half(key) {
            return StoreFuture::boxed(pending());
        }
        self.inner.load(key, proof, now)
    }

    fn create(
        &self,
        key: SessionKey,
        record: Record,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<()> {
        self.inner.create(key, record, cap, now)
    }

    fn update(
        &self,
        key: SessionKey,
        change: Change,
        logins: u32,
        expect: Option<u64>,
        now: Timestamp,
    ) -> StoreFuture<Updated> {
        self.inner.update(key, change, logins, expect, now)
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
        self.inner.rotate(key, from, to, change, cap, now)
    }

    fn touch(&self, key: SessionKey, logins: u32, now: Timestamp) -> StoreFuture<bool> {
        self.inner.touch(key, logins, now)
    }

    fn destroy(&self, key: SessionKey, owner: Option<UserId>, now: Timestamp) -> StoreFuture<bool> {
        self.inner.destroy(key, owner, now)
    }

    fn list(
        &self,
        user: UserId,
        after: Option<SessionKey>,
        limit: usize,
        now: Timestamp,
    ) -> StoreFuture<Vec<SessionSummary>> {
        self.inner.list(user, after, limit, now)
    }

    fn destroy_user(
        &self,
        user: UserId,
        except: Option<SessionKey>,
        keep_newest: usize,
        now: Timestamp,
    ) -> StoreFuture<usize> {
        self.inner.destroy_user(user, except, keep_newest, now)
    }

    fn sweep(&self, limit: usize, now: Timestamp) -> StoreFuture<usize> {
        self.inner.sweep(limit, now)
    }

    fn check(&self, now: Timestamp) -> StoreFuture<()> {
        self.inner.check(now)
    }
}

struct Streams {
    world: World,
    store: Halves,
    /// Half of them in each half of the store.
    all: Vec<(Session, Ended)>,
}

impl Streams {
    async fn open(count: usize) -> Self {
        let store = Halves::default();
        let world = world_on(store.clone(), |builder| builder);
        let (mut all, mut silent) = (Vec::new(), 0);
        while all.len() < count {
            let session = stream(&world.layer, &world.signed_in("alice").await).await;
            let is_silent = is_in_silent_half(session.key().unwrap());
            if if is_silent { silent < count / 2 } else { all.len() - silent < count / 2 } {
                silent += usize::from(is_silent);
                let ended = session.ended();
                all.push((session, ended));
            }
        }
        let mut streams = Self { world, store, all };
        assert_eq!(streams.ended_within(Duration::from_millis(10)).await, []);
        streams
    }

    /// The sessions that have ended, once this time has passed.
    async fn ended_within(&mut self, time: Duration) -> Vec<SessionKey> {
        let (until, mut keys) = (Instant::now() + time, Vec::new());
        for (session, ended) in &mut self.all {
            let rest = until.saturating_duration_since(Instant::now());
            if let Ok(reason) = timeout(rest, ended).await {
                assert_eq!(reason, EndReason::Ended);
                keys.push(session.key().unwrap());
            }
        }
        tokio::time::sleep_until(until).await;
        keys
    }

    /// Another node ends all sessions, behind this one's back.
    async fn are_revoked(&self) {
        let now = self.world.clock.now();
        self.store.destroy_user("alice".parse().unwrap(), None, 0, now).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_of_the_store_that_falls_silent_holds_up_few_of_the_others() {
    let mut streams = Streams::open(2_000).await;
    streams.store.one_is_silent.store(true, Ordering::SeqCst);
    // Long enough that all who can't be told of have been looked at again and again.
    let silent_for = 10 * RECHECK;
    assert_eq!(streams.ended_within(silent_for).await, []);
    streams.are_revoked().await;
    // A tenth of a second for sixteen in the silent half, beside what it would take without.
    let longest = RECHECK + Duration::from_millis(100) * 1_000_u32.div_ceil(16);
    let ended = streams.ended_within(longest).await;
    assert!(!ended.iter().copied().any(is_in_silent_half));
    assert_eq!(ended.len(), 1_000);

    // When it answers again, all are told.
    streams.store.one_is_silent.store(false, Ordering::SeqCst);
    streams.all.retain(|(session, _)| is_in_silent_half(session.key().unwrap()));
    assert_eq!(streams.ended_within(2 * RECHECK).await.len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn those_that_the_store_is_late_with_are_looked_at_again_a_few_at_a_time() {
    let (world, script) = scripted();
    let _streams = a_hundred_streams(&world).await;
    world.faults.always(Operation::Load, Fault::Hang);
    let before = world.loads();
    script.send(FeedEvent::Gap).unwrap();
    // Long enough to ask for each, and too short for an answer to be given up.
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(world.loads() - before, 100 + 16);
}
